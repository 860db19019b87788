"""What the doctor asks the database: its clock, how messages came lately, how far every stream and witness is."""

from datetime import datetime, timedelta

from hub.store import outbox
from hub.store.database import Connection

READ_CLOCK = "SELECT clock_timestamp()"
# The newest stand at the end of the log; of a thousand some came without waiting for anything.
READ_SHORTEST = """
    SELECT min(received_at - append_time) FROM (
        SELECT received_at, append_time FROM inbox WHERE received_at > $1 ORDER BY log_index DESC LIMIT 1000) newest"""
READ_CONSUMED = "SELECT topic, partition, next FROM watermark"
READ_ALL_POSITIONS = "SELECT topic, partition, seq FROM relay_position"


async def read_clock(connection: Connection) -> datetime:
    """Return what time it is there."""
    clock: datetime = await connection.fetchval(READ_CLOCK)
    return clock


async def read_shortest_way(connection: Connection, since: datetime) -> timedelta | None:
    """Return the shortest time from a broker's append to the hub's receipt among the newest messages."""
    shortest: timedelta | None = await connection.fetchval(READ_SHORTEST, since)
    return shortest


async def read_consumed(connection: Connection) -> dict[tuple[str, int], int]:
    """Return how far each input partition was taken in."""
    return {(row["topic"], row["partition"]): row["next"] for row in await connection.fetch(READ_CONSUMED)}


async def read_unsent(connection: Connection) -> dict[str, int]:
    """Return how many messages of each output topic the relay has not noted as sent."""
    sent = {(row["topic"], row["partition"]): row["seq"] for row in await connection.fetch(READ_ALL_POSITIONS)}
    unsent: dict[str, int] = {}
    for (topic, partition), last in (await outbox.read_heads(connection)).items():
        unsent[topic] = unsent.get(topic, 0) + max(0, last - sent.get((topic, partition), 0))
    return unsent
