"""A stretch that was lost to retention is an alarm until an operator acknowledges it, and then a leaf of the log."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import asyncpg
import httpx
import pytest
from prometheus_client import REGISTRY

from hub import fsck, losses
from hub.deadlines import Deadlines
from hub.health import Health
from hub.store import positions
from hub.store.losses import Loss, list_losses
from hub.web import probes
from tests.hub.exchange import Exchange
from tests.hub.test_deadlines import running, until

pytestmark = pytest.mark.anyio
NOTED = datetime(2026, 3, 3, 3, 4, 5, tzinfo=UTC)
LEAVES = "SELECT convert_from(entry, 'UTF8') AS entry FROM leaves ORDER BY log_index DESC LIMIT 1"


@pytest.fixture
async def exchange(database: str) -> AsyncIterator[Exchange]:
    """Give an exchange that has lost two stretches of the bank's topic and one of the Ministry's."""
    opened = await Exchange.open(database)
    async with opened.database.transaction() as tx:
        for topic, partition, start, end in (("bri", 0, 0, 120), ("bri", 0, 150, 151), ("ministry", 1, 0, 7)):
            place = (f"id-of-from.{topic}", partition)
            await positions.open_partition(tx, *place, f"from.{topic}")
            if start:
                await positions.move(tx, *place, 120, start, "consumed", NOTED)
            await positions.move(tx, *place, start, end, "lost", NOTED)
    yield opened
    await opened.database.close()


async def names(exchange: Exchange, *, acknowledged: bool = False) -> list[str]:
    async with exchange.database.connection() as connection:
        return [loss.name for loss in await list_losses(connection, acknowledged=acknowledged)]


def figure(topic: str) -> float | None:
    return REGISTRY.get_sample_value("hub_lost_unacknowledged", {"topic": topic})


async def acknowledge(exchange: Exchange, name: str, reason: str = "All has come again.") -> None:
    await losses.acknowledge(exchange.desk, name, "siti", reason, datetime.now(UTC))


async def test_it_is_shown_until_it_is_acknowledged_and_stops_nothing(exchange: Exchange, database: str) -> None:
    health = Health()
    transport = httpx.ASGITransport(app=probes.create_app(health))

    async def said(*parts: str) -> bool:
        async with httpx.AsyncClient(transport=transport, base_url="http://hub.example") as http:
            answer = await http.get("/readyz")
        note = answer.json()["notes"].get("lost to retention", "")
        return answer.status_code == 200 and bool(note) == bool(parts) and all(part in note for part in parts)

    async with running(Deadlines(exchange.desk, database, health)):
        stretch = "from.bri/0/0 up to offset 120, noted 2026-03-03T03:04:05Z"
        await until(lambda: said(stretch, "from.ministry/1/0", "hub lost acknowledge"))
        assert (figure("from.bri"), figure("from.ministry")) == (2, 1)
        for name in await names(exchange):
            await acknowledge(exchange, name)
        await until(said)
        assert (figure("from.bri"), figure("from.ministry")) == (None, None)
    assert await fsck.check(exchange.database) == []


async def test_who_leads_no_longer_shows_nothing_old(exchange: Exchange, database: str) -> None:
    health = Health()

    async def noted() -> bool:
        return bool(health.notes())

    async with running(Deadlines(exchange.desk, database, health)):
        await until(noted)
    assert (health.notes(), figure("from.bri")) == ({}, None)


async def test_an_acknowledgement_is_a_leaf_and_stands_once(exchange: Exchange) -> None:
    assert await names(exchange) == ["from.bri/0/0", "from.bri/0/150", "from.ministry/1/0"]
    await acknowledge(exchange, "from.bri/0/150", "One heartbeat of theirs.")
    leaf = json.loads((await exchange.row(LEAVES))["entry"])
    assert {name: leaf[name] for name in ("kind", "action", "subject", "actor", "reason")} == {
        "kind": "operator_action",
        "action": "acknowledge_loss",
        "subject": "lost/from.bri/0/150",
        "actor": "siti",
        "reason": "One heartbeat of theirs.",
    }
    assert await names(exchange) == ["from.bri/0/0", "from.ministry/1/0"]
    assert len(await names(exchange, acknowledged=True)) == 3
    with pytest.raises(losses.NotLost, match="No lost stretch"):
        await acknowledge(exchange, "from.bri/0/150")
    async with exchange.database.connection() as connection:
        with pytest.raises(asyncpg.RaiseError, match="only ever added to"):
            await connection.execute("UPDATE lost_acknowledged SET reason = 'another'")


async def test_two_who_acknowledge_at_once_make_one_leaf(exchange: Exchange) -> None:
    count = "SELECT count(*) FROM leaves"
    before = (await exchange.row(count))["count"]
    done = await asyncio.gather(*[acknowledge(exchange, "from.bri/0/0") for _ in range(3)], return_exceptions=True)
    assert sorted(type(one).__name__ for one in done) == ["NoneType", "NotLost", "NotLost"]
    assert (await exchange.row(count))["count"] == before + 1


@pytest.mark.parametrize(
    "name",
    [
        "from.bri/0/120",  # It was taken in, not lost.
        "from.bri/1/0",
        "from.mandiri/0/0",
        "from.bri/0",
        "from.bri/0/-1",
        "from.bri/0/" + "9" * 30,
        "from.bri/0/0'; DROP TABLE leaves",
        "",
    ],
)
async def test_what_was_not_lost_cannot_be_acknowledged(exchange: Exchange, name: str) -> None:
    before = await exchange.row("SELECT count(*) FROM leaves")
    with pytest.raises(losses.NotLost):
        await acknowledge(exchange, name)
    assert await exchange.row("SELECT count(*) FROM leaves") == before


def test_many_are_told_in_few_words() -> None:
    found = [Loss("from.bri", 0, place, place + 1, NOTED, None, None, None) for place in range(0, 60, 2)]
    assert "; and 20 more. Look into it" in losses.tell(found)
