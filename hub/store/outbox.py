"""The outbox: what goes out on each stream, in order, and how far Kafka has it.

A stream is one partition of one output topic. Rows are read by cursor and never drained by DELETE, which ruins the
rate. A forward's bytes lie in the inbox and are read by join.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from hub.store.database import Connection

# LATERAL with OFFSET 0 keeps the planner from hashing the whole inbox, or the whole outbox, while its statistics are
# young.
READ_OUTBOX = """
    SELECT r.* FROM unnest($2::int[], $3::bigint[]) AS u (partition, after)
    CROSS JOIN LATERAL (
        SELECT o.partition, o.seq, o.key, o.typ, o.inbox_index IS NULL, COALESCE(o.value, i.value),
               COALESCE(i.jws, s.jws), COALESCE(i.jws_proof, s.jws_proof), o.leaf_index, o.tlog_proof
        FROM outbox o
        LEFT JOIN LATERAL (
            SELECT value, jws, jws_proof FROM inbox WHERE log_index = o.inbox_index OFFSET 0) i ON true
        LEFT JOIN LATERAL (
            SELECT jws, jws_proof FROM outbox_signature
            WHERE topic = o.topic AND partition = o.partition AND seq = o.seq AND o.value IS NOT NULL OFFSET 0
        ) s ON true
        WHERE o.topic = $1 AND o.partition = u.partition AND o.seq > u.after AND o.seq <= u.after + $4
        ORDER BY o.seq OFFSET 0) r"""
STORE_SIGNATURES = """
    INSERT INTO outbox_signature (topic, partition, seq, jws, jws_proof)
    SELECT $1, * FROM unnest($2::int[], $3::bigint[], $4::text[], $5::text[])
    ON CONFLICT DO NOTHING"""
READ_SIGNATURES = """
    SELECT seq, jws, jws_proof FROM outbox_signature WHERE topic = $1 AND partition = $2 AND seq = ANY($3::bigint[])"""
READ_LAST_BATCH = """
    SELECT s.jws FROM outbox_signature s JOIN outbox o USING (topic, partition, seq)
    WHERE topic = $1 AND partition = $2 AND s.jws_proof IS NOT NULL AND o.typ <> 'forward'
    ORDER BY seq DESC LIMIT 1"""
READ_HEADS = "SELECT topic, partition, next_seq - 1 FROM streams"
# What was sent had been signed before; a forward has its own signature, of which nothing follows.
READ_UNSIGNED = """
    SELECT min(o.seq) FROM outbox o LEFT JOIN outbox_signature s USING (topic, partition, seq)
    WHERE o.topic = $1 AND o.partition = $2 AND o.seq > $3 AND o.seq <= $4 AND o.value IS NOT NULL AND s.seq IS NULL"""
READ_POSITIONS = "SELECT partition, seq FROM relay_position WHERE topic = $1"
# A zombie that notes late must not move the note back.
NOTE_POSITIONS = """
    INSERT INTO relay_position (topic, partition, seq)
    SELECT $1, * FROM unnest($2::int[], $3::bigint[])
    ON CONFLICT (topic, partition) DO UPDATE SET seq = EXCLUDED.seq WHERE relay_position.seq < EXCLUDED.seq"""

# The hub speaks on behind what was told before, so that no place of a stream ever says two things.
MOVE_HEAD = """
    INSERT INTO streams (topic, partition, next_seq) VALUES ($1, $2, $3 + 1)
    ON CONFLICT (topic, partition) DO UPDATE SET next_seq = EXCLUDED.next_seq"""
TAKE_OVER = """
    INSERT INTO outbox (topic, partition, seq, created_at, key, typ, value, told_before, tlog_proof)
    SELECT $1, $2, u.seq, $3, u.key, u.typ, u.value, true, u.proof
    FROM unnest($4::bigint[], $5::text[], $6::text[], $7::bytea[], $8::bytea[]) AS u (seq, key, typ, value, proof)"""

CHANNEL = "outbox"
WAKE = f"NOTIFY {CHANNEL}"
# What a notification says that tells of a new checkpoint, and of nothing that would need one.
SIGNED = "signed"


class OutboxRow(NamedTuple):
    """One outgoing message; `jws` is None while the hub has not signed its own event yet, `value` after an erasure.

    A recommendation has the index of its leaf in the evidence log, and before it goes out the proof of it.
    """

    seq: int
    key: str
    typ: str
    own: bool
    value: bytes | None
    jws: str | None
    proof: str | None
    leaf_index: int | None = None
    tlog_proof: bytes | None = None


class StoredSignature(NamedTuple):
    """What the relay signed for one of the hub's own events."""

    seq: int
    jws: str
    proof: str | None


