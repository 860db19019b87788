"""An outbox on a real MariaDB: nothing passed by, whatever commits late; outcomes once; rights told in words."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from asyncmy.cursors import DictCursor

from connectors.link.fault import SettingsFault, SourceFault, SourceUnreachable
from connectors.ministry.exchange import NOTE_CURSOR
from connectors.ministry.gaps import GapCursor
from connectors.ministry.mapping import Mapping as RegisterMapping
from connectors.ministry.mapping import read_mapping
from connectors.ministry.outbox_mariadb import read_options
from connectors.ministry.register import NumberOrder, open_register
from connectors.ministry.rights import OutcomeRefused
from connectors.ministry.translate import NativeRow, OutcomeRow
from tests.connectors.mariadb import Mariadb
from tests.connectors.parties import eventually
from tests.connectors.test_ministry import AT, FILE, Connector, connector_on, rows_in
from tests.contracts.samples import APPLICATION

pytestmark = pytest.mark.needs("mariadb")

TABLES = (
    "CREATE TABLE changes (no BIGINT AUTO_INCREMENT PRIMARY KEY, changed_at DATETIME(3) NOT NULL,"
    " status VARCHAR(32) NOT NULL, permit_no VARCHAR(64), body JSON NOT NULL) ENGINE=InnoDB",
    "CREATE TABLE answers (id VARCHAR(64) PRIMARY KEY, about VARCHAR(32) NOT NULL, permit_no VARCHAR(64),"
    " body JSON NOT NULL) ENGINE=InnoDB",
)
MAPPING = """
[outbox]
table = "changes"
time_zone = "Asia/Jakarta"
gap_wait_s = 1
[outbox.columns]
id = "no"
at = "changed_at"
kind = "status"
application = "permit_no"
payload = "body"
[outcome]
table = "answers"
[outcome.columns]
event_id = "id"
kind = "about"
application = "permit_no"
payload = "body"
"""
JAKARTA = (AT + timedelta(hours=7)).strftime("%Y-%m-%d %H:%M:%S")


class Register:
    """A register's database and the connector's role in it."""

    def __init__(self, server: Mariadb, name: str) -> None:
        self.server, self.name = server, name
        self.url = server.url(name, "secret", name)
        self.mapping = read_mapping(MAPPING)

    async def run(self, *statements: str) -> list[dict[str, Any]]:
        return list(await self.server.execute(*statements, database=self.name))

    async def write(self, status: str = "LENGKAP", payload: Mapping[str, Any] = FILE, *, no: int | None = None) -> int:
        connection = await self.server.connect(self.name)
        try:
            async with connection.cursor() as cursor:
                return await insert(cursor, status, payload, no=no)
        finally:
            await connection.ensure_closed()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        """Lend a cursor whose work is not committed; what is left open is rolled back."""
        connection = await self.server.connect(self.name, autocommit=False)
        try:
            async with connection.cursor(DictCursor) as cursor:
                yield cursor
        finally:
            await connection.ensure_closed()


async def insert(cursor: Any, status: str = "LENGKAP", payload: Mapping[str, Any] = FILE, no: int | None = None) -> int:
    await cursor.execute(
        "INSERT INTO changes (no, changed_at, status, permit_no, body) VALUES (%s, %s, %s, %s, %s)",
        (no, JAKARTA, status, APPLICATION, json.dumps(payload)),
    )
    return int(cursor.lastrowid or no or 0)


@pytest.fixture
async def mariadb(mariadb_server: Mariadb) -> AsyncIterator[Register]:
    await mariadb_server.wait_until_ready()
    name = mariadb_server.new_name()
    register = Register(mariadb_server, name)
    await mariadb_server.execute(f"CREATE DATABASE {name}")
    await register.run(
        *TABLES,
        f"CREATE USER {name}@'127.0.0.1' IDENTIFIED BY 'secret'",
        f"GRANT SELECT ON {name}.changes TO {name}@'127.0.0.1'",
        f"GRANT SELECT, INSERT ON {name}.answers TO {name}@'127.0.0.1'",
        f"GRANT PROCESS ON *.* TO {name}@'127.0.0.1'",
    )
    yield register
    await mariadb_server.execute(f"DROP DATABASE {name}", f"DROP USER {name}@'127.0.0.1'")


async def missing(connector: Connector) -> list[tuple[int, int]]:
    return GapCursor.read(await connector.spool.note(NOTE_CURSOR)).stretches


async def settle(connector: Connector) -> None:
    """Read until no number is missing any more."""

    async def is_settled() -> bool:
        await connector.read()
        return not await missing(connector)

    await eventually(is_settled)


async def test_rows_are_read_in_the_zone_of_the_mapping(tmp_path: Path, mariadb: Register) -> None:
    number = await mariadb.write()
    async with open_register(mariadb.url, mariadb.mapping) as register:
        [row] = (await register.order.read(None, 10)).rows
    assert isinstance(row, NativeRow)
    assert (row.native_key, row.at, row.application) == (f"outbox/{number}", AT, APPLICATION)


async def test_lower_number_that_commits_later_is_not_passed_by(tmp_path: Path, mariadb: Register) -> None:
    async with (
        connector_on(tmp_path, mariadb.url, mariadb.mapping) as (connector, spool),
        mariadb.transaction() as slow,
    ):
        late = await insert(slow)
        early = await mariadb.write()
        assert late < early
        assert await connector.read() == 1
        assert await missing(connector) == [(late, late)]
        # However often it looks, and long after its own wait, the number of a running transaction is not given up.
        await _wait_until_looked_for(connector)
        assert await missing(connector) == [(late, late)]
        await slow.execute("COMMIT")
        assert await connector.read() == 1
        assert await missing(connector) == []
        assert await rows_in(spool) == [f"outbox/{early}", f"outbox/{late}"]


async def _wait_until_looked_for(connector: Connector) -> None:
    """Read on until the transactions that may bring the missing number are known, and once more after that."""

    async def is_noted() -> bool:
        await connector.read()
        cursor = GapCursor.read(await connector.spool.note(NOTE_CURSOR))
        return cursor.missed[0].horizon is not None

    await eventually(is_noted)
    order = connector.register.order
    assert isinstance(order, NumberOrder)
    order._asked_s = float("-inf")
    await connector.read()


async def test_restart_while_a_number_is_missing_still_finds_it(tmp_path: Path, mariadb: Register) -> None:
    async with mariadb.transaction() as slow:
        late = await insert(slow)
        early = await mariadb.write()
        async with connector_on(tmp_path, mariadb.url, mariadb.mapping) as (connector, _):
            await connector.reader.begin()
            assert await connector.read() == 1
        await slow.execute("COMMIT")
    async with connector_on(tmp_path, mariadb.url, mariadb.mapping) as (connector, spool):
        await connector.reader.begin()
        assert await connector.read() == 1
        assert await rows_in(spool) == [f"outbox/{early}", f"outbox/{late}"]


async def test_rolled_back_number_is_settled_once_its_transaction_has_ended(tmp_path: Path, mariadb: Register) -> None:
    async with (
        connector_on(tmp_path, mariadb.url, mariadb.mapping) as (connector, spool),
        mariadb.transaction() as other,
    ):
        async with mariadb.transaction() as gone:
            await insert(gone)
        high = await mariadb.write()
        # One that began later and is still open has not drawn the number: it holds nothing up.
        await _wait_until_read(connector)
        await insert(other)
        await settle(connector)
        assert await rows_in(spool) == [f"outbox/{high}"]


async def _wait_until_read(connector: Connector) -> None:
    async def is_read() -> bool:
        await connector.read()
        cursor = GapCursor.read(await connector.spool.note(NOTE_CURSOR))
        return cursor.top > 0 and (not cursor.missed or cursor.missed[0].horizon is not None)

    await eventually(is_read)


async def test_prepared_transaction_of_nobody_holds_its_number(tmp_path: Path, mariadb: Register) -> None:
    async with mariadb.transaction() as cursor:
        await cursor.execute("COMMIT")
        await cursor.execute("XA START 'late'")
        late = await insert(cursor)
        await cursor.execute("XA END 'late'")
        await cursor.execute("XA PREPARE 'late'")
    await mariadb.write()
    async with connector_on(tmp_path, mariadb.url, mariadb.mapping) as (connector, _):
        assert await connector.read() == 1
        await _wait_until_looked_for(connector)
        assert await missing(connector) == [(late, late)]
        await mariadb.run("XA COMMIT 'late'")
        assert await connector.read() == 1


async def test_without_the_right_to_see_transactions_a_number_is_looked_for_until_its_time(
    tmp_path: Path, mariadb: Register
) -> None:
    await mariadb.run(f"REVOKE PROCESS ON *.* FROM {mariadb.name}@'127.0.0.1'")
    low = await mariadb.write()
    await mariadb.run("DELETE FROM changes")
    high = await mariadb.write()
    async with connector_on(tmp_path, mariadb.url, mariadb.mapping) as (connector, _):
        assert await connector.read() == 1
        assert await missing(connector) == [(1, high - 1)]
        assert await connector.register.tables.activity() is None
        assert (await connector.register.tables.rights()).sees_transactions is False
        await mariadb.write(no=low)
        assert await connector.read() == 1


async def test_many_rows_and_large_gaps_are_read_whole(tmp_path: Path, mariadb: Register) -> None:
    rows = ", ".join(f"({n}, '{JAKARTA}', 'LENGKAP', '{APPLICATION}', '{json.dumps(FILE)}')" for n in range(1, 2_500))
    await mariadb.run(f"INSERT INTO changes VALUES {rows}")
    await mariadb.write(no=10**12)
    async with connector_on(tmp_path, mariadb.url, mariadb.mapping) as (connector, spool):
        while await connector.reader.read_once():
            pass
        assert (await spool.status()).last_sequence == 2_500
        assert await missing(connector) == [(2_500, 10**12 - 1)]
        await settle(connector)


async def test_outcomes_are_written_once_and_never_cut(tmp_path: Path, mariadb: Register) -> None:
    outcome = OutcomeRow("e-1", "VISA", APPLICATION, None, {"nama": "Taro \\ 'Yamada' \u6771\u4eac"})
    async with open_register(mariadb.url, mariadb.mapping) as register:
        for _ in range(2):
            await register.take([outcome])
        with pytest.raises(OutcomeRefused):
            await register.take(
                [OutcomeRow("e-2", "VISA", None, None, {}), OutcomeRow("e-3", "V" * 33, None, None, {})]
            )
        await register.take([OutcomeRow("e-4", "VISA", None, None, {})])
    rows = await mariadb.run("SELECT * FROM answers ORDER BY id")
    assert [row["id"] for row in rows] == ["e-1", "e-4"]
    assert json.loads(rows[0]["body"]) == outcome.payload


async def test_register_that_came_back_older_is_read_from_the_beginning(tmp_path: Path, mariadb: Register) -> None:
    async with connector_on(tmp_path, mariadb.url, mariadb.mapping) as (connector, spool):
        await spool.put(notes={NOTE_CURSOR: str(GapCursor(top=900))})
        await mariadb.write()
        await connector.reader.begin()
        assert await connector.read() == 1


async def test_rights_are_found_without_changing_anything(mariadb: Register) -> None:
    async with open_register(mariadb.url, mariadb.mapping) as register:
        rights = await register.tables.rights()
        assert (rights.reads, rights.writes, rights.changes, rights.sees_transactions) == (True, True, False, True)
        assert rights.transactional
        await mariadb.run(
            f"GRANT DELETE ON {mariadb.name}.changes TO {mariadb.name}@'127.0.0.1'",
            f"REVOKE INSERT ON {mariadb.name}.answers FROM {mariadb.name}@'127.0.0.1'",
            "ALTER TABLE answers ENGINE = MyISAM",
        )
        rights = await register.tables.rights()
    assert (rights.writes, rights.changes, rights.transactional) == (False, True, False)
    assert await mariadb.run("SELECT * FROM answers UNION ALL SELECT * FROM answers") == []


async def test_view_can_be_the_outbox(tmp_path: Path, mariadb: Register) -> None:
    await mariadb.run(
        "CREATE VIEW shown AS SELECT no, changed_at, status, permit_no, body FROM changes",
        f"GRANT SELECT ON {mariadb.name}.shown TO {mariadb.name}@'127.0.0.1'",
        f"REVOKE SELECT ON {mariadb.name}.changes FROM {mariadb.name}@'127.0.0.1'",
    )
    await mariadb.write()
    mapping = read_mapping(MAPPING.replace('"changes"', '"shown"'))
    async with connector_on(tmp_path, mariadb.url, mapping) as (connector, _):
        assert await connector.read() == 1
        rights = await connector.register.tables.rights()
        assert (rights.reads, rights.changes, rights.transactional) == (True, False, True)


async def test_troubles_are_told_in_words(mariadb: Register) -> None:
    async with open_register("mariadb://nobody:x@127.0.0.1:1/none", mariadb.mapping) as away:
        with pytest.raises(SourceUnreachable, match="check REGISTER_URL"):
            await away.order.read(None, 1)
    stranger = mariadb.url.replace("secret", "wrong")
    async with open_register(stranger, mariadb.mapping) as closed:
        with pytest.raises(SourceFault, match="grant SELECT on outbox"):
            await closed.order.read(None, 1)
    no_zone = read_mapping(MAPPING.replace('time_zone = "Asia/Jakarta"\n', ""))
    await mariadb.write()
    async with open_register(mariadb.url, no_zone) as zoneless:
        with pytest.raises(SourceFault, match="time_zone"):
            await zoneless.order.read(None, 1)
    with pytest.raises(SettingsFault, match=r"without columns\.xact"):
        async with open_register(mariadb.url, RegisterMapping()):
            pass


@pytest.mark.parametrize("url", ["mariadb://", "mysql://host:x/db", "mysql://host/db?ssl=1", "mysql://h/d?ssl_ca=/no"])
def test_malformed_address_is_one_sentence(url: str) -> None:
    with pytest.raises(SettingsFault, match="REGISTER_URL"):
        read_options(url)
