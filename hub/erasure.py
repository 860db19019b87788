"""Carry out an order of erasure (UU 27/2022): every original that it names, in one transaction with its leaf.

    signed order --read_order--> Order --find--> Reach --erase--> rows without originals, tombstones, a leaf

Who the persons are, says the root document of the registry in force, which must not change before the end.

One transaction, so that an end at any moment leaves all of it or nothing; an order that was carried out is not carried
out again. The order goes on, as it was signed, to every participant that said or was told any of it. The identity and
the digest of each message stay: one that is sent again is a repeat, and has no effect.
Topics empty themselves: those that delete by their retention, the compacted one by a tombstone for each key.
"""

import re
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from contracts.erasure import Order, read_order
from contracts.events.hub import ERASED_CASES_MAX, ErasureOrdered
from contracts.log import entry
from contracts.registry import RECOMMENDATIONS
from contracts.rules.case import AMENDED, APPROVED
from hub import failpoint
from hub.desk import Desk, Judgement, write_nonce
from hub.routes import Stream
from hub.seal import Letter, Outline, Sealing
from hub.step import Event
from hub.store import erasure as store
from hub.store import log, outbox
from hub.store.erasure import Counts, Erased
from hub.transport import COMPACTION_LAG_MS_MAX, RETENTION_MS, SEGMENT_MS

if TYPE_CHECKING:
    from hub.store.database import Connection

# A segment is deleted whole, once its newest record is as old as the retention; compaction waits for its own time too.
TOPICS_KEEP = timedelta(milliseconds=max(RETENTION_MS, COMPACTION_LAG_MS_MAX) + SEGMENT_MS)


ORDERED: Final = ErasureOrdered.TYPE
# As every subject is spelled; what an order names otherwise is no case of anybody.
_is_case = re.compile(r"[A-Z0-9./-]{1,64}").fullmatch


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


class _Taken(NamedTuple):
    """What an order concerns beyond the originals: cases, keys of the compacted topic, and who may hold copies."""

    cases: Sequence[str]
    keys: Sequence[tuple[int, str]]
    holders: frozenset[str]


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
    """Take out what a signed order names, log it, and pass it on to everybody who may hold any of it.

    Raises RegistryError if it is not signed as it must be; DoneBefore; RegistryChanged if it must be tried again.
    """
    judgement = await desk.judgement()
    order = read_order(signed, judgement.registry.root, now)
    async with desk.database.transaction() as tx:
        taken, counts = await _erase(tx, order, now)
        index = await log.reserve(tx, 1, judgement.stand)
        await _add_tombstones(tx, taken.keys, now)
        await _pass_on(tx, judgement, _letters_of(judgement, order, signed.decode(), taken), index, now)
        await log.add_leaves(tx, index, [entry.erasure(order=order.sha256, messages=counts.originals, at=now)])
        erased = Erased(order.sha256, index, now, counts.originals, now + TOPICS_KEEP)
        await store.keep(tx, erased, signed.decode())
        failpoint.reach("erasure.before_commit")
    failpoint.reach("erasure.after_commit")
    async with desk.database.connection() as connection:
        await outbox.wake(connection)
    return Carried(erased, counts)


async def _erase(tx: "Connection", order: Order, now: datetime) -> tuple[_Taken, Counts]:
    if await store.knows(tx, order.sha256):
        raise DoneBefore("This order was carried out already.")
    reach = await store.find(tx, order.messages, order.cases, order.workers, (APPROVED, AMENDED))
    keys, holders = await store.find_tombstones(tx, reach.cases), await store.find_holders(tx, reach)
    return _Taken(reach.cases, keys, holders), await store.erase(tx, reach, order.messages, now)


async def _add_tombstones(tx: "Connection", keys: Sequence[tuple[int, str]], now: datetime) -> None:
    places = Counter(Stream(RECOMMENDATIONS, partition) for partition, _ in keys)
    seqs = await log.reserve_places(tx, places)
    tombstones = []
    for partition, key in keys:
        stream = Stream(RECOMMENDATIONS, partition)
        tombstones.append((partition, seqs[stream], key))
        seqs[stream] += 1
    await store.add_tombstones(tx, tombstones, now)


def _letters_of(judgement: Judgement, order: Order, document: str, taken: _Taken) -> list[Letter]:
    """Return the order for each stream of each holder; the Ministry may hold what it has not sent yet."""
    ministries = {party.id for party in judgement.registry.participants.values() if party.kind == "ministry"}
    cases = [case for case in taken.cases if _is_case(case)]
    letters = []
    for stream in judgement.routes.all_outputs():
        participant = stream.topic.removeprefix("to.")
        if participant not in taken.holders | ministries:
            continue
        for start in range(0, max(1, len(cases)), ERASED_CASES_MAX):
            some = cases[start : start + ERASED_CASES_MAX]
            data = {"participant": participant, "order": order.sha256, "document": document, "cases": some}
            letters.append(Letter(Event(ORDERED, participant.upper(), participant, None, "", data), (stream,)))
    return letters


async def _pass_on(
    tx: "Connection", judgement: Judgement, letters: Sequence[Letter], index: int, now: datetime
) -> None:  # fmt: skip
    seqs = await log.reserve_places(tx, Outline(letters=list(letters)).places())
    sealing = Sealing(judgement.registry, index, seqs, index, now, write_nonce)
    for letter in letters:
        sealing.place(letter)
    await log.add_outbox(tx, sealing.rows)
