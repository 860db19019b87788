"""What fsck reads: everything, in the order of the log, a bounded stretch at a time."""

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import asyncpg

from hub.store.database import Connection

ROWS_PER_FETCH = 2_000

READ_LOG = "SELECT origin, next_index FROM log WHERE id = 1"
READ_RULE_SETS = "SELECT log_index, id, version, sha256, document FROM rule_sets ORDER BY log_index"
READ_CONTRACTS = "SELECT log_index, type, sha256 FROM contracts ORDER BY log_index"
READ_FINDINGS = """
    SELECT name, salt, lead, opened_at, opened_index, closed_at, closed_index FROM findings ORDER BY number"""
READ_REGISTRIES = "SELECT log_index, version, document FROM registry ORDER BY log_index"
READ_SUSPENSIONS = "SELECT log_index, act, sha256 FROM suspensions ORDER BY log_index"
READ_REGISTRY_IN_FORCE = "SELECT document FROM registry ORDER BY version DESC LIMIT 1"
READ_VERSIONS = """
    SELECT registry_version AS noted, (SELECT COALESCE(max(version), 0) FROM registry) AS newest,
        suspensions AS suspensions_noted, (SELECT count(*) FROM suspensions) AS suspensions
    FROM log WHERE id = 1"""
READ_OTHER_LEAVES = """
    SELECT log_index, entry FROM leaves l
    WHERE NOT EXISTS (SELECT FROM inbox i WHERE i.log_index = l.log_index)
        AND NOT EXISTS (SELECT FROM quarantine q WHERE q.log_index = l.log_index)
        AND NOT EXISTS (SELECT FROM outbox o WHERE o.topic = 'recommendations' AND o.leaf_index = l.log_index)
    ORDER BY log_index"""
READ_SPOKEN = """
    SELECT o.topic, o.partition, o.seq, o.key, o.value, s.jws, s.jws_proof
    FROM outbox o LEFT JOIN outbox_signature s USING (topic, partition, seq)
    WHERE o.value IS NOT NULL AND NOT o.told_before ORDER BY 1, 2, 3"""
COUNT_LEAVES = "SELECT count(*), COALESCE(min(log_index), 0), COALESCE(max(log_index), -1) FROM leaves"
READ_ACCEPTED = """
    SELECT i.log_index, i.source, i.id, i.type, i.participant, i.kid, i.subject, i.sequence, i.time, i.identity,
        i.digest, i.value, i.jws, i.jws_proof, i.received_at, i.topic_id, i.partition, i."offset", i.fact, l.entry
    FROM inbox i LEFT JOIN leaves l USING (log_index) ORDER BY i.log_index"""
READ_PARKED = """
    SELECT q.id, q.code, q.salt, q.value, q.topic, q.partition, q."offset", q.participant, q.received_at, q.log_index,
        q.erased_at, q.source, q.sequence, l.entry
    FROM quarantine q LEFT JOIN leaves l USING (log_index) ORDER BY q.log_index"""
READ_TIMERS = """
    SELECT log_index, entry FROM leaves
    WHERE position('"kind":"timer"'::bytea IN entry) > 0 OR position('"action":"close_difference"'::bytea IN entry) > 0
    ORDER BY log_index"""
READ_DIFFERENCES = """
    SELECT id, revision, key, kind, participant, state, application, payment_source, payment_id, amount, currency,
        paid_on, opened_at, closed_at, statement, explanations, opened_index, closed_index
    FROM differences ORDER BY id, revision"""
READ_REPORTS = """
    SELECT participant, day, revision, log_size, sha256, document FROM reconciliation_reports
    ORDER BY participant, day, revision"""
READ_COUNTS = """
    SELECT participant, day, first_index, log_size, document FROM day_counts ORDER BY participant, day"""
READ_LOOKUP_DAYS = "SELECT day, root, log_index, closed_at FROM lookup_days"
READ_REGISTER = """
    SELECT application, entry, unit, kanim, regencies, begins_on, last_day, differs_from
    FROM register ORDER BY application"""
READ_FOLLOWED_TO = "SELECT next_index FROM oversight_position WHERE id = 1"
READ_FOLLOWED = """
    SELECT log_index, type, subject, participant, value FROM inbox WHERE log_index < $1 ORDER BY log_index"""
READ_FOLLOWED_RECOMMENDATIONS = """
    SELECT DISTINCT ON (leaf_index) leaf_index, key, value FROM outbox
    WHERE leaf_index < $1 AND topic = 'recommendations' ORDER BY leaf_index, value"""
READ_DOSSIERS = "SELECT subject, facts, listed FROM dossiers ORDER BY subject"
READ_MONTHS = """
    SELECT m.month, m.log_size, m.log_root, m.rule_sets, m.counted_at, m.figures, c.note
    FROM monthly_statistics m LEFT JOIN checkpoints c ON c.size = m.log_size WHERE m.final ORDER BY m.month"""
READ_CLAIMS = "SELECT code, case_id FROM billing_codes WHERE case_id IS NOT NULL"
READ_CASES = "SELECT id, facts, personal, standing, told, rule_set FROM cases ORDER BY id"
READ_CODES = "SELECT code, case_id, facts, told FROM billing_codes ORDER BY code"
READ_RECOMMENDED = """
    SELECT o.partition, o.seq, o.key, o.value, o.leaf_index, l.entry
    FROM outbox o LEFT JOIN leaves l ON l.log_index = o.leaf_index
    WHERE o.topic = 'recommendations' AND NOT o.told_before AND o.typ <> 'tombstone' ORDER BY o.leaf_index"""

