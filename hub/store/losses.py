"""Stretches of input partitions that were lost to retention, and what operators said of them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from hub.store.database import Connection

LIST = """
    SELECT w.topic, i.partition, i.from_offset, i.to_offset, i.received_at AS noted_at, a.acknowledged_at, a.actor,
        a.reason
    FROM watermark_interval i JOIN watermark w USING (topic_id, partition)
        LEFT JOIN lost_acknowledged a USING (topic_id, partition, from_offset)
    WHERE i.kind = 'lost' AND ($1 OR a.acknowledged_at IS NULL)
    ORDER BY i.received_at, w.topic, i.partition, i.from_offset"""
ACKNOWLEDGE = """
    INSERT INTO lost_acknowledged (topic_id, partition, from_offset, acknowledged_at, actor, reason)
    SELECT i.topic_id, i.partition, i.from_offset, $4, $5, $6
    FROM watermark_interval i JOIN watermark w USING (topic_id, partition)
    WHERE i.kind = 'lost' AND w.topic = $1 AND i.partition = $2 AND i.from_offset = $3
    ON CONFLICT DO NOTHING RETURNING 1"""


class Loss(NamedTuple):
    """A lost stretch, offsets `from_offset` to `to_offset` (exclusive); the last three are None until acknowledged."""

    topic: str
    partition: int
    from_offset: int
    to_offset: int
    noted_at: datetime
    acknowledged_at: datetime | None
    actor: str | None
    reason: str | None

    @property
    def name(self) -> str:
        """The name by which an operator acknowledges it."""
        return f"{self.topic}/{self.partition}/{self.from_offset}"

    def describe(self) -> dict[str, Any]:
        """Return what is shown of it."""
        return {"name": self.name, "records": self.to_offset - self.from_offset} | self._asdict()


async def list_losses(connection: Connection, *, acknowledged: bool = False) -> Sequence[Loss]:
    """Return the lost stretches, oldest first, those that are acknowledged too if so asked."""
    return [Loss(*row) for row in await connection.fetch(LIST, acknowledged)]


async def acknowledge(
    connection: Connection, topic: str, partition: int, from_offset: int, now: datetime, actor: str, reason: str
) -> bool:
    """Note what an operator says of a stretch; return False if there is none, or if it was acknowledged before."""
    noted = await connection.fetchval(ACKNOWLEDGE, topic, partition, from_offset, now, actor, reason)
    return noted is not None
