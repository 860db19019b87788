"""What an auditor takes with him: the originals of one case or billing code, and what the log says of them."""

from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from contracts import merkle
from contracts.log.tile import Hashes, inclusion_stretches, tiles_for
from hub.store import tiles
from hub.store.cases import read_facts
from hub.store.database import Connection

ROWS_PER_FETCH = 2_000
# What a case does not keep, since no decision reads it, names the case as its subject.
READ_FACTS = """
    SELECT facts FROM cases WHERE id = $1
    UNION ALL SELECT facts FROM billing_codes WHERE code = $1 AND case_id IS NULL"""
READ_SUBJECTS = """
    SELECT DISTINCT COALESCE(b.case_id, i.subject) AS subject
    FROM inbox i LEFT JOIN billing_codes b ON b.code = i.subject WHERE i.log_index >= $1 ORDER BY 1"""
READ_CLAIMED = "SELECT case_id IS NOT NULL FROM billing_codes WHERE code = $1"
READ_MESSAGES = """
    SELECT log_index, type, append_time, value, jws, jws_proof FROM inbox
    WHERE log_index = ANY($1::bigint[]) OR subject = $2 ORDER BY log_index"""
READ_RECOMMENDED = """
    SELECT o.leaf_index, o.value, s.jws FROM outbox o LEFT JOIN outbox_signature s USING (topic, partition, seq)
    WHERE o.topic = 'recommendations' AND o.key = $1 AND o.leaf_index IS NOT NULL AND o.value IS NOT NULL
    ORDER BY o.leaf_index"""
READ_ERASED = """
    SELECT leaf_index FROM outbox
    WHERE topic = 'recommendations' AND key = $1 AND leaf_index IS NOT NULL AND value IS NULL"""
READ_ALL_RECOMMENDED = """
    SELECT leaf_index, value FROM outbox
    WHERE topic = 'recommendations' AND leaf_index IS NOT NULL AND value IS NOT NULL ORDER BY leaf_index"""
READ_REGISTRIES = "SELECT log_index, document FROM registry ORDER BY version"
READ_RULE_SETS = "SELECT log_index, document FROM rule_sets ORDER BY log_index"
READ_CONTRACTS = "SELECT log_index FROM contracts WHERE type = ANY($1::text[])"
COUNT_DOCUMENTS = "SELECT (SELECT count(*) FROM rule_sets) + (SELECT count(*) FROM contracts)"
READ_SUSPENSIONS = "SELECT log_index FROM suspensions ORDER BY log_index"
READ_ENTRIES = "SELECT log_index, entry FROM leaves WHERE log_index = ANY($1::bigint[])"
# A payment's id stands in the value of every recommendation that rests on it, word for word.
READ_RESTING = """
    SELECT o.leaf_index, o.value FROM outbox o
    WHERE o.topic = 'recommendations' AND o.leaf_index IS NOT NULL AND o.value IS NOT NULL
        AND EXISTS (SELECT FROM unnest($1::bytea[]) AS one (id) WHERE position(one.id IN o.value) > 0)
    ORDER BY o.leaf_index"""


class Kept(NamedTuple):
    """An accepted message as it is kept, and its fact if decisions read it; `value` is None after an erasure."""

    log_index: int
    type: str
    append_time: datetime
    value: bytes | None
    jws: str
    jws_proof: str | None
    fact: list[Any] | None


async def read_messages(connection: Connection, subject: str) -> list[Kept] | None:
    """Return every accepted message of a case, or of a billing code that no case claims; None if there is neither."""
    if await connection.fetchval(READ_CLAIMED, subject):
        return None
    facts = {
        fact.log_index: fact for text in await connection.fetch(READ_FACTS, subject) for fact in read_facts(text[0])
    }
    rows = await connection.fetch(READ_MESSAGES, list(facts), subject)
    kept = [
        Kept(index, event_type, append_time, value, jws, jws_proof, facts[index].to_json() if index in facts else None)
        for index, event_type, append_time, value, jws, jws_proof in rows
    ]
    return kept or None


async def list_subjects(connection: Connection, since: int = 0) -> list[str]:
    """Return every case, unclaimed billing code or other subject of which something was accepted from an index on."""
    return [row["subject"] for row in await connection.fetch(READ_SUBJECTS, since)]


async def read_recommended(connection: Connection, case: str) -> list[tuple[int, bytes, str | None]]:
    """Return a case's recommendations: log index, value and, once the relay has signed, the signature."""
    return [(row[0], row[1], row[2]) for row in await connection.fetch(READ_RECOMMENDED, case)]


async def read_erased(connection: Connection, case: str) -> set[int]:
    """Return where the entries of a case's recommendations stand whose values were erased."""
    return {row[0] for row in await connection.fetch(READ_ERASED, case)}


async def read_registries(connection: Connection) -> list[tuple[int, str]]:
    """Return every version of the registry at its log index."""
    return [(row[0], row[1]) for row in await connection.fetch(READ_REGISTRIES)]


async def read_rule_sets(connection: Connection) -> list[tuple[int, str]]:
    """Return every rule set at its log index."""
    return [(row[0], row[1]) for row in await connection.fetch(READ_RULE_SETS)]


async def read_contracts(connection: Connection, types: Collection[str]) -> list[int]:
    """Return the log indices of these event types' contracts."""
    return [row[0] for row in await connection.fetch(READ_CONTRACTS, sorted(types))]


async def find_entries(connection: Connection, start: int, wanted: Collection[bytes]) -> list[int]:
    """Return where these entries stand among those that a registry version at `start` brought with it."""
    documents = await connection.fetchval(COUNT_DOCUMENTS)
    behind = await tiles.read_entries(connection, start, 1 + documents + len(wanted))
    return [index for index, entry in enumerate(behind, start) if entry in wanted]


async def read_suspensions(connection: Connection) -> list[int]:
    """Return where every suspension of a key stands in the log."""
    return [row[0] for row in await connection.fetch(READ_SUSPENSIONS)]


async def read_entries(connection: Connection, indices: Collection[int]) -> dict[int, bytes]:
    """Return the entries at these indices."""
    return {row[0]: row[1] for row in await connection.fetch(READ_ENTRIES, sorted(indices))}


async def read_paths(connection: Connection, indices: Iterable[int], size: int) -> dict[int, list[bytes]]:
    """Return the inclusion path of each index in the tree of `size`, computed from tiles."""
    stretches = {index: inclusion_stretches(index, size) for index in indices}
    needed = tiles_for((stretch for found in stretches.values() for stretch in found), size)
    hashes = Hashes(size, await tiles.read_tiles(connection, needed))
    return {index: hashes.path(found) for index, found in stretches.items()}


async def read_root(connection: Connection, size: int) -> bytes:
    """Return the root of the tree of `size`, computed from tiles."""
    needed = tiles_for([(0, size)], size)
    return Hashes(size, await tiles.read_tiles(connection, needed)).root() if size else merkle.EMPTY_ROOT


async def read_resting(connection: Connection, payments: Sequence[str]) -> AsyncIterator[tuple[int, bytes]]:
    """Yield every recommendation, as (log index, value), in whose value one of these payments' ids stands."""
    for row in await connection.fetch(READ_RESTING, [payment.encode() for payment in payments]) if payments else ():
        yield row[0], row[1]


async def stream_recommended(connection: Connection) -> AsyncIterator[tuple[int, bytes]]:
    """Yield every recommendation as (log index, value), in the order of the log."""
    async for row in connection.cursor(READ_ALL_RECOMMENDED, prefetch=ROWS_PER_FETCH):
        yield row[0], row[1]
