"""Leadership by advisory locks, all held by one connection of their own.

The session ends when its owner is silent for `IDLE_SESSION_TIMEOUT_MS`: a process that is frozen, or cut off, loses its
locks although its socket still lives, and another takes over.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Self

import asyncpg
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from hub.store.database import CONNECT_TIMEOUT_S, SESSION_SETTINGS, Connection

# The owner asks something at least every second, so ten seconds of silence mean that it is gone.
IDLE_SESSION_TIMEOUT_MS = 10_000
COMMAND_TIMEOUT_S = 5.0
BACKOFF_S_FIRST = 0.1
BACKOFF_S_MAX = 10.0
# The first half of a two-part lock id; no other program may use this number in the hub's database.
MEMBER_LOCK_CLASS = 1_414_217_298

# What asyncpg raises when a session ends: also an internal error, if that happens between two steps of one query.
SESSION_ERRORS = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)

COUNT_MEMBERS = """
    SELECT count(*) FROM pg_locks
    WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND classid = $1::bigint::oid AND objid = $2::bigint::oid AND objsubid = 2 AND granted"""


# A lock of one number stands there in two halves.
READ_HELD = """
    SELECT (classid::bigint << 32) | objid::bigint AS id FROM pg_locks
    WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND objsubid = 1 AND granted"""


def _lock_id(name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"tka-hub/{name}".encode()).digest()[:8], signed=True)


def _member_id(group: str) -> int:
    return int.from_bytes(hashlib.sha256(group.encode()).digest()[:4]) >> 1


class Election:
    """One process' candidacy: the locks that it holds, and who else stands."""

    def __init__(self, connection: asyncpg.Connection, group: str) -> None:
        self._connection = connection
        self._turn = asyncio.Lock()
        self._group = group

    @classmethod
    async def open(cls, dsn: str, group: str) -> Self:
        """Connect and count among the members of `group`. Raises OSError or asyncpg's errors."""
        connection = await asyncpg.connect(
            dsn,
            timeout=CONNECT_TIMEOUT_S,
            command_timeout=COMMAND_TIMEOUT_S,
            server_settings=SESSION_SETTINGS
            | {"application_name": f"hub-{group}", "idle_session_timeout": str(IDLE_SESSION_TIMEOUT_MS)},
        )
        await connection.execute("SELECT pg_advisory_lock_shared($1, $2)", MEMBER_LOCK_CLASS, _member_id(group))
        return cls(connection, group)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[asyncpg.Connection]:
        """Give the connection that holds the locks, to one user at a time; an answer proves that they are held."""
        async with self._turn:
            yield self._connection

    async def listen(self, channel: str, wake: Callable[[], None], *, deaf_to: str | None = None) -> None:
        """Call `wake` at every notification on `channel`, but those that say `deaf_to`."""

        def hear(_connection: object, _pid: int, _channel: str, said: object) -> None:
            if said != deaf_to:
                wake()

        async with self.session() as connection:
            await connection.add_listener(channel, hear)

    async def count_members(self) -> int:
        """Return how many processes stand for this group, this one included."""
        async with self.session() as connection:
            return int(await connection.fetchval(COUNT_MEMBERS, MEMBER_LOCK_CLASS, _member_id(self._group)))

    async def win(self, name: str) -> bool:
        """Take the lock `name` if nobody holds it."""
        async with self.session() as connection:
            return bool(await connection.fetchval("SELECT pg_try_advisory_lock($1)", _lock_id(name)))

    async def yield_up(self, name: str) -> None:
        """Give the lock `name` back."""
        async with self.session() as connection:
            await connection.execute("SELECT pg_advisory_unlock($1)", _lock_id(name))

    async def confirm(self) -> None:
        """Make sure, by asking the server, that the session lives and so the locks are held. Raises if it does not."""
        async with self.session() as connection:
            await connection.execute("SELECT 1")

    async def close(self) -> None:
        """End the session, which gives all locks back."""
        try:
            await self._connection.close(timeout=COMMAND_TIMEOUT_S)
        except SESSION_ERRORS:
            self._connection.terminate()


async def read_held(connection: Connection, names: Iterable[str]) -> set[str]:
    """Return which of these locks somebody holds."""
    held = {row["id"] for row in await connection.fetch(READ_HELD)}
    return {name for name in names if _lock_id(name) in held}


async def stand_until(
    stop: asyncio.Event,
    stand: Callable[[asyncio.Event], Awaitable[None]],
    lost: tuple[type[BaseException], ...],
    report: Callable[[RetryCallState], None],
) -> None:
    """Stand for election until `stop` is set: again after an error in `lost`, later each time, which `report` is told.

    Raises what `stand` raises otherwise.
    """
    while not stop.is_set():
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(lost),
            wait=wait_random_exponential(multiplier=BACKOFF_S_FIRST, max=BACKOFF_S_MAX),
            before_sleep=report,
        ):
            with attempt:
                await stand(stop)


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Wait for so long, or until `stop` is set."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
