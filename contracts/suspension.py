"""Suspensions: one person stops a key at once; to take that back, or to revoke the key, takes as many as a registry.

    signed acts, Registry --suspend--> the same Registry, with the kids that must not sign for now

A suspension counts until a registry revokes its key or names it among the `lifted`, by the digest of what was signed:
so it can neither be lifted by a version that was prepared before it, nor be used again (SPEC.md section 6.5).
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from pydantic import ValidationError

from contracts.errors import Code, RegistryError
from contracts.persons import Act, read_act, write_act
from contracts.registry import KeyEntry, LiftedSuspension, Participant, Registry
from contracts.root import Root
from contracts.wire.instant import write_instant
from contracts.wire.key import Signer
from contracts.wire.member import Instant, Label, Name, Part, Thumbprint, describe_invalid

FORMAT = "tkahub-suspension/1"
TYP_SUSPENSION = "tkahub-suspension+jws"


class _Payload(Part):
    format: Literal["tkahub-suspension/1"]
    environment: Name
    issued_at: Instant
    kid: Thumbprint
    reason: Label


@dataclass(frozen=True, slots=True)
class Suspension:
    """What one person signed to stop a key; `sha256` is the hex digest by which it is lifted."""

    kid: str
    reason: str
    person: str
    sha256: str
    issued_at: datetime


def write_suspension(environment: str, kid: str, reason: str, now: datetime, person: Signer) -> bytes:
    """Sign a suspension."""
    payload = {"format": FORMAT, "environment": environment, "issued_at": write_instant(now)}
    return write_act({**payload, "kid": kid, "reason": reason}, TYP_SUSPENSION, person)


def read_suspension(signed: bytes, root: Root, now: datetime | None = None) -> Suspension:
    """Verify a suspension under the root document in force when it is taken. Raises RegistryError."""
    act = read_act(signed, TYP_SUSPENSION, root, persons=1, now=now)
    try:
        payload = _Payload.model_validate(act.payload)
    except ValidationError as error:
        raise RegistryError(Code.ACT_MALFORMED, describe_invalid(error)) from None
    person = _find_person(act, root)
    return Suspension(payload.kid, payload.reason, person, act.sha256, act.issued_at)


def _find_person(act: Act, root: Root) -> str:
    allowed = sorted(person for person in act.signers if root.persons[person].may_suspend)
    if not allowed:
        raise RegistryError(Code.PERSON_MAY_NOT, f"suspend: {', '.join(sorted(act.signers))}")
    return allowed[0]


def read_taken(signed: bytes, registry: Registry) -> Suspension:
    """Verify a suspension that was taken under any root document until now, the newest first. Raises RegistryError."""
    for root in reversed(registry.roots):
        try:
            return read_suspension(signed, root)
        except RegistryError as error:
            refused = error
    raise refused


def check_suspension(suspension: Suspension, registry: Registry) -> tuple[Participant, KeyEntry]:
    """Return the key that this stops, with its owner.

    Raises RegistryError(suspension_needless): no such key, revoked or suspended already, lifted before, or the hub's:
    who receives its messages follows the registry alone, so only a revocation stops them.
    """
    found = registry.key(suspension.kid)
    if found is None:
        raise RegistryError(Code.SUSPENSION_NEEDLESS, "the registry knows no such key")
    if found[0].kind == "hub":
        raise RegistryError(Code.SUSPENSION_NEEDLESS, "a key of the hub can only be revoked")
    if found[1].revoked_at is not None:
        raise RegistryError(Code.SUSPENSION_NEEDLESS, "the key is revoked")
    if suspension.kid in registry.suspended:
        raise RegistryError(Code.SUSPENSION_NEEDLESS, "the key is suspended already")
    if LiftedSuspension(kid=suspension.kid, suspension=suspension.sha256) in registry.lifted:
        raise RegistryError(Code.SUSPENSION_NEEDLESS, "this suspension was lifted")
    return found


def suspend(registry: Registry, taken: Iterable[bytes]) -> Registry:
    """Return the registry with what the suspensions taken until now stop. Raises RegistryError if one is not signed."""
    read = [read_taken(signed, registry) for signed in taken]
    in_force = {one.kid for one in read if LiftedSuspension(kid=one.kid, suspension=one.sha256) not in registry.lifted}
    return replace(registry, suspended=frozenset(in_force))
