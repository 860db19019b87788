"""Reconciliation against the real database: the life of each difference, every order of reports, the daily reports."""

import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import UTC, date, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest

from contracts.fields import hundredths
from contracts.rules.clock import banking_day_before, banking_day_of, jakarta_day
from hub import fsck
from hub.difference import Closing, NotOpen
from hub.reconciler import DAYS_AT_ONCE_MAX, NotABank, NotABankingDay, Reconciler
from tests.hub.exchange import CODE, Bank, Exchange

pytestmark = pytest.mark.anyio

# Tuesday the 3rd of March 2026, 10:00 in Jakarta.
PAID_AT = datetime(2026, 3, 3, 3, 0, tzinfo=UTC)
PAID_ON = date(2026, 3, 3)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
OTHER_CODE = "820260302000025"
REFERENCE: dict[str, Any] = {"ntpn": "0A1B2C3D4E5F6G7H"}


@pytest.fixture
async def exchange(database: str) -> AsyncIterator[Exchange]:
    """Give an exchange whose database is sound in the end."""
    opened = await Exchange.open(database)
    yield opened
    assert await fsck.check(opened.database) == []
    await opened.database.close()


def told(bank: Bank, name: str = "received", at: datetime = PAID_AT, code: str | None = CODE, **members: Any) -> bytes:
    """Write a bank's report of money, dated as it is said."""
    written = bank.paid(code or "", **members) if name == "received" else bank.booked(name, code, **members)
    value = json.loads(written)
    return bank.write(value["type"], value["data"], value["subject"], time=at, sequence=int(value["sequence"]))


def explained(party: Any, kind: str, identity: str, code: str = "E1") -> bytes:
    data = {"difference_id": identity, "explanation_code": code, "text": "Sudah diperiksa."}
    return bytes(party.write(f"id.tka.{kind}.difference.explained.v1", data, identity.partition(":")[0]))


async def take(exchange: Exchange, sender: Any, *values: bytes) -> None:
    """Let the hub take each value in a batch of its own."""
    for value in values:
        taken = await exchange.take(sender.sign(value))
        assert (taken.accepted, dict(taken.refused)) == (1, {})


async def pass_days(exchange: Exchange) -> None:
    """Let every deadline pass that money waits for."""
    while await exchange.desk.fire_timers(datetime.now(UTC) + 2 * DAY, 100):
        pass


async def news(exchange: Exchange, topic: str, name: str) -> list[dict[str, Any]]:
    return [event["data"] for event in await exchange.sent(topic) if event["type"] == f"id.tka.hub.{name}.v1"]


async def kinds(exchange: Exchange, state: str = "open") -> list[str]:
    async with exchange.database.connection() as connection:
        rows = await connection.fetch("SELECT kind FROM differences WHERE state = $1 ORDER BY 1", state)
    return [row["kind"] for row in rows]


