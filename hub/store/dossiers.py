"""Dossiers and findings: what was said of each application, followed from the log, and what overseers are shown."""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from jiter import from_json

from contracts.rules.case import Fact
from hub.store.cases import read_facts, write_json
from hub.store.database import Connection

ROWS_PER_FETCH = 500

READ_POSITION = "SELECT next_index FROM oversight_position WHERE id = 1 FOR UPDATE"
READ_HEAD = "SELECT next_index FROM log WHERE id = 1"
MOVE = "UPDATE oversight_position SET next_index = $1 WHERE id = 1"
# A payment belongs to whichever case has claimed its code by now, and else to the code.
READ_SAID = """
    SELECT i.log_index, i.type, i.subject, i.participant, i.value, b.case_id, i.fact
    FROM inbox i LEFT JOIN billing_codes b ON b.code = i.subject
    WHERE i.log_index >= $1 AND i.log_index < $2 ORDER BY i.log_index"""
READ_RECOMMENDED = """
    SELECT DISTINCT ON (leaf_index) leaf_index, value FROM outbox
    WHERE leaf_index >= $1 AND leaf_index < $2 AND topic = 'recommendations' AND value IS NOT NULL
    ORDER BY leaf_index"""
ADD = "INSERT INTO dossiers (subject) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING"
LOCK = "SELECT subject, facts FROM dossiers WHERE subject = ANY($1::text[]) ORDER BY subject FOR UPDATE"
SAVE_FACTS = """
    UPDATE dossiers d SET facts = u.facts, wakes_at = $3, listed = false
    FROM unnest($1::text[], $2::text[]) AS u (subject, facts) WHERE d.subject = u.subject"""
LOCK_AWAKE = """
    SELECT subject, facts, told, groups FROM dossiers WHERE wakes_at <= $1 ORDER BY wakes_at, subject LIMIT $2
    FOR UPDATE"""
SAVE_LOOKED = """
    UPDATE dossiers d
    SET told = u.told, groups = string_to_array(u.groups, E'\\n'), wakes_at = u.wakes_at, listed = u.listed
    FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::bool[])
        AS u (subject, told, groups, wakes_at, listed)
    WHERE d.subject = u.subject"""
TOUCH_GROUPS = "INSERT INTO dossier_groups (name) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING"
TAKE_GROUPS = """
    DELETE FROM dossier_groups WHERE name IN (SELECT name FROM dossier_groups ORDER BY name LIMIT $1) RETURNING name"""
READ_GROUPS = "SELECT subject, facts FROM dossiers WHERE groups && $1::text[] ORDER BY subject"
# A dossier that a bug choked on sleeps no longer than an hour; every other one that is not listed was never looked at
# by a hub that keeps lists.
WAKE_UNLISTED = "UPDATE dossiers SET wakes_at = $1 WHERE NOT listed AND (wakes_at IS NULL OR wakes_at > $2)"
READ_UNLISTED = "SELECT subject FROM dossiers WHERE NOT listed"
READ_SOME = "SELECT subject, facts FROM dossiers WHERE subject = ANY($1::text[])"
READ_ALL = "SELECT subject, facts FROM dossiers ORDER BY subject"
READ_OPEN = (
    "SELECT number, id, scope, lead, name, salt FROM findings WHERE scope = ANY($1::text[]) AND closed_at IS NULL"
)
READ_REVISIONS = "SELECT id, max(revision) FROM findings WHERE id = ANY($1::text[]) GROUP BY id"
ADD_FINDING = """
    INSERT INTO findings (id, revision, scope, finding, subject, rule_set, lead, name, salt, opened_at, opened_index)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"""
CLOSE_FINDING = "UPDATE findings SET closed_at = $2, closed_index = $3 WHERE number = $1"
LIST_FINDINGS = """
    SELECT number, id, revision, finding, subject, rule_set, lead, opened_at, opened_index, closed_at, closed_index
    FROM findings WHERE ($1 OR closed_at IS NULL) AND ($2::text IS NULL OR finding = $2) AND number > $3
    ORDER BY number LIMIT $4"""
