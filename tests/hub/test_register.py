"""The register of foreign workers as it is shared: each grantee hears of its own part, once, by its topic and API."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from contracts.events import read_event
from contracts.oversight.dossier import Dossier
from contracts.oversight.register import enter
from contracts.wire.key import PrivateKey
from contracts.wire.signature import VerifiedRoots, verify_signature
from hub import failpoint
from hub.cluster import Cluster
from hub.health import Health
from hub.overseer import Overseer
from hub.relay import Relay
from hub.release import Signer
from hub.store import dossiers
from hub.store import register as store
from hub.trust import RegistryInForce
from hub.web import probes
from hub.web import register as door
from hub.web.access import Guard
from tests.hub.brokers import create_topics
from tests.hub.exchange import APPLICATION, Exchange
from tests.hub.test_overseer import DAY, MONDAY, OTHER, oversee, tell
from tests.hub.test_relay import Bench, running
from tests.hub.world import World
from tests.pages.hall import URL
from tests.pages.test_facts import assert_as

pytestmark = pytest.mark.anyio

ENTERED, LEFT = (f"id.tka.hub.register.{what}.v1" for what in ("entered", "left"))
HERE, THERE = "disnaker-3171", "disnaker-3174"
MOVED = {"regency": "3174", "places": [{"province": "31", "regency": "3174"}]}
KEYS = {name: PrivateKey.generate("Ed25519") for name in (HERE, THERE, "immigration", "bri")}
VALIDITY = {"nbf": "2020-01-01T00:00:00Z", "exp": "2099-01-01T00:00:00Z"}


def office(name: str, *regencies: str) -> dict[str, Any]:
    """A labour office that is granted these regencies."""
    key = {"jwk": KEYS[name].public.jwk, "use": "api", **VALIDITY}
    granted = [{"type": each, "filter": {"regency": list(regencies)}} for each in (ENTERED, LEFT)]
    return {"id": name, "kind": "labour_office", "keys": [key], "subscribes": granted if regencies else []}


async def grant(exchange: Exchange, *offices: dict[str, Any]) -> None:
    """Put a registry in force that has these labour offices, and lets Immigration see all."""
    immigration, bri = (
        next(party for party in exchange.participants() if party["id"] == name) for name in ("immigration", "bri")
    )
    immigration["subscribes"] += [{"type": each, "filter": {}} for each in (ENTERED, LEFT)]
    for party in (immigration, bri):
        party["keys"].append({"jwk": KEYS[party["id"]].public.jwk, "use": "api", **VALIDITY})
    topics = {f"to.{name}": 1 for name in (HERE, THERE)}
    await exchange.register({"settings": {"topics": topics}, "participants": [immigration, bri, *offices]})


@pytest.fixture
async def exchange(database: str) -> AsyncIterator[Exchange]:
    """Give an exchange with two labour offices."""
    opened = await Exchange.open(database)
    await grant(opened, office(HERE, "3171", "3172"), office(THERE, "3174"))
    yield opened
    await opened.database.close()


async def share(exchange: Exchange, now: datetime) -> None:
    """Let the overseer see everything that there is, and tell it."""
    await oversee(exchange, now)
    while await Overseer(exchange.desk).share_register(now, 2):
        pass


async def heard(exchange: Exchange, name: str) -> list[tuple[str, int, str]]:
    """What a grantee was told, as (what, revision, why), each checked against its contract."""
    told = []
    for event in await exchange.sent(f"to.{name}"):
        if event["type"] in (ENTERED, LEFT):
            data = event["data"]
            read_event(event["type"], data, event["subject"])
            assert data["participant"] == name
            told.append((event["type"].split(".")[4], data["revision"], data.get("reason", "")))
    return told


async def approve(exchange: Exchange, application: str = APPLICATION, **others: Any) -> None:
    await tell(exchange, exchange.ministry, exchange.ministry.approved(application, **others), MONDAY)


IN_FORCE = datetime(2026, 6, 1, 3, tzinfo=UTC)


async def test_a_labour_office_hears_of_its_own_regency_and_immigration_of_all(exchange: Exchange) -> None:
    await approve(exchange)
    await approve(exchange, OTHER, worker="worker-0002", **MOVED)
    # Neither permit is in force yet.
    await share(exchange, MONDAY)
    assert [await heard(exchange, name) for name in (HERE, THERE, "immigration")] == [[], [], []]
    await share(exchange, IN_FORCE)
    assert [await heard(exchange, name) for name in (HERE, THERE)] == [[("entered", 1, "")]] * 2
    assert await heard(exchange, "immigration") == [("entered", 1, "")] * 2
    (here,) = [one["data"] for one in await exchange.sent(f"to.{HERE}") if one["type"] == ENTERED]
    assert (here["worker"], here["regencies"], here["until"]) == ("worker-0001", ["3171"], "2027-04-01")
    assert "unit" not in here
    assert not any(name in json.dumps(here) for name in ("Yamada", "L898902C"))
    await share(exchange, IN_FORCE + DAY)
    assert len(await heard(exchange, HERE)) == 1


async def test_what_immigration_says_is_told_to_immigration_and_not_to_a_labour_office(exchange: Exchange) -> None:
    await approve(exchange)
    await share(exchange, IN_FORCE)
    data = {"application": APPLICATION, "number": "TKA-0123456789AB", "revision": 1}
    entered = {**data, "at": "2026-06-02T02:00:00Z", "port": "CGK"}
    party = exchange.immigration
    crossing = party.write("id.tka.immigration.entry.recorded.v1", entered, APPLICATION)
    await tell(exchange, party, crossing, IN_FORCE + DAY)
    await share(exchange, IN_FORCE + 2 * DAY)
    assert await heard(exchange, HERE) == [("entered", 1, "")]
    assert await heard(exchange, "immigration") == [("entered", 1, ""), ("entered", 2, "")]
    told = [one["data"] for one in await exchange.sent("to.immigration") if one["type"] == ENTERED]
    assert [(one["present"], one["crossed_on"]) for one in told] == [(False, None), (True, "2026-06-02")]
    (here,) = [one["data"] for one in await exchange.sent(f"to.{HERE}") if one["type"] == ENTERED]
    assert [here[name] for name in ("present", "crossed_on", "visa_until", "stay_until")] == [None] * 4


async def test_who_moves_leaves_one_office_and_enters_the_other(exchange: Exchange) -> None:
    await approve(exchange)
    await share(exchange, IN_FORCE)
    amended = exchange.ministry.approved(APPLICATION, "amended", **MOVED)
    await tell(exchange, exchange.ministry, amended, IN_FORCE)
    await share(exchange, IN_FORCE + DAY)
    assert await heard(exchange, HERE) == [("entered", 1, ""), ("left", 2, "moved")]
    assert await heard(exchange, THERE) == [("entered", 1, "")]


async def test_time_alone_ends_an_entry_and_so_does_a_revocation(exchange: Exchange) -> None:
    await approve(exchange)
    await approve(exchange, OTHER)
    await share(exchange, IN_FORCE)
    revoked = exchange.ministry.permit("revoked", OTHER, decision="KEP.2/2026", reason_code="R1")
    await tell(exchange, exchange.ministry, revoked, IN_FORCE)
    await share(exchange, IN_FORCE + DAY)
    assert (await heard(exchange, HERE))[2:] == [("left", 2, "ended")]
    await share(exchange, datetime(2027, 3, 31, 16, 59, tzinfo=UTC))
    assert len(await heard(exchange, HERE)) == 3
    await share(exchange, datetime(2027, 3, 31, 17, tzinfo=UTC))
    assert (await heard(exchange, HERE))[3:] == [("left", 2, "ended")]


async def test_who_is_granted_later_is_told_of_all_and_who_loses_a_part_hears_that_it_left(exchange: Exchange) -> None:
    numbers = [f"B.3/00010{number}/PK.04.00/III/2026" for number in range(5)]
    for number in numbers:
        await approve(exchange, number)
    await share(exchange, IN_FORCE)
    assert await heard(exchange, THERE) == []
    await grant(exchange, office(HERE, "3172"), office(THERE, "3174", "3171"))
    await share(exchange, IN_FORCE)
    assert await heard(exchange, THERE) == [("entered", 1, "")] * 5
    assert (await heard(exchange, HERE))[5:] == [("left", 2, "moved")] * 5
    # What is not granted any more is not even told to have left, and all of it is told anew when it is granted again.
    await grant(exchange, office(HERE, "3172"), office(THERE))
    await share(exchange, IN_FORCE)
    await grant(exchange, office(HERE, "3172"), office(THERE, "3171"))
    await share(exchange, IN_FORCE)
    assert (await heard(exchange, THERE))[5:] == [("entered", 2, "")] * 5


async def test_what_is_told_is_told_once_though_the_hub_dies_before_it_commits(exchange: Exchange) -> None:
    await approve(exchange)
    passed = iter(range(100))

    def die(name: str) -> None:
        # The first transaction follows the log, the second looks at the file and tells.
        if name == "deadlines.before_commit" and next(passed) == 1:
            raise InterruptedError

    failpoint.arm(die)
    try:
        with pytest.raises(InterruptedError):
            await share(exchange, IN_FORCE)
    finally:
        failpoint.arm(lambda name: None)
    assert await heard(exchange, HERE) == []
    await share(exchange, IN_FORCE)
    await share(exchange, IN_FORCE)
    assert await heard(exchange, HERE) == [("entered", 1, "")]


async def test_what_is_kept_is_the_fold_of_the_dossier(exchange: Exchange) -> None:
    await approve(exchange)
    await share(exchange, IN_FORCE)
    async with exchange.database.snapshot() as connection:
        folded = [enter(Dossier(*one)) async for one in dossiers.stream_all(connection)]
        kept = await store.list_in_force(
            connection, store.View(), IN_FORCE.date(), within=None, after="", limit=10
        )  # fmt: skip
    assert kept == folded


async def test_a_labour_office_reads_its_own_topic_in_kafka(
    exchange: Exchange, database: str, kafka: str, topic_prefix: str
) -> None:
    await approve(exchange)
    await approve(exchange, OTHER, **MOVED)
    await share(exchange, IN_FORCE)
    async with exchange.database.connection() as connection:
        registry = await RegistryInForce(exchange.root.public).refresh(connection)
    cluster = Cluster(kafka, topic_prefix)
    await create_topics(cluster, registry.topics)
    in_force, signer = RegistryInForce(exchange.root.public), Signer(exchange.hub)
    relay = Relay(exchange.database, database, cluster, in_force, signer, Health())
    async with running(relay):
        records = await Bench(database, exchange.database, cluster, World()).read(f"to.{HERE}", 1)
    (record,) = [one for one in records if json.loads(one.value)["type"] == ENTERED]
    assert json.loads(record.value)["subject"] == APPLICATION
    verify_signature(record.value, record.headers, registry.message_key, VerifiedRoots())


@pytest.fixture
async def client(exchange: Exchange) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client of the API, over an exchange with three workers in two regencies."""
    today = datetime.now(UTC)
    for number, ends_in in (("1", 20), ("2", 50), ("3", 80)):
        dates = {"from": f"{today - 40 * DAY:%Y-%m-%d}", "until": f"{today + ends_in * DAY:%Y-%m-%d}"}
        place = MOVED if number == "3" else {}
        await approve(exchange, f"B.3/00020{number}/PK.04.00/III/2026", worker=f"worker-000{number}", **place, **dates)
    await share(exchange, today)
    guard = Guard(exchange.database, RegistryInForce(exchange.root.public), URL, None)
    router = door.create_router(exchange.database, guard)
    transport = httpx.ASGITransport(probes.create_app(Health(), router), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=URL) as opened:
        yield opened


