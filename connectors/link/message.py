"""From a fact to the exact bytes of its message. Pure: the time, the nonce and the sequence are parameters."""

import hashlib
import json
import uuid
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

from connectors.link.fact import NATIVE_KEY_LENGTH_MAX, Author, NewEvent
from contracts.errors import Code, Refusal
from contracts.events import read_event
from contracts.wire.envelope import SEQUENCE_MAX, VALUE_BYTES_MAX, read_envelope, write_envelope
from contracts.wire.instant import write_instant

#: What a fact is judged with before it has its own: as long as any that it may get.
NONCE: Final = "A" * 22


def event_id_of(source: str, native_key: str) -> str:
    """Return the event id of a native fact: the same fact has the same id, whoever asks and however often."""
    return str(uuid.uuid5(_namespace_of(source), native_key))


@lru_cache
def _namespace_of(source: str) -> uuid.UUID:
    return uuid.uuid5(uuid.NAMESPACE_URL, source)


def audience_of(author: Author) -> str:
    """Return where this author publishes, as its messages name it."""
    return f"{author.environment}/from.{author.participant}"


def content_digest(event: NewEvent) -> bytes:
    """Return the SHA-256 of what the agency said, without what the link adds (nonce, sequence, recordedtime)."""
    said = {
        "type": event.type,
        "subject": event.subject,
        "time": write_instant(event.time),
        "correlationid": event.correlationid,
        "causationid": event.causationid,
        "data": event.data,
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True, separators=(",", ":")).encode()).digest()


def compose(author: Author, event: NewEvent, *, sequence: int, recorded: datetime, nonce: str) -> tuple[bytes, bytes]:
    """Return the value bytes of the message and their SHA-256.

    Raises Refusal when the hub would refuse it for its form: such a fact must not use up a sequence number.
    """
    if len(event.native_key) > NATIVE_KEY_LENGTH_MAX:
        raise Refusal(Code.ATTRIBUTE_INVALID, "the native key is too long")
    attributes: dict[str, str | int | datetime] = {
        "id": event_id_of(author.source, event.native_key),
        "source": author.source,
        "type": event.type,
        "time": event.time,
        "recordedtime": recorded,
        "subject": event.subject,
        "audience": audience_of(author),
        "sequence": sequence,
        "expirytime": recorded + timedelta(days=author.expiry_days),
        "correlationid": event.correlationid,
        "nonce": nonce,
    }
    if event.causationid is not None:
        attributes["causationid"] = event.causationid
    try:
        value = write_envelope(attributes, event.data)
    except ValueError:
        # Half a character (a lone surrogate), or a time without a zone; the error's text would quote it.
        raise Refusal(Code.JSON_INVALID, "the fact cannot be written as JSON in UTF-8") from None
    if len(value) > VALUE_BYTES_MAX:
        raise Refusal(Code.VALUE_TOO_LARGE, f"more than {VALUE_BYTES_MAX} bytes")
    envelope = read_envelope(value)
    read_event(envelope.type, envelope.data, envelope.subject)
    return value, envelope.digest


def judge(author: Author, event: NewEvent, recorded: datetime) -> None:
    """Raise Refusal when the hub would refuse the message for its form, whatever sequence and nonce it gets."""
    compose(author, event, sequence=SEQUENCE_MAX, recorded=recorded, nonce=NONCE)