LIST_NEWEST = """
    SELECT newest.* FROM unnest($1::text[]) AS wanted (finding) CROSS JOIN LATERAL (
        SELECT number, id, revision, finding, subject, rule_set, lead, opened_at, opened_index, closed_at, closed_index
        FROM findings WHERE finding = wanted.finding AND closed_at IS NULL ORDER BY number DESC LIMIT $2) AS newest"""
COUNT_OPEN = "SELECT finding, count(*) FROM findings WHERE closed_at IS NULL GROUP BY finding"
READ_FINDING = """
    SELECT number, id, revision, finding, subject, rule_set, lead, opened_at, opened_index, closed_at, closed_index
    FROM findings WHERE number = $1"""


class Said(NamedTuple):
    """An accepted message as it is followed; `case` is the one that has its billing code.

    Of an original that was erased before it was followed, `fact` holds what decisions read, if they read it.
    """

    log_index: int
    type: str
    subject: str
    participant: str
    value: bytes | None
    case: str | None
    fact: str | None

    def read_erased(self) -> Fact | None:
        """Return what is left of an erased original, or None."""
        return None if self.fact is None else Fact.from_json(from_json(self.fact.encode()))


class Awake(NamedTuple):
    """A dossier that is to be looked at, under its lock."""

    subject: str
    facts: list[Fact]
    told: dict[str, str]
    groups: list[str]


class Looked(NamedTuple):
    """A dossier after the look; `listed`: the lists say what it says."""

    subject: str
    told: Mapping[str, str]
    groups: Sequence[str]
    wakes_at: datetime | None
    listed: bool


class OpenFinding(NamedTuple):
    """A finding that is open."""

    number: int
    id: str
    scope: str
    lead: str
    name: str
    salt: bytes


async def read_stretch(connection: Connection, limit: int) -> tuple[int, int]:
    """Lock the position; return the stretch of the log that is to be followed next, at most `limit` entries."""
    position = int(await connection.fetchval(READ_POSITION))
    # Every transaction holds the log's row until its end, so that everything below the head is there.
    head = int(await connection.fetchval(READ_HEAD))
    return position, max(position, min(position + limit, head))


async def move(connection: Connection, next_index: int) -> None:
    """Note how far the log has been followed."""
    await connection.execute(MOVE, next_index)


async def read_said(connection: Connection, start: int, end: int) -> list[Said]:
    """Return the accepted messages of a stretch of the log."""
    return [Said(*row) for row in await connection.fetch(READ_SAID, start, end)]


async def read_recommended(connection: Connection, start: int, end: int) -> list[tuple[int, bytes]]:
    """Return the recommendations of a stretch of the log, as (log index, value)."""
    return [(row[0], row[1]) for row in await connection.fetch(READ_RECOMMENDED, start, end)]


async def lock(connection: Connection, subjects: Collection[str]) -> dict[str, list[Fact]]:
    """Lock these dossiers in order, made where absent, and return their facts."""
    ordered = sorted(subjects)
    await connection.execute(ADD, ordered)
    return {subject: read_facts(facts) for subject, facts in await connection.fetch(LOCK, ordered)}


async def save_facts(connection: Connection, facts: Mapping[str, Iterable[Fact]], now: datetime) -> None:
    """Write dossiers that are locked; each is to be looked at now."""
    texts = [write_json([fact.to_json() for fact in of_one]) for of_one in facts.values()]
    await connection.execute(SAVE_FACTS, list(facts), texts, now)


async def lock_awake(connection: Connection, now: datetime, limit: int) -> list[Awake]:
    """Lock and return up to `limit` dossiers that are to be looked at."""
    rows = await connection.fetch(LOCK_AWAKE, now, limit)
    return [
        Awake(subject, read_facts(facts), from_json(told.encode()), list(groups))
        for subject, facts, told, groups in rows
    ]


