"""A record of the hub's streams, verified: bytes in, `Delivered` out. Pure.

Who may say what on `to.<participant>` and `recommendations`:
    the hub itself    audience names the home stream `<environment>/<topic>/<partition>`, sequence is the hub-seq there
    a recommendation  home is `recommendations/<p>`; the same bytes also stand on `to.<participant>`
    a forward         audience names where its sender published, `<environment>/from.<sender>`
"""

import re
from dataclasses import dataclass
from datetime import datetime

from contracts.errors import Code, Refusal
from contracts.events import read_event
from contracts.events.event import EventData
from contracts.log import entry
from contracts.log.fault import Unproven
from contracts.log.proof import check_proof, read_proof
from contracts.registry import RECOMMENDATIONS, Participant, Registry
from contracts.wire.envelope import Envelope, read_envelope
from contracts.wire.record import Headers
from contracts.wire.signature import (
    RECOMMENDATION_TYPE_PREFIX,
    TYP_RECOMMENDATION,
    Signature,
    VerifiedRoots,
    check_typ,
    read_headers,
    verify_signature,
)

HUB = "hub"
HUB_TYPE_PREFIX = "id.tka.hub."
USE_MESSAGE = "message"

_IS_PARTITION = re.compile(r"0|[1-9][0-9]{0,3}").fullmatch


class Outdated(Refusal):
    """The signer may no longer say this, but perhaps could when the hub took it: only the hub's archive can tell."""


@dataclass(frozen=True, slots=True)
class StreamItem:
    """A record at its place in a stream, as Kafka or the hub's archive gave it: nothing in it has been believed yet.

    `offset` is None for one that came from the archive.
    """

    topic: str
    partition: int
    seq: int
    key: bytes | None
    value: bytes
    headers: Headers
    offset: int | None


@dataclass(frozen=True, slots=True)
class Delivered:
    """A verified record of one of this participant's streams.

    `participant` signed it (`hub`, or the issuer of a forward). `(topic, partition, seq)` names it for ever; a second
    delivery has the same. `value` are the signed bytes, `headers` those it came with (jws, jws-proof, tlog-proof).
    """

    topic: str
    partition: int
    seq: int
    participant: str
    envelope: Envelope
    event: EventData
    signature: Signature
    value: bytes
    headers: Headers


def verify(item: StreamItem, registry: Registry, roots: VerifiedRoots, now: datetime) -> Delivered:
    """Verify signature, envelope, right of the signer, and home stream, as of `now`. Raises Refusal, Outdated."""
    return _verify(item, registry, roots, now)


def verify_admitted(item: StreamItem, registry: Registry, roots: VerifiedRoots) -> Delivered:
    """As `verify`, for a record that the hub's archive holds byte for byte: its signer was judged at admission."""
    return _verify(item, registry, roots, None)


def _verify(item: StreamItem, registry: Registry, roots: VerifiedRoots, now: datetime | None) -> Delivered:
    signature = verify_signature(item.value, item.headers, registry.message_key, roots)
    envelope = read_envelope(item.value)
    check_typ(signature, envelope.type)
    if item.key != envelope.subject.encode():
        raise Refusal(Code.KEY_NOT_SUBJECT)
    signer = _check_signer(signature, envelope, registry, now)
    if signer.kind == HUB:
        _check_home(item, envelope, registry)
    elif envelope.audience != f"{registry.environment}/from.{signer.id}":
        raise Refusal(Code.AUDIENCE_WRONG)
    event = read_event(envelope.type, envelope.data, envelope.subject)
    if signature.typ == TYP_RECOMMENDATION and registry.proof_required:
        _check_proof(item, envelope, registry, now)
    return Delivered(
        item.topic, item.partition, item.seq, signer.id, envelope, event, signature, item.value, item.headers
    )


def _check_proof(item: StreamItem, envelope: Envelope, registry: Registry, now: datetime | None) -> None:
    """A recommendation counts only if it is in the evidence log that the registry names."""
    proof = read_headers(item.headers).tlog_proof
    if proof is None:
        raise Refusal(Code.PROOF_MISSING)
    try:
        check_proof(proof, entry.recommendation_of(envelope), registry.log_of(read_proof(proof).origin), now=now)
    except Unproven as error:
        raise Refusal(Code.PROOF_INVALID, str(error)) from None


def _check_signer(signature: Signature, envelope: Envelope, registry: Registry, now: datetime | None) -> Participant:
    """Return who signed, if that participant may say this; `now` is None where its right was judged before."""
    found = registry.key(signature.kid)
    if found is None:
        raise Refusal(Code.KEY_UNKNOWN)
    participant, key = found
    if key.use != USE_MESSAGE:
        raise Refusal(Code.KEY_USE_WRONG)
    if envelope.source not in participant.sources:
        raise Refusal(Code.SOURCE_NOT_OWNED)
    if envelope.type.startswith(HUB_TYPE_PREFIX) != (participant.kind == HUB):
        raise Refusal(Code.TYPE_NOT_PERMITTED, "the hub's words are the hub's alone")
    statement = signature.statement
    if statement is not None and (statement.iss, statement.aud) != (envelope.source, envelope.audience):
        raise Refusal(Code.BATCH_STATEMENT_INVALID, "iss or aud is not the event's")
    if now is None:
        return participant
    if key.revoked_at is not None:
        raise Outdated(Code.KEY_REVOKED)
    if now >= key.exp:
        raise Outdated(Code.KEY_EXPIRED)
    if participant.kind != HUB and envelope.type not in participant.publishes:
        raise Outdated(Code.TYPE_NOT_PERMITTED)
    return participant


def _check_home(item: StreamItem, envelope: Envelope, registry: Registry) -> None:
    """The hub's own word belongs to one stream, at one place; a recommendation's home is `recommendations`."""
    here = f"{registry.environment}/{item.topic}/{item.partition}"
    if envelope.audience == here:
        if envelope.sequence != item.seq:
            raise Refusal(Code.AUDIENCE_WRONG, "sequence is not the record's place in the stream")
        return
    home = f"{registry.environment}/{RECOMMENDATIONS}/"
    partition = envelope.audience.removeprefix(home)
    if not envelope.audience.startswith(home) or _IS_PARTITION(partition) is None:
        raise Refusal(Code.AUDIENCE_WRONG)
    if not envelope.type.startswith(RECOMMENDATION_TYPE_PREFIX) or item.topic == RECOMMENDATIONS:
        raise Refusal(Code.AUDIENCE_WRONG)
