"""Where originals lie, and how they go: inbox, outbox, quarantine, deferred records, and what cases repeat of them.

What no statement here touches holds no personal data: facts of decisions, standings, differences, reports, leaves.
`tests/hub/test_erasure.py` looks for a person in a dump of the whole database.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from hub.store.database import Connection

# A worker's reference stands in the messages alone; those that name it belong to the cases of their subjects.
FIND_CASES_OF_WORKERS = """
    SELECT DISTINCT subject FROM inbox
    WHERE value IS NOT NULL AND type LIKE 'id.tka.ministry.%'
        AND convert_from(value, 'UTF8')::jsonb #>> '{data,worker}' = ANY($1::text[])"""
# What an approval says of a person, the case and its recommendations repeat.
FIND_MESSAGES = """
    SELECT i.log_index, i.subject, i.type FROM inbox i
    JOIN unnest($1::text[], $2::text[]) AS u (source, id) ON i.source = u.source AND i.id = u.id"""
FIND_ORIGINALS = """
    SELECT i.log_index FROM inbox i
    WHERE i.value IS NOT NULL AND (i.log_index = ANY($2::bigint[]) OR i.subject = ANY($1::text[]) OR i.subject IN (
        SELECT code FROM billing_codes WHERE case_id = ANY($1::text[]))) ORDER BY 1"""
READ_FACTS = """
    SELECT fact ->> 6 AS log_index, fact::text AS fact
    FROM (SELECT facts FROM cases UNION ALL SELECT facts FROM billing_codes) AS kept,
        json_array_elements(kept.facts::json) AS one (fact)
    WHERE (fact ->> 6)::bigint = ANY($1::bigint[])"""
ERASE_ORIGINALS = """
    UPDATE inbox i SET value = NULL, erased_at = $3, fact = u.fact
    FROM unnest($1::bigint[], $2::text[]) AS u (log_index, fact) WHERE i.log_index = u.log_index"""
ERASE_SAID = """
    UPDATE outbox SET value = NULL, erased_at = $2, tlog_proof = NULL
    WHERE value IS NOT NULL AND (key = ANY($1::text[]) OR key IN (
        SELECT code FROM billing_codes WHERE case_id = ANY($1::text[])))"""
ERASE_FORWARDS = "UPDATE outbox SET inbox_index = NULL, erased_at = $2 WHERE inbox_index = ANY($1::bigint[])"
ERASE_PERSONAL = "UPDATE cases SET personal = NULL WHERE id = ANY($1::text[]) AND personal IS NOT NULL"
# A refused record may hold anything, so everything that names the case or the message goes.
FIND_PARKED = """
    SELECT id, value, EXISTS (SELECT FROM unnest($2::text[], $3::text[]) AS u (source, id)
        WHERE q.source = u.source AND q.event_id = u.id) AS ordered
    FROM quarantine q WHERE erased_at IS NULL AND (
        EXISTS (SELECT FROM unnest($1::text[]) AS c (name) WHERE position(convert_to(c.name, 'UTF8') IN q.value) > 0)
        OR EXISTS (SELECT FROM unnest($2::text[], $3::text[]) AS u (source, id)
            WHERE q.source = u.source AND q.event_id = u.id))
    FOR UPDATE"""
ERASE_PARKED = """
    UPDATE quarantine SET key = NULL, value = NULL, headers = '[]', salt = NULL, traceback = NULL, erased_at = $2
    WHERE id = ANY($1::bigint[])"""
# A deferred record keeps its place, and is refused as empty when its time comes.
FIND_DEFERRED = """
    SELECT topic_id, partition, "offset", value FROM deferred d WHERE value IS NOT NULL AND EXISTS (
        SELECT FROM unnest($1::text[]) AS c (name) WHERE position(convert_to(c.name, 'UTF8') IN d.value) > 0)
    FOR UPDATE"""
ERASE_DEFERRED = """
    UPDATE deferred d SET key = NULL, value = NULL, headers = '[]'
    FROM unnest($1::text[], $2::int[], $3::bigint[]) AS u (topic_id, partition, "offset")
    WHERE d.topic_id = u.topic_id AND d.partition = u.partition AND d."offset" = u."offset\""""
FIND_STREAMS = """
    SELECT DISTINCT partition, key FROM outbox
    WHERE topic = 'recommendations' AND key = ANY($1::text[]) AND typ = 'recommendation' ORDER BY 1, 2"""
# Whoever said it, or was told of it, may still hold it.
FIND_HOLDERS = """
    SELECT participant FROM inbox WHERE log_index = ANY($1::bigint[])
    UNION SELECT substr(topic, 4) FROM outbox WHERE topic LIKE 'to.%' AND (
        inbox_index = ANY($1::bigint[]) OR key = ANY($2::text[]) OR key IN (
            SELECT code FROM billing_codes WHERE case_id = ANY($2::text[])))"""
ADD_TOMBSTONES = """
    INSERT INTO outbox (topic, partition, seq, created_at, key, typ, erased_at)
    SELECT 'recommendations', u.partition, u.seq, $4, u.key, 'tombstone', $4
    FROM unnest($1::int[], $2::bigint[], $3::text[]) AS u (partition, seq, key)"""
ADD_ERASURE = """
    INSERT INTO erasures (sha256, document, log_index, erased_at, messages, gone_at) VALUES ($1, $2, $3, $4, $5, $6)"""
