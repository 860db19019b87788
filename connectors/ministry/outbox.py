"""The register's two tables that the connector may touch: SELECT on the outbox, INSERT and SELECT on the outcomes.

Rows are read in the order (xact, id), and only those whose transaction is older than every transaction still running:
a lower id that commits later is then never passed by, as it would be by a cursor on the id alone.
"""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import asyncpg

from connectors.link import failpoint
from connectors.link.fault import SourceFault, SourceUnreachable
from connectors.ministry.translate import OutboxRow, OutcomeRow

CONNECTIONS_MAX = 3
TIMEOUT_S = 10.0
ROWS_MAX = 500

if TYPE_CHECKING:
    Pool = asyncpg.Pool[asyncpg.Record]
    Connection = asyncpg.pool.PoolConnectionProxy[asyncpg.Record]

_READ = """
SELECT id, xact::text AS xact, at, kind, application_number, payload::text AS payload FROM register.outbox
WHERE (xact, id) > ($1::text::xid8, $2) AND xact < pg_snapshot_xmin(pg_current_snapshot())
ORDER BY xact, id LIMIT $3
"""
_WRITE = """
INSERT INTO register.outcome (event_id, kind, application_number, billing_code, payload)
VALUES ($1, $2, $3, $4, $5::text::jsonb) ON CONFLICT (event_id) DO NOTHING
"""
_IDENTITY = """
SELECT (SELECT system_identifier FROM pg_control_system())::text || '/' || oid::text AS identity,
       pg_snapshot_xmax(pg_current_snapshot())::text AS next_xact
FROM pg_database WHERE datname = current_database()
"""
_RIGHTS = """
SELECT has_table_privilege('register.outbox', 'SELECT') AS reads,
       has_table_privilege('register.outcome', 'INSERT')
       AND has_table_privilege('register.outcome', 'SELECT') AS writes,
       has_table_privilege('register.outbox', 'INSERT') OR has_table_privilege('register.outbox', 'UPDATE')
       OR has_table_privilege('register.outbox', 'DELETE') AS more
"""


@dataclass(frozen=True, slots=True, order=True)
class Cursor:
    """How far the outbox was read: everything up to (xact, id)."""

    xact: int = 0
    id: int = 0

    @classmethod
    def read(cls, text: str | None) -> "Cursor":
        """Read what `str` wrote; the beginning for None."""
        if text is None:
            return cls()
        xact, row_id = text.split(",")
        return cls(int(xact), int(row_id))

    def __str__(self) -> str:
        return f"{self.xact},{self.id}"


@dataclass(frozen=True, slots=True)
class Identity:
    """Which database this is, and the number that its next transaction will get."""

    name: str
    next_xact: int


class Register:
    """The register's database, as the connector's role sees it."""

    def __init__(self, pool: "Pool") -> None:
        self._pool = pool

    async def identity(self) -> Identity:
        """Return which database this is. Raises SourceUnreachable, SourceFault."""
        async with self._connection() as connection:
            row = await connection.fetchrow(_IDENTITY)
            if row is None:
                raise SourceFault("The register's database does not know its own name: check REGISTER_URL.")
            return Identity(row["identity"], int(row["next_xact"]))

    async def rows_after(self, cursor: Cursor, limit: int = ROWS_MAX) -> list[OutboxRow]:
        """Return the next rows, in order. Raises SourceUnreachable, SourceFault."""
        async with self._connection() as connection:
            found = await connection.fetch(_READ, str(cursor.xact), cursor.id, limit)
        return [
            OutboxRow(
                id=row["id"],
                xact=int(row["xact"]),
                at=row["at"],
                kind=row["kind"],
                application=row["application_number"],
                payload=_read_payload(row["payload"]),
            )
            for row in found
        ]

    async def write_outcomes(self, rows: Sequence[OutcomeRow]) -> None:
        """Write rows in one transaction; one that is there already stays as it is.

        Raises SourceUnreachable, SourceFault.
        """
        values = [(row.event_id, row.kind, row.application, row.billing_code, json.dumps(row.payload)) for row in rows]
        async with self._connection() as connection:
            async with connection.transaction():
                await connection.executemany(_WRITE, values)
                failpoint.reach("writeback.before_commit")
            failpoint.reach("writeback.after_commit")

    async def rights(self) -> dict[str, bool]:
        """Return what the role may: `reads`, `writes`, and `more` than it needs."""
        async with self._connection() as connection:
            row = await connection.fetchrow(_RIGHTS)
            return dict(row) if row is not None else {}

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator["Connection"]:
        """Lend a connection and tell its troubles in plain words, without the server's text, which may quote a row."""
        try:
            async with self._pool.acquire(timeout=TIMEOUT_S) as connection:
                yield connection
        except (
            asyncpg.UndefinedTableError,
            asyncpg.UndefinedColumnError,
            asyncpg.InvalidSchemaNameError,
            asyncpg.InsufficientPrivilegeError,
        ) as error:
            raise SourceFault(
                f"The register does not let the connector read outbox and write outcome ({type(error).__name__}):"
                " create schema register, and grant SELECT on outbox, SELECT and INSERT on outcome."
            ) from None
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise SourceUnreachable(
                f"The register cannot be used now ({type(error).__name__}): check REGISTER_URL and the database."
            ) from error


def _read_payload(text: str) -> Any:
    return json.loads(text, parse_float=Decimal)


@asynccontextmanager
async def open_register(url: str) -> AsyncIterator[Register]:
    """Lend the register of REGISTER_URL; connections are opened when needed. Raises SourceFault on a malformed URL."""
    try:
        pool = asyncpg.create_pool(
            url, min_size=0, max_size=CONNECTIONS_MAX, command_timeout=TIMEOUT_S, timeout=TIMEOUT_S
        )
        async with pool:
            yield Register(pool)
    except asyncpg.ClientConfigurationError:
        raise SourceFault("REGISTER_URL is no PostgreSQL address: write postgresql://role:password@host/db.") from None
