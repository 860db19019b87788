"""Notifications that share one commit, and a process that is killed around it: what was answered is kept, once."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from connectors.link import failpoint
from connectors.link.fact import Author
from connectors.link.spool import Spool
from tests.connectors.snap_bench import code_of
from tests.connectors.snap_caller import SECRET, Caller, payment
from tests.connectors.snap_process import stand_by
from tests.connectors.test_snap_two_processes import ROOT, START_S_MAX, agree, folder, said, started

__all__ = ["folder"]

AUTHOR = Author("bri", "https://bri.example/tka", "demo")
CALLS = 24


@asynccontextmanager
async def doomed(folder: Path, point: str, hit: int) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start a door that is killed the `hit`-th time it reaches `point`."""
    command = [sys.executable, "-m", "tests.connectors.test_snap_kill", str(folder), point, str(hit)]
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def notify_all(address: str, bank: Caller, advise: str) -> dict[int, str]:
    """Notify every payment at once; return the response code of each that was answered."""
    answered: dict[int, str] = {}

    async def notify(http: httpx.AsyncClient, number: int) -> None:
        body = payment(paymentRequestId=f"A-{number}", flagAdvise=advise)
        try:
            answered[number] = code_of(await bank.notify(http, body, datetime.now(UTC), str(1000 + number)))
        except httpx.TransportError:
            return

    async with httpx.AsyncClient(base_url=address) as http:
        await asyncio.gather(*(notify(http, number) for number in range(CALLS)))
    return answered


@pytest.mark.parametrize(
    ("point", "hit"),
    [
        ("notification.before_put", CALLS),
        ("spool.before_put_commit", 1),
        ("spool.after_put_commit", 1),
        ("notification.before_answer", CALLS // 2),
    ],
)
async def test_what_was_answered_before_a_kill_is_there_once_and_the_rest_is_taken_again(
    folder: Path, point: str, hit: int
) -> None:
    agree(folder, "notified")
    bank = Caller(secret=SECRET)
    async with doomed(folder, point, hit) as first:
        address = await said(first)
        async with httpx.AsyncClient(base_url=address) as http:
            assert code_of(await bank.ask_token(http, datetime.now(UTC))) == "2007300"
        answered = await notify_all(address, bank, "N")
        async with asyncio.timeout(START_S_MAX):
            assert await first.wait() == -signal.SIGKILL
    assert set(answered.values()) <= {"2002500"}
    async with Spool.open(folder / "spool.sqlite", AUTHOR) as spool:
        kept = await spool.waiting(CALLS)
        assert len(kept) >= len(answered)
        assert all(f'"A-{number}"'.encode() in b"".join(row.value for row in kept) for number in answered)
    async with started(folder) as second:
        assert await notify_all(await said(second), bank, "Y") == dict.fromkeys(range(CALLS), "2002500")
    async with Spool.open(folder / "spool.sqlite", AUTHOR) as spool:
        assert (await spool.status()).last_sequence == CALLS


def kill_at(point: str, hit: int) -> None:
    """Let this process be killed the `hit`-th time it reaches `point`."""
    left = hit

    def strike(name: str) -> None:
        nonlocal left
        left -= name == point
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    failpoint.arm(strike)


if __name__ == "__main__":
    kill_at(sys.argv[2], int(sys.argv[3]))
    asyncio.run(stand_by(Path(sys.argv[1])))