async def ask(client: httpx.AsyncClient, name: str, path: str = "", tag: str = "", **query: Any) -> httpx.Response:
    headers = assert_as(KEYS[name], name) | ({"If-None-Match": tag} if tag else {})
    return await client.get(f"/api/v1/register{path}", params=query, headers=headers)


async def test_the_api_gives_each_grantee_its_own_part_page_by_page(client: httpx.AsyncClient) -> None:
    answer = await ask(client, HERE, limit=1)
    first = answer.json()
    second = (await ask(client, HERE, limit=1, after=first["next"])).json()
    assert [one["worker"] for one in (*first["entries"], *second["entries"])] == ["worker-0001", "worker-0002"]
    assert second["next"] is None
    assert first["entries"][0]["present"] is None
    assert "Yamada" not in answer.text
    assert [one["worker"] for one in (await ask(client, THERE)).json()["entries"]] == ["worker-0003"]
    everybody = (await ask(client, "immigration")).json()["entries"]
    assert [(one["worker"], one["present"]) for one in everybody] == [(f"worker-000{n}", False) for n in (1, 2, 3)]
    again = await ask(client, HERE, tag=answer.headers["etag"], limit=1)
    assert (again.status_code, again.content) == (304, b"")
    assert answer.headers["cache-control"] == "private, no-cache"


