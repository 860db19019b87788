"""What fsck demands of every single row beside the fold: that it is what was signed, and that each leaf has its owner.

A row may be edited together with its digest and its leaf; the signature of its author, who is not the hub, then no
longer fits. A key proves itself: its kid is its thumbprint. That the registry's documents are the root's is for whoever
holds the root's public key.
"""

import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple

import asyncpg

from contracts.errors import Refusal
from contracts.log import entry
from contracts.log.checkpoint import Policy
from contracts.log.fault import Unproven
from contracts.log.note import VerifierKey
from contracts.wire import base64url
from contracts.wire.envelope import read_envelope
from contracts.wire.key import PublicKey
from contracts.wire.signature import Carried, VerifiedRoots, verify_carried
from hub.counts import leaves_of
from hub.store import inspection
from hub.store.database import Connection


class Finding(NamedTuple):
    """Something that does not hold. No personal data: names, numbers and offsets only."""

    kind: str
    subject: str
    detail: str


class Keys:
    """Every key of the registry in force, which has lost none of those before it, with its owner."""

    def __init__(self, document: str | None) -> None:
        self.entries: dict[tuple[str, str, str], bool] = {}
        self._public: dict[str, PublicKey] = {}
        self._owners: dict[str, str] = {}
        payload = {"participants": []} if document is None else _payload_of(document)
        self.logs: list[Policy] = [] if document is None else _log_policies_of(payload)
        ended = [log["checkpoint"] for log in payload.get("predecessors", ())]
        self.successions = {
            entry.succession(origin=log.origin, checkpoint=note) for log, note in zip(self.logs[1:], ended, strict=True)
        }
        for party in payload["participants"]:
            for key in party["keys"]:
                self.entries[party["id"], key["kid"], key["use"]] = key["revoked_at"] is not None
                self._owners[key["kid"]] = party["id"]
                self._public[key["kid"]] = PublicKey.from_jwk(key["jwk"])
        self.roots = set(enumerate(payload.get("root_digests", ()), 1))
        self.lifted = {(one["kid"], one["suspension"]) for one in payload.get("lifted", ())}

    def find(self, kid: str) -> PublicKey | None:
        """Return the key of this kid."""
        return self._public.get(kid)

    def owner(self, kid: str) -> str | None:
        """Return the participant whose key this is."""
        return self._owners.get(kid)


def _log_policies_of(payload: dict[str, Any]) -> list[Policy]:
    """Read whom the registry believes about each log there was, the oldest first. Raises LookupError, ValueError."""
    try:
        policies = []
        for log in (*payload.get("predecessors", ()), payload):
            log_keys, witnesses = (
                tuple(map(VerifierKey.read, log.get(name, ()))) for name in ("log_keys", "witnesses")
            )
            origin = payload["log_origin"] if log is payload else log_keys[0].name
            policies.append(Policy(origin, log_keys, witnesses))
    except Unproven as error:
        raise ValueError(str(error)) from None
    return policies


def _payload_of(document: str) -> dict[str, Any]:
    signed: dict[str, Any] = json.loads(document)
    read: dict[str, Any] = json.loads(base64url.decode(signed["payload"].encode("ascii")) or b"{}")
    read["root_digests"] = [_digest_payload(root) for root in signed["roots"]]
    return read


def _digest_payload(signed: dict[str, Any]) -> str:
    return hashlib.sha256(base64url.decode(signed["payload"].encode("ascii")) or b"").hexdigest()


async def read_keys(connection: Connection) -> tuple[Keys, list[Finding]]:
    """Read the keys from the newest registry document; a document that cannot be read is a finding."""
    row = await connection.fetchrow(inspection.READ_REGISTRY_IN_FORCE)
    try:
        return Keys(None if row is None else row["document"]), []
    except (ValueError, LookupError, TypeError, Refusal):
        return Keys(None), [Finding("unreadable", "registry", "the newest document is none")]


class Messages:
    """Compares accepted messages, one after the other, with what their senders signed."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._roots = VerifiedRoots()

    def check(self, row: asyncpg.Record) -> Iterator[Finding]:
        """Yield what does not hold of one row of READ_ACCEPTED."""
        subject = f"inbox/{row['log_index']}"
        if row["value"] is None:
            # Its digest stands in its leaf; nothing of what was signed is left to be compared.
            return
        try:
            envelope = read_envelope(row["value"])
        except Refusal as refusal:
            yield Finding("not_admissible", subject, str(refusal.code))
            return
        for name in ("source", "id", "type", "subject", "sequence", "time"):
            if row[name] != getattr(envelope, name):
                yield Finding("column_wrong", subject, f"{name} is not the message's own")
        proof = None if row["jws_proof"] is None else row["jws_proof"].encode()
        try:
            signature = verify_carried(
                row["value"], Carried(row["jws"].encode(), proof, None, None), self._keys.find, self._roots
            )
        except Refusal as refusal:
            yield Finding("signature_wrong", subject, str(refusal.code))
            return
        if signature.kid != row["kid"] or self._keys.owner(signature.kid) != row["participant"]:
            yield Finding("signature_wrong", subject, "another key than the one that it is kept under")


async def check_streams(connection: Connection, keys: Keys) -> AsyncIterator[Finding]:
    """Yield what does not hold of the hub's own words: each is kept under its subject, and is what the hub signed."""
    roots = VerifiedRoots()
    async for row in inspection.stream(connection, inspection.READ_SPOKEN):
        subject = f"{row['topic']}/{row['partition']}/{row['seq']}"
        try:
            envelope = read_envelope(row["value"])
        except Refusal as refusal:
            yield Finding("not_admissible", subject, str(refusal.code))
            continue
        if envelope.subject != row["key"]:
            yield Finding("column_wrong", subject, "key is not the message's subject")
        if row["jws"] is None:
            continue
        proof = None if row["jws_proof"] is None else row["jws_proof"].encode()
        try:
            verify_carried(row["value"], Carried(row["jws"].encode(), proof, None, None), keys.find, roots)
        except Refusal as refusal:
            yield Finding("signature_wrong", subject, str(refusal.code))


