"""docs/how-to/oversight.md, command by command, as it stands."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from connectors.oversight.alarm import CAUSES
from contracts.audit.finding import WORDS
from tests.connectors.engineer import ROOT, Page
from tests.oversight.publication import serve
from tests.oversight.test_commands import Office
from tests.oversight.world import World

PAGE = Page.read("oversight.md")
LIMIT_S = 60


class Reader:
    """Who follows the page in a folder that holds the three keys and a pack."""

    def __init__(self, folder: Path, address: str) -> None:
        self.folder = folder
        self.address = address

    def follow(self, heading: str) -> subprocess.CompletedProcess[str]:
        """Run the one block of commands below a heading."""
        (block,) = PAGE.blocks(heading)
        return subprocess.run(
            ["bash", "-ceu", block.replace("https://hub.example", self.address)],
            cwd=self.folder,
            env={"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )


def test_from_a_pack_to_a_monitor_and_an_alarm(tmp_path: Path) -> None:
    world = World.settled()
    office = Office(tmp_path, world)
    shutil.copy(office.pack, tmp_path / "pack.json")
    with serve(tmp_path / "log") as address:
        reader = Reader(tmp_path, address)
        verified = reader.follow("3.")
        assert verified.returncode == 0, verified.stderr
        (said,) = PAGE.blocks("3.", "text")
        parts = [re.escape(part) for part in re.split(r"\.\.\.\n?", said)]
        assert re.fullmatch(".*?".join(parts), verified.stdout, re.DOTALL), verified.stdout
        followed = reader.follow("4.")
        assert (followed.returncode, followed.stdout) == (0, ""), followed.stderr
        office.fork()
        assert reader.follow("4.").returncode == 1
        alarms = reader.follow("5.")
        assert '"code": "fork"' in alarms.stdout


def test_the_wheel_has_the_name_that_the_page_installs() -> None:
    written = (ROOT / "packaging" / "oversight" / "pyproject.toml").read_text()
    version = re.search(r'^version = "(.*)"$', written, re.MULTILINE)
    assert version is not None
    assert f"tka_exchange_oversight-{version[1]}-py3-none-any.whl" in PAGE.blocks("1.")[0]


@pytest.mark.parametrize("option", ["--registry-version", "--persons", "--pack-within-s"])
def test_options_that_the_page_names_exist(option: str) -> None:
    command = [sys.executable, "-m", "connectors.oversight", "monitor", "--help"]
    assert option in subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True).stdout


def test_every_alarm_that_the_page_names_exists() -> None:
    known = {str(code) for code in (*WORDS, *CAUSES)}
    rows = re.findall(r"^\| (`.*?) \|", PAGE.section("5."), re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`([a-z_]+)`", row)}
    assert named
    assert named <= known
