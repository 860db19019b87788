"""SNAP BI, Bank Indonesia's open payment API, as far as bytes and values go: signatures, calls, answers. Pure.

    POST /v1.0/transfer-va/payment HTTP/1.1
    X-TIMESTAMP: 2026-04-01T10:00:00+07:00
    X-SIGNATURE: base64(RSA-SHA256("POST:/v1.0/transfer-va/payment:" + sha256hex(minified body) + ":" + X-TIMESTAMP))
    X-PARTNER-ID: BRI-TKA
    X-EXTERNAL-ID: 1001
    CHANNEL-ID: 95051

What a call means once it is authentic is judged in `notifications.py`. Source: SNAP BI technical standard (ASPI).
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

JAKARTA = timezone(timedelta(hours=7), "WIB")

_TOKENS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?|[ \t\r\n]+', re.DOTALL)
_DATE_TIME = re.compile(
    r"([0-9]{4})-?([0-9]{2})-?([0-9]{2})T([0-9]{2}):?([0-9]{2}):?([0-9]{2})(?:\.([0-9]{1,9}))?(Z|[+-][0-9]{2}:?[0-9]{2})"
)
_BASIC = re.compile(r"[0-9]{8}T[0-9]{6}(?:\.[0-9]{1,9})?(?:Z|[+-][0-9]{4})")
_EXTENDED = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(?:\.[0-9]{1,9})?(?:Z|[+-][0-9]{2}:[0-9]{2})")


def minify(body: bytes) -> bytes:
    """Return `body` without the white space that lies outside its strings; every other byte stays as it was written.

    Parsing and writing again would change numbers and escapes, and with them the hash that the bank signed. A
    body that is no JSON is stripped in the same way, since the signature is judged before the body.
    """
    return _TOKENS.sub(lambda token: token[0] if token[0].startswith(b'"') else b"", body)


@dataclass(frozen=True, slots=True)
class HashForm:
    """How a bank writes the body's hash into what it signs; the standard is `hex`, with the hash of an empty body."""

    base64: bool = False
    empty_for_empty_body: bool = False


STANDARD_HASH = HashForm()


def body_hash(body: bytes, form: HashForm = STANDARD_HASH) -> str:
    """Return the hash component: lower-case hexadecimal SHA-256 of the minified body, unless `form` deviates."""
    minified = minify(body)
    if not minified and form.empty_for_empty_body:
        return ""
    digest = hashlib.sha256(minified).digest()
    return base64.b64encode(digest).decode("ascii") if form.base64 else digest.hex()


def symmetric_text(method: str, path: str, access_token: str, hashed: str, timestamp: str) -> str:
    """Return what a symmetric service signature signs; `path` carries its query string as it was sent."""
    return f"{method}:{path}:{access_token}:{hashed}:{timestamp}"


def asymmetric_text(method: str, path: str, hashed: str, timestamp: str) -> str:
    """Return what an asymmetric service signature signs: no token in it."""
    return f"{method}:{path}:{hashed}:{timestamp}"


def token_text(client_key: str, timestamp: str) -> str:
    """Return what the request for an access token signs."""
    return f"{client_key}|{timestamp}"


