"""Certificates of the stack's own authority, for brokers and their clients. Good for one run on one machine."""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from devstack.ports import LOCALHOST

VALIDITY = timedelta(days=90)
# A machine whose clock is a little behind must not refuse what was made just now.
BEHIND = timedelta(hours=1)
PRIVATE_MODE = 0o600


@dataclass(frozen=True, slots=True)
class Credentials:
    """The files by which one party is known: whom it believes, its certificate, its key."""

    authority: Path
    certificate: Path
    key: Path

    def open_context(self) -> ssl.SSLContext:
        """Return a client's context."""
        context = ssl.create_default_context(cafile=self.authority)
        context.load_cert_chain(self.certificate, self.key)
        return context

    def write_environment(self) -> dict[str, str]:
        """Return the settings by which a hub process or a connector uses them."""
        return {
            "KAFKA_SECURITY_PROTOCOL": "SSL",
            "KAFKA_SSL_CA_FILE": str(self.authority),
            "KAFKA_SSL_CERTIFICATE_FILE": str(self.certificate),
            "KAFKA_SSL_KEY_FILE": str(self.key),
        }


class Authority:
    """Signs certificates for this machine into a folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("development stack")
        self.certificate = folder / "authority.pem"
        signed = _build(self._name, self._name, self._key.public_key(), authority=True).sign(self._key, SHA256())
        self.certificate.write_bytes(signed.public_bytes(Encoding.PEM))
        self._certified: dict[str, Credentials] = {}

    def certify(self, name: str) -> Credentials:
        """Return the credentials of the party of this common name, which are made once."""
        if name not in self._certified:
            self._certified[name] = self._certify(name)
        return self._certified[name]

    def write_keystore(self, name: str) -> Path:
        """Return the file that holds the key and the certificate of a broker, as it wants them."""
        made = self.certify(name)
        file = self._folder / f"{name}.keystore.pem"
        _write_private(file, made.key.read_bytes() + made.certificate.read_bytes())
        return file

    def _certify(self, name: str) -> Credentials:
        key = ec.generate_private_key(ec.SECP256R1())
        signed = _build(_name(name), self._name, key.public_key(), authority=False).sign(self._key, SHA256())
        made = Credentials(self.certificate, self._folder / f"{name}.pem", self._folder / f"{name}.key.pem")
        made.certificate.write_bytes(signed.public_bytes(Encoding.PEM))
        _write_private(made.key, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return made


def _write_private(file: Path, content: bytes) -> None:
    file.touch(mode=PRIVATE_MODE)
    file.write_bytes(content)


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _build(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, *, authority: bool
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address(LOCALHOST))])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BEHIND)
        .not_valid_after(now + VALIDITY)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(names, critical=False)
    )
