"""What a connector counts: numbers only, labelled by names of the exchange, never by anything of a person."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from prometheus_client import CollectorRegistry, Counter, Gauge

from connectors.link.fact import SpoolStatus

_STATES = ("waiting", "signed", "sent", "accepted", "refused")
RECEIPT_OUTCOMES = ("accepted", "refused", "again", "unknown", "foreign")
ERASURE_OUTCOMES = ("obeyed", "refused")


class LinkMetrics:
    """The metrics of one connector, in a registry of their own."""

    def __init__(self) -> None:
        self.collected = CollectorRegistry()
        self.spooled = self._gauge("spool_messages", "Messages in the spool", "state")
        self.aside = self._gauge("spool_set_aside", "Native items that could not become a message")
        self.spool_bytes = self._gauge("spool_bytes", "Bytes that the spool uses")
        self.spool_bytes_max = self._gauge("spool_bytes_max", "The spool's limit in bytes")
        self.oldest = self._gauge("spool_oldest_timestamp_seconds", "When the oldest open message was stored")
        self.sent = self._counter("messages_sent", "Messages that the broker took")
        self.resent = self._counter("messages_resent", "Messages sent again for want of a receipt")
        self.receipts = self._counter("receipts", "Entries of receipts, by what they did", "outcome")
        self.delivered = self._counter("delivered", "Records handled, by event type", "type")
        self.position = self._gauge("stream_seq", "The last handled hub-seq", "topic", "partition")
        self.stopped = self._gauge("stream_stopped", "1 while a stream is stopped", "topic", "partition")
        self.caught_up = self._counter("caught_up", "Records read from the hub's archive")
        self.handle_failures = self._counter("handle_failures", "Deliveries that failed and are retried")
        self.task_failures = self._counter("task_failures", "Tasks that failed and were restarted", "task")
        self.registry_version = self._gauge("registry_version", "The registry's version in use")
        self.refusals = self._gauge("refusals", "Messages that the hub refused, and items set aside", "code")
        self.oldest_unsent = self._gauge("spool_oldest_unsent_timestamp_seconds", "When the oldest unsent was stored")
        self.seen_at = self._gauge("last_seen_timestamp_seconds", "When something was last heard of", "what")
        self.receipts_missing = self._gauge("receipts_missing", "Messages whose receipt is overdue")
        self.counts_differing = self._gauge("counts_differing", "Days that the hub counts otherwise than this spool")
        self.offset = self._gauge("clock_offset_seconds", "The hub's clock less this machine's")
        self.last_seen: dict[str, datetime] = {}
        self.clock_offset: timedelta | None = None
        #: Sentences that ask for somebody's attention, by what they are about.
        self.notes: dict[str, str] = {}
        self.erasures = self._counter("erasures", "Orders to erase, by what became of them", "became")
        self.registry_refused = self._counter("registry_refused", "Registries that were refused")
        # From 0 on: of a figure that begins at 1 Prometheus sees no increase.
        for outcome in RECEIPT_OUTCOMES:
            self.receipts.labels(outcome)
        for became in ERASURE_OUTCOMES:
            self.erasures.labels(became)

    def _gauge(self, name: str, meaning: str, *labels: str) -> Gauge:
        return Gauge(f"tkahub_connector_{name}", meaning, labels, registry=self.collected)

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(f"tkahub_connector_{name}", meaning, labels, registry=self.collected)

    def see(self, what: str, at: datetime) -> None:
        """Note that something was heard of."""
        self.last_seen[what] = at
        self.seen_at.labels(what).set(at.timestamp())

    def see_offset(self, offset: timedelta) -> None:
        """Note by how much the hub's clock is ahead of this machine's."""
        self.clock_offset = offset
        self.offset.set(offset.total_seconds())

    def show_spool(self, status: SpoolStatus, refusals: Mapping[str, int]) -> None:
        """Set the gauges of the spool."""
        for code, count in refusals.items():
            self.refusals.labels(code).set(count)
        self.oldest_unsent.set(0 if status.oldest_unsent is None else status.oldest_unsent.timestamp())
        for state in _STATES:
            self.spooled.labels(state).set(getattr(status, state))
        self.aside.set(status.aside)
        self.spool_bytes.set(status.bytes_used)
        self.spool_bytes_max.set(status.bytes_max)
        self.oldest.set(0 if status.oldest_unreceipted is None else status.oldest_unreceipted.timestamp())
