"""Who looked at whose file, and why: only ever added to."""

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hub.store.database import Connection

ADD = """
    INSERT INTO lookups (day, at, role, actor, page, subject, reason, sealed) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"""
LIST = """
    SELECT id, day, at, role, actor, page, subject, reason, sealed FROM lookups
    WHERE day >= $1 AND day <= $2 AND id > $3 ORDER BY id LIMIT $4"""


async def add_open(connection: "Connection", day: date, members: Sequence[Any]) -> None:
    """Keep a look-up in the open: at, role, actor, page, subject and reason."""
    await connection.execute(ADD, day, *members, None)


async def add_sealed(connection: "Connection", day: date, sealed: bytes) -> None:
    """Keep a look-up that only the holder of a key can read."""
    await connection.execute(ADD, day, *[None] * 6, sealed)


async def list_days(
    connection: "Connection", since: date, until: date, after: int, limit: int
) -> list[dict[str, Any]]:  # fmt: skip
    """Return the look-ups of these days in order, behind the id `after`."""
    return [dict(row) for row in await connection.fetch(LIST, since, until, after, limit)]
