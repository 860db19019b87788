"""From a fact to the exact bytes of its message. Pure: the time, the nonce and the sequence are parameters."""

import hashlib
import json
import uuid
from datetime import UTC, datetime, timedelta

from connectors.link.fact import NATIVE_KEY_LENGTH_MAX, Author, NewEvent
from contracts.errors import Code, Refusal
from contracts.events import read_event
from contracts.wire.envelope import read_envelope, write_envelope

DATASCHEMA_BASE = "https://contracts.tkahub.example/"
SEQUENCE_DIGITS = 20


def event_id_of(source: str, native_key: str) -> str:
    """Return the event id of a native fact: the same fact has the same id, whoever asks and however often."""
    return str(uuid.uuid5(uuid.uuid5(uuid.NAMESPACE_URL, source), native_key))


def content_digest(event: NewEvent) -> bytes:
    """Return the SHA-256 of what the agency said, without what the link adds (nonce, sequence, recordedtime)."""
    said = {
        "type": event.type,
        "subject": event.subject,
        "time": write_time(event.time),
        "correlationid": event.correlationid,
        "causationid": event.causationid,
        "data": event.data,
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True, separators=(",", ":")).encode()).digest()


def write_time(moment: datetime) -> str:
    """Return an aware time as RFC 3339 in UTC, the only spelling that the wire knows."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def compose(author: Author, event: NewEvent, *, sequence: int, recorded: datetime, nonce: str) -> tuple[bytes, bytes]:
    """Return the value bytes of the message and their SHA-256.

    Raises Refusal when the hub would refuse it for its form: such a fact must not use up a sequence number.
    """
    if len(event.native_key) > NATIVE_KEY_LENGTH_MAX:
        raise Refusal(Code.ATTRIBUTE_INVALID, "the native key is too long")
    attributes = {
        "specversion": "1.0",
        "id": event_id_of(author.source, event.native_key),
        "source": author.source,
        "type": event.type,
        "time": write_time(event.time),
        "recordedtime": write_time(recorded),
        "subject": event.subject,
        "dataschema": f"{DATASCHEMA_BASE}{event.type}.json",
        "datacontenttype": "application/json",
        "audience": f"{author.environment}/from.{author.participant}",
        "sequence": str(sequence).zfill(SEQUENCE_DIGITS),
        "expirytime": write_time(recorded + timedelta(days=author.expiry_days)),
        "correlationid": event.correlationid,
        "nonce": nonce,
    }
    if event.causationid is not None:
        attributes["causationid"] = event.causationid
    value = write_envelope(attributes, event.data)
    envelope = read_envelope(value)
    read_event(envelope.type, envelope.data)
    return value, envelope.digest
