"""Daily counts against the real database: what is counted, that no day is left out, and how the two sides compare."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from contracts.counts import Tally, read_count
from contracts.rules.clock import end_of_day, jakarta_day
from contracts.wire.envelope import read_envelope
from contracts.wire.instant import write_instant
from hub import fsck
from hub.counts import DayCounter, Made
from hub.store.counts import count_differing, list_counts
from tests.hub.exchange import Exchange, Sender

pytestmark = pytest.mark.anyio

DAY = timedelta(days=1)


@pytest.fixture
async def exchange(database: str) -> AsyncIterator[Exchange]:
    """Give an exchange whose database is sound in the end."""
    opened = await Exchange.open(database)
    yield opened
    assert await fsck.check(opened.database) == []
    await opened.database.close()


def after(days: int) -> datetime:
    """A moment shortly after so many midnights in Jakarta."""
    return end_of_day(jakarta_day(datetime.now(UTC))) + (days - 1) * DAY + timedelta(seconds=1)


async def count(exchange: Exchange, days: int = 1) -> list[Made]:
    return await DayCounter(exchange.desk).catch_up(after(days))


async def told(exchange: Exchange, participant: str = "bri") -> list[dict[str, Any]]:
    events = await exchange.sent(f"to.{participant}")
    return [event["data"] for event in events if event["type"] == "id.tka.hub.count.reported.v1"]


def own_count(*values: bytes, refused: dict[str, int] | None = None) -> dict[str, Any]:
    """Count as a sender does, from what it holds."""
    tally = Tally()
    for envelope in sorted(map(read_envelope, values), key=lambda one: one.sequence):
        tally.add(envelope.sequence, envelope.id, envelope.digest)
    return tally.close(refused or {}).members()


def state(sender: Sender, hub: dict[str, Any], counted: dict[str, Any], **others: Any) -> bytes:
    """Write what a sender says of the hub's count."""
    (sent,) = hub["sent"]
    data = {name: hub[name] for name in ("participant", "day", "first_index", "log_size")} | {
        "revision": 1, "source": sender.source, "counted": counted, "received": sent["last"] - sent["first"] + 1,
        "verdict": "agrees", "rebuilt_at": None,
    }  # fmt: skip
    kind = "ministry" if sender.participant == "ministry" else "bank"
    return sender.write(f"id.tka.{kind}.count.stated.v1", data | others, sender.participant.upper())


async def verdict(exchange: Exchange, sender: Sender, value: bytes) -> dict[str, Any]:
    """Let the hub take a statement and compare it; return what is shown of its day."""
    assert (await exchange.take(sender.sign(value))).accepted == 1
    await DayCounter(exchange.desk).judge(datetime.now(UTC))
    data = json.loads(value)["data"]
    async with exchange.database.connection() as connection:
        listed = await list_counts(connection, sender.participant, None)
    return next(one for one in listed if one["day"].isoformat() == data["day"])


async def differing(exchange: Exchange) -> dict[str, int]:
    async with exchange.database.connection() as connection:
        return await count_differing(connection)


async def test_each_participant_is_told_once_what_was_taken_and_refused_of_it(exchange: Exchange) -> None:
    good = [exchange.bri.paid() for _ in range(3)]
    stale = exchange.bri.write(
        "id.tka.bank.payment.received.v1", json.loads(good[0])["data"], json.loads(good[0])["subject"],
        recordedtime=datetime.now(UTC) - 3 * DAY, expirytime=datetime.now(UTC) - DAY,
    )  # fmt: skip
    await exchange.take(*map(exchange.bri.sign, good), exchange.bri.sign(stale))
    made = await count(exchange)
    assert {one.participant: (one.accepted, one.refused) for one in made} == {
        "bri": (3, 1), "immigration": (0, 0), "mandiri": (0, 0), "ministry": (0, 0),
    }  # fmt: skip
    (hub,) = await told(exchange)
    (source,) = hub["sources"]
    assert {name: source[name] for name in own_count(*good)} == own_count(*good, refused={"message_expired": 1})
    assert hub["sent"] == [{"partition": 0, "first": 1, "last": 1}]
    leaf = await exchange.row("SELECT entry FROM leaves WHERE position('\"participant\":\"bri\",\"refused\"' IN "
                              "convert_from(entry, 'UTF8')) > 0")  # fmt: skip
    assert (json.loads(leaf["entry"])["sha256"], json.loads(leaf["entry"])["accepted"]) == (source["sha256"], 3)
    assert await count(exchange) == []


async def test_the_exchange_s_own_first_day_is_the_first_that_is_counted(exchange: Exchange) -> None:
    assert await DayCounter(exchange.desk).catch_up(datetime.now(UTC)) == []


async def test_no_day_is_left_out_after_an_outage_and_the_days_tile_the_log(exchange: Exchange) -> None:
    await exchange.take(exchange.bri.sign(exchange.bri.paid()))
    await count(exchange)
    # The clock's door is away for three days, while messages are taken in on the second and on the fourth.
    late, later = exchange.bri.paid(), exchange.bri.paid()
    await exchange.take(exchange.bri.sign(late), now=after(2) - timedelta(hours=1))
    await exchange.take(exchange.bri.sign(later), now=after(4) - timedelta(hours=1))
    assert [one.accepted for one in await count(exchange, 4) if one.participant == "bri"] == [1, 0, 1]
    hub = await told(exchange)
    days = [datetime.fromisoformat(one["day"]) for one in hub]
    assert [day - days[0] for day in days] == [number * DAY for number in range(4)]
    assert [one["first_index"] for one in hub] == [0, *(one["log_size"] for one in hub[:-1])]
    assert [one["sources"][0]["sha256"] for one in hub[1::2]] == [
        own_count(late)["sha256"], own_count(later)["sha256"],
    ]  # fmt: skip
    sent = [one["sent"][0] for one in hub]
    assert [one["first"] for one in sent[1:]] == [one["last"] + 1 for one in sent[:-1]]


