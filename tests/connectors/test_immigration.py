"""Immigration's connector between a real visa system (HTTP) and a real spool; records are verified as in the link."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from connectors.immigration import answers, client
from connectors.immigration.client import VisaSystem, VisaSystemAway, VisaSystemRefused
from connectors.immigration.routes import Access, create_router
from connectors.immigration.translate import KINDS, Untranslatable, answer_event
from connectors.link import failpoint
from connectors.link.fault import SpoolFull
from contracts.events import EVENTS, read_event
from tests.connectors.immigration_bench import ANSWERED, OFFICE, WITHDRAWN, Bench, Killed, opened
from tests.connectors.parties import MINISTRY_SOURCE, World
from tests.connectors.serving import served
from tests.connectors.visa_system import WAIT_S_MAX, VisaSystemPeer
from tests.contracts.samples import APPLICATION, NUMBER, SAMPLES


@pytest.fixture
def peer() -> VisaSystemPeer:
    return VisaSystemPeer()


@pytest.fixture
async def bench(tmp_path: Path, peer: VisaSystemPeer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    monkeypatch.setattr(client, "PAUSE_FIRST_S", 0.001)
    async with opened(tmp_path, (OFFICE, peer)) as bench:
        yield bench


# --- from the feed to the visa system --------------------------------------------------------------------------------


async def test_a_recommendation_is_delivered_as_it_was_signed(bench: Bench, peer: VisaSystemPeer) -> None:
    delivered = bench.recommendation()
    await bench.tell(delivered)
    assert peer.taken == {f"{NUMBER}/1/issued": json.loads(delivered.value)["data"]}
    assert peer.keys == [delivered.envelope.id]


async def test_a_redelivery_changes_nothing(bench: Bench, peer: VisaSystemPeer) -> None:
    for _ in range(2):
        await bench.tell(bench.recommendation())
    assert len(peer.taken) == 1
    assert await bench.asides() == []


async def test_a_withdrawal_and_a_new_revision_are_deliveries_of_their_own(bench: Bench, peer: VisaSystemPeer) -> None:
    await bench.tell(bench.recommendation(1, "issued", 1))
    await bench.tell(bench.recommendation(1, "withdrawn", 2))
    await bench.tell(bench.recommendation(2, "issued", 3))
    assert list(peer.taken) == [f"{NUMBER}/1/issued", f"{NUMBER}/1/withdrawn", f"{NUMBER}/2/issued"]
    assert peer.taken[f"{NUMBER}/1/withdrawn"]["reason"] == SAMPLES[WITHDRAWN]["reason"]


@pytest.mark.parametrize("failures", [[503], [500, 502, 429], [401, 404]])
async def test_trouble_is_waited_out(bench: Bench, peer: VisaSystemPeer, failures: list[int]) -> None:
    peer.failures = list(failures)
    await bench.tell(bench.recommendation())
    assert len(peer.taken) == 1
    assert len(peer.calls) == len(failures) + 1


async def test_longer_trouble_is_the_couriers_to_wait_for(
    bench: Bench, peer: VisaSystemPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "ATTEMPTS_MAX", 2)
    peer.failures = [503] * 2
    with pytest.raises(VisaSystemAway):
        await bench.tell(bench.recommendation())
    await bench.tell(bench.recommendation())
    assert len(peer.taken) == 1


async def test_a_system_that_is_not_there_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "PAUSE_FIRST_S", 0.001)
    monkeypatch.setattr(client, "ATTEMPTS_MAX", 2)
    async with httpx.AsyncClient(base_url="http://127.0.0.1:1") as http:
        with pytest.raises(VisaSystemAway, match="does not answer"):
            await VisaSystem(http).deliver(f"{NUMBER}/1/issued", "{}", "key")


async def test_what_the_system_will_never_take_is_set_aside_and_the_next_goes_on(
    bench: Bench, peer: VisaSystemPeer
) -> None:
    peer.taken[f"{NUMBER}/1/issued"] = {"another": "content"}
    await bench.tell(bench.recommendation())
    peer.failures = [422]
    await bench.tell(bench.recommendation(2, "issued", 2))
    await bench.tell(bench.recommendation(3, "issued", 3))
    assert await bench.asides() == [
        (f"delivery/default/{NUMBER}/1/issued", "visa_system_conflict"),
        (f"delivery/default/{NUMBER}/2/issued", "visa_system_refused"),
    ]
    assert list(peer.taken) == [f"{NUMBER}/1/issued", f"{NUMBER}/3/issued"]


@pytest.mark.parametrize("point", ["visa_system.before_delivery", "visa_system.after_delivery"])
async def test_a_kill_around_a_delivery_loses_and_doubles_nothing(
    bench: Bench, peer: VisaSystemPeer, point: str
) -> None:
    def strike(name: str) -> None:
        if name == point:
            raise Killed

    failpoint.arm(strike)
    with pytest.raises(Killed):
        await bench.tell(bench.recommendation())
    failpoint.arm(lambda name: None)
    await bench.tell(bench.recommendation())
    assert len(peer.taken) == 1
    assert await bench.asides() == []


async def test_the_ministrys_answer_to_a_query_is_handed_over(bench: Bench, peer: VisaSystemPeer) -> None:
    item = bench.world.forward(5, ANSWERED, bench.world.ministry, MINISTRY_SOURCE, "ministry")
    for _ in range(2):
        await bench.tell(bench.delivered(item))
    said = SAMPLES[ANSWERED]
    names = ("application", "number", "revision", "query_id", "answer")
    assert peer.query_answers == {said["query_id"]: {name: said[name] for name in names}}


async def test_a_query_answer_that_is_refused_is_set_aside(bench: Bench, peer: VisaSystemPeer) -> None:
    peer.failures = [400]
    item = bench.world.forward(5, ANSWERED, bench.world.ministry, MINISTRY_SOURCE, "ministry")
    await bench.tell(bench.delivered(item))
    assert await bench.asides() == [
        (f"delivery/default/query-answer/{SAMPLES[ANSWERED]['query_id']}", "visa_system_refused")
    ]


# --- from the visa system to the exchange ----------------------------------------------------------------------------


def answer(number: int, kind: str = "acknowledged", **more: Any) -> dict[str, Any]:
    said: dict[str, Any] = {"id": number, "kind": kind, "number": NUMBER, "revision": 1, "application": APPLICATION}
    return {**said, "at": "2026-04-02T10:00:00+07:00", **more}


MORE = {
    "acknowledged": {},
    "queried": {"query_id": "Q-1", "question_code": "LOKASI", "text": "Mohon konfirmasi."},
    "visa_approved": {"visa_number": "V-1", "valid_until": "2026-07-01"},
    "visa_refused": {"reason_code": "DOKUMEN"},
    "visa_revoked": {"visa_number": "V-1", "reason_code": "DITARIK"},
    "stay_permit_issued": {"permit_number": "ITAS-1", "valid_until": "2027-04-01"},
    "entry": {"port": "CGK"},
    "exit": {"port": "CGK"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_answer_becomes_its_event(kind: str) -> None:
    event = answer_event(OFFICE, answer(7, kind, **MORE[kind], canary="left out"), datetime(2026, 5, 1, tzinfo=UTC))
    assert event.time == datetime(2026, 4, 2, 3, tzinfo=UTC)
    data = read_event(event.type, dict(event.data), event.subject).model_dump(exclude_none=True)
    crossing = {"at": "2026-04-02T03:00:00Z"} if kind in ("entry", "exit") else {}
    assert data == {"application": APPLICATION, "number": NUMBER, "revision": 1, **MORE[kind], **crossing}
    told = {name for name in EVENTS if name.startswith("id.tka.immigration.")}
    # What the connector itself says, of its spool.
    assert {each.type for each in KINDS.values()} == told - {"id.tka.immigration.count.stated.v1"}


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ({"kind": "unheard"}, "kind"),
        ({"kind": 3}, "kind"),
        ({"at": "yesterday"}, "at"),
        ({"at": "2026-04-02T10:00:00"}, "at"),
        ({"at": None}, "at"),
        ({"application": None}, "application"),
    ],
)
def test_an_answer_that_is_none_of_ours_is_named(broken: dict[str, Any], why: str) -> None:
    with pytest.raises(Untranslatable, match=why):
        answer_event(OFFICE, answer(7) | broken, datetime(2026, 5, 1, tzinfo=UTC))


def test_an_answer_dated_ahead_of_our_clock_is_a_fact_of_now() -> None:
    now = datetime(2026, 4, 1, tzinfo=UTC)
    assert answer_event(OFFICE, answer(7), now).time == now


async def test_answers_are_published_once_and_their_number_is_kept_with_them(
    bench: Bench, peer: VisaSystemPeer
) -> None:
    peer.answers = [answer(1), answer(2, "visa_approved", **MORE["visa_approved"])]
    assert await bench.take_answers() == 2
    assert await bench.take_answers() == 0
    peer.answers.append(answer(5, "entry", port="CGK"))
    assert await bench.take_answers() == 1
    events = await bench.events()
    assert [event["type"].split(".")[-2] for event in events] == ["acknowledged", "approved", "recorded"]
    assert {event["subject"] for event in events} == {APPLICATION}
    assert await bench.spool.note("answers/read") == "5"


async def test_an_answer_that_cannot_be_published_is_set_aside_and_the_rest_goes_on(
    bench: Bench, peer: VisaSystemPeer
) -> None:
    peer.answers = [answer(1, "unheard"), answer(2, "visa_approved"), answer(3)]
    await bench.take_answers()
    assert len(await bench.events()) == 1
    assert await bench.asides() == [('["answer", 1]', "untranslatable"), ('["answer", 2]', "data_invalid")]


async def test_a_kill_after_reading_publishes_nothing_twice(bench: Bench, peer: VisaSystemPeer) -> None:
    peer.answers = [answer(1)]
    for point in ("answers.after_read", "spool.after_put_commit"):

        def strike(name: str, at: str = point) -> None:
            if name == at:
                raise Killed if at.startswith("answers") else RuntimeError

        failpoint.arm(strike)
        with pytest.raises((Killed, RuntimeError)):
            await bench.take_answers()
        failpoint.arm(lambda name: None)
    await bench.take_answers()
    assert len(await bench.events()) == 1


@pytest.mark.parametrize("page", [[{"id": "1"}], [{"id": 0}], [{}], ["x"], None, [None]])
async def test_a_page_that_cannot_be_read_is_trouble_of_the_system(page: Any) -> None:
    app = FastAPI()
    app.add_api_route("/answers", lambda: {"answers": page})
    async with served(app) as address, httpx.AsyncClient(base_url=address) as http:
        with pytest.raises(VisaSystemAway, match="cannot be read"):
            await VisaSystem(http).answers(0)


async def test_following_answers_goes_on_after_trouble(
    bench: Bench, peer: VisaSystemPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "AWAY_PAUSE_S", 0.001)
    peer.failures = [503, 422]
    peer.answers = [answer(1)]
    following = asyncio.create_task(answers.follow(OFFICE, bench.take_answers, 0.001))
    async with asyncio.timeout(WAIT_S_MAX):
        await bench.spool.arrived.wait()
    following.cancel()
    await asyncio.wait({following})
    assert len(await bench.events()) == 1


async def test_a_full_spool_leaves_the_answers_where_they_are(tmp_path: Path, peer: VisaSystemPeer) -> None:
    peer.answers = [answer(1)]
    world = World()
    async with opened(tmp_path, (OFFICE, peer), bytes_max=0, world=world) as bench:
        with pytest.raises(SpoolFull):
            await bench.take_answers()
    async with opened(tmp_path, (OFFICE, peer), world=world) as bench:
        assert await bench.take_answers() == 1


async def test_a_refusal_of_the_system_names_its_status_alone() -> None:
    app = FastAPI()
    app.add_api_route("/answers", lambda: {"answers": []}, methods=["POST"])
    async with served(app) as address, httpx.AsyncClient(base_url=address) as http:
        with pytest.raises(VisaSystemRefused) as refused:
            await VisaSystem(http).answers(0)
    assert refused.value.status == 405


# --- valid now? ------------------------------------------------------------------------------------------------------


async def test_valid_follows_the_feed(bench: Bench, peer: VisaSystemPeer) -> None:
    assert bench.status() == "stale"
    await bench.beat()
    assert bench.status() == "unknown"
    await bench.desk.handle(bench.recommendation(1, "issued", 1))
    assert bench.status() == "valid"
    await bench.desk.handle(bench.recommendation(1, "withdrawn", 2))
    assert bench.status() == "withdrawn"
    await bench.desk.handle(bench.recommendation(1, "issued", 1))
    assert bench.status() == "withdrawn"
    await bench.desk.handle(bench.recommendation(2, "issued", 3))
    assert (bench.status(), bench.status(revision=1)) == ("valid", "superseded")
    bench.now += timedelta(seconds=91)
    assert bench.status() == "stale"


async def test_a_withdrawal_counts_before_it_could_be_delivered(
    bench: Bench, peer: VisaSystemPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "ATTEMPTS_MAX", 1)
    await bench.beat()
    await bench.desk.handle(bench.recommendation(1, "issued", 1))
    peer.failures = [503]
    await bench.desk.handle(bench.recommendation(1, "withdrawn", 2))
    with pytest.raises(VisaSystemAway):
        await bench.deliver()
    assert bench.status() == "withdrawn"


async def test_every_stream_must_be_fresh_and_whole(bench: Bench) -> None:
    await bench.desk.handle(bench.heartbeat(9, 8, partition=0))
    assert bench.status() == "stale"
    await bench.desk.handle(bench.heartbeat(9, 9, partition=1))
    assert bench.status() == "stale"
    await bench.desk.handle(bench.heartbeat(10, 9, partition=1))
    assert bench.status() == "unknown"


async def test_the_question_over_http(bench: Bench) -> None:
    await bench.beat()
    await bench.desk.handle(bench.recommendation())
    app = FastAPI()
    app.include_router(
        create_router(bench.desk, bench.standings, bench.offices, Access(None, loopback=True), bench.clock)
    )
    async with served(app) as address, httpx.AsyncClient(base_url=address) as http:
        told = (await http.get("/valid", params={"number": NUMBER})).json()
        assert (told["status"], told["number"], told["why"]) == ("valid", NUMBER, "revision 1 stands")
        assert (await http.get("/valid", params={"number": NUMBER, "revision": 2})).json()["status"] == "unknown"
        assert (await http.get("/valid")).status_code == 422
        bench.now += timedelta(seconds=91)
        assert (await http.get("/valid", params={"number": NUMBER})).json()["status"] == "stale"
