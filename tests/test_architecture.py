"""The house rules that no linter sees. import-linter keeps the directions of imports; this keeps the rest."""

import ast
import importlib
import re
import subprocess
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 600
POINTS_MIN = 25
TOP_LEVEL_PACKAGES = {"contracts", "keys", "connectors", "hub", "devstack", "tests"}
VAGUE_NAMES = {"util", "utils", "helper", "helpers", "common", "misc", "manager", "managers", "kit"}
PURE_ROOMS = ("contracts/", "hub/step.py", "connectors/bank/snap.py", "connectors/bank/camt054.py")
PURE_NAMES = {"translate.py"}
CLOCKS_AND_CHANCE = {
    "now",
    "utcnow",
    "today",
    "time",
    "time_ns",
    "monotonic",
    "uuid1",
    "uuid4",
    "token_bytes",
    "urandom",
}
FILE_CALLS = {"open", "print", "input"}
SQL = re.compile(
    r"\s*(SELECT|INSERT INTO|UPDATE \w+ SET|DELETE FROM|COPY|LISTEN|NOTIFY|WITH \w+ AS|CREATE|ALTER|DROP) "
)
SQL_ROOMS = (
    "hub/store/",
    "connectors/ministry/outbox",
    "connectors/ministry/outcome_queue.py",
    "connectors/link/spool",
    "connectors/immigration/standing_file.py",
    "connectors/oversight/monitor_state.py",
    "connectors/oversight/witness_state.py",
)
KAFKA_ROOMS = ("hub/intake", "hub/relay", "hub/told.py", "hub/topics.py", "hub/administration.py")
FAILPOINTS = ("hub.failpoint", "connectors.link.failpoint")
# Written in two halves, so that this file does not hold what it looks for.
MACHINE_PATHS = [f"/{name}/" for name in ("home", "Users", "root", "work")]
REGISTRY_HOSTS = [
    f"{name}.{domain}"
    for name, domain in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("maven", "org"),
        ("maven.apache", "org"),
        ("npmjs", "org"),
        ("proxy.golang", "org"),
        ("crates", "io"),
        ("deb.debian", "org"),
    )
]
LEFT_FOR_LATER = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "HA" + "CK")) + r")\b")


