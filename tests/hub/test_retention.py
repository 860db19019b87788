"""What goes after its time goes without a stall and opens no door: what comes again is refused or recognised."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from contracts.errors import Code
from contracts.wire.record import Record
from hub import accounts, fsck, retention
from hub.retention import ATTEMPTS_KEPT_MONTHS, QUARANTINE_KEPT_DAYS, STRETCHES_KEPT_DAYS, BusyElsewhere, add_months
from hub.store import counts, positions, repairs
from hub.store import retention as store
from hub.store.positions import Superseded
from hub.store.privileges import read_matrix
from tests.connectors.engineer import Page
from tests.hub.exchange import CODE, Exchange
from tests.hub.terminal import Operator

pytestmark = pytest.mark.anyio
NOW = datetime.now(UTC)
LONG_AGO = NOW - timedelta(days=QUARANTINE_KEPT_DAYS + 1)
PAGE = Page.read("retention.md")
ROOT = Path(__file__).parents[2]
STRETCHES = "SELECT count(*)::int AS n, max(to_offset)::int AS end FROM watermark_interval WHERE topic_id LIKE '%bri'"


@pytest.fixture
async def exchange(database: str) -> AsyncIterator[Exchange]:
    """Give an exchange that took payments one by one long ago, and refused one with a changed byte."""
    opened = await Exchange.open(database)
    for _ in range(4):
        await opened.take(opened.bri.sign(opened.bri.paid()), now=LONG_AGO)
    await opened.take(refused(opened), now=LONG_AGO)
    yield opened
    await opened.database.close()


def refused(exchange: Exchange) -> Record:
    """Write what its signer may not say."""
    return exchange.bri.sign(exchange.bri.write("id.tka.ministry.permit.revoked.v1", {}, CODE))


async def apply(exchange: Exchange, now: datetime = NOW) -> retention.Plans:
    return await retention.apply(exchange.desk, "siti", "The month is over.", now)


async def attempt(exchange: Exchange, at: datetime, count: int = 1) -> None:
    async with exchange.database.connection() as connection:
        await connection.execute(
            "INSERT INTO attempts (at, door, outcome, subject, address)"
            " SELECT $1, 'account', 'failed', sha256('siti'), '192.0.2.1' FROM generate_series(1, $2)",
            at, count,
        )  # fmt: skip


async def test_a_plan_changes_nothing_and_names_every_table(exchange: Exchange) -> None:
    before = await exchange.row(STRETCHES)
    rows = await retention.look(exchange.database, 90, NOW)
    assert await exchange.row(STRETCHES) == before
    assert {row.table for row in rows} == read_matrix().keys()
    assert {row.table: row.goes for row in rows if row.goes} == {"watermark_interval": 4, "quarantine": 1}
    assert all(row.bytes >= 0 and row.rule and row.why for row in rows)


def test_every_table_has_exactly_one_rule() -> None:
    going = {"watermark_interval", "quarantine", "attempts"}
    assert not (retention.KEPT.keys() & retention.SMALL.keys()) | (going & (retention.KEPT.keys() | retention.SMALL))
    assert retention.KEPT.keys() | retention.SMALL.keys() | going == read_matrix().keys()


def test_evidence_and_what_tells_a_repeat_never_go() -> None:
    assert {
        "leaves",
        "checkpoints",
        "inbox",
        "watermark",
        "cases",
        "findings",
        "outbox",
        "lookups",
    } <= retention.KEPT.keys()


async def test_joined_stretches_say_the_same_and_a_replay_of_them_is_superseded(exchange: Exchange) -> None:
    went = await apply(exchange)
    assert went.stretches == 4
    assert await exchange.row(STRETCHES) == {"n": 1, "end": 5}
    assert await fsck.check(exchange.database) == []
    async with exchange.database.transaction() as tx:
        with pytest.raises(Superseded):
            await positions.move(tx, "id-of-from.bri", 0, 0, 1, "consumed", NOW)
    assert (await apply(exchange)).stretches == 0


async def test_lost_and_young_stretches_stay_and_many_steps_tile_as_one(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "ROWS_PER_STEP_MAX", 3)
    async with exchange.database.transaction() as tx:
        await positions.move(tx, "id-of-from.bri", 0, 5, 7, "lost", LONG_AGO)
        for start in range(7, 20):
            await positions.move(tx, "id-of-from.bri", 0, start, start + 1, "consumed", LONG_AGO)
        young = NOW - timedelta(days=STRETCHES_KEPT_DAYS - 1)
        for start in range(20, 24):
            await positions.move(tx, "id-of-from.bri", 0, start, start + 1, "consumed", young)
    await apply(exchange)
    async with exchange.database.connection() as connection:
        left = await connection.fetch("SELECT from_offset, to_offset, kind FROM watermark_interval ORDER BY 1")
    tiles = [(0, 5, "consumed"), (5, 7, "lost"), (7, 20, "consumed")]
    assert [tuple(row) for row in left] == [*tiles, *((n, n + 1, "consumed") for n in range(20, 24))]


async def test_a_message_of_any_age_is_refused_as_expired_or_recognised(exchange: Exchange) -> None:
    value = exchange.bri.paid()
    first = exchange.bri.sign(value)
    await exchange.take(first, now=LONG_AGO)
    sent = len(await exchange.sent("to.ministry"))
    await apply(exchange)
    assert (await exchange.take(first)).duplicate == 1
    late = round((NOW + timedelta(days=500)).timestamp() * 1_000)
    again = await exchange.take(exchange.bri.sign(value, append_time_ms=late))
    assert again.refused == {Code.MESSAGE_EXPIRED: 1}
    assert len(await exchange.sent("to.ministry")) == sent


async def test_a_refused_record_without_its_bytes_cannot_be_taken_up_and_is_known_again(exchange: Exchange) -> None:
    record = refused(exchange)
    await exchange.take(record, now=LONG_AGO)
    assert (await apply(exchange)).parked == 2
    row = await exchange.row("SELECT value, headers, salt, key FROM quarantine ORDER BY id DESC LIMIT 1")
    assert row == {"value": None, "headers": "[]", "salt": None, "key": None}
    nobody = (None,) * 5
    dry_run = repairs.Action(1, "rehearse", 2, *nobody, "siti", "Try.", NOW, None, None, None)
    async with exchange.database.connection() as connection:
        assert await repairs.select(connection, dry_run, 10) == ([], 0)
    assert (await exchange.take(record)).accepted == 0
    assert await fsck.check(exchange.database) == []
    assert len(await list_refused(exchange)) == 2
    async with exchange.database.connection() as connection:
        await connection.execute("UPDATE quarantine SET digest = NULL")
    assert len(await list_refused(exchange)) == 3, "it is the digest by which a repeat counts once"


async def list_refused(exchange: Exchange) -> list[int]:
    async with exchange.database.snapshot() as connection:
        return [row[0] async for row in counts.read_refused(connection, 0, 1_000_000, "bri")]


async def test_bytes_stay_as_long_as_a_message_may_travel(exchange: Exchange) -> None:
    assert retention.find_cutoffs(NOW, 2_000).quarantine == NOW - timedelta(days=2_000)
    assert retention.find_cutoffs(NOW, 90).quarantine == NOW - timedelta(days=QUARANTINE_KEPT_DAYS)


async def test_the_log_says_first_who_did_it(exchange: Exchange) -> None:
    leaf = "SELECT convert_from(entry, 'UTF8') AS entry FROM leaves ORDER BY log_index DESC LIMIT 1"
    await apply(exchange)
    said = (await exchange.row(leaf))["entry"]
    assert '"action":"retention"' in said
    assert '"actor":"siti"' in said
    assert "4_stretches,_1_refused" in said
    before = await exchange.row("SELECT count(*) AS n FROM leaves")
    await apply(exchange)
    assert await exchange.row("SELECT count(*) AS n FROM leaves") == before, "nothing went, so there is nothing to say"


async def test_a_month_of_attempts_goes_whole_and_the_limit_on_attempts_stands(exchange: Exchange) -> None:
    await apply(exchange)
    later = datetime.combine(add_months(NOW.date().replace(day=1), 1), datetime.min.time(), UTC) + timedelta(days=3)
    await attempt(exchange, later, 5)
    await attempt(exchange, LONG_AGO, 3)
    end = add_months(later.date().replace(day=1), ATTEMPTS_KEPT_MONTHS + 1)
    now = datetime.combine(end, datetime.min.time(), UTC)
    await attempt(exchange, now - timedelta(minutes=5), 4)
    planned = await apply(exchange, now)
    assert (planned.months, planned.rest) == ([store.name_month(later.date())], 3)
    left = await exchange.row("SELECT count(*)::int AS n, min(at) AS first FROM attempts")
    assert left == {"n": 4, "first": now - timedelta(minutes=5)}
    assert now - accounts.ATTEMPTS_WINDOW > retention.find_cutoffs(now, 90).attempts_at


async def test_an_attempt_in_a_month_without_a_partition_is_kept_all_the_same(exchange: Exchange) -> None:
    await attempt(exchange, NOW + timedelta(days=3_000))
    assert (await exchange.row("SELECT count(*)::int AS n FROM attempts_rest"))["n"] == 1


async def test_it_waits_for_no_transaction_of_the_intake_and_none_waits_for_it(exchange: Exchange) -> None:
    async with exchange.database.transaction() as intake:
        await positions.move(intake, "id-of-from.bri", 0, 5, 6, "consumed", NOW)
        await intake.execute("SELECT FROM log FOR UPDATE")
        async with asyncio.timeout(5), exchange.database.transaction() as tx:
            assert await store.begin_step(tx)
            await tx.execute("SET LOCAL lock_timeout = 1")
            gone, _ = await store.join_stretches(tx, ("id-of-from.bri", 0), NOW, 0, 100)
            assert gone == 4
            assert await store.empty_parked(tx, NOW, NOW, 100) == 1
            # Both are uncommitted; the intake goes on beside them.
            await positions.move(intake, "id-of-from.bri", 0, 6, 7, "consumed", NOW)
    assert await exchange.row(STRETCHES) == {"n": 3, "end": 7}


async def test_a_month_that_somebody_reads_is_given_up_soon_and_nobody_queues_behind_it(
    exchange: Exchange, database: str
) -> None:
    first = date(2024, 1, 1)
    async with exchange.database.transaction() as tx:
        await store.add_month(tx, first, add_months(first, 1))
    reader = await asyncpg.connect(database)
    try:
        async with reader.transaction():
            await reader.execute("SELECT count(*) FROM attempts")
            began = asyncio.get_running_loop().time()
            with pytest.raises(BusyElsewhere, match="later"):
                await apply(exchange)
            waited = asyncio.get_running_loop().time() - began
        assert waited < retention.LOCK_TRIES_MAX * (store.LOCK_WAIT_MS / 1_000 + retention.BETWEEN_TRIES_S) + 3
    finally:
        await reader.close()
    assert (await apply(exchange)).months == [store.name_month(first)]


async def test_two_do_not_apply_at_once(exchange: Exchange) -> None:
    async with exchange.database.transaction() as tx:
        assert await store.begin_step(tx)
        with pytest.raises(BusyElsewhere, match="else"):
            await apply(exchange)


def test_the_page_s_commands_run(installed: Operator) -> None:
    for block in PAGE.blocks("Look") + PAGE.blocks("Let it go"):
        for line in block.splitlines():
            words = re.sub(r'"[^"]*"', "why", line).split()
            done = installed.hub(*words[1:])
            assert done.code == 0, done.err
    assert "never goes" in installed.hub("retention", "plan").out
    assert {row["table"] for row in installed.hub("retention", "plan", "--json").json} == read_matrix().keys()
