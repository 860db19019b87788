"""The words in which a connector speaks to its spool: plain values, no I/O."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

NATIVE_KEY_LENGTH_MAX = 512


@dataclass(frozen=True, slots=True)
class Author:
    """Whose facts a spool holds: they go into every envelope."""

    participant: str
    source: str
    environment: str
    expiry_days: int = 90


@dataclass(frozen=True, slots=True)
class NewEvent:
    """A translated fact of the agency, not yet a message.

    `native_key` is the agency's own identity of the fact (at most 512 characters): the event's id is derived from it,
    so the same fact gets the same id again. `time` is when it happened, aware UTC.
    """

    native_key: str
    type: str
    subject: str
    time: datetime
    correlationid: str
    data: Mapping[str, Any]
    causationid: str | None = None


@dataclass(frozen=True, slots=True)
class Aside:
    """A native item that cannot become a message: kept with its reason, so that nothing vanishes silently.

    `subject` is what it says that it is about; the spool keeps it only if an envelope could have it.
    """

    native_key: str
    code: str
    detail: str
    subject: str | None = None


@dataclass(frozen=True, slots=True)
class Put:
    """What became of one fact.

    new: stored now. again: the same fact was stored earlier. conflict: another content under the same native key, set
    aside. unfit: the hub would refuse it for its form (`code`, `detail` say why, without values), set aside.
    """

    event_id: str
    outcome: Literal["new", "again", "conflict", "unfit"]
    sequence: int | None = None
    code: str | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class PutRequest:
    """One call of `Spool.put`; its parts are stored together or not at all."""

    facts: tuple[NewEvent, ...]
    aside: tuple[Aside, ...]
    notes: Mapping[str, str | None]
    claims: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Unsigned:
    """A stored message that has no signature yet."""

    sequence: int
    value: bytes


@dataclass(frozen=True, slots=True)
class Signed:
    """A stored message with the signature that it is sent with, always the same."""

    sequence: int
    subject: str
    value: bytes
    jws: str
    jws_proof: str | None


@dataclass(frozen=True, slots=True)
class ReceiptEntry:
    """What the hub says of one message: `code` is None when it was accepted, `event_id` when it could not be read."""

    event_id: str | None
    sha256: bytes
    log_index: int
    code: str | None = None


@dataclass(frozen=True, slots=True)
class AcceptedBefore:
    """A message of this source that the hub has accepted, as the hub tells it to a new spool."""

    sequence: int
    event_id: str
    sha256: bytes
    log_index: int


@dataclass(frozen=True, slots=True)
class Settlement:
    """What a receipt did to the spool, in counts. `foreign`: the receipt speaks of other bytes than those stored.

    `strange` counts what no honest hub says to the only sender of this source: foreign bytes, and messages accepted
    that were never put here; `strange_index` is where the log has the first of them.
    """

    accepted: int = 0
    refused: int = 0
    again: int = 0
    unknown: int = 0
    foreign: int = 0
    strange: int = 0
    strange_index: int | None = None


@dataclass(frozen=True, slots=True)
class MissingReceipts:
    """Messages whose receipt is overdue: how many, the first of their sequences, when the oldest was first sent."""

    count: int
    first_sequence: int | None
    sent_at: datetime | None


@dataclass(frozen=True, slots=True)
class SpooledFact:
    """What the spool knows of one message, without its content."""

    event_id: str
    native_key: str
    sequence: int
    type: str
    state: Literal["waiting", "signed", "sent", "accepted", "refused"]
    code: str | None
    log_index: int | None


@dataclass(frozen=True, slots=True)
class SpoolStatus:
    """Counts for status and metrics; the times are when the oldest such message was stored."""

    waiting: int
    signed: int
    sent: int
    accepted: int
    refused: int
    aside: int
    last_sequence: int
    bytes_used: int
    bytes_max: int
    oldest_unsent: datetime | None
    oldest_unreceipted: datetime | None
    journal_mode: str
    synchronous: str