async def save_looked(connection: Connection, looked: Sequence[Looked]) -> None:
    """Write what a look came to, and note the groups of the files, which are to be judged anew."""
    columns = [
        [one.subject for one in looked],
        [write_json(one.told) for one in looked],
        ["\n".join(one.groups) for one in looked],
        [one.wakes_at for one in looked],
        [one.listed for one in looked],
    ]
    await connection.execute(SAVE_LOOKED, *columns)


async def touch_groups(connection: Connection, names: Iterable[str]) -> None:
    """Note groups that are to be judged anew."""
    await connection.execute(TOUCH_GROUPS, sorted(set(names)))


async def take_groups(connection: Connection, limit: int) -> list[str]:
    """Take up to `limit` groups that are to be judged."""
    return sorted(row[0] for row in await connection.fetch(TAKE_GROUPS, limit))


async def read_groups(connection: Connection, names: Collection[str]) -> list[tuple[str, list[Fact]]]:
    """Return the dossiers of these groups."""
    rows = await connection.fetch(READ_GROUPS, sorted(names))
    return [(subject, read_facts(facts)) for subject, facts in rows]


async def wake_unlisted(connection: Connection, now: datetime, sleeping_until: datetime) -> None:
    """Let every dossier be looked at that no list knows and that would sleep longer than until then."""
    await connection.execute(WAKE_UNLISTED, now, sleeping_until)


async def read_unlisted(connection: Connection) -> list[str]:
    """Return the dossiers of which the lists do not say what they say."""
    return [row[0] for row in await connection.fetch(READ_UNLISTED)]


async def read_some(connection: Connection, subjects: Collection[str]) -> list[tuple[str, list[Fact]]]:
    """Return these dossiers."""
    return [(row[0], read_facts(row[1])) for row in await connection.fetch(READ_SOME, list(subjects))]


async def stream_all(connection: Connection) -> AsyncIterator[tuple[str, list[Fact]]]:
    """Yield every dossier; the connection must be in a transaction."""
    async for subject, facts in connection.cursor(READ_ALL, prefetch=ROWS_PER_FETCH):
        yield subject, read_facts(facts)


async def read_open(connection: Connection, scopes: Collection[str]) -> list[OpenFinding]:
    """Return the open findings of these scopes."""
    return [OpenFinding(*row) for row in await connection.fetch(READ_OPEN, sorted(scopes))]


async def read_revisions(connection: Connection, ids: Collection[str]) -> dict[str, int]:
    """Return the last revision of each finding that was ever opened."""
    return {row[0]: row[1] for row in await connection.fetch(READ_REVISIONS, sorted(ids))}


async def add_finding(connection: Connection, *values: Any) -> None:
    """Open a finding, with the values of ADD_FINDING in order."""
    await connection.execute(ADD_FINDING, *values)


async def close_finding(connection: Connection, number: int, now: datetime, index: int) -> None:
    """Close a finding."""
    await connection.execute(CLOSE_FINDING, number, now, index)


async def list_findings(
    connection: Connection, *, closed: bool, finding: str | None = None, after: int = 0, limit: int | None = None
) -> list[dict[str, Any]]:
    """Return the findings that are open, and with `closed` those that are over too, behind the number `after`."""
    return [_show(row) for row in await connection.fetch(LIST_FINDINGS, closed, finding, after, limit)]


async def list_newest(connection: Connection, findings: Collection[str], limit: int) -> list[dict[str, Any]]:
    """Return of each of these findings the newest that are open, at most `limit`."""
    return [_show(row) for row in await connection.fetch(LIST_NEWEST, list(findings), limit)]


async def count_open(connection: Connection) -> dict[str, int]:
    """Return how many of each finding are open."""
    return {row[0]: row[1] for row in await connection.fetch(COUNT_OPEN)}


async def read_finding(connection: Connection, number: int) -> dict[str, Any] | None:
    """Return a finding, or None."""
    row = await connection.fetchrow(READ_FINDING, number)
    return None if row is None else _show(row)


def _show(row: Any) -> dict[str, Any]:
    shown = dict(row)
    state = "open" if shown["closed_at"] is None else "closed"
    return shown | {"state": state, "lead": from_json(shown["lead"].encode())}
