"""How a connector speaks to Kafka: the options in which aiokafka's defaults would lose, double or reorder."""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from cryptography import x509

from connectors.link.fault import SettingsFault
from connectors.link.settings import ConnectorSettings
from keys.tls import TlsFault, open_tls

BATCH_BYTES_MAX = 256 * 1024
REQUEST_BYTES_MAX = 1024 * 1024
LINGER_MS = 5
FETCH_BYTES_MAX = 8 * 1024 * 1024
METADATA_AGE_MS_MAX = 30_000
REQUEST_TIMEOUT_MS = 15_000


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the brokers are, and the prefix of this deployment's topic names. `tls`: None on plain text."""

    bootstrap: str
    topic_prefix: str
    client_id: str
    tls: ssl.SSLContext | None = None

    @classmethod
    def of(cls, settings: ConnectorSettings, client_id: str) -> Self:
        """Return the broker that the settings name. Raises SettingsFault."""
        try:
            return cls(settings.kafka_bootstrap, settings.topic_prefix, client_id, open_tls(settings))
        except TlsFault as fault:
            raise SettingsFault(str(fault)) from None

    @property
    def _options(self) -> dict[str, Any]:
        secured = {} if self.tls is None else {"security_protocol": "SSL", "ssl_context": self.tls}
        return {"bootstrap_servers": self.bootstrap, "client_id": self.client_id, **secured}

    def physical(self, topic: str) -> str:
        """Return the broker's name of a logical topic."""
        return self.topic_prefix + topic

    def producer(self) -> AIOKafkaProducer:
        """Return a new producer, not started: idempotent, every replica's word, zstd."""
        return AIOKafkaProducer(
            **self._options,
            acks="all",
            enable_idempotence=True,
            compression_type="zstd",
            linger_ms=LINGER_MS,
            max_batch_size=BATCH_BYTES_MAX,
            max_request_size=REQUEST_BYTES_MAX,
            metadata_max_age_ms=METADATA_AGE_MS_MAX,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
        )

    def consumer(self) -> AIOKafkaConsumer:
        """Return a new consumer, not started: no group, since the position is kept in the spool."""
        return AIOKafkaConsumer(
            **self._options,
            group_id=None,
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="none",
            fetch_max_bytes=FETCH_BYTES_MAX,
            metadata_max_age_ms=METADATA_AGE_MS_MAX,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
        )

    async def partitions(self, topics: Sequence[str]) -> dict[str, int]:
        """Return how many partitions the broker has of these logical topics; absent ones are left out.

        Raises KafkaError when no broker answers.
        """
        admin = AIOKafkaAdminClient(**self._options)
        try:
            await admin.start()
            found = await admin.describe_topics([self.physical(topic) for topic in topics])
        finally:
            await admin.close()
        counts = {each["topic"]: len(each["partitions"]) for each in found if each["error_code"] == 0}
        return {topic: counts[self.physical(topic)] for topic in topics if self.physical(topic) in counts}

    async def ends(self, topic: str) -> dict[int, int]:
        """Return where each partition of a logical topic ends; nothing for a topic that the broker does not have.

        Raises KafkaError when no broker answers.
        """
        count = (await self.partitions([topic])).get(topic, 0)
        if count == 0:
            return {}
        consumer = self.consumer()
        await consumer.start()
        try:
            ends = await consumer.end_offsets([TopicPartition(self.physical(topic), one) for one in range(count)])
        finally:
            await consumer.stop()
        return {place.partition: int(end) for place, end in ends.items()}


def read_certificate(settings: ConnectorSettings) -> x509.Certificate | None:
    """Return the certificate that the brokers are shown; None on plain text. Raises SettingsFault."""
    if settings.kafka_ssl_certificate_file is None:
        return None
    try:
        return x509.load_pem_x509_certificate(settings.kafka_ssl_certificate_file.read_bytes())
    except (OSError, ValueError):
        raise SettingsFault("KAFKA_SSL_CERTIFICATE_FILE cannot be read as a certificate.") from None
