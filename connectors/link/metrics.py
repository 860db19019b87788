"""What a connector counts: numbers only, labelled by names of the exchange, never by anything of a person."""

from prometheus_client import CollectorRegistry, Counter, Gauge

from connectors.link.fact import SpoolStatus

_STATES = ("waiting", "signed", "sent", "accepted", "refused")


class LinkMetrics:
    """The metrics of one connector, in a registry of their own."""

    def __init__(self) -> None:
        self.collected = CollectorRegistry()
        into = self.collected
        self.spooled = Gauge("tkahub_spool_messages", "Messages in the spool", ["state"], registry=into)
        self.aside = Gauge("tkahub_spool_set_aside", "Native items that could not become a message", registry=into)
        self.spool_bytes = Gauge("tkahub_spool_bytes", "Bytes that the spool uses", registry=into)
        self.spool_bytes_max = Gauge("tkahub_spool_bytes_max", "The spool's limit in bytes", registry=into)
        self.oldest = Gauge(
            "tkahub_spool_oldest_unreceipted_timestamp_seconds", "When the oldest open message was stored", registry=into
        )
        self.sent = Counter("tkahub_messages_sent", "Messages that the broker took", registry=into)
        self.resent = Counter("tkahub_messages_resent", "Messages sent again for want of a receipt", registry=into)
        self.receipts = Counter("tkahub_receipts", "Entries of receipts, by what they did", ["outcome"], registry=into)
        self.delivered = Counter("tkahub_delivered", "Records handled, by event type", ["type"], registry=into)
        self.position = Gauge("tkahub_stream_seq", "The last handled hub-seq", ["topic", "partition"], registry=into)
        self.stopped = Gauge("tkahub_stream_stopped", "1 while a stream is stopped", ["topic", "partition"], registry=into)
        self.caught_up = Counter("tkahub_caught_up", "Records read from the hub's archive", registry=into)
        self.handle_failures = Counter("tkahub_handle_failures", "Deliveries that failed and are retried", registry=into)
        self.task_failures = Counter("tkahub_task_failures", "Tasks that failed and were restarted", ["task"], registry=into)
        self.registry_version = Gauge("tkahub_registry_version", "The registry's version in use", registry=into)
        self.registry_refused = Counter("tkahub_registry_refused", "Registries that were refused", registry=into)

    def show_spool(self, status: SpoolStatus) -> None:
        """Set the gauges of the spool."""
        for state in _STATES:
            self.spooled.labels(state).set(getattr(status, state))
        self.aside.set(status.aside)
        self.spool_bytes.set(status.bytes_used)
        self.spool_bytes_max.set(status.bytes_max)
        self.oldest.set(0 if status.oldest_unreceipted is None else status.oldest_unreceipted.timestamp())
