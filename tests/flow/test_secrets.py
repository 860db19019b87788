"""No secret is where others can read it: in a command line, a log, a help text or an error."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from devstack.demonstration.cast import Cast, connector_environment, hub_environment
from tests.faults.exchange import Exchange
from tests.faults.rig import REPOSITORY

SECRET_CHARACTERS_MIN = 12
PASSWORD = "Pass-word-0815-4711"  # Nobody's.


def list_secrets(cast: Cast) -> Iterator[str]:
    """Yield every secret of an exchange: the lines of all private keys, all shared secrets, all passwords."""
    for file in (cast.folder / "keys").iterdir():
        text = file.read_text()
        if "PUBLIC KEY" not in text:
            yield from (line for line in text.split() if len(line) >= SECRET_CHARACTERS_MIN and "---" not in line)
    services = cast.services
    for dsn in (services.database_url, services.register_owner_url, services.register_url, *services.logins.values()):
        yield str(urlsplit(dsn).password)


def find_secrets(text: str, cast: Cast) -> list[str]:
    """Return the beginnings of the secrets that stand in a text."""
    return [secret[:4] for secret in list_secrets(cast) if secret in text]


def test_no_secret_is_in_a_command_line_or_a_log(exchange: Exchange) -> None:
    exchange.settle(exchange.load(1))
    rig = exchange.rig
    assert len(list(list_secrets(rig.cast))) > 20
    for name, child in rig.running.items():
        line = Path(f"/proc/{child.pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        assert "-m" in line, name
        assert find_secrets(line, rig.cast) == [], name
    for file, text in rig.read_logs().items():
        assert find_secrets(text, rig.cast) == [], file


@pytest.mark.parametrize("module", ["hub.cli", "connectors.bank", "connectors.ministry", "connectors.oversight"])
def test_no_command_takes_a_secret_as_an_argument_or_shows_one(module: str, exchange: Exchange) -> None:
    cast = exchange.rig.cast
    environment = hub_environment(cast) if module == "hub.cli" else connector_environment(cast, "bri")
    done = _run([module, "--help"], environment)
    assert done.returncode == 0
    told = done.stdout + done.stderr
    assert find_secrets(told, cast) == []
    assert not any(word in told.lower() for word in ("--password", "--pin", "--secret", "--database-url", "--token "))


@pytest.mark.parametrize(
    "dsn",
    [
        f"postgresql://nobody:{PASSWORD}@127.0.0.1:1/nowhere",
        f"postgresql://nobody:{PASSWORD}@127.0.0.1:port/nowhere",
        f"postgresql://nobody:{PASSWORD}@[::1/nowhere",
        f"mysql://nobody:{PASSWORD}@127.0.0.1/nowhere",
        f"nobody:{PASSWORD}@127.0.0.1",
    ],
)
def test_an_address_that_cannot_be_used_is_not_repeated(dsn: str, exchange: Exchange) -> None:
    for words in (["fsck"], ["migrate"], ["intake"]):
        done = _run(["hub.cli", *words], hub_environment(exchange.rig.cast) | {"DATABASE_URL": dsn})
        assert done.returncode in (2, 3), done.stderr
        assert PASSWORD not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr


def _run(words: list[str], environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", *words],
        cwd=REPOSITORY,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
