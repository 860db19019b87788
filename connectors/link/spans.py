"""Spans on their way to a collector, by OTLP over HTTP: OpenTelemetry's own exporter, loaded only where it is wanted.

Spans wait in a queue of a fixed size that a thread of its own empties. What the collector does not take in time is
dropped: traces never hold up a message.
"""

import threading
import time
from collections.abc import Mapping
from os import urandom
from typing import TYPE_CHECKING, Literal

from contracts.wire.trace import SPAN_BYTES, Trace

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext

QUEUE_SPANS_MAX = 16_384
EXPORT_SPANS_MAX = 512
EXPORT_EVERY_MS = 1_000
EXPORT_TIMEOUT_S = 3.0
CLOSE_S_MAX = 2.0
SAMPLED = 1
# Traces are chosen by the lower half of their name, as OpenTelemetry's own sampler does: so all parties choose alike.
CHOSEN_OF = 2**64

Said = Mapping[str, str | int]
Kind = Literal["INTERNAL", "PRODUCER", "CONSUMER"]


class ExporterMissing(Exception):
    """OpenTelemetry's exporter is not installed."""


class Spans:
    """Draws spans under names that are given, since each step knows afterwards what it was."""

    def __init__(self, url: str, share: float, service: str) -> None:
        """`url` takes OTLP/HTTP, `share` of all traces is drawn. Raises ExporterMissing."""
        try:
            from opentelemetry import trace
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import ReadableSpan
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError:
            raise ExporterMissing from None
        self._api, self._span = trace, ReadableSpan
        self._resource = Resource({"service.name": service})
        self._bound = int(share * CHOSEN_OF)
        self._processor = BatchSpanProcessor(
            OTLPSpanExporter(endpoint=url, timeout=EXPORT_TIMEOUT_S),
            max_queue_size=QUEUE_SPANS_MAX,
            max_export_batch_size=EXPORT_SPANS_MAX,
            schedule_delay_millis=EXPORT_EVERY_MS,
        )

    def chooses(self, trace: Trace) -> bool:
        """Whether this trace is among those that are drawn."""
        return trace.number % CHOSEN_OF < self._bound

    def draw(
        self,
        name: str,
        trace: Trace,
        began_ns: int,
        ended_ns: int | None = None,
        *,
        span: int | None = None,
        parent: int | None = None,
        kind: Kind = "INTERNAL",
        said: Said | None = None,
    ) -> int:
        """Draw a span of `trace` and return its id. `parent` None: it is the trace's first."""
        number = span or int.from_bytes(urandom(SPAN_BYTES), "big") or 1
        self._processor.on_end(
            self._span(
                name=name,
                context=self._context(trace, number),
                parent=None if parent is None else self._context(trace, parent),
                resource=self._resource,
                attributes=_spell(said or {}),
                kind=self._api.SpanKind[kind],
                start_time=began_ns,
                end_time=max(began_ns, time.time_ns() if ended_ns is None else ended_ns),
            )
        )
        return number

    def _context(self, trace: Trace, span: int) -> "SpanContext":
        flags = self._api.TraceFlags(SAMPLED)
        return self._api.SpanContext(trace.number, span, is_remote=False, trace_flags=flags)

    def close(self) -> None:
        """Send what waits, for no longer than CLOSE_S_MAX: the library itself would try for half a minute."""
        closing = threading.Thread(target=self._processor.shutdown, name="spans-closing", daemon=True)
        closing.start()
        closing.join(CLOSE_S_MAX)


def _spell(said: Said) -> dict[str, str | int]:
    """Return attributes under the exchange's own prefix."""
    return {f"tka.{name}": value for name, value in said.items()}
