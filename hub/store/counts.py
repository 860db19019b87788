"""Daily counts: what there is to count, what was counted, and what participants say of it."""

import json
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple

from hub.store.database import Connection
from hub.store.inbox import name_message

ROWS_PER_FETCH = 2_000

READ_LAST = """
    SELECT DISTINCT ON (participant) participant, day, log_size, document FROM day_counts
    ORDER BY participant, day DESC"""
READ_FIRST_DAY = "SELECT (min(applied_at) AT TIME ZONE INTERVAL '+07:00')::date FROM registry"
# LEAST passes over what is not there.
FIND_END = """
    SELECT LEAST(
        (SELECT log_index FROM inbox WHERE log_index >= $1 AND received_at >= $2 ORDER BY log_index LIMIT 1),
        (SELECT log_index FROM quarantine WHERE log_index >= $1 AND received_at >= $2 ORDER BY log_index LIMIT 1),
        (SELECT next_index FROM log WHERE id = 1))"""
READ_ACCEPTED = """
    SELECT source, sequence, id, digest FROM inbox
    WHERE log_index >= $1 AND log_index < $2 AND source = ANY($3::text[]) ORDER BY source, sequence"""
# A record that Kafka holds twice is refused twice: the first refusal of the same bytes counts.
READ_REFUSED = """
    SELECT q.log_index, q.code, q.source, q.value FROM quarantine q
    WHERE q.log_index >= $1 AND q.log_index < $2 AND q.participant = $3 AND q.topic = 'from.' || $3
        AND NOT EXISTS (
            SELECT FROM quarantine e
            WHERE COALESCE(e.digest, sha256(e.value)) = COALESCE(q.digest, sha256(q.value))
                AND e.participant = q.participant AND e.topic = q.topic AND e.log_index < q.log_index)
    ORDER BY q.log_index"""
FIND_ACCEPTED = "SELECT log_index FROM inbox WHERE identity = $1 AND digest = $2"
READ_SENT = "SELECT partition, next_seq - 1 AS last FROM streams WHERE topic = $1 ORDER BY partition"
ADD = """
    INSERT INTO day_counts (participant, day, first_index, log_size, made_at, document)
    VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING RETURNING 1"""
READ_STATED = """
    SELECT log_index, participant, value FROM inbox
    WHERE type LIKE 'id.tka.%.count.stated.v1'
        AND log_index > (SELECT COALESCE(max(log_index), -1) FROM count_statements)
    ORDER BY log_index LIMIT $1"""
READ_DOCUMENT = "SELECT document FROM day_counts WHERE participant = $1 AND day = $2"
ADD_STATEMENT = """
    INSERT INTO count_statements (log_index, participant, day, source, verdict, detail, judged_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING"""
LIST = """
    SELECT c.participant, c.day, c.first_index, c.log_size, c.document, s.source, s.verdict, s.detail, s.judged_at
    FROM day_counts c LEFT JOIN LATERAL (
        SELECT DISTINCT ON (source) source, verdict, detail, judged_at FROM count_statements s
        WHERE s.participant = c.participant AND s.day = c.day ORDER BY source, log_index DESC) s ON true
    WHERE ($1::text IS NULL OR c.participant = $1) AND ($2::date IS NULL OR c.day = $2)
    ORDER BY c.day, c.participant, s.source"""
COUNT_DIFFERING = """
    SELECT participant, count(*) FROM (
        SELECT DISTINCT ON (participant, day, source) participant, verdict FROM count_statements
        ORDER BY participant, day, source, log_index DESC) newest
    WHERE verdict <> 'agrees' GROUP BY participant ORDER BY participant"""


class Last(NamedTuple):
    """How far a participant's days are counted, and what was sent to it until then, by partition."""

    day: date
    log_size: int
    sent: dict[int, int]


class Stated(NamedTuple):
    """A participant's own count as it stands in the inbox; `value` is None after an erasure."""

    log_index: int
    participant: str
    value: bytes | None


