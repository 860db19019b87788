"""A proposal: the next registry before enough persons have signed it, with all that a signer must see, in one file.

    {"format", "base": the signed document in force or null, "roots": [...], "payload", "signatures": [...]}

It proves nothing by itself and may travel by any means: `base` and `roots` verify under the root key that each signer
pins, and what it changes is reckoned by the signer's own program.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from contracts.errors import Code, RegistryError
from contracts.persons import read_members
from contracts.registry import TYP_REGISTRY, Registry, check_document, check_successor, seal_registry
from contracts.root import Root, read_chain
from contracts.wire.general_jws import add_signature, read_json, read_signed, sign, write_json
from contracts.wire.key import PublicKey, Signer

FORMAT = "tkahub-proposal/1"
PROPOSAL_BYTES_MAX = 16 * 1024 * 1024
_MEMBERS = {"format", "base", "roots", "payload", "signatures"}
_SETTINGS = ("environment", "log_origin", "log_keys", "witnesses", "witness_quorum", "proof_required", "predecessors")


@dataclass(frozen=True, slots=True)
class Proposal:
    """The next registry as far as it is signed. `base` is the document that it was proposed against."""

    base: str | None
    roots: Sequence[Mapping[str, Any]]
    act: Mapping[str, Any]

    @classmethod
    def of(cls, base: str | None, roots: Sequence[Mapping[str, Any]], document: Mapping[str, Any]) -> "Proposal":
        """Return what nobody has signed yet."""
        return cls(base, roots, sign(write_json(document), TYP_REGISTRY))

    @classmethod
    def read(cls, raw: bytes) -> "Proposal":
        """Read a proposal's form; nothing of it is verified. Raises RegistryError(act_malformed)."""
        if len(raw) > PROPOSAL_BYTES_MAX:
            raise RegistryError(Code.ACT_MALFORMED, f"larger than {PROPOSAL_BYTES_MAX} bytes")
        members = read_json(raw, "the proposal")
        base, roots = members.get("base"), members.get("roots")
        if members.keys() != _MEMBERS or members["format"] != FORMAT or not isinstance(roots, list):
            raise RegistryError(Code.ACT_MALFORMED, f"not of the form {FORMAT}")
        if base is not None and not isinstance(base, str):
            raise RegistryError(Code.ACT_MALFORMED, "base")
        act = {name: members[name] for name in ("payload", "signatures")}
        read_signed(act, TYP_REGISTRY, signatures_min=0)
        return cls(base, roots, act)

    @staticmethod
    def roots_of(signed: str) -> list[dict[str, Any]]:
        """Return the chain of root documents of a signed registry that has been verified."""
        roots: list[dict[str, Any]] = json.loads(signed)["roots"]
        return roots

    def write(self) -> bytes:
        """Write the file."""
        whole = {"format": FORMAT, "base": self.base, "roots": list(self.roots), **self.act}
        return json.dumps(whole, indent=1).encode() + b"\n"

    def document(self) -> dict[str, Any]:
        """Return the registry document that is proposed."""
        return read_json(read_signed(self.act, TYP_REGISTRY, signatures_min=0).payload, "payload")

    def signed(self) -> bytes:
        """Return the registry as `Registry.read` takes it, if enough persons signed."""
        return seal_registry(self.act, self.roots)

    def signers(self, pinned: PublicKey) -> frozenset[str]:
        """Return who has signed until now. Raises RegistryError."""
        if not self.act["signatures"]:
            return frozenset()
        return read_members(self.act, TYP_REGISTRY, read_chain(list(self.roots), pinned)[-1]).signers

    def check_now(self, registry: Registry, now: datetime) -> None:
        """Refuse signatures by keys that no longer count, whatever time the document names. Raises RegistryError."""
        read_members(self.act, TYP_REGISTRY, registry.root, now=now)

    def sign(self, key: Signer, pinned: PublicKey, now: datetime) -> "Proposal":
        """Return the proposal with one signature more, after checking all that its signer was shown.

        Raises RegistryError, also for a key of nobody whom the root document names.
        """
        self.read_both(pinned)
        more = replace(self, act=add_signature(self.act, TYP_REGISTRY, key))
        read_members(more.act, TYP_REGISTRY, read_chain(list(self.roots), pinned)[-1], now=now)
        return more

    def read_both(self, pinned: PublicKey) -> tuple[Registry | None, Registry]:
        """Verify the document in force, check that the proposed one may follow it, and return both.

        Raises RegistryError.
        """
        old = None if self.base is None else Registry.read(self.base.encode(), pinned)
        return old, check_proposed(self.document(), read_chain(list(self.roots), pinned), old)


