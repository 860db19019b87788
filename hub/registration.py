"""A new version of the registry: proposed by anybody, signed by persons, and put in force together with its leaves.

    edit, version in force --propose--> Proposal --persons sign--> Proposal --apply--> in force

Only `apply` and `suspend` write, under the log's lock, which intake takes last: no message gets a log index on the
wrong side of a revocation. The rule sets and contracts of this installation are proposed with each version.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.resources import files
from typing import Any

from contracts.audit.history import expect_entries
from contracts.errors import Code, RegistryError
from contracts.events import EVENTS
from contracts.log import entry
from contracts.registry import FORMAT, LiftedSuspension, Registry, check_successor
from contracts.root import read_chain
from contracts.rules.rulebook import RuleSet
from contracts.suspension import Suspension, check_suspension, read_suspension, read_taken
from contracts.wire.instant import write_instant
from contracts.wire.key import PublicKey
from hub import succession, trust
from hub.proposal import Proposal, check_proposed
from hub.store import registry as registry_store
from hub.store.database import Connection, Database
from hub.store.registry import LogHead, RuleSetRow

KEY_LIFETIME_DAYS = 730
PARTITIONS_DEFAULT = 1
#: A suspension that was signed and not used is not kept for a bad day.
SUSPENSION_AGE_MAX = timedelta(hours=1)
LIMITS_DEFAULT = {
    "expiry_days_max": 90,
    "clock_skew_s": 300,
    "deferral_s": 600,
    "unmatched_s": 86_400,
    "heartbeat_s": 30,
    "booking_days": 2,
}

Document = dict[str, Any]
Edit = Callable[[Document | None], Document]


class ChangeInvalid(Exception):
    """What was asked cannot become a registry; the message says why in one sentence."""


@dataclass(frozen=True, slots=True)
class Installed:
    """The rule sets and the event contracts that this installation brings."""

    rule_sets: tuple[RuleSetRow, ...]
    contracts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Applied:
    """A registry version that was put in force, and the log index of its leaf."""

    registry: Registry
    log_index: int
    leaves: int


def read_installed() -> Installed:
    """Read the rule sets and the contracts' schemas that are packaged with `contracts`."""
    rule_sets = []
    for file in sorted(files("contracts.rules").joinpath("sets").iterdir(), key=lambda found: found.name):
        if file.name.endswith(".toml") and file.name != "holidays.toml":
            raw = file.read_bytes()
            rule_set = RuleSet.read(raw)
            rule_sets.append(RuleSetRow(rule_set.id, rule_set.version, rule_set.sha256, raw.decode()))
    rule_sets.sort(key=lambda row: (row.id, row.version))
    schemas = files("contracts").joinpath("schemas")
    contracts = {
        event_type: hashlib.sha256(schemas.joinpath(f"{event_type}.json").read_bytes()).hexdigest()
        for event_type in sorted(EVENTS)
    }
    return Installed(tuple(rule_sets), contracts)


def complete_participant(given: object, now: datetime, known: Mapping[str, Document]) -> Document:
    """Return a participant with everything filled in that follows from the rest, above all in its keys.

    `known` are the keys of the registry in force by kid: what the file does not say of them stays as it is.
    """
    if not isinstance(given, dict) or not isinstance(given.get("id"), str):
        raise ChangeInvalid("A participant must be a JSON object with an id.")
    defaults = {"bank_code": None, "sources": [], "keys": [], "publishes": [], "subscribes": [], "name": given["id"]}
    participant = defaults | given
    if not isinstance(participant["keys"], list):
        raise ChangeInvalid("A participant's keys must be a list.")
    participant["keys"] = [_complete_key(key, now, known) for key in participant["keys"]]
    return participant


def _complete_key(given: object, now: datetime, known: Mapping[str, Document]) -> Document:
    if not isinstance(given, dict) or not isinstance(given.get("jwk"), dict):
        raise ChangeInvalid("A key must be a JSON object with a jwk.")
    public = PublicKey.from_jwk(given["jwk"])
    expiry = now + timedelta(days=KEY_LIFETIME_DAYS)
    defaults = {
        "kid": public.kid,
        "alg": public.alg,
        "use": "message",
        "nbf": write_instant(now),
        "exp": write_instant(expiry),
        "revoked_at": None,
    }
    return defaults | known.get(public.kid, {}) | given | {"jwk": public.jwk}