# For each kind: what bri tells, the payment that shows it, and what makes it right.
Told = Callable[[Bank], list[bytes]]
KINDS: dict[str, tuple[Told, Told]] = {
    "not_booked": (lambda bri: [told(bri)], lambda bri: [told(bri, "booked")]),
    "not_notified": (lambda bri: [told(bri, "booked")], lambda bri: [told(bri)]),
    "amount": (
        lambda bri: [told(bri, amount="700.00"), told(bri, "booked", amount="700.00")],
        lambda bri: [told(bri, name, amount="500.00", at=PAID_AT + DAY) for name in ("received", "booked")],
    ),
    "currency": (
        lambda bri: [told(bri, currency="IDR"), told(bri, "booked", currency="IDR")],
        lambda bri: [told(bri, "reversed", currency="IDR")],
    ),
    "unmatched": (
        lambda bri: [told(bri, "booked", code=None)],
        lambda bri: [],
    ),
    "excess": (
        lambda bri: [
            *(told(bri, name) for name in ("received", "booked")),
            *(told(bri, name, amount="1.00", at=PAID_AT + HOUR) for name in ("received", "booked")),
        ],
        lambda bri: [told(bri, "reversed", amount="1.00")],
    ),
    "reversal_of_nothing": (
        lambda bri: [told(bri, "reversed")],
        lambda bri: [told(bri), told(bri, "booked")],
    ),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_each_kind_is_opened_once_explained_and_closed(exchange: Exchange, kind: str) -> None:
    await take(exchange, exchange.ministry, exchange.ministry.billed())
    await take(exchange, exchange.bri, *KINDS[kind][0](exchange.bri))
    await pass_days(exchange)
    await pass_days(exchange)
    for topic in ("to.bri", "to.ministry"):
        (opened,) = await news(exchange, topic, "difference.opened")
        assert (opened["kind"], opened["participant"]) == (kind, "bri")
    assert await news(exchange, "to.mandiri", "difference.opened") == []
    identity = opened["difference_id"]
    await take(exchange, exchange.mandiri, explained(exchange.mandiri, "bank", identity))
    assert await news(exchange, "to.ministry", "difference.explained") == []
    await take(exchange, exchange.bri, explained(exchange.bri, "bank", identity))
    await take(exchange, exchange.ministry, explained(exchange.ministry, "ministry", identity, "M7"))
    last = (await news(exchange, "to.bri", "difference.explained"))[-1]
    assert last["explanations"] == [
        {"participant": "bri", "code": "E1"}, {"participant": "ministry", "code": "M7"},
    ]  # fmt: skip
    await close(exchange, identity)
    for topic in ("to.bri", "to.ministry"):
        (closed,) = await news(exchange, topic, "difference.closed")
        assert (closed["reason"], closed["statement"]) == ("closed", "Refunded.")
    with pytest.raises(NotOpen):
        await close(exchange, identity)
    assert await kinds(exchange) == []
    leaf = await exchange.row("SELECT entry FROM leaves WHERE position('close_difference'::bytea IN entry) > 0")
    assert json.loads(leaf["entry"])["actor"] == "sari"


async def close(exchange: Exchange, identity: str) -> None:
    await Reconciler(exchange.desk).close(Closing(identity, "Refunded."), "sari", datetime.now(UTC))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "unmatched"])
async def test_what_the_facts_set_right_is_resolved_without_anybody(exchange: Exchange, kind: str) -> None:
    wrong, right = KINDS[kind]
    await take(exchange, exchange.ministry, exchange.ministry.billed())
    await take(exchange, exchange.bri, *wrong(exchange.bri))
    await pass_days(exchange)
    await take(exchange, exchange.bri, *right(exchange.bri))
    assert await kinds(exchange) == []
    (closed,) = await news(exchange, "to.bri", "difference.closed")
    assert (closed["kind"], closed["reason"], closed["statement"]) == (kind, "resolved", None)


async def test_money_that_nobody_billed_is_resolved_by_its_bill(exchange: Exchange) -> None:
    await take(exchange, exchange.bri, told(exchange.bri), told(exchange.bri, "booked"))
    await pass_days(exchange)
    assert await kinds(exchange) == ["unmatched"]
    await take(exchange, exchange.ministry, exchange.ministry.billed())
    assert (await kinds(exchange), await kinds(exchange, "resolved")) == ([], ["unmatched"])
    (opened,) = await news(exchange, "to.ministry", "difference.opened")
    assert (opened["application"], opened["billing_code"]) == (None, CODE)


async def test_a_difference_that_comes_again_is_opened_again(exchange: Exchange) -> None:
    bri, ministry = exchange.bri, exchange.ministry
    await take(exchange, ministry, ministry.billed())
    await take(exchange, bri, *KINDS["excess"][0](bri))
    await take(exchange, bri, told(bri, "reversed", amount="1.00"))
    await take(exchange, bri, told(bri, amount="1.00", at=PAID_AT + 2 * HOUR))
    opened = await news(exchange, "to.bri", "difference.opened")
    assert [one["difference_id"] for one in opened] == [opened[0]["difference_id"]] * 2
    row = await exchange.row("SELECT revision FROM differences WHERE state = 'open'")
    assert row["revision"] == 2


async def test_a_channel_that_says_another_amount_is_one_difference(exchange: Exchange) -> None:
    bri, ministry = exchange.bri, exchange.ministry
    await take(exchange, ministry, ministry.billed())
    await take(
        exchange, bri, told(bri, **REFERENCE), told(bri, "booked", at=PAID_AT + HOUR, amount="1100.00", **REFERENCE)
    )
    await pass_days(exchange)
    assert await kinds(exchange) == ["amount", "excess"]


async def test_a_bank_that_was_away_for_days_is_heard_before_it_is_judged(exchange: Exchange) -> None:
    """The N days of its money are over long since, but the other report may be on its way."""
    bri, ministry = exchange.bri, exchange.ministry
    await take(exchange, ministry, ministry.billed())
    await take(exchange, bri, told(bri))
    await exchange.desk.fire_timers(datetime.now(UTC), 100)
    assert await kinds(exchange) == []
    await take(exchange, bri, told(bri, "booked"))
    await pass_days(exchange)
    assert await kinds(exchange, "resolved") == []


