"""A register in PostgreSQL: SELECT on the outbox, INSERT and SELECT on the outcomes. Names come from the mapping.

With a column of the writing transaction, rows are read in the order (xact, id), and only those whose transaction is
older than every transaction still running: a lower id that commits later is then never passed by.
"""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import asyncpg

from connectors.link import failpoint
from connectors.link.fault import SourceFault, SourceUnreachable
from connectors.ministry.gaps import Activity, Stretch
from connectors.ministry.mapping import Mapping as RegisterMapping
from connectors.ministry.rights import OutcomeRefused, Rights
from connectors.ministry.translate import OutcomeRow

CONNECTIONS_MAX = 3
TIMEOUT_S = 10.0
STRETCHES_IN_ONE_LOOK_MAX = 500

if TYPE_CHECKING:
    Pool = asyncpg.Pool[asyncpg.Record]
    Connection = asyncpg.pool.PoolConnectionProxy[asyncpg.Record]

Records = Sequence[Mapping[str, Any]]

_IDENTITY = """
SELECT (SELECT system_identifier FROM pg_control_system())::text || '/' || oid::text
FROM pg_database WHERE datname = current_database()
"""
_NEXT_XACT = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text"
_NOW = "SELECT extract(epoch FROM clock_timestamp())::float8"
_ACTIVITY = """
SELECT pg_snapshot_xmin(pg_current_snapshot())::text AS oldest, pg_snapshot_xmax(pg_current_snapshot())::text AS horizon
"""
_RIGHTS = """
SELECT has_table_privilege($1, 'SELECT') AS reads,
       has_table_privilege($2, 'INSERT') AND has_table_privilege($2, 'SELECT') AS writes,
       has_table_privilege($1, 'INSERT') OR has_table_privilege($1, 'UPDATE') OR has_table_privilege($1, 'DELETE')
       AS changes
"""
_WRONG = (
    asyncpg.DataError,
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedColumnError,
    asyncpg.UndefinedFunctionError,
    asyncpg.DatatypeMismatchError,
    asyncpg.InvalidColumnReferenceError,
    asyncpg.InvalidSchemaNameError,
    asyncpg.InsufficientPrivilegeError,
)


@dataclass(frozen=True, slots=True, order=True)
class XactCursor:
    """How far the outbox was read: everything up to (xact, id)."""

    xact: int = 0
    id: int = 0

    @classmethod
    def read(cls, text: str | None) -> "XactCursor":
        """Read what `str` wrote; the beginning for None and for what another kind of cursor wrote."""
        if text is None or text.startswith("{"):
            return cls()
        xact, row_id = text.split(",")
        return cls(int(xact), int(row_id))

    def __str__(self) -> str:
        return f"{self.xact},{self.id}"