READ_ERASURES = "SELECT sha256, log_index, erased_at, messages, gone_at FROM erasures ORDER BY log_index"
KNOWS = "SELECT 1 FROM erasures WHERE sha256 = $1"


class Reach(NamedTuple):
    """What an order reaches: cases whose every copy goes, and originals by log index."""

    cases: Sequence[str]
    originals: Sequence[int]


class Erased(NamedTuple):
    """An order that was carried out; `gone_at` is when topics hold nothing of it any more, at the latest."""

    sha256: str
    log_index: int
    erased_at: datetime
    messages: int
    gone_at: datetime


class Counts(NamedTuple):
    """How many rows of each kind went, or would go."""

    originals: int
    said: int
    personal: int
    quarantined: int
    deferred: int


async def find(
    connection: "Connection", messages: Sequence[tuple[str, str]], cases: Sequence[str], workers: Sequence[str],
    repeated: Sequence[str],
) -> Reach:  # fmt: skip
    """Return what an order reaches; `repeated` are the types whose data their case repeats."""
    concerned = set(cases)
    if workers:
        concerned.update(row["subject"] for row in await connection.fetch(FIND_CASES_OF_WORKERS, list(workers)))
    sources, identities = [source for source, _ in messages], [identity for _, identity in messages]
    single = await connection.fetch(FIND_MESSAGES, sources, identities) if messages else []
    indices = [row["log_index"] for row in single]
    for row in single:
        if row["type"] in repeated:
            concerned.add(row["subject"])
    facts = await connection.fetch(
        "SELECT fact ->> 6 AS log_index FROM cases, json_array_elements(facts::json) AS one (fact)"
        " WHERE id = ANY($1::text[])",
        sorted(concerned),
    )
    indices += [int(row["log_index"]) for row in facts]
    found = await connection.fetch(FIND_ORIGINALS, sorted(concerned), indices)
    return Reach(sorted(concerned), [row["log_index"] for row in found])


async def erase(connection: "Connection", reach: Reach, messages: Sequence[tuple[str, str]], now: datetime) -> Counts:
    """Take out everything that an order reaches; a second time there is nothing left to take."""
    kept = {int(row["log_index"]): row["fact"] for row in await connection.fetch(READ_FACTS, list(reach.originals))}
    facts = [kept.get(index) for index in reach.originals]
    cases, originals = list(reach.cases), list(reach.originals)
    sources, identities = [source for source, _ in messages], [identity for _, identity in messages]
    statuses = [
        await connection.execute(ERASE_ORIGINALS, originals, facts, now),
        await connection.execute(ERASE_SAID, cases, now),
        await connection.execute(ERASE_PERSONAL, cases),
        await _erase_parked(connection, cases, sources, identities, now),
        await _erase_deferred(connection, cases),
    ]
    await connection.execute(ERASE_FORWARDS, originals, now)
    return Counts(*(int(status.rpartition(" ")[2]) for status in statuses))


async def _erase_parked(
    connection: "Connection", cases: list[str], sources: list[str], identities: list[str], now: datetime
) -> str:
    found = await connection.fetch(FIND_PARKED, cases, sources, identities)
    named = [row["id"] for row in found if row["ordered"] or names_any(row["value"] or b"", cases)]
    return str(await connection.execute(ERASE_PARKED, named, now))


async def _erase_deferred(connection: "Connection", cases: list[str]) -> str:
    found = await connection.fetch(FIND_DEFERRED, cases)
    named = [row for row in found if names_any(row["value"], cases)]
    places = [[row[name] for row in named] for name in ("topic_id", "partition", "offset")]
    return str(await connection.execute(ERASE_DEFERRED, *places))


def names_any(value: bytes, cases: Sequence[str]) -> bool:
    """Whether bytes of any form name one of these cases; where its number goes on it is another case's."""
    names = (re.escape(case.encode()) for case in cases)
    return any(re.search(rb"(?<![A-Z0-9])" + name + rb"(?![A-Z0-9]|[/.-][A-Z0-9])", value) for name in names)


async def find_holders(connection: "Connection", reach: Reach) -> frozenset[str]:
    """Return the participants that said or were told what an order reaches; asked before it is erased."""
    rows = await connection.fetch(FIND_HOLDERS, list(reach.originals), list(reach.cases))
    return frozenset(row[0] for row in rows)


async def find_tombstones(connection: "Connection", cases: Sequence[str]) -> list[tuple[int, str]]:
    """Return (partition, key) of each key of the compacted topic under which a recommendation stands."""
    return [(row["partition"], row["key"]) for row in await connection.fetch(FIND_STREAMS, list(cases))]


async def add_tombstones(connection: "Connection", places: Sequence[tuple[int, int, str]], now: datetime) -> None:
    """Place (partition, seq, key): an empty value, after which compaction keeps nothing under the key."""
    if places:
        await connection.execute(ADD_TOMBSTONES, *map(list, zip(*places, strict=True)), now)


async def keep(connection: "Connection", erased: Erased, document: str) -> None:
    """Keep an order that was carried out."""
    sha256, log_index, erased_at, messages, gone_at = erased
    await connection.execute(ADD_ERASURE, sha256, document, log_index, erased_at, messages, gone_at)


async def knows(connection: "Connection", sha256: str) -> bool:
    """Whether an order was carried out."""
    return await connection.fetchval(KNOWS, sha256) is not None


async def list_erased(connection: "Connection") -> list[Erased]:
    """Return every order that was carried out, the oldest first."""
    return [Erased(*row) for row in await connection.fetch(READ_ERASURES)]
