"""The months as they were counted, and what a count reads: a checkpoint, and the files that it may be about."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, NamedTuple

from jiter import from_json

from contracts.oversight.handling import HandlingRow
from contracts.oversight.statistics import WHOLES, Row
from hub.store.cases import write_json
from hub.store.database import Connection

READ_NEWEST = """
    SELECT c.size, c.signed_at, c.note, l.next_index, p.next_index
    FROM checkpoints c, log l, oversight_position p ORDER BY c.size DESC LIMIT 1"""
READ_SUBJECTS = """
    SELECT application FROM files WHERE closes_on >= $1
    UNION SELECT application FROM files WHERE last_index >= $2"""
READ_FILES = "SELECT application, last_index, observed, handled FROM files WHERE application = ANY($1::text[])"
READ_STAND = "SELECT month, final, log_size FROM monthly_statistics"
SAVE = """
    INSERT INTO monthly_statistics (month, final, log_size, log_root, rule_sets, counted_at, wholes, figures,
        handling)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
    ON CONFLICT (month) DO UPDATE SET final = EXCLUDED.final, log_size = EXCLUDED.log_size,
        log_root = EXCLUDED.log_root, rule_sets = EXCLUDED.rule_sets, counted_at = EXCLUDED.counted_at,
        wholes = EXCLUDED.wholes, figures = EXCLUDED.figures, handling = EXCLUDED.handling
    WHERE NOT monthly_statistics.final"""
READ_MONTH = """
    SELECT month, final, log_size, log_root, rule_sets, counted_at, figures FROM monthly_statistics WHERE month = $1"""
READ_MONTHS = """
    SELECT month, final, log_size, log_root, rule_sets, counted_at, wholes FROM monthly_statistics
    ORDER BY month DESC LIMIT $1"""
READ_HANDLING = "SELECT handling FROM monthly_statistics WHERE month = $1"


class Newest(NamedTuple):
    """The newest checkpoint, how many entries the log has, and how far it was followed."""

    size: int
    signed_at: datetime
    root: str
    entries: int
    followed: int


class KeptFile(NamedTuple):
    """What statistics read of a file, as of the place in the log of its last word."""

    application: str
    last_index: int
    observed: str
    handled: str


class Month(NamedTuple):
    """A month as it was counted, and what it was counted from."""

    month: date
    final: bool
    log_size: int
    log_root: str
    rule_sets: str
    counted_at: datetime
    rows: list[Row]


async def read_newest(connection: Connection) -> Newest | None:
    """Return the newest checkpoint, or None where there is none."""
    row = await connection.fetchrow(READ_NEWEST)
    if row is None:
        return None
    size, signed_at, note, entries, followed = row
    # The third line of a checkpoint is its root (C2SP tlog-checkpoint).
    return Newest(size, signed_at, note.split("\n")[2], entries, followed)


async def read_subjects(connection: Connection, month: date, size: int) -> list[str]:
    """Return the files that a count of the month may be about, and those of which something is newer than `size`."""
    return [row[0] for row in await connection.fetch(READ_SUBJECTS, month, size)]


async def read_files(connection: Connection, applications: Sequence[str]) -> list[KeptFile]:
    """Return what statistics read of these files."""
    return [KeptFile(*row) for row in await connection.fetch(READ_FILES, list(applications))]


async def read_stand(connection: Connection) -> dict[date, tuple[bool, int]]:
    """Return of each month that was counted whether that is final, and of how many entries of the log."""
    return {row[0]: (row[1], row[2]) for row in await connection.fetch(READ_STAND)}


async def save(connection: Connection, month: Month, handling: Sequence[HandlingRow]) -> None:
    """Keep a month; one that is final already stays as it is."""
    wholes = [list(row) for row in month.rows if row.by in WHOLES]
    written = [wholes, [list(row) for row in month.rows], [list(row) for row in handling]]
    await connection.execute(SAVE, *month[:6], *map(write_json, written))


async def read_month(connection: Connection, month: date) -> Month | None:
    """Return a month as it was counted, or None."""
    row = await connection.fetchrow(READ_MONTH, month)
    return None if row is None else _read(row)


async def list_months(connection: Connection, limit: int) -> list[Month]:
    """Return the newest months, the newest first, each with the figures alone that are about all files."""
    return [_read(row) for row in await connection.fetch(READ_MONTHS, limit)]


async def read_handling(connection: Connection, month: date) -> list[HandlingRow]:
    """Return what overseers are told of a month."""
    text = await connection.fetchval(READ_HANDLING, month)
    return [] if text is None else [HandlingRow(*row) for row in from_json(text.encode())]


def _read(row: Any) -> Month:
    month, final, log_size, log_root, rule_sets, counted_at, figures = row
    rows = [Row(*one) for one in from_json(figures.encode())]
    return Month(month, final, log_size, log_root, rule_sets, counted_at, rows)
