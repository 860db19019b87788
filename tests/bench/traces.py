"""What traces cost: CPU time of one record's spans at the intake and the relay, off, on, and for a share of them.

Run it with: python -m tests.bench.traces
"""

import json
import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

from rich.console import Console

from contracts.wire.record import Record
from hub import tracing
from hub.store.outbox import OutboxRow
from tests.flow.collector import open_collector

RECORDS, ROUNDS = 1_000, 10
SHARES = (0.01, 1.0)
PAUSE_S = 0.5


def collect(told: Connection) -> None:
    """Be the collector, in a process of its own, until told to end."""
    with open_collector() as collector:
        told.send(collector.url)
        told.recv()


def write_value(number: int) -> bytes:
    """Return a value of a usual size."""
    event = {"id": f"e-{number}", "type": "id.tka.bank.payment.received.v1", "recordedtime": "2026-11-24T03:00:00Z"}
    return json.dumps(event | {"data": {"filling": "x" * 700}}).encode()


def work() -> None:
    """Do for each record what intake and relay do for its trace."""
    for record in RECORDS_TAKEN:
        tracing.write_trace_headers("to.bri", 0, ROWS[record.offset])
    if tracing.is_on():
        tracing.show_taken(RECORDS_TAKEN, 1, (1, 2))
    tracing.show_relayed("to.bri", {0: ROWS}, 1)


VALUES = [write_value(number) for number in range(RECORDS)]
RECORDS_TAKEN = [Record("from.bri", 0, n, b"k", value, (("jws", b"x"),), 0) for n, value in enumerate(VALUES)]
ROWS = [OutboxRow(n, "k", "event", False, value, "x", None) for n, value in enumerate(VALUES)]


def measure(url: str, share: float) -> float:
    """Return the CPU time of this process for one record, the exporter's thread included, in microseconds."""
    tracing.begin(url, share, ["bench"])
    began_s = time.process_time()
    for _ in range(ROUNDS):
        work()
        if url:
            # The exporter's thread keeps up, so that nothing is dropped and all of it is counted.
            time.sleep(PAUSE_S)
    tracing.end()
    return (time.process_time() - began_s) / (RECORDS * ROUNDS) * 1e6


def main(say: Callable[[str], None]) -> None:
    """Measure and say it."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=collect, args=(theirs,))
    process.start()
    url = ours.recv()
    say(f"off: {measure('', 1.0):.1f} µs a record")
    for share in SHARES:
        say(f"a share of {share}: {measure(url, share):.1f} µs a record")
    ours.send("end")
    process.join()


if __name__ == "__main__":
    main(Console().print)
