"""Where Kafka is and who this process is there: addresses, the prefix of all names, the certificate."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hub.settings import Settings, SettingsInvalid

OTHERS_MAY_READ = 0o077


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
    return Cluster(settings.kafka_bootstrap, settings.topic_prefix, _open_tls(settings))


def _open_tls(settings: Settings) -> ssl.SSLContext | None:
    files = {
        "KAFKA_SSL_CA_FILE": settings.kafka_ssl_ca_file,
        "KAFKA_SSL_CERTIFICATE_FILE": settings.kafka_ssl_certificate_file,
        "KAFKA_SSL_KEY_FILE": settings.kafka_ssl_key_file,
    }
    given = {name: path for name, path in files.items() if path is not None}
    if settings.kafka_security_protocol == "PLAINTEXT":
        if given:
            # Whoever gives a certificate believes that it is used.
            raise SettingsInvalid(f"{min(given)} is set, but KAFKA_SECURITY_PROTOCOL is not SSL.")
        return None
    missing = sorted(files.keys() - given.keys())
    if missing:
        raise SettingsInvalid(f"{missing[0]} is not set, but KAFKA_SECURITY_PROTOCOL is SSL.")
    return _load(*given.values())


def _load(authority: Path, certificate: Path, key: Path) -> ssl.SSLContext:
    try:
        if key.stat().st_mode & OTHERS_MAY_READ:
            raise SettingsInvalid("KAFKA_SSL_KEY_FILE can be read by others: set its mode to 0600.")
        context = ssl.create_default_context(cafile=authority)
        context.load_cert_chain(certificate, key)
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or "they do not fit each other"
        raise SettingsInvalid(f"The files of KAFKA_SSL_* cannot be used: {reason}.") from None
    return context
