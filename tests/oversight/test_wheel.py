"""The oversight body installs one wheel and nothing of the hub, and verifies a pack with it."""

import json
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

from contracts.audit.pack import write_pack
from tests.oversight.world import World
from tests.test_packaging import INSTALL_TIMEOUT_S, ROOT, write_constraints

ABSENT = ("hub", "devstack", "connectors.link", "connectors.bank", "aiokafka", "asyncpg", "httpx", "typer")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel once."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    subprocess.run([*command, str(ROOT / "packaging" / "oversight")], check=True, capture_output=True)
    return next(folder.glob("tka_exchange_oversight-*.whl"))


def test_the_wheel_holds_contracts_and_the_tools_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        names = {name for name in opened.namelist() if ".dist-info/" not in name}
    command = ["git", "ls-files", "contracts", "keys", "connectors/oversight", "connectors/__init__.py"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert set(listing.splitlines()) <= names
    assert {name.split("/")[1] for name in names if name.startswith("connectors/")} == {"__init__.py", "oversight"}
    assert {name.split("/")[0] for name in names} == {"contracts", "keys", "connectors"}


def test_it_asks_for_what_contracts_asks_for() -> None:
    asked = [
        tomllib.loads((ROOT / "packaging" / part / "pyproject.toml").read_text())["project"]["dependencies"]
        for part in ("oversight", "contracts")
    ]
    assert asked[0] == asked[1]


def test_a_pack_is_verified_where_there_is_no_hub(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "kpk", with_pip=True)
    python = tmp_path / "kpk" / "bin" / "python"
    constraints = write_constraints(tmp_path / "constraints.txt")
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--constraint", constraints, wheel],
        check=True,
        capture_output=True,
        timeout=INSTALL_TIMEOUT_S,
    )
    for absent in ABSENT:
        failed = subprocess.run([python, "-c", f"import {absent}"], cwd=tmp_path, capture_output=True, text=True)
        assert f"No module named '{absent}'" in failed.stderr
    world = World.settled()
    policy = world.policy()
    (tmp_path / "root.jwk.json").write_text(json.dumps(world.root.public.jwk))
    (tmp_path / "log.vkey").write_text(policy.log_keys[0].write())
    (tmp_path / "witness.vkey").write_text(policy.witnesses[0].write())
    trust = ["--root", "root.jwk.json", "--log-key", "log.vkey", "--witness-key", "witness.vkey", "--json"]
    command = [str(python), "-I", "-m", "connectors.oversight", "verify", "pack.json", *trust]
    raw = write_pack(world.pack())
    (tmp_path / "pack.json").write_bytes(raw)
    proven = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (proven.returncode, json.loads(proven.stdout)["proven"]) == (0, True)
    (tmp_path / "pack.json").write_bytes(raw.replace(b"1200.00", b"1200.01", 1))
    forged = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (forged.returncode, json.loads(forged.stdout)["proven"]) == (1, False)
