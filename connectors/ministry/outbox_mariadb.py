"""A register in MariaDB or MySQL: SELECT on the outbox, INSERT and SELECT on the outcomes. Names come from the mapping.

Rows have no number of their transaction here, so the outbox is read by its own number (see `gaps`). The running
transactions are those of `information_schema.INNODB_TRX`, which the PROCESS privilege shows. A cluster of several
primaries and a replica have transactions that this server does not know of: there they count as unseen.
"""

import asyncio
import json
import secrets
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import chain
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

import asyncmy
from asyncmy import errors
from asyncmy.cursors import DictCursor

from connectors.link import failpoint
from connectors.link.fault import SettingsFault, SourceFault, SourceUnreachable
from connectors.ministry.gaps import NO_TRANSACTION, Activity, Stretch
from connectors.ministry.mapping import Mapping as RegisterMapping
from connectors.ministry.rights import OutcomeRefused, Rights
from connectors.ministry.translate import OutcomeRow

PORT_DEFAULT: Final = 3306
TIMEOUT_S: Final = 10.0
STRETCHES_IN_ONE_LOOK_MAX: Final = 200
LOOKS_MAX: Final = 4
LOOK_AGAIN_S: Final = 0.2
#: InnoDB numbers transactions in 6 bytes; what reads only has no number, or one above these.
TRX_ID_MAX: Final = 2**48 - 1

#: Access denied, unknown database, table or column, no right: waiting does not mend these.
_WRONG: Final = frozenset((1044, 1045, 1049, 1054, 1142, 1143, 1146, 1227, 1356, 1370, 1698))
_DENIED: Final = frozenset((1044, 1142, 1143))
_NO_PROCESS: Final = 1227
#: A view through which nothing can be changed.
_NOT_CHANGEABLE: Final = frozenset((1288, 1348, 1393, 1394, 1395, 1471))
# What does not fit a column is an error then, and never cut.
_INIT = "SET time_zone = '+00:00', sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'"

_NOW = "SELECT unix_timestamp(now(6)) AS value"
_IDENTITY = "SELECT concat(@@hostname, ':', @@port, '/', coalesce(database(), '')) AS value"
_ELSEWHERE = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('wsrep_on', 'read_only', 'super_read_only')"
# The list is a copy that the server renews only when nobody has asked for 0.1 s: it is new if it shows this very query.
_ACTIVITY = f"""
SELECT coalesce(max(trx_mysql_thread_id = connection_id() AND instr(trx_query, %s) > 0), 0) AS is_new,
       min(CASE WHEN trx_id BETWEEN 1 AND {TRX_ID_MAX} THEN CAST(trx_id AS UNSIGNED) END) AS oldest,
       max(CASE WHEN trx_id BETWEEN 1 AND {TRX_ID_MAX} THEN CAST(trx_id AS UNSIGNED) END) AS newest
FROM information_schema.INNODB_TRX
"""  # noqa: S608  # A constant of this module.
_ENGINES = "SELECT count(*) AS value FROM information_schema.TABLES WHERE concat(TABLE_SCHEMA, '.', TABLE_NAME) IN "

Records = Sequence[Mapping[str, Any]]


