"""How far each input partition has been consumed: the row that a partition's owner must move to commit anything."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from hub.store.database import Connection

OPEN = "INSERT INTO watermark (topic_id, partition, topic, next) VALUES ($1, $2, $3, 0) ON CONFLICT DO NOTHING"
READ = "SELECT next FROM watermark WHERE topic_id = $1 AND partition = $2"
# `next = from` is the whole protection against a superseded owner, whatever that owner believes.
MOVE = """
    WITH moved AS (
        UPDATE watermark SET next = $4 WHERE topic_id = $1 AND partition = $2 AND next = $3 RETURNING topic_id)
    INSERT INTO watermark_interval (topic_id, partition, from_offset, to_offset, kind, received_at)
    SELECT topic_id, $2, $3, $4, $5, $6 FROM moved RETURNING 1"""
# Locked in one order, so that two who believe to own the same partitions wait for one another instead of in a ring.
MOVE_TOGETHER = """
    WITH wanted AS (
        SELECT * FROM unnest($1::text[], $2::int[], $3::bigint[], $4::bigint[])
            AS u (topic_id, partition, start, behind)),
    held AS MATERIALIZED (
        SELECT w.topic_id, w.partition, wanted.start, wanted.behind
        FROM watermark w JOIN wanted USING (topic_id, partition)
        WHERE w.next = wanted.start ORDER BY w.topic_id, w.partition FOR UPDATE OF w),
    moved AS (
        UPDATE watermark w SET next = held.behind FROM held
        WHERE w.topic_id = held.topic_id AND w.partition = held.partition AND w.next = held.start
        RETURNING w.topic_id, w.partition, held.start, held.behind)
    INSERT INTO watermark_interval (topic_id, partition, from_offset, to_offset, kind, received_at)
    SELECT topic_id, partition, start, behind, $5, $6 FROM moved RETURNING 1"""
READ_IDS = "SELECT DISTINCT topic_id FROM watermark WHERE topic = $1"


class Superseded(Exception):
    """Another owner has moved this partition on: this batch is theirs, or was."""


async def open_partition(connection: Connection, topic_id: str, partition: int, topic: str) -> int:
    """Return the offset from which a partition is to be consumed; a new one starts at 0."""
    await connection.execute(OPEN, topic_id, partition, topic)
    return await read(connection, topic_id, partition)


async def read(connection: Connection, topic_id: str, partition: int) -> int:
    """Return the offset up to which a partition has been consumed."""
    return int(await connection.fetchval(READ, topic_id, partition))


async def move(
    connection: Connection, topic_id: str, partition: int, start: int, end: int, kind: str, now: datetime
) -> None:
    """Consume offsets `start` to `end` (exclusive), or note them as lost; locks the partition's row.

    Raises Superseded if the partition does not stand at `start`.
    """
    if await connection.fetchval(MOVE, topic_id, partition, start, end, kind, now) is None:
        raise Superseded(f"partition {partition} no longer stands at {start}")


class Stretch(NamedTuple):
    """The offsets `start` to `end` (exclusive) of one partition."""

    topic_id: str
    partition: int
    start: int
    end: int


async def consume_together(connection: Connection, stretches: Sequence[Stretch], now: datetime) -> None:
    """Consume a stretch of each of several partitions, all or none; locks their rows.

    Raises Superseded if one of the partitions does not stand at its start.
    """
    columns = [list(column) for column in zip(*stretches, strict=True)]
    moved = await connection.fetch(MOVE_TOGETHER, *columns, "consumed", now)
    if len(moved) != len(stretches):
        raise Superseded(f"{len(stretches) - len(moved)} of {len(stretches)} partitions stand elsewhere")


async def read_topic_ids(connection: Connection, topic: str) -> Sequence[str]:
    """Return the ids under which records of a logical topic were ever consumed."""
    return [row["topic_id"] for row in await connection.fetch(READ_IDS, topic)]
