"""What waits for somebody: refusals by their cause, messages that wait for the registry, how far everything is."""

import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from hub.store.database import Connection

COUNT_REFUSED = """
    SELECT code, fault, count(*) AS messages, min(received_at) AS since, max(received_at) AS last, max(id) AS example,
        array_agg(DISTINCT COALESCE(participant, '?')) AS participants
    FROM quarantine WHERE resolved_at IS NULL AND ($1::text IS NULL OR participant = $1)
    GROUP BY code, fault ORDER BY count(*) DESC, code"""
COUNT_GROUPS = """
    SELECT q.code, q.fault, q.participant, count(*) AS messages, min(q.received_at) AS since,
        max(q.received_at) AS last, max(q.id) AS example, count(s.parked_id) AS sent_back
    FROM quarantine q LEFT JOIN sent_back s ON s.parked_id = q.id WHERE q.resolved_at IS NULL
    GROUP BY q.code, q.fault, q.participant ORDER BY count(*) DESC, q.code, q.participant"""
# A message that waited on its way makes its sender's clock look late, so the one that came fastest is taken.
READ_SHORTEST_WAYS = """
    SELECT s.source, (SELECT min(newest.received_at - newest.recorded) FROM (
        SELECT received_at, (convert_from(value, 'UTF8')::jsonb ->> 'recordedtime')::timestamptz AS recorded
        FROM inbox WHERE source = s.source AND value IS NOT NULL ORDER BY sequence DESC LIMIT 20) AS newest) AS way
    FROM unnest($1::text[]) AS s (source)"""
# Never the bytes: what was refused may hold a person's data.
READ_EXAMPLES = """
    SELECT id, detail, participant, source, event_id, topic, partition, "offset", received_at FROM quarantine
    WHERE id = ANY($1::bigint[])"""
COUNT_DEFERRED = """
    SELECT code, count(*) AS count, min(received_at) AS since, array_agg(DISTINCT COALESCE(participant, '?'))
        AS participants FROM deferred GROUP BY code ORDER BY code"""
READ_LAST_HEARD = """
    SELECT s.source, i.received_at FROM unnest($1::text[]) AS s (source) LEFT JOIN LATERAL (
        SELECT received_at FROM inbox WHERE source = s.source ORDER BY sequence DESC LIMIT 1) AS i ON true"""
READ_LOG = """
    SELECT l.next_index, c.size, c.signed_at FROM log l LEFT JOIN LATERAL (
        SELECT size, signed_at FROM checkpoints ORDER BY size DESC LIMIT 1) AS c ON true"""
READ_OLDEST_UNCOVERED = """
    SELECT min(created_at) FROM outbox o JOIN relay_position p USING (topic, partition)
    WHERE o.seq = p.seq + 1"""
READ_STANDING = "SELECT standing FROM cases WHERE id = $1"
READ_RECOMMENDED = """
    SELECT leaf_index, created_at FROM outbox
    WHERE topic = 'recommendations' AND key = $1 AND leaf_index IS NOT NULL ORDER BY leaf_index"""


# By the index of just these entries: they are few among very many.
READ_ACTIONS = """
    SELECT log_index, entry FROM leaves WHERE position('"kind":"operator_action"'::bytea IN entry) > 0
    ORDER BY log_index DESC LIMIT $1"""


class Cause(NamedTuple):
    """Refusals with one code: how many, since when, whose, and one of them."""

    code: str
    fault: str
    messages: int
    since: datetime
    last: datetime
    participants: list[str]
    example: dict[str, Any]


class Group(NamedTuple):
    """Refusals with one code, of one participant (None: nobody known): how many, since when, one of them by its id.

    `sent_back` is how many of them their sender was asked to correct.
    """

    code: str
    fault: str
    participant: str | None
    messages: int
    since: datetime
    last: datetime
    example: int
    sent_back: int


class LogState(NamedTuple):
    """How many entries there are, and how many of them the newest checkpoint covers."""

    entries: int
    covered: int
    signed_at: datetime | None


async def read_causes(connection: Connection, participant: str | None = None) -> list[Cause]:
    """Return what was refused and is not resolved, by its cause, the most frequent first."""
    rows = await connection.fetch(COUNT_REFUSED, participant)
    examples = {
        row["id"]: dict(row) for row in await connection.fetch(READ_EXAMPLES, [row["example"] for row in rows])
    }  # fmt: skip
    return [
        Cause(
            row["code"],
            row["fault"],
            row["messages"],
            row["since"],
            row["last"],
            sorted(row["participants"]),
            examples.get(row["example"], {}),
        )
        for row in rows
    ]


async def read_groups(connection: Connection) -> list[Group]:
    """Return what was refused and is not resolved by its code and its participant, the most frequent first."""
    return [Group(*row) for row in await connection.fetch(COUNT_GROUPS)]


async def read_shortest_ways(connection: Connection, sources: Iterable[str]) -> dict[str, timedelta | None]:
    """Return the shortest time that one of each source's newest messages took: less than nothing is its clock's."""
    return {row["source"]: row["way"] for row in await connection.fetch(READ_SHORTEST_WAYS, sorted(sources))}


async def count_deferred(connection: Connection) -> list[dict[str, Any]]:
    """Return what waits for the registry, by its cause."""
    return [dict(row) for row in await connection.fetch(COUNT_DEFERRED)]


async def read_last_heard(connection: Connection, sources: Iterable[str]) -> dict[str, datetime | None]:
    """Return when the newest message of each source was taken in."""
    return {row["source"]: row["received_at"] for row in await connection.fetch(READ_LAST_HEARD, sorted(sources))}


async def read_log(connection: Connection) -> LogState:
    """Return how far the evidence log is."""
    row = await connection.fetchrow(READ_LOG)
    return LogState(0, 0, None) if row is None else LogState(row["next_index"], row["size"] or 0, row["signed_at"])


async def read_waiting_since(connection: Connection) -> datetime | None:
    """Return since when the oldest message that the relay has not noted as sent waits."""
    since: datetime | None = await connection.fetchval(READ_OLDEST_UNCOVERED)
    return since


async def read_standing(connection: Connection, case: str) -> str | None:
    """Return what a case keeps of its last recommendation, as JSON."""
    standing: str | None = await connection.fetchval(READ_STANDING, case)
    return standing


async def read_recommended(connection: Connection, case: str) -> list[tuple[int, datetime]]:
    """Return the leaf and the time of each recommendation and withdrawal of a case, in order."""
    return [(row["leaf_index"], row["created_at"]) for row in await connection.fetch(READ_RECOMMENDED, case)]


async def read_actions(connection: Connection, limit: int) -> list[dict[str, Any]]:
    """Return what operators did by hand, as the evidence log holds it, the newest first."""
    rows = await connection.fetch(READ_ACTIONS, limit)
    return [{"log_index": row["log_index"], **json.loads(row["entry"])} for row in rows]
