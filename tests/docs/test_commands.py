"""Every command of README.md and docs runs, on one kept demo, and prints what the page says.

A block ```sh is run; a block ```text right behind it is what must come out, where `...` stands for anything. What takes
its time is asked again, as a reader would. The pages run in a copy of the repository, so that a demo which somebody
keeps in the repository itself is left alone. These lines are not run as they stand:

    make demo                       the tutorial's own `make demo KEEP=1 APPLICATIONS=25`, run once for all pages
    make test                       this very run
    make bench                      its shortest part at small size; tests/bench runs every part
    make down                       at the end

A page of docs/how-to is for another machine than the demo's: it names the test of its own that runs its commands.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed
from typer.main import get_command

from hub.cli import app as hub

pytestmark = pytest.mark.timeout(900)

ROOT = Path(__file__).resolve().parents[2]
PAGES = [Path("README.md"), *sorted(page.relative_to(ROOT) for page in (ROOT / "docs").rglob("*.md"))]
HOW_TOS = [page for page in PAGES if page.parts[:2] == ("docs", "how-to")]
BLOCK = re.compile(r"^```sh\n(.*?)^```\n(?:```text\n(.*?)^```\n)?", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]*)\)")
ENVIRONMENT = ". build/demo/env"
START, END = "make demo KEEP=1 APPLICATIONS=25", "make down"
RUN_ELSEWHERE = {"make demo", "make test", START, END}
AT_SMALL_SIZE = {"make bench": ".venv/bin/python -m tests.bench --small --part year"}
ANSWER_LIMIT_S = 60
BLOCK_LIMIT_S = 600


@dataclass(frozen=True)
class Block:
    """Commands of a page, and what they must print, if the page says so."""

    commands: str
    expected: str | None

    @staticmethod
    def read_all(page: Path) -> "list[Block]":
        return [Block(*found) for found in BLOCK.findall((ROOT / page).read_text())]

    @property
    def lines(self) -> list[str]:
        """The lines that are to be run here."""
        kept = [line for line in self.commands.splitlines() if line not in RUN_ELSEWHERE]
        return [AT_SMALL_SIZE.get(line, line) for line in kept]

    def check(self, output: str) -> None:
        """Fail unless the output is what the page says."""
        if self.expected:
            pieces = [re.escape(piece) for piece in self.expected.strip().split("...")]
            found = re.fullmatch(".*?".join(pieces), output.strip(), re.DOTALL)
            assert found, f"The page says:\n{self.expected}\nbut it was:\n{output}"


@dataclass(frozen=True)
class Reader:
    """Somebody who types the commands into a shell in a copy of the repository."""

    folder: Path

    def run(self, commands: str, *, with_addresses: bool = False) -> str:
        """Run commands and return what they printed; fail with the printed errors where one fails."""
        # The copy shares the environment of this run; whether that is up to date is not this test's question.
        beginning = 'make() { command make -o .venv/ready "$@"; }\n' + (f"{ENVIRONMENT}\n" if with_addresses else "")
        ours = {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "KEEP", "APPLICATIONS", "SEED"}
        environment = {name: value for name, value in os.environ.items() if name not in ours}
        done = subprocess.run(
            ["sh", "-ec", beginning + commands],
            cwd=self.folder,
            # Else `.venv/bin/hub` would be that of the repository, which may have changed since it was copied.
            env=environment | {"PYTHONPATH": str(self.folder)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=BLOCK_LIMIT_S,
            check=False,
        )
        assert done.returncode == 0, f"{commands}\nexit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def follow(self, block: Block, *, with_addresses: bool) -> None:
        """Run a block until it prints what the page says; without such words, once."""
        patience = stop_after_delay(ANSWER_LIMIT_S if block.expected else 0)
        for attempt in Retrying(
            stop=patience, wait=wait_fixed(0.5), retry=retry_if_exception_type(AssertionError), reraise=True
        ):
            with attempt:
                block.check(self.run("\n".join(block.lines), with_addresses=with_addresses))


def find_block(line: str) -> Block:
    """Return the tutorial's block that consists of one line."""
    return next(block for block in Block.read_all(Path("docs/tutorial.md")) if block.commands.strip() == line)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """Give a reader whose demo is running."""
    folder = tmp_path_factory.mktemp("reader") / "tka"
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".*", "build", "dist", "__pycache__"))
    (folder / ".venv").symlink_to(sys.prefix, target_is_directory=True)
    someone = Reader(folder)
    try:
        find_block(START).check(someone.run(START))
        yield someone
    finally:
        ended = someone.run(END)
    find_block(END).check(ended)


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if page not in HOW_TOS and any(block.lines for block in Block.read_all(page))],
    ids=str,
)
def test_commands_do_what_the_page_says(reader: Reader, page: Path) -> None:
    sourced = False
    for block in Block.read_all(page):
        if block.lines:
            reader.follow(block, with_addresses=sourced)
        sourced = sourced or ENVIRONMENT in block.lines


@pytest.mark.parametrize("page", HOW_TOS, ids=str)
def test_how_to_names_the_test_that_runs_it(page: Path) -> None:
    named = re.findall(r"tests/[\w/]+\.py", (ROOT / page).read_text())
    assert [name for name in named if (ROOT / name).exists()]


def test_every_command_of_readme_is_run_somewhere() -> None:
    lines = {line for page in PAGES for block in Block.read_all(page) for line in block.commands.splitlines()}
    assert lines >= RUN_ELSEWHERE | AT_SMALL_SIZE.keys(), "a line is named here that no page has"


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_commands_within_a_sentence_exist(page: Path) -> None:
    text = (ROOT / page).read_text()
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z]+)", text)) <= targets
    for words in re.findall(r"`(?:\.venv/bin/)?hub ((?:[a-z-]+ ?)+)", text):
        command = get_command(hub)
        for word in words.split():
            if not hasattr(command, "commands"):
                break
            command = command.commands[word]


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_lead_somewhere(page: Path) -> None:
    text = (ROOT / page).read_text()
    for target in LINK.findall(text):
        if target.startswith("https://"):
            continue
        file, _, anchor = target.partition("#")
        led = ROOT / page.parent / file if file else ROOT / page
        assert led.exists(), target
        assert not anchor or anchor in _anchors(led.read_text()), target


def _anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    return {
        re.sub(r"[^a-z0-9 _.-]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    }