class Line:
    """One connection, opened when it is needed and thrown away after any trouble; used by one task at a time."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = options
        self._turn = asyncio.Lock()
        self._connection: Any = None

    @asynccontextmanager
    async def cursor(self) -> AsyncIterator[Any]:
        """Lend a cursor of a connection that commits by itself. Raises what the driver raises, and TimeoutError."""
        async with self._turn:
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    if self._connection is None:
                        self._connection = await asyncmy.connect(**self._options)
                    async with self._connection.cursor(DictCursor) as cursor:
                        yield cursor
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """Close the connection; whatever it had begun is rolled back by the server."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class MariadbTables:
    """The two tables, as the connector's role sees them."""

    def __init__(self, reader: Line, writer: Line, mapping: RegisterMapping) -> None:
        self._reader, self._writer = reader, writer
        self._outbox, self._outcome = mapping.outbox, mapping.outcome
        self._id = _quote(str(self._outbox.columns.id))
        taken = ", ".join(map(_quote, self._outbox.names()))
        self._select = f"SELECT {taken} FROM {_quote(self._outbox.table)}"  # noqa: S608  # Names of the mapping.
        columns = self._outcome.columns
        named = (columns.event_id, columns.kind, columns.payload, columns.application, columns.billing_code)
        self._written = [(place, name) for place, name in enumerate(named) if name is not None]
        names, places = ", ".join(_quote(name) for _, name in self._written), ", ".join("%s" for _ in self._written)
        table = _quote(self._outcome.table)
        self._insert = (
            f"INSERT INTO {table} ({names}) SELECT {places} FROM DUAL"  # noqa: S608
            f" WHERE NOT EXISTS (SELECT 1 FROM {table} WHERE {_quote(columns.event_id)} = %s)"
        )

    async def identity(self) -> str:
        """Return which database this is. Raises SourceUnreachable, SourceFault."""
        return str(await self._value(_IDENTITY))

    async def now_s(self) -> float:
        """Return the server's clock."""
        return float(await self._value(_NOW))

    async def highest(self) -> int:
        """Return the outbox's highest number."""
        query = f"SELECT coalesce(max({self._id}), 0) AS value FROM {_quote(self._outbox.table)}"  # noqa: S608
        return int(await self._value(query))

    async def after(self, number: int, limit: int) -> Records:
        """Return the rows above a number."""
        return await self._fetch(f"{self._select} WHERE {self._id} > %s ORDER BY {self._id} LIMIT %s", number, limit)

    async def within(self, stretches: Sequence[Stretch], limit: int) -> Records:
        """Return rows of these stretches."""
        found: list[Mapping[str, Any]] = []
        for start in range(0, len(stretches), STRETCHES_IN_ONE_LOOK_MAX):
            part = stretches[start : start + STRETCHES_IN_ONE_LOOK_MAX]
            asked = " OR ".join(f"{self._id} BETWEEN %s AND %s" for _ in part)
            query = f"{self._select} WHERE {asked} ORDER BY {self._id} LIMIT %s"
            found += await self._fetch(query, *chain.from_iterable(part), limit - len(found))
            if len(found) >= limit:
                break
        return found

    async def activity(self) -> Activity | None:
        """Return the running transactions; None without PROCESS, in a cluster, on a replica, or of an old list."""
        async with self._told(self._reader) as cursor:
            await cursor.execute(_ELSEWHERE)
            if any(row["Value"] == "ON" for row in await cursor.fetchall()):
                return None
            await cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")
            try:
                await cursor.execute(_ACTIVITY, (secrets.token_hex(8),))
                row = await cursor.fetchone()
            except errors.MySQLError as error:
                if _number_of(error) != _NO_PROCESS:
                    raise
                row = None
            await cursor.execute("ROLLBACK")
        if row is None or not row["is_new"]:
            return None
        return Activity(NO_TRANSACTION if row["oldest"] is None else int(row["oldest"]), int(row["newest"] or 0) + 1)

    async def write(self, rows: Sequence[OutcomeRow]) -> None:
        """Write outcomes in one transaction; one that is there already stays as it is.

        Raises SourceUnreachable, SourceFault, OutcomeRefused.
        """
        kinds = self._outcome.kinds
        async with self._told(self._writer) as cursor:
            await cursor.execute("START TRANSACTION")
            for row in rows:
                payload = json.dumps(row.payload)
                values = (row.event_id, kinds.get(row.kind, row.kind), payload, row.application, row.billing_code)
                await cursor.execute(self._insert, (*(values[place] for place, _ in self._written), row.event_id))
            failpoint.reach("writeback.before_commit")
            await cursor.execute("COMMIT")
            failpoint.reach("writeback.after_commit")

    async def rights(self) -> Rights:
        """Return what the role may do; EXPLAIN asks for a statement's right without carrying it out."""
        outbox, outcome = _quote(self._outbox.table), _quote(self._outcome.table)
        event_id = _quote(self._outcome.columns.event_id)
        may = {
            name: await self._may(f"EXPLAIN {statement}")
            for name, statement in (
                ("read", f"{self._select} LIMIT 1"),
                ("compare", f"SELECT {event_id} FROM {outcome} LIMIT 1"),  # noqa: S608
                ("write", f"INSERT INTO {outcome} ({event_id}) VALUES ('')"),  # noqa: S608
                ("insert", f"INSERT INTO {outbox} ({self._id}) VALUES (0)"),  # noqa: S608
                ("update", f"UPDATE {outbox} SET {self._id} = 0"),  # noqa: S608
                ("delete", f"DELETE FROM {outbox}"),  # noqa: S608
            )
        }
        names = [name if "." in name else None for name in (self._outbox.table, self._outcome.table)]
        places = [name or f"{await self._value('SELECT database() AS value')}.{table}"
                  for name, table in zip(names, (self._outbox.table, self._outcome.table), strict=True)]  # fmt: skip
        foreign = f"{_ENGINES}(%s, %s) AND ENGINE IS NOT NULL AND ENGINE <> 'InnoDB'"
        return Rights(
            reads=may["read"],
            writes=may["write"] and may["compare"],
            changes=may["insert"] or may["update"] or may["delete"],
            sees_transactions=await self._sees_transactions(),
            transactional=await self._value(foreign, *places) == 0,
        )

    async def _sees_transactions(self) -> bool:
        """Look some times, since the list is not new where somebody else has just asked for it."""
        for _ in range(LOOKS_MAX):
            if await self.activity() is not None:
                return True
            await asyncio.sleep(LOOK_AGAIN_S)
        return False

    async def _may(self, statement: str) -> bool:
        async with self._told(self._reader) as cursor:
            try:
                await cursor.execute(statement)
                await cursor.fetchall()
            except errors.MySQLError as error:
                if _number_of(error) in _WRONG - _DENIED:
                    raise
                return _number_of(error) not in _DENIED | _NOT_CHANGEABLE
        return True

    async def _fetch(self, query: str, *values: Any) -> Records:
        async with self._told(self._reader) as cursor:
            await cursor.execute(query, values)
            found: Records = await cursor.fetchall()
            return found

    async def _value(self, query: str, *values: Any) -> Any:
        [row] = await self._fetch(query, *values)
        return row["value"]

    @asynccontextmanager
    async def _told(self, line: Line) -> AsyncIterator[Any]:
        """Lend a cursor and tell its troubles in plain words, without the server's text, which may quote a row."""
        try:
            async with line.cursor() as cursor:
                yield cursor
        except errors.MySQLError as error:
            number = _number_of(error)
            if number in _WRONG:
                raise SourceFault(
                    f"The register does not let the connector read outbox and write outcome (error {number}):"
                    f" {self._outbox.table} and {self._outcome.table} must be there with the columns of the mapping;"
                    " check REGISTER_URL, and grant SELECT on outbox, SELECT and INSERT on outcome."
                ) from None
            if isinstance(error, errors.DataError | errors.IntegrityError):
                raise OutcomeRefused(f"error {number}") from None
            raise _unreachable(f"error {number}") from None
        except (OSError, TimeoutError) as error:
            raise _unreachable(type(error).__name__) from error


