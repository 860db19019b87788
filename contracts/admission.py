"""Admission: bytes from a sender's topic in, one of three verdicts out. Pure, and the same for a given registry.

    Record -> Signature -> Envelope -> EventData -> Admitted        at any step: Refused or Deferred

"Is the signature good?" comes first, so that a stranger cannot fill a memory or learn anything; then "may this signer
say it, here and now?". Whether it was said before (duplicate, equivocation) is for who remembers.
"""

from datetime import datetime, timedelta
from typing import NamedTuple

from contracts.errors import EXPLANATIONS, Code, Refusal
from contracts.events import EVENTS, EventData, dataschema_of, read_event
from contracts.events.bank import BANK_PAYMENTS
from contracts.registry import KeyEntry, Participant, Registry
from contracts.wire.envelope import Envelope, read_envelope
from contracts.wire.instant import instant_of_ms
from contracts.wire.record import Record
from contracts.wire.signature import Signature, VerifiedRoots, check_statement, check_typ, verify_signature

FROM_PREFIX = "from."


class Admitted(NamedTuple):
    """A record whose signer may say what it says. `participant` is the signer."""

    record: Record
    envelope: Envelope
    event: EventData
    participant: str
    signature: Signature


class Refused(NamedTuple):
    """A record that is not accepted, ever. `participant` is known only when its signature verified."""

    record: Record
    code: Code
    detail: str
    participant: str | None
    envelope: Envelope | None


class Deferred(NamedTuple):
    """A record that names what the registry does not know yet; after `limits.deferral_s` it is refused."""

    record: Record
    code: Code
    detail: str
    participant: str | None


Verdict = Admitted | Refused | Deferred


class _Progress:
    """How far a record came before it was refused; what is attributed to whom depends on it."""

    __slots__ = ("envelope", "participant")

    def __init__(self) -> None:
        self.participant: str | None = None
        self.envelope: Envelope | None = None


def admit(record: Record, registry: Registry, roots: VerifiedRoots) -> Verdict:
    """Judge one record of a `from.<participant>` topic by its append time and by this registry."""
    progress = _Progress()
    try:
        return _admit(record, registry, roots, progress)
    except Refusal as refusal:
        if EXPLANATIONS[refusal.code].deferrable:
            return Deferred(record, refusal.code, refusal.detail, progress.participant)
        envelope = progress.envelope or _attribute(record, progress.participant)
        return Refused(record, refusal.code, refusal.detail, progress.participant, envelope)


def _attribute(record: Record, participant: str | None) -> Envelope | None:
    """Read which message it is that was refused before anybody asked, if its author is known."""
    if participant is None or record.value is None:
        return None
    try:
        return read_envelope(record.value)
    except Refusal:
        return None


def refuse_deferred(deferred: Deferred) -> Refused:
    """Refuse what was deferred and whose deadline has passed."""
    envelope = _attribute(deferred.record, deferred.participant)
    return Refused(deferred.record, deferred.code, deferred.detail, deferred.participant, envelope)


def _admit(record: Record, registry: Registry, roots: VerifiedRoots, progress: _Progress) -> Admitted:
    if record.value is None:
        raise Refusal(Code.RECORD_TOMBSTONE)
    arrived = instant_of_ms(record.append_time_ms)
    signature = verify_signature(record.value, record.headers, registry.message_key, roots)
    owner = registry.key(signature.kid)
    if owner is None:
        raise Refusal(Code.KEY_UNKNOWN)
    participant, key = owner
    progress.participant = participant.id
    check_key(key, registry, arrived)
    envelope = progress.envelope = read_envelope(record.value)
    check_typ(signature, envelope.type)
    _check_place(record, envelope, signature, participant, registry)
    _check_times(envelope, arrived, registry)
    _check_type(envelope, participant, registry)
    event = read_event(envelope.type, envelope.data, envelope.subject)
    if isinstance(event, BANK_PAYMENTS):
        _check_bank(event.bank_code, participant, registry)
    return Admitted(record, envelope, event, participant.id, signature)


def check_key(key: KeyEntry, registry: Registry, arrived: datetime) -> None:
    """Refuse a key that may not sign messages, or not at that time. Raises Refusal (key_*).

    A revocation that this registry already knows counts at once, whatever the record's append time: the order of the
    log decides, not the clock. One dated later than the registry counts from its date.
    """
    if key.use != "message":
        raise Refusal(Code.KEY_USE_WRONG)
    if key.revoked_at is not None and (key.revoked_at <= registry.issued_at or key.revoked_at <= arrived):
        raise Refusal(Code.KEY_REVOKED)
    if key.kid in registry.suspended:
        raise Refusal(Code.KEY_SUSPENDED)
    if arrived < key.nbf:
        raise Refusal(Code.KEY_NOT_YET_VALID)
    if arrived >= key.exp:
        raise Refusal(Code.KEY_EXPIRED)


def _check_place(
    record: Record, envelope: Envelope, signature: Signature, participant: Participant, registry: Registry
) -> None:
    """Refuse what stands where its signer may not put it. Raises Refusal."""
    if envelope.source not in participant.sources:
        if registry.owner_of(envelope.source) is None:
            raise Refusal(Code.PARTICIPANT_UNKNOWN, "no participant has this source")
        raise Refusal(Code.SOURCE_NOT_OWNED)
    topic = FROM_PREFIX + participant.id
    if record.topic != topic:
        raise Refusal(Code.TOPIC_WRONG)
    if envelope.audience != f"{registry.environment}/{topic}":
        raise Refusal(Code.AUDIENCE_WRONG)
    check_statement(signature, envelope.source, envelope.audience, envelope.sequence)
    if record.key != envelope.subject.encode("ascii"):
        raise Refusal(Code.KEY_NOT_SUBJECT)


def _check_times(envelope: Envelope, arrived: datetime, registry: Registry) -> None:
    """Refuse a message that travelled too long or is dated later than it arrived. Raises Refusal."""
    if envelope.expirytime <= arrived:
        raise Refusal(Code.MESSAGE_EXPIRED)
    if envelope.expirytime - envelope.recordedtime > timedelta(days=registry.limits.expiry_days_max):
        raise Refusal(Code.ATTRIBUTE_INVALID, "expirytime is later than the registry allows")
    latest = arrived + timedelta(seconds=registry.limits.clock_skew_s)
    if envelope.recordedtime > latest or envelope.time > latest:
        raise Refusal(Code.MESSAGE_FROM_FUTURE)


def _check_type(envelope: Envelope, participant: Participant, registry: Registry) -> None:
    """Refuse a type that nobody knows, or that this participant may not publish. Raises Refusal."""
    if envelope.type not in registry.contracts or envelope.type not in EVENTS:
        raise Refusal(Code.CONTRACT_UNKNOWN)
    if envelope.type not in participant.publishes:
        raise Refusal(Code.TYPE_NOT_PERMITTED)
    if envelope.dataschema != dataschema_of(envelope.type):
        raise Refusal(Code.DATASCHEMA_WRONG)


def _check_bank(bank_code: str, participant: Participant, registry: Registry) -> None:
    """Refuse a payment that its signer reports for a bank that it is not. Raises Refusal (bank_not_owned).

    A participant without a bank code (one that serves several banks) speaks for every bank that is not a participant.
    """
    if participant.bank_code is not None:
        owned = bank_code == participant.bank_code
    else:
        owned = all(other.bank_code != bank_code for other in registry.participants.values())
    if not owned:
        raise Refusal(Code.BANK_NOT_OWNED)
