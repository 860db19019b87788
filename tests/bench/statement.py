"""Statements' figures: a camt.054 file read, checked and spooled, and the memory that reading a large one takes.

    python -m tests.bench.statement [--small]

The memory is that of a process which does nothing but read.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from connectors.bank.statements import StatementFolder, count_statements
from connectors.link.fact import Author
from connectors.link.log import configure_log
from connectors.link.spool import Spool
from tests.connectors.statement_files import amount, detail, entry, notification, refs

ROOT = Path(__file__).parents[2]
AUTHOR = Author("bri", "https://bri.example/tka", "demo")
ENTRIES = 10_000
ENTRIES_SMALL = 500
ENTRIES_MANY = 100_000
ENTRIES_MANY_SMALL = 2_000
CODE = "820260401000017"
# The kernel's peak of this program alone: what getrusage tells would be its parent's where that was larger.
READER = """
import sys
from pathlib import Path
from connectors.bank.statements import judge_statement
with open(sys.argv[1], "rb") as source:
    judged = judge_statement(source)
[peak] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
print(judged.transactions, peak.split()[1])
"""


def run(small: bool) -> dict[str, Any]:
    """Measure; `small` only sees whether it works."""
    entries, many = (ENTRIES_SMALL, ENTRIES_MANY_SMALL) if small else (ENTRIES, ENTRIES_MANY)
    return {"camt": asyncio.run(measure_statement(entries)), "camt_memory": measure_memory(many)}


def write_statement(file: Path, entries: int) -> None:
    """Write a statement of so many entries, each another payment."""
    before, after = notification("SPLIT", name="BENCH").split("SPLIT")
    with file.open("w") as into:
        into.write('<?xml version="1.0" encoding="UTF-8"?>\n')
        into.write('<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.054.001.08"><BkToCstmrDbtCdtNtfctn>')
        into.write("<GrpHdr><MsgId>M</MsgId><CreDtTm>2026-04-01T23:30:00+07:00</CreDtTm></GrpHdr>" + before)
        for number in range(entries):
            one = detail(refs(ref=[CODE], end=f"E{number}", bank=f"R{number}"), money=amount("1200.00"), sign="CRDT")
            into.write(entry(one))
        into.write(f"{after}</BkToCstmrDbtCdtNtfctn></Document>\n")


async def measure_statement(entries: int) -> dict[str, Any]:
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
            began, used = time.perf_counter(), time.process_time()
            assert await statements.scan() == 1
            lasted_s, used_s = time.perf_counter() - began, time.process_time() - used
            assert (await spool.status()).last_sequence == entries
    return {"entries": entries, "seconds": lasted_s, "per_second": entries / lasted_s, "cpu_us": used_s / entries * 1e6}


def measure_memory(entries: int) -> dict[str, Any]:
    """Return the peak memory of a process that reads one large file to its end."""
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "large.xml"
        write_statement(file, entries)
        command = [sys.executable, "-c", READER, str(file)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    transactions, kib = map(int, done.stdout.split())
    assert transactions == entries
    return {"entries": entries, "peak_mib": kib / 1024}


if __name__ == "__main__":
    configure_log()
    print(json.dumps(run("--small" in sys.argv[1:])))
