"""JWS in its general JSON serialization: one payload and the signatures of several keys (RFC 7515 section 7.2.1).

    {"payload": <base64url>, "signatures": [{"protected": <base64url>, "signature": <base64url>}, ...]}

Each protected header is exactly {"alg", "kid", "typ"}: nothing stands in an unprotected one.
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from contracts.errors import Code, Refusal, RegistryError
from contracts.wire import base64url
from contracts.wire.key import PublicKey, Signer
from contracts.wire.strict_json import read_object

SIGNATURES_MAX = 32


class OneSignature(NamedTuple):
    """One signature as it came: whose it says it is, and over which bytes."""

    alg: str
    kid: str
    signature: bytes
    signed: bytes

    def check(self, key: PublicKey) -> None:
        """Verify under this key. Raises RegistryError(act_signature_invalid)."""
        if (self.alg, self.kid) != (key.alg, key.kid) or not key.verify(self.signature, self.signed):
            raise RegistryError(Code.ACT_SIGNATURE_INVALID)


class Signed(NamedTuple):
    """A signed payload as it came; nothing of it is verified yet."""

    payload: bytes
    signatures: tuple[OneSignature, ...]


def _malformed(detail: str) -> RegistryError:
    return RegistryError(Code.ACT_MALFORMED, detail)


def _decode(text: object, what: str) -> bytes:
    raw = base64url.decode(text.encode("ascii")) if isinstance(text, str) and text.isascii() else None
    if raw is None:
        raise _malformed(f"{what}: not canonical base64url")
    return raw


def read_json(raw: bytes, what: str) -> dict[str, Any]:
    """Read one JSON object strictly. Raises RegistryError(act_malformed)."""
    try:
        return read_object(raw)
    except Refusal as error:
        raise _malformed(f"{what}: {error.code}") from None


def read_signed(members: object, typ: str, signatures_min: int = 1) -> Signed:
    """Read the form. Raises RegistryError (act_malformed; act_signature_invalid for another `typ`)."""
    if not isinstance(members, Mapping) or members.keys() != {"payload", "signatures"}:
        raise _malformed("not payload and signatures alone")
    payload, found = _decode(members["payload"], "payload"), members["signatures"]
    if not isinstance(found, list) or not signatures_min <= len(found) <= SIGNATURES_MAX:
        raise _malformed(f"signatures: not a list of {signatures_min} to {SIGNATURES_MAX}")
    return Signed(payload, tuple(_read_one(one, members["payload"].encode(), typ) for one in found))


def _read_one(one: object, payload: bytes, typ: str) -> OneSignature:
    if not isinstance(one, Mapping) or one.keys() != {"protected", "signature"}:
        raise _malformed("signatures: not protected and signature alone")
    header = read_json(_decode(one["protected"], "protected"), "protected header")
    if header.keys() != {"alg", "kid", "typ"} or header["typ"] != typ:
        raise RegistryError(Code.ACT_SIGNATURE_INVALID, f"protected header: not alg, kid and typ {typ}")
    signed = one["protected"].encode() + b"." + payload
    return OneSignature(str(header["alg"]), str(header["kid"]), _decode(one["signature"], "signature"), signed)


def write_json(value: object) -> bytes:
    """Write JSON in the compact form in which payloads are signed here."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def sign(payload: bytes, typ: str, *keys: Signer) -> dict[str, Any]:
    """Sign a payload with each of these keys."""
    encoded = base64url.encode(payload)
    return {"payload": encoded, "signatures": [_sign_one(encoded, typ, key) for key in keys]}


def add_signature(members: Mapping[str, Any], typ: str, key: Signer) -> dict[str, Any]:
    """Return the same with one more signature; an older one by the same key gives way. Raises RegistryError."""
    read = read_signed(members, typ, signatures_min=0)
    others = [one for one, found in zip(members["signatures"], read.signatures, strict=True) if found.kid != key.kid]
    return {**members, "signatures": [*others, _sign_one(members["payload"], typ, key)]}


def _sign_one(encoded: str, typ: str, key: Signer) -> dict[str, str]:
    protected = base64url.encode(write_json({"alg": key.alg, "kid": key.kid, "typ": typ}))
    return {"protected": protected, "signature": base64url.encode(key.sign(f"{protected}.{encoded}".encode()))}
