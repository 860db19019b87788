"""The repair desk: what an operator sees, asks, approves, and what comes of it; and what whoever misuses it gets."""

import asyncio
import json
import signal
import sys
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from contracts.errors import Code
from hub import fsck, repairs
from hub.repairs import Carried, Repairs
from hub.store import accounts
from hub.store import repairs as store
from hub.store.accounts import Account
from hub.store.repairs import Asked, Progress
from tests.hub.exchange import Exchange

pytestmark = pytest.mark.anyio
REASON = "The cause is mended: release 1.4.2"
NOW = datetime.now(UTC)


# Carries repairs out in a process of its own, which ends at a named point as a power cut would end it.
CARRIER = """
import asyncio, json, os, signal, sys
from datetime import UTC, datetime
from contracts.wire.key import PublicKey
from hub import failpoint, repairs
from hub.desk import Desk
from hub.store.database import Database

async def carry(dsn, root, point):
    failpoint.arm(lambda name: os.kill(os.getpid(), signal.SIGKILL) if name == point else None)
    repairs.BATCH_MAX = 2
    database = await Database.open(dsn, size=2)
    desk = repairs.Repairs(Desk(database, PublicKey.from_jwk(json.loads(root))))
    while await desk.carry_on(datetime.now(UTC)) is not None:
        pass
    await database.close()

asyncio.run(carry(*sys.argv[1:]))
"""


class Desk:
    """The repair desk of an exchange, with somebody who asks and somebody who approves."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.repairs = Repairs(exchange.desk)

    async def hire(self, name: str, role: str = "operator", person: str | None = None, at: datetime = NOW) -> None:
        """Make an account."""
        unit = "unit-00001" if role == "officer" else None
        async with self.exchange.database.connection() as connection:
            await accounts.add(connection, Account(name, role, unit, None, "no hash", person), at - timedelta(days=1))

    async def ask(self, verb: str, actor: str = "siti", token: uuid.UUID | None = None, **others: Any) -> store.Action:
        """Ask, and let it be settled."""
        async with self.exchange.database.connection() as connection:
            asked = Asked(token or uuid.uuid4(), verb, actor, others.pop("reason", REASON), **others)
            action_id = await store.ask(connection, asked)
        assert action_id is not None
        while await self.repairs.settle(datetime.now(UTC)) is not None:
            pass
        async with self.exchange.database.connection() as connection:
            found = await store.read_action(connection, action_id)
        assert found is not None
        return found

    async def rehearse(self, **chosen: Any) -> store.Repair:
        """Make a dry run of messages."""
        action = await self.ask("rehearse", **chosen)
        assert action.outcome == "done"
        return (await self.find(action.id)).repair

    async def find(self, repair_id: int) -> Progress:
        """Return a repair as it stands."""
        async with self.exchange.database.connection() as connection:
            (found,) = await store.list_repairs(connection, repair_id)
        return found

    async def approve(self, repair: store.Repair, by: str = "budi") -> None:
        """Let one ask for what was shown and another approve it."""
        assert await self.decide("request", repair) == "done"
        assert await self.decide("approve", repair, by) == "done"

    async def decide(self, verb: str, repair: store.Repair, by: str = "siti", digest: str | None = None) -> str | None:
        """Ask for, approve or stop a repair; return what came of it."""
        return (await self.ask(verb, by, repair_id=repair.id, digest=digest or repair.digest)).outcome

    async def carry_on(self, now: datetime | None = None) -> Carried | None:
        """Carry out one batch."""
        return await self.repairs.carry_on(now or datetime.now(UTC))

    async def document(self, repair: store.Repair) -> dict[str, Any]:
        """Return what a dry run showed."""
        async with self.exchange.database.connection() as connection:
            return dict(json.loads(await store.read_document(connection, repair.id) or ""))

    async def leaves(self) -> list[tuple[str, str, str]]:
        """Return (action, subject, actor) of every operator's action in the log."""
        async with self.exchange.database.connection() as connection:
            rows = await connection.fetch("SELECT entry FROM leaves ORDER BY log_index")
        said = [json.loads(row["entry"]) for row in rows]
        return [(one["action"], one["subject"], one["actor"]) for one in said if one["kind"] == "operator_action"]

    async def park(self, *values: bytes) -> list[int]:
        """Let a bug put messages of the Ministry into quarantine; return their ids."""
        ministry = self.exchange.ministry
        await self.exchange.take(*(ministry.sign(value) for value in values), bug="where it broke")
        async with self.exchange.database.connection() as connection:
            rows = await connection.fetch("SELECT id FROM quarantine ORDER BY id DESC LIMIT $1", len(values))
        return sorted(row["id"] for row in rows)


