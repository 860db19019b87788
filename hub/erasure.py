"""Carry out an order of erasure (UU 27/2022): every original that it names, in one transaction with its leaf.

    signed order --read_order--> Order --find--> Reach --erase--> rows without originals, tombstones, a leaf

Who the persons are, says the root document of the registry in force, which must not change before the end.

One transaction, so that an end at any moment leaves all of it or nothing; an order that was carried out is not carried
out again. The identity and the digest of each message stay: one that is sent again is a repeat, and has no effect.
Topics empty themselves: those that delete by their retention, the compacted one by a tombstone for each key.
"""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from contracts.erasure import Order, read_order
from contracts.log import entry
from contracts.registry import RECOMMENDATIONS
from contracts.rules.case import AMENDED, APPROVED
from hub import failpoint
from hub.desk import Desk
from hub.routes import Stream
from hub.store import erasure as store
from hub.store import log, outbox
from hub.store.erasure import Counts, Erased
from hub.transport import COMPACTION_LAG_MS_MAX, RETENTION_MS, SEGMENT_MS

if TYPE_CHECKING:
    from hub.store.database import Connection

# A segment is deleted whole, once its newest record is as old as the retention; compaction waits for its own time too.
TOPICS_KEEP = timedelta(milliseconds=max(RETENTION_MS, COMPACTION_LAG_MS_MAX) + SEGMENT_MS)


class DoneBefore(Exception):
    """The order was carried out already; nothing was changed."""


class _Rehearsed(Exception):
    """A rehearsal ends by rolling back."""

    def __init__(self, counts: Counts) -> None:
        super().__init__()
        self.counts = counts


class Carried(NamedTuple):
    """What an order did, or would do: counts, and nothing that says whose they were."""

    erased: Erased
    counts: Counts


async def rehearse(desk: Desk, signed: bytes, now: datetime) -> Counts:
    """Return what a signed order would take out, and take nothing. Raises RegistryError, DoneBefore."""
    order = read_order(signed, (await desk.judgement()).registry.root, now)
    try:
        async with desk.database.transaction() as tx:
            _, counts = await _erase(tx, order, now)
            raise _Rehearsed(counts)
    except _Rehearsed as rehearsed:
        return rehearsed.counts


async def carry_out(desk: Desk, signed: bytes, now: datetime) -> Carried:
    """Take out what a signed order names, and log it.

    Raises RegistryError if it is not signed as it must be; DoneBefore; RegistryChanged if it must be tried again.
    """
    judgement = await desk.judgement()
    order = read_order(signed, judgement.registry.root, now)
    async with desk.database.transaction() as tx:
        keys, counts = await _erase(tx, order, now)
        index = await log.reserve(tx, 1, judgement.stand)
        places: dict[Stream, int] = {}
        for partition, _ in keys:
            stream = Stream(RECOMMENDATIONS, partition)
            places[stream] = places.get(stream, 0) + 1
        seqs = await log.reserve_places(tx, places)
        tombstones = []
        for partition, key in keys:
            stream = Stream(RECOMMENDATIONS, partition)
            tombstones.append((partition, seqs[stream], key))
            seqs[stream] += 1
        await store.add_tombstones(tx, tombstones, now)
        await log.add_leaves(tx, index, [entry.erasure(order=order.sha256, messages=counts.originals, at=now)])
        erased = Erased(order.sha256, index, now, counts.originals, now + TOPICS_KEEP)
        await store.keep(tx, erased, signed.decode())
        failpoint.reach("erasure.before_commit")
    failpoint.reach("erasure.after_commit")
    async with desk.database.connection() as connection:
        await outbox.wake(connection)
    return Carried(erased, counts)


async def _erase(tx: "Connection", order: Order, now: datetime) -> tuple[list[tuple[int, str]], Counts]:
    if await store.knows(tx, order.sha256):
        raise DoneBefore("This order was carried out already.")
    reach = await store.find(tx, order.messages, order.cases, order.workers, (APPROVED, AMENDED))
    keys = await store.find_tombstones(tx, reach.cases)
    return keys, await store.erase(tx, reach, order.messages, now)
