"""The registry and its keys by log position: what was in force where, without trusting a clock.

documents and leaves --read_history--> History --in_force(index)--> Registry
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from contracts.audit.finding import Doubt, Findings
from contracts.audit.pack import Document
from contracts.errors import RegistryError
from contracts.log import entry
from contracts.registry import Registry, check_successor
from contracts.wire.key import PublicKey

JWS_DOTS = 2


class Version(NamedTuple):
    """A registry and the log index from which on it is in force."""

    since: int
    registry: Registry


class KeyLife(NamedTuple):
    """Where the log says that a key of a participant begins to count, and where it ends; None for never."""

    participant: str
    added: int
    revoked: int | None


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
        return Doubt.KEY_REVOKED if revoked or self._is_revoked(kid, index) else None

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
    persons_min: int = 1,
) -> History:
    """Read the registry's documents, each against its leaf, its signatures and the one before it."""
    versions: list[Version] = []
    for number, shown in enumerate(sorted(documents, key=lambda document: document.index), 1):
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
            findings.doubt(Doubt.REGISTRY_INVALID, subject, str(error))
            continue
        if registry.version != number:
            findings.doubt(Doubt.REGISTRY_HISTORY_INCOMPLETE, subject, f"version {registry.version} stands there")
        if said != {"kind": "registry", "version": registry.version, "sha256": digest_document(shown.document)}:
            findings.doubt(Doubt.LEAF_DIFFERS, subject, f"index {shown.index}")
            continue
        if (persons := count_persons(shown.document)) < persons_min:
            findings.doubt(Doubt.REGISTRY_TOO_FEW_PERSONS, subject, f"{persons} signed, {persons_min} must")
        versions.append(Version(shown.index, registry))
    if not versions or versions[-1].registry.version < version_min:
        findings.doubt(Doubt.REGISTRY_HISTORY_INCOMPLETE, "registry", f"version {version_min} is known and not shown")
    return History(tuple(versions), _read_keys(entries))


def count_persons(document: str) -> int:
    """Return how many persons signed a registry document that was read: in its present form the holder of the root."""
    return int(document.count(".") == JWS_DOTS)


def _read_keys(entries: Mapping[int, Mapping[str, Any]]) -> dict[str, KeyLife]:
    keys: dict[str, KeyLife] = {}
    for index in sorted(entries):
        said = entries[index]
        if said.get("kind") == "key_added":
            keys.setdefault(str(said["kid"]), KeyLife(str(said["participant"]), index, None))
        elif said.get("kind") == "key_revoked" and said["kid"] in keys:
            life = keys[str(said["kid"])]
            keys[str(said["kid"])] = life if life.revoked is not None else life._replace(revoked=index)
    return keys


def expect_key_entries(old: Registry | None, new: Registry) -> list[bytes]:
    """Return the entries that a new registry version must have behind its own: one for each key added or revoked."""
    before = {} if old is None else {key.kid: key for party in old.participants.values() for key in party.keys}
    parties = sorted(new.participants.values(), key=lambda party: party.id)
    keys = [(party.id, key) for party in parties for key in party.keys]
    added = [
        entry.key_added(participant=party, kid=key.kid, use=key.use) for party, key in keys if key.kid not in before
    ]
    revoked = [
        entry.key_revoked(participant=party, kid=key.kid, use=key.use)
        for party, key in keys
        if key.revoked_at is not None and (key.kid not in before or before[key.kid].revoked_at is None)
    ]
    return added + revoked
