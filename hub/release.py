"""What may leave the hub, and under which signature. The relay alone uses the hub's key."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from contracts.log.proof import Proof
from contracts.log.tile import Hashes, Tile, inclusion_stretches, tiles_for
from contracts.registry import Registry
from contracts.wire import key as wire_key
from contracts.wire.instant import write_instant
from contracts.wire.signature import (
    BATCH_SIZE_MAX,
    CONTENT_TYPE,
    NO_PREVIOUS_ROOT,
    TYP_EVENT,
    TYP_RECOMMENDATION,
    root_of,
    sign_batch,
    sign_single,
)
from hub import failpoint
from hub.clock import utc_now
from hub.store import outbox, tiles
from hub.store.outbox import OutboxRow, StoredSignature
from hub.store.tiles import Evidence, StoredCheckpoint

if TYPE_CHECKING:
    from hub.store.database import Connection

# So long a recommendation may wait for the next checkpoint before readiness speaks of it.
LATE_S = 10.0
# So long it is enough to look for a newer checkpoint.
LOOK_S = 1.0
# 8 KiB each at most.
TILES_KEPT_MAX = 512


class KeyNotOurs(Exception):
    """The registry does not list the hub's private key as a key that the hub may sign events with."""


def write_headers(row: OutboxRow) -> list[tuple[str, bytes]]:
    """Return the record headers of a signed row."""
    if row.value is None:
        # Of what was erased the place remains, so that no reader waits for it; the empty value takes the rest away.
        return [("hub-seq", b"%d" % row.seq)]
    if row.jws is None:
        raise ValueError("An unsigned message cannot be sent.")
    headers = [("content-type", CONTENT_TYPE), ("jws", row.jws.encode())]
    if row.proof is not None:
        headers.append(("jws-proof", row.proof.encode()))
    headers.append(("hub-seq", b"%d" % row.seq))
    if row.tlog_proof is not None:
        headers.append(("tlog-proof", row.tlog_proof))
    return headers


class Proofs:
    """The proofs that lead to one checkpoint; each is written once, however many streams its leaf goes out on."""

    def __init__(self, checkpoint: StoredCheckpoint) -> None:
        self.note = checkpoint.note.write()
        self._size = checkpoint.size
        self._tiles: dict[Tile, bytes] = {}
        self._hashes = Hashes(checkpoint.size, self._tiles)
        self._written: dict[int, bytes] = {}

    async def gather(self, connection: "Connection", indices: Iterable[int], shelf: "Shelf") -> None:
        """Read what the proofs of those of `indices` need that the checkpoint covers."""
        size = self._size
        stretches = {
            stretch
            for index in indices
            if index < size and index not in self._written
            for stretch in inclusion_stretches(index, size)
        }
        self._tiles.update(await shelf.read(connection, tiles_for(stretches, size) - self._tiles.keys()))

    def prove(self, index: int) -> bytes | None:
        """Write the tlog-proof of a leaf that was gathered for; None if the checkpoint does not cover it."""
        if index >= self._size:
            return None
        if index not in self._written:
            path = self._hashes.path(inclusion_stretches(index, self._size))
            self._written[index] = Proof(index, tuple(path), self.note).write()
        return self._written[index]


class Shelf:
    """What was read and written of late of the log: tiles, which of one width never change, and the last proofs."""

    def __init__(self) -> None:
        self._tiles: dict[Tile, bytes] = {}
        self._proofs: Proofs | None = None

    async def read(self, connection: "Connection", wanted: Collection[Tile]) -> dict[Tile, bytes]:
        """Return tiles, from here or from the database. Raises LeavesMissing."""
        found = {tile: self._tiles.pop(tile) for tile in wanted if tile in self._tiles}
        # Put back behind the others, which makes the first the one that was wanted longest ago.
        self._tiles |= found
        if missing := [tile for tile in wanted if tile not in found]:
            fresh = await tiles.read_tiles(connection, missing)
            found |= fresh
            self._tiles |= fresh
        for tile in list(islice(self._tiles, max(0, len(self._tiles) - TILES_KEPT_MAX))):
            del self._tiles[tile]
        return found

    async def proofs(self, connection: "Connection", checkpoint: StoredCheckpoint, indices: Collection[int]) -> Proofs:
        """Return the proofs that lead to `checkpoint`, ready for `indices`. Raises LeavesMissing."""
        proofs = Proofs(checkpoint)
        if self._proofs is not None and self._proofs.note == proofs.note:
            proofs = self._proofs
        self._proofs = proofs
        await proofs.gather(connection, indices, self)
        return proofs