async def read_rows(connection: "Connection", topic: str, partition: int, after: int, limit: int) -> list[OutboxRow]:
    """Return the stream's rows with seq in (after, after + limit], in order; seqs have no gap."""
    return (await read_streams(connection, topic, {partition: after}, limit)).get(partition, [])


async def read_streams(
    connection: "Connection", topic: str, after: Mapping[int, int], limit: int
) -> dict[int, list[OutboxRow]]:
    """Return by partition, as far as there are any, the rows with seq in (after, after + limit], in order."""
    found: dict[int, list[OutboxRow]] = {}
    for partition, *row in await connection.fetch(READ_OUTBOX, topic, list(after), list(after.values()), limit):
        found.setdefault(partition, []).append(OutboxRow(*row))
    for rows in found.values():
        rows.sort(key=attrgetter("seq"))
    return found


async def store_signatures(
    connection: "Connection", topic: str, signatures: Mapping[int, Sequence[StoredSignature]]
) -> dict[int, dict[int, StoredSignature]]:
    """Keep `signatures`, by partition, where there are none yet; return by seq those that count: what was first."""
    flat = [(partition, *signature) for partition, given in signatures.items() for signature in given]
    columns = [list(column) for column in zip(*flat, strict=True)]
    if not flat or await connection.execute(STORE_SIGNATURES, topic, *columns) == f"INSERT 0 {len(flat)}":
        return {partition: {one.seq: one for one in given} for partition, given in signatures.items()}
    return {
        partition: await _read_signatures(connection, topic, partition, [one.seq for one in given])
        for partition, given in signatures.items()
    }


async def _read_signatures(
    connection: "Connection", topic: str, partition: int, seqs: list[int]
) -> dict[int, StoredSignature]:
    rows = await connection.fetch(READ_SIGNATURES, topic, partition, seqs)
    return {row["seq"]: StoredSignature(*row) for row in rows}


async def read_last_batch(connection: "Connection", topic: str, partition: int) -> str | None:
    """Return the batch JWS that the relay signed last for this stream."""
    jws = await connection.fetchval(READ_LAST_BATCH, topic, partition)
    return None if jws is None else str(jws)


async def read_heads(connection: "Connection") -> dict[tuple[str, int], int]:
    """Return the last seq of every stream by (topic, partition)."""
    return {(topic, partition): last for topic, partition, last in await connection.fetch(READ_HEADS)}


async def read_positions(connection: "Connection", topic: str) -> dict[int, int]:
    """Return the last seq of each partition that was noted as committed to Kafka."""
    return {row["partition"]: row["seq"] for row in await connection.fetch(READ_POSITIONS, topic)}


async def find_unsigned(connection: "Connection", topic: str, partition: int, after: int, until: int) -> int | None:
    """Return the first of the hub's own messages with seq in (after, until] that was never signed, or None."""
    seq: int | None = await connection.fetchval(READ_UNSIGNED, topic, partition, after, until)
    return seq


async def note_positions(connection: "Connection", topic: str, positions: dict[int, int]) -> None:
    """Note that Kafka holds each partition of `topic` up to the given seq."""
    await connection.execute(NOTE_POSITIONS, topic, list(positions), list(positions.values()))


async def take_over(
    connection: "Connection", topic: str, partition: int, rows: Sequence[OutboxRow], now: datetime
) -> None:
    """Keep what was told before the database was put back, with its signatures. The log must be locked."""
    columns = zip(*((row.seq, row.key, row.typ, row.value, row.tlog_proof) for row in rows), strict=True)
    await connection.execute(TAKE_OVER, topic, partition, now, *map(list, columns))
    signatures = [StoredSignature(row.seq, row.jws or "", row.proof) for row in rows]
    await store_signatures(connection, topic, {partition: signatures})
    last = rows[-1].seq
    await connection.execute(MOVE_HEAD, topic, partition, last)
    await note_positions(connection, topic, {partition: last})


async def wake(connection: "Connection") -> None:
    """Tell the relays that the outbox has new rows; whoever misses it finds them by polling."""
    await connection.execute(WAKE)
