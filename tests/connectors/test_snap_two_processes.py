"""Two connector processes of one bank: one holds the spool and answers, the other stands by and takes over.

The first is killed, so nothing is handed over but the disk: tokens, repeats and bills are what they were.
"""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from connectors.link.fact import Author
from connectors.link.spool import Spool
from contracts.wire.key import PrivateKey
from tests.connectors.snap_bench import BILL, CODE, code_of
from tests.connectors.snap_caller import SECRET, Caller, bank_key, payment, public_pem

ROOT = Path(__file__).parents[2]
START_S_MAX = 60.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "key.pem").write_bytes(public_pem(bank_key(1)))
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / "secret").chmod(0o600)
    (tmp_path / "connector.pem").write_bytes(PrivateKey.generate("Ed25519").to_pem())
    return tmp_path


def agree(folder: Path, mode: str) -> None:
    profile = {"partner_id": "BRI-TKA", "bank_code": "002", "public_key_pem_file": "key.pem", "mode": mode}
    symmetric = {"signature": "symmetric", "client_secret_file": "secret"}
    (folder / "profile.json").write_text(json.dumps({**profile, **symmetric}))


@asynccontextmanager
async def started(folder: Path) -> AsyncIterator[Process]:
    command = [sys.executable, "-m", "tests.connectors.snap_process", str(folder)]
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=PIPE, env=dict(os.environ))
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def said(process: Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(START_S_MAX):
        return (await process.stdout.readline()).decode().strip()


async def notify(address: str, bank: Caller, body: dict[str, Any], external_id: str) -> str:
    async with httpx.AsyncClient(base_url=address) as http:
        return code_of(await bank.notify(http, body, datetime.now(UTC), external_id))


@pytest.mark.parametrize(("mode", "new"), [("notified", "2002500"), ("authorised", "4042514")])
async def test_the_process_that_stands_by_knows_what_the_killed_one_answered(folder: Path, mode: str, new: str) -> None:
    agree(folder, mode)
    async with Spool.open(folder / "spool.sqlite", Author("bri", "https://bri.example/tka", "demo")) as spool:
        bill = replace(BILL, expires_at="2999-01-01T00:00:00Z")
        await spool.put(notes={f"bill/{CODE}": bill.write()})
    bank = Caller(secret=SECRET)
    async with started(folder) as first:
        address = await said(first)
        async with httpx.AsyncClient(base_url=address) as http:
            assert code_of(await bank.ask_token(http, datetime.now(UTC))) == "2007300"
        assert await notify(address, bank, payment(), "1001") == "2002500"
        async with started(folder) as second:
            assert await said(second) == "locked"
            first.kill()
            await first.wait()
            address = await said(second)
            assert await notify(address, bank, payment(), "1001") == "4042518"
            assert await notify(address, bank, payment(flagAdvise="Y"), "1001") == "2002500"
            assert await notify(address, bank, payment(paymentRequestId="A-2"), "1001") == "4092500"
            assert await notify(address, bank, payment(paymentRequestId="A-2"), "1002") == new
            changed = payment(paidAmount={"value": "1.00", "currency": "USD"})
            assert await notify(address, bank, changed, "1003") == "4042518"