async def look(connection: "Connection", registry: Registry) -> Evidence:
    """Return what there is of the log to be shown, by the registry's witnesses."""
    log = registry.log
    return await tiles.read_evidence(connection, [witness.write() for witness in log.witnesses], max(1, log.quorum))


async def read_published(connection: "Connection", registry: Registry) -> StoredCheckpoint | None:
    """Return the checkpoint to show: the newest that witnesses cosigned, as many as the registry asks for.

    As long as no witness must have cosigned, the newest of all is shown where none of them has yet.
    """
    return _choose_checkpoint(await look(connection, registry), registry, -1)


def _choose_checkpoint(evidence: Evidence, registry: Registry, index: int) -> StoredCheckpoint | None:
    """Return the newest cosigned checkpoint; if that does not cover `index` and need not be cosigned, the newest."""
    cosigned = evidence.cosigned
    if registry.log.quorum or (cosigned is not None and cosigned.size > index):
        return cosigned
    return evidence.newest


async def prove_rows(
    connection: "Connection",
    registry: Registry,
    rows: Sequence[OutboxRow],
    evidence: Evidence | None = None,
    shelf: Shelf | None = None,
) -> list[OutboxRow]:
    """Return the rows with the proof of each recommendation that a publishable checkpoint covers."""
    indices = {row.leaf_index for row in rows if row.leaf_index is not None}
    if not indices:
        return list(rows)
    # The evidence that there is now, rather than what a witness will have added a moment later.
    shown = _choose_checkpoint(evidence or await look(connection, registry), registry, max(indices))
    if shown is None:
        return list(rows)
    proofs = await (shelf or Shelf()).proofs(connection, shown, indices)
    return [row if row.leaf_index is None else row._replace(tlog_proof=proofs.prove(row.leaf_index)) for row in rows]


def describe_overdue(evidence: Evidence, registry: Registry, now: datetime) -> str | None:
    """Say why nothing may be released, if no witness has cosigned for longer than the registry's grace; else None."""
    grace_s, since = registry.limits.witness_grace_s, evidence.waiting_since
    if not registry.log.witnesses or since is None or (now - since).total_seconds() <= grace_s:
        return None
    return (
        f"no witness has cosigned the evidence log since {write_instant(since)}, which is longer than the "
        f"{grace_s} s of the registry's witness_grace_s"
    )


class Held(NamedTuple):
    """The first message of a stream that waits for a checkpoint, and when it was last looked at in full."""

    seq: int
    leaf_index: int
    looked_at: datetime


class Gate:
    """Lets a topic's recommendations out with their proofs while the registry requires one; knows how long they wait.

    `shelf` may be shared: the topics need the same tiles at about the same time.
    """

    def __init__(self, topic: str, shelf: Shelf) -> None:
        self._topic = topic
        self._shelf = shelf
        self._waiting_since: dict[int, datetime] = {}
        self._held: dict[int, Held] = {}

    async def leave_out_held(self, connection: "Connection", positions: Mapping[int, int]) -> dict[int, int]:
        """Leave out the partitions where what is next waits as it did a moment ago: they need not even be read."""
        now = utc_now()
        held = {
            partition: one.leaf_index
            for partition, one in self._held.items()
            if positions.get(partition) == one.seq - 1 and (now - one.looked_at).total_seconds() <= LOOK_S
        }
        size = await tiles.read_newest_size(connection) if held else 0
        return {
            partition: position
            for partition, position in positions.items()
            if partition not in held or held[partition] < size
        }

    async def pass_through(
        self, connection: "Connection", registry: Registry, found: Mapping[int, list[OutboxRow]]
    ) -> tuple[dict[int, list[OutboxRow]], str | None]:
        """Return by partition the rows that may be sent now, and why the first of the others still may not.

        A stream keeps its order, so whatever stands behind a recommendation without proof waits with it. A wait of a
        moment is no news: the next checkpoint is on its way.
        """
        passed, problem = dict(found), None
        asking = registry.proof_required and any(row.typ == "recommendation" for rows in found.values() for row in rows)
        # One look for all partitions, so that they agree on what was there and cost no more than one.
        evidence = await look(connection, registry) if asking else None
        for partition, rows in found.items():
            self._held.pop(partition, None)
            if evidence is None or all(row.typ != "recommendation" for row in rows):
                self._waiting_since.pop(partition, None)
                continue
            passed[partition], reason = await self._let_out(connection, registry, evidence, partition, rows)
            problem = problem if reason is None else f"{self._topic}/{partition}: {reason}"
        return passed, problem

    async def _let_out(
        self, connection: "Connection", registry: Registry, evidence: Evidence, partition: int, rows: list[OutboxRow]
    ) -> tuple[list[OutboxRow], str | None]:
        now = utc_now()
        overdue = describe_overdue(evidence, registry, now)
        if overdue is None:
            rows = await prove_rows(connection, registry, rows, evidence, self._shelf)
        held = next((n for n, row in enumerate(rows) if row.typ == "recommendation" and row.tlog_proof is None), None)
        if held is None:
            self._waiting_since.pop(partition, None)
            return rows, None
        since = self._waiting_since.setdefault(partition, now) if not held else now
        self._waiting_since[partition] = since
        late = (now - since).total_seconds() > LATE_S
        reason = overdue or ("no checkpoint of the evidence log covers it" if late else None)
        if reason is None and (leaf_index := rows[held].leaf_index) is not None:
            self._held[partition] = Held(rows[held].seq, leaf_index, now)
        return rows[:held], reason and f"the recommendation at hub-seq {rows[held].seq} waits: {reason}"