async def check_leaves(connection: Connection, keys: Keys) -> AsyncIterator[Finding]:
    """Yield each leaf of no owner, and each registry document, rule set and contract that has not its leaf."""
    owned: dict[int, tuple[str, bytes]] = {}
    for row in await connection.fetch(inspection.READ_REGISTRIES):
        digest = hashlib.sha256(row["document"].encode()).hexdigest()
        owned[row["log_index"]] = "registry", entry.registry(version=row["version"], sha256=digest)
    for row in await connection.fetch(inspection.READ_RULE_SETS):
        digest = hashlib.sha256(row["document"].encode()).hexdigest()
        written = entry.rule_set(id=row["id"], version=row["version"], sha256=digest)
        owned[row["log_index"]] = "rule_set", written
        if row["sha256"] != digest:
            yield Finding("column_wrong", f"rule_sets/{row['id']}/{row['version']}", "sha256 is not the document's")
    for row in await connection.fetch(inspection.READ_CONTRACTS):
        owned[row["log_index"]] = "contract", entry.contract(type=row["type"], sha256=row["sha256"])
    for row in await connection.fetch(inspection.READ_FINDINGS):
        salted = entry.salted_digest(row["salt"], row["lead"].encode())
        for state, at, index in (
            ("open", row["opened_at"], row["opened_index"]),
            ("closed", row["closed_at"], row["closed_index"]),
        ):
            if index is not None:
                owned[index] = "finding", entry.finding(name=row["name"], state=state, digest=salted, at=at)
    for row in await connection.fetch(inspection.READ_SUSPENSIONS):
        owned[row["log_index"]] = "suspension", _leaf_of_suspension(row["act"], keys)
        if row["sha256"] != _digest_act(row["act"]):
            yield Finding("column_wrong", f"suspensions/{row['log_index']}", "sha256 is not the act's")
    for row in await connection.fetch(inspection.READ_LOOKUP_DAYS):
        written = entry.lookups(day=row["day"].isoformat(), root=row["root"], at=row["closed_at"])
        owned[row["log_index"]] = "day of look-ups", written
    counted = {
        leaf: f"count/{row['participant']}/{row['day']}"
        for row in await connection.fetch(inspection.READ_COUNTS)
        for leaf in leaves_of(json.loads(row["document"]))
    }
    async for row in inspection.stream(connection, inspection.READ_OTHER_LEAVES):
        kind, expected = owned.pop(row["log_index"], (None, None))
        if expected is not None:
            if row["entry"] != expected:
                yield Finding("leaf_wrong", f"leaf/{row['log_index']}", f"the leaf is not the one of this {kind}")
        elif counted.pop(row["entry"], None) is None and not _stands_alone(row["entry"], keys):
            yield Finding("leaf_orphan", f"leaf/{row['log_index']}", "nothing that is stored has this leaf")
    for index, (kind, _) in owned.items():
        yield Finding("leaf_wrong", f"leaf/{index}", f"the leaf of a {kind} is not there")
    for subject in counted.values():
        yield Finding("leaf_wrong", subject, "the leaf of a count is not there")
    version = await connection.fetchrow(inspection.READ_VERSIONS)
    if version is not None and version["noted"] != version["newest"]:
        yield Finding(
            "registry_wrong", "log", f"registry {version['noted']} is in force, {version['newest']} is stored"
        )
    if version is not None and version["suspensions_noted"] != version["suspensions"]:
        detail = f"{version['suspensions_noted']} suspensions were taken, {version['suspensions']} are stored"
        yield Finding("registry_wrong", "log", detail)


def _digest_act(act: str) -> str:
    try:
        return _digest_payload(json.loads(act))
    except (ValueError, LookupError, TypeError, AttributeError):
        return ""


def _leaf_of_suspension(act: str, keys: Keys) -> bytes:
    """Return the leaf that a suspension must have; an act of no such form has none."""
    try:
        kid = json.loads(base64url.decode(json.loads(act)["payload"].encode("ascii")) or b"{}")["kid"]
        use = next(use for _, owned, use in keys.entries if owned == kid)
        return entry.key_suspended(participant=keys.owner(kid) or "", kid=kid, use=use, act=act)
    except (ValueError, LookupError, StopIteration, TypeError, AttributeError):
        return b""


def _stands_alone(leaf: bytes, keys: Keys) -> bool:
    """Whether a leaf may be without a row of its own: a deadline, an operator's action, what a registry brought."""
    try:
        read = json.loads(leaf)
        written = json.dumps(read, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    except ValueError:
        return False
    if written != leaf or not isinstance(read, dict):
        return False
    match read.get("kind"):
        case "timer" | "operator_action" | "service_time" | "erasure":
            return True
        case "succession":
            return leaf in keys.successions
        case "key_added":
            return (read.get("participant"), read.get("kid"), read.get("use")) in keys.entries
        case "key_revoked":
            return keys.entries.get((read.get("participant", ""), read.get("kid", ""), read.get("use", "")), False)
        case "suspension_lifted":
            return (read.get("kid"), read.get("suspension")) in keys.lifted
        case "root":
            return (read.get("version"), read.get("sha256")) in keys.roots
    return False
