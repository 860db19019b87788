"""The registry and its keys by log position: what was in force where, without trusting a clock.

documents and leaves --read_history--> History --in_force(index)--> Registry
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from contracts.audit.finding import Doubt, Findings
from contracts.audit.pack import Document
from contracts.errors import Code, RegistryError
from contracts.log import entry
from contracts.registry import Registry, check_successor
from contracts.root import PERSONS_MIN
from contracts.wire.key import PublicKey


class Version(NamedTuple):
    """A registry and the log index from which on it is in force."""

    since: int
    registry: Registry


class KeyLife(NamedTuple):
    """Where the log says that a key of a participant begins to count, and where it ends; None for never.

    `suspended`: from where to where the key did not count for a while; None for until now.
    """

    participant: str
    added: int
    revoked: int | None
    suspended: tuple[tuple[int, int | None], ...] = ()

    def is_suspended(self, index: int) -> bool:
        """Whether the key was suspended when the entry at `index` was written."""
        return any(since < index and (until is None or index < until) for since, until in self.suspended)

    def suspend(self, index: int) -> "KeyLife":
        """Return the life with a suspension from `index` on; a second one at a time changes nothing."""
        if self.suspended and self.suspended[-1][1] is None:
            return self
        return self._replace(suspended=(*self.suspended, (index, None)))

    def lift(self, index: int) -> "KeyLife":
        """Return the life with its suspension at an end."""
        if not self.suspended or self.suspended[-1][1] is not None:
            return self
        return self._replace(suspended=(*self.suspended[:-1], (self.suspended[-1][0], index)))


@dataclass(frozen=True, slots=True)
class History:
    """Every version in the order of the log, and the life of each key that the pack shows a leaf of."""

    versions: tuple[Version, ...]
    keys: Mapping[str, KeyLife]

    def in_force(self, index: int) -> Registry | None:
        """Return the registry by which the entry at `index` was judged."""
        found = None
        for version in self.versions:
            if version.since < index:
                found = version.registry
        return found

    def doubt_key(self, kid: str, participant: str, index: int) -> Doubt | None:
        """Say why a participant's key did not count at `index`, or None."""
        life = self.keys.get(kid)
        if life is None or life.participant != participant or life.added >= index:
            return Doubt.KEY_NOT_YET_ADDED
        revoked = life.revoked is not None and life.revoked < index
        if revoked or self._is_revoked(kid, index):
            return Doubt.KEY_REVOKED
        return Doubt.KEY_SUSPENDED if life.is_suspended(index) else None

    def _is_revoked(self, kid: str, index: int) -> bool:
        """Whether the document in force at `index` revokes the key, whatever leaves the pack shows."""
        registry = self.in_force(index)
        found = None if registry is None else registry.key(kid)
        if registry is None or found is None:
            return False
        revoked_at = found[1].revoked_at
        return revoked_at is not None and revoked_at <= registry.issued_at


def digest_document(document: str) -> str:
    """Return the digest by which the log names a document."""
    return hashlib.sha256(document.encode()).hexdigest()


def read_history(
    documents: Iterable[Document],
    entries: Mapping[int, Mapping[str, Any]],
    root: PublicKey,
    findings: Findings,
    version_min: int = 0,
    persons_min: int = PERSONS_MIN,
) -> History:
    """Read the registry's documents, each against its leaf, its signatures and the one before it."""
    versions: list[Version] = []
    ordered = sorted(documents, key=lambda document: document.index)
    root = find_first_root([shown.document for shown in ordered], root)
    for number, shown in enumerate(ordered, 1):
        subject = f"registry version {number}"
        said = entries.get(shown.index)
        if said is None:
            findings.doubt(Doubt.LEAF_MISSING, subject, f"index {shown.index}")
            continue
        try:
            registry = Registry.read(shown.document.encode(), root)
            if versions:
                check_successor(versions[-1].registry, registry)
        except RegistryError as error:
            findings.doubt(doubt_registry(error), subject, str(error))
            continue
        if registry.version != number:
            findings.doubt(Doubt.REGISTRY_HISTORY_INCOMPLETE, subject, f"version {registry.version} stands there")
        if said != {"kind": "registry", "version": registry.version, "sha256": digest_document(shown.document)}:
            findings.doubt(Doubt.LEAF_DIFFERS, subject, f"index {shown.index}")
            continue
        if (persons := len(registry.signers)) < persons_min:
            findings.doubt(Doubt.REGISTRY_TOO_FEW_PERSONS, subject, f"{persons} signed, {persons_min} must")
        versions.append(Version(shown.index, registry))
    if not versions or versions[-1].registry.version < version_min:
        findings.doubt(Doubt.REGISTRY_HISTORY_INCOMPLETE, "registry", f"version {version_min} is known and not shown")
    return History(tuple(versions), _read_keys(entries))


