"""The pool of connections, and the one way to open a transaction."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Self, TypeAlias

import asyncpg

from hub.store import schema

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

# asyncpg's classes take parameters in its type stubs alone, hence the quotes.
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"

STATEMENT_TIMEOUT_MS = 10_000
LOCK_TIMEOUT_MS = 8_000
# A frozen owner must not hold a watermark's row for longer than this.
IDLE_IN_TRANSACTION_TIMEOUT_MS = 10_000
TCP_USER_TIMEOUT_MS = 10_000
CONNECT_TIMEOUT_S = 10.0
COMMAND_TIMEOUT_S = 15.0
CLOSE_TIMEOUT_S = 5.0
QUERIES_PER_CONNECTION_MAX = 10_000_000

# What passes by itself: an outage, a deadlock, a lock or statement that took too long, a server that is full or stops.
TRANSIENT = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.TransactionRollbackError,
    asyncpg.LockNotAvailableError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.PostgresSystemError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,
)
# A schema or a right that is missing would make every record look poisonous.
BROKEN = (asyncpg.SyntaxOrAccessError, MemoryError)

SESSION_SETTINGS = {
    "statement_timeout": str(STATEMENT_TIMEOUT_MS),
    "lock_timeout": str(LOCK_TIMEOUT_MS),
    "idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_TIMEOUT_MS),
    "tcp_user_timeout": str(TCP_USER_TIMEOUT_MS),
    "timezone": "UTC",
    "jit": "off",
}


async def _keep_session(_: Connection) -> None:
    """Give a connection back as it is: nothing here leaves anything in its session that would have to be reset."""


class Database:
    """A pool of connections to the hub's database, which has been checked to be at this hub's schema."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self._pool = pool

    @classmethod
    async def open(cls, dsn: str, *, size: int = 8, name: str = "hub") -> Self:
        """Connect to `dsn` with at most `size` connections.

        Raises SchemaOutdated if the database was not migrated; OSError or asyncpg's errors if it cannot be reached.
        """
        pool = await asyncpg.create_pool(
            dsn,
            min_size=1,
            max_size=size,
            max_queries=QUERIES_PER_CONNECTION_MAX,
            reset=_keep_session,
            timeout=CONNECT_TIMEOUT_S,
            command_timeout=COMMAND_TIMEOUT_S,
            server_settings=SESSION_SETTINGS | {"application_name": name},
        )
        try:
            async with pool.acquire() as connection:
                await schema.check_version(connection)
        except BaseException:
            pool.terminate()
            raise
        return cls(pool)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Give a connection inside a READ COMMITTED transaction: committed at the end, rolled back on any error."""
        async with self._pool.acquire() as connection, connection.transaction():
            yield connection

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Connection]:
        """Give a connection that sees one moment and changes nothing; its statements may take as long as they need."""
        async with (
            self._pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            await connection.execute("SET LOCAL statement_timeout = 0")
            await connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            yield connection

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Give a connection outside any transaction, for a read or a single statement."""
        async with self._pool.acquire() as connection:
            yield connection

    async def close(self) -> None:
        """Close every connection, by force if one is not given back in time."""
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()
