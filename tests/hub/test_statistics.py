"""The months as the hub counts them: what anybody computes from the log up to the checkpoint, and once."""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta

import asyncpg
import pytest

from contracts.log.checkpoint import Checkpoint, sign_checkpoint
from contracts.oversight.dossier import Dossier
from contracts.oversight.handling import HandlingTally, read_handling
from contracts.oversight.lead import Rules
from contracts.oversight.statistics import WHOLES, Row, count_month, observe
from contracts.rules.rulebook import RuleSet
from contracts.wire.key import PrivateKey
from devstack.agencies.year import Told
from devstack.postgres import Postgres
from hub.month_check import check_months
from hub.overseer import Overseer
from hub.statistics import MonthKeeper
from hub.store import audit, dossiers, statistics, tiles
from hub.store.statistics import Month
from tests.hub.exchange import Exchange
from tests.oversight.year import read_facts, tell

pytestmark = pytest.mark.anyio
FILES = 260
AUGUST = date(2025, 8, 1)
LATER = datetime(2025, 9, 1, 3, tzinfo=UTC)
TOLD: list[Told] = tell(7, FILES)


@pytest.fixture(scope="module")
async def year(postgres_server: Postgres) -> AsyncIterator[Exchange]:
    """Give an exchange whose dossiers are those of a year, followed and looked at until September."""
    dsn = postgres_server.create_database()
    opened = await Exchange.open(dsn)
    facts = read_facts([one for one in TOLD if one.known_at < LATER])
    async with opened.database.transaction() as tx:
        await dossiers.lock(tx, facts)
        await dossiers.save_facts(tx, facts, LATER)
        # It began in July, and everything was followed.
        await tx.execute("ALTER TABLE registry DISABLE TRIGGER ALL")
        await tx.execute("UPDATE registry SET applied_at = '2025-07-31T18:00:00Z'")
        await tx.execute("ALTER TABLE registry ENABLE TRIGGER ALL")
    overseer = Overseer(opened.desk)
    while await overseer.look(LATER, 100):
        pass
    await sign(opened, max(fact.log_index for each in facts.values() for fact in each) + 1, LATER)
    yield opened
    await opened.database.close()
    postgres_server.drop_database(dsn)


@pytest.fixture
async def exchange(year: Exchange) -> Exchange:
    """Give it with nothing counted yet."""
    async with year.database.transaction() as tx:
        await tx.execute("ALTER TABLE monthly_statistics DISABLE TRIGGER ALL")
        await tx.execute("DELETE FROM monthly_statistics")
        await tx.execute("ALTER TABLE monthly_statistics ENABLE TRIGGER ALL")
    return year


async def sign(exchange: Exchange, size: int, at: datetime) -> None:
    """Let the log have so many entries, all followed, under a checkpoint."""
    note = sign_checkpoint(Checkpoint("hub.example/demo", size, bytes(32)), PrivateKey.generate("Ed25519"))
    async with exchange.database.transaction() as tx:
        await tx.execute("UPDATE log SET next_index = greatest($1, next_index)", size)
        await tx.execute("UPDATE oversight_position SET next_index = greatest($1, next_index)", size)
        await tiles.add_checkpoint(tx, size, note, at)


async def keep(exchange: Exchange, now: datetime) -> list[date]:
    """Work until nothing is left to count; return what was counted."""
    keeper, clock_s = MonthKeeper(exchange.database), 0.0
    counted: list[date] = []
    for _ in range(400):
        month = await keeper.work(now, clock_s)
        clock_s += 0.0 if counted else 100_000.0
        counted += [month] if month else []
        if counted and month is None and keeper._count is None:
            break
    return counted


async def read(exchange: Exchange, month: date) -> Month:
    async with exchange.database.connection() as connection:
        found = await statistics.read_month(connection, month)
    assert found is not None
    return found


async def count_by_hand(exchange: Exchange, month: date, size: int) -> list[Row]:
    """Count from the facts up to a place in the log, without anything that the overseer kept."""
    async with exchange.database.snapshot() as connection:
        rules = Rules([(i, RuleSet.read(text.encode())) for i, text in await audit.read_rule_sets(connection)])
        read = [one async for one in dossiers.stream_all(connection)]
    known = [Dossier(subject, (fact for fact in facts if fact.log_index < size)) for subject, facts in read]
    seen = [observe(one, rules.book, LATER) for one in known]
    return count_month([one for one in seen if one is not None], month)


async def test_each_month_that_is_over_is_counted_once_and_the_running_one_as_a_whole(exchange: Exchange) -> None:
    assert await keep(exchange, LATER) == [AUGUST, date(2025, 9, 1)]
    august = await read(exchange, AUGUST)
    assert august.final
    assert august.rows == await count_by_hand(exchange, AUGUST, august.log_size)
    assert {row.by for row in august.rows} > {"nationality", "province", "total"}
    september = await read(exchange, date(2025, 9, 1))
    assert not september.final
    by_hand = await count_by_hand(exchange, date(2025, 9, 1), september.log_size)
    assert september.rows == [row for row in by_hand if row.by in WHOLES]
    # Nothing is new.
    assert await MonthKeeper(exchange.database).work(LATER, 0.0) is None


