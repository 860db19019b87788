"""What the hub's parts draw of a message's way: intake, case step, log, release, relay. Nothing unless it is asked for.

A span tells of places, sizes and types, never of anything inside a message.
"""

import time
from collections.abc import Iterable, Mapping, Sequence

from pydantic_core import from_json

from contracts.wire.instant import read_instant
from contracts.wire.record import Record
from contracts.wire.trace import Traced, name_trace, read_parent, read_traced, write_parent
from hub.spans import Said, Spans
from hub.store.outbox import OutboxRow

NS = 1_000_000_000
ACCEPTED = "accepted"

_spans: Spans | None = None


def begin(url: str, share: float, parts: Iterable[str]) -> None:
    """Draw from now on, if there is a collector at `url`. Raises ExporterMissing."""
    global _spans
    if url:
        _spans = Spans(url, share, f"hub-{'-'.join(sorted(parts))}")


def end() -> None:
    """Draw no more, and send what waits."""
    global _spans
    spans, _spans = _spans, None
    if spans is not None:
        spans.close()


def is_on() -> bool:
    """Whether anything is drawn."""
    return _spans is not None


def _chosen(value: bytes | None) -> Traced | None:
    traced = read_traced(value)
    return traced if traced is not None and _spans is not None and _spans.chooses(traced.trace) else None


def show_taken(records: Iterable[Record], began_ns: int, marks: tuple[int, int]) -> None:
    """Draw, for each record of a transaction, its taking in and the step of its case between the two `marks`."""
    if _spans is None:
        return
    ended_ns = time.time_ns()
    for record in records:
        if (traced := _chosen(record.value)) is None:
            continue
        place: Said = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
        parent = read_parent(record.headers, traced.trace)
        taking = _spans.draw("intake", traced.trace, began_ns, ended_ns, parent=parent, kind="CONSUMER", said=place)
        _spans.draw("case step", traced.trace, *marks, parent=taking)


def show_signed(entries: Sequence[bytes], size: int, signed_ns: int) -> None:
    """Draw, for each accepted message among the log's entries, how long its leaf waited for a signed checkpoint."""
    for entry in map(from_json, entries):
        if _spans is None or entry["kind"] != ACCEPTED:
            continue
        trace = name_trace(entry["id"])
        if _spans.chooses(trace):
            began_ns = _ns_of(entry["received_at"])
            _spans.draw("evidence log", trace, began_ns, signed_ns, parent=trace.first, said={"checkpoint": size})


def write_trace_headers(topic: str, partition: int, row: OutboxRow) -> list[tuple[str, bytes]]:
    """Return the header under which the receiver's work belongs, if this row's trace is drawn."""
    traced = None if _spans is None else _chosen(row.value)
    return [] if traced is None else [write_parent(traced.trace, traced.trace.step(f"{topic}/{partition}/{row.seq}"))]


def show_relayed(topic: str, rows: Mapping[int, Sequence[OutboxRow]], began_ns: int) -> None:
    """Draw, for each row that was committed to Kafka, its relaying, and its wait for release before."""
    if _spans is None:
        return
    ended_ns = time.time_ns()
    for partition, some in rows.items():
        for row in some:
            if (traced := _chosen(row.value)) is None:
                continue
            trace, step = traced.trace, traced.trace.step(f"{topic}/{partition}/{row.seq}")
            if row.own:
                waiting_ns = _ns_of(traced.recordedtime)
                proven = "yes" if row.tlog_proof is not None else "no"
                waited: Said = {"type": traced.type, "proven": proven}
                _spans.draw("release", trace, waiting_ns, began_ns, parent=trace.first, said=waited)
            place: Said = {"topic": topic, "partition": partition, "seq": row.seq, "type": traced.type}
            _spans.draw("relay", trace, began_ns, ended_ns, span=step, parent=trace.first, kind="PRODUCER", said=place)


def _ns_of(instant: str) -> int:
    return int(read_instant(instant).timestamp() * NS)
