"""SIGKILL around each step of an explanation: what was answered is kept, and the same call again counts once."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from connectors.link import failpoint
from tests.connectors.test_bank_explain import DIFFERENCE, OPENED, SAID, TOKEN, open_bench

ROOT = Path(__file__).resolve().parents[2]
POINTS = [point for point in failpoint.POINTS if point.startswith("explanation.")]
LIMIT_S = 60


@asynccontextmanager
async def doomed(folder: Path, point: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """Start a door that is killed when it reaches `point`; give the process and the door's address."""
    command = [sys.executable, "-m", "tests.connectors.test_bank_explain_kill", str(folder), point]
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), LIMIT_S)
        yield process, line.decode().strip()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.mark.parametrize("point", POINTS)
async def test_explanation_survives_a_kill_and_its_repeat_counts_once(tmp_path: Path, point: str) -> None:
    async with doomed(tmp_path, point) as (process, address), httpx.AsyncClient(base_url=address) as http:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        with pytest.raises(httpx.TransportError):
            await http.post(f"/differences/{DIFFERENCE}/explanation", json=SAID, headers=headers)
        assert await asyncio.wait_for(process.wait(), LIMIT_S) == -signal.SIGKILL
    async with open_bench(tmp_path) as bench:
        kept = len(await bench.stored())
        assert kept == (0 if point == "explanation.before_put" else 1)
        again = await bench.explain()
        assert (again.status_code, again.json()["repeated"]) == ((200, True) if kept else (202, False))
        assert (len(await bench.stored()), (await bench.spool.status()).last_sequence) == (1, 1)


async def serve(folder: Path, point: str) -> None:
    """Serve the door until the process is killed at `point`."""

    def strike(name: str) -> None:
        if name == point:
            os.kill(os.getpid(), signal.SIGKILL)

    async with open_bench(folder) as bench:
        await bench.tell(OPENED)
        failpoint.arm(strike)
        print(bench.http.base_url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), sys.argv[2]))
