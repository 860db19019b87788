"""Who looked at whose file, and why: only ever added to, and closed day by day."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from hub.store.database import Connection

ADD = """
    INSERT INTO lookups (day, at, role, actor, page, subject, reason, sealed, salt, leaf)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"""
# Shared by whoever writes a look-up down, alone by whoever closes a day.
LOCK_DAYS = "SELECT pg_advisory_xact_lock(hashtext('lookup_days'))"
READ_LEAVES = "SELECT leaf, sealed IS NOT NULL FROM lookups WHERE day = $1 AND leaf IS NOT NULL"
CLOSE = """
    INSERT INTO lookup_days (day, salt, root, log_index, closed_at)
    VALUES ($1, $2, $3, (SELECT next_index - 1 FROM log WHERE id = 1), $4)"""
LAST_CLOSED = "SELECT max(day) FROM lookup_days"
READ_DAYS = "SELECT day, salt, root, log_index FROM lookup_days WHERE $1::date IS NULL OR day = $1 ORDER BY day"
READ_DAY = """
    SELECT at, role, actor, page, subject, reason, sealed, salt, leaf FROM lookups
    WHERE day = $1 AND leaf IS NOT NULL ORDER BY leaf"""


class Leaf(NamedTuple):
    """A look-up's salt and its leaf (SPEC.md section 9.4)."""

    salt: bytes
    hash: bytes


class Leaves(NamedTuple):
    """The leaves of a day, and how many of them are sealed to the oversight body."""

    hashes: list[bytes]
    sealed: int


class ClosedDay(NamedTuple):
    """A day whose root stands in the log at `log_index`."""

    day: date
    salt: bytes
    root: bytes
    log_index: int


async def add_open(connection: "Connection", day: date, members: Sequence[Any], leaf: Leaf) -> None:
    """Keep a look-up in the open: at, role, actor, page, subject and reason."""
    await connection.execute(ADD, day, *members, None, *leaf)


async def add_sealed(connection: "Connection", day: date, sealed: Sequence[tuple[bytes, Leaf]]) -> None:
    """Keep what only the holder of a key can read."""
    await connection.executemany(ADD, [(day, *[None] * 6, one, *leaf) for one, leaf in sealed])


async def lock_days(connection: "Connection") -> None:
    """Let nobody write a look-up down until the transaction ends, and wait for those who do just now."""
    await connection.execute(LOCK_DAYS)


async def read_leaves(connection: "Connection", day: date) -> Leaves:
    """Return the leaves of a day."""
    rows = await connection.fetch(READ_LEAVES, day)
    return Leaves([row[0] for row in rows], sum(row[1] for row in rows))


async def close_day(connection: "Connection", day: date, salt: bytes, root: bytes, now: datetime) -> None:
    """Keep a day's root; its entry must be the log's last."""
    await connection.execute(CLOSE, day, salt, root, now)


async def find_last_closed(connection: "Connection") -> date | None:
    """Return the last day that is closed."""
    last: date | None = await connection.fetchval(LAST_CLOSED)
    return last


async def read_closed(connection: "Connection", day: date | None = None) -> list[ClosedDay]:
    """Return the days that are closed, in order, or the one that is asked for."""
    return [ClosedDay(*row) for row in await connection.fetch(READ_DAYS, day)]


async def read_day(connection: "Connection", day: date) -> list[dict[str, Any]]:
    """Return a day's look-ups with their salts and leaves, in the order of their leaves."""
    return [dict(row) for row in await connection.fetch(READ_DAY, day)]
