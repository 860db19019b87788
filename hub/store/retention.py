"""What may go of the database after its time, and how large everything is.

Nothing here waits long for a lock, and no step takes more than a few hundred rows: the intake, which writes two of
these tables, must not notice. `attempts` lies in one partition for each month, so that a month goes without a scan;
what came while there was no partition for it stands in the rest.
"""

from datetime import date, datetime
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from hub.store.database import Connection

LOCK_WAIT_MS = 500
# An arbitrary number that names the advisory lock: one applies at a time.
LOCK = 0x7E7E5710

READ_SIZES = """
    SELECT c.relname::text AS table,
        pg_total_relation_size(c.oid) + COALESCE((
            SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits WHERE inhparent = c.oid), 0)::bigint AS bytes,
        pg_stat_get_live_tuples(c.oid) + COALESCE((
            SELECT sum(pg_stat_get_live_tuples(inhrelid)) FROM pg_inherits WHERE inhparent = c.oid), 0)::bigint AS rows
    FROM pg_class c
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
    ORDER BY 2 DESC, 1"""
TRY_LOCK = "SELECT pg_try_advisory_xact_lock($1)"
LIMIT_WAITING = f"SET LOCAL lock_timeout = {LOCK_WAIT_MS}"

# A stretch adjoins the one before it if it begins where that one ends; a lost stretch stands by itself for ever.
COUNT_STRETCHES = """
    SELECT count(*) FROM (
        SELECT from_offset = lag(to_offset) OVER (PARTITION BY topic_id, partition ORDER BY from_offset) AS adjoins
        FROM watermark_interval WHERE kind = 'consumed' AND received_at < $1) old WHERE adjoins"""
READ_PARTITIONS = "SELECT topic_id, partition FROM watermark ORDER BY 1, 2"
JOIN_STRETCHES = """
    WITH old AS (
        SELECT from_offset, to_offset, received_at FROM watermark_interval
        WHERE topic_id = $1 AND partition = $2 AND kind = 'consumed' AND received_at < $3 AND from_offset >= $4
        ORDER BY from_offset LIMIT $5),
    marked AS (
        SELECT old.*, (from_offset IS DISTINCT FROM lag(to_offset) OVER (ORDER BY from_offset))::int AS begins
        FROM old),
    numbered AS (SELECT marked.*, sum(begins) OVER (ORDER BY from_offset) AS number FROM marked),
    joined AS (
        SELECT min(from_offset) AS start, max(to_offset) AS behind, max(received_at) AS at
        FROM numbered GROUP BY number HAVING count(*) > 1),
    gone AS (
        DELETE FROM watermark_interval i USING joined j
        WHERE i.topic_id = $1 AND i.partition = $2 AND i.from_offset > j.start AND i.from_offset < j.behind
        RETURNING 1),
    grown AS (
        UPDATE watermark_interval i SET to_offset = j.behind, received_at = j.at FROM joined j
        WHERE i.topic_id = $1 AND i.partition = $2 AND i.from_offset = j.start RETURNING 1)
    SELECT (SELECT count(*) FROM gone) AS gone, (SELECT count(*) FROM old) AS seen, max(from_offset) AS last
    FROM numbered WHERE begins = 1"""

COUNT_PARKED = "SELECT count(*) FROM quarantine WHERE received_at < $1 AND erased_at IS NULL"
# The digest stays, so that the same bytes are known for a repeat whenever they come again.
EMPTY_PARKED = """
    UPDATE quarantine SET digest = sha256(value), key = NULL, value = NULL, headers = '[]', salt = NULL,
        traceback = NULL, erased_at = $2
    WHERE id IN (SELECT id FROM quarantine WHERE received_at < $1 AND erased_at IS NULL ORDER BY id LIMIT $3)"""