CHANNELS = list(permutations(("bill", "received", "booked")))


@pytest.mark.parametrize("order", CHANNELS, ids="-".join)
async def test_the_same_money_by_both_channels_is_no_difference_in_any_order(
    exchange: Exchange, order: tuple[str, ...]
) -> None:
    for step in order:
        if step == "bill":
            await take(exchange, exchange.ministry, exchange.ministry.billed())
        else:
            await take(exchange, exchange.bri, told(exchange.bri, step))
    await pass_days(exchange)
    assert await news(exchange, "to.bri", "difference.opened") == []
    (dollars,) = (await Reconciler(exchange.desk).make("bri", PAID_ON)).members["totals"]
    assert dollars["paired"] == dollars["notified"] == dollars["booked"] == {"count": 1, "amount": "1200.00"}


@pytest.mark.parametrize("order", list(permutations(("received", "booked", "reversed"))), ids="-".join)
async def test_money_taken_back_leaves_nothing_open_in_any_order(exchange: Exchange, order: tuple[str, ...]) -> None:
    await take(exchange, exchange.ministry, exchange.ministry.billed())
    for step in order:
        await take(exchange, exchange.bri, told(exchange.bri, step))
    await pass_days(exchange)
    assert await kinds(exchange) == []


async def test_a_report_says_what_a_refold_says_and_late_money_makes_a_revision(exchange: Exchange) -> None:
    bri, mandiri, reconciler = exchange.bri, exchange.mandiri, Reconciler(exchange.desk)
    midnight = datetime(2026, 3, 3, 17, 0, tzinfo=UTC)
    await take(exchange, exchange.ministry, exchange.ministry.billed())
    await take(exchange, bri, told(bri, amount="700.00"), told(bri, "booked", amount="700.00"))
    await take(exchange, bri, told(bri, amount="0.10", code=OTHER_CODE), told(bri, "reversed", amount="0.10"))
    await take(exchange, bri, told(bri, amount="3.00", at=midnight - timedelta(microseconds=1)))
    await take(exchange, bri, told(bri, amount="4.00", at=midnight))
    await take(exchange, mandiri, told(mandiri, amount="500.00"))
    await pass_days(exchange)
    first = await reconciler.report("bri", PAID_ON, datetime.now(UTC))
    assert (first.revision, first.new) == (1, True)
    assert (await reconciler.report("bri", PAID_ON, datetime.now(UTC)))[1:] == (1, False)
    (event,) = await news(exchange, "to.bri", "reconciliation.reported")
    assert event == (await news(exchange, "to.ministry", "reconciliation.reported"))[0]
    assert await news(exchange, "to.mandiri", "reconciliation.reported") == []
    assert (event["sha256"], event["revision"]) == (first.report.sha256, 1)
    assert event["totals"] == await refold(exchange, "bri", PAID_ON)
    assert event["differences_open"] == len(first.report.members["differences"]) == 4
    await take(exchange, bri, told(bri, amount="5.00"))
    again = await reconciler.report("bri", PAID_ON, datetime.now(UTC))
    assert (again.revision, again.new) == (2, True)
    assert again.report.members["totals"] == await refold(exchange, "bri", PAID_ON)


async def refold(exchange: Exchange, bank: str, day: date) -> list[dict[str, Any]]:
    """Add up a day from the bytes that were signed, without anything that the hub made of them."""
    async with exchange.database.connection() as connection:
        rows = await connection.fetch("SELECT participant, value FROM inbox ORDER BY log_index")
    events = [(row["participant"], json.loads(row["value"])) for row in rows]
    bills = {event["data"]["billing_code"]: event["data"] for name, event in events if name == "ministry"}
    columns: dict[str, Counter[str]] = {name: Counter() for name in ("notified", "booked", "reversed", "billed")}
    counts = {name: Counter[str]() for name in columns}
    codes = set()
    for name, event in events:
        moment, data = datetime.fromisoformat(event["time"]), event["data"]
        if name != bank or (moment + timedelta(hours=7)).date() != day:
            continue
        column = {"received": "notified"}.get(event["type"].split(".")[4], event["type"].split(".")[4])
        columns[column][data["currency"]] += hundredths(data["amount"])
        counts[column][data["currency"]] += 1
        codes.add(data["billing_code"])
    for bill in (bills[code] for code in codes & bills.keys()):
        columns["billed"][bill["currency"]] += hundredths(bill["amount"])
        counts["billed"][bill["currency"]] += 1
    totals = []
    for currency in sorted({currency for column in columns.values() for currency in column}):
        sums = {
            name: {"count": counts[name][currency], "amount": f"{sums[currency] / 100:.2f}"}
            for name, sums in columns.items()
        }
        paired = {"count": 1, "amount": "700.00"}
        totals.append({"currency": currency, **sums, "paired": paired})
    return totals


