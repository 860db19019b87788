"""Root documents: which persons may act for the exchange, and how many of them it takes (SPEC.md section 6.1).

A root document names its own key and is signed with it. Each version after the first is signed with the key of the
version before it as well, and names its digest: so whoever pins any of these keys can follow the chain to its end.

    chain of signed root documents + one pinned root key --read_chain--> Root, Root, ... the last of which is in force
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from contracts.errors import Code, Refusal, RegistryError
from contracts.wire.general_jws import Signed, add_signature, read_json, read_signed, sign, write_json
from contracts.wire.instant import read_instant
from contracts.wire.key import PublicKey, Signer
from contracts.wire.member import Hex, Instant, Label, Name, Part, Positive, Thumbprint, describe_invalid

FORMAT = "tkahub-root/1"
TYP_ROOT = "tkahub-root+jws"
PERSONS_MIN = 2
PERSONS_MAX = 64
KEYS_MAX = 16
ROOTS_MAX = 64
ROOT_BYTES_MAX = 256 * 1024


class _Key(Part):
    kid: Thumbprint
    alg: Literal["Ed25519", "ES256"]
    jwk: dict[str, str]
    nbf: Instant
    exp: Instant
    revoked_at: Instant | None


class _Person(Part):
    id: Name
    name: Label
    may_suspend: bool
    keys: list[_Key] = Field(min_length=1, max_length=KEYS_MAX)


class _Document(Part):
    format: Literal["tkahub-root/1"]
    environment: Name
    version: Positive
    issued_at: Instant
    previous: Hex | None
    root: dict[str, str]
    threshold: Annotated[int, Field(ge=PERSONS_MIN, le=PERSONS_MAX)]
    persons: list[_Person] = Field(min_length=PERSONS_MIN, max_length=PERSONS_MAX)


@dataclass(frozen=True, slots=True)
class PersonKey:
    """A person's key and when it may be used; `revoked_at` is None while nobody has revoked it."""

    public: PublicKey
    nbf: datetime
    exp: datetime
    revoked_at: datetime | None

    def counts_at(self, moment: datetime) -> bool:
        """Whether what it signed at this moment counts."""
        return self.nbf <= moment < self.exp and (self.revoked_at is None or moment < self.revoked_at)


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody whose word counts, by any of the keys."""

    id: str
    name: str
    may_suspend: bool
    keys: tuple[PersonKey, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Root:
    """A root document that has verified. `sha256` is the hex digest of its signed payload."""

    environment: str
    version: int
    issued_at: datetime
    previous: str | None
    key: PublicKey
    threshold: int
    persons: Mapping[str, Person]
    sha256: str
    document: Mapping[str, Any]
    _keys: Mapping[str, tuple[Person, PersonKey]]

    def key_of(self, kid: str) -> tuple[Person, PersonKey] | None:
        """Return a key with the person whose it is; whether it counts, and when, is the caller's question."""
        return self._keys.get(kid)

    def public_keys(self) -> tuple[PublicKey, ...]:
        """Return every key that this document names: its own and the persons'."""
        return (self.key, *(key.public for _, key in self._keys.values()))


def read_root(document: Mapping[str, Any], sha256: str = "") -> Root:
    """Check a root document, whoever signed it. Raises RegistryError (root_malformed, registry_key_invalid)."""
    try:
        read = _Document.model_validate(document)
    except ValidationError as error:
        raise RegistryError(Code.ROOT_MALFORMED, describe_invalid(error)) from None
    key = _public_of(read.root)
    persons = tuple(_person_of(person) for person in read.persons)
    keys = {one.public.kid: (person, one) for person in persons for one in person.keys}
    if len({person.id for person in persons}) != len(persons):
        raise RegistryError(Code.ROOT_MALFORMED, "persons: one stands twice")
    listed = [key, *(one.public for person in persons for one in person.keys)]
    # Who holds a key of P-256 can sign with the point of the same x and the other y too.
    if len({one.jwk["x"] for one in listed}) != len(listed):
        raise RegistryError(Code.REGISTRY_KEY_INVALID, "one key stands twice")
    if read.threshold > len(persons):
        raise RegistryError(Code.ROOT_MALFORMED, "threshold: more than there are persons")
    if (read.previous is None) != (read.version == 1):
        raise RegistryError(Code.ROOT_MALFORMED, "previous: all but the first version name the one before")
    return Root(
        environment=read.environment,
        version=read.version,
        issued_at=read_instant(read.issued_at),
        previous=read.previous,
        key=key,
        threshold=read.threshold,
        persons=MappingProxyType({person.id: person for person in persons}),
        sha256=sha256,
        document=document,
        _keys=MappingProxyType(keys),
    )


def _public_of(jwk: Mapping[str, str]) -> PublicKey:
    try:
        public = PublicKey.from_jwk(jwk)
    except Refusal as error:
        raise RegistryError(error.code, error.detail) from None
    if public.jwk != jwk:
        raise RegistryError(Code.REGISTRY_KEY_INVALID, "not exactly the members of a jwk")
    return public


def _person_of(entry: _Person) -> Person:
    return Person(entry.id, entry.name, entry.may_suspend, tuple(_key_of(key) for key in entry.keys))