async def read_last(connection: Connection) -> dict[str, Last]:
    """Return how far each participant's days are counted."""
    found = {}
    for participant, day, size, document in await connection.fetch(READ_LAST):
        sent = {one["partition"]: one["last"] for one in json.loads(document)["sent"]}
        found[participant] = Last(day, size, sent)
    return found


async def read_first_day(connection: Connection) -> date | None:
    """Return the day in Jakarta on which the exchange began."""
    first: date | None = await connection.fetchval(READ_FIRST_DAY)
    return first


async def find_end(connection: Connection, first_index: int, over_at: datetime) -> int:
    """Return the first log index from `first_index` on that came after a day was over; the log's size if none did."""
    return int(await connection.fetchval(FIND_END, first_index, over_at))


async def read_accepted(
    connection: Connection, first_index: int, log_size: int, sources: Sequence[str]
) -> AsyncIterator[tuple[str, int, str, bytes]]:
    """Yield (source, sequence, id, digest) of what was accepted in a stretch, in that order; in a transaction."""
    cursor = connection.cursor(READ_ACCEPTED, first_index, log_size, list(sources), prefetch=ROWS_PER_FETCH)
    async for row in cursor:
        yield row[0], row[1], row[2], row[3]


async def read_refused(
    connection: Connection, first_index: int, log_size: int, participant: str
) -> AsyncIterator[tuple[int, str, str | None, bytes | None]]:
    """Yield (log index, code, source, value) of first refusals in a stretch; in a transaction."""
    async for row in connection.cursor(READ_REFUSED, first_index, log_size, participant, prefetch=ROWS_PER_FETCH):
        yield row[0], row[1], row[2], row[3]


async def find_accepted(connection: Connection, source: str, identity: str, digest: bytes) -> int | None:
    """Return where the log has this very message as accepted, if it has."""
    found: int | None = await connection.fetchval(FIND_ACCEPTED, name_message(source, identity), digest)
    return found


async def read_sent(connection: Connection, participant: str) -> list[tuple[int, int]]:
    """Return (partition, last hub-seq) of each stream to a participant."""
    return [(row[0], row[1]) for row in await connection.fetch(READ_SENT, f"to.{participant}")]


async def add(connection: Connection, document: dict[str, Any], now: datetime) -> bool:
    """Keep a participant's count of a day; whether there was none."""
    day = date.fromisoformat(document["day"])
    values = (document["participant"], day, document["first_index"], document["log_size"], now, json.dumps(document))
    return await connection.fetchval(ADD, *values) is not None


async def read_stated(connection: Connection, limit: int) -> list[Stated]:
    """Return the oldest statements that were not compared yet."""
    return [Stated(*row) for row in await connection.fetch(READ_STATED, limit)]


async def read_document(connection: Connection, participant: str, day: date) -> dict[str, Any] | None:
    """Return what the hub counted of a participant's day."""
    text = await connection.fetchval(READ_DOCUMENT, participant, day)
    return None if text is None else json.loads(text)


async def add_statements(connection: Connection, rows: Iterable[tuple[Any, ...]]) -> None:
    """Keep how statements compare: (log index, participant, day, source, verdict, detail, judged at)."""
    await connection.executemany(ADD_STATEMENT, list(rows))


async def list_counts(connection: Connection, participant: str | None, day: date | None) -> list[dict[str, Any]]:
    """Return every counted source of every day, with the newest that its participant says of it."""
    listed: dict[tuple[date, str, str], dict[str, Any]] = {}
    for row in await connection.fetch(LIST, participant, day):
        document = json.loads(row["document"])
        for counted in document["sources"]:
            named = {name: row[name] for name in ("participant", "day", "first_index", "log_size")}
            one = listed.setdefault((row["day"], row["participant"], counted["source"]), named | counted)
            one.setdefault("verdict", "waiting")
            if row["source"] == counted["source"]:
                one |= {"verdict": row["verdict"], "detail": json.loads(row["detail"]), "judged_at": row["judged_at"]}
    return list(listed.values())


async def count_differing(connection: Connection) -> dict[str, int]:
    """Return of how many days and sources each participant's newest word differs from the hub's."""
    return {row[0]: row[1] for row in await connection.fetch(COUNT_DIFFERING)}