def add_participants(given: object, now: datetime) -> Edit:
    """Return the edit that a file asks for: a participant, a list of them, or {"settings", "participants"}.

    A participant whose id is there already is replaced; its keys must all stay. Raises ChangeInvalid.
    """
    listed, settings = given, {}
    if isinstance(given, dict) and "participants" in given:
        if given.keys() - {"settings", "participants"}:
            raise ChangeInvalid("Beside participants, the file may only hold settings.")
        listed, settings = given["participants"], given.get("settings", {})
    found = listed if isinstance(listed, list) else [listed]
    # Said at once, before anything is locked.
    for participant in found:
        complete_participant(participant, now, {})

    def edit(current: Document | None) -> Document:
        document = _first_document() if current is None else current
        document |= {name: value for name, value in settings.items() if name not in {"limits", "topics"}}
        document["limits"] |= settings.get("limits", {})
        document["topics"] |= settings.get("topics", {})
        known = {key["kid"]: key for participant in document["participants"] for key in participant["keys"]}
        completed = [complete_participant(participant, now, known) for participant in found]
        replaced = {participant["id"]: participant for participant in completed}
        kept = [replaced.pop(old["id"], old) for old in document["participants"]]
        document["participants"] = kept + list(replaced.values())
        for topic in _topics_of(document["participants"]):
            document["topics"].setdefault(topic, PARTITIONS_DEFAULT)
        return document

    return edit


def _first_document() -> Document:
    return {
        "format": FORMAT,
        "proof_required": False,
        "limits": dict(LIMITS_DEFAULT),
        "topics": {"recommendations": PARTITIONS_DEFAULT},
        "participants": [],
        "rule_sets": [],
        "contracts": [],
    }


def _topics_of(participants: list[Document]) -> Iterator[str]:
    for participant in participants:
        if participant.get("kind") == "hub":
            continue
        if participant["publishes"]:
            yield f"from.{participant['id']}"
        if participant["publishes"] or participant["subscribes"]:
            yield f"to.{participant['id']}"


def revoke_key(kid: str, now: datetime) -> Edit:
    """Return the edit that revokes a key from now on; it raises ChangeInvalid if there is nothing to revoke."""

    def edit(current: Document | None) -> Document:
        for participant in (current or _first_document())["participants"]:
            for key in participant["keys"]:
                if key["kid"] == kid:
                    if key["revoked_at"] is not None:
                        raise ChangeInvalid("This key is revoked already.")
                    key["revoked_at"] = write_instant(now)
                    return current or {}
        raise ChangeInvalid("The registry knows no key with this kid.")

    return edit


def _bring_installed(document: Document, installed: Installed) -> None:
    """Add what this installation brings; what an older one brought stays, and check_successor refuses other bytes."""
    rule_sets = {(found["id"], found["version"]): found for found in document["rule_sets"]}
    for row in installed.rule_sets:
        rule_sets[row.id, row.version] = {"id": row.id, "version": row.version, "sha256": row.sha256}
    contracts = {found["type"]: found["sha256"] for found in document["contracts"]} | dict(installed.contracts)
    document["rule_sets"] = [rule_sets[key] for key in sorted(rule_sets)]
    document["contracts"] = [{"type": kind, "sha256": digest} for kind, digest in sorted(contracts.items())]


def lift_suspension(kid: str, taken: Sequence[str]) -> Edit:
    """Return the edit that lets a suspended key sign again; `taken` are the suspensions as they were signed."""

    def edit(current: Document | None) -> Document:
        document = current or _first_document()
        lifted = {(one["kid"], one["suspension"]) for one in document.get("lifted", ())}
        found = {(kid, digest) for digest in taken} - lifted
        if not found:
            raise ChangeInvalid("No suspension of this key is in force.")
        document["lifted"] = [{"kid": one, "suspension": digest} for one, digest in sorted(lifted | found)]
        return document

    return edit


def write_proposal(
    base: str | None, roots: Sequence[Mapping[str, Any]] | None, edits: Sequence[Edit], pinned: PublicKey, now: datetime
) -> Proposal:
    """Propose the version after `base`, the signed document in force; `roots` is the chain if it is to change.

    Raises ChangeInvalid, or RegistryError if the result may not follow the version in force.
    """
    old = None if base is None else Registry.read(base.encode(), pinned)
    if roots is None:
        if base is None:
            raise ChangeInvalid("The first registry needs its root documents: give them with --roots.")
        roots = Proposal.roots_of(base)
    read = read_chain(list(roots), pinned)
    document = None if old is None else deepcopy(dict(old.document))
    for edit in edits:
        document = edit(document)
    document = document or _first_document()
    _bring_installed(document, read_installed())
    version = 1 if old is None else old.version + 1
    document |= {"version": version, "issued_at": write_instant(now), "root": read[-1].sha256}
    check_proposed(document, read, old)
    return Proposal.of(base, roots, document)


