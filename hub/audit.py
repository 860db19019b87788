"""The pack of a case, put together from the database: everything that an auditor needs to trust nobody here."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self, TypeAlias

from contracts.audit.history import expect_entries, find_first_root
from contracts.audit.pack import Claim, Document, Leaf, LogPolicy, Message, Pack, Recommended, write_path
from contracts.log.proof import Proof
from contracts.registry import Registry
from contracts.rules.case import PAYMENTS
from contracts.wire.instant import write_instant
from contracts.wire.key import PublicKey
from hub.release import read_published
from hub.store import audit as store
from hub.store import tiles
from hub.store.audit import Kept
from hub.store.database import Connection
from hub.store.tiles import StoredCheckpoint
from hub.trust import RegistryAbsent

#: Every use of a payment, by its source and id.
Claims: TypeAlias = dict[tuple[str, str], list[Claim]]


class NotCovered(Exception):
    """No checkpoint covers what the pack must prove, or there is none at all; the message says so in one sentence."""


@dataclass(frozen=True, slots=True)
class Exporter:
    """What the packs of one snapshot have in common; `shared` are the log indices that each of them shows."""

    connection: Connection
    root: PublicKey
    now: datetime
    registry: Registry
    registries: Sequence[tuple[int, str]]
    rule_sets: Sequence[tuple[int, str]]
    shared: frozenset[int]

    @classmethod
    async def open(cls, connection: Connection, root: PublicKey, now: datetime) -> Self:
        """Read what is common, in a transaction that sees one snapshot. Raises RegistryAbsent."""
        registries = await store.read_registries(connection)
        rule_sets = await store.read_rule_sets(connection)
        if not registries:
            raise RegistryAbsent("There is no registry yet: run `hub registry propose` first.")
        newest = Registry.read(registries[-1][1].encode(), root)
        keys = await _find_keys(connection, registries, root)
        suspensions = await store.read_suspensions(connection)
        shared = frozenset((*keys, *suspensions, *(index for index, _ in (*registries, *rule_sets))))
        return cls(connection, root, now, newest, registries, rule_sets, shared)

    async def export(self, subject: str, claims: Claims | None = None) -> Pack | None:
        """Return the pack of a case or of an unclaimed billing code, or None if there is no such thing.

        `claims` is every use of every payment, if it was gathered before. Raises NotCovered.
        """
        messages = await store.read_messages(self.connection, subject)
        if messages is None:
            return None
        recommended = await store.read_recommended(self.connection, subject)
        indices = self.shared | {message.log_index for message in messages} | {index for index, _, _ in recommended}
        indices |= await store.read_erased(self.connection, subject)
        indices |= set(await store.read_contracts(self.connection, {message.type for message in messages}))
        checkpoint = await self._choose_checkpoint(max(indices))
        entries = await store.read_entries(self.connection, indices)
        paths = await store.read_paths(self.connection, indices, checkpoint.size)
        note = checkpoint.note.write()
        rest = [value for _, value, _ in recommended]
        return Pack(
            format="tkahub-pack/1",
            origin=self.registry.log_origin,
            subject=subject,
            exported_at=write_instant(self.now),
            root_kid=self.root.kid,
            policy=_write_policy(self.registry),
            checkpoint=note.decode(),
            leaves=tuple(
                Leaf(index=index, entry=entries[index].decode(), path=write_path(paths[index]))
                for index in sorted(entries)
            ),
            recommendations=tuple(
                Recommended(
                    index=index,
                    value=value.decode(),
                    jws=jws,
                    tlog_proof=Proof(index, tuple(paths[index]), note).write().decode(),
                )
                for index, value, jws in recommended
            ),
            messages=tuple(map(_show, messages)),
            registries=_show_documents(self.registries),
            rule_sets=_show_documents(self.rule_sets),
            claims=tuple(await self._find_claims(rest, claims)),
        )

    async def gather_claims(self) -> Claims:
        """Return every recommendation that rests on each payment: for packs of everything, read once."""
        gathered: Claims = {}
        async for index, value in store.stream_recommended(self.connection):
            _note_claims(gathered, index, value)
        return gathered

    async def _find_claims(self, recommended: Sequence[bytes], claims: Claims | None) -> list[Claim]:
        """Return every use of the payments on which these recommendations rest, in this case and in any other."""
        own = {payment for value in recommended for payment in _payments_of(json.loads(value)["data"])}
        if claims is None:
            claims = {}
            async for index, value in store.read_resting(self.connection, sorted(identity for _, identity in own)):
                _note_claims(claims, index, value)
        return [claim for payment in sorted(own) for claim in claims.get(payment, ())]

    async def _choose_checkpoint(self, last: int) -> StoredCheckpoint:
        """Return the newest checkpoint that witnesses cosigned; where none must have, the newest if it is short."""
        found = await read_published(self.connection, self.registry)
        if not self.registry.log.quorum and (found is None or found.size <= last):
            found = await tiles.read_newest(self.connection)
        if found is None or found.size <= last:
            size = 0 if found is None else found.size
            raise NotCovered(
                f"The pack needs a checkpoint of more than {last} entries; the newest that may be used has {size}."
            )
        return found


def _show_documents(documents: Iterable[tuple[int, str]]) -> tuple[Document, ...]:
    return tuple(Document(index=index, document=document) for index, document in documents)


def _note_claims(claims: Claims, index: int, value: bytes) -> None:
    data = json.loads(value)["data"]
    for source, identity in _payments_of(data):
        claim = Claim(source=source, id=identity, number=data["number"], index=index)
        claims.setdefault((source, identity), []).append(claim)


async def _find_keys(connection: Connection, registries: Sequence[tuple[int, str]], root: PublicKey) -> list[int]:
    """Return where stands in the log what each version said of keys and root documents."""
    found: list[int] = []
    old: Registry | None = None
    root = find_first_root([document for _, document in registries], root)
    for index, document in registries:
        new = Registry.read(document.encode(), root)
        if old is not None and old.log_origin != new.log_origin:
            # The first entry of a log that took over stands before the registry that put it in force.
            found.append(index - 1)
        found += await store.find_entries(connection, index, set(expect_entries(old, new)))
        old = new
    return found


def _write_policy(registry: Registry) -> LogPolicy:
    policy = registry.log
    return LogPolicy(
        log_keys=tuple(key.write() for key in policy.log_keys),
        witnesses=tuple(key.write() for key in policy.witnesses),
        quorum=policy.quorum,
    )


def _show(kept: Kept) -> Message:
    return Message(
        index=kept.log_index,
        append_time_ms=round(kept.append_time.timestamp() * 1000),
        value=None if kept.value is None else kept.value.decode(),
        jws=kept.jws,
        jws_proof=kept.jws_proof,
        fact=kept.fact if kept.value is None else None,
    )


def _payments_of(data: Any) -> list[tuple[str, str]]:
    return [(basis["source"], basis["id"]) for basis in data["basis"] if basis["type"] in PAYMENTS]
