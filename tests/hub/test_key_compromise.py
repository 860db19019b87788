"""docs/how-to/key-compromise.md, command by command, with messages before, between and behind."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from contracts.wire.key import PrivateKey
from hub.store.database import Database
from tests.connectors.engineer import ROOT, Page
from tests.hub.exchange import Bank, Exchange
from tests.hub.terminal import PATIENCE_S, Operator

pytestmark = pytest.mark.anyio
PAGE = Page.read("key-compromise.md")


class Registrar:
    """Who follows the page in a terminal."""

    def __init__(self, operator: Operator, kid: str) -> None:
        self._folder = operator.folder
        path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
        self._environment = operator.settings | {"PATH": path, "PYTHONPATH": str(ROOT), "KID": kid, "COLUMNS": "250"}

    def follow(self, heading: str) -> str:
        """Run the commands below a heading; return what they printed."""
        done = subprocess.run(
            ["bash", "-ceu", "\n".join(PAGE.blocks(heading))],
            cwd=self._folder, env=self._environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
async def exchange(registered: Operator, bank: Bank) -> AsyncIterator[Exchange]:
    """Give the desk of the exchange whose registry the operator has made."""
    root, hub = (PrivateKey.from_pem((registered.folder / f"{name}.pem").read_bytes()) for name in ("root", "hub"))
    exchange = Exchange(await Database.open(registered.settings["DATABASE_URL"], size=4), root, hub)
    exchange.bri = bank
    yield exchange
    await exchange.database.close()


async def _retry(exchange: Exchange) -> tuple[int, int]:
    """Judge again all that waits, a day later; return how many were accepted and refused."""
    taken = await exchange.desk.retry_deferred(datetime.now(UTC) + timedelta(days=1), 100)
    return taken.accepted, taken.refused.total()


async def test_a_stolen_key_is_suspended_revoked_and_followed_by_the_next(
    registered: Operator, exchange: Exchange, bank: Bank
) -> None:
    folder, registrar = registered.folder, Registrar(registered, bank.key.kid)
    following = PrivateKey.generate("Ed25519")
    for name, key in (("bri", bank.key), ("bri-next", following)):
        (folder / f"{name}.pub.json").write_text(json.dumps(key.public.jwk))
    assert (await exchange.take(bank.sign(bank.paid()))).accepted == 1
    in_spool = bank.paid("820260302000018")

    assert f"Key {bank.key.kid} is suspended by sari" in registrar.follow("1.")
    await exchange.desk.judgement()
    waiting = await exchange.take(bank.sign(in_spool))
    assert (waiting.accepted, waiting.deferred) == (0, 1)
    # However long it takes: a single person does not have a message refused.
    assert await _retry(exchange) == (0, 0)

    applied = registrar.follow("3.")
    assert f"REVOKES key {bank.key.kid}" in applied
    assert "signed by budi and sari, is in force" in applied
    await exchange.desk.judgement()
    assert await _retry(exchange) == (0, 1)
    before = datetime.now(UTC) - timedelta(days=30)
    backdated = bank.paid("820260302000019", paid_at=f"{before:%Y-%m-%dT%H:%M:%SZ}")
    assert (await exchange.take(bank.sign(backdated))).refused == {"key_revoked": 1}
    bank.key = following
    assert (await exchange.take(bank.sign(in_spool))).accepted == 1

    shown = registrar.follow("4.")
    assert shown.count("key_revoked") == 2
    assert "Everything that was folded again equals" in shown


async def test_a_false_alarm_is_lifted_and_what_waited_is_taken(
    registered: Operator, exchange: Exchange, bank: Bank
) -> None:
    Registrar(registered, bank.key.kid).follow("1.")
    assert (await exchange.take(bank.sign(bank.paid()))).deferred == 1
    # In a thread, since each command has an event loop of its own.
    lifted = await asyncio.to_thread(registered.change, "registry", "propose", "--lift", bank.key.kid)
    assert lifted.code == 0
    assert await _retry(exchange) == (1, 0)
    assert (await asyncio.to_thread(registered.hub, "fsck", "--json")).json == {"findings": []}