async def test_every_banking_day_is_reported_for_every_bank_once(exchange: Exchange) -> None:
    reconciler, now = Reconciler(exchange.desk), datetime.now(UTC)
    assert await reconciler.catch_up(now) == []
    later = now + timedelta(days=7)
    published = await reconciler.catch_up(later)
    last = banking_day_before(jakarta_day(later))
    assert {one.report.participant for one in published} == {"bri", "mandiri"}
    assert max(one.report.day for one in published) == last
    assert len(published) == len({(one.report.participant, one.report.day) for one in published}) >= 6
    assert await reconciler.catch_up(later) == []


async def test_late_money_has_its_day_reported_anew(exchange: Exchange) -> None:
    reconciler, later = Reconciler(exchange.desk), datetime.now(UTC) + timedelta(days=7)
    await reconciler.catch_up(later)
    await take(exchange, exchange.bri, told(exchange.bri))
    anew = await reconciler.catch_up(later + timedelta(days=7))
    assert [one.report.participant for one in anew if one.report.day == PAID_ON] == ["bri"]


async def test_money_of_more_old_days_than_are_reported_at_once_has_the_newest_reported(exchange: Exchange) -> None:
    reconciler, later = Reconciler(exchange.desk), datetime.now(UTC) + timedelta(days=7)
    last = banking_day_before(jakarta_day(later))
    await reconciler.catch_up(later)
    old = [PAID_AT - number * DAY for number in range(2 * DAYS_AT_ONCE_MAX)]
    values = [told(exchange.bri, "booked", at=moment, code=None, amount="1.00") for moment in old]
    assert (await exchange.take(*map(exchange.bri.sign, values))).accepted == len(values)
    anew = [one.report for one in await reconciler.catch_up(later + timedelta(days=7)) if one.report.day <= last]
    assert {one.participant for one in anew} >= {"bri"}
    days = [one.day for one in anew if one.participant == "bri"]
    assert len(days) <= DAYS_AT_ONCE_MAX
    assert days == sorted({banking_day_of(jakarta_day(moment)) for moment in old})[-len(days) :]


async def test_a_report_is_of_a_bank_and_of_a_banking_day(exchange: Exchange) -> None:
    with pytest.raises(NotABankingDay, match="2026-03-09"):
        await Reconciler(exchange.desk).make("bri", date(2026, 3, 7))
    with pytest.raises(NotABank):
        await Reconciler(exchange.desk).list_banks("ministry")


TAMPERED = {
    "UPDATE differences SET state = 'closed', closed_at = now(), closed_index = 0": "difference_differs",
    "UPDATE differences SET amount = '1.00'": "difference_differs",
    "UPDATE differences SET opened_index = 0": "difference_differs",
    "DELETE FROM differences": "not_stored",
    "UPDATE reconciliation_reports SET document = document || '\\x20'": "report_wrong",
    "UPDATE reconciliation_reports SET log_size = log_size - 1": "report_differs",
    "UPDATE reconciliation_reports SET revision = 2": "report_wrong",
}


@pytest.mark.parametrize("statement", TAMPERED)
async def test_fsck_finds_what_was_changed(database: str, statement: str) -> None:
    exchange = await Exchange.open(database)
    await take(exchange, exchange.bri, told(exchange.bri))
    await take(exchange, exchange.ministry, exchange.ministry.billed())
    await pass_days(exchange)
    assert await kinds(exchange) == ["not_booked"]
    await Reconciler(exchange.desk).report("bri", PAID_ON, datetime.now(UTC))
    assert await fsck.check(exchange.database) == []
    async with exchange.database.transaction() as tx:
        await tx.execute(statement)
    assert TAMPERED[statement] in {finding.kind for finding in await fsck.check(exchange.database)}
    await exchange.database.close()