def list_files() -> list[Path]:
    """The files that are tracked or about to be, relative to the root."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [Path(line) for line in listing.splitlines() if (ROOT / line).is_file()]


FILES = list_files()
MODULES = [path for path in FILES if path.suffix == ".py"]
SHIPPED = [path for path in MODULES if path.parts[0] in ("contracts", "keys", "connectors", "hub")]
PURE = [path for path in SHIPPED if path.as_posix().startswith(PURE_ROOMS) or path.name in PURE_NAMES]


@cache
def parse(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text(), filename=str(path))


def walk(paths: Iterable[Path]) -> Iterator[tuple[str, ast.AST]]:
    """Yield every node with its place, `file:line`."""
    for path in paths:
        for node in ast.walk(parse(path)):
            yield f"{path}:{getattr(node, 'lineno', 0)}", node


def list_imports(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.level == 0:
        return [node.module or ""]
    return []


def find_in_text(wanted: Iterable[str]) -> list[str]:
    return [
        f"{path}:{number} {word}"
        for path in FILES
        for number, line in enumerate((ROOT / path).read_text(errors="replace").splitlines(), 1)
        for word in wanted
        if word in line
    ]


def test_functions_fit_a_page() -> None:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    assert [
        f"{place} {node.name} has {length} lines"
        for place, node in walk(MODULES)
        if isinstance(node, functions) and (length := (node.end_lineno or 0) - node.lineno + 1) > FUNCTION_LINES_MAX
    ] == []


def test_files_can_be_read_in_one_sitting() -> None:
    lengths = {path: len((ROOT / path).read_text().splitlines()) for path in MODULES}
    assert {str(path): length for path, length in lengths.items() if length > FILE_LINES_MAX} == {}


def test_no_new_top_level_package() -> None:
    assert {path.parts[0] for path in MODULES} <= TOP_LEVEL_PACKAGES


def test_no_name_that_says_nothing() -> None:
    assert [str(path) for path in FILES if VAGUE_NAMES & {path.stem, *path.parts[:-1]}] == []


def test_nothing_is_left_for_later() -> None:
    texts = [path for path in FILES if path.suffix in {".py", ".sql", ".md", ".toml", ".yml"}]
    assert [str(path) for path in texts if LEFT_FOR_LATER.search((ROOT / path).read_text())] == []


def test_no_path_of_one_machine() -> None:
    assert find_in_text([*MACHINE_PATHS, "../" + "shared"]) == []


def test_no_registry_host() -> None:
    assert find_in_text(REGISTRY_HOSTS) == []


def test_requirements_are_pinned_with_hashes_and_name_no_address() -> None:
    for name in ("requirements.txt", "requirements-dev.txt"):
        lines = (ROOT / name).read_text().splitlines()
        pins = [line for line in lines if line and not line.startswith((" ", "#"))]
        assert pins
        assert [line for line in pins if not re.match(r"^[a-z0-9.-]+(\[[a-z,]+\])?==[^ ]+ .*\\$", line)] == []
        assert [line for line in lines if "://" in line or "index" in line] == []


def test_pure_rooms_know_neither_clock_nor_chance() -> None:
    assert len(PURE) > len(PURE_ROOMS)
    assert [
        f"{place} {node.attr}"
        for place, node in walk(PURE)
        if isinstance(node, ast.Attribute) and node.attr in CLOCKS_AND_CHANCE and _is_module(node.value)
    ] == []


def test_pure_rooms_touch_no_file_and_no_terminal() -> None:
    called = [(place, node.func) for place, node in walk(PURE) if isinstance(node, ast.Call)]
    assert [
        f"{place} {function.id}()"
        for place, function in called
        if isinstance(function, ast.Name) and function.id in FILE_CALLS
    ] == []


def _is_module(owner: ast.expr) -> bool:
    """Whether `owner` names a module or a class of the clock, rather than a value that has a member of that name."""
    return isinstance(owner, ast.Name | ast.Attribute) and ast.unparse(owner).split(".")[-1] in {
        "datetime",
        "date",
        "time",
        "uuid",
        "os",
        "secrets",
    }


def test_only_the_store_speaks_sql() -> None:
    elsewhere = [path for path in SHIPPED if not path.as_posix().startswith(SQL_ROOMS)]
    assert [
        f"{place} {node.value.strip()[:40]!r}"
        for place, node in walk(elsewhere)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL.match(node.value)
    ] == []


def test_only_intake_and_relay_speak_kafka() -> None:
    elsewhere = [path for path in SHIPPED if path.parts[0] == "hub" and not path.as_posix().startswith(KAFKA_ROOMS)]
    assert [
        f"{place} {name}"
        for place, node in walk(elsewhere)
        for name in list_imports(node)
        if name.split(".")[0] in {"aiokafka", "kafka"}
    ] == []


def test_settings_alone_read_the_environment() -> None:
    readers = [path for path in SHIPPED if path.name != "settings.py"]
    assert [
        f"{place} {node.attr}"
        for place, node in walk(readers)
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}
    ] == []


def test_tests_neither_sleep_nor_mock() -> None:
    tests = [path for path in MODULES if path.parts[0] == "tests" and path.parts[1] != "bench"]
    sleeps = [
        place
        for place, node in walk(tests)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in {"time.sleep", "asyncio.sleep", "anyio.sleep", "sleep"}
        and ast.unparse(node.args[0]) != "0"
    ]
    mocks = [f"{place} {name}" for place, node in walk(tests) for name in list_imports(node) if "mock" in name]
    assert sleeps + mocks == []


def _list_reached(package: Path) -> list[str]:
    """The names given to `failpoint.reach`, as patterns: a part that is filled in at run time matches any word."""
    calls = [
        node
        for _, node in walk(path for path in SHIPPED if path.is_relative_to(package))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "failpoint.reach"
    ]
    return [_to_pattern(call.args[0]) for call in calls]


def _to_pattern(name: ast.expr) -> str:
    if isinstance(name, ast.Constant):
        return re.escape(str(name.value))
    if isinstance(name, ast.JoinedStr):
        return "".join(_to_pattern(part) for part in name.values)
    return r"\w+"


@pytest.mark.parametrize("module", FAILPOINTS)
def test_every_failpoint_is_listed_and_reached(module: str) -> None:
    points: tuple[str, ...] = importlib.import_module(module).POINTS
    patterns = _list_reached(Path(module.split(".")[0]))
    assert len(set(points)) == len(points)
    assert [point for point in points if not any(re.fullmatch(pattern, point) for pattern in patterns)] == []
    assert [pattern for pattern in patterns if not any(re.fullmatch(pattern, point) for point in points)] == []


def test_there_are_enough_failpoints_and_nothing_shipped_arms_them() -> None:
    assert sum(len(importlib.import_module(module).POINTS) for module in FAILPOINTS) >= POINTS_MIN
    assert [
        place
        for place, node in walk(SHIPPED)
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "arm"
    ] == []
