"""Deadlines that wait for their time."""

from collections.abc import Sequence
from datetime import datetime

from hub.step import Timer
from hub.store.database import Connection

# A deadline that runs is never put off by what comes later.
SET = """
    INSERT INTO timers (name, subject, due_at) SELECT * FROM unnest($1::text[], $2::text[], $3::timestamptz[])
    ON CONFLICT DO NOTHING"""
DROP = """
    DELETE FROM timers t USING unnest($1::text[], $2::text[]) AS u (name, subject)
    WHERE t.name = u.name AND t.subject = u.subject"""
PUT_OFF = """
    UPDATE timers t SET due_at = $1 FROM unnest($2::text[], $3::text[]) AS u (name, subject)
    WHERE t.name = u.name AND t.subject = u.subject"""
# Read without a lock: cases and codes are locked first, as everywhere, and only then is the deadline taken.
READ_DUE = "SELECT name, subject FROM timers WHERE due_at <= $1 ORDER BY due_at LIMIT $2"
TAKE_DUE = """
    DELETE FROM timers t USING unnest($2::text[], $3::text[]) AS u (name, subject)
    WHERE t.name = u.name AND t.subject = u.subject AND t.due_at <= $1 RETURNING t.name, t.subject"""


async def apply(connection: Connection, timers: Sequence[Timer]) -> None:
    """Set and take back deadlines, in their order."""
    for timer_run in _runs(timers):
        names, subjects = [timer.name for timer in timer_run], [timer.subject for timer in timer_run]
        if timer_run[0].due_at is None:
            await connection.execute(DROP, names, subjects)
        else:
            await connection.execute(SET, names, subjects, [timer.due_at for timer in timer_run])


def _runs(timers: Sequence[Timer]) -> list[list[Timer]]:
    """Part the last word on each deadline into those to take back and those to set."""
    last = {(timer.name, timer.subject): timer for timer in timers}.values()
    dropped = [timer for timer in last if timer.due_at is None]
    kept = [timer for timer in last if timer.due_at is not None]
    return [run for run in (dropped, kept) if run]


async def read_due(connection: Connection, now: datetime, limit: int) -> list[tuple[str, str]]:
    """Return up to `limit` deadlines that have passed, as (name, subject)."""
    return [(name, subject) for name, subject in await connection.fetch(READ_DUE, now, limit)]


async def take_due(connection: Connection, now: datetime, due: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Remove those of `due` that are still there and due, and return them sorted: they fire in this transaction."""
    names, subjects = [name for name, _ in due], [subject for _, subject in due]
    return sorted((name, subject) for name, subject in await connection.fetch(TAKE_DUE, now, names, subjects))


async def put_off(connection: Connection, due: Sequence[tuple[str, str]], until: datetime) -> None:
    """Let these deadlines come up again at another time."""
    await connection.execute(PUT_OFF, until, [name for name, _ in due], [subject for _, subject in due])