# Each of these finds what breaks one invariant; no row is what one hopes for.
GAPS = """
    SELECT w.topic, w.partition, i.from_offset AS found, i.expected FROM watermark w JOIN (
        SELECT topic_id, partition, from_offset, COALESCE(lag(to_offset)
            OVER (PARTITION BY topic_id, partition ORDER BY from_offset), 0) AS expected
        FROM watermark_interval) i USING (topic_id, partition)
    WHERE i.from_offset <> i.expected ORDER BY 1, 2, 3"""
ENDS = """
    SELECT w.topic, w.partition, w.next AS found, COALESCE(max(i.to_offset), 0) AS expected
    FROM watermark w LEFT JOIN watermark_interval i USING (topic_id, partition)
    GROUP BY w.topic_id, w.topic, w.partition, w.next HAVING w.next <> COALESCE(max(i.to_offset), 0) ORDER BY 1, 2"""
STREAMS = """
    SELECT COALESCE(s.topic, o.topic) AS topic, COALESCE(s.partition, o.partition) AS partition,
        o.count AS found, s.next_seq - 1 AS expected
    FROM streams s FULL JOIN (
        SELECT topic, partition, count(*), min(seq) AS first, max(seq) AS last FROM outbox GROUP BY 1, 2) o
        USING (topic, partition)
    WHERE o.count IS DISTINCT FROM s.next_seq - 1 OR o.first <> 1 OR o.last IS DISTINCT FROM s.next_seq - 1
    ORDER BY 1, 2"""
DANGLING = """
    SELECT o.topic, o.partition, o.seq FROM outbox o LEFT JOIN inbox i ON i.log_index = o.inbox_index
    WHERE o.inbox_index IS NOT NULL AND i.log_index IS NULL ORDER BY 1, 2, 3"""
TWICE = """
    SELECT q.topic, q.partition, q."offset" FROM quarantine q JOIN inbox i USING (topic_id, partition, "offset")
    WHERE q.resolved_at IS NULL
    UNION ALL
    SELECT d.topic, d.partition, d."offset" FROM deferred d JOIN (
        SELECT topic_id, partition, "offset" FROM inbox
        UNION ALL SELECT topic_id, partition, "offset" FROM quarantine) x USING (topic_id, partition, "offset")
    ORDER BY 1, 2, 3"""
OUTSIDE = """
    SELECT w.topic, w.partition, x."offset" FROM watermark w JOIN (
        SELECT topic_id, partition, "offset" FROM inbox UNION ALL SELECT topic_id, partition, "offset" FROM quarantine
        UNION ALL SELECT topic_id, partition, "offset" FROM deferred) x USING (topic_id, partition)
    WHERE NOT EXISTS (
        SELECT FROM watermark_interval i WHERE i.topic_id = x.topic_id AND i.partition = x.partition
            AND i.kind = 'consumed' AND x."offset" >= i.from_offset AND x."offset" < i.to_offset)
    ORDER BY 1, 2, 3"""

INVARIANTS: dict[str, tuple[str, str]] = {
    "positions_gap": (GAPS, "the stretch at {found} should begin at {expected}"),
    "positions_end": (ENDS, "it stands at {found}, its stretches end at {expected}"),
    "stream_gap": (STREAMS, "{found} messages where hub-seq says {expected}"),
    "forward_dangling": (DANGLING, "hub-seq {seq} forwards a message that the inbox does not hold"),
    "disposition_twice": (TWICE, "offset {offset} has two dispositions"),
    "offset_outside": (OUTSIDE, "offset {offset} has a disposition but was never consumed"),
}


class LogState(NamedTuple):
    """The log's row, and what the leaves say of it."""

    origin: str
    next_index: int
    leaves: int
    first: int
    last: int


async def read_log(connection: Connection) -> LogState:
    """Return the log's row with the number, the first and the last index of its leaves."""
    head = await connection.fetchrow(READ_LOG)
    leaves = await connection.fetchrow(COUNT_LEAVES)
    if head is None or leaves is None:
        raise RuntimeError("The log has no row: the schema is damaged.")
    return LogState(head[0], head[1], leaves[0], leaves[1], leaves[2])


async def read_followed(connection: Connection) -> int:
    """Return up to which place the overseer has followed the log."""
    return int(await connection.fetchval(READ_FOLLOWED_TO))


async def read_rule_sets(connection: Connection) -> list[tuple[int, str]]:
    """Return every rule set's document with the log index from which on it was there."""
    return [(row["log_index"], row["document"]) for row in await connection.fetch(READ_RULE_SETS)]


async def read_timers(connection: Connection) -> list[tuple[int, bytes]]:
    """Return the leaves of the deadlines that passed, and of the differences that operators closed."""
    return [(row["log_index"], row["entry"]) for row in await connection.fetch(READ_TIMERS)]


async def read_claims(connection: Connection) -> dict[str, str]:
    """Return the case of every claimed billing code."""
    return {row["code"]: row["case_id"] for row in await connection.fetch(READ_CLAIMS)}


async def stream(connection: Connection, query: str, *values: Any) -> AsyncIterator[asyncpg.Record]:
    """Yield the rows of a query a stretch at a time; the connection must be in a transaction."""
    async for row in connection.cursor(query, *values, prefetch=ROWS_PER_FETCH):
        yield row


async def find_breaches(connection: Connection) -> list[tuple[str, str, str]]:
    """Return (kind, subject, detail) for every row that breaks one of INVARIANTS."""
    breaches = []
    for kind, (query, sentence) in INVARIANTS.items():
        for row in await connection.fetch(query):
            values: dict[str, Any] = dict(row)
            breaches.append((kind, f"{values['topic']}/{values['partition']}", sentence.format(**values)))
    return breaches
