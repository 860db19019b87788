"""The desk against a real PostgreSQL: one transaction from a record to everything that follows from it."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from contracts import admission
from contracts.admission import Admitted, Verdict
from contracts.errors import Code
from contracts.events import read_event
from contracts.wire.envelope import read_envelope
from contracts.wire.key import PrivateKey
from contracts.wire.record import Record
from hub import desk, fsck, step
from hub.desk import Batch
from hub.step import BillingCode
from hub.store import inbox
from hub.store.log import RegistryChanged
from hub.store.positions import Superseded
from tests.hub.exchange import APPLICATION, CODE, Bank, Exchange

OUTCOME = "id.tka.hub.payment.outcome.v1"


@pytest.fixture
async def exchange(database: str) -> AsyncIterator[Exchange]:
    opened = await Exchange.open(database)
    yield opened
    assert await fsck.check(opened.database) == []
    await opened.database.close()


def outcomes(events: list[dict[str, Any]]) -> list[str]:
    return [event["data"]["outcome"] for event in events if event["type"] == OUTCOME]


async def states(exchange: Exchange) -> list[tuple[int, str]]:
    return [(event["data"]["revision"], event["data"]["state"]) for event in await exchange.sent("recommendations")]


async def permit(exchange: Exchange) -> None:
    ministry = exchange.ministry
    await exchange.take(*ministry.sign_all([ministry.submitted(), ministry.billed(), ministry.approved()]))


async def test_one_permit_and_one_payment_make_a_recommendation(exchange: Exchange) -> None:
    ministry, bri = exchange.ministry, exchange.bri
    taken = await exchange.take(*ministry.sign_all([ministry.submitted(), ministry.approved(), ministry.billed()]))
    assert (taken.accepted, taken.duplicate, taken.refused) == (3, 0, {})
    assert [event["type"] for event in await exchange.sent("to.mandiri")] == ["id.tka.hub.bill.opened.v1"]
    taken = await exchange.take(bri.sign(bri.paid()))
    assert taken.accepted == 1
    assert [event["data"]["reason"] for event in (await exchange.sent("to.mandiri"))[1:]] == ["paid"]
    issued = (await exchange.sent("recommendations"))[0]
    assert (issued["data"]["revision"], issued["data"]["state"], issued["data"]["kanim"]) == (
        1,
        "issued",
        "JKT-SELATAN",
    )
    assert issued["data"]["worker"]["passport"] == "L898902C36"
    assert (issued["audience"], int(issued["sequence"])) == ("demo/recommendations/0", 1)
    assert await exchange.sent("to.immigration") == [issued]
    assert outcomes(await exchange.sent("to.bri")) == outcomes(await exchange.sent("to.ministry")) == ["matched"]


async def test_every_own_event_is_one_that_its_recipient_admits(exchange: Exchange) -> None:
    await permit(exchange)
    await exchange.take(exchange.bri.sign(exchange.bri.paid()))
    await exchange.desk.heartbeat(datetime.now(UTC))
    async with exchange.database.connection() as connection:
        rows = await connection.fetch("SELECT topic, partition, seq, key, value FROM outbox WHERE value IS NOT NULL")
    for row in rows:
        envelope = read_envelope(row["value"])
        read_event(envelope.type, envelope.data, envelope.subject)
        assert envelope.subject == row["key"]
        if row["topic"] != "to.immigration" and row["topic"] != "to.ministry":
            assert envelope.audience == f"demo/{row['topic']}/{row['partition']}"
            assert envelope.sequence == row["seq"]
    types = {read_envelope(row["value"]).type for row in rows}
    assert {"id.tka.hub.receipt.v1", "id.tka.hub.heartbeat.v1", OUTCOME} <= types
    identities = [(envelope.id, envelope.digest) for envelope in map(read_envelope, (row["value"] for row in rows))]
    assert len({identity for identity, _ in identities}) == len(set(identities))


async def test_a_payment_before_its_bill_waits_on_the_code(exchange: Exchange) -> None:
    await exchange.take(exchange.bri.sign(exchange.bri.paid()))
    assert outcomes(await exchange.sent("to.bri")) == []
    await permit(exchange)
    assert outcomes(await exchange.sent("to.bri")) == ["matched"]
    assert await states(exchange) == [(1, "issued")]
    # The bill was paid before anyone was asked to collect it, so nobody is told of it.
    assert [event["type"] for event in await exchange.sent("to.mandiri")] == []


async def test_the_whole_permit_in_one_batch_of_any_order(exchange: Exchange) -> None:
    ministry = exchange.ministry
    await exchange.take(exchange.bri.sign(exchange.bri.paid()))
    values = [ministry.approved(), ministry.billed(), ministry.submitted()]
    await exchange.take(*ministry.sign_all(values))
    assert await states(exchange) == [(1, "issued")]


async def test_a_reversal_withdraws_and_a_new_payment_issues_again(exchange: Exchange) -> None:
    bri = exchange.bri
    await permit(exchange)
    await exchange.take(bri.sign(bri.paid()))
    await exchange.take(bri.sign(bri.booked("reversed")))
    assert await states(exchange) == [(1, "issued"), (1, "withdrawn")]
    assert [event["data"]["reason"] for event in (await exchange.sent("recommendations"))[1:]] == ["payment_reversed"]
    await exchange.take(exchange.mandiri.sign(exchange.mandiri.paid()))
    assert await states(exchange) == [(1, "issued"), (1, "withdrawn"), (2, "issued")]
    bills = [event["type"].split(".")[4] for event in await exchange.sent("to.mandiri") if ".bill." in event["type"]]
    assert bills == ["opened", "closed", "opened", "closed"]
    assert "reversed" in outcomes(await exchange.sent("to.bri"))


async def test_a_revoked_permit_withdraws(exchange: Exchange) -> None:
    await permit(exchange)
    await exchange.take(exchange.bri.sign(exchange.bri.paid()))
    revoked = exchange.ministry.permit("revoked", decision="KEP.18/2026", reason_code="R01")
    await exchange.take(exchange.ministry.sign(revoked))
    assert await states(exchange) == [(1, "issued"), (1, "withdrawn")]


async def test_an_amendment_is_a_new_revision(exchange: Exchange) -> None:
    await permit(exchange)
    await exchange.take(exchange.bri.sign(exchange.bri.paid()))
    amended = exchange.ministry.approved(name="amended", kanim="BANDUNG")
    await exchange.take(exchange.ministry.sign(amended))
    assert await states(exchange) == [(1, "issued"), (2, "issued")]
    assert (await exchange.sent("to.immigration"))[-1]["data"]["kanim"] == "BANDUNG"


async def test_repeats_vanish_and_are_receipted_again(exchange: Exchange) -> None:
    ministry = exchange.ministry
    record = ministry.sign(ministry.submitted())
    await exchange.take(record, record)
    taken = await exchange.take(record)
    assert (taken.accepted, taken.duplicate) == (0, 1)
    receipts = [event["data"]["accepted"] for event in await exchange.sent("to.ministry")]
    assert [len(accepted) for accepted in receipts] == [2, 1]
    assert len({one["log_index"] for accepted in receipts for one in accepted}) == 1
    async with exchange.database.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM inbox") == 1


async def test_the_same_identity_with_other_bytes_is_an_equivocation(exchange: Exchange) -> None:
    ministry = exchange.ministry
    first, second, third = (ministry.sign(ministry.write(
        "id.tka.ministry.permit.completed.v1", json.loads(ministry.permit("completed"))["data"], APPLICATION, id="one",
    )) for _ in range(3))  # fmt: skip
    taken = await exchange.take(first, second)
    assert (taken.accepted, dict(taken.refused)) == (1, {Code.EQUIVOCATION: 1})
    taken = await exchange.take(third)
    assert dict(taken.refused) == {Code.EQUIVOCATION: 1}
    refused = [event["data"]["refused"] for event in await exchange.sent("to.ministry")]
    assert [[one["code"] for one in part] for part in refused] == [["equivocation"], ["equivocation"]]


@pytest.mark.parametrize("apart", [False, True])
async def test_a_reused_sequence_is_refused(exchange: Exchange, apart: bool) -> None:
    ministry = exchange.ministry
    data = json.loads(ministry.permit("completed"))["data"]
    records = [
        ministry.sign(ministry.write("id.tka.ministry.permit.completed.v1", data, APPLICATION, sequence=77))
        for _ in range(2)
    ]
    if apart:
        await exchange.take(records.pop(0))
    taken = await exchange.take(*records)
    assert dict(taken.refused) == {Code.SEQUENCE_REUSED: 1}


async def test_without_being_thorough_a_reused_sequence_hits_the_unique_key(exchange: Exchange) -> None:
    ministry = exchange.ministry
    data = json.loads(ministry.permit("completed"))["data"]
    first, second = (
        ministry.sign(ministry.write("id.tka.ministry.permit.completed.v1", data, APPLICATION, sequence=77))
        for _ in range(2)
    )
    await exchange.take(first)
    with pytest.raises(asyncpg.UniqueViolationError):
        await exchange.desk.receive(exchange.batch([second]), datetime.now(UTC))


async def test_a_code_of_another_application_is_a_conflict(exchange: Exchange) -> None:
    ministry = exchange.ministry
    await exchange.take(ministry.sign(ministry.billed()))
    taken = await exchange.take(
        ministry.sign(ministry.billed("B.3/OTHER")), ministry.sign(ministry.billed(amount="1.00"))
    )
    # The second is refused by its own contract: the amount is not the dollar amount.
    assert dict(taken.refused) == {Code.BILL_CONFLICT: 1, Code.DATA_INVALID: 1}
    taken = await exchange.take(ministry.sign(ministry.billed(amount="1.00", usd_amount="1.00")))
    assert dict(taken.refused) == {Code.BILL_CONFLICT: 1}
    conflict = ministry.sign(ministry.billed("B.3/THIRD"))
    taken = await exchange.take(conflict, conflict)
    assert dict(taken.refused) == {Code.BILL_CONFLICT: 2}


async def test_a_stranger_is_deferred_then_refused_and_never_in_the_inbox(exchange: Exchange) -> None:
    stranger = Bank("bri")
    now = datetime.now(UTC)
    taken = await exchange.take(stranger.sign(stranger.paid()), now=now)
    assert (taken.accepted, taken.deferred) == (0, 1)
    assert (await exchange.desk.retry_deferred(now + timedelta(seconds=10), 100)).refused == {}
    taken = await exchange.desk.retry_deferred(now + timedelta(hours=1), 100)
    assert dict(taken.refused) == {Code.KEY_UNKNOWN: 1}
    assert await exchange.sent("to.bri") == []
    async with exchange.database.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM deferred") == 0
        assert await connection.fetchval("SELECT count(*) FROM inbox") == 0


async def test_a_message_that_came_before_its_key_is_taken_when_the_key_is_there(exchange: Exchange) -> None:
    bri = exchange.bri
    bri.key = PrivateKey.generate("Ed25519")
    taken = await exchange.take(bri.sign(bri.paid()))
    assert taken.deferred == 1
    bri.registered.append(bri.key)
    await exchange.register([party for party in exchange.participants() if party["id"] == "bri"])
    taken = await exchange.desk.retry_deferred(datetime.now(UTC), 100)
    assert taken.accepted == 1
    receipts = [event["data"]["accepted"] for event in await exchange.sent("to.bri")]
    assert [len(accepted) for accepted in receipts] == [1]


async def test_a_schema_that_does_not_fit_makes_no_deferred_record_poisonous(exchange: Exchange) -> None:
    bri = exchange.bri
    bri.key = PrivateKey.generate("Ed25519")
    await exchange.take(bri.sign(bri.paid()))
    bri.registered.append(bri.key)
    await exchange.register([party for party in exchange.participants() if party["id"] == "bri"])
    async with exchange.database.connection() as connection:
        await connection.execute("ALTER TABLE billing_codes RENAME TO elsewhere")
        with pytest.raises(asyncpg.UndefinedTableError):
            await exchange.desk.retry_deferred(datetime.now(UTC), 100)
        await connection.execute("ALTER TABLE elsewhere RENAME TO billing_codes")
    assert (await exchange.desk.retry_deferred(datetime.now(UTC), 100)).accepted == 1


async def test_who_repeats_anothers_message_makes_the_hub_say_nothing_to_its_author(exchange: Exchange) -> None:
    bri = exchange.bri
    record = bri.sign(bri.paid())
    assert (await exchange.take(record._replace(topic="from.mandiri"))).refused == {Code.TOPIC_WRONG: 1}
    assert await exchange.sent("to.bri") == []
    assert (await exchange.take(record)).accepted == 1


async def test_a_batch_of_a_superseded_owner_changes_nothing(exchange: Exchange) -> None:
    ministry = exchange.ministry
    record = ministry.sign(ministry.submitted())
    await exchange.take(record)
    stale = Batch("from.ministry", "id-of-from.ministry", 0, 0, 1, [record._replace(offset=0)])
    with pytest.raises(Superseded):
        await exchange.desk.receive(stale, datetime.now(UTC))


async def test_batches_taken_together_are_taken_all_or_none(exchange: Exchange) -> None:
    ministry, bri = exchange.ministry, exchange.bri
    await exchange.take(ministry.sign(ministry.submitted()))
    await exchange.take(bri.sign(bri.paid("820260302000099")))
    permits = exchange.batch([ministry.sign(ministry.billed()), ministry.sign(ministry.approved())])
    payments = exchange.batch([bri.sign(bri.paid())])
    stale = payments._replace(start=0, end=payments.end)
    with pytest.raises(Superseded):
        await exchange.desk.receive_together([permits, stale], datetime.now(UTC))
    taken = await exchange.desk.receive_together([permits, payments], datetime.now(UTC))
    assert taken.places == {
        ("from.ministry", 0, "accepted", None): 2,
        ("from.bri", 0, "accepted", None): 1,
    }
    # What came together is decided together.
    assert len(await exchange.sent("recommendations")) == 1
    row = await exchange.row("SELECT sum(next)::int AS consumed, count(*)::int AS partitions FROM watermark")
    assert row == {"consumed": 5, "partitions": 2}
    assert (await exchange.row("SELECT count(*)::int AS intervals FROM watermark_interval"))["intervals"] == 4


async def test_two_first_facts_of_one_case_at_once_are_both_kept(exchange: Exchange) -> None:
    # From two topics, since one partition has one owner: the payment and its notice, both first.
    ministry, bri = exchange.ministry, exchange.bri
    await exchange.take(ministry.sign(ministry.submitted("B.3/WARM")))
    await exchange.take(bri.sign(bri.paid("820260302000099")))
    for number in range(10):
        code = f"8202603020001{number:02d}"
        application = f"B.3/{number}"
        await asyncio.gather(
            exchange.take(ministry.sign(ministry.billed(application, code))), exchange.take(bri.sign(bri.paid(code)))
        )
    told = [event["data"] for event in await exchange.sent("to.bri") if event["type"] == OUTCOME]
    assert [one["outcome"] for one in told] == ["matched"] * 10


async def test_an_unmatched_payment_is_told_when_its_time_is_up(exchange: Exchange) -> None:
    now = datetime.now(UTC)
    await exchange.take(exchange.bri.sign(exchange.bri.paid()), now=now)
    assert await exchange.desk.fire_timers(now, 100) == []
    assert await exchange.desk.fire_timers(now + timedelta(days=2), 100) == ["unmatched"]
    assert outcomes(await exchange.sent("to.bri")) == ["unmatched"]
    await permit(exchange)
    assert outcomes(await exchange.sent("to.bri")) == ["unmatched", "matched"]


async def test_money_without_a_code_is_unmatched_at_once(exchange: Exchange) -> None:
    await exchange.take(exchange.bri.sign(exchange.bri.booked(code=None)))
    assert outcomes(await exchange.sent("to.bri")) == ["unmatched"]


async def test_a_bill_expires_by_its_timer_and_late_money_settles(exchange: Exchange) -> None:
    now = datetime.now(UTC)
    await permit(exchange)
    assert await exchange.desk.fire_timers(now + timedelta(days=8), 100) == ["bill_expiry"]
    closed = [event["data"] for event in await exchange.sent("to.mandiri")][1:]
    assert closed == [{"billing_code": CODE, "reason": "expired"}]
    assert await exchange.desk.fire_timers(now + timedelta(days=8), 100) == []


async def test_a_poisonous_record_is_parked_with_its_traceback(exchange: Exchange) -> None:
    ministry = exchange.ministry
    taken = await exchange.take(ministry.sign(ministry.submitted()), bug="where it broke")
    assert dict(taken.refused) == {Code.POISON: 1}
    row = await exchange.row("SELECT fault, traceback FROM quarantine")
    assert (row["fault"], row["traceback"]) == ("hub", "where it broke")


async def test_a_bug_in_one_deferred_record_does_not_hold_up_the_others(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    bri = exchange.bri
    bri.key = PrivateKey.generate("Ed25519")
    records = [bri.sign(bri.paid()) for _ in range(5)]
    await exchange.take(*records)
    bri.registered.append(bri.key)
    await exchange.register([party for party in exchange.participants() if party["id"] == "bri"])

    def choke(record: Record, *others: Any) -> Verdict:
        if record.offset == 2:
            raise ZeroDivisionError
        return admission.admit(record, *others)

    monkeypatch.setattr(desk, "admit", choke)
    accepted = 0
    refused: dict[Code, int] = {}
    for _ in range(5):
        taken = await exchange.desk.retry_deferred(datetime.now(UTC), 4)
        accepted += taken.accepted
        refused |= taken.refused
    assert (accepted, refused) == (4, {Code.POISON: 1})


async def test_a_bug_in_one_deadline_does_not_hold_up_the_others(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime.now(UTC)
    codes = [f"82026030200000{number}" for number in range(4)]
    for code in codes:
        await exchange.take(exchange.bri.sign(exchange.bri.paid(code)))

    def choke(row: BillingCode, *others: Any) -> step.Step:
        if row.code == codes[1]:
            raise ZeroDivisionError
        return step.advance_code(row, *others)

    monkeypatch.setattr(desk, "advance_code", choke)
    later, fired = now + timedelta(days=2), 0
    for _ in range(5):
        fired += len(await exchange.desk.fire_timers(later, 4))
    assert fired == 3
    monkeypatch.undo()
    assert await exchange.desk.fire_timers(later + timedelta(hours=2), 4) == ["unmatched"]


async def test_a_registry_that_changes_meanwhile_makes_the_batch_be_judged_again(exchange: Exchange) -> None:
    ministry = exchange.ministry
    await exchange.take(ministry.sign(ministry.submitted()))
    await exchange.register([next(one for one in exchange.participants() if one["id"] == "immigration")])
    batch = exchange.batch([ministry.sign(ministry.permit("completed"))])
    with pytest.raises(RegistryChanged):
        await exchange.desk.receive(batch, datetime.now(UTC))
    await exchange.desk.judgement()
    assert (await exchange.desk.receive(batch, datetime.now(UTC))).accepted == 1


async def test_originals_go_on_as_they_came(exchange: Exchange) -> None:
    immigration = exchange.immigration
    data = {"application": APPLICATION, "number": "TKA-0123456789AB", "revision": 1}
    value = immigration.write("id.tka.immigration.recommendation.acknowledged.v1", data, APPLICATION)
    await exchange.take(immigration.sign(value))
    row = await exchange.row("SELECT i.value, o.seq, o.key FROM outbox o JOIN inbox i ON i.log_index = o.inbox_index")
    assert (row["value"], row["seq"], row["key"]) == (value, 1, APPLICATION)


async def test_evidence_cannot_be_changed(exchange: Exchange) -> None:
    await permit(exchange)
    async with exchange.database.connection() as connection:
        for statement in ("UPDATE leaves SET entry = ''", "DELETE FROM leaves", "TRUNCATE leaves"):
            with pytest.raises(asyncpg.RaiseError):
                await connection.execute(statement)


async def test_recall_asks_for_nothing_when_nothing_was_admitted(exchange: Exchange) -> None:
    nothing: list[Admitted] = []
    async with exchange.database.connection() as connection:
        assert await inbox.recall(connection, nothing, thorough=True) == ({}, {})
