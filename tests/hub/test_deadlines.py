"""The clock's door against the real database: retries, timers, heartbeats, one leader at a time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from tenacity import AsyncRetrying, retry_if_result, stop_after_delay, wait_fixed

from contracts.wire.key import PrivateKey
from hub.deadlines import Deadlines, Duty
from hub.health import Health
from hub.store import assertions
from hub.store.log import RegistryChanged
from tests.hub.exchange import Exchange

pytestmark = pytest.mark.anyio
PATIENCE_S = 30
UNMATCHED_TIMERS = "SELECT count(*) FROM timers WHERE name = 'unmatched'"


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for a condition with a deadline."""

    async def look() -> bool:
        return await condition()

    patiently = AsyncRetrying(
        stop=stop_after_delay(PATIENCE_S), wait=wait_fixed(0.05), retry=retry_if_result(lambda held: not held)
    )
    await patiently(look)


@pytest.fixture
async def exchange(database: str) -> AsyncIterator[Exchange]:
    """Give an exchange whose payments wait for one second until nobody has billed them."""
    opened = await Exchange.open(database, unmatched_s=1)
    yield opened
    await opened.database.close()


@asynccontextmanager
async def running(*doors: Deadlines) -> AsyncIterator[None]:
    """Run deadlines until the block ends."""
    stop = asyncio.Event()
    tasks = [asyncio.create_task(door.run(stop)) for door in doors]
    try:
        yield
    finally:
        stop.set()
        await asyncio.gather(*tasks)


async def count(exchange: Exchange, query: str) -> int:
    """Return the number that a query gives."""
    async with exchange.database.connection() as connection:
        return int(await connection.fetchval(query))


async def test_a_message_is_taken_in_once_its_key_is_registered(exchange: Exchange, database: str) -> None:
    late = PrivateKey.generate("Ed25519")
    exchange.bri.key = late
    taken = await exchange.take(exchange.bri.sign(exchange.bri.paid()))
    assert taken.deferred == 1
    async with running(Deadlines(exchange.desk, database, Health())):
        exchange.bri.registered.append(late)
        await exchange.register(exchange.participants())
        await until(lambda: _is(exchange, "SELECT count(*) FROM inbox", 1))
    assert await count(exchange, "SELECT count(*) FROM deferred") == 0


async def test_a_message_whose_key_never_comes_is_refused_when_its_time_is_up(
    exchange: Exchange, database: str
) -> None:
    exchange.bri.key = PrivateKey.generate("Ed25519")
    await exchange.take(exchange.bri.sign(exchange.bri.paid()), now=datetime.now(UTC) - timedelta(hours=1))
    async with running(Deadlines(exchange.desk, database, Health())):
        await until(lambda: _is(exchange, "SELECT count(*) FROM quarantine WHERE code = 'key_unknown'", 1))
    assert await count(exchange, "SELECT count(*) FROM deferred") == 0


async def _is(exchange: Exchange, query: str, number: int) -> bool:
    return await count(exchange, query) == number


async def test_a_payment_that_nobody_billed_is_told_and_its_firing_is_logged(exchange: Exchange, database: str) -> None:
    await exchange.take(exchange.bri.sign(exchange.bri.paid()))
    async with running(Deadlines(exchange.desk, database, Health())):
        await until(lambda: _is(exchange, UNMATCHED_TIMERS, 0))
    outcomes = [e["data"]["outcome"] for e in await exchange.sent("to.bri") if e["type"].endswith("outcome.v1")]
    assert outcomes == ["unmatched"]
    fired = 'SELECT count(*) FROM leaves WHERE position(\'"kind":"timer"\'::bytea IN entry) > 0'
    assert await count(exchange, fired) == 1


async def test_every_participants_stream_gets_a_heartbeat_signed_in_its_turn(exchange: Exchange, database: str) -> None:
    async with running(Deadlines(exchange.desk, database, Health())):
        await until(lambda: _is(exchange, "SELECT count(*) FROM outbox", 4))
    (beat,) = await exchange.sent("to.immigration")
    assert beat["data"] == {"topic": "to.immigration", "partition": 0, "last_sequence": 0, "registry_version": 1}


async def test_of_two_only_one_acts_and_the_other_takes_over(exchange: Exchange, database: str) -> None:
    first, second = Deadlines(exchange.desk, database, Health()), Deadlines(exchange.desk, database, Health())
    async with running(second):
        async with running(first):
            await until(lambda: _is(exchange, "SELECT count(*) FROM outbox", 4))
            exchange.bri.key = PrivateKey.generate("Ed25519")
            await exchange.take(exchange.bri.sign(exchange.bri.paid()), now=datetime.now(UTC) - timedelta(hours=1))
            await until(lambda: _is(exchange, "SELECT count(*) FROM quarantine", 1))
        await exchange.take(exchange.bri.sign(exchange.bri.paid()), now=datetime.now(UTC) - timedelta(hours=1))
        await until(lambda: _is(exchange, "SELECT count(*) FROM quarantine", 2))


async def test_a_cut_session_is_opened_again(exchange: Exchange, database: str) -> None:
    async with running(Deadlines(exchange.desk, database, Health())):
        await until(lambda: _is(exchange, "SELECT count(*) FROM outbox", 4))
        connection = await asyncpg.connect(database)
        cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'hub-deadlines'"
        await connection.execute(cut)
        await connection.close()
        await exchange.take(exchange.bri.sign(exchange.bri.paid()))
        await until(lambda: _is(exchange, UNMATCHED_TIMERS, 0))


async def test_gaps_are_followed_and_old_assertions_forgotten(exchange: Exchange, database: str) -> None:
    values = [exchange.bri.paid() for _ in range(5)]
    await exchange.take(*(exchange.bri.sign(value) for value in (values[0], values[1], values[3])))
    async with exchange.database.connection() as connection:
        await assertions.spend(connection, "old", datetime.now(UTC) - timedelta(minutes=5))
    async with running(Deadlines(exchange.desk, database, Health())):
        await until(lambda: _is(exchange, "SELECT COALESCE(max(contiguous), 0) FROM source_sequences", 2))
        await exchange.take(exchange.bri.sign(values[2]))
        await until(lambda: _is(exchange, "SELECT max(contiguous) FROM source_sequences", 4))
    assert await count(exchange, "SELECT count(*) FROM assertions") == 0


async def test_a_defect_in_one_duty_is_told_and_does_not_spread() -> None:
    health, worked = Health(), []

    async def fail(now: datetime) -> None:
        raise ValueError("with a name in it")

    async def work(now: datetime) -> None:
        worked.append(now)

    for duty in (Duty("timers", 0.0, fail), Duty("heartbeats", 30.0, work)):
        await duty.fulfil(100.0, health)
    assert health.problems() == {"deadlines: timers": "Failed with ValueError."}
    assert len(worked) == 1


async def test_a_duty_keeps_its_pace_and_comes_again_at_once_after_a_new_registry() -> None:
    health, calls = Health(), 0

    async def work(now: datetime) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise RegistryChanged

    duty: Any = Duty("heartbeats", 30.0, work)
    for clock_s in (0.0, 1.0, 2.0, 30.0, 31.0):
        await duty.fulfil(clock_s, health)
    assert calls == 3
