"""The certificate by which a process is known to the brokers: its settings become a context of both sides."""

import ssl
from pathlib import Path
from typing import Literal, Protocol

from keys.fault import KeyFault
from keys.files import read_secret


class TlsFault(Exception):
    """The settings of a certificate do not go together, or its files cannot be used: a sentence for who set them."""


class TlsSettings(Protocol):
    """The settings that say how a process speaks to the brokers, alike for the hub and every connector."""

    @property
    def kafka_security_protocol(self) -> Literal["PLAINTEXT", "SSL"]:
        """`PLAINTEXT` where nobody shows a certificate."""

    @property
    def kafka_ssl_ca_file(self) -> Path | None:
        """The authorities that sign for the brokers."""

    @property
    def kafka_ssl_certificate_file(self) -> Path | None:
        """The process's own certificate."""

    @property
    def kafka_ssl_key_file(self) -> Path | None:
        """That certificate's private key."""


def open_tls(settings: TlsSettings) -> ssl.SSLContext | None:
    """Return the context in which both sides show their certificates; None on plain text. Raises TlsFault."""
    files = {
        "KAFKA_SSL_CA_FILE": settings.kafka_ssl_ca_file,
        "KAFKA_SSL_CERTIFICATE_FILE": settings.kafka_ssl_certificate_file,
        "KAFKA_SSL_KEY_FILE": settings.kafka_ssl_key_file,
    }
    given = {name: path for name, path in files.items() if path is not None}
    if settings.kafka_security_protocol == "PLAINTEXT":
        if given:
            # Whoever gives a certificate believes that it is used.
            raise TlsFault(f"{min(given)} is set, but KAFKA_SECURITY_PROTOCOL is not SSL.")
        return None
    missing = sorted(files.keys() - given.keys())
    if missing:
        raise TlsFault(f"{missing[0]} is not set, but KAFKA_SECURITY_PROTOCOL is SSL.")
    return _load(*given.values())


def _load(authority: Path, certificate: Path, key: Path) -> ssl.SSLContext:
    try:
        # OpenSSL wants the path and would take a key that anybody may read.
        read_secret(key)
        context = ssl.create_default_context(cafile=authority)
        context.load_cert_chain(certificate, key)
    except KeyFault as fault:
        raise TlsFault(f"KAFKA_SSL_KEY_FILE {fault.says}.") from None
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or "they do not fit each other"
        raise TlsFault(f"The files of KAFKA_SSL_* cannot be used: {reason}.") from None
    return context
