"""What the hub has of one source, for a connector whose spool is new or may be an old copy."""

from collections.abc import Sequence
from typing import NamedTuple

from hub.store.database import Connection

READ_LAST = "SELECT sequence FROM inbox WHERE source = $1 ORDER BY sequence DESC LIMIT 1"
# A topic that was created anew under another id is a change that stops the intake; the newest position is the true one.
READ_TAKEN = "SELECT partition, max(next) FROM watermark WHERE topic = $1 GROUP BY partition ORDER BY partition"
COUNT_DEFERRED = "SELECT count(*) FROM deferred WHERE topic = $1"
READ_ACCEPTED = """
    SELECT sequence, id, digest, log_index FROM inbox WHERE source = $1 AND sequence > $2 ORDER BY sequence LIMIT $3"""


class Progress(NamedTuple):
    """The highest accepted sequence (0 for none), how far each partition was read, and how many messages wait."""

    last_sequence: int
    taken: dict[int, int]
    deferred: int


class AcceptedMessage(NamedTuple):
    """An accepted message's identity."""

    sequence: int
    id: str
    digest: bytes
    log_index: int


async def read_progress(connection: Connection, source: str, topic: str) -> Progress:
    """Return how far the hub is with a source whose messages come on `topic`; all of it as of one moment."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        taken = {int(row[0]): int(row[1]) for row in await connection.fetch(READ_TAKEN, topic)}
        last = await connection.fetchval(READ_LAST, source)
        return Progress(int(last or 0), taken, int(await connection.fetchval(COUNT_DEFERRED, topic)))


async def read_accepted(connection: Connection, source: str, after: int, limit: int) -> Sequence[AcceptedMessage]:
    """Return the accepted messages of a source with a sequence above `after`, in sequence, at most `limit`."""
    return [AcceptedMessage(*row) for row in await connection.fetch(READ_ACCEPTED, source, after, limit)]
