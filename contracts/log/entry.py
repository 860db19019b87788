"""The entries of the evidence log, in their final bytes: compact JSON, members sorted by name, UTF-8.

An entry holds digests, identities and signatures and never personal data, so that it can stay when the original is
erased. Its leaf is `merkle.leaf_hash(entry)`. Source: SPEC.md section 9.
"""

from datetime import datetime
from hashlib import sha256

from pydantic_core import to_json

from contracts.errors import Code
from contracts.wire import base64url
from contracts.wire.envelope import Envelope
from contracts.wire.instant import write_instant

ENTRY_BYTES_MAX = 65_535
SALT_BYTES = 16


def _entry(kind: str, **members: str | int | None) -> bytes:
    """Write one entry. Raises ValueError past the size that the log's tiles can hold (C2SP tlog-tiles, uint16)."""
    written = to_json(dict(sorted({"kind": kind, **members}.items())))
    if len(written) > ENTRY_BYTES_MAX:
        raise ValueError(f"an entry of the log holds at most {ENTRY_BYTES_MAX} bytes")
    return written


def accepted(
    *,
    source: str,
    id: str,  # noqa: A002
    type: str,  # noqa: A002
    digest: bytes,
    kid: str,
    sig: str,
    received_at: datetime,
) -> bytes:
    """Write the entry of an accepted message: `digest` is the value's SHA-256, `sig` the last part of its jws."""
    return _entry(
        "accepted",
        source=source,
        id=id,
        type=type,
        sha256=base64url.encode(digest),
        kid=kid,
        sig=sig,
        received_at=write_instant(received_at),
    )


def salted_digest(salt: bytes, value: bytes) -> bytes:
    """Hash a refused value: SHA-256(salt || value). Without the salt (erased with the value) it reveals nothing."""
    if len(salt) != SALT_BYTES:
        raise ValueError(f"a salt has {SALT_BYTES} bytes")
    return sha256(salt + value).digest()


def refused(
    *,
    code: Code,
    digest: bytes,
    topic: str,
    partition: int,
    offset: int,
    participant: str | None,
    received_at: datetime,
    source: str | None = None,
    sequence: int | None = None,
) -> bytes:
    """Write the entry of a refused record: `digest` is salted, since what was refused may have no nonce of its own.

    `source` and `sequence` are given where the record's author is known and its envelope can be read: the number that
    the author used for it.
    """
    numbered = {} if source is None or sequence is None else {"source": source, "sequence": f"{sequence:020d}"}
    return _entry(
        "refused",
        **numbered,
        code=str(code),
        digest=base64url.encode(digest),
        topic=topic,
        partition=partition,
        offset=offset,
        participant=participant,
        received_at=write_instant(received_at),
    )


def recommendation(*, id: str, case: str, number: str, revision: int, state: str, digest: bytes) -> bytes:  # noqa: A002
    """Write the entry of a recommendation issued or withdrawn: `digest` is the SHA-256 of its sealed value."""
    return _entry(
        "recommendation",
        id=id,
        case=case,
        number=number,
        revision=revision,
        state=state,
        sha256=base64url.encode(digest),
    )


def recommendation_of(envelope: Envelope) -> bytes:
    """Write the entry of a recommendation as its recipient holds it: what the hub must have written.

    Raises ValueError if the event's data are not a recommendation's.
    """
    data = envelope.data
    number, revision, state = data.get("number"), data.get("revision"), data.get("state")
    if not isinstance(number, str) or not isinstance(revision, int) or not isinstance(state, str):
        raise ValueError("no recommendation")
    return recommendation(
        id=envelope.id, case=envelope.subject, number=number, revision=revision, state=state, digest=envelope.digest
    )


def registry(*, version: int, sha256: str) -> bytes:
    """Write the entry of a registry document: `sha256` is the hex digest of the signed document's bytes."""
    return _entry("registry", version=version, sha256=sha256)


def key_added(*, participant: str, kid: str, use: str) -> bytes:
    """Write the entry from which on a key may sign."""
    return _entry("key_added", participant=participant, kid=kid, use=use)