def read_signature(written: str) -> bytes | None:
    """Return the bytes of a base64 signature, or None when it is not the one canonical way to write them."""
    try:
        signature = base64.b64decode(written.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        return None
    return signature if base64.b64encode(signature).decode("ascii") == written else None


def read_public_key(pem: str | bytes) -> rsa.RSAPublicKey | None:
    """Return the RSA public key of a PEM text, or None when it is anything else."""
    try:
        key = load_pem_public_key(pem.encode("utf-8") if isinstance(pem, str) else pem)
    except (ValueError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, rsa.RSAPublicKey) else None


def verify_symmetric(text: str, secret: str, written: str) -> bool:
    """Tell whether `written` is the base64 HMAC-SHA512 of `text` under the client's secret."""
    signature = read_signature(written)
    expected = hmac.digest(secret.encode("utf-8"), text.encode("utf-8"), "sha512")
    return signature is not None and hmac.compare_digest(signature, expected)


def verify_asymmetric(text: str, key: rsa.RSAPublicKey, written: str) -> bool:
    """Tell whether `written` is the base64 RSA-SHA256 (PKCS#1 v1.5) signature of `text` under the bank's key."""
    signature = read_signature(written)
    if signature is None:
        return False
    try:
        key.verify(signature, text.encode("utf-8"), padding.PKCS1v15(), SHA256())
    except InvalidSignature:
        return False
    return True


def read_time(written: str) -> datetime | None:
    """Return a SNAP time as an aware UTC datetime, or None; both `20201231T235959Z` and RFC 3339 occur."""
    match = _DATE_TIME.fullmatch(written)
    if match is None or not (_BASIC.fullmatch(written) or _EXTENDED.fullmatch(written)):
        return None
    *parts, fraction, zone = match.groups()
    try:
        offset = timedelta(0) if zone == "Z" else _offset(zone)
        year, month, day, hour, minute, second = (int(part) for part in parts)
        micros = int((fraction or "0")[:6].ljust(6, "0"))
        local = datetime(year, month, day, hour, minute, second, micros, tzinfo=timezone(offset))
        return local.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def time_form(written: str) -> str:
    """Return the form of a time that `read_time` takes: seconds, milliseconds (any fraction), or basic."""
    if _BASIC.fullmatch(written):
        return "basic"
    return "milliseconds" if "." in written else "seconds"


def _offset(zone: str) -> timedelta:
    """Return the offset of `+07:00` or `+0700`; raise ValueError when it has sixty minutes or more."""
    minutes = int(zone[-2:])
    if minutes > 59:
        raise ValueError("the offset has sixty minutes or more")
    span = timedelta(hours=int(zone[1:3]), minutes=minutes)
    return span if zone[0] == "+" else -span


def jakarta_day(moment: datetime) -> str:
    """Return the calendar day in Jakarta, `YYYY-MM-DD`: X-EXTERNAL-ID is unique per partner within it."""
    return moment.astimezone(JAKARTA).date().isoformat()


@dataclass(frozen=True, slots=True)
class SignatureVerdict:
    """What one vector comes to; `reason` says why in one sentence."""

    id: str
    verifies: bool
    reason: str


VERIFIES = "the signature is the one the key makes over exactly this text"


def judge_vector(vector: object) -> SignatureVerdict:
    """Judge one signature vector; whether its timestamp is fresh is not asked.

    `kind` is service_symmetric (method, path, access_token, body, secret), service_asymmetric (method, path, body,
    public_key_pem) or token_asymmetric (client_key, public_key_pem); each has id, timestamp and signature.
    """
    if not isinstance(vector, Mapping):
        return SignatureVerdict("", False, "the vector is not an object")
    name = str(vector.get("id", ""))
    wrong = [field for field, value in vector.items() if field in _TEXT_FIELDS and not isinstance(value, str)]
    if wrong:
        return SignatureVerdict(name, False, f"the vector's field {wrong[0]} is not a text")
    try:
        verifies, reason = _judge(vector)
    except KeyError as missing:
        return SignatureVerdict(name, False, f"the vector lacks the field {missing.args[0]}")
    except UnicodeEncodeError:
        return SignatureVerdict(name, False, "a text of the vector cannot be written as UTF-8")
    return SignatureVerdict(name, verifies, reason)


_TEXT_FIELDS = frozenset(
    (
        "kind",
        "method",
        "path",
        "access_token",
        "client_key",
        "timestamp",
        "body",
        "secret",
        "public_key_pem",
        "signature",
    )
)


def _judge(vector: Mapping[str, Any]) -> tuple[bool, str]:
    """Return whether the vector's signature verifies, and why; raise KeyError naming a field that it lacks."""
    kind, timestamp, written = vector["kind"], vector["timestamp"], vector["signature"]
    if kind == "token_asymmetric":
        text = token_text(vector["client_key"], timestamp)
    elif kind == "service_symmetric":
        hashed = body_hash(vector["body"].encode("utf-8"))
        text = symmetric_text(vector["method"], vector["path"], vector["access_token"], hashed, timestamp)
    elif kind == "service_asymmetric":
        hashed = body_hash(vector["body"].encode("utf-8"))
        text = asymmetric_text(vector["method"], vector["path"], hashed, timestamp)
    else:
        return False, "the kind of signature is not one of SNAP's three"
    if read_signature(written) is None:
        return False, "the signature is not canonical base64"
    if kind == "service_symmetric":
        verifies = verify_symmetric(text, vector["secret"], written)
    else:
        key = read_public_key(vector["public_key_pem"])
        if key is None:
            return False, "the public key is not an RSA key in PEM"
        verifies = verify_asymmetric(text, key, written)
    return verifies, VERIFIES if verifies else "the signature is not one that the key makes over this text"
