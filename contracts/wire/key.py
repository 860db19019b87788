"""Keys: the two algorithms of the exchange, bound to the key and never chosen by a message (RFC 7517, 7638, 9864)."""

import hashlib
import json
from collections.abc import Mapping
from typing import Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from contracts.errors import Code, Refusal
from contracts.wire import base64url

ED25519 = "Ed25519"
ES256 = "ES256"
ALGORITHMS = (ED25519, ES256)
SIGNATURE_BYTES = 64
COORDINATE_BYTES = 32

_FIELD_PRIME = 2**255 - 19
_CURVE_D = (-121665 * pow(121666, -1, _FIELD_PRIME)) % _FIELD_PRIME
# Each signature that verifies under one of these points verifies for almost any message (small order, RFC 7748 s. 7).
_ORDER_8_Y = 2707385501144840649318225287225658788936804267575313519463743609750303021022
_SMALL_ORDER_Y = frozenset({0, 1, _FIELD_PRIME - 1, _ORDER_8_Y, _FIELD_PRIME - _ORDER_8_Y})
_MEMBERS = {"OKP": {"kty", "crv", "x"}, "EC": {"kty", "crv", "x", "y"}}
_INFORMATIVE_MEMBERS = {"kid", "alg", "use"}

_ECDSA = ec.ECDSA(hashes.SHA256())
_ECDSA_DETERMINISTIC = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)


def _invalid(detail: str) -> Refusal:
    return Refusal(Code.REGISTRY_KEY_INVALID, detail)


def thumbprint(jwk: Mapping[str, object]) -> str:
    """The kid of a public JWK: base64url of the SHA-256 of its required members in lexical order (RFC 7638)."""
    required = _MEMBERS.get(str(jwk.get("kty")))
    if required is None:
        raise _invalid("jwk: kty is neither OKP nor EC")
    canonical = json.dumps({name: jwk.get(name) for name in sorted(required)}, separators=(",", ":"))
    return base64url.encode(hashlib.sha256(canonical.encode("utf-8")).digest())


def _coordinate(jwk: Mapping[str, object], name: str) -> bytes:
    text = jwk.get(name)
    # A lone surrogate in a text from elsewhere could not even be encoded.
    raw = base64url.decode(text.encode("ascii")) if isinstance(text, str) and text.isascii() else None
    if raw is None or len(raw) != COORDINATE_BYTES:
        raise _invalid(f"jwk: {name} is not {COORDINATE_BYTES} bytes in canonical base64url")
    return raw