async def shrink(exchange: Exchange, size: int, to: int) -> None:
    """Let the newest checkpoint be of another size, and the running month be forgotten."""
    async with exchange.database.transaction() as tx:
        await tx.execute("ALTER TABLE checkpoints DISABLE TRIGGER ALL")
        await tx.execute("UPDATE checkpoints SET size = $1 WHERE size = $2", to, size)
        await tx.execute("ALTER TABLE checkpoints ENABLE TRIGGER ALL")
        await tx.execute("DELETE FROM monthly_statistics WHERE NOT final")


async def test_what_came_behind_the_checkpoint_changes_nothing(exchange: Exchange) -> None:
    await keep(exchange, LATER)
    newest = await read(exchange, date(2025, 9, 1))
    half = newest.log_size // 2
    await shrink(exchange, newest.log_size, half)
    try:
        assert await keep(exchange, LATER) == [date(2025, 9, 1)]
        again = await read(exchange, date(2025, 9, 1))
    finally:
        await shrink(exchange, half, newest.log_size)
    by_hand = await count_by_hand(exchange, date(2025, 9, 1), half)
    assert (again.log_size, again.rows) == (half, [row for row in by_hand if row.by in WHOLES])
    assert again.rows != newest.rows


async def test_files_that_no_list_knows_are_counted_from_their_facts(exchange: Exchange) -> None:
    await keep(exchange, LATER)
    before = (await read(exchange, date(2025, 9, 1))).rows
    async with exchange.database.transaction() as tx:
        await tx.execute("DELETE FROM monthly_statistics WHERE NOT final")
        await tx.execute("UPDATE dossiers SET listed = false WHERE subject LIKE '%7/PK%'")
        await tx.execute("UPDATE files SET observed = '[]' WHERE application LIKE '%7/PK%'")
    await keep(exchange, LATER)
    assert (await read(exchange, date(2025, 9, 1))).rows == before
    overseer = Overseer(exchange.desk)
    await overseer.wake_unlisted(LATER)
    while await overseer.look(LATER, 100):
        pass
    async with exchange.database.connection() as connection:
        assert await dossiers.read_unlisted(connection) == []
        assert await connection.fetchval("SELECT count(*) FROM files WHERE observed = '[]'") == 0


async def test_a_month_that_is_over_is_never_changed(exchange: Exchange) -> None:
    await keep(exchange, LATER)
    async with exchange.database.connection() as connection:
        for statement in (
            "UPDATE monthly_statistics SET figures = '[]' WHERE final",
            "DELETE FROM monthly_statistics WHERE final",
            "TRUNCATE monthly_statistics",
        ):
            with pytest.raises(asyncpg.RaiseError):
                await connection.execute(statement)
        august = await read(exchange, AUGUST)
        await statistics.save(connection, august._replace(log_size=1), [])
    assert await read(exchange, AUGUST) == august


async def test_a_month_waits_until_the_log_was_followed(exchange: Exchange) -> None:
    async with exchange.database.transaction() as tx:
        await tx.execute("DELETE FROM monthly_statistics WHERE NOT final")
        followed = await tx.fetchval("UPDATE oversight_position SET next_index = 1 RETURNING next_index")
    assert followed == 1
    assert await MonthKeeper(exchange.database).work(LATER, 0.0) is None
    async with exchange.database.transaction() as tx:
        await tx.execute("UPDATE oversight_position SET next_index = (SELECT next_index FROM log)")
    assert await keep(exchange, LATER) == [AUGUST, date(2025, 9, 1)]


async def test_overseers_are_told_how_files_were_handled(exchange: Exchange) -> None:
    await keep(exchange, LATER)
    async with exchange.database.connection() as connection:
        rows = await statistics.read_handling(connection, AUGUST)
    tally = HandlingTally(AUGUST)
    for name, facts in read_facts([one for one in TOLD if one.known_at < LATER]).items():
        for one in read_handling(Dossier(name, facts)):
            tally.add(one)
    assert rows == tally.rows()
    notices = [one for one in TOLD if one.type.endswith("permit.deficiency_notified.v1")
               and f"{one.time + timedelta(hours=7):%Y-%m}" == "2025-08"]  # fmt: skip
    assert sum(row.number for row in rows if row.what == "pause") <= len(notices)
    assert {row.what for row in rows} >= {"pause", "visa"}


ALTERED = {
    'UPDATE monthly_statistics SET figures = replace(figures, \'"received","total","","\', '
    '\'"received","total","","9\')': "month_differs",
    "UPDATE monthly_statistics SET figures = '[]'": "month_differs",
    "UPDATE monthly_statistics SET figures = 'x'": "unreadable",
    "UPDATE monthly_statistics SET log_root = 'another'": "month_wrong",
    "UPDATE monthly_statistics SET rule_sets = '2021/9'": "month_wrong",
}


async def test_a_month_that_was_altered_is_found(exchange: Exchange) -> None:
    assert AUGUST in await keep(exchange, LATER)
    async with exchange.database.connection() as connection:
        for statement, kind in ALTERED.items():
            transaction = connection.transaction()
            await transaction.start()
            assert await check_months(connection) == []
            await connection.execute("ALTER TABLE monthly_statistics DISABLE TRIGGER ALL")
            await connection.execute(statement)
            assert [one.kind for one in await check_months(connection)] == [kind], statement
            await transaction.rollback()