def _unreachable(why: str) -> SourceUnreachable:
    return SourceUnreachable(f"The register cannot be used now ({why}): check REGISTER_URL and the database.")


def _number_of(error: Exception) -> int:
    number = error.args[0] if error.args else 0
    return number if isinstance(number, int) else 0


def _quote(name: str) -> str:
    return ".".join(f"`{part}`" for part in name.split("."))


def read_options(url: str) -> dict[str, Any]:
    """Return the driver's options of a URL: `mariadb://role:password@host:port/database?ssl_ca=FILE`.

    Raises SettingsFault.
    """
    parts = urlsplit(url)
    query = parse_qs(parts.query, keep_blank_values=True)
    try:
        port = parts.port or PORT_DEFAULT
    except ValueError:
        port = 0
    if not parts.hostname or not port or query.keys() - {"ssl_ca"}:
        raise SettingsFault(
            "REGISTER_URL is no MariaDB address: write mariadb://role:password@host:port/database, and at most ?ssl_ca="
        )
    options: dict[str, Any] = {
        "host": parts.hostname,
        "port": port,
        "user": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
        "database": unquote(parts.path.removeprefix("/")) or None,
        "charset": "utf8mb4",
        "autocommit": True,
        "init_command": _INIT,
        "connect_timeout": int(TIMEOUT_S),
    }
    if "ssl_ca" in query:
        try:
            options["ssl"] = ssl.create_default_context(cafile=query["ssl_ca"][0])
        except (OSError, ssl.SSLError):
            raise SettingsFault("The file of ssl_ca in REGISTER_URL holds no certificates in PEM.") from None
    return options


@asynccontextmanager
async def open_tables(url: str, mapping: RegisterMapping) -> AsyncIterator[MariadbTables]:
    """Lend the tables; connections are opened when needed. Raises SettingsFault on a malformed URL."""
    options = read_options(url)
    reader, writer = Line(options), Line(options)
    try:
        yield MariadbTables(reader, writer, mapping)
    finally:
        reader.close()
        writer.close()