@pytest.fixture
async def desk(database: str) -> AsyncIterator[Desk]:
    """Give a repair desk with two operators."""
    exchange = await Exchange.open(database)
    desk = Desk(exchange)
    for name in ("siti", "budi"):
        await desk.hire(name)
    yield desk
    await exchange.database.close()


async def picture(exchange: Exchange) -> list[Any]:
    """Everything that a dry run must leave as it is."""
    tables = ("inbox", "cases", "billing_codes", "timers", "outbox", "streams", "leaves", "log", "quarantine")
    async with exchange.database.connection() as connection:
        return [await connection.fetch(f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables]


async def test_a_refused_message_is_shown_asked_for_approved_and_taken_in(desk: Desk) -> None:
    (parked,) = await desk.park(desk.exchange.ministry.submitted())
    before = await picture(desk.exchange)
    repair = await desk.rehearse(parked_id=parked)
    assert await picture(desk.exchange) == before
    (shown,) = (await desk.document(repair))["messages"]
    assert (shown["today"], shown["then"], shown["type"]) == (
        "poison", "accepted", "id.tka.ministry.permit.submitted.v1",
    )  # fmt: skip
    await desk.approve(repair)
    assert await desk.carry_on() == Carried(repair.id, 1, True)
    assert await desk.carry_on() is None
    row = await desk.exchange.row("SELECT resolution FROM quarantine")
    assert row["resolution"] == "resent"
    assert (await desk.exchange.row("SELECT count(*) FROM inbox"))["count"] == 1
    receipt = (await desk.exchange.sent("to.ministry"))[-1]
    assert (receipt["type"], len(receipt["data"]["accepted"])) == ("id.tka.hub.receipt.v1", 1)
    name = f"repair/{repair.id}/{repair.digest}"
    assert await desk.leaves() == [
        ("repair_requested", name, "siti"),
        ("repair_approved", name, "budi"),
        ("resend", f"{name}/quarantine/{parked}", "siti budi"),
        ("repair_finished", name, "siti budi"),
    ]
    assert await fsck.check(desk.exchange.database) == []


async def test_what_is_still_unacceptable_is_shown_and_stays_in_quarantine(desk: Desk) -> None:
    ministry = desk.exchange.ministry
    record = ministry.sign(ministry.submitted())
    await desk.exchange.take(record._replace(value=(record.value or b"").replace(b"manager", b"diretor")))
    row = await desk.exchange.row("SELECT id FROM quarantine")
    repair = await desk.rehearse(parked_id=row["id"])
    (shown,) = (await desk.document(repair))["messages"]
    assert (shown["then"], shown["code"]) == ("refused", Code.SIGNATURE_INVALID)
    assert await desk.decide("request", repair) == "nothing_changes"


def numbers(count: int) -> list[str]:
    """So many applications."""
    return [f"B.3/{number:06}/PK.04.00/III/2026" for number in range(500, 500 + count)]


async def parked_applications(desk: Desk, count: int) -> list[int]:
    """Let a bug put so many submissions into quarantine."""
    return await desk.park(*(desk.exchange.ministry.submitted(number) for number in numbers(count)))


async def test_a_group_is_taken_up_in_batches_and_shows_how_far_it_is(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repairs, "BATCH_MAX", 2)
    await parked_applications(desk, 5)
    repair = await desk.rehearse(code="poison", participant=None, messages_max=4)
    document = await desk.document(repair)
    assert (repair.messages, document["waiting"]) == (4, 5)
    assert document["sends"]["id.tka.hub.receipt.v1"] == 1
    await desk.approve(repair)
    steps = []
    while (carried := await desk.carry_on()) is not None:
        steps.append((carried.messages, (await desk.find(repair.id)).done))
    assert steps == [(2, 2), (2, 4)]
    assert (await desk.exchange.row("SELECT count(*) FROM quarantine WHERE resolved_at IS NULL"))["count"] == 1


async def test_whoever_asks_cannot_approve_under_any_name(desk: Desk) -> None:
    await desk.hire("siti2", person="siti")
    await desk.hire("rina", role="officer")
    (parked,) = await desk.park(desk.exchange.ministry.submitted())
    repair = await desk.rehearse(parked_id=parked)
    assert await desk.decide("approve", repair, "budi") == "state_wrong"
    assert await desk.decide("request", repair) == "done"
    await desk.hire("later", at=datetime.now(UTC) + timedelta(days=2))
    for name, why in (
        ("siti", "same_person"), ("siti2", "same_person"), ("rina", "not_operator"), ("later", "account_too_new"),
    ):  # fmt: skip
        assert await desk.decide("approve", repair, name) == why
    async with desk.exchange.database.connection() as connection:
        await accounts.disable(connection, "budi", datetime.now(UTC))
    assert await desk.decide("approve", repair, "budi") == "not_operator"
    assert await desk.carry_on() is None
    assert (await desk.exchange.row("SELECT count(*) FROM inbox"))["count"] == 0
    assert [action for action, _, _ in await desk.leaves()] == ["repair_requested"]


async def test_only_what_was_shown_is_approved(desk: Desk) -> None:
    first, second = await parked_applications(desk, 2)
    shown, other = await desk.rehearse(parked_id=first), await desk.rehearse(parked_id=second)
    assert await desk.decide("request", shown, digest=other.digest) == "digest_differs"
    await desk.approve(other, "budi")
    assert await desk.decide("request", shown) == "done"
    assert await desk.decide("approve", shown, "budi", digest=other.digest) == "digest_differs"
    assert await desk.decide("approve", shown, "budi", digest="0" * 64) == "digest_differs"
    await desk.exchange.register([])
    assert await desk.decide("approve", shown, "budi") == "registry_changed"


async def test_an_old_dry_run_can_be_asked_for_no_more(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    (parked,) = await parked_applications(desk, 1)
    repair = await desk.rehearse(parked_id=parked)
    monkeypatch.setattr(repairs, "REHEARSAL_LIFETIME", timedelta(0))
    assert await desk.decide("request", repair) == "expired"


async def test_what_would_come_out_otherwise_than_shown_is_left_alone(desk: Desk) -> None:
    first, second = await parked_applications(desk, 2)
    repair = await desk.rehearse(code="poison")
    await desk.approve(repair)
    # Meanwhile the sender has used the number of one of them for something else.
    row = await desk.exchange.row(f"SELECT value FROM quarantine WHERE id = {first}")
    ministry, said = desk.exchange.ministry, json.loads(row["value"])
    other = ministry.write(said["type"], said["data"], said["subject"], sequence=int(said["sequence"]))
    await desk.exchange.take(ministry.sign(other))
    assert await desk.carry_on() == Carried(repair.id, 2, True)
    assert (await desk.find(repair.id)).left_alone == 1
    rows = await desk.exchange.row("SELECT id FROM quarantine WHERE resolved_at IS NULL")
    assert rows["id"] == first
    assert [subject for action, subject, _ in await desk.leaves() if action == "resend"] == [
        f"repair/{repair.id}/{repair.digest}/quarantine/{second}"
    ]
    assert await fsck.check(desk.exchange.database) == []


async def test_the_cap_holds_for_all_repairs_together_and_after_a_restart(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repairs, "RESENT_PER_MINUTE_MAX", 3)
    parked = await parked_applications(desk, 4)
    for one in (parked[:2], parked[2:]):
        for parked_id in one:
            await desk.approve(await desk.rehearse(parked_id=parked_id))
    now = datetime.now(UTC)
    done = [await Repairs(desk.exchange.desk).carry_on(now) for _ in range(6)]
    assert sum(one.messages for one in done if one is not None) == 3
    assert await desk.carry_on(now + timedelta(seconds=59)) is None
    later = await desk.carry_on(now + timedelta(seconds=61))
    assert later is not None
    assert later.messages == 1


async def test_what_was_stopped_never_goes_on(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repairs, "BATCH_MAX", 1)
    await parked_applications(desk, 3)
    repair = await desk.rehearse(code="poison")
    await desk.approve(repair)
    assert await desk.carry_on() == Carried(repair.id, 1, False)
    assert await desk.decide("stop", repair) == "done"
    assert await desk.carry_on() is None
    for verb, by in (("request", "siti"), ("approve", "budi"), ("stop", "siti")):
        assert await desk.decide(verb, repair, by) == "state_wrong"
    assert await desk.carry_on() is None
    found = await desk.find(repair.id)
    assert (found.repair.state, found.repair.ended_by, found.done) == ("stopped", "siti", 1)
    assert (await desk.exchange.row("SELECT count(*) FROM inbox"))["count"] == 1


async def test_a_form_that_is_sent_twice_asks_once(desk: Desk) -> None:
    (parked,) = await parked_applications(desk, 1)
    token = uuid.uuid4()
    first = await desk.ask("rehearse", token=token, parked_id=parked)
    assert (await desk.ask("rehearse", token=token, parked_id=parked)).id == first.id
    async with desk.exchange.database.connection() as connection:
        assert await store.ask(connection, Asked(token, "rehearse", "budi", REASON, parked_id=parked)) is None
    assert (await desk.exchange.row("SELECT count(*) FROM repairs"))["count"] == 1


async def run(*words: str) -> int:
    """Run a program to its end; return its exit code."""
    return await (await asyncio.create_subprocess_exec(*words)).wait()


@pytest.mark.parametrize("point", ["repairs.before_batch", "repairs.after_batch"])
async def test_a_kill_between_or_within_batches_repeats_none_and_loses_none(
    desk: Desk, database: str, point: str
) -> None:
    await parked_applications(desk, 5)
    repair = await desk.rehearse(code="poison")
    await desk.approve(repair)
    root = json.dumps(desk.exchange.root.public.jwk)
    carrier = [sys.executable, "-c", CARRIER, database, root]
    assert await run(*carrier, point) == -signal.SIGKILL
    assert (await desk.find(repair.id)).done == (2 if point == "repairs.after_batch" else 0)
    assert await run(*carrier, "nowhere") == 0
    assert (await desk.find(repair.id)).repair.state == "finished"
    assert (await desk.exchange.row("SELECT count(*) FROM inbox"))["count"] == 5
    resent = [subject for action, subject, _ in await desk.leaves() if action == "resend"]
    assert len(resent) == len(set(resent)) == 5
    assert await fsck.check(desk.exchange.database) == []


async def test_a_bug_in_one_message_leaves_that_one_alone(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    parked = await parked_applications(desk, 3)
    weigh = desk.exchange.desk.weigh

    async def choke(tx: Any, judgement: Any, verdicts: Any, *others: Any, **named: Any) -> Any:
        if any(numbers(2)[1].encode() in one.record.value for one in verdicts):
            raise ZeroDivisionError
        return await weigh(tx, judgement, verdicts, *others, **named)

    monkeypatch.setattr(desk.exchange.desk, "weigh", choke)
    repair = await desk.rehearse(code="poison")
    shown = {one["id"]: one["then"] for one in (await desk.document(repair))["messages"]}
    assert shown == dict(zip(parked, ("accepted", "failed", "accepted"), strict=True))
    await desk.approve(repair)
    monkeypatch.setattr(desk.exchange.desk, "weigh", weigh)
    assert await desk.carry_on() == Carried(repair.id, 2, True)


async def test_a_sender_is_asked_once_to_correct_its_own_message(desk: Desk) -> None:
    bri = desk.exchange.bri
    wrong = bri.paid(amount="1.5")
    await desk.exchange.take(bri.sign(wrong))
    row = await desk.exchange.row("SELECT id, event_id, log_index FROM quarantine")
    note = "The amount needs two decimals"
    assert (await desk.ask("send_back", parked_id=row["id"], reason=note)).outcome == "done"
    assert (await desk.ask("send_back", parked_id=row["id"], reason=note)).outcome == "not_found"
    (asked,) = [one for one in await desk.exchange.sent("to.bri") if one["type"] == repairs.CORRECTION]
    assert (asked["causationid"], asked["data"]["note"]) == (row["event_id"], note)
    assert (asked["data"]["code"], asked["data"]["log_index"]) == ("data_invalid", row["log_index"])
    for topic in ("to.mandiri", "to.ministry", "to.immigration"):
        assert repairs.CORRECTION not in {one["type"] for one in await desk.exchange.sent(topic)}
    # The sender's correction is a message of its own; another's of the same cause corrects nothing.
    mandiri = desk.exchange.mandiri
    foreign = json.loads(mandiri.paid("820260302000018"))
    await desk.exchange.take(mandiri.sign(mandiri.write(
        foreign["type"], foreign["data"], foreign["subject"], causationid=row["event_id"])))  # fmt: skip
    assert await desk.repairs.note_corrections(datetime.now(UTC)) == 0
    right = json.loads(bri.paid())
    corrected = bri.write(right["type"], right["data"], right["subject"], causationid=row["event_id"])
    await desk.exchange.take(bri.sign(corrected))
    assert await desk.repairs.note_corrections(datetime.now(UTC)) == 1
    after = await desk.exchange.row("SELECT value, resolution FROM quarantine")
    assert (after["value"], after["resolution"]) == (wrong, "corrected")
    assert await fsck.check(desk.exchange.database) == []


async def test_nobody_is_asked_to_correct_what_another_published(desk: Desk) -> None:
    bri = desk.exchange.bri
    await desk.exchange.take(bri.sign(bri.paid(), topic="from.mandiri"))
    row = await desk.exchange.row("SELECT id FROM quarantine")
    assert (await desk.ask("send_back", parked_id=row["id"])).outcome == "sender_unknown"
    assert await desk.leaves() == []


async def test_bytes_are_given_only_against_an_action_that_names_who_looks(desk: Desk) -> None:
    value = desk.exchange.ministry.submitted()
    (parked,) = await desk.park(value)
    action = await desk.ask("look", parked_id=parked)
    other = await desk.ask("send_back", parked_id=parked)
    async with desk.exchange.database.connection() as connection:
        found = await store.look(connection, action.id)
        assert found is not None
        assert found[1] == value
        assert await store.look(connection, other.id) is None
        await connection.execute("UPDATE repair_actions SET at = at - interval '6 minutes'")
        assert await store.look(connection, action.id) is None
    assert (await desk.leaves())[0] == ("look", f"quarantine/{parked}", "siti")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE inbox SET value = '{}'", "UPDATE inbox SET jws = 'mine'", "UPDATE quarantine SET value = '{}'",
        "UPDATE quarantine SET key = 'mine'", "UPDATE quarantine SET headers = '[[]]'",
        "DELETE FROM repair_actions", "TRUNCATE repair_actions CASCADE",
    ],
)  # fmt: skip
async def test_not_even_the_owner_changes_what_a_participant_signed(desk: Desk, statement: str) -> None:
    ministry = desk.exchange.ministry
    await desk.exchange.take(ministry.sign(ministry.submitted()))
    (parked,) = await parked_applications(desk, 1)
    await desk.ask("rehearse", parked_id=parked)
    async with desk.exchange.database.connection() as connection:
        with pytest.raises(asyncpg.RaiseError):
            await connection.execute(statement)