def _key_of(entry: _Key) -> PersonKey:
    public = _public_of(entry.jwk)
    if (public.kid, public.alg) != (entry.kid, entry.alg):
        raise RegistryError(Code.REGISTRY_KEY_INVALID, "kid or alg are not those of the jwk")
    nbf, exp = read_instant(entry.nbf), read_instant(entry.exp)
    if exp <= nbf:
        raise RegistryError(Code.REGISTRY_KEY_INVALID, "exp is not after nbf")
    return PersonKey(public, nbf, exp, None if entry.revoked_at is None else read_instant(entry.revoked_at))


def read_chain(chain: object, pinned: PublicKey) -> tuple[Root, ...]:
    """Verify a chain of signed root documents, from version 1 on; the last one is in force.

    Raises RegistryError: act_malformed, act_signature_invalid, root_malformed, registry_key_invalid, root_chain_broken
    (a gap, another environment, not signed by the one before, a key given back or to somebody else, a root key that was
    given up), root_not_pinned.
    """
    if not isinstance(chain, list) or not 1 <= len(chain) <= ROOTS_MAX:
        raise RegistryError(Code.ROOT_MALFORMED, f"not a list of 1 to {ROOTS_MAX} root documents")
    roots: list[Root] = []
    known: dict[str, tuple[str, datetime | None]] = {}
    for members in chain:
        signed = read_signed(members, TYP_ROOT)
        root = _root_of(signed)
        _check_link(roots[-1] if roots else None, root, signed)
        _check_key_current(roots, root)
        _check_keys_kept(known, root)
        roots.append(root)
    if pinned.kid not in {root.key.kid for root in roots}:
        raise RegistryError(Code.ROOT_NOT_PINNED)
    return tuple(roots)


def _root_of(signed: Signed) -> Root:
    return read_root(read_json(signed.payload, "root document"), hashlib.sha256(signed.payload).hexdigest())


def _check_link(before: Root | None, root: Root, signed: Signed) -> None:
    """Refuse a root document that does not follow the one before it, or that its key or that one's did not sign."""
    version, previous = (1, None) if before is None else (before.version + 1, before.sha256)
    if (root.version, root.previous) != (version, previous):
        raise RegistryError(Code.ROOT_CHAIN_BROKEN, f"version {root.version} stands in the place of {version}")
    if before is not None and (root.environment != before.environment or root.issued_at < before.issued_at):
        raise RegistryError(Code.ROOT_CHAIN_BROKEN, "of another environment, or issued before the one before it")
    by_kid = {one.kid: one for one in signed.signatures}
    for key in (root.key,) if before is None else (before.key, root.key):
        if key.kid not in by_kid:
            raise RegistryError(Code.ROOT_CHAIN_BROKEN, f"version {root.version} lacks a root key's signature")
        by_kid[key.kid].check(key)


def _check_key_current(roots: Sequence[Root], root: Root) -> None:
    """Refuse a root key that was given up before: somebody else may know it."""
    current = roots[-1].key.jwk["x"] if roots else None
    if root.key.jwk["x"] in {earlier.key.jwk["x"] for earlier in roots} - {current}:
        raise RegistryError(Code.ROOT_CHAIN_BROKEN, f"version {root.version} takes a root key that was given up")


def _check_keys_kept(known: dict[str, tuple[str, datetime | None]], root: Root) -> None:
    """Refuse a key that changes hands or a revocation that is taken back, also by a document that left it out between.

    `known` says by x coordinate whose each key is (nobody's: a root's) and since when it is revoked.
    """
    held = [(one.public, person.id, one.revoked_at) for person in root.persons.values() for one in person.keys]
    for public, owner, revoked_at in [(root.key, "", None), *held]:
        first, revoked = known.get(public.jwk["x"], (owner, None))
        if first != owner:
            raise RegistryError(Code.ROOT_CHAIN_BROKEN, f"version {root.version} gives a key to somebody else")
        if revoked is not None and (revoked_at is None or revoked_at > revoked):
            raise RegistryError(Code.ROOT_CHAIN_BROKEN, f"version {root.version} takes a revocation of {owner} back")
        known[public.jwk["x"]] = owner, revoked_at


def check_extends(old: Sequence[Root], new: Sequence[Root]) -> None:
    """Refuse a chain that does not begin with the whole of the one in force. Raises RegistryError(root_rollback)."""
    if [root.sha256 for root in new[: len(old)]] != [root.sha256 for root in old]:
        raise RegistryError(Code.ROOT_ROLLBACK, f"version {old[-1].version} is in force")


def write_root(document: Mapping[str, Any], *keys: Signer) -> dict[str, Any]:
    """Check and sign a root document, with its own key and after a rotation the one's before. Raises RegistryError."""
    read_root(document)
    return sign(write_json(document), TYP_ROOT, *keys)


def sign_root(members: Mapping[str, Any], key: Signer) -> dict[str, Any]:
    """Return a signed root document with one more signature. Raises RegistryError."""
    return add_signature(members, TYP_ROOT, key)


def list_keys(chain: Iterable[Root]) -> frozenset[str]:
    """Return the x coordinate of every key that a chain names, which nobody else may use."""
    return frozenset(key.jwk["x"] for root in chain for key in root.public_keys())
