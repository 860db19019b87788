"""What a connector draws of a message's way: its publishing, and its delivery. Nothing unless it is asked for."""

import time
from collections.abc import Iterable

from connectors.link.delivery import Delivered
from connectors.link.fact import Signed
from connectors.link.spans import Said, Spans
from contracts.wire.instant import read_instant
from contracts.wire.trace import Traced, name_trace, read_parent, read_traced, write_parent

NS = 1_000_000_000

_spans: Spans | None = None


def begin(url: str, share: float, participant: str) -> None:
    """Draw from now on, if there is a collector at `url`. Raises ExporterMissing."""
    global _spans
    if url:
        _spans = Spans(url, share, f"connector-{participant}")


def end() -> None:
    """Draw no more, and send what waits."""
    global _spans
    spans, _spans = _spans, None
    if spans is not None:
        spans.close()


def _chosen(value: bytes) -> Traced | None:
    traced = read_traced(value)
    return traced if traced is not None and _spans is not None and _spans.chooses(traced.trace) else None


def write_trace_headers(value: bytes) -> list[tuple[str, bytes]]:
    """Return the header under which the hub's work on a message belongs, if its trace is drawn."""
    traced = None if _spans is None else _chosen(value)
    return [] if traced is None else [write_parent(traced.trace, traced.trace.first)]


def show_published(rows: Iterable[Signed], topic: str) -> None:
    """Draw the first span of each trace: from when the fact was stored until the broker had the message."""
    if _spans is None:
        return
    for row in rows:
        if (traced := _chosen(row.value)) is not None:
            began_ns = int(read_instant(traced.recordedtime).timestamp() * NS)
            said: Said = {"topic": topic, "type": traced.type, "sequence": row.sequence}
            _spans.draw("publish", traced.trace, began_ns, span=traced.trace.first, kind="PRODUCER", said=said)


def show_delivered(delivered: Delivered, began_ns: int) -> None:
    """Draw that the agency's own code has handled a record."""
    if _spans is None:
        return
    envelope = delivered.envelope
    trace = name_trace(envelope.id, envelope.type, envelope.causationid)
    if _spans.chooses(trace):
        place: Said = {"topic": delivered.topic, "partition": delivered.partition, "seq": delivered.seq}
        parent = read_parent(delivered.headers, trace)
        _spans.draw("deliver", trace, began_ns, parent=parent, kind="CONSUMER", said={**place, "type": envelope.type})


def now_ns() -> int:
    """Return the time at which a step begins."""
    return time.time_ns()
