"""The record of look-ups, closed: each day that is over gets a root in the evidence log, and whoever asks gets the day.

Where look-ups of the oversight body are sealed, each day has as many sealed ones as a power of two, so that neither the
root nor an exported day tells how many there were. Who has the database itself can tell cover by when its rows came.
"""

import secrets
from collections.abc import AsyncIterator
from datetime import date, datetime, timedelta
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from contracts.log import entry
from contracts.log.proof import Proof
from contracts.lookups import (
    COVER,
    DAY_SALT_BYTES,
    FORMAT,
    count_cover,
    find_root,
    hash_lookup,
    write_open,
    write_sealed,
)
from contracts.registry import Registry
from contracts.rules.clock import jakarta_day
from contracts.wire import base64url
from contracts.wire.instant import write_instant
from hub.desk import Desk, Judgement, Plan
from hub.lookups import make_leaf, seal
from hub.provenance import Finding
from hub.release import read_published
from hub.store import audit, lookups, tiles
from hub.store.counts import read_first_day
from hub.store.database import Connection
from hub.store.lookups import ClosedDay

ONE_DAY: Final = timedelta(days=1)
#: Look-ups that were begun before midnight are written down by then.
CLOSED_AFTER: Final = timedelta(minutes=5)


class DayNotClosed(Exception):
    """A day has no root yet, or no checkpoint covers it."""


class DayCloser:
    """Closes days; without a key nothing is sealed, and so nothing is covered."""

    def __init__(self, desk: Desk, oversight_key: X25519PublicKey | None) -> None:
        self._desk = desk
        self._oversight_key = oversight_key

    async def catch_up(self, now: datetime, days_max: int) -> int:
        """Close the days that are over, at most so many, in order; return how many."""
        judgement = await self._desk.judgement()
        over = jakarta_day(now - CLOSED_AFTER) - ONE_DAY
        async with self._desk.database.connection() as connection:
            last, first = await lookups.find_last_closed(connection), await read_first_day(connection)
        day = first if last is None else last + ONE_DAY
        closed = 0
        while day is not None and day <= over and closed < days_max:
            closed += await self._close(judgement, day, now)
            day += ONE_DAY
        return closed

    async def _close(self, judgement: Judgement, day: date, now: datetime) -> int:
        async with self._desk.database.transaction() as tx:
            await lookups.lock_days(tx)
            if await lookups.read_closed(tx, day):
                # Another process has just closed it.
                return 0
            await self._cover(tx, day)
            salt = secrets.token_bytes(DAY_SALT_BYTES)
            root = find_root(salt, (await lookups.read_leaves(tx, day)).hashes)
            plan = Plan()
            plan.actions.append(entry.lookups(day=day.isoformat(), root=root, at=now))
            await self._desk.seal(tx, judgement, plan, now, {})
            await lookups.close_day(tx, day, salt, root, now)
        return 1

    async def _cover(self, tx: Connection, day: date) -> None:
        if self._oversight_key is None:
            return
        missing = count_cover((await lookups.read_leaves(tx, day)).sealed)
        sealed = [seal({COVER: ""}, self._oversight_key) for _ in range(missing)]
        written = [(one, make_leaf(write_sealed(day.isoformat(), one))) for one in sealed]
        await lookups.add_sealed(tx, day, written)


async def export_day(connection: Connection, registry: Registry, day: date) -> dict[str, Any]:
    """Return a day's record with its entry and the proof of it, in one snapshot. Raises DayNotClosed."""
    closed = await lookups.read_closed(connection, day)
    if not closed:
        raise DayNotClosed(
            f"{day} has no root yet: `hub deadlines` closes a day some minutes after its end in Jakarta."
        )
    [found] = closed
    checkpoint = await read_published(connection, registry) or await tiles.read_newest(connection)
    if checkpoint is None or checkpoint.size <= found.log_index:
        raise DayNotClosed(f"No checkpoint covers the entry of {day} yet: `hub sequencer` and the witnesses make it.")
    entries = await audit.read_entries(connection, [found.log_index])
    paths = await audit.read_paths(connection, [found.log_index], checkpoint.size)
    proof = Proof(found.log_index, tuple(paths[found.log_index]), checkpoint.note.write())
    return {
        "format": FORMAT,
        "day": day.isoformat(),
        "salt": base64url.encode(found.salt),
        "lookups": [_show(row) for row in await lookups.read_day(connection, day)],
        "entry": entries[found.log_index].decode(),
        "tlog_proof": proof.write().decode(),
    }


def _show(row: dict[str, Any]) -> dict[str, str]:
    shown = {"salt": base64url.encode(row["salt"])}
    if row["sealed"] is not None:
        return shown | {"sealed": base64url.encode(row["sealed"])}
    return shown | _members(row)


def _members(row: dict[str, Any]) -> dict[str, str]:
    return {name: row[name] for name in ("role", "actor", "page", "subject", "reason")} | {
        "at": write_instant(row["at"])
    }


async def check_days(connection: Connection) -> AsyncIterator[Finding]:
    """Yield each closed day whose look-ups were rewritten, taken out or put in; `check_leaves` compares its root."""
    for closed in await lookups.read_closed(connection):
        if not await _is_sound(connection, closed):
            yield Finding("lookups_changed", closed.day.isoformat(), "the look-ups are not those of the day's root")


async def _is_sound(connection: Connection, closed: ClosedDay) -> bool:
    leaves = []
    for row in await lookups.read_day(connection, closed.day):
        written = (
            write_open(_members(row)) if row["sealed"] is None else write_sealed(closed.day.isoformat(), row["sealed"])
        )
        if hash_lookup(row["salt"], written) != row["leaf"]:
            return False
        leaves.append(row["leaf"])
    return find_root(closed.salt, leaves) == closed.root
