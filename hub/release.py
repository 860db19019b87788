"""What may leave the hub, and under which signature. The relay alone uses the hub's key."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from contracts.log.proof import Proof
from contracts.log.tile import Hashes, inclusion_stretches, tiles_for
from contracts.registry import Registry
from contracts.wire.instant import write_instant
from contracts.wire.key import PrivateKey
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
from hub.store.tiles import StoredCheckpoint

if TYPE_CHECKING:
    from hub.store.database import Connection

# So long a recommendation may wait for the next checkpoint before readiness speaks of it.
LATE_S = 10.0
# So long it is enough to look for a newer checkpoint.
LOOK_S = 1.0


class KeyNotOurs(Exception):
    """The registry does not list the hub's private key as a key that the hub may sign events with."""


def write_headers(row: OutboxRow) -> list[tuple[str, bytes]]:
    """Return the record headers of a signed row."""
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
    """What of the evidence log can be shown just now: a checkpoint, and the proofs that lead to it."""

    def __init__(self, checkpoint: StoredCheckpoint, hashes: Hashes) -> None:
        self._checkpoint = checkpoint
        self._hashes = hashes

    @classmethod
    async def read(cls, connection: "Connection", checkpoint: StoredCheckpoint, indices: Iterable[int]) -> "Proofs":
        """Read what the proofs of those of `indices` need that the checkpoint covers."""
        size = checkpoint.size
        needed = {
            tile for index in indices if index < size for tile in tiles_for(inclusion_stretches(index, size), size)
        }
        return cls(checkpoint, Hashes(size, await tiles.read_tiles(connection, needed)))

    def prove(self, index: int) -> bytes | None:
        """Write the tlog-proof of a leaf; None if the checkpoint does not cover it."""
        if index >= self._checkpoint.size:
            return None
        path = self._hashes.path(inclusion_stretches(index, self._checkpoint.size))
        return Proof(index, tuple(path), self._checkpoint.note.write()).write()


async def read_published(connection: "Connection", registry: Registry) -> StoredCheckpoint | None:
    """Return the checkpoint to show: the newest that witnesses cosigned, as many as the registry asks for.

    As long as no witness must have cosigned, the newest of all is shown where none of them has yet.
    """
    return await _choose_checkpoint(connection, registry, -1)


async def _choose_checkpoint(connection: "Connection", registry: Registry, index: int) -> StoredCheckpoint | None:
    """Return the newest cosigned checkpoint; if that does not cover `index` and need not be cosigned, the newest."""
    log = registry.log
    cosigned = None
    if log.witnesses:
        witnesses = [witness.write() for witness in log.witnesses]
        cosigned = await tiles.read_cosigned(connection, witnesses, max(1, log.quorum))
    if log.quorum or (cosigned is not None and cosigned.size > index):
        return cosigned
    return await tiles.read_newest(connection)


async def prove_rows(connection: "Connection", registry: Registry, rows: Sequence[OutboxRow]) -> list[OutboxRow]:
    """Return the rows with the proof of each recommendation that a publishable checkpoint covers."""
    indices = {row.leaf_index for row in rows if row.leaf_index is not None}
    if not indices:
        return list(rows)
    # The evidence that there is now, rather than what a witness will have added a moment later.
    shown = await _choose_checkpoint(connection, registry, max(indices))
    if shown is None:
        return list(rows)
    proofs = await Proofs.read(connection, shown, indices)
    return [row if row.leaf_index is None else row._replace(tlog_proof=proofs.prove(row.leaf_index)) for row in rows]


async def find_witness_overdue(connection: "Connection", registry: Registry, now: datetime) -> str | None:
    """Say why nothing may be released, if no witness has cosigned for longer than the registry's grace; else None."""
    log, grace_s = registry.log, registry.limits.witness_grace_s
    if not log.witnesses:
        return None
    witnesses = [witness.write() for witness in log.witnesses]
    cosigned = await tiles.read_cosigned(connection, witnesses, max(1, log.quorum))
    waiting_since = await tiles.read_signed_after(connection, 0 if cosigned is None else cosigned.size)
    if waiting_since is None or (now - waiting_since).total_seconds() <= grace_s:
        return None
    return (
        f"no witness has cosigned the evidence log since {write_instant(waiting_since)}, which is longer than the "
        f"{grace_s} s of the registry's witness_grace_s"
    )