async def apply(database: Database, proposal: Proposal, pinned: PublicKey, now: datetime) -> Applied:
    """Put the next version in force as persons signed it, or change nothing.

    Raises ChangeInvalid; RegistryError: proposal_outdated if another version is in force than it was proposed against,
    or whatever `Registry.read` and `check_successor` refuse; a person's key must count now too.
    """
    signed = proposal.signed()
    async with database.transaction() as connection:
        head = await registry_store.lock_log(connection)
        old = await _read_old(connection, pinned)
        if (None if old is None else old.signed) != proposal.base:
            raise RegistryError(Code.PROPOSAL_OUTDATED, f"version {head.registry_version} is in force")
        new = Registry.read(signed, pinned)
        proposal.check_now(new, now)
        if new.version != head.registry_version + 1:
            raise RegistryError(
                Code.PROPOSAL_OUTDATED, f"version {new.version} does not follow {head.registry_version}"
            )
        if old is not None:
            check_successor(old.registry, new)
        entries = await succession.begin(connection, head, new)
        registry_index = head.next_index + len(entries)
        entries.append(entry.registry(version=new.version, sha256=hashlib.sha256(signed).hexdigest()))
        await _register_installed(connection, new, head, entries)
        entries += expect_entries(None if old is None else old.registry, new)
        head = head._replace(origin=new.log_origin)
        await registry_store.add_registry(connection, new.version, signed.decode(), registry_index, now)
        await registry_store.append_leaves(connection, head, entries, new.version)
    return Applied(new, registry_index, len(entries))


async def _read_old(connection: Connection, pinned: PublicKey) -> trust.InForce | None:
    try:
        return await trust.load(connection, pinned)
    except trust.RegistryAbsent:
        return None


async def suspend(database: Database, act: bytes, pinned: PublicKey, now: datetime) -> Suspension:
    """Stop a key at once, on the word of one person who may.

    Raises RegistryAbsent; RegistryError: suspension_needless, proposal_outdated if it was signed long ago,
    person_may_not, and whatever `read_act` refuses.
    """
    async with database.transaction() as connection:
        head = await registry_store.lock_log(connection)
        registry = (await trust.load(connection, pinned)).registry
        suspension = read_suspension(act, registry.root, now)
        if abs(now - suspension.issued_at) > SUSPENSION_AGE_MAX:
            raise RegistryError(Code.PROPOSAL_OUTDATED, "signed long ago, or in the future")
        party, key = check_suspension(suspension, registry)
        text = act.decode("ascii")
        leaf = entry.key_suspended(participant=party.id, kid=key.kid, use=key.use, act=text)
        await registry_store.add_suspension(connection, suspension.sha256, text, head.next_index, now)
        await registry_store.append_leaves(connection, head, [leaf], head.registry_version)
    return suspension


async def read_suspensions(connection: Connection, pinned: PublicKey) -> tuple[trust.InForce, list[Suspension]]:
    """Return what is in force, and the suspensions that are. Raises RegistryAbsent, RegistryError."""
    stored = await registry_store.read_in_force(connection)
    in_force = await trust.load(connection, pinned)
    taken = [read_taken(act.encode(), in_force.registry) for act in (() if stored is None else stored.suspensions)]
    lifted = in_force.registry.lifted
    return in_force, [one for one in taken if LiftedSuspension(kid=one.kid, suspension=one.sha256) not in lifted]


async def _register_installed(connection: Connection, new: Registry, head: LogHead, entries: list[bytes]) -> None:
    """Register what the new version names for the first time, each under a leaf of its own behind `entries`.

    Raises ChangeInvalid for a rule set that this installation does not bring, and so could not decide by.
    """
    brought = {(row.id, row.version, row.sha256): row for row in read_installed().rule_sets}
    known = {(row.id, row.version) for row in await registry_store.read_rule_sets(connection)}
    for row in new.rule_sets:
        if (row.id, row.version) not in known:
            if (row.id, row.version, row.sha256) not in brought:
                raise ChangeInvalid(f"This installation does not bring rule set {row.id}/{row.version}.")
            written = brought[row.id, row.version, row.sha256]
            await registry_store.add_rule_set(connection, written, head.next_index + len(entries))
            entries.append(entry.rule_set(id=row.id, version=row.version, sha256=row.sha256))
    registered = await registry_store.read_contracts(connection)
    for event_type, sha256 in new.contracts.items():
        if (event_type, sha256) not in registered:
            await registry_store.add_contract(connection, event_type, sha256, head.next_index + len(entries))
            entries.append(entry.contract(type=event_type, sha256=sha256))
