"""The trace of a message: named by the message itself, so that every party gives it the same name without being told.

A trace's name is the hash of a message's id, its first span's name follows from it, and a part that only reads the
message from a database can still say where its work belongs. What the hub says of its own accord belongs to the trace
of the message that it follows from. Traces are for operators: nothing is decided by them, and nothing signs them.
Source: W3C Trace Context, section 3.2 (traceparent); SPEC.md section 2.
"""

import re
from hashlib import sha256
from typing import NamedTuple

from pydantic_core import from_json

from contracts.wire.record import Headers

HEADER = "traceparent"
LABEL = b"tkahub-trace/1\n"
HUB_TYPE_PREFIX = "id.tka.hub."
TRACE_BYTES, SPAN_BYTES = 16, 8
# Only what is sampled travels with a header at all, hence the flags.
_FORM = re.compile(rb"00-([0-9a-f]{32})-([0-9a-f]{16})-01").fullmatch


class Trace(NamedTuple):
    """The trace of one message: `number` is its trace-id, `first` the id of the span that everything else is under."""

    number: int
    first: int

    def step(self, name: str) -> int:
        """Return the id of the span of a step that is done once, by its name."""
        digest = sha256(LABEL + self.number.to_bytes(TRACE_BYTES, "big") + name.encode()).digest()
        return int.from_bytes(digest[:SPAN_BYTES], "big") or 1


def name_trace(event_id: str, event_type: str = "", cause: str | None = None) -> Trace:
    """Return the trace of a message, or of what the hub said because of it."""
    of = cause if cause is not None and event_type.startswith(HUB_TYPE_PREFIX) else event_id
    digest = sha256(LABEL + of.encode("utf-8", "surrogatepass")).digest()
    first = int.from_bytes(digest[TRACE_BYTES : TRACE_BYTES + SPAN_BYTES], "big")
    # All zero means none to W3C.
    return Trace(int.from_bytes(digest[:TRACE_BYTES], "big") or 1, first or 1)


class Traced(NamedTuple):
    """What a value says that its trace shows: when its author wrote it down, and what it is."""

    trace: Trace
    type: str
    recordedtime: str


def read_traced(value: bytes | None) -> Traced | None:
    """Return a value's trace, without believing anything else of it; None if it is no event."""
    try:
        event = from_json(value or b"")
    except ValueError:
        return None
    if not isinstance(event, dict):
        return None
    named = [one for name in ("id", "type", "recordedtime") if isinstance(one := event.get(name), str)]
    cause = event.get("causationid")
    if len(named) < 3 or not (cause is None or isinstance(cause, str)):
        return None
    event_id, event_type, recorded = named
    return Traced(name_trace(event_id, event_type, cause), event_type, recorded)


def write_parent(trace: Trace, span: int) -> tuple[str, bytes]:
    """Write the header that names the span under which the receiver's work belongs."""
    return HEADER, b"00-%032x-%016x-01" % (trace.number, span)


def read_parent(headers: Headers, trace: Trace) -> int:
    """Return the span under which the work on a message belongs: the one that its header names, or the trace's first.

    Anybody who may write to the topic may write any header: one that names another trace is not looked at, so that
    nobody can tie a message to a stranger's trace or carry words in its name.
    """
    for name, raw in headers:
        if name == HEADER and isinstance(raw, bytes) and (found := _FORM(raw)) is not None:
            number, span = (int(part, 16) for part in found.groups())
            if number == trace.number and span:
                return span
    return trace.first