class PostgresTables:
    """The two tables, as the connector's role sees them."""

    def __init__(self, pool: "Pool", mapping: RegisterMapping) -> None:
        self._pool = pool
        self._outbox, self._outcome = mapping.outbox, mapping.outcome
        columns = self._outbox.columns
        self._id, self._xact = _quote(str(columns.id)), _quote(columns.xact or "xmin")
        names = [name for name in self._outbox.names() if name != columns.xact]
        taken = ", ".join(_quote(name) for name in names)
        self._select = f"SELECT {taken} FROM {_quote(self._outbox.table)}"  # noqa: S608  # Names of the mapping.
        self._select_xact = self._select.replace("SELECT ", f"SELECT {self._xact}::text AS {self._xact}, ", 1)
        self._insert = _write_insert(mapping)

    async def identity(self) -> str:
        """Return which database this is. Raises SourceUnreachable, SourceFault."""
        return str(await self._value(_IDENTITY))

    async def next_xact(self) -> int:
        """Return the number that the next transaction gets."""
        return int(await self._value(_NEXT_XACT))

    async def now_s(self) -> float:
        """Return the server's clock."""
        return float(await self._value(_NOW))

    async def highest(self) -> int:
        """Return the outbox's highest number."""
        query = f"SELECT coalesce(max({self._id}), 0) FROM {_quote(self._outbox.table)}"  # noqa: S608
        return int(await self._value(query))

    async def after_xact(self, cursor: XactCursor, limit: int) -> Records:
        """Return the next rows whose transaction is final."""
        query = (
            f"{self._select_xact} WHERE ({self._xact}, {self._id}) > ($1::text::xid8, $2)"
            f" AND {self._xact} < pg_snapshot_xmin(pg_current_snapshot()) ORDER BY {self._xact}, {self._id} LIMIT $3"
        )
        return await self._fetch(query, str(cursor.xact), cursor.id, limit)

    def cursor_of(self, record: Mapping[str, Any]) -> XactCursor:
        """Return the place of a row of `after_xact`."""
        columns = self._outbox.columns
        return XactCursor(int(record[str(columns.xact)]), int(record[str(columns.id)]))

    async def after(self, number: int, limit: int) -> Records:
        """Return the rows above a number."""
        return await self._fetch(f"{self._select} WHERE {self._id} > $1 ORDER BY {self._id} LIMIT $2", number, limit)

    async def within(self, stretches: Sequence[Stretch], limit: int) -> Records:
        """Return rows of these stretches."""
        found: list[Mapping[str, Any]] = []
        for start in range(0, len(stretches), STRETCHES_IN_ONE_LOOK_MAX):
            part = stretches[start : start + STRETCHES_IN_ONE_LOOK_MAX]
            asked = " OR ".join(f"{self._id} BETWEEN ${2 * n + 1} AND ${2 * n + 2}" for n in range(len(part)))
            query = f"{self._select} WHERE {asked} ORDER BY {self._id} LIMIT {limit - len(found)}"
            found += await self._fetch(query, *chain.from_iterable(part))
            if len(found) >= limit:
                break
        return found

    async def activity(self) -> Activity | None:
        """Return the running transactions, which everybody may see."""
        [row] = await self._fetch(_ACTIVITY)
        return Activity(int(row["oldest"]), int(row["horizon"]))

    async def write(self, rows: Sequence[OutcomeRow]) -> None:
        """Write outcomes in one transaction; one that is there already stays as it is.

        Raises SourceUnreachable, SourceFault, OutcomeRefused.
        """
        kinds = self._outcome.kinds
        values = [
            (row.event_id, kinds.get(row.kind, row.kind), json.dumps(row.payload), row.application, row.billing_code)
            for row in rows
        ]
        wanted = _wanted(self._outcome.columns)
        async with self._connection() as connection:
            try:
                async with connection.transaction():
                    await connection.executemany(self._insert, [[value[place] for place in wanted] for value in values])
                    failpoint.reach("writeback.before_commit")
            except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError) as error:
                raise OutcomeRefused(type(error).__name__) from None
            failpoint.reach("writeback.after_commit")

    async def rights(self) -> Rights:
        """Return what the role may do."""
        [row] = await self._fetch(_RIGHTS, _quote(self._outbox.table), _quote(self._outcome.table))
        sees = None if self._outbox.columns.xact else True
        return Rights(row["reads"], row["writes"], row["changes"], sees)

    async def _fetch(self, query: str, *values: Any) -> Records:
        async with self._connection() as connection:
            return [dict(record) for record in await connection.fetch(query, *values)]

    async def _value(self, query: str) -> Any:
        async with self._connection() as connection:
            value = await connection.fetchval(query)
        if value is None:
            raise SourceFault("The register's database does not know its own name: check REGISTER_URL.")
        return value

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator["Connection"]:
        """Lend a connection and tell its troubles in plain words, without the server's text, which may quote a row."""
        try:
            async with self._pool.acquire(timeout=TIMEOUT_S) as connection:
                yield connection
        except _WRONG as error:
            raise SourceFault(
                f"The register does not let the connector read outbox and write outcome ({type(error).__name__}):"
                f" {self._outbox.table} and {self._outcome.table} must be there with the columns of the mapping, a"
                " unique event id among them; grant SELECT on outbox, SELECT and INSERT on outcome."
            ) from None
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise SourceUnreachable(
                f"The register cannot be used now ({type(error).__name__}): check REGISTER_URL and the database."
            ) from error


def _wanted(columns: Any) -> list[int]:
    """Return which of an outcome's values the table has a column for."""
    names = (columns.event_id, columns.kind, columns.payload, columns.application, columns.billing_code)
    return [place for place, name in enumerate(names) if name is not None]


def _write_insert(mapping: RegisterMapping) -> str:
    columns = mapping.outcome.columns
    named = (columns.event_id, columns.kind, columns.payload, columns.application, columns.billing_code)
    names = ", ".join(_quote(name) for name in named if name is not None)
    places = ["$1", "$2", "$3::text::jsonb", "$4", "$5"][: len(_wanted(columns))]
    return (
        f"INSERT INTO {_quote(mapping.outcome.table)} ({names}) VALUES ({', '.join(places)})"  # noqa: S608
        f" ON CONFLICT ({_quote(columns.event_id)}) DO NOTHING"
    )


def _quote(name: str) -> str:
    return ".".join(f'"{part}"' for part in name.split("."))


@asynccontextmanager
async def open_tables(url: str, mapping: RegisterMapping) -> AsyncIterator[PostgresTables]:
    """Lend the tables; connections are opened when needed. Raises SourceFault on a malformed URL."""
    try:
        pool = asyncpg.create_pool(
            url, min_size=0, max_size=CONNECTIONS_MAX, command_timeout=TIMEOUT_S, timeout=TIMEOUT_S
        )
        async with pool:
            yield PostgresTables(pool, mapping)
    except asyncpg.ClientConfigurationError:
        raise SourceFault("REGISTER_URL is no PostgreSQL address: write postgresql://role:password@host/db.") from None
