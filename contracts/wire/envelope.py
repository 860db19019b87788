"""The envelope: a CloudEvents 1.0 event in JSON, of exactly the attributes of SPEC.md section 3."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from typing import Any, NamedTuple

from pydantic_core import to_json

from contracts.errors import Code, Refusal
from contracts.events.event import dataschema_of
from contracts.wire.instant import read_instant, write_instant
from contracts.wire.strict_json import holds_nul, read_object

SPEC_VERSION = "1.0"
DATA_CONTENT_TYPE = "application/json"
SEQUENCE_DIGITS = 20
SEQUENCE_MAX = 2**63 - 1
VALUE_BYTES_MAX = 60 * 1024

REQUIRED = (
    "specversion", "id", "source", "type", "time", "recordedtime", "subject", "dataschema", "datacontenttype",
    "audience", "sequence", "expirytime", "correlationid", "nonce", "data",
)  # fmt: skip
OPTIONAL = ("causationid",)
_REQUIRED = frozenset(REQUIRED)
_ALL = frozenset(REQUIRED + OPTIONAL)

_PATTERNS: Mapping[str, Callable[[str], re.Match[str] | None]] = {
    name: re.compile(pattern).fullmatch
    for name, pattern in {
        "specversion": r"1\.0",
        "id": r"[A-Za-z0-9._:-]{1,64}",
        "source": r"(?=.{1,200}\Z)https://[a-z0-9.-]+(?:/[A-Za-z0-9._~/-]*)?",
        "type": r"(?=.{1,100}\Z)id\.tka\.[a-z]+(?:\.[a-z_]+){1,6}\.v[1-9][0-9]{0,3}",
        "subject": r"[A-Z0-9./-]{1,64}",
        "dataschema": r"https://[!-~]{1,247}",
        "datacontenttype": r"application/json",
        "audience": r"[a-z0-9._/-]{1,128}",
        "sequence": r"[0-9]{20}",
        "correlationid": r"[ -~]{1,128}",
        # The last of 22 characters carries two bits, so it is one of four.
        "nonce": r"[A-Za-z0-9_-]{21}[AQgw]",
    }.items()
}
# These say the same few things over and over: remembering the answers costs less than reading the texts again.
_REPETITIVE = ("specversion", "source", "type", "dataschema", "datacontenttype", "audience")
_ANSWERS_MAX = 64
_CHECKS = tuple(
    (name, lru_cache(_ANSWERS_MAX)(fits) if name in _REPETITIVE else fits) for name, fits in _PATTERNS.items()
)
_CAUSATION = re.compile(r"[ -~]{1,128}").fullmatch


class Envelope(NamedTuple):
    """An event whose attributes are all there and well formed; who may say it is not judged yet.

    `digest` is the SHA-256 of the value's bytes, which stand for the event everywhere else.
    """

    id: str
    source: str
    type: str
    time: datetime
    recordedtime: datetime
    subject: str
    dataschema: str
    audience: str
    sequence: int
    expirytime: datetime
    correlationid: str
    nonce: str
    causationid: str | None
    data: dict[str, Any]
    digest: bytes


def read_envelope(value: bytes) -> Envelope:
    """Read the bytes of a value. Raises Refusal: strict JSON, then the attributes in the order of SPEC.md."""
    return envelope_of(read_object(value), value)


def envelope_of(attributes: dict[str, Any], value: bytes) -> Envelope:
    """Check the attributes of a value already read as JSON. Raises Refusal (attribute_*, json_invalid)."""
    names = attributes.keys()
    if not _REQUIRED <= names <= _ALL:
        _refuse_names(attributes)
    for name, fits in _CHECKS:
        text = attributes[name]
        if type(text) is not str or fits(text) is None:
            raise Refusal(Code.ATTRIBUTE_INVALID, name)
    causation = attributes.get("causationid")
    if "causationid" in names and (type(causation) is not str or _CAUSATION(causation) is None):
        raise Refusal(Code.ATTRIBUTE_INVALID, "causationid")
    sequence = int(attributes["sequence"])
    if not 1 <= sequence <= SEQUENCE_MAX:
        raise Refusal(Code.ATTRIBUTE_INVALID, "sequence")
    recorded, expiry = _instant(attributes, "recordedtime"), _instant(attributes, "expirytime")
    if expiry <= recorded:
        raise Refusal(Code.ATTRIBUTE_INVALID, "expirytime")
    data = attributes["data"]
    if type(data) is not dict:
        raise Refusal(Code.ATTRIBUTE_INVALID, "data")
    if b"\\u0000" in value and holds_nul(data):
        raise Refusal(Code.JSON_INVALID, "data holds U+0000")
    return Envelope(
        attributes["id"], attributes["source"], attributes["type"], _instant(attributes, "time"), recorded,
        attributes["subject"], attributes["dataschema"], attributes["audience"], sequence, expiry,
        attributes["correlationid"], attributes["nonce"], causation, data, sha256(value).digest(),
    )  # fmt: skip


def _refuse_names(attributes: Mapping[str, Any]) -> None:
    for name in REQUIRED:
        if name not in attributes:
            raise Refusal(Code.ATTRIBUTE_MISSING, name)
    # An unknown name is the sender's own text and may be anything: it is not repeated in the detail.
    raise Refusal(Code.ATTRIBUTE_UNKNOWN)


def _instant(attributes: Mapping[str, Any], name: str) -> datetime:
    text = attributes[name]
    if type(text) is not str:
        raise Refusal(Code.ATTRIBUTE_INVALID, name)
    try:
        return read_instant(text)
    except ValueError:
        raise Refusal(Code.ATTRIBUTE_INVALID, name) from None


def write_sequence(sequence: int) -> str:
    """Spell a sequence in its 20 digits."""
    return f"{sequence:020d}"


def write_envelope(attributes: Mapping[str, str | int | datetime], data: Mapping[str, Any]) -> bytes:
    """Write a value: compact JSON in UTF-8, attributes in the order given, `data` last.

    What never varies (specversion, datacontenttype, and dataschema by the type) is filled in when left out. A
    datetime is spelled in UTC and an integer sequence in 20 digits; None is not written.
    """
    written: dict[str, Any] = {"specversion": SPEC_VERSION}
    for name, content in attributes.items():
        if type(content) is str:
            written[name] = content
        elif isinstance(content, datetime):
            written[name] = write_instant(content.astimezone(UTC))
        elif name == "sequence" and isinstance(content, int):
            written[name] = write_sequence(content)
        elif content is not None:
            written[name] = content
    written.setdefault("dataschema", dataschema_of(str(written.get("type"))))
    written.setdefault("datacontenttype", DATA_CONTENT_TYPE)
    written["data"] = data
    return to_json(written)
