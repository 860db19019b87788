"""SNAP's figures: notifications over HTTP, each answered 2002500 only once it is on disk in the spool.

    python -m tests.bench.bank [--small]

The door is a process of its own. Its client is lean: calls are signed before the clock starts, and go as bytes over
kept connections, on each of which the next call is sent when the last was answered. So the rate is the most that the
door gives, and the latencies are those at that rate.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from contracts.wire.key import PrivateKey
from tests.bench.figures import Stopwatch, find_percentile
from tests.bench.meter import Meter
from tests.connectors.snap_caller import PATH, SECRET, TOKEN_PATH, Caller, bank_key, payment, public_pem, write

ROOT = Path(__file__).parents[2]
KINDS = ("asymmetric", "symmetric")
CALLS = 10_000
CALLS_SMALL = 200
CONNECTIONS = 24
GRANT = b'{"grantType":"client_credentials"}'
TAKEN = b'"2002500"'


def run(small: bool) -> dict[str, Any]:
    """Measure both kinds of signature; `small` only sees whether it works."""
    calls = CALLS_SMALL if small else CALLS
    return {f"snap_{kind}": asyncio.run(measure_notifications(kind, calls)) for kind in KINDS}


@contextmanager
def door_process(folder: Path, kind: str) -> Iterator[tuple[int, tuple[str, int]]]:
    """Run a door on a spool in `folder`; give its process id and its address."""
    (folder / "key.pem").write_bytes(public_pem(bank_key(1)))
    (folder / "secret").write_text(SECRET)
    (folder / "secret").chmod(0o600)
    (folder / "connector.pem").write_bytes(PrivateKey.generate("Ed25519").to_pem())
    agreed = {"partner_id": "BRI-TKA", "bank_code": "002", "public_key_pem_file": "key.pem", "signature": kind}
    (folder / "profile.json").write_text(json.dumps({**agreed, "client_secret_file": "secret"}))
    command = [sys.executable, "-m", "tests.connectors.snap_process", str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            host, _, port = process.stdout.readline().strip().removeprefix("http://").rpartition(":")
            yield process.pid, (host, int(port))
        finally:
            process.terminate()


class Connection:
    """One kept connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, address: tuple[str, int]) -> Self:
        """Connect."""
        return cls(*await asyncio.open_connection(*address))

    async def exchange(self, sent: bytes) -> bytes:
        """Send a call and return the answer's body."""
        self._writer.write(sent)
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        return await self._reader.readexactly(int(head.partition(b"content-length: ")[2].split()[0]))

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


def write_call(path: str, headers: dict[str, str], body: bytes) -> bytes:
    """Return a call as it goes over the wire."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {path} HTTP/1.1\r\nHost: hub.example\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def sign_calls(address: tuple[str, int], kind: str, calls: int) -> list[bytes]:
    """Return so many signed notifications, each of another payment."""
    bank = Caller(secret=SECRET if kind == "symmetric" else None)
    connection = await Connection.open(address)
    answer = await connection.exchange(write_call(TOKEN_PATH, bank.token_headers(datetime.now(UTC)), GRANT))
    connection.close()
    bank.token = json.loads(answer)["accessToken"]
    bodies = [write(payment(paymentRequestId=f"A-{number}")) for number in range(calls)]
    return [write_call(PATH, bank.headers(body, datetime.now(UTC), str(n)), body) for n, body in enumerate(bodies)]


async def measure_notifications(kind: str, calls: int) -> dict[str, Any]:
    """Return how many notifications a second are answered 2002500, how long one takes, and the CPU time of both ends.

    Raises AssertionError if one was answered anything else.
    """
    with tempfile.TemporaryDirectory() as name, door_process(Path(name), kind) as (door, address):
        signed = await sign_calls(address, kind, calls)
        # Only now, since the door ends a connection that says nothing for some seconds.
        connections = [await Connection.open(address) for _ in range(CONNECTIONS)]
        meter = Meter()
        meter.add("door", door)
        meter.add("client", os.getpid(), with_children=False)
        watch = Stopwatch(meter.cpu_s())
        taken_s = await send(connections, signed)
        span = watch.stop(calls, meter.cpu_s())
        for connection in connections:
            connection.close()
    shares = {"p50_ms": 0.5, "p99_ms": 0.99}
    found = {name: find_percentile(taken_s, share) * 1_000 for name, share in shares.items()}
    return {"notifications": calls, "per_second": span.per_second, **found, "cpu_us": span.costs_us()}


async def send(connections: Sequence[Connection], signed: Sequence[bytes]) -> list[float]:
    """Send all calls, each over the next free connection; return how long each took in seconds."""
    left, taken_s = iter(signed), []

    async def post(connection: Connection) -> None:
        for call in left:
            began = time.perf_counter()
            answered = await connection.exchange(call)
            taken_s.append(time.perf_counter() - began)
            assert TAKEN in answered, answered

    await asyncio.gather(*(post(connection) for connection in connections))
    return taken_s


if __name__ == "__main__":
    print(json.dumps(run("--small" in sys.argv[1:])))
