"""Acts of persons: what takes two of them, or one who may, signed under a root document (SPEC.md section 6.2).

    {"payload", "signatures"} --read_act--> Act: the payload, and which distinct persons signed it

The payload is a JSON object with at least `environment` and `issued_at`. The `typ` of its signatures says what kind of
act it is, so that none passes for another. One key, or one person's two keys, counts once.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from contracts.errors import Code, RegistryError
from contracts.root import Root
from contracts.wire.general_jws import OneSignature, add_signature, read_json, read_signed, sign, write_json
from contracts.wire.instant import read_instant
from contracts.wire.key import Signer

ACT_BYTES_MAX = 64 * 1024


@dataclass(frozen=True, slots=True)
class Act:
    """What persons signed. `sha256` is the hex digest of the signed payload, whoever signed it."""

    payload: Mapping[str, Any]
    sha256: str
    issued_at: datetime
    signers: frozenset[str]


def read_act(
    signed: bytes, typ: str, root: Root, *, persons: int, now: datetime | None = None, bytes_max: int = ACT_BYTES_MAX
) -> Act:
    """Verify an act that at least `persons` distinct persons of `root` must have signed, all with keys that count.

    A key counts if it is in force when the payload says that it was issued, and where `now` is given then as well.
    Raises RegistryError: act_malformed, act_signature_invalid, act_of_other_environment, person_unknown,
    person_key_invalid, persons_too_few.
    """
    if len(signed) > bytes_max:
        raise RegistryError(Code.ACT_MALFORMED, f"larger than {bytes_max} bytes")
    act = read_members(read_json(signed, "the act"), typ, root, now=now)
    require_persons(act, persons)
    return act


def read_members(members: object, typ: str, root: Root, *, now: datetime | None = None) -> Act:
    """Verify an act whose JSON is read already, whoever of the root's persons signed it. Raises RegistryError."""
    read = read_signed(members, typ)
    payload = read_json(read.payload, "payload")
    if payload.get("environment") != root.environment:
        raise RegistryError(Code.ACT_OF_OTHER_ENVIRONMENT)
    try:
        issued_at = read_instant(str(payload.get("issued_at")))
    except ValueError:
        raise RegistryError(Code.ACT_MALFORMED, "issued_at") from None
    moments = (issued_at,) if now is None else (issued_at, now)
    signers = frozenset(_find_signer(one, root, moments) for one in read.signatures)
    return Act(payload, hashlib.sha256(read.payload).hexdigest(), issued_at, signers)


def _find_signer(one: OneSignature, root: Root, moments: tuple[datetime, ...]) -> str:
    """Return the person whose signature this is. Raises RegistryError."""
    found = root.key_of(one.kid)
    if found is None:
        raise RegistryError(Code.PERSON_UNKNOWN, f"key {one.kid}")
    person, key = found
    one.check(key.public)
    if not all(key.counts_at(moment) for moment in moments):
        raise RegistryError(Code.PERSON_KEY_INVALID, f"a key of {person.id}")
    return person.id


def require_persons(act: Act, persons: int) -> None:
    """Refuse an act that fewer distinct persons signed. Raises RegistryError(persons_too_few)."""
    if len(act.signers) < persons:
        raise RegistryError(Code.PERSONS_TOO_FEW, f"{len(act.signers)} signed, {persons} must")


def write_act(payload: Mapping[str, Any], typ: str, *keys: Signer) -> bytes:
    """Write an act, signed with each of these keys; with none it is a proposal."""
    return write_json(sign(write_json(payload), typ, *keys))


def sign_act(act: bytes, typ: str, key: Signer) -> bytes:
    """Return the act with one more signature. Raises RegistryError."""
    return write_json(add_signature(read_json(act, "the act"), typ, key))


def read_proposal(act: bytes, typ: str) -> dict[str, Any]:
    """Return the payload of an act that may lack signatures: nothing of it is verified. Raises RegistryError."""
    return read_json(read_signed(read_json(act, "the act"), typ, signatures_min=0).payload, "payload")
