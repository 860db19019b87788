"""Keys for the demo's participants, made with `cryptography` alone: PKCS#8 PEM files and public JWKs."""

import base64
import hashlib
import json
import secrets
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

COORDINATE_BYTES = 32
RSA_BITS = 2048
PRIVATE_MODE = 0o600
LOG_KEY, WITNESS_KEY = 1, 4
SECRET_BYTES = 32


def write_base64url(raw: bytes) -> str:
    """Return base64url without padding (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key with its registered name. `alg`: Ed25519 or ES256; `kid`: the RFC 7638 thumbprint."""

    private: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey
    alg: str
    jwk: dict[str, str]
    kid: str
    file: Path

    def sign(self, message: bytes) -> bytes:
        """Return the signature as JOSE wants it: 64 bytes, for ES256 r and s joined (RFC 7518 section 3.4)."""
        if isinstance(self.private, ed25519.Ed25519PrivateKey):
            return self.private.sign(message)
        r, s = decode_dss_signature(self.private.sign(message, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(COORDINATE_BYTES, "big") + s.to_bytes(COORDINATE_BYTES, "big")


def make_key(folder: Path, name: str, alg: str) -> SigningKey:
    """Make a key pair; the private half goes to `<folder>/<name>.pem`, readable by its owner alone."""
    private: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey
    if alg == "Ed25519":
        private = ed25519.Ed25519PrivateKey.generate()
        raw = private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        jwk = {"crv": "Ed25519", "kty": "OKP", "x": write_base64url(raw)}
    else:
        private = ec.generate_private_key(ec.SECP256R1())
        numbers = private.public_key().public_numbers()
        x, y = (number.to_bytes(COORDINATE_BYTES, "big") for number in (numbers.x, numbers.y))
        jwk = {"crv": "P-256", "kty": "EC", "x": write_base64url(x), "y": write_base64url(y)}
    canonical = json.dumps(jwk, sort_keys=True, separators=(",", ":")).encode()
    kid = write_base64url(hashlib.sha256(canonical).digest())
    file = folder / f"{name}.pem"
    _write_private(file, private)
    return SigningKey(private, alg, jwk, kid, file)


def write_verifier_key(key: SigningKey, name: str, kind: int) -> str:
    """Return a key's text in a signed note's form (C2SP signed-note). `kind`: LOG_KEY or WITNESS_KEY."""
    raw = base64.urlsafe_b64decode(key.jwk["x"] + "=")
    key_id = hashlib.sha256(name.encode() + b"\n" + bytes((kind,)) + raw).hexdigest()[:8]
    return f"{name}+{key_id}+{base64.b64encode(bytes((kind,)) + raw).decode()}"


def make_rsa_key(folder: Path, name: str) -> tuple[Path, Path]:
    """Make a bank's SNAP key pair; return the files of the private and of the public half."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
    private_file, public_file = folder / f"{name}.pem", folder / f"{name}.pub.pem"
    _write_private(private_file, private)
    public_file.write_bytes(
        private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return private_file, public_file


def write_secret(file: Path) -> None:
    """Write a random secret of one line, readable by its owner alone."""
    file.touch(mode=PRIVATE_MODE)
    file.write_text(secrets.token_urlsafe(SECRET_BYTES) + "\n")


def _write_private(file: Path, key: PrivateKeyTypes) -> None:
    file.touch(mode=PRIVATE_MODE)
    file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


def make_seal_key(folder: Path, name: str) -> Path:
    """Make a key to seal to; return where its public half is. The private one goes to `<folder>/<name>.pem`."""
    private = x25519.X25519PrivateKey.generate()
    kept, given = folder / f"{name}.pem", folder / f"{name}.pub.pem"
    _write_private(kept, private)
    encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    given.write_bytes(private.public_key().public_bytes(encoding, form))
    return given
