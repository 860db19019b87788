"""The overseer against the real database: service times after an outage, findings opened and closed, an insider."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from jiter import from_json
from typer.testing import CliRunner, Result

from hub import fsck
from hub.cli import app
from hub.overseer import Overseer
from hub.store import dossiers
from hub.store.cases import write_json
from tests.hub.exchange import APPLICATION, CODE, Exchange, Sender
from tests.hub.insider import write_past_the_hub

pytestmark = pytest.mark.anyio

# Monday the 2nd of March 2026, 10:00 in Jakarta.
MONDAY = datetime(2026, 3, 2, 3, tzinfo=UTC)
DAY = timedelta(days=1)
OTHER = "B.3/000018/PK.04.00/III/2026"
OTHER_CODE = "820260302000025"
NTPN = "0A1B2C3D4E5F6G7H"


@pytest.fixture
async def exchange(database: str) -> AsyncIterator[Exchange]:
    """Give an exchange whose database is sound in the end."""
    opened = await Exchange.open(database)
    yield opened
    assert await fsck.check(opened.database) == []
    await opened.database.close()


async def tell(exchange: Exchange, party: Sender, value: bytes, at: datetime) -> None:
    """Let the hub take a message that says when it happened."""
    said = json.loads(value)
    dated = party.write(said["type"], said["data"], said["subject"], time=at, sequence=int(said["sequence"]))
    taken = await exchange.take(party.sign(dated))
    assert (taken.accepted, dict(taken.refused)) == (1, {})


async def oversee(exchange: Exchange, now: datetime) -> None:
    """Follow the log to its end, look at everything that is awake, judge the groups."""
    overseer = Overseer(exchange.desk)
    while await overseer.follow(now):
        pass
    while await overseer.look(now, 2):
        pass
    while await overseer.judge_groups(now, 2):
        pass


async def findings(exchange: Exchange, *, closed: bool = False) -> list[tuple[str, str, int]]:
    async with exchange.database.connection() as connection:
        listed = await dossiers.list_findings(connection, closed=closed)
    return [(one["finding"], one["state"], one["revision"]) for one in listed]


async def leaves(exchange: Exchange, kind: str) -> list[dict[str, Any]]:
    async with exchange.database.connection() as connection:
        rows = await connection.fetch("SELECT entry FROM leaves ORDER BY log_index")
    return [said for row in rows if (said := json.loads(row[0]))["kind"] == kind]


async def settle(exchange: Exchange, application: str, code: str, ntpn: str, at: datetime) -> None:
    """Take an application the honest way to its recommendation."""
    ministry, bri = exchange.ministry, exchange.bri
    await tell(exchange, ministry, ministry.submitted(application), at)
    await tell(exchange, ministry, ministry.permit("completed", application), at + timedelta(hours=1))
    await tell(exchange, ministry, ministry.billed(application, code), at + timedelta(hours=2))
    await tell(exchange, bri, bri.paid(code, ntpn=ntpn), at + timedelta(hours=3))
    await tell(exchange, bri, bri.booked(code=code, ntpn=ntpn), at + timedelta(hours=4))
    await tell(exchange, ministry, ministry.approved(application), at + timedelta(hours=5))


async def test_an_honest_case_is_followed_and_nothing_is_told(exchange: Exchange) -> None:
    await settle(exchange, APPLICATION, CODE, NTPN, MONDAY)
    await oversee(exchange, MONDAY + timedelta(hours=6))
    assert await findings(exchange, closed=True) == []
    assert await leaves(exchange, "service_time") == []
    async with exchange.database.connection() as connection:
        stored = {subject: len(facts) async for subject, facts in _stream(connection)}
    # Six messages and the recommendation.
    assert stored[APPLICATION] == 7


async def _stream(connection: Any) -> Any:
    async with connection.transaction():
        async for subject, facts in dossiers.stream_all(connection):
            yield subject, facts


async def test_what_everything_slept_through_is_told_afterwards_and_dated_rightly(exchange: Exchange) -> None:
    ministry = exchange.ministry
    await tell(exchange, ministry, ministry.submitted(), MONDAY)
    await tell(exchange, ministry, ministry.permit("completed"), MONDAY)
    await oversee(exchange, MONDAY + timedelta(hours=1))
    assert await leaves(exchange, "service_time") == []
    # Nothing ran on Tuesday, when it should have warned, nor on Wednesday, when the time was up.
    woken_at = MONDAY + 30 * DAY
    await oversee(exchange, woken_at)
    told = await leaves(exchange, "service_time")
    assert [(one["state"], one["passed_at"], one["at"]) for one in told] == [
        ("warned", "2026-03-03T17:00:00Z", "2026-04-01T03:00:00Z"),
        ("breached", "2026-03-04T17:00:00Z", "2026-04-01T03:00:00Z"),
    ]
    sent = [event for event in await exchange.sent("to.ministry") if ".sla." in event["type"]]
    assert [event["type"].split(".")[4] for event in sent] == ["warning", "breached"]
    data = sent[1]["data"]
    assert (data["clock"], data["holder"], data["due_on"]) == ("decision", "ministry", "2026-03-04")
    assert data["rule_set"]["version"] == 2
    await oversee(exchange, woken_at + DAY)
    assert len(await leaves(exchange, "service_time")) == 2


async def test_a_warning_comes_in_its_time_and_a_decision_before_the_breach_ends_it(exchange: Exchange) -> None:
    ministry = exchange.ministry
    await tell(exchange, ministry, ministry.submitted(), MONDAY)
    await tell(exchange, ministry, ministry.permit("completed"), MONDAY)
    await oversee(exchange, datetime(2026, 3, 3, 17, tzinfo=UTC))
    assert await leaves(exchange, "service_time") == []
    await oversee(exchange, datetime(2026, 3, 3, 17, 0, 1, tzinfo=UTC))
    assert [one["state"] for one in await leaves(exchange, "service_time")] == ["warned"]
    data = {"decision": "KEP.1/2026", "reason_code": "R1"}
    await tell(exchange, ministry, ministry.permit("rejected", **data), datetime(2026, 3, 4, 5, tzinfo=UTC))
    await oversee(exchange, MONDAY + 9 * DAY)
    assert [one["state"] for one in await leaves(exchange, "service_time")] == ["warned"]


async def test_a_finding_is_opened_closed_by_late_facts_and_never_deleted(exchange: Exchange, database: str) -> None:
    ministry = exchange.ministry
    await tell(exchange, ministry, ministry.submitted(), MONDAY)
    await oversee(exchange, MONDAY + 5 * DAY)
    assert await findings(exchange) == []
    await oversee(exchange, MONDAY + 8 * DAY)
    assert await findings(exchange) == [("silent_file", "open", 1)]
    missing = [{"code": "D01", "document": "CONTRACT"}]
    await tell(exchange, ministry, ministry.permit("deficiency_notified", missing=missing), MONDAY + DAY)
    await oversee(exchange, MONDAY + 9 * DAY)
    assert await findings(exchange) == []
    assert await findings(exchange, closed=True) == [("silent_file", "closed", 1)]
    opened, closed = await leaves(exchange, "finding")
    assert (opened["state"], closed["state"]) == ("open", "closed")
    assert (opened["name"], opened["digest"]) == (closed["name"], closed["digest"])
    # The log tells nobody whom a finding is about.
    assert APPLICATION not in json.dumps([opened, closed])
    connection = await asyncpg.connect(database)
    with pytest.raises(asyncpg.RaiseError, match="never deleted"):
        await connection.execute("DELETE FROM findings")
    await connection.close()


async def test_of_an_erased_original_what_decisions_read_is_followed(database: str) -> None:
    exchange = await Exchange.open(database)
    await tell(exchange, exchange.ministry, exchange.ministry.submitted(), MONDAY)
    await tell(exchange, exchange.ministry, exchange.ministry.permit("completed"), MONDAY)
    erase = "UPDATE inbox SET value = NULL, erased_at = now(), fact = $2 WHERE type = $1"
    async with exchange.database.connection() as connection:
        (kept,) = from_json((await connection.fetchval("SELECT facts FROM cases")).encode())
        await connection.execute(erase, "id.tka.ministry.permit.submitted.v1", write_json(kept))
        await connection.execute(erase, "id.tka.ministry.permit.completed.v1", None)
    await oversee(exchange, MONDAY + timedelta(hours=1))
    async with exchange.database.connection() as connection:
        stored = {subject: [fact.type.split(".")[4] for fact in facts] async for subject, facts in _stream(connection)}
    assert stored == {APPLICATION: ["submitted"]}
    await exchange.database.close()


async def test_a_finding_that_somebody_rewrote_is_no_longer_the_one_in_the_log(database: str) -> None:
    exchange = await Exchange.open(database)
    await tell(exchange, exchange.ministry, exchange.ministry.submitted(), MONDAY)
    await oversee(exchange, MONDAY + 8 * DAY)
    assert await fsck.check(exchange.database) == []
    async with exchange.database.connection() as connection:
        await connection.execute("UPDATE findings SET lead = replace(lead, $1, $2)", APPLICATION, OTHER)
    assert [one.kind for one in await fsck.check(exchange.database)] == ["leaf_wrong"]
    await exchange.database.close()


async def ask(database: str, *words: str) -> Result:
    """Run a command of the hub on this database."""
    return await asyncio.to_thread(lambda: CliRunner().invoke(app, list(words), env={"DATABASE_URL": database}))


async def test_the_commands_show_what_was_found_and_count_a_month(exchange: Exchange, database: str) -> None:
    ministry = exchange.ministry
    assert "No finding is open." in (await ask(database, "findings", "list")).output
    await tell(exchange, ministry, ministry.submitted(), MONDAY)
    await oversee(exchange, MONDAY + 8 * DAY)
    (listed,) = json.loads((await ask(database, "findings", "list", "--json")).output)
    assert (listed["finding"], listed["lead"]["measured"], listed["state"]) == ("silent_file", 1, "open")
    shown = await ask(database, "findings", "show", str(listed["number"]))
    assert "7 Silent file, of " + APPLICATION in shown.output
    assert "Rule set 2021/2" in shown.output
    assert (await ask(database, "findings", "show", "999")).exit_code == 1
    counted = json.loads((await ask(database, "statistics", "--month", "2026-03", "--json")).output)["figures"]
    # Without a checkpoint nothing of the log is proven yet, so that nothing is counted of it.
    assert {(row["log_size"], row["rule_sets"]) for row in counted} == {(0, "2012/1 2012/2 2021/1 2021/2")}
    assert "received" in (await ask(database, "statistics", "--csv")).output
    assert (await ask(database, "statistics", "--month", "March")).exit_code == 2


async def test_the_register_shows_who_is_in_work_today_in_which_regency(exchange: Exchange, database: str) -> None:
    today = datetime.now(UTC)
    ministry = exchange.ministry
    dates = {"from": f"{today - 40 * DAY:%Y-%m-%d}", "until": f"{today + 40 * DAY:%Y-%m-%d}"}
    await tell(exchange, ministry, ministry.approved(**dates), today - 50 * DAY)
    await oversee(exchange, today)
    (listed,) = json.loads((await ask(database, "register", "list", "--regency", "3171", "--json")).output)
    assert (listed["worker"], listed["until"], listed["position"]) == ("worker-0001", dates["until"], "2511")
    assert "Yamada" not in json.dumps(listed)
    assert json.loads((await ask(database, "register", "list", "--regency", "3174", "--json")).output) == []
    within = [json.loads((await ask(database, "register", "list", "--expiring", days, "--json")).output) for days in
              ("30", "60")]  # fmt: skip
    assert [len(found) for found in within] == [0, 1]
    assert "The agencies agree." in (await ask(database, "register", "differences")).output


async def test_one_treasury_receipt_under_two_recommendations_is_found(exchange: Exchange) -> None:
    await settle(exchange, APPLICATION, CODE, NTPN, MONDAY)
    await oversee(exchange, MONDAY + timedelta(hours=6))
    await settle(exchange, OTHER, OTHER_CODE, NTPN.lower(), MONDAY + timedelta(hours=1))
    await oversee(exchange, MONDAY + timedelta(hours=7))
    # Both files are of one worker in one post too.
    assert sorted(await findings(exchange)) == [("chained_temporaries", "open", 1), ("money_reused", "open", 1)]


async def test_money_that_waited_under_its_code_goes_to_the_case_that_is_billed(exchange: Exchange) -> None:
    bri, ministry = exchange.bri, exchange.ministry
    await tell(exchange, bri, bri.paid(), MONDAY)
    await oversee(exchange, MONDAY + timedelta(hours=1))
    await tell(exchange, ministry, ministry.billed(), MONDAY)
    await oversee(exchange, MONDAY + timedelta(hours=2))
    async with exchange.database.connection() as connection:
        stored = {subject: len(facts) async for subject, facts in _stream(connection)}
    assert stored == {APPLICATION: 2, CODE: 0}


async def test_a_recommendation_written_past_the_hub_with_its_key_is_found(database: str) -> None:
    """Finding 1 as an insider would do it: a true row and a true leaf, and nothing that it could rest on."""
    exchange = await Exchange.open(database)
    ministry = exchange.ministry
    await tell(exchange, ministry, ministry.submitted(), MONDAY)
    await tell(exchange, ministry, ministry.permit("completed"), MONDAY + timedelta(hours=1))
    await write_past_the_hub(exchange, APPLICATION, MONDAY + timedelta(hours=2))
    await oversee(exchange, MONDAY + timedelta(hours=3))
    assert await findings(exchange) == [("unfounded_recommendation", "open", 1)]
    assert await fsck.check(exchange.database) != []
    await exchange.database.close()
