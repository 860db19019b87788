"""How far each input partition has been consumed: the row that a partition's owner must move to commit anything."""

from collections.abc import Sequence
from datetime import datetime

from hub.store.database import Connection

OPEN = "INSERT INTO watermark (topic_id, partition, topic, next) VALUES ($1, $2, $3, 0) ON CONFLICT DO NOTHING"
READ = "SELECT next FROM watermark WHERE topic_id = $1 AND partition = $2"
# `next = from` is the whole protection against a superseded owner, whatever that owner believes.
MOVE = """
    WITH moved AS (
        UPDATE watermark SET next = $4 WHERE topic_id = $1 AND partition = $2 AND next = $3 RETURNING topic_id)
    INSERT INTO watermark_interval (topic_id, partition, from_offset, to_offset, kind, received_at)
    SELECT topic_id, $2, $3, $4, $5, $6 FROM moved RETURNING 1"""
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


async def read_topic_ids(connection: Connection, topic: str) -> Sequence[str]:
    """Return the ids under which records of a logical topic were ever consumed."""
    return [row["topic_id"] for row in await connection.fetch(READ_IDS, topic)]