READ_MONTHS = """
    SELECT c.relname::text AS name, pg_stat_get_live_tuples(c.oid) AS rows
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'attempts'::regclass AND c.relname LIKE 'attempts\\_2%' ORDER BY 1"""
COUNT_REST = "SELECT count(*) FROM attempts_rest WHERE at < $1"
FORGET_REST = """
    DELETE FROM attempts_rest WHERE (id, at) IN (SELECT id, at FROM attempts_rest WHERE at < $1 LIMIT $2)"""


class Size(NamedTuple):
    """How many bytes a table takes with its indexes, and about how many rows it has."""

    table: str
    bytes: int
    rows: int


def name_month(first: date) -> str:
    """Return the name of the partition that holds a month's attempts."""
    return f"attempts_{first:%Y_%m}"


async def read_sizes(connection: "Connection") -> list[Size]:
    """Return every table, the largest first; a partitioned one as a whole."""
    return [Size(*row) for row in await connection.fetch(READ_SIZES)]


async def begin_step(connection: "Connection") -> bool:
    """Begin a step within a transaction; False if somebody else applies just now."""
    await connection.execute(LIMIT_WAITING)
    return bool(await connection.fetchval(TRY_LOCK, LOCK))


async def count_stretches(connection: "Connection", before: datetime) -> int:
    """Return how many consumed stretches noted before then can be joined to the one before."""
    return int(await connection.fetchval(COUNT_STRETCHES, before))


async def read_partitions(connection: "Connection") -> list[tuple[str, int]]:
    """Return (topic id, partition) of everything that was ever consumed."""
    return [(row[0], row[1]) for row in await connection.fetch(READ_PARTITIONS)]


async def join_stretches(
    connection: "Connection", place: tuple[str, int], before: datetime, start: int, limit: int
) -> tuple[int, int | None]:
    """Join adjoining stretches among the first `limit` from offset `start` on; together they still tile the partition.

    Returns how many rows went, and from which offset to go on (None: that was all).
    """
    row = await connection.fetchrow(JOIN_STRETCHES, *place, before, start, limit)
    if row is None or row["seen"] < limit:
        return (0 if row is None else row["gone"]), None
    return row["gone"], row["last"] if row["last"] > start or row["gone"] else None


async def count_parked(connection: "Connection", before: datetime) -> int:
    """Return how many refused records received before then still have their bytes."""
    return int(await connection.fetchval(COUNT_PARKED, before))


async def empty_parked(connection: "Connection", before: datetime, now: datetime, limit: int) -> int:
    """Take the bytes out of up to `limit` refused records; their rows stay, with code, place and digest."""
    return _affected(await connection.execute(EMPTY_PARKED, before, now, limit))


async def read_months(connection: "Connection") -> dict[str, int]:
    """Return the partitions of attempts, with about how many rows each has."""
    return {row["name"]: row["rows"] for row in await connection.fetch(READ_MONTHS)}


async def add_month(connection: "Connection", first: date, behind: date) -> None:
    """Make the partition for the attempts from `first` to before `behind`."""
    bounds = f"FROM ('{first:%Y-%m-%d} 00:00:00+00') TO ('{behind:%Y-%m-%d} 00:00:00+00')"
    await connection.execute(f"CREATE TABLE {name_month(first)} PARTITION OF attempts FOR VALUES {bounds}")


async def drop_month(connection: "Connection", name: str) -> None:
    """Drop a month's attempts. Raises asyncpg.LockNotAvailableError if somebody reads them for too long."""
    await connection.execute(f"DROP TABLE {name}")


async def count_rest(connection: "Connection", before: datetime) -> int:
    """Return how many attempts from before then have no partition of their own."""
    return int(await connection.fetchval(COUNT_REST, before))


async def forget_rest(connection: "Connection", before: datetime, limit: int) -> int:
    """Forget up to `limit` of them; return how many."""
    return _affected(await connection.execute(FORGET_REST, before, limit))


def _affected(status: str) -> int:
    return int(status.rpartition(" ")[2])
