"""The pack of a case, put together from the database: everything that an auditor needs to trust nobody here."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from contracts.audit.history import expect_key_entries
from contracts.audit.pack import Claim, Document, Leaf, LogPolicy, Message, Pack, Recommended, write_path
from contracts.log.proof import Proof
from contracts.registry import Registry
from contracts.rules.case import PAYMENTS
from contracts.wire.instant import write_instant
from contracts.wire.key import PublicKey
from hub.store import audit as store
from hub.store import tiles
from hub.store.audit import Kept
from hub.store.database import Connection
from hub.store.tiles import StoredCheckpoint
from hub.trust import RegistryAbsent


class NotCovered(Exception):
    """No checkpoint covers what the pack must prove, or there is none at all; the message says so in one sentence."""


async def export_case(connection: Connection, subject: str, root: PublicKey, now: datetime) -> Pack | None:
    """Return the pack of a case or of an unclaimed billing code, or None if there is no such thing. Raises NotCovered.

    The connection must be in a transaction that sees one snapshot.
    """
    messages = await store.read_messages(connection, subject)
    if messages is None:
        return None
    recommended = await store.read_recommended(connection, subject)
    registries = await store.read_registries(connection)
    rule_sets = await store.read_rule_sets(connection)
    if not registries:
        raise RegistryAbsent("There is no registry yet: run `hub participants add` first.")
    newest = Registry.read(registries[-1][1].encode(), root)
    indices = {message.log_index for message in messages} | {index for index, _, _ in recommended}
    indices |= {index for index, _ in (*registries, *rule_sets)}
    indices |= set(await store.read_contracts(connection, {message.type for message in messages}))
    indices |= set(await _find_keys(connection, registries, root))
    checkpoint = await _choose_checkpoint(connection, newest, max(indices))
    entries = await store.read_entries(connection, indices)
    paths = await store.read_paths(connection, indices, checkpoint.size)
    note = checkpoint.note.write()
    return Pack(
        format="tkahub-pack/1",
        origin=newest.log_origin,
        subject=subject,
        exported_at=write_instant(now),
        root_kid=root.kid,
        policy=_write_policy(newest),
        checkpoint=note.decode(),
        leaves=tuple(
            Leaf(index=index, entry=entries[index].decode(), path=write_path(paths[index])) for index in sorted(entries)
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
        registries=tuple(Document(index=index, document=document) for index, document in registries),
        rule_sets=tuple(Document(index=index, document=document) for index, document in rule_sets),
        claims=tuple(await _gather_claims(connection, [value for _, value, _ in recommended])),
    )


async def _choose_checkpoint(connection: Connection, registry: Registry, last: int) -> StoredCheckpoint:
    """Return the newest checkpoint that the witnesses cosigned, or where none is asked for, the newest."""
    policy = registry.log
    if policy.quorum:
        witnesses = [witness.write() for witness in policy.witnesses]
        found = await tiles.read_cosigned(connection, witnesses, policy.quorum)
    else:
        found = await tiles.read_newest(connection)
    if found is None or found.size <= last:
        size = 0 if found is None else found.size
        raise NotCovered(
            f"The pack needs a checkpoint of more than {last} entries; the newest that may be used has {size}."
        )
    return found


async def _find_keys(connection: Connection, registries: Sequence[tuple[int, str]], root: PublicKey) -> list[int]:
    """Return where the keys that each version added or revoked stand in the log."""
    found: list[int] = []
    old: Registry | None = None
    for index, document in registries:
        new = Registry.read(document.encode(), root)
        found += await store.find_entries(connection, index, set(expect_key_entries(old, new)))
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


async def _gather_claims(connection: Connection, values: Iterable[bytes]) -> list[Claim]:
    """Return every use of the payments on which these recommendations rest, in this case and in any other."""
    own = {payment for value in values for payment in _payments_of(json.loads(value)["data"])}
    claims = []
    async for index, value in store.read_resting(connection, sorted(identity for _, identity in own)):
        data = json.loads(value)["data"]
        for source, identity in _payments_of(data):
            if (source, identity) in own:
                claims.append(Claim(source=source, id=identity, number=data["number"], index=index))
    return claims


def _payments_of(data: Any) -> list[tuple[str, str]]:
    return [(basis["source"], basis["id"]) for basis in data["basis"] if basis["type"] in PAYMENTS]