async def test_repeats_change_no_count(exchange: Exchange) -> None:
    value, stale = exchange.bri.paid(), exchange.bri.booked()
    wrong = exchange.bri.sign(stale, topic="from.bri", key=b"ANOTHER")
    await exchange.take(exchange.bri.sign(value), wrong)
    await exchange.take(exchange.bri.sign(value), wrong, exchange.bri.sign(value))
    await count(exchange)
    await exchange.take(exchange.bri.sign(value), wrong)
    await count(exchange, 2)
    first, second = (one["sources"][0] for one in await told(exchange))
    assert (first["accepted"], first["refused"]) == (1, [{"code": "key_not_subject", "count": 1}])
    assert (second["accepted"], second["refused"], second["ranges"]) == (0, [], [])


async def test_what_differs_is_named_and_open_until_a_later_word_agrees(exchange: Exchange) -> None:
    values = [exchange.bri.paid() for _ in range(5)]
    # The hub never got the second, and the sender does not know that it sent the fourth.
    await exchange.take(*(exchange.bri.sign(value) for value in (*values[:1], *values[2:])))
    await count(exchange)
    (hub,) = await told(exchange)
    said = state(exchange.bri, hub, own_count(*values[:3], values[4]), verdict="differs")
    shown = await verdict(exchange, exchange.bri, said)
    assert (shown["verdict"], shown["detail"]["words"]) == ("differs", "the hub lacks 2; the sender lacks 4")
    assert (shown["detail"]["missing_at_hub"], shown["detail"]["missing_at_sender"]) == ([[2, 2]], [[4, 4]])
    assert await differing(exchange) == {"bri": 1}
    again = state(exchange.bri, hub, own_count(values[0], *values[2:]), revision=2)
    assert (await verdict(exchange, exchange.bri, again))["verdict"] == "agrees"
    assert await differing(exchange) == {}


async def test_a_statement_about_no_count_of_the_hub_s_does_not_agree(exchange: Exchange) -> None:
    value = exchange.bri.paid()
    await exchange.take(exchange.bri.sign(value))
    await count(exchange)
    (hub,) = await told(exchange)
    longer = hub | {"log_size": hub["log_size"] + 1}
    shown = await verdict(exchange, exchange.bri, state(exchange.bri, longer, own_count(value)))
    assert (shown["verdict"], shown["detail"]["why"]) == ("unknown", "it is about another stretch of the log")
    elsewhere = state(exchange.mandiri, hub, own_count(value), participant="bri")
    assert (await exchange.take(exchange.mandiri.sign(elsewhere))).refused == {"data_invalid": 1}


async def test_one_that_lost_its_records_does_not_know_what_was_refused_before(exchange: Exchange) -> None:
    value = exchange.bri.paid()
    wrong = exchange.bri.sign(exchange.bri.paid(), key=b"ANOTHER")
    await exchange.take(exchange.bri.sign(value), wrong)
    await count(exchange)
    (hub,) = await told(exchange)
    knows = state(exchange.bri, hub, own_count(value))
    assert (await verdict(exchange, exchange.bri, knows))["verdict"] == "differs"
    rebuilt = state(exchange.bri, hub, own_count(value), rebuilt_at=write_instant(after(1).replace(microsecond=0)))
    assert (await verdict(exchange, exchange.bri, rebuilt))["verdict"] == "agrees"


async def test_two_processes_tell_a_day_once(exchange: Exchange) -> None:
    await exchange.take(exchange.bri.sign(exchange.bri.paid()))
    both = await asyncio.gather(count(exchange), count(exchange))
    assert sorted(one.participant for made in both for one in made) == ["bri", "immigration", "mandiri", "ministry"]
    assert len(await told(exchange)) == 1


async def test_what_the_hub_tells_is_an_event_that_a_recipient_reads(exchange: Exchange) -> None:
    await exchange.take(exchange.bri.sign(exchange.bri.paid()))
    await count(exchange)
    row = await exchange.row("SELECT value FROM outbox WHERE position('count.reported'::bytea IN value) > 0 "
                             "AND topic = 'to.bri'")  # fmt: skip
    data = read_envelope(row["value"]).data
    assert read_count(data["sources"][0]).accepted == 1


async def test_fsck_counts_every_day_again(database: str) -> None:
    exchange = await Exchange.open(database)
    await exchange.take(exchange.bri.sign(exchange.bri.paid()), exchange.bri.sign(exchange.bri.paid()))
    await count(exchange)
    await count(exchange, 2)
    async with exchange.database.connection() as connection:
        await connection.execute("ALTER TABLE day_counts DISABLE TRIGGER USER")
        await connection.execute("DELETE FROM inbox WHERE sequence = 2 AND participant = 'bri'")
        await connection.execute("DELETE FROM day_counts WHERE participant = 'mandiri' AND day = "
                                 "(SELECT min(day) FROM day_counts)")  # fmt: skip
    found = {(one.kind, one.subject.rpartition("/")[0]) for one in await fsck.check(exchange.database)}
    assert {("count_differs", "count/bri"), ("count_wrong", "count/mandiri"), ("leaf_orphan", "leaf")} <= found
    await exchange.database.close()
