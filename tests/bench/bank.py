"""A bank's figures: SNAP notifications answered after the durable write, and camt.054 files taken into the spool.

    python -m tests.bench.bank [--small]

The door is a process of its own; its client is lean: calls are signed before the clock starts, and go over kept
connections as bytes. Memory is that of a process which does nothing but read.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from connectors.bank.statements import StatementFolder, count_statements
from connectors.link.fact import Author
from connectors.link.spool import Spool
from contracts.wire.key import PrivateKey
from tests.bench.figures import find_percentile
from tests.connectors.snap_caller import PATH, SECRET, TOKEN_PATH, Caller, bank_key, payment, public_pem, write
from tests.connectors.statement_files import amount, detail, entry, notification, refs

ROOT = Path(__file__).parents[2]
AUTHOR = Author("bri", "https://bri.example/tka", "demo")
NOTIFICATIONS_PER_S_MIN = 500
NOTIFICATIONS_P99_MS_MAX = 100
STATEMENT_S_MAX = 5.0
STATEMENT_MIB_MAX = 150
CONNECTIONS = 24
CODE = "820260401000017"
# The class is imported, so that what is measured is the reader and not the interpreter's start.
READER = """
import resource, sys
from connectors.bank.statements import judge_statement
with open(sys.argv[1], "rb") as source:
    judged = judge_statement(source)
print(judged.transactions, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def run(small: bool) -> dict[str, Any]:
    """Measure everything; `small` only sees whether it works."""
    calls, entries, many = (200, 500, 2_000) if small else (10_000, 10_000, 100_000)
    figures: dict[str, Any] = {
        f"snap_{kind}": asyncio.run(measure_notifications(kind, calls)) for kind in ("asymmetric", "symmetric")
    }
    return {**figures, "camt": asyncio.run(measure_statement(entries)), "camt_memory": measure_memory(many)}


# --- SNAP ------------------------------------------------------------------------------------------------------------


@contextmanager
def door_process(folder: Path, kind: str) -> Iterator[tuple[str, int]]:
    """Run a door on a spool in `folder`; give its address."""
    (folder / "key.pem").write_bytes(public_pem(bank_key(1)))
    (folder / "secret").write_text(SECRET)
    (folder / "connector.pem").write_bytes(PrivateKey.generate("Ed25519").to_pem())
    agreed = {"partner_id": "BRI-TKA", "bank_code": "002", "public_key_pem_file": "key.pem", "signature": kind}
    (folder / "profile.json").write_text(json.dumps({**agreed, "client_secret_file": "secret"}))
    command = [sys.executable, "-m", "tests.connectors.snap_process", str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            host, _, port = process.stdout.readline().strip().removeprefix("http://").rpartition(":")
            yield host, int(port)
        finally:
            process.terminate()


class Connection:
    """One kept connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, address: tuple[str, int]) -> "Connection":
        return cls(*await asyncio.open_connection(*address))

    async def exchange(self, sent: bytes) -> bytes:
        """Send a call and return the answer's body."""
        self._writer.write(sent)
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        return await self._reader.readexactly(int(head.partition(b"content-length: ")[2].split()[0]))

    def close(self) -> None:
        self._writer.close()


def write_call(path: str, headers: dict[str, str], body: bytes) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {path} HTTP/1.1\r\nHost: hub.example\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def measure_notifications(kind: str, calls: int) -> dict[str, float]:
    """Return how many notifications a second are answered 2002500, and how long one takes."""
    with tempfile.TemporaryDirectory() as name, door_process(Path(name), kind) as address:
        bank = Caller(secret=SECRET if kind == "symmetric" else None)
        connections = [await Connection.open(address) for _ in range(CONNECTIONS)]
        grant = b'{"grantType":"client_credentials"}'
        answer = await connections[0].exchange(write_call(TOKEN_PATH, bank.token_headers(datetime.now(UTC)), grant))
        bank.token = json.loads(answer)["accessToken"]
        bodies = [write(payment(paymentRequestId=f"A-{number}")) for number in range(calls)]
        signed = iter(
            [write_call(PATH, bank.headers(body, datetime.now(UTC), str(n)), body) for n, body in enumerate(bodies)]
        )
        taken_s: list[float] = []

        async def post(connection: Connection) -> None:
            for call in signed:
                began = time.perf_counter()
                answered = await connection.exchange(call)
                taken_s.append(time.perf_counter() - began)
                assert b'"2002500"' in answered

        began = time.perf_counter()
        await asyncio.gather(*(post(connection) for connection in connections))
        lasted_s = time.perf_counter() - began
        for connection in connections:
            connection.close()
    shares = {"p50_ms": 0.5, "p99_ms": 0.99}
    found = {name: find_percentile(taken_s, share) * 1_000 for name, share in shares.items()}
    return {"notifications": calls, "per_second": calls / lasted_s, **found}


# --- camt.054 --------------------------------------------------------------------------------------------------------


def write_statement(file: Path, entries: int) -> None:
    """Write a statement of so many entries, each another payment."""
    with file.open("w") as into:
        whole = notification("SPLIT", name="BENCH")
        before, after = whole.split("SPLIT")
        into.write('<?xml version="1.0" encoding="UTF-8"?>\n')
        into.write('<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.054.001.08"><BkToCstmrDbtCdtNtfctn>')
        into.write("<GrpHdr><MsgId>M</MsgId><CreDtTm>2026-04-01T23:30:00+07:00</CreDtTm></GrpHdr>" + before)
        for number in range(entries):
            one = detail(refs(ref=[CODE], end=f"E{number}", bank=f"R{number}"), money=amount("1200.00"), sign="CRDT")
            into.write(entry(one))
        into.write(f"{after}</BkToCstmrDbtCdtNtfctn></Document>\n")


async def measure_statement(entries: int) -> dict[str, float]:
    """Return how long a file takes from its arrival to its last entry on disk in the spool."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "statements"
        folder.mkdir()
        write_statement(folder / "day.xml", entries)
        files = count_statements(CollectorRegistry())
        async with (
            Spool.open(Path(name) / "spool.sqlite", AUTHOR) as spool,
            StatementFolder.open(folder, spool, "002", Path(name), files) as statements,
        ):
            began = time.perf_counter()
            assert await statements.scan() == 1
            lasted_s = time.perf_counter() - began
            assert (await spool.status()).last_sequence == entries
    return {"entries": entries, "seconds": lasted_s, "per_second": entries / lasted_s}


def measure_memory(entries: int) -> dict[str, float]:
    """Return the memory of a process that reads one large file to its end."""
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "large.xml"
        write_statement(file, entries)
        done = subprocess.run(
            [sys.executable, "-c", READER, str(file)], cwd=ROOT, capture_output=True, text=True, check=True
        )
    transactions, kib = map(int, done.stdout.split())
    assert transactions == entries
    return {"entries": entries, "resident_mib": kib / 1024}


if __name__ == "__main__":
    print(json.dumps(run("--small" in sys.argv), indent=1))
