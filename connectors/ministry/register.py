"""The ministry's register as the connector uses it: the outbox is read in an order that passes nothing by.

Two orders, by what the table offers:
    (xact, id)   PostgreSQL, with a column of the writing transaction: rows of transactions that are older than every
                 running one are final, so the cursor is exact
    id alone     any other table or view, also on MariaDB and MySQL: see `gaps`
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

import structlog

from connectors.link.fact import Aside
from connectors.link.fault import SettingsFault, SourceFault
from connectors.ministry import outbox_mariadb, outbox_postgres
from connectors.ministry.gaps import Activity, GapCursor, Stretch
from connectors.ministry.mapping import Mapping as RegisterMapping
from connectors.ministry.mapping import OutboxForm
from connectors.ministry.outbox_postgres import PostgresTables, XactCursor
from connectors.ministry.record import ZoneUnknown, read_record
from connectors.ministry.rights import Rights
from connectors.ministry.translate import OUTBOX, NativeRow, OutcomeRow

ROWS_MAX = 1_000
OUTCOMES_IN_ONE_BATCH_MAX = 200
#: The server's list of transactions is asked for only so often: InnoDB renews it only if nobody asked for a moment.
ACTIVITY_EVERY_S = 1.0

_POSTGRES = ("postgres", "postgresql")
_MARIADB = ("mysql", "mariadb")
_ZONE_UNKNOWN = "The register's times have no zone: say which they are in as time_zone under [outbox] in the mapping."

Records = Sequence[Mapping[str, Any]]
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Reading:
    """The next rows in order, and the cursor to keep once they are stored. `more`: it is worth asking again at once."""

    rows: list[NativeRow | Aside]
    cursor: str
    more: bool


class Tables(Protocol):
    """A register's two tables on one kind of server. Every method raises SourceUnreachable, SourceFault."""

    async def identity(self) -> str:
        """Return which database this is."""

    async def now_s(self) -> float:
        """Return the server's clock in seconds since 1970."""

    async def highest(self) -> int:
        """Return the outbox's highest number; 0 where it is empty."""

    async def after(self, number: int, limit: int) -> Records:
        """Return the rows above a number, in order."""

    async def within(self, stretches: Sequence[Stretch], limit: int) -> Records:
        """Return rows of these stretches."""

    async def activity(self) -> Activity | None:
        """Return the running transactions, or None where they cannot be seen now."""

    async def write(self, rows: Sequence[OutcomeRow]) -> None:
        """Write outcomes in one transaction; one that is there stays as it is. Raises OutcomeRefused."""

    async def rights(self) -> Rights:
        """Return what the connector's role may."""


class Order(Protocol):
    """How the outbox is read to its end."""

    async def read(self, cursor: str | None, limit: int) -> Reading:
        """Return the next rows."""

    async def is_behind(self, cursor: str | None) -> bool:
        """Whether the register's numbers are lower than the cursor's: it was restored, or is another."""


class XactOrder:
    """By transaction and number."""

    def __init__(self, tables: PostgresTables, form: OutboxForm) -> None:
        self._tables = tables
        self._form = form

    async def read(self, cursor: str | None, limit: int) -> Reading:
        """Return the next rows."""
        at = XactCursor.read(cursor)
        records = await self._tables.after_xact(at, limit)
        if records:
            at = self._tables.cursor_of(records[-1])
        return Reading(_rows_of(self._form, records), str(at), len(records) == limit)

    async def is_behind(self, cursor: str | None) -> bool:
        """Whether new rows would come under numbers that were passed already."""
        return XactCursor.read(cursor).xact >= await self._tables.next_xact()


class NumberOrder:
    """By number alone, missing numbers remembered."""

    def __init__(self, tables: Tables, form: OutboxForm) -> None:
        self._tables = tables
        self._form = form
        self._asked_s = 0.0
        self._told_full = False

    async def read(self, cursor: str | None, limit: int) -> Reading:
        """Return the rows that were missed and have appeared, then the next ones."""
        at = GapCursor.read(cursor)
        late: Records = []
        if at.missed:
            at, late = await self._look_again(at, limit)
        room = limit - len(late)
        following: Records = [] if at.full or not room else await self._tables.after(at.top, room)
        if following:
            numbers = [self._number(record) for record in following]
            at = at.advanced(numbers, await self._tables.now_s())
        if at.full and not self._told_full:
            _log.warning("too many numbers of the outbox are missing: no new rows are read until some are settled")
        self._told_full = at.full
        return Reading(_rows_of(self._form, [*late, *following]), str(at), len(late) + len(following) == limit)

    async def _look_again(self, at: GapCursor, limit: int) -> tuple[GapCursor, Records]:
        """Look for missing numbers; settle what cannot appear any more, by what ran before the look."""
        loop_s = asyncio.get_running_loop().time()
        settling = loop_s - self._asked_s >= ACTIVITY_EVERY_S
        now_s, activity = 0.0, None
        if settling:
            self._asked_s = loop_s
            now_s, activity = await self._tables.now_s(), await self._tables.activity()
        late = await self._tables.within(at.stretches, limit)
        at = at.found(map(self._number, late))
        if settling and len(late) < limit:
            at, given_up = at.settled(now_s, activity, self._form.gap_wait_s, self._form.blind_wait_s)
            if given_up:
                _log.warning("missing numbers of the outbox are given up: see blind_wait_s", stretches=given_up)
        return at, late

    def _number(self, record: Mapping[str, Any]) -> int:
        number = record[str(self._form.columns.id)]
        if type(number) is not int:
            raise SourceFault("The outbox's number column holds something that is no whole number: map columns.id.")
        return number

    async def is_behind(self, cursor: str | None) -> bool:
        """Whether new rows would come under numbers that were passed already."""
        return GapCursor.read(cursor).top > await self._tables.highest()


class Register:
    """The register: its tables, and the order in which its outbox is read. Outcomes are written into its table."""

    batch_max = OUTCOMES_IN_ONE_BATCH_MAX

    def __init__(self, tables: Tables, order: Order) -> None:
        self.tables = tables
        self.order = order

    async def take(self, rows: Sequence[OutcomeRow]) -> None:
        """Write outcomes. Raises SourceUnreachable, SourceFault, OutcomeRefused."""
        await self.tables.write(rows)


def _rows_of(form: OutboxForm, records: Records) -> list[NativeRow | Aside]:
    try:
        return [read_record(form, record, OUTBOX) for record in records]
    except ZoneUnknown:
        raise SourceFault(_ZONE_UNKNOWN) from None


@asynccontextmanager
async def open_register(url: str, mapping: RegisterMapping | None = None) -> AsyncIterator[Register]:
    """Lend the register of REGISTER_URL; connections are opened when needed. Raises SettingsFault, SourceFault."""
    mapping = mapping or RegisterMapping()
    scheme = urlsplit(url).scheme
    if scheme in _POSTGRES:
        async with outbox_postgres.open_tables(url, mapping) as postgres:
            by_xact = mapping.outbox.columns.xact is not None
            order: Order = (XactOrder if by_xact else NumberOrder)(postgres, mapping.outbox)
            yield Register(postgres, order)
    elif scheme in _MARIADB:
        if mapping.outbox.columns.xact is not None:
            raise SettingsFault(
                "MariaDB and MySQL have no column of transactions: give a REGISTER_MAPPING_FILE without columns.xact."
            )
        async with outbox_mariadb.open_tables(url, mapping) as mariadb:
            yield Register(mariadb, NumberOrder(mariadb, mapping.outbox))
    else:
        raise SettingsFault("REGISTER_URL is no address of a register: write postgresql:// or mariadb:// and so on.")
