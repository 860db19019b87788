"""The registry: who takes part, with which keys, saying what, hearing what (SPEC.md section 6).

The document is signed by as many persons as the root document asks for, and carries the chain of root documents that
leads from the pinned root key to them. It is read into a `Registry` whose every key can verify and whose every name is
unique, or not at all.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from contracts.errors import Code, Refusal, RegistryError
from contracts.log.checkpoint import Policy
from contracts.log.fault import Unproven
from contracts.log.note import NOTE_BYTES_MAX, VerifierKey
from contracts.log.succession import Predecessor, find_breach, read_predecessor
from contracts.persons import read_members, require_persons
from contracts.root import Root, check_extends, list_keys, read_chain
from contracts.wire import base64url
from contracts.wire.general_jws import read_json, sign, write_json
from contracts.wire.instant import read_instant
from contracts.wire.key import PublicKey, Signer
from contracts.wire.member import (
    Hex,
    Instant,
    Name,
    Part,
    Positive,
    Thumbprint,
    describe_invalid,
    form,
)

FORMAT = "tkahub-registry/1"
TYP_REGISTRY = "tkahub-registry+jws"
DOCUMENT_BYTES_MAX = 4 * 1024 * 1024
PARTITIONS_MAX = 1024
LOG_KEYS_MAX = 16
WITNESSES_MAX = 16
PREDECESSORS_MAX = 16
RECOMMENDATIONS = "recommendations"

Kind = Literal["ministry", "bank", "immigration", "oversight", "labour_office", "hub"]


Topic = Annotated[str, form(r"(?:from|to)\.[a-z][a-z0-9-]{0,31}|recommendations")]
EventType = Annotated[str, form(r"(?=.{1,100}\Z)id\.tka\.[a-z]+(?:\.[a-z_]+){1,6}\.v[1-9][0-9]{0,3}")]
Source = Annotated[str, form(r"(?=.{1,200}\Z)https://[a-z0-9.-]+(?:/[A-Za-z0-9._~/-]*)?")]
BankCode = Annotated[str, form(r"[0-9]{3}")]
Origin = Annotated[str, form(r"[a-z0-9][a-z0-9./-]{0,126}")]
RuleSetId = Annotated[str, form(r"[A-Za-z0-9._-]{1,32}")]


class Limits(Part):
    """How long things may take: days for a message to travel, banking days for a booking, seconds for the rest."""

    expiry_days_max: Positive
    clock_skew_s: Positive
    deferral_s: Positive
    unmatched_s: Positive
    heartbeat_s: Positive
    booking_days: Annotated[int, Field(ge=1, le=30)] = 2
    witness_grace_s: Positive = 3_600


class _Key(Part):
    kid: Thumbprint
    alg: Literal["Ed25519", "ES256"]
    use: Literal["message", "api"]
    jwk: dict[str, str]
    nbf: Instant
    exp: Instant
    revoked_at: Instant | None


class Filter(Part):
    """What part of a type a subscriber is granted; absent members grant all."""

    kanim: list[str] | None = Field(default=None, min_length=1)
    regency: list[str] | None = Field(default=None, min_length=1)


class Subscription(Part):
    """A type that a participant receives, and which of its events."""

    type: EventType
    filter: Filter


class _Participant(Part):
    id: Name
    kind: Kind
    name: str = Field(min_length=1, max_length=200)
    bank_code: BankCode | None
    sources: list[Source]
    keys: list[_Key]
    publishes: list[EventType]
    subscribes: list[Subscription]


class RuleSetEntry(Part):
    """A rule set in force, by its digest."""

    id: RuleSetId
    version: Positive
    sha256: Hex


class ContractEntry(Part):
    """A published event contract, by the digest of its JSON Schema."""

    type: EventType
    sha256: Hex


class _Predecessor(Part):
    checkpoint: str = Field(max_length=NOTE_BYTES_MAX)
    log_keys: list[str] = Field(min_length=1, max_length=LOG_KEYS_MAX)
    witnesses: list[str] = Field(max_length=WITNESSES_MAX)
    witness_quorum: Annotated[int, Field(ge=0, le=WITNESSES_MAX)]


class LiftedSuspension(Part):
    """A suspension that two persons took back: of which key, and the digest of what was signed to suspend it."""

    kid: Thumbprint
    suspension: Hex


class _Document(Part):
    format: Literal["tkahub-registry/1"]
    environment: Name
    version: Positive
    issued_at: Instant
    root: Hex | None = None
    log_origin: Origin
    log_keys: list[str] = Field(default_factory=list, max_length=LOG_KEYS_MAX)
    witnesses: list[str] = Field(default_factory=list, max_length=WITNESSES_MAX)
    witness_quorum: Annotated[int, Field(ge=0, le=WITNESSES_MAX)] = 0
    predecessors: list[_Predecessor] = Field(default_factory=list, max_length=PREDECESSORS_MAX)
    proof_required: bool
    limits: Limits
    topics: dict[Topic, Annotated[int, Field(ge=1, le=PARTITIONS_MAX)]]
    participants: list[_Participant]
    rule_sets: list[RuleSetEntry]
    contracts: list[ContractEntry]
    lifted: list[LiftedSuspension] = Field(default_factory=list)


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """A participant's key and when it may be used; `revoked_at` is None while nobody has revoked it."""

    kid: str
    alg: str
    use: Literal["message", "api"]
    public: PublicKey
    nbf: datetime
    exp: datetime
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class Participant:
    """One party of the exchange."""

    id: str
    kind: Kind
    name: str
    bank_code: str | None
    sources: frozenset[str]
    keys: tuple[KeyEntry, ...]
    publishes: frozenset[str]
    subscribes: tuple[Subscription, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Registry:
    """A registry document that as many persons have signed as must. `suspended`: kids that must not sign for now."""

    environment: str
    version: int
    issued_at: datetime
    log_origin: str
    log: Policy
    predecessors: tuple[Predecessor, ...]
    proof_required: bool
    limits: Limits
    topics: Mapping[str, int]
    participants: Mapping[str, Participant]
    rule_sets: tuple[RuleSetEntry, ...]
    contracts: Mapping[str, str]
    lifted: frozenset[LiftedSuspension]
    document: Mapping[str, Any]
    roots: tuple[Root, ...]
    signers: frozenset[str]
    suspended: frozenset[str]
    _keys: Mapping[str, tuple[Participant, KeyEntry]]
    _owners: Mapping[str, Participant]
    _subscribers: Mapping[str, tuple[tuple[Participant, Subscription], ...]]

    @classmethod
    def read(cls, signed: bytes, root: PublicKey) -> "Registry":
        """Verify and read a signed registry document under the pinned root key.

        Raises RegistryError (registry_*, root_*, act_of_other_environment, person_*, persons_too_few).
        """
        members = _read_members(signed)
        roots = read_chain(members.pop("roots", None), root)
        try:
            act = read_members(members, TYP_REGISTRY, roots[-1])
        except RegistryError as error:
            raise RegistryError(_OF_REGISTRY.get(error.code, error.code), error.detail) from None
        require_persons(act, roots[-1].threshold)
        return _registry_of(act.payload, roots, act.signers)

    @property
    def root(self) -> Root:
        """Return the root document in force: whose word counts beside this document."""
        return self.roots[-1]

    def participant(self, participant_id: str) -> Participant | None:
        """Return the participant of this id."""
        return self.participants.get(participant_id)

    def key(self, kid: str) -> tuple[Participant, KeyEntry] | None:
        """Return a key with its owner; whether it may be used, and for what, is the caller's question."""
        return self._keys.get(kid)

    def message_key(self, kid: str) -> PublicKey | None:
        """Return the public key of a kid, in the form that `verify_signature` asks for."""
        found = self._keys.get(kid)
        return None if found is None else found[1].public

    def owner_of(self, source: str) -> Participant | None:
        """Return the participant that a source belongs to."""
        return self._owners.get(source)

    def subscribers(self, event_type: str) -> tuple[tuple[Participant, Subscription], ...]:
        """Return who receives events of this type, each with the subscription that grants it."""
        return self._subscribers.get(event_type, ())

    def partitions(self, topic: str) -> int | None:
        """Return how many partitions a logical topic has; None for a topic that is not one of the exchange's."""
        return self.topics.get(topic)

    def first_origin(self) -> str:
        """Return the origin of the first log: what the hub derives from the log's name outlives a log that ended."""
        return self.predecessors[0].policy.origin if self.predecessors else self.log_origin

    def log_of(self, origin: str) -> Policy:
        """Return whom to believe about the log of this origin; about an unknown one, that is the log in force."""
        return next((one.policy for one in self.predecessors if one.policy.origin == origin), self.log)

    def hub(self) -> Participant | None:
        """Return the participant that is the exchange itself."""
        return next((party for party in self.participants.values() if party.kind == "hub"), None)


def _malformed(detail: str) -> RegistryError:
    return RegistryError(Code.REGISTRY_MALFORMED, detail)


#: What is wrong with the form or signature of this act in particular.
_OF_REGISTRY = {
    Code.ACT_MALFORMED: Code.REGISTRY_MALFORMED,
    Code.ACT_SIGNATURE_INVALID: Code.REGISTRY_SIGNATURE_INVALID,
}


def _read_members(signed: bytes) -> dict[str, Any]:
    if len(signed) > DOCUMENT_BYTES_MAX:
        raise _malformed(f"larger than {DOCUMENT_BYTES_MAX} bytes")
    try:
        return read_json(signed, "the signed document")
    except RegistryError as error:
        raise _malformed(error.detail) from None


def _registry_of(payload: Mapping[str, Any], roots: tuple[Root, ...], signers: frozenset[str]) -> Registry:
    """Check a document and build the look-ups. Raises RegistryError."""
    try:
        document = _Document.model_validate(payload)
    except ValidationError as error:
        raise _malformed(describe_invalid(error)) from None
    if roots and document.root not in (None, roots[-1].sha256):
        raise RegistryError(Code.ROOT_ROLLBACK, "the document was signed under another root document")
    participants = tuple(_participant_of(entry) for entry in document.participants)
    _require_unique("participants", (party.id for party in participants))
    _require_unique("sources", (source for entry in document.participants for source in entry.sources))
    _require_unique("bank codes", (party.bank_code for party in participants if party.bank_code is not None))
    _require_unique("rule sets", ((entry.id, entry.version) for entry in document.rule_sets))
    _require_unique("contracts", (entry.type for entry in document.contracts))
    if sum(party.kind == "hub" for party in participants) > 1:
        raise _malformed("more than one participant is the hub")
    keys = {key.kid: (party, key) for party in participants for key in party.keys}
    if len({key.public.jwk["x"] for _, key in keys.values()}) != sum(len(party.keys) for party in participants):
        raise RegistryError(Code.REGISTRY_KEY_INVALID, "one key stands twice")
    log = _log_policy_of(document)
    _check_apart(
        {key.public.jwk["x"] for _, key in keys.values()},
        {base64url.encode(key.public) for key in (*log.log_keys, *log.witnesses)},
        list_keys(roots),
    )
    subscribers: dict[str, list[tuple[Participant, Subscription]]] = {}
    for party in participants:
        _require_unique(f"subscriptions of {party.id}", (subscription.type for subscription in party.subscribes))
        for subscription in party.subscribes:
            subscribers.setdefault(subscription.type, []).append((party, subscription))
    return Registry(
        environment=document.environment,
        version=document.version,
        issued_at=read_instant(document.issued_at),
        log_origin=document.log_origin,
        log=log,
        predecessors=_predecessors_of(document),
        proof_required=document.proof_required,
        limits=document.limits,
        topics=MappingProxyType(dict(document.topics)),
        participants=MappingProxyType({party.id: party for party in participants}),
        rule_sets=tuple(document.rule_sets),
        contracts=MappingProxyType({entry.type: entry.sha256 for entry in document.contracts}),
        lifted=frozenset(document.lifted),
        document=payload,
        roots=roots,
        signers=signers,
        suspended=frozenset(),
        _keys=keys,
        _owners={source: party for party in participants for source in party.sources},
        _subscribers={event_type: tuple(found) for event_type, found in subscribers.items()},
    )


def _log_policy_of(document: _Document) -> Policy:
    """Read whom to believe about the evidence log. Raises RegistryError."""
    _require_unique("log keys", document.log_keys)
    try:
        log_keys = tuple(map(VerifierKey.read, document.log_keys))
        witnesses = tuple(map(VerifierKey.read, document.witnesses))
        policy = Policy(document.log_origin, log_keys, witnesses, document.witness_quorum)
    except (Unproven, ValueError) as error:
        raise _malformed(f"log_keys, witnesses, witness_quorum: {error}") from None
    if any(key.name != document.log_origin for key in log_keys):
        raise _malformed("log_keys: a key's name is not the log's origin")
    return policy


def _predecessors_of(document: _Document) -> tuple[Predecessor, ...]:
    """Read the logs that ended, each with its last checkpoint. Raises RegistryError."""
    try:
        return tuple(
            read_predecessor(one.checkpoint, one.log_keys, one.witnesses, one.witness_quorum)
            for one in document.predecessors
        )
    except (Unproven, ValueError) as error:
        raise _malformed(f"predecessors: {error}") from None


def _check_apart(participants: set[str], log: set[str], persons: frozenset[str]) -> None:
    """Refuse a key, by its x coordinate, that two kinds of party have: whoever holds it could be both."""
    if participants & log:
        raise RegistryError(Code.REGISTRY_KEY_INVALID, "a key of a participant is the log's or a witness's too")
    if persons & (participants | log):
        raise RegistryError(Code.REGISTRY_KEY_INVALID, "a key of a person or the root is another party's too")


def _require_unique(what: str, names: Iterable[object]) -> None:
    listed = list(names)
    if len(set(listed)) != len(listed):
        raise _malformed(f"{what}: one stands twice")


def _participant_of(entry: _Participant) -> Participant:
    return Participant(
        id=entry.id,
        kind=entry.kind,
        name=entry.name,
        bank_code=entry.bank_code,
        sources=frozenset(entry.sources),
        keys=tuple(_key_of(key) for key in entry.keys),
        publishes=frozenset(entry.publishes),
        subscribes=tuple(entry.subscribes),
    )


def _key_of(entry: _Key) -> KeyEntry:
    """Read one key. Raises RegistryError(registry_key_invalid), also for a point of small order."""
    try:
        public = PublicKey.from_jwk(entry.jwk)
    except Refusal as error:
        raise RegistryError(error.code, error.detail) from None
    if public.jwk != entry.jwk or public.kid != entry.kid or public.alg != entry.alg:
        raise RegistryError(Code.REGISTRY_KEY_INVALID, "kid, alg or members are not those of the jwk")
    nbf, exp = read_instant(entry.nbf), read_instant(entry.exp)
    if exp <= nbf:
        raise RegistryError(Code.REGISTRY_KEY_INVALID, "exp is not after nbf")
    revoked_at = None if entry.revoked_at is None else read_instant(entry.revoked_at)
    return KeyEntry(entry.kid, entry.alg, entry.use, public, nbf, exp, revoked_at)


def check_successor(old: Registry, new: Registry) -> None:
    """Refuse a document that may not follow the one in force.

    The version rises, the environment stays, and so does the log, or the document names the last checkpoint of the one
    that ends (contracts.log.succession). History is only added to: no participant or key is gone, no key changes hands
    or use, no revocation is taken back or put off, no contract, rule set or log key is gone, no lifted suspension comes
    back, and the chain of root documents only grows. A topic never loses partitions; `recommendations` keeps its number
    for life, since it is compacted by key.

    Raises RegistryError (registry_rollback, registry_history_lost, root_rollback).
    """
    if old.environment != new.environment:
        raise RegistryError(Code.REGISTRY_ROLLBACK, "of another environment")
    if breach := find_breach((old.log, old.predecessors), (new.log, new.predecessors)):
        raise RegistryError(Code.REGISTRY_ROLLBACK, breach)
    if new.version <= old.version or new.issued_at < old.issued_at:
        raise RegistryError(Code.REGISTRY_ROLLBACK, "not newer than the one in force")
    check_extends(old.roots, new.roots)
    if not old.lifted <= new.lifted:
        raise RegistryError(Code.REGISTRY_HISTORY_LOST, "a lifted suspension")
    for party in old.participants.values():
        successor = new.participant(party.id)
        if successor is None or successor.kind != party.kind:
            raise RegistryError(Code.REGISTRY_HISTORY_LOST, f"participant {party.id}")
        for key in party.keys:
            _check_key_kept(party, key, new.key(key.kid))
    if not set(old.rule_sets) <= set(new.rule_sets):
        raise RegistryError(Code.REGISTRY_HISTORY_LOST, "a rule set is gone or changed without a new version")
    if not old.contracts.items() <= new.contracts.items():
        raise RegistryError(Code.REGISTRY_HISTORY_LOST, "a contract is gone or changed without a new version")
    if old.log_origin == new.log_origin and not set(old.log.log_keys) <= set(new.log.log_keys):
        raise RegistryError(Code.REGISTRY_HISTORY_LOST, "a key of the log, under which older proofs verify")
    for topic, partitions in old.topics.items():
        kept = new.topics.get(topic, 0)
        if kept < partitions or (topic == RECOMMENDATIONS and kept != partitions):
            raise RegistryError(Code.REGISTRY_HISTORY_LOST, f"partitions of {topic}")


def _check_key_kept(party: Participant, key: KeyEntry, kept: tuple[Participant, KeyEntry] | None) -> None:
    if kept is None or kept[0].id != party.id or kept[1].use != key.use or kept[1].nbf != key.nbf:
        raise RegistryError(Code.REGISTRY_HISTORY_LOST, f"a key of {party.id}")
    revoked_at = kept[1].revoked_at
    if key.revoked_at is not None and (revoked_at is None or revoked_at > key.revoked_at):
        raise RegistryError(Code.REGISTRY_HISTORY_LOST, f"a revocation of {party.id}")


def write_registry(document: Mapping[str, Any], roots: Sequence[Mapping[str, Any]], *persons: Signer) -> bytes:
    """Check and sign a document, as `Registry.read` takes it; `roots` is the chain of signed root documents.

    Raises RegistryError.
    """
    check_document(document)
    return seal_registry(sign(write_json(document), TYP_REGISTRY, *persons), roots)


def check_document(document: Mapping[str, Any], roots: tuple[Root, ...] = ()) -> Registry:
    """Return the registry that a document would be, which nobody has signed yet. Raises RegistryError."""
    if roots and document.get("environment") != roots[-1].environment:
        raise RegistryError(Code.ACT_OF_OTHER_ENVIRONMENT)
    return _registry_of(document, roots, frozenset())


def seal_registry(act: Mapping[str, Any], roots: Sequence[Mapping[str, Any]]) -> bytes:
    """Join a document that persons signed with the chain of root documents that says who they are."""
    return write_json({**act, "roots": list(roots)})
