"""A simulated year as signed messages through the hub's own desk, and what its overseer finds in it.

A fiftieth of national traffic goes the whole way: signed in batches, admitted, taken in, folded, recommended, followed,
judged. Only Kafka is left out, whose clock cannot be told that it is last year.
"""

import gc
from collections.abc import AsyncIterator
from datetime import date, timedelta

import asyncpg
import pytest
from jiter import from_json

from contracts.oversight.dossier import Dossier
from contracts.oversight.register import Registered, enter
from contracts.oversight.statistics import count_month, observe
from devstack.agencies import misdeeds
from devstack.agencies.year import HUB, NATIONAL_FILES
from hub import fsck
from hub.store import dossiers, inspection
from tests.hub.exchange import Exchange
from tests.hub.insider import write_past_the_hub
from tests.hub.national import Year, stretches, watch
from tests.hub.test_overseer import findings
from tests.oversight.by_hand import Month
from tests.oversight.year import RULES, tell

pytestmark = pytest.mark.anyio

SEED = 2012
FILES = NATIONAL_FILES // 50
FEW = 30
# What an insider writes past the hub is not for fsck to find sound; two others need the traffic of a whole unit.
SEEN = sorted(misdeeds.ALL.keys() - {"unfounded_recommendation", "queue_jump", "favoured_intermediary"})
WATCHED_EVERY = timedelta(days=120)
MONTH, LAST_DAY = date(2025, 8, 1), "2025-08-31"


@pytest.fixture
async def exchange(database: str) -> AsyncIterator[Exchange]:
    """Give an exchange that need not survive a power cut, which is tried elsewhere; nothing looks for garbage."""
    connection = await asyncpg.connect(database)
    name = await connection.fetchval("SELECT quote_ident(current_database())")
    await connection.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    await connection.close()
    gc.disable()
    opened = await Exchange.open(database)
    yield opened
    await opened.database.close()
    gc.enable()
    gc.collect()


async def test_a_small_year_shows_each_misdeed_once_and_leaves_the_database_sound(exchange: Exchange) -> None:
    year = await Year.open(exchange)
    told = tell(4, FEW, (misdeeds.ALL[name] for name in SEEN))
    for part in stretches(told):
        await year.take(part, part[-1].known_at)
    await watch(exchange, told[-1].known_at + timedelta(days=30))
    assert sorted(await findings(exchange, closed=True)) == [(name, "open", 1) for name in SEEN]
    assert await fsck.check(exchange.database) == []


async def test_a_fiftieth_of_the_nations_year_shows_exactly_the_twelve(exchange: Exchange) -> None:
    year = await Year.open(exchange)
    told = tell(SEED, FILES, misdeeds.ALL.values())
    watched_at = told[0].known_at
    forged = []
    for part in stretches(told):
        now = part[-1].known_at
        if part[0].source == HUB:
            forged.append(part[0].key)
            await write_past_the_hub(exchange, part[0].key, now)
        else:
            await year.take(part, now)
        if now - watched_at > WATCHED_EVERY:
            await watch(exchange, now)
            watched_at = now
    await watch(exchange, told[-1].known_at + timedelta(days=30))
    # Nothing was opened on the way and closed again either: an honest file is never suspected.
    assert sorted(await findings(exchange, closed=True)) == [(name, "open", 1) for name in sorted(misdeeds.ALL)]
    async with exchange.database.connection() as connection:
        listed = await dossiers.list_findings(connection, closed=False)
    assert [one["subject"] for one in listed if one["finding"] == "unfounded_recommendation"] == forged
    assert year.messages == sum(one.source != HUB for one in told)
    async with exchange.database.snapshot() as connection:
        folded = [Dossier(*one) async for one in dossiers.stream_all(connection)]
        kept = {
            row["application"]: row["entry"] async for row in inspection.stream(connection, inspection.READ_REGISTER)
        }
    later = told[-1].known_at
    seen = [one for known in folded if (one := observe(known, RULES.book, later)) is not None]
    rows = {row.figure: row.value for row in count_month(seen, MONTH) if row.by in ("total", "currency")}
    by_hand = Month(told, f"{MONTH:%Y-%m}").totals(LAST_DAY)
    assert {name: rows[name] for name in by_hand} == by_hand
    entered = [entry for known in folded if (entry := enter(known)) is not None]
    assert {name: Registered.from_json(from_json(entry.encode())) for name, entry in kept.items()} == {
        entry.application: entry for entry in entered
    }