def key_revoked(*, participant: str, kid: str, use: str) -> bytes:
    """Write the entry from which on a key may no longer sign."""
    return _entry("key_revoked", participant=participant, kid=kid, use=use)


def root(*, version: int, sha256: str) -> bytes:
    """Write the entry of a root document that a registry brought: `sha256` is the hex digest of its signed payload."""
    return _entry("root", version=version, sha256=sha256)


def key_suspended(*, participant: str, kid: str, use: str, act: str) -> bytes:
    """Write the entry from which on a key must not sign for now: `act` is what one person signed, whole."""
    return _entry("key_suspended", participant=participant, kid=kid, use=use, act=act)


def suspension_lifted(*, participant: str, kid: str, suspension: str) -> bytes:
    """Write the entry from which on a key may sign again: `suspension` is the digest of what is lifted, in hex."""
    return _entry("suspension_lifted", participant=participant, kid=kid, suspension=suspension)


def rule_set(*, id: str, version: int, sha256: str) -> bytes:  # noqa: A002
    """Write the entry of a rule set that came into force: `sha256` is the hex digest of its file."""
    return _entry("rule_set", id=id, version=version, sha256=sha256)


def contract(*, type: str, sha256: str) -> bytes:  # noqa: A002
    """Write the entry of an event contract: `sha256` is the hex digest of its JSON Schema."""
    return _entry("contract", type=type, sha256=sha256)


def timer(*, name: str, subject: str, at: datetime) -> bytes:
    """Write the entry of a deadline that passed: a fact of its own, so that a refold comes to the same state."""
    return _entry("timer", name=name, subject=subject, at=write_instant(at))


def count(
    *,
    participant: str,
    day: str,
    source: str,
    first_index: int,
    log_size: int,
    accepted: int,
    refused: int,
    sha256: str,
) -> bytes:
    """Write the entry of what the hub counts of a source's day: `sha256` is base64url, as in the count's event."""
    return _entry(
        "count",
        participant=participant,
        day=day,
        source=source,
        first_index=first_index,
        log_size=log_size,
        accepted=accepted,
        refused=refused,
        sha256=sha256,
    )


def operator_action(*, action: str, subject: str, actor: str, reason: str, at: datetime) -> bytes:
    """Write the entry of something that an operator did by hand."""
    return _entry("operator_action", action=action, subject=subject, actor=actor, reason=reason, at=write_instant(at))


def succession(*, origin: str, checkpoint: str) -> bytes:
    """Write the first entry of a log that takes over from one whose newest entries were lost.

    `origin` is the new log's, `checkpoint` the old one's last cosigned checkpoint as it was shown. Raises ValueError.
    """
    return _entry("succession", origin=origin, checkpoint=checkpoint)


def service_time(
    *, application: str, clock: str, state: str, holder: str, unit: str | None, started_at: datetime, due_on: str,
    passed_at: datetime, at: datetime,
) -> bytes:  # fmt: skip
    """Write the entry of a service time that is about to run out (`warned`) or ran out (`breached`).

    `passed_at` is the moment at which that was so and `at` when it was noticed, later if nothing ran meanwhile.
    """
    return _entry(
        "service_time",
        application=application,
        clock=clock,
        state=state,
        holder=holder,
        unit=unit,
        started_at=write_instant(started_at),
        due_on=due_on,
        passed_at=write_instant(passed_at),
        at=write_instant(at),
    )


def finding(*, name: str, state: str, digest: bytes, at: datetime) -> bytes:
    """Write the entry of a finding opened or closed: `digest` is salted, since the overseer sees it before anybody."""
    return _entry("finding", name=name, state=state, digest=base64url.encode(digest), at=write_instant(at))


def erasure(*, order: str, messages: int, at: datetime) -> bytes:
    """Write the entry of an erasure: the hex digest of the signed order, and how many originals went."""
    return _entry("erasure", order=order, messages=messages, at=write_instant(at))


def lookups(*, day: str, root: bytes, at: datetime) -> bytes:
    """Write the entry of a day's record of look-ups: its salted root alone, which tells nothing of it."""
    return _entry("lookups", day=day, root=base64url.encode(root), at=write_instant(at))
