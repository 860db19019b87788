"""The log's one row, the last lock of every transaction, and what is written under it: leaves, places, outbox."""

from collections.abc import Iterable, Mapping, Sequence

from hub.routes import Stream
from hub.seal import OutboxRow
from hub.store.database import Connection
from hub.store.registry import Stand

# What holds of keys is checked under the lock, so that no message gets an index on the wrong side of a revocation.
RESERVE = """
    UPDATE log SET next_index = next_index + $1 WHERE id = 1 AND registry_version = $2 AND suspensions = $3
    RETURNING next_index - $1"""
RESERVE_PLACES = """
    INSERT INTO streams AS s (topic, partition, next_seq)
    SELECT topic, partition, 1 + count FROM unnest($1::text[], $2::int[], $3::bigint[]) AS u (topic, partition, count)
    ON CONFLICT (topic, partition) DO UPDATE SET next_seq = s.next_seq + EXCLUDED.next_seq - 1
    RETURNING topic, partition, next_seq"""


class RegistryChanged(Exception):
    """The registry is not the one by which this batch was admitted: it must be judged again."""


async def reserve(connection: Connection, leaves: int, stand: Stand) -> int:
    """Lock the log for the rest of the transaction, and return the first of `leaves` log indices.

    Raises RegistryChanged if another registry or suspension than those of `stand` is in force.
    """
    base = await connection.fetchval(RESERVE, leaves, *stand)
    if base is None:
        raise RegistryChanged
    return int(base)


async def reserve_places(connection: Connection, counts: Mapping[Stream, int]) -> dict[Stream, int]:
    """Return the first of so many hub-seqs on each stream. The log must be locked."""
    if not counts:
        return {}
    topics, partitions = [stream.topic for stream in counts], [stream.partition for stream in counts]
    rows = await connection.fetch(RESERVE_PLACES, topics, partitions, list(counts.values()))
    return {
        Stream(topic, partition): following - counts[Stream(topic, partition)] for topic, partition, following in rows
    }


async def add_leaves(connection: Connection, base: int, entries: Sequence[bytes]) -> None:
    """Write evidence leaves from `base` on. The log must be locked."""
    if entries:
        records = list(enumerate(entries, base))
        await connection.copy_records_to_table("leaves", records=records, columns=("log_index", "entry"))


async def add_outbox(connection: Connection, rows: Iterable[OutboxRow]) -> None:
    """Write what goes out, at the places reserved for it."""
    records = list(rows)
    if records:
        await connection.copy_records_to_table("outbox", records=records, columns=OutboxRow._fields)