async def test_the_api_gives_whose_permit_ends_soon(client: httpx.AsyncClient) -> None:
    counts = [len((await ask(client, "immigration", expiring=days)).json()["entries"]) for days in (30, 60, 90)]
    assert counts == [1, 2, 3]
    assert (await ask(client, "immigration", expiring=45)).status_code == 400


async def test_the_api_refuses_who_is_granted_nothing_and_what_is_no_cursor(client: httpx.AsyncClient) -> None:
    refused = [
        await ask(client, "bri"),
        await ask(client, "bri", "/differences"),
        await ask(client, HERE, "/differences"),
    ]
    assert [one.status_code for one in refused] == [403] * 3
    assert refused[0].json()["type"].endswith("/register-not-granted")
    assert [(await ask(client, HERE, after=one)).status_code for one in ("!", "AA", "_w")] == [400] * 3
    assert (await client.get("/api/v1/register")).status_code == 401
    stranger = assert_as(PrivateKey.generate("Ed25519"), HERE)
    assert (await client.get("/api/v1/register", headers=stranger)).status_code == 401


async def test_where_the_agencies_do_not_agree_both_are_shown_it(client: httpx.AsyncClient, exchange: Exchange) -> None:
    assert (await ask(client, "immigration", "/differences")).json()["differences"] == []
    application, party, today = "B.3/000201/PK.04.00/III/2026", exchange.immigration, datetime.now(UTC)
    data = {"application": application, "number": "TKA-0123456789AB", "revision": 1, "port": "CGK"}
    at = f"{today - 39 * DAY:%Y-%m-%dT%H:%M:%SZ}"
    crossed = party.write("id.tka.immigration.entry.recorded.v1", {**data, "at": at}, application)
    await tell(exchange, party, crossed, today - 39 * DAY)
    revoked = exchange.ministry.permit("revoked", application, decision="KEP.2/2026", reason_code="R1")
    await tell(exchange, exchange.ministry, revoked, today - 20 * DAY)
    await share(exchange, today)
    found = [(await ask(client, name, "/differences")).json()["differences"] for name in ("immigration",)]
    (one,) = found[0]
    assert (one["kind"], one["worker"]) == ("overstay", "worker-0001")
    assert len(one["log_indices"]) == 3