def _add_signature(row: OutboxRow, stored: Mapping[int, StoredSignature]) -> OutboxRow:
    signature = stored.get(row.seq)
    return row if signature is None else row._replace(jws=signature.jws, proof=signature.proof)


def _value_of(row: OutboxRow) -> bytes:
    if row.value is None:
        raise ValueError("What was erased cannot be signed.")
    return row.value


class Signer:
    """Signs the hub's own events, and keeps to what was signed before."""

    def __init__(self, key: wire_key.Signer) -> None:
        self._key = key
        self._registry: Registry | None = None
        self._issuer = ""
        self._last_roots: dict[tuple[str, int], bytes] = {}

    @property
    def registry(self) -> Registry:
        """The registry that this signer was last checked against."""
        if self._registry is None:
            raise RuntimeError("The signer was asked before it was shown a registry.")
        return self._registry

    def use(self, registry: Registry) -> None:
        """Take `registry` as the one in force. Raises KeyNotOurs if it does not let the hub sign with this key."""
        if registry is self._registry:
            return
        found = registry.key(self._key.kid)
        if found is None or found[0].kind != "hub" or found[1].use != "message" or found[1].revoked_at is not None:
            raise KeyNotOurs(
                f"The registry (version {registry.version}) does not list the key in HUB_KEY_FILE "
                f"(kid {self._key.kid}) as a message key of the hub that is in force."
            )
        self._registry = registry
        self._issuer = min(found[0].sources)

    async def sign_streams(
        self, connection: "Connection", topic: str, found: Mapping[int, list[OutboxRow]]
    ) -> dict[int, list[OutboxRow]]:
        """Return the rows of each partition with a signature each; the new ones are stored first, in one commit.

        What was stored earlier counts.
        """
        unsigned = {
            partition: missing
            for partition, rows in found.items()
            if (missing := [row for row in rows if row.jws is None and row.value is not None])
        }
        if not unsigned:
            return dict(found)
        for partition in unsigned:
            if (topic, partition) not in self._last_roots:
                last = await outbox.read_last_batch(connection, topic, partition)
                self._last_roots[topic, partition] = NO_PREVIOUS_ROOT if last is None else root_of(last)
        failpoint.reach("relay.before_signature")
        fresh = {partition: list(self._sign(topic, partition, rows)) for partition, rows in unsigned.items()}
        stored = await outbox.store_signatures(connection, topic, fresh)
        failpoint.reach("relay.after_signature")
        return {
            partition: [
                _add_signature(row, stored[partition]) if row.jws is None and row.value is not None else row
                for row in rows
            ]
            for partition, rows in found.items()
        }

    def _sign(self, topic: str, partition: int, rows: Sequence[OutboxRow]) -> Iterator[StoredSignature]:
        for row in rows:
            if row.typ == "recommendation":
                yield StoredSignature(row.seq, sign_single(_value_of(row), self._key, TYP_RECOMMENDATION), None)
        events = iter([row for row in rows if row.typ != "recommendation"])
        while batch := list(islice(events, BATCH_SIZE_MAX)):
            yield from self._sign_together(topic, partition, batch)

    def _sign_together(self, topic: str, partition: int, batch: list[OutboxRow]) -> Iterator[StoredSignature]:
        if len(batch) == 1:
            yield StoredSignature(batch[0].seq, sign_single(_value_of(batch[0]), self._key, TYP_EVENT), None)
            return
        jws, proofs = sign_batch(
            list(map(_value_of, batch)),
            self._key,
            iss=self._issuer,
            aud=f"{self.registry.environment}/{topic}/{partition}",
            first=batch[0].seq,
            last=batch[-1].seq,
            prev=self._last_roots[topic, partition],
            iat=utc_now(),
        )
        self._last_roots[topic, partition] = root_of(jws)
        for row, proof in zip(batch, proofs, strict=True):
            yield StoredSignature(row.seq, jws, proof)
