"""A part of a simulated year as signed messages through the hub's own desk, and what its overseer finds in it."""

import itertools
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from devstack.agencies import misdeeds
from devstack.agencies.year import HUB, Told
from hub import fsck
from tests.contracts.samples import SAMPLES
from tests.hub.exchange import BANK_CODES, Exchange, Sender
from tests.hub.test_overseer import findings, oversee
from tests.oversight.year import tell

pytestmark = pytest.mark.anyio

FILES = 30
# What an insider writes past the hub has a test of its own; two others need the traffic of a whole unit.
SEEN = sorted(misdeeds.ALL.keys() - {"unfounded_recommendation", "queue_jump", "favoured_intermediary"})
RUN_MAX = 50


def complete(told: Told, blocks: dict[str, dict[str, Any]], participant: str) -> dict[str, Any]:
    """What was told, with the members that a simulated year leaves out since nobody folds them."""
    block = blocks.get(told.key, {})
    sample = {name: value for name, value in SAMPLES[told.type].items() if name not in told.data}
    if told.type.startswith("id.tka.ministry.permit.submitted"):
        blocks[told.key] = block = {name: told.data[name] for name in SAMPLES[told.type].keys() & told.data.keys()}
    data = sample | {name: value for name, value in block.items() if name in sample} | told.data
    if "bank_code" in data:
        data["bank_code"] = BANK_CODES[participant]
    if "person" in data:
        data["person"] = data["person"] | {"nationality": data["nationality"]}
    if data.get("fx_rate", "") is None:
        del data["fx_rate"], data["fx_date"]
    return data


def sender_of(exchange: Exchange, told: Told) -> Sender:
    """Who says it; the third bank's customers are the first one's here."""
    name = told.source[8:].partition(".")[0]
    return {"ministry": exchange.ministry, "immigration": exchange.immigration, "mandiri": exchange.mandiri}.get(
        name, exchange.bri
    )


def runs(exchange: Exchange, told: list[Told]) -> Iterator[tuple[Sender, list[Told]]]:
    """The messages in their order, those of one sender that follow each other within a minute together."""
    for sender, group in itertools.groupby(told, key=lambda one: sender_of(exchange, one)):
        run: list[Told] = []
        for one in group:
            if run and (one.known_at - run[0].known_at > timedelta(minutes=1) or len(run) == RUN_MAX):
                yield sender, run
                run = []
            run.append(one)
        yield sender, run


async def test_a_year_through_the_real_desk_shows_each_misdeed_once(database: str) -> None:
    exchange = await Exchange.open(database)
    everything = tell(4, FILES, (misdeeds.ALL[name] for name in SEEN))
    told = [one for one in everything if one.source != HUB]
    blocks: dict[str, dict[str, Any]] = {}
    for sender, run in runs(exchange, told):
        values = [
            sender.write(one.type, complete(one, blocks, sender.participant), one.key, time=one.time) for one in run
        ]
        taken = await exchange.take(*map(sender.sign, values), now=run[-1].known_at)
        assert (taken.accepted, dict(taken.refused)) == (len(run), {}), run
    await oversee(exchange, told[-1].known_at + timedelta(days=30))
    assert sorted(await findings(exchange)) == [(name, "open", 1) for name in SEEN]
    assert await fsck.check(exchange.database) == []
    await exchange.database.close()
