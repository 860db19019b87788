"""Records made by hand, from WIRE's text alone, as a stranger, a careless bank or a second signer would make them."""

import json
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from devstack.demonstration.keys import SigningKey, write_base64url

CONTENT_TYPE = b"application/cloudevents+json; charset=UTF-8"
SCHEMA_HOST = "https://contracts.tkahub.example"
MESSAGE_VALIDITY = timedelta(days=90)
NONCE_BYTES = 16


@dataclass(frozen=True, slots=True)
class RawRecord:
    """A Kafka record before it is sent. `topic`: the logical name."""

    topic: str
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class Author:
    """In whose name a record is written, and with which key."""

    participant: str
    source: str
    environment: str
    key: SigningKey

    def write_event(self, event_type: str, subject: str, sequence: int, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return an event of now with every required attribute."""
        now = datetime.now(UTC)
        return {
            "specversion": "1.0",
            "id": str(uuid.uuid4()),
            "source": self.source,
            "type": event_type,
            "time": write_time(now),
            "recordedtime": write_time(now),
            "subject": subject,
            "dataschema": f"{SCHEMA_HOST}/{event_type}.json",
            "datacontenttype": "application/json",
            "audience": f"{self.environment}/from.{self.participant}",
            "sequence": f"{sequence:020d}",
            "expirytime": write_time(now + MESSAGE_VALIDITY),
            "correlationid": subject,
            "nonce": write_base64url(secrets.token_bytes(NONCE_BYTES)),
            "data": dict(data),
        }

    def seal(self, event: Mapping[str, Any]) -> RawRecord:
        """Sign an event singly (detached compact JWS, RFC 7515 appendix F) and return the record."""
        value = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
        protected = {"alg": self.key.alg, "kid": self.key.kid, "typ": "tkahub-event+jws"}
        head = write_base64url(json.dumps(protected, separators=(",", ":")).encode())
        signature = self.key.sign(f"{head}.{write_base64url(value)}".encode())
        jws = f"{head}..{write_base64url(signature)}".encode()
        headers = (("content-type", CONTENT_TYPE), ("jws", jws))
        return RawRecord(f"from.{self.participant}", str(event["subject"]).encode(), value, headers)


def write_time(moment: datetime) -> str:
    """Return a moment as the wire has it: RFC 3339, UTC, `Z`."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def tamper(record: RawRecord, old: bytes, new: bytes) -> RawRecord:
    """Return the record with one byte changed and the JSON still whole. Raises ValueError if `old` is not there."""
    if len(old) != len(new) or sum(before != after for before, after in zip(old, new, strict=True)) != 1:
        raise ValueError("exactly one byte is to be changed")
    if old not in record.value:
        raise ValueError("the byte to be changed is not in the value")
    return replace(record, value=record.value.replace(old, new, 1))
