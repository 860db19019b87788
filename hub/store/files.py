"""Files as lists show them: kept by the overseer, read by index alone, a page at a time."""

from collections.abc import Iterable
from datetime import date, datetime
from typing import Any, NamedTuple

from hub.listing import Listing
from hub.progress import Clock, Holder, Stage
from hub.store.cases import write_json
from hub.store.database import Connection

COUNT_MAX = 1_000
# Behind every character that an application's number may have.
BEHIND = "~"
SAVE = """
    INSERT INTO files (application, unit, stage, holder, since, last_index, clock, due_on, paused, task, closes_on,
        observed, handled)
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::bigint[], $7::bool[],
        $8::date[], $9::bool[], $10::text[], $11::date[], $12::text[], $13::text[])
    ON CONFLICT (application) DO UPDATE SET unit = EXCLUDED.unit, stage = EXCLUDED.stage, holder = EXCLUDED.holder,
        since = EXCLUDED.since, last_index = EXCLUDED.last_index, clock = EXCLUDED.clock, due_on = EXCLUDED.due_on,
        paused = EXCLUDED.paused, task = EXCLUDED.task, closes_on = EXCLUDED.closes_on, observed = EXCLUDED.observed,
        handled = EXCLUDED.handled"""
READ_MOVED = """
    SELECT application, unit, stage, holder, since, last_index, clock, due_on, paused, task
    FROM files WHERE last_index < $1 ORDER BY last_index DESC LIMIT $2"""
READ_DUE = """
    SELECT application, unit, stage, holder, since, last_index, clock, due_on, paused, task
    FROM files WHERE unit = $1 AND due_on >= $2 AND due_on <= $3 AND (due_on, application) > ($4, $5)
    ORDER BY due_on, application LIMIT $6"""
READ_TASK = """
    SELECT application, unit, stage, holder, since, last_index, clock, due_on, paused, task
    FROM files WHERE unit = $1 AND task = $2 AND (since, application) > ($3, $4)
    ORDER BY since, application LIMIT $5"""
READ_NUMBERS = """
    SELECT application, unit, stage, holder, since, last_index, clock, due_on, paused, task
    FROM files WHERE unit = $1 AND application >= $2 AND application < $3 AND application > $4
    ORDER BY application LIMIT $5"""
COUNT_DUE = """
    SELECT count(*) FROM (
        SELECT FROM files WHERE unit = $1 AND due_on >= $2 AND due_on <= $3 LIMIT $4) AS listed"""
COUNT_TASK = "SELECT count(*) FROM (SELECT FROM files WHERE unit = $1 AND task = $2 LIMIT $3) AS listed"


class ListedFile(NamedTuple):
    """A file as a list shows it."""

    application: str
    unit: str
    stage: Stage
    holder: Holder
    since: datetime
    last_index: int
    clock: Clock | None
    task: str | None


async def save(connection: Connection, listings: Iterable[Listing]) -> None:
    """Write what lists show of these files."""
    rows = [
        (
            one.progress.application, one.unit, one.progress.stage.value, one.progress.holder.value,
            one.progress.since, one.last_index, one.clock is not None,
            None if one.clock is None else one.clock.due_on, one.clock is not None and one.clock.paused, one.task,
            one.closes_on, write_json(one.observed.to_json()), write_json([each.to_json() for each in one.handled]),
        )
        for one in listings
    ]  # fmt: skip
    if rows:
        await connection.execute(SAVE, *map(list, zip(*rows, strict=True)))


async def read_moved(connection: Connection, today: date, before: int, limit: int) -> list[ListedFile]:
    """Return the files that were moved last before a place in the log, the newest first."""
    return _list(await connection.fetch(READ_MOVED, before, limit), today)


async def read_due(
    connection: Connection, unit: str, days: tuple[date, date], today: date, after: tuple[date, str], limit: int
) -> list[ListedFile]:
    """Return a unit's files that are due from one day to another, the most pressing first."""
    return _list(await connection.fetch(READ_DUE, unit, *days, *after, limit), today)


async def read_task(
    connection: Connection, unit: str, task: str, today: date, after: tuple[datetime, str], limit: int
) -> list[ListedFile]:
    """Return a unit's files with which something is to be done, the longest waiting first."""
    return _list(await connection.fetch(READ_TASK, unit, task, *after, limit), today)


async def read_numbers(
    connection: Connection, unit: str, beginning: str, today: date, after: str, limit: int
) -> list[ListedFile]:
    """Return a unit's files whose numbers begin so, in order."""
    rows = await connection.fetch(READ_NUMBERS, unit, beginning, beginning + BEHIND, after, limit)
    return _list(rows, today)


async def count_due(connection: Connection, unit: str, days: tuple[date, date]) -> int:
    """Return how many of a unit's files are due then; no more than COUNT_MAX are counted."""
    return int(await connection.fetchval(COUNT_DUE, unit, *days, COUNT_MAX))


async def count_task(connection: Connection, unit: str, task: str) -> int:
    """Return how many of a unit's files have this task; no more than COUNT_MAX are counted."""
    return int(await connection.fetchval(COUNT_TASK, unit, task, COUNT_MAX))


def _list(rows: Iterable[Any], today: date) -> list[ListedFile]:
    return [_read(*row, today=today) for row in rows]


def _read(
    application: str, unit: str, stage: str, holder: str, since: datetime, last_index: int, clock: bool,
    due_on: date | None, paused: bool, task: str | None, *, today: date,
) -> ListedFile:  # fmt: skip
    overdue = due_on is not None and due_on < today
    shown = Clock(due_on, paused=paused, overdue=overdue) if clock else None
    return ListedFile(application, unit, Stage(stage), Holder(holder), since, last_index, shown, task)