def _check_edwards_point(raw: bytes) -> None:
    """Refuse what is no point of edwards25519 in its canonical encoding, and every point of small order."""
    y = int.from_bytes(raw, "little") & (2**255 - 1)
    if y >= _FIELD_PRIME:
        raise _invalid("jwk: x is not a canonical encoding")
    if y in _SMALL_ORDER_Y:
        raise _invalid("jwk: x is a point of small order")
    x_squared = (y * y - 1) * pow(_CURVE_D * y * y + 1, -1, _FIELD_PRIME) % _FIELD_PRIME
    if pow(x_squared, (_FIELD_PRIME - 1) // 2, _FIELD_PRIME) != 1:
        raise _invalid("jwk: x is not a point of the curve")


class PublicKey:
    """A public key that may verify: `alg` and `kid` follow from the key itself."""

    __slots__ = ("_ec", "_ed", "alg", "jwk", "kid")

    def __init__(self, jwk: Mapping[str, object]) -> None:
        kty, crv = jwk.get("kty"), jwk.get("crv")
        required = _MEMBERS.get(str(kty))
        if required is None or not required <= jwk.keys() <= required | _INFORMATIVE_MEMBERS:
            raise _invalid("jwk: wrong members")
        self._ec: ec.EllipticCurvePublicKey | None = None
        self._ed: ed25519.Ed25519PublicKey | None = None
        if (kty, crv) == ("OKP", "Ed25519"):
            raw = _coordinate(jwk, "x")
            _check_edwards_point(raw)
            self.alg = ED25519
            self._ed = ed25519.Ed25519PublicKey.from_public_bytes(raw)
        elif (kty, crv) == ("EC", "P-256"):
            self.alg = ES256
            point = b"\x04" + _coordinate(jwk, "x") + _coordinate(jwk, "y")
            try:
                self._ec = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
            except ValueError as error:
                raise _invalid("jwk: x and y are not a point of P-256") from error
        else:
            raise _invalid("jwk: crv is neither Ed25519 nor P-256")
        self.jwk: dict[str, str] = {name: str(jwk[name]) for name in ("kty", "crv", "x", "y") if name in required}
        self.kid = thumbprint(self.jwk)
        if jwk.get("kid", self.kid) != self.kid or jwk.get("alg", self.alg) != self.alg:
            raise _invalid("jwk: kid or alg does not belong to this key")

    @classmethod
    def from_jwk(cls, jwk: Mapping[str, object]) -> "PublicKey":
        """Read a public JWK; `kid`, `alg` and `use` may stand in it. Raises Refusal(registry_key_invalid)."""
        return cls(jwk)

    def verify(self, signature: bytes, message: bytes) -> bool:
        """Whether `signature` (64 bytes: RFC 8032, or r || s of RFC 7518 section 3.4) is this key's over `message`."""
        if len(signature) != SIGNATURE_BYTES:
            return False
        try:
            if self._ed is not None:
                self._ed.verify(signature, message)
            elif self._ec is not None:
                r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
                self._ec.verify(encode_dss_signature(r, s), message, _ECDSA)
        except InvalidSignature:
            return False
        return True


def _public_jwk(private: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> dict[str, str]:
    if isinstance(private, ed25519.Ed25519PrivateKey):
        raw = private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return {"kty": "OKP", "crv": "Ed25519", "x": base64url.encode(raw)}
    numbers = private.public_key().public_numbers()
    x, y = (base64url.encode(n.to_bytes(COORDINATE_BYTES, "big")) for n in (numbers.x, numbers.y))
    return {"kty": "EC", "crv": "P-256", "x": x, "y": y}


class Signer(Protocol):
    """What signs with a private key, wherever that is: 64 bytes that `public` verifies."""

    @property
    def public(self) -> PublicKey:
        """The other half."""

    @property
    def alg(self) -> str:
        """Ed25519 or ES256."""

    @property
    def kid(self) -> str:
        """The thumbprint of the public half."""

    def sign(self, message: bytes) -> bytes:
        """Sign: 64 bytes (RFC 8032, or r || s of RFC 7518 section 3.4)."""


class PrivateKey:
    """A key that may sign, in this process' memory; `public` is its other half."""

    __slots__ = ("_private", "alg", "kid", "public")

    def __init__(self, private: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> None:
        self._private = private
        self.public = PublicKey(_public_jwk(private))
        self.alg, self.kid = self.public.alg, self.public.kid

    @classmethod
    def from_pem(cls, pem: bytes) -> "PrivateKey":
        """Read an unencrypted PKCS#8 PEM of an Ed25519 or P-256 key. Raises Refusal(registry_key_invalid)."""
        try:
            private = serialization.load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise _invalid("private key: not an unencrypted PKCS#8 PEM") from error
        if isinstance(private, ed25519.Ed25519PrivateKey):
            return cls(private)
        if isinstance(private, ec.EllipticCurvePrivateKey) and isinstance(private.curve, ec.SECP256R1):
            return cls(private)
        raise _invalid("private key: neither Ed25519 nor P-256")

    @classmethod
    def generate(cls, alg: str) -> "PrivateKey":
        """Make a new key for `alg` (Ed25519 or ES256). Raises Refusal(registry_key_invalid)."""
        if alg == ED25519:
            return cls(ed25519.Ed25519PrivateKey.generate())
        if alg == ES256:
            return cls(ec.generate_private_key(ec.SECP256R1()))
        raise _invalid("private key: alg is neither Ed25519 nor ES256")

    def to_pem(self) -> bytes:
        """Write this key as an unencrypted PKCS#8 PEM; the caller keeps it in a file of mode 0600."""
        return self._private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def sign(self, message: bytes) -> bytes:
        """Sign: 64 bytes, the same for the same message (RFC 8032; RFC 6979 for ES256)."""
        if isinstance(self._private, ed25519.Ed25519PrivateKey):
            return self._private.sign(message)
        r, s = decode_dss_signature(self._private.sign(message, _ECDSA_DETERMINISTIC))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")
