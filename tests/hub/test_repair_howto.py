"""docs/how-to/repair.md, command by command, with a message that a bug refused and one that its sender must correct."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from contracts.wire.key import PrivateKey
from hub.store.database import Database
from tests.connectors.engineer import ROOT, Page
from tests.hub.exchange import Bank, Exchange
from tests.hub.terminal import PATIENCE_S, Operator

pytestmark = pytest.mark.anyio
PAGE = Page.read("repair.md")
HEADINGS = (
    "1. Two operators",
    "2. What broke",
    "3. It was our fault: take it up again",
    "4. It was the sender's fault: send it back",
)


@pytest.fixture
async def exchange(registered: Operator, bank: Bank) -> AsyncIterator[Exchange]:
    """Give the desk of the exchange whose registry the operator has made."""
    root, hub = (PrivateKey.from_pem((registered.folder / f"{name}.pem").read_bytes()) for name in ("root", "hub"))
    exchange = Exchange(await Database.open(registered.settings["DATABASE_URL"], size=4), root, hub)
    exchange.bri = bank
    yield exchange
    await exchange.database.close()


async def test_an_operator_repairs_what_was_refused(registered: Operator, exchange: Exchange, bank: Bank) -> None:
    await exchange.take(bank.sign(bank.paid()), bug="where it broke")
    await exchange.take(bank.sign(bank.paid("820260302000018", amount="1.5")))
    for name in ("siti", "budi"):
        (registered.folder / f"{name}.txt").write_text(f"a password of {name}'s own\n")
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    environment = registered.settings | {"PATH": path, "PYTHONPATH": str(ROOT), "COLUMNS": "250"}
    script = "\n".join(block for heading in HEADINGS for block in PAGE.blocks(heading))
    deadlines = registered.start("deadlines")
    try:
        done = await asyncio.to_thread(
            subprocess.run, ["bash", "-ceu", script],
            cwd=registered.folder, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False,
        )  # fmt: skip
    finally:
        deadlines.terminate()
        deadlines.wait(PATIENCE_S)
    assert done.returncode == 0, done.stderr
    for said in ("poison", '"billing_code":"820260302000017"', "1 of 1: finished; 0 left as they were.", "Digest: "):
        assert said in done.stdout
    assert (await exchange.row("SELECT count(*) FROM inbox"))["count"] == 1
    assert (await exchange.row("SELECT resolution FROM quarantine WHERE code = 'poison'"))["resolution"] == "resent"
    assert (await exchange.row("SELECT count(*) FROM sent_back"))["count"] == 1
    row = await exchange.row("SELECT actor, page, subject FROM lookups")
    assert tuple(row.values()) == ("siti", "repair", "quarantine/1")


def test_the_page_names_each_command_of_the_desk() -> None:
    for command in ("list", "rehearse", "show", "request", "approve", "stop", "watch", "send-back", "look"):
        assert f"hub repair {command}" in PAGE.text
