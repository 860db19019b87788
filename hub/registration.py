"""A new version of the registry: edited, signed with the offline root key, and put in force together with its leaves.

Everything happens under the log's lock, which intake takes last: no message gets a log index on the wrong side of a
revocation. The rule sets and contracts of this installation are registered with each version.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.resources import files
from typing import Any

from contracts.events import EVENTS
from contracts.log import entry
from contracts.registry import FORMAT, Participant, Registry, check_successor, write_registry
from contracts.rules.rulebook import RuleSet
from contracts.wire.instant import write_instant
from contracts.wire.key import PrivateKey, PublicKey
from hub import succession
from hub.store import registry as registry_store
from hub.store.database import Database
from hub.store.registry import LogHead, RuleSetRow

KEY_LIFETIME_DAYS = 730
PARTITIONS_DEFAULT = 1
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


async def apply(database: Database, edit: Edit, root: PrivateKey, pinned: PublicKey, now: datetime) -> Applied:
    """Put the next version in force, or change nothing.

    Raises ChangeInvalid, or RegistryError if the result may not follow the version in force.
    """
    if root.kid != pinned.kid:
        raise ChangeInvalid("The root key is not the one that TRUST_ROOT_FILE pins.")
    installed = read_installed()
    async with database.transaction() as connection:
        head = await registry_store.lock_log(connection)
        current = await registry_store.read_current(connection)
        old = None if current is None else Registry.read(current[1].encode(), pinned)
        document = edit(None if old is None else deepcopy(dict(old.document)))
        _bring_installed(document, installed)
        document |= {"version": head.registry_version + 1, "issued_at": write_instant(now)}
        jws = write_registry(document, root)
        new = Registry.read(jws, pinned)
        if old is not None:
            check_successor(old, new)
        entries = await succession.begin(connection, head, new)
        registry_index = head.next_index + len(entries)
        entries.append(entry.registry(version=new.version, sha256=hashlib.sha256(jws).hexdigest()))
        await _register_installed(connection, installed, head, entries)
        entries += _key_entries(old, new)
        head = head._replace(origin=new.log_origin)
        await registry_store.add_registry(connection, new.version, jws.decode(), registry_index, now)
        await registry_store.append_leaves(connection, head, entries, new.version)
    return Applied(new, registry_index, len(entries))


async def _register_installed(connection: Any, installed: Installed, head: LogHead, entries: list[bytes]) -> None:
    """Register what this installation brings for the first time, each under a leaf of its own behind `entries`."""
    known = {(row.id, row.version): row.sha256 for row in await registry_store.read_rule_sets(connection)}
    for row in installed.rule_sets:
        if (row.id, row.version) not in known:
            await registry_store.add_rule_set(connection, row, head.next_index + len(entries))
            entries.append(entry.rule_set(id=row.id, version=row.version, sha256=row.sha256))
    registered = await registry_store.read_contracts(connection)
    for event_type, sha256 in installed.contracts.items():
        if (event_type, sha256) not in registered:
            await registry_store.add_contract(connection, event_type, sha256, head.next_index + len(entries))
            entries.append(entry.contract(type=event_type, sha256=sha256))


def _key_entries(old: Registry | None, new: Registry) -> list[bytes]:
    """Return a leaf for each key that is new, and for each that is revoked now and was not."""
    before = {} if old is None else {key.kid: key for party in old.participants.values() for key in party.keys}
    parties: list[Participant] = sorted(new.participants.values(), key=lambda party: party.id)
    added = [
        entry.key_added(participant=party.id, kid=key.kid, use=key.use)
        for party in parties
        for key in party.keys
        if key.kid not in before
    ]
    revoked = [
        entry.key_revoked(participant=party.id, kid=key.kid, use=key.use)
        for party in parties
        for key in party.keys
        if key.revoked_at is not None and (key.kid not in before or before[key.kid].revoked_at is None)
    ]
    return added + revoked
