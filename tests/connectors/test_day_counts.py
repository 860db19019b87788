"""The connector's side of daily counts and receipts: what the spool counts, says and alarms on, without a broker."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.link.day_counts import DayCounts
from connectors.link.fact import ReceiptEntry
from connectors.link.metrics import LinkMetrics
from connectors.link.receipts import STRANGE_NOTE, ReceiptWatch
from connectors.link.spool import Spool
from contracts.counts import Range, compare, read_count
from contracts.events.hub import CountReported
from contracts.registry import Registry
from contracts.wire.envelope import read_envelope
from tests.connectors.parties import AUTHOR, World, payment

pytestmark = pytest.mark.anyio

DAY = "2026-11-23"
NOW = datetime(2026, 11, 24, 3, tzinfo=UTC)


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def spool(tmp_path: Path, clock: Clock) -> AsyncIterator[Spool]:
    async with Spool.open(tmp_path / "spool.sqlite", AUTHOR, clock=clock) as opened:
        await opened.begin()
        yield opened


async def put(spool: Spool, count: int) -> list[ReceiptEntry]:
    """Put and send messages; return what a receipt would say of each, at log indices from 10 times the sequence."""
    await spool.put([payment(number) for number in range(count)])
    rows = await spool.waiting(count)
    await spool.store_signatures([(row.sequence, "a.b.c", None) for row in rows], None)
    await spool.mark_sent([row.sequence for row in rows])
    envelopes = [read_envelope(row.value) for row in rows]
    return [ReceiptEntry(one.id, one.digest, one.sequence * 10) for one in envelopes]


def registered(*, states: bool) -> Registry:
    registry = World().registry()
    party = registry.participants["bri"]
    types = party.publishes if states else frozenset(one for one in party.publishes if "count.stated" not in one)
    return replace(registry, participants={**registry.participants, "bri": replace(party, publishes=types)})


def counts_of(spool: Spool, clock: Clock, *, states: bool = True) -> tuple[DayCounts, LinkMetrics]:
    metrics, registry = LinkMetrics(), registered(states=states)
    return DayCounts(spool, AUTHOR, lambda: registry, metrics, clock), metrics


def told(counted: dict[str, Any], last_seq: int = 0, day: str = DAY) -> CountReported:
    """The hub's count of this source's day, in which the log grew to 1,000 entries."""
    return CountReported.model_validate(
        {
            "participant": "bri", "day": day, "first_index": 0, "log_size": 1_000,
            "sources": [{"source": AUTHOR.source, **counted}],
            "sent": [{"partition": 0, "first": 1, "last": last_seq}],
        }
    )  # fmt: skip


async def said(spool: Spool) -> list[dict[str, Any]]:
    """Return what the spool holds to be said of counts."""
    values = [json.loads(row.value) for row in await spool.waiting(100)]
    return [value["data"] for value in values if value["type"].endswith("count.stated.v1")]


async def test_both_sides_come_to_the_same_and_it_is_said_once(spool: Spool, clock: Clock) -> None:
    receipts = await put(spool, 3)
    await spool.settle([receipts[0], replace(receipts[1], code="message_expired"), receipts[2]])
    counts, metrics = counts_of(spool, clock)
    own = await spool.count(0, 1_000)
    assert (own.accepted, own.refused, own.ranges) == (2, {"message_expired": 1}, (Range(1, 1), Range(3, 3)))
    await counts.keep(told(own.members()))
    assert not await counts.look()
    # A second delivery, a second look: nothing is said again.
    await counts.keep(told(own.members()))
    await counts.look()
    (statement,) = await said(spool)
    assert (statement["verdict"], statement["revision"], statement["rebuilt_at"]) == ("agrees", 1, None)
    assert read_count(statement["counted"]) == own
    assert metrics.notes == {}


async def test_what_is_erased_still_counts_and_what_was_resent_counts_once(spool: Spool, clock: Clock) -> None:
    receipts = await put(spool, 3)
    await spool.settle(receipts[:2])
    before = await spool.count(0, 1_000)
    await spool.mark_sent([1, 2])
    await spool.settle([replace(receipts[0], log_index=900), replace(receipts[1], code="key_revoked", log_index=901)])
    clock.now += timedelta(days=400)
    assert await spool.erase_settled(clock.now) == 2
    assert await spool.count(0, 1_000) == before


async def test_a_refusal_counts_where_it_was_first_said_also_after_an_operator_s_resend(spool: Spool) -> None:
    (receipt,) = await put(spool, 1)
    await spool.settle([replace(receipt, code="contract_unknown")])
    await spool.settle([replace(receipt, code="contract_unknown", log_index=50), replace(receipt, log_index=60)])
    assert (await spool.count(0, 11)).refused == {"contract_unknown": 1}
    assert (await spool.count(11, 100)).refused == {}
    assert (await spool.count(11, 100)).accepted == 1


async def test_what_differs_is_named_said_and_shown_until_it_is_mended(spool: Spool, clock: Clock) -> None:
    receipts = await put(spool, 3)
    await spool.settle(receipts)
    hub = await spool.count(0, 1_000)
    counts, metrics = counts_of(spool, clock)
    fewer = await spool.count(0, 30)
    await counts.keep(told(fewer.members()))
    await counts.look()
    (statement,) = await said(spool)
    assert statement["verdict"] == "differs"
    assert "the hub lacks 3" in metrics.notes["counts"]
    assert compare(fewer, hub).missing_at_hub == (Range(3, 3),)
    again, metrics_again = counts_of(spool, clock)
    await again.look()
    assert "the hub lacks 3" in metrics_again.notes["counts"], "a restart forgets no difference"
    assert len(await said(spool)) == 1


async def test_it_waits_until_everything_was_read_that_was_sent_before(spool: Spool, clock: Clock) -> None:
    counts, _ = counts_of(spool, clock)
    await counts.keep(told((await spool.count(0, 1_000)).members(), last_seq=5))
    await spool.note_position("to.bri", 0, 4, 4)
    assert await counts.look()
    assert await said(spool) == []
    await spool.note_position("to.bri", 0, 5, 5)
    assert not await counts.look()
    assert [one["received"] for one in await said(spool)] == [5]


async def test_an_entry_that_no_day_counts_is_named_though_each_day_agrees(spool: Spool, clock: Clock) -> None:
    receipts = await put(spool, 2)
    await spool.settle([replace(receipts[0], log_index=999), replace(receipts[1], log_index=1_000)])
    counts, metrics = counts_of(spool, clock)
    await counts.keep(told((await spool.count(0, 1_000)).members()))
    # The hub was told of 1,000, which it then forgot: its next day begins behind it.
    later = told((await spool.count(1_001, 1_500)).members(), day="2026-11-24")
    await counts.keep(later.model_copy(update={"first_index": 1_001, "log_size": 1_500}))
    await counts.look()
    assert [(one["day"], one["verdict"]) for one in await said(spool)] == [(DAY, "agrees"), ("2026-11-24", "differs")]
    assert "2026-11-24: it begins at 1001, and the count before it ends at 1000" in metrics.notes["counts"]


async def test_without_the_right_it_is_compared_and_not_said(spool: Spool, clock: Clock) -> None:
    counts, metrics = counts_of(spool, clock, states=False)
    receipts = await put(spool, 1)
    await counts.keep(told((await spool.count(0, 1_000)).members()))
    await spool.settle(receipts)
    await counts.look()
    assert await said(spool) == []
    assert "the hub lacks 1" in metrics.notes["counts"]


async def test_a_missing_receipt_is_an_alarm_until_it_comes(spool: Spool, clock: Clock) -> None:
    receipts = await put(spool, 2)
    metrics = LinkMetrics()
    watch = ReceiptWatch(spool, metrics, 60, clock)
    assert (await watch.look()).count == 0
    clock.now += timedelta(seconds=61)
    assert (await watch.look()).count == 2
    # Sending it again does not begin a new time.
    await spool.mark_sent([1, 2])
    await spool.settle([receipts[0]])
    assert (await watch.look()).first_sequence == 2
    assert "from sequence 2 on have no receipt" in metrics.notes["receipts"]
    await spool.settle([receipts[1]])
    assert (await watch.look()).count == 0
    assert metrics.notes == {}


async def test_a_refusal_that_names_no_id_settles_the_message_of_its_bytes(spool: Spool) -> None:
    receipts = await put(spool, 2)
    nameless = replace(receipts[0], event_id=None, code="key_expired")
    assert (await spool.settle([nameless])).refused == 1
    assert (await spool.settle([nameless])).again == 1
    assert (await spool.status()).sent == 1


async def test_a_receipt_for_what_was_never_sent_or_has_other_bytes_is_an_alarm(spool: Spool, clock: Clock) -> None:
    (receipt,) = await put(spool, 1)
    never = replace(receipt, event_id="00000000-0000-4000-8000-000000000000")
    settled = await spool.settle([never, replace(receipt, sha256=bytes(32)), replace(never, code="data_invalid")])
    assert (settled.unknown, settled.foreign, settled.strange, settled.strange_index) == (2, 1, 2, 10)
    assert (await spool.status()).sent == 1
    metrics = LinkMetrics()
    await spool.put(notes={STRANGE_NOTE: json.dumps({"log_index": 10, "at": "2026-11-24T03:00:00.5Z"})})
    await ReceiptWatch(spool, metrics, 60, clock).look()
    assert "entry 10" in metrics.notes["receipts"]
    clock.now += timedelta(days=8)
    await ReceiptWatch(spool, metrics, 1e9, clock).look()
    assert metrics.notes == {}
