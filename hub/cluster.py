"""Where Kafka is and who this process is there: addresses, the prefix of all names, the certificate."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hub.settings import Settings, SettingsInvalid
from keys.tls import TlsFault, open_tls


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where Kafka is, and the prefix of everything that this deployment names there. `tls`: None on plain text."""

    bootstrap: str
    prefix: str
    tls: ssl.SSLContext | None = None

    def physical(self, topic: str) -> str:
        """Return the name that Kafka knows the logical `topic` by."""
        return self.prefix + topic

    @property
    def options(self) -> Mapping[str, Any]:
        """How to connect, as aiokafka and kafka-python both take it."""
        secured = {} if self.tls is None else {"security_protocol": "SSL", "ssl_context": self.tls}
        return {"bootstrap_servers": self.bootstrap.split(","), **secured}


def find_cluster(settings: Settings) -> Cluster:
    """Return the cluster that the settings name. Raises SettingsInvalid."""
    if not settings.kafka_bootstrap:
        raise SettingsInvalid("KAFKA_BOOTSTRAP is not set: it names the brokers, as host:port.")
    try:
        return Cluster(settings.kafka_bootstrap, settings.topic_prefix, open_tls(settings))
    except TlsFault as fault:
        raise SettingsInvalid(str(fault)) from None