def find_first_root(documents: Sequence[str], pinned: PublicKey) -> PublicKey:
    """Return the key of the first root document, if the newest document that the pinned key verifies leads back to it.

    Whoever pins a root key that was changed since does not find it in the older documents, but it vouches for them.
    """
    for document in reversed(documents):
        try:
            return Registry.read(document.encode(), pinned).roots[0].key
        except RegistryError:
            continue
    return pinned


def leads_to_root(documents: Iterable[str], pinned: PublicKey, kid: str) -> bool:
    """Whether some document that the pinned key verifies has this root key in its chain: a pin before or after it."""
    for document in documents:
        try:
            if kid in {root.key.kid for root in Registry.read(document.encode(), pinned).roots}:
                return True
        except RegistryError:
            continue
    return False


def doubt_registry(error: RegistryError) -> Doubt:
    """Say what is to be doubted about a document that could not be read."""
    return Doubt.REGISTRY_TOO_FEW_PERSONS if error.code is Code.PERSONS_TOO_FEW else Doubt.REGISTRY_INVALID


def _read_keys(entries: Mapping[int, Mapping[str, Any]]) -> dict[str, KeyLife]:
    keys: dict[str, KeyLife] = {}
    for index in sorted(entries):
        said = entries[index]
        if said.get("kind") == "key_added":
            keys.setdefault(str(said["kid"]), KeyLife(str(said["participant"]), index, None))
        elif said.get("kind") == "key_revoked" and said["kid"] in keys:
            life = keys[str(said["kid"])]
            keys[str(said["kid"])] = life if life.revoked is not None else life._replace(revoked=index)
        elif said.get("kind") == "key_suspended" and said["kid"] in keys:
            keys[str(said["kid"])] = keys[str(said["kid"])].suspend(index)
        elif said.get("kind") == "suspension_lifted" and said["kid"] in keys:
            keys[str(said["kid"])] = keys[str(said["kid"])].lift(index)
    return keys


def expect_entries(old: Registry | None, new: Registry) -> list[bytes]:
    """Return what a new registry version must have behind its own entry.

    In this order: root documents that it brought, keys added, keys revoked, suspensions lifted.
    """
    before = {} if old is None else {key.kid: key for party in old.participants.values() for key in party.keys}
    parties = sorted(new.participants.values(), key=lambda party: party.id)
    keys = [(party.id, key) for party in parties for key in party.keys]
    roots = [entry.root(version=root.version, sha256=root.sha256) for root in new.roots[len(old.roots) if old else 0 :]]
    added = [
        entry.key_added(participant=party, kid=key.kid, use=key.use) for party, key in keys if key.kid not in before
    ]
    revoked = [
        entry.key_revoked(participant=party, kid=key.kid, use=key.use)
        for party, key in keys
        if key.revoked_at is not None and (key.kid not in before or before[key.kid].revoked_at is None)
    ]
    fresh = new.lifted - (frozenset() if old is None else old.lifted)
    lifted = [
        entry.suspension_lifted(participant=found[0].id, kid=one.kid, suspension=one.suspension)
        for one in sorted(fresh, key=lambda one: (one.kid, one.suspension))
        if (found := new.key(one.kid)) is not None
    ]
    return roots + added + revoked + lifted
