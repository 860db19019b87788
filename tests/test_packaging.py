"""Three wheels: what an agency installs, what the operator installs, and the protocol under both."""

import ast
import subprocess
import sys
import tomllib
import venv
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.test_architecture import list_imports

ROOT = Path(__file__).parents[1]
PARTS = ("contracts", "connectors", "hub")
INSTALL_TIMEOUT_S = 300
# Asked for without being imported: aiokafka's zstd, an event loop that is taken up if it is there, alembic's engine.
NOT_IMPORTED = {"contracts": set(), "connectors": {"cramjam", "uvloop"}, "hub": {"cramjam", "sqlalchemy"}}
# Parts of fastapi and pydantic, at versions that only those can choose.
COME_ALONG = {"starlette", "pydantic-core"}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Build the wheels once; give each by its part."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    for part in PARTS:
        subprocess.run([*command, str(ROOT / "packaging" / part)], check=True, capture_output=True)
    return {part: next(folder.glob(f"tka_exchange_{part}-*.whl")) for part in PARTS}


@pytest.mark.parametrize("part", PARTS)
def test_wheel_holds_its_package_whole_and_nothing_else(wheels: dict[str, Path], part: str) -> None:
    with zipfile.ZipFile(wheels[part]) as wheel:
        names = set(wheel.namelist())
        information = next(name for name in names if name.endswith(".dist-info/METADATA"))
        metadata = wheel.read(information).decode()
    # The keys' room lies under both hub and connectors, as the protocol does, and comes in the protocol's wheel.
    packages = {"contracts", "keys"} if part == "contracts" else {part}
    command = ["git", "ls-files", *sorted(packages)]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert {name.split("/")[0] for name in names} == packages | {information.split("/")[0]}
    assert set(listing.splitlines()) <= names
    assert "License-Expression: Apache-2.0" in metadata
    assert information.replace("METADATA", "licenses/LICENSE") in names


def test_connectors_install_without_the_hub(wheels: dict[str, Path], tmp_path: Path) -> None:
    venv.create(tmp_path / "agency", with_pip=True)
    python = tmp_path / "agency" / "bin" / "python"
    pip: list[str | Path] = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    # What the wheel asks for is installed at the pinned versions, and nothing of the hub's own comes with it.
    constraints = write_constraints(tmp_path / "constraints.txt")
    subprocess.run(
        [*pip, "--constraint", constraints, wheels["contracts"], wheels["connectors"]],
        check=True,
        capture_output=True,
        timeout=INSTALL_TIMEOUT_S,
    )
    script = "import importlib, sys; [importlib.import_module(name) for name in sys.argv[1:]]"
    modules = ["connectors.ministry.__main__", "connectors.bank.__main__", "connectors.immigration.__main__"]
    subprocess.run([python, "-c", script, "contracts.admission", *modules], check=True, cwd=tmp_path)
    for absent in ("hub", "devstack", "alembic", "sqlalchemy"):
        failed = subprocess.run([python, "-c", f"import {absent}"], cwd=tmp_path, capture_output=True, text=True)
        assert f"No module named '{absent}'" in failed.stderr


def test_wheels_ask_for_what_the_whole_project_has() -> None:
    """The root is the whole for development: each wheel's requirement is one of its requirements, word for word."""
    whole = set(_read_dependencies(ROOT / "pyproject.toml"))
    for part in PARTS:
        own = set(_read_dependencies(ROOT / "packaging" / part / "pyproject.toml"))
        assert {line for line in own if not line.startswith("tka-exchange-")} <= whole
        assert any(line.startswith("tka-exchange-contracts==") for line in own) == (part != "contracts")


@pytest.mark.parametrize("part", PARTS)
def test_wheel_asks_for_exactly_what_its_package_imports(part: str) -> None:
    providers = packages_distributions()
    imported = {
        name.split(".")[0]
        for path in (ROOT / part).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        for name in list_imports(node)
    }
    foreign = imported - sys.stdlib_module_names - {*PARTS, "keys"}
    extras = _read_extras(part)
    asked_apart = {name for name in foreign if extras & {canonicalize_name(one) for one in providers[name]}}
    needed = {canonicalize_name(providers[name][0]) for name in foreign - asked_apart} - COME_ALONG
    asked = _read_names(part)
    assert needed - asked - _read_names("contracts") == set()
    assert asked - needed - {"tka-exchange-contracts"} == NOT_IMPORTED[part]


def _read_names(part: str) -> set[str]:
    """The distributions that a wheel asks for."""
    return {Requirement(line).name for line in _read_dependencies(ROOT / "packaging" / part / "pyproject.toml")}


def _read_extras(part: str) -> set[str]:
    """The distributions that a wheel asks for only where somebody wants what needs them."""
    project = tomllib.loads((ROOT / "packaging" / part / "pyproject.toml").read_text())["project"]
    extras: dict[str, list[str]] = project.get("optional-dependencies", {})
    return {Requirement(line).name for lines in extras.values() for line in lines}


def _read_dependencies(path: Path) -> list[str]:
    dependencies: list[str] = tomllib.loads(path.read_text())["project"]["dependencies"]
    return dependencies


def write_constraints(path: Path) -> Path:
    """Write the pins of requirements.txt without their hashes, which pip does not take as constraints of wheels."""
    pins = [line.rstrip(" \\") for line in (ROOT / "requirements.txt").read_text().splitlines()]
    lines = [line for line in pins if line and not line.startswith((" ", "#"))]
    assert all(Requirement(line) for line in lines)
    path.write_text("\n".join(lines))
    return path