class Held(NamedTuple):
    """The first message of a stream that waits for a checkpoint, and when it was last looked at in full."""

    seq: int
    leaf_index: int
    looked_at: datetime


class Gate:
    """Lets recommendations out with their proofs while the registry requires one, and knows how long they wait."""

    def __init__(self) -> None:
        self._waiting_since: dict[tuple[str, int], datetime] = {}
        self._held: dict[tuple[str, int], Held] = {}

    async def holds(self, connection: "Connection", stream: tuple[str, int], position: int) -> bool:
        """Whether what stands behind `position` waits as it did a moment ago: then it need not even be read."""
        held = self._held.get(stream)
        if held is None or held.seq != position + 1 or (utc_now() - held.looked_at).total_seconds() > LOOK_S:
            return False
        return await tiles.read_newest_size(connection) <= held.leaf_index

    async def pass_through(
        self, connection: "Connection", registry: Registry, stream: tuple[str, int], rows: list[OutboxRow]
    ) -> tuple[list[OutboxRow], str | None]:
        """Return the rows that may be sent now, and why the first of the others still may not.

        A stream keeps its order, so whatever stands behind a recommendation without proof waits with it. A wait of a
        moment is no news: the next checkpoint is on its way.
        """
        self._held.pop(stream, None)
        if not registry.proof_required or all(row.typ != "recommendation" for row in rows):
            self._waiting_since.pop(stream, None)
            return rows, None
        now = utc_now()
        overdue = await find_witness_overdue(connection, registry, now)
        proved = rows if overdue is not None else await prove_rows(connection, registry, rows)
        held = next((n for n, row in enumerate(proved) if row.typ == "recommendation" and row.tlog_proof is None), None)
        if held is None:
            self._waiting_since.pop(stream, None)
            return proved, None
        since = self._waiting_since.setdefault(stream, now) if not held else now
        self._waiting_since[stream] = since
        late = (now - since).total_seconds() > LATE_S
        reason = overdue or ("no checkpoint of the evidence log covers it" if late else None)
        if reason is None and (leaf_index := proved[held].leaf_index) is not None:
            self._held[stream] = Held(proved[held].seq, leaf_index, now)
        return proved[:held], reason and f"the recommendation at hub-seq {proved[held].seq} waits: {reason}"


class Signer:
    """Signs the hub's own events, and keeps to what was signed before."""

    def __init__(self, key: PrivateKey) -> None:
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

    async def sign_rows(
        self, connection: "Connection", topic: str, partition: int, rows: list[OutboxRow]
    ) -> list[OutboxRow]:
        """Return `rows` with a signature each; the new ones are stored first, and what was stored earlier counts."""
        unsigned = [row for row in rows if row.jws is None]
        if not unsigned:
            return rows
        stream = topic, partition
        if stream not in self._last_roots:
            last = await outbox.read_last_batch(connection, topic, partition)
            self._last_roots[stream] = NO_PREVIOUS_ROOT if last is None else root_of(last)
        failpoint.reach("relay.before_signature")
        fresh = list(self._sign(topic, partition, unsigned))
        stored = await outbox.store_signatures(connection, topic, partition, fresh)
        failpoint.reach("relay.after_signature")
        return [
            row if row.jws is not None else row._replace(jws=stored[row.seq].jws, proof=stored[row.seq].proof)
            for row in rows
        ]

    def _sign(self, topic: str, partition: int, rows: Sequence[OutboxRow]) -> Iterator[StoredSignature]:
        for row in rows:
            if row.typ == "recommendation":
                yield StoredSignature(row.seq, sign_single(row.value, self._key, TYP_RECOMMENDATION), None)
        events = iter([row for row in rows if row.typ != "recommendation"])
        while batch := list(islice(events, BATCH_SIZE_MAX)):
            yield from self._sign_together(topic, partition, batch)

    def _sign_together(self, topic: str, partition: int, batch: list[OutboxRow]) -> Iterator[StoredSignature]:
        if len(batch) == 1:
            yield StoredSignature(batch[0].seq, sign_single(batch[0].value, self._key, TYP_EVENT), None)
            return
        jws, proofs = sign_batch(
            [row.value for row in batch],
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