def check_proposed(document: Mapping[str, Any], roots: tuple[Root, ...], old: Registry | None) -> Registry:
    """Return the registry that a document would make after `old`. Raises RegistryError."""
    new = check_document(document, roots)
    if new.version != (1 if old is None else old.version + 1):
        raise RegistryError(Code.PROPOSAL_OUTDATED, "the version is not the next one")
    if document.get("root") != roots[-1].sha256:
        # Else the same signatures would do with the chain of before, or with a longer one that nobody was shown.
        raise RegistryError(Code.ROOT_ROLLBACK, "the document does not name the root document that it is signed under")
    if old is not None:
        check_successor(old, new)
    return new


def describe_changes(old: Registry | None, new: Registry) -> Iterator[str]:
    """Yield in plain words, a line each, all that `new` changes of `old`, or brings if there is none before it."""
    yield from _describe_roots(() if old is None else old.roots, new.roots)
    yield from _describe_settings(old, new)
    yield from _describe_participants(old, new)
    for lifted in sorted(new.lifted - (frozenset() if old is None else old.lifted), key=lambda one: one.kid):
        found = new.key(lifted.kid)
        yield f"LIFTS the suspension of key {lifted.kid} of {'nobody' if found is None else found[0].id}"
    for rule_set in new.rule_sets:
        if old is None or rule_set not in old.rule_sets:
            yield f"rule set {rule_set.id}/{rule_set.version} comes in, SHA-256 {rule_set.sha256}"
    contracts = new.contracts.items() - ({}.items() if old is None else old.contracts.items())
    for event_type, digest in sorted(contracts):
        yield f"event contract {event_type} comes in, SHA-256 {digest}"


def _describe_roots(old: Sequence[Root], new: Sequence[Root]) -> Iterator[str]:
    before = old[-1] if old else None
    for root in new[len(old) :]:
        yield f"root document {root.version} comes in: {root.threshold} of {len(root.persons)} persons must sign"
        if before is None or before.key.kid != root.key.kid:
            yield f"root key {root.key.kid}"
        for person in root.persons.values():
            earlier = None if before is None else before.persons.get(person.id)
            kids = ", ".join(key.public.kid for key in person.keys if key.revoked_at is None)
            if person != earlier:
                may = "may suspend" if person.may_suspend else "may not suspend"
                yield f"person {person.id} ({person.name}; {may}) signs with {kids or 'no key'}"
        for gone in () if before is None else sorted(before.persons.keys() - root.persons.keys()):
            yield f"person {gone} may sign nothing more"
        before = root


def _describe_settings(old: Registry | None, new: Registry) -> Iterator[str]:
    before = {} if old is None else old.document
    for name in _SETTINGS:
        if before.get(name) != new.document.get(name):
            yield f"{name}: {_show(before.get(name))} -> {_show(new.document.get(name))}"
    for group in ("limits", "topics"):
        earlier, now = before.get(group, {}), new.document.get(group, {})
        for name in sorted(earlier.keys() | now.keys()):
            if earlier.get(name) != now.get(name):
                yield f"{group} {name}: {_show(earlier.get(name))} -> {_show(now.get(name))}"


def _show(setting: object) -> str:
    return "nothing" if setting is None else json.dumps(setting, ensure_ascii=False)


def _describe_participants(old: Registry | None, new: Registry) -> Iterator[str]:
    before = {} if old is None else {party["id"]: party for party in old.document["participants"]}
    for party in new.document["participants"]:
        earlier = before.get(party["id"])
        if earlier is None:
            yield f"participant {party['id']} joins: {party['kind']}, {party['name']}"
        for name in sorted(party.keys() - {"id", "keys"}):
            if (earlier or {}).get(name) != party[name] and (earlier is not None or name not in ("kind", "name")):
                yield f"{party['id']} {name}: {_show((earlier or {}).get(name))} -> {_show(party[name])}"
        yield from _describe_keys(party, {} if earlier is None else {key["kid"]: key for key in earlier["keys"]})


def _describe_keys(party: Mapping[str, Any], before: Mapping[str, Any]) -> Iterator[str]:
    for key in party["keys"]:
        earlier = before.get(key["kid"])
        whose = f"key {key['kid']} of {party['id']} ({key['use']}, {key['alg']})"
        if earlier is None:
            yield f"ADDS {whose} from {key['nbf']} to {key['exp']}"
        elif earlier["exp"] != key["exp"]:
            yield f"{whose} is good until {key['exp']} instead of {earlier['exp']}"
        if key["revoked_at"] is not None and (earlier is None or earlier["revoked_at"] is None):
            yield f"REVOKES {whose} from {key['revoked_at']} on"
