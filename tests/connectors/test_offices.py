"""Several offices behind one connector: who is told what, by which door, and what happens when one of them is away."""

import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from connectors.immigration import client
from connectors.immigration.answers import take_files
from connectors.immigration.board import Board
from connectors.immigration.client import VisaSystemAway
from connectors.immigration.folder import Folder
from connectors.immigration.offices import UNROUTED, read_offices
from connectors.immigration.routes import Access, create_router
from connectors.immigration.standing_file import FILE_NAME, QueueFull
from connectors.immigration.standings import Standings
from connectors.link import failpoint
from connectors.link.fault import SettingsFault
from tests.connectors.immigration_bench import ANSWERED, Bench, Killed, opened
from tests.connectors.parties import MINISTRY_SOURCE
from tests.connectors.serving import served
from tests.connectors.visa_system import VisaSystemPeer
from tests.contracts.samples import APPLICATION, NUMBER, SAMPLES

JAKARTA, BALI = "JKT", "DPS"


def number_of(place: int) -> str:
    return f"TKA-{place:012X}"


def write_offices(folder: Path, **changes: Any) -> Path:
    offices = [
        {"name": "jakarta", "kanim": [JAKARTA], "door": "push", "url": "http://jakarta.example"},
        {"name": "bali", "kanim": [BALI], "door": "push", "url": "http://bali.example"},
        {"name": "timika", "kanim": ["TIM"], "door": "folder", "folder": str(folder / "timika")},
        {"name": "directorate", "kanim": ["DIR"], "door": "pull"},
    ]
    file = folder / "offices.json"
    file.write_text(json.dumps({"offices": offices} | changes))
    return file


@pytest.fixture
def jakarta() -> VisaSystemPeer:
    return VisaSystemPeer()


@pytest.fixture
def bali() -> VisaSystemPeer:
    return VisaSystemPeer()


@pytest.fixture
async def bench(
    tmp_path: Path, jakarta: VisaSystemPeer, bali: VisaSystemPeer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Bench]:
    monkeypatch.setattr(client, "PAUSE_FIRST_S", 0.001)
    monkeypatch.setattr(client, "ATTEMPTS_MAX", 1)
    file = write_offices(tmp_path)
    async with opened(tmp_path, ("jakarta", jakarta), ("bali", bali), offices_file=file) as bench:
        yield bench


@asynccontextmanager
async def asking(bench: Bench, token: str | None = None, *, loopback: bool = True) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    access = Access(token, loopback=loopback)
    app.include_router(create_router(bench.desk, bench.standings, bench.offices, access, bench.clock))
    async with served(app) as address, httpx.AsyncClient(base_url=address) as http:
        yield http


# --- who is in charge ------------------------------------------------------------------------------------------------


async def test_each_office_is_told_what_it_is_in_charge_of(
    bench: Bench, jakarta: VisaSystemPeer, bali: VisaSystemPeer
) -> None:
    await bench.desk.handle(bench.recommendation(number=number_of(1), kanim=JAKARTA))
    await bench.desk.handle(bench.recommendation(number=number_of(2), kanim=BALI))
    await bench.deliver("jakarta")
    await bench.deliver("bali")
    assert (list(jakarta.taken), list(bali.taken)) == ([f"{number_of(1)}/1/issued"], [f"{number_of(2)}/1/issued"])


async def test_an_office_that_is_down_for_three_days_holds_up_nobody_else(
    bench: Bench, jakarta: VisaSystemPeer, bali: VisaSystemPeer
) -> None:
    bali.failures = [503] * 10_000
    for hour in range(72):
        bench.now += timedelta(hours=1)
        await bench.desk.handle(bench.recommendation(seq=2 * hour + 1, number=number_of(hour), kanim=JAKARTA))
        await bench.desk.handle(bench.recommendation(seq=2 * hour + 2, number=number_of(100 + hour), kanim=BALI))
        await bench.deliver("jakarta")
        if hour % 24 == 0:
            with pytest.raises(VisaSystemAway):
                await bench.deliver("bali")
    assert (len(jakarta.taken), len(bali.taken)) == (72, 0)
    state = bench.standings.read.queue_state("bali")
    assert (state.waiting, state.oldest) == (72, bench.now - timedelta(hours=71))
    bali.failures.clear()
    assert await bench.deliver("bali") == 72
    assert sorted(bali.taken) == [f"{number_of(100 + hour)}/1/issued" for hour in range(72)]


async def test_order_within_a_recommendation_is_kept_and_what_is_fresh_does_not_wait_behind_the_old(
    bench: Bench, bali: VisaSystemPeer
) -> None:
    for place in range(40):
        number = number_of(place)
        await bench.desk.handle(bench.recommendation(1, "issued", 3 * place + 1, number=number, kanim=BALI))
        await bench.desk.handle(bench.recommendation(1, "withdrawn", 3 * place + 2, number=number, kanim=BALI))
    await bench.courier("bali").deliver_next()
    assert {f"{number_of(0)}/1/issued", f"{number_of(39)}/1/issued"} <= bali.taken.keys()
    await bench.deliver("bali")
    told = list(bali.taken)
    assert len(told) == 80
    for place in range(40):
        issued, withdrawn = f"{number_of(place)}/1/issued", f"{number_of(place)}/1/withdrawn"
        assert told.index(issued) < told.index(withdrawn)


async def test_what_alone_fails_is_put_off_and_the_rest_goes_on(bench: Bench, bali: VisaSystemPeer) -> None:
    for place in range(3):
        await bench.desk.handle(bench.recommendation(seq=place + 1, number=number_of(place), kanim=BALI))
    bali.failures = [500]
    assert await bench.deliver("bali") == 2
    bench.now += timedelta(seconds=6)
    assert await bench.deliver("bali") == 1
    assert await bench.asides() == []


async def test_an_office_hears_that_another_one_is_in_charge_now(
    bench: Bench, jakarta: VisaSystemPeer, bali: VisaSystemPeer
) -> None:
    await bench.desk.handle(bench.recommendation(1, "issued", 1, kanim=JAKARTA))
    await bench.desk.handle(bench.recommendation(2, "issued", 2, kanim=BALI))
    await bench.deliver("jakarta")
    await bench.deliver("bali")
    assert list(jakarta.taken) == [f"{NUMBER}/1/issued", f"{NUMBER}/2/issued"]
    assert list(bali.taken) == [f"{NUMBER}/2/issued"]


async def test_what_nobody_is_in_charge_of_waits_is_shown_and_goes_where_the_file_says_later(
    tmp_path: Path, bali: VisaSystemPeer
) -> None:
    file = write_offices(tmp_path)
    async with opened(tmp_path, offices_file=file) as bench:
        await bench.desk.handle(bench.recommendation(kanim="NEW"))
        assert bench.standings.read.queue_state(UNROUTED).waiting == 1
        shown = await Board(bench.standings, bench.offices, {}, bench.clock, bench.metrics).show()
        assert "no office" in shown.notes[0]
        world = bench.world
    file.write_text(
        json.dumps({"offices": [{"name": "all", "kanim": ["*"], "door": "push", "url": "http://a.example"}]})
    )
    async with opened(tmp_path, ("all", bali), offices_file=file, world=world) as bench:
        assert await bench.deliver("all") == 1


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"offices": []}, "offices"),
        ({"offices": [{"name": "a", "kanim": ["1"], "door": "push"}]}, "a push door has a url"),
        ({"offices": [{"name": "a", "kanim": ["1"], "door": "folder"}]}, "a folder door has a folder"),
        ({"offices": [{"name": "a", "kanim": ["1"], "door": "pull"}] * 2}, "two offices share a name"),
        ({"more": 1}, "more"),
    ],
)
def test_a_file_of_offices_that_cannot_be_used(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsFault, match=says):
        read_offices(write_offices(tmp_path, **changes), None)


def test_either_one_visa_system_or_a_file_of_offices(tmp_path: Path) -> None:
    for file, url in ((None, None), (tmp_path / "x", "http://a.example")):
        with pytest.raises(SettingsFault, match="Set either"):
            read_offices(file, url)


# --- bounds and kills ------------------------------------------------------------------------------------------------


async def test_a_full_queue_keeps_the_feed_waiting_and_loses_nothing(tmp_path: Path, bali: VisaSystemPeer) -> None:
    file = write_offices(tmp_path)
    async with opened(tmp_path, ("bali", bali), offices_file=file, queue_bytes_max=1_000) as bench:
        await bench.desk.handle(bench.recommendation(1, "issued", 1, kanim=BALI))
        with pytest.raises(QueueFull, match="QUEUE_BYTES_MAX"):
            await bench.desk.handle(bench.recommendation(1, "withdrawn", 2, kanim=BALI))
        await bench.deliver("bali")
        await bench.desk.handle(bench.recommendation(1, "withdrawn", 2, kanim=BALI))
        await bench.deliver("bali")
    assert list(bali.taken) == [f"{NUMBER}/1/issued", f"{NUMBER}/1/withdrawn"]


@pytest.mark.parametrize("point", ["offices.before_queue", "offices.after_queue"])
async def test_a_kill_around_the_queue(bench: Bench, bali: VisaSystemPeer, point: str) -> None:
    await killed(point, lambda: bench.desk.handle(bench.recommendation(kanim=BALI)))
    await bench.desk.handle(bench.recommendation(kanim=BALI))
    await bench.deliver("bali")
    assert bali.calls == [f"{NUMBER}/1/issued"]


@pytest.mark.parametrize("point", ["offices.before_done", "offices.after_done"])
async def test_a_kill_around_the_note_of_a_delivery(bench: Bench, bali: VisaSystemPeer, point: str) -> None:
    await bench.desk.handle(bench.recommendation(kanim=BALI))
    await killed(point, lambda: bench.deliver("bali"))
    await bench.deliver("bali")
    assert len(bali.taken) == 1
    assert bench.standings.read.queue_state("bali").waiting == 0


async def killed(point: str, work: Any) -> None:
    def strike(name: str) -> None:
        if name == point:
            raise Killed

    failpoint.arm(strike)
    with pytest.raises(Killed):
        await work()
    failpoint.arm(lambda name: None)


# --- a folder --------------------------------------------------------------------------------------------------------


async def test_a_folder_is_told_and_tells(bench: Bench, tmp_path: Path) -> None:
    folder = Folder(tmp_path / "timika")
    await bench.desk.handle(bench.recommendation(kanim="TIM"))
    assert await bench.deliver("timika", folder) == 1
    told = json.loads((tmp_path / "timika" / "out" / f"{NUMBER}.1.issued.json").read_text())
    assert told["number"] == NUMBER
    await folder.look()
    inbox = tmp_path / "timika" / "in"
    answer = {"id": "T-1", "kind": "acknowledged", "number": NUMBER, "revision": 1, "application": APPLICATION,
              "at": "2026-04-02T10:00:00+07:00"}  # fmt: skip
    (inbox / "half.json.part").write_text("{")
    (inbox / "good.json").write_text(json.dumps({"answers": [answer]}))
    (inbox / "bad.json").write_text("{")
    assert await take_files("timika", folder, bench.desk) == 2
    (inbox / "again.json").write_text(json.dumps({"answers": [answer, answer | {"kind": "unheard", "id": "T-2"}]}))
    assert await take_files("timika", folder, bench.desk) == 1
    assert len(await bench.events()) == 1
    assert [path.name for path in sorted((inbox / "done").iterdir())] == ["good.json"]
    refused = {path.name for path in (inbox / "refused").iterdir()}
    assert refused == {"again.json", "again.json.reason.txt", "bad.json", "bad.json.reason.txt"}


@pytest.mark.parametrize(
    "point", ["answers.before_put", "answers.after_put", "answers.before_put_away", "answers.after_put_away"]
)
async def test_a_kill_while_an_offices_file_is_taken_counts_it_once(bench: Bench, tmp_path: Path, point: str) -> None:
    folder = Folder(tmp_path / "timika")
    await bench.desk.handle(bench.recommendation(kanim="TIM"))
    await folder.look()
    inbox = tmp_path / "timika" / "in"
    answer = {"id": "T-1", "kind": "acknowledged", "number": NUMBER, "revision": 1, "application": APPLICATION,
              "at": "2026-04-02T10:00:00+07:00"}  # fmt: skip
    # Half of it is refused, so that the reason beside the file is written again too.
    (inbox / "mixed.json").write_text(json.dumps({"answers": [answer, answer | {"kind": "unheard", "id": "T-2"}]}))

    async def work() -> None:
        await take_files("timika", folder, bench.desk)

    await killed(point, work)
    await work()
    assert len(await bench.events()) == 1
    assert [path.name for path in inbox.iterdir() if path.is_file()] == []
    assert {path.name for path in (inbox / "refused").iterdir()} == {"mixed.json", "mixed.json.reason.txt"}


async def test_of_two_connectors_on_one_offices_folder_one_waits_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.json").write_text('{"answers": []}')
    first, second = Folder(tmp_path), Folder(tmp_path)
    assert len(await first.look()) == 1
    with pytest.raises(VisaSystemAway, match="another connector process, or another office here, has this folder"):
        await second.look()
    with pytest.raises(VisaSystemAway, match="another connector process"):
        await second.deliver("TKA-1.1.issued", "{}", "key")
    first.close()
    assert len(await second.look()) == 1
    second.close()


async def test_a_folder_that_holds_another_content_is_a_conflict(bench: Bench, tmp_path: Path) -> None:
    out = tmp_path / "timika" / "out"
    out.mkdir(parents=True)
    (out / f"{NUMBER}.1.issued.json").write_text("{}")
    await bench.desk.handle(bench.recommendation(kanim="TIM"))
    await bench.deliver("timika", Folder(tmp_path / "timika"))
    assert await bench.asides() == [(f"delivery/timika/{NUMBER}/1/issued", "visa_system_conflict")]


# --- an office that asks ---------------------------------------------------------------------------------------------


async def test_a_recommendation_is_pulled_with_its_standing(bench: Bench) -> None:
    await bench.beat()
    await bench.desk.handle(bench.recommendation(kanim="DIR"))
    async with asking(bench) as http:
        told = (await http.get(f"/recommendations/{NUMBER}")).json()
        assert (told["status"], told["revision"], told["recommendation"]["worker"]) == (
            "valid", 1, SAMPLES["id.tka.hub.recommendation.issued.v1"]["worker"],
        )  # fmt: skip
        absent = await http.get(f"/recommendations/{number_of(7)}")
        assert (absent.status_code, absent.json()["validity"]["status"]) == (404, "unknown")
        bench.now += timedelta(hours=1)
        assert (await http.get(f"/recommendations/{NUMBER}")).json()["status"] == "stale"


async def test_personal_data_is_given_to_who_has_the_token_or_is_on_this_machine(bench: Bench) -> None:
    await bench.desk.handle(bench.recommendation(kanim="DIR"))
    async with asking(bench, None, loopback=False) as http:
        assert (await http.get(f"/recommendations/{NUMBER}")).status_code == 403
    async with asking(bench, "secret", loopback=False) as http:
        assert (await http.get(f"/recommendations/{NUMBER}")).status_code == 401
        wrong = {"Authorization": "Bearer other"}
        assert (await http.get(f"/recommendations/{NUMBER}", headers=wrong)).status_code == 401
        right = {"Authorization": "Bearer secret"}
        assert (await http.get(f"/recommendations/{NUMBER}", headers=right)).status_code == 200


async def test_an_office_without_a_door_tells_its_answers(bench: Bench) -> None:
    answer = {"id": 1, "kind": "acknowledged", "number": NUMBER, "revision": 1, "application": APPLICATION,
              "at": "2026-04-02T10:00:00Z"}  # fmt: skip
    async with asking(bench) as http:
        for _ in range(2):
            told = await http.post("/offices/directorate/answers", json={"answers": [answer]})
            assert (told.status_code, told.json()) == (200, {"taken": 1, "refused": []})
        partly = await http.post("/offices/directorate/answers", json={"answers": [answer | {"id": 2, "kind": "x"}]})
        assert partly.json()["taken"] == 0
        assert (await http.post("/offices/jakarta/answers", json={"answers": []})).status_code == 404
        assert (await http.post("/offices/directorate/answers", content=b"{")).status_code == 400
    assert len(await bench.events()) == 1


# --- questions -------------------------------------------------------------------------------------------------------


async def test_a_question_goes_out_and_its_answer_comes_back_to_who_asked(
    bench: Bench, jakarta: VisaSystemPeer, bali: VisaSystemPeer
) -> None:
    said = SAMPLES[ANSWERED]
    await bench.desk.handle(bench.recommendation(kanim=JAKARTA, number=said["number"]))
    bali.answers = [
        {"id": 1, "kind": "queried", "number": said["number"], "revision": 1, "application": APPLICATION,
         "at": bench.now.isoformat(), "query_id": said["query_id"], "question_code": "LOKASI", "text": "?"}
    ]  # fmt: skip
    assert await bench.take_answers("bali") == 1
    assert bench.standings.read.questions()[0] == 1
    bench.now += timedelta(hours=100)
    shown = await Board(bench.standings, bench.offices, {}, bench.clock, bench.metrics).show()
    assert "has not answered for 4 days, 4:00:00" in " ".join(shown.notes)
    item = bench.world.forward(5, ANSWERED, bench.world.ministry, MINISTRY_SOURCE, "ministry")
    await bench.desk.handle(bench.delivered(item))
    await bench.deliver("bali")
    assert list(bali.query_answers) == [said["query_id"]]
    assert bench.standings.read.questions() == (0, None)


# --- alarms ----------------------------------------------------------------------------------------------------------


async def decide(bench: Bench, peer: VisaSystemPeer, **changes: Any) -> None:
    peer.answers.append(
        {"id": len(peer.answers) + 1, "kind": "visa_approved", "number": NUMBER, "revision": 1,
         "application": APPLICATION, "at": bench.now.isoformat(), "visa_number": "V-1", "valid_until": "2027-01-01"}
        | changes
    )  # fmt: skip
    await bench.take_answers("jakarta")


async def test_a_visa_on_a_withdrawn_recommendation_is_an_alarm_until_somebody_has_seen_to_it(
    bench: Bench, jakarta: VisaSystemPeer, capsys: pytest.CaptureFixture[str]
) -> None:
    await bench.beat()
    await bench.desk.handle(bench.recommendation(1, "issued", 1, kanim=JAKARTA))
    bench.now += timedelta(seconds=1)
    await decide(bench, jakarta)
    bench.now += timedelta(seconds=1)
    await bench.desk.handle(bench.recommendation(1, "withdrawn", 2, kanim=JAKARTA))
    bench.now += timedelta(seconds=1)
    await decide(bench, jakarta)
    await bench.desk.judge()
    [alarm] = bench.standings.read.alarms(10)
    assert (alarm.verdict, alarm.key) == ("withdrawn", '["answer", "jakarta", 2]')
    assert bench.metrics.get_sample_value("tkahub_connector_visa_alarms_total", {"found": "withdrawn"}) == 1
    board = Board(bench.standings, bench.offices, {}, bench.clock, bench.metrics)
    assert "Visas were decided" in (await board.show()).notes[0]
    assert any(table.rows for table in (await board.show()).tables if "did not stand" in table.title)
    logged = capsys.readouterr().out
    worker = SAMPLES["id.tka.hub.recommendation.issued.v1"]["worker"]
    assert "did not stand" in logged
    assert all(str(value) not in logged for value in worker.values() if len(str(value)) > 3)
    assert await bench.standings.acknowledge(alarm.key, "rina", "visa revoked")
    assert not await bench.standings.acknowledge(alarm.key, "rina", "again")
    assert (await board.show()).notes == ()


async def test_a_visa_decided_while_the_feed_was_stale_is_an_alarm(bench: Bench, jakarta: VisaSystemPeer) -> None:
    await bench.beat()
    await bench.desk.handle(bench.recommendation(1, "issued", 1, kanim=JAKARTA))
    bench.now += timedelta(hours=1)
    await decide(bench, jakarta)
    await bench.desk.judge()
    assert bench.standings.read.count_alarms() == {"stale": 1}


async def test_a_decision_waits_to_be_judged_until_the_feed_is_whole(bench: Bench, jakarta: VisaSystemPeer) -> None:
    await bench.desk.handle(bench.recommendation(1, "issued", 1, kanim=JAKARTA))
    await decide(bench, jakarta)
    assert await bench.desk.judge() == 0
    await bench.beat()
    assert await bench.desk.judge() == 1
    assert bench.standings.read.count_alarms() == {}


@pytest.mark.parametrize("point", ["offices.before_verdict", "offices.after_verdict", "answers.before_put"])
async def test_a_kill_loses_no_alarm(bench: Bench, jakarta: VisaSystemPeer, point: str) -> None:
    await bench.beat()

    async def work() -> None:
        await decide(bench, jakarta, number=number_of(9))
        await bench.desk.judge()

    await killed(point, work)
    await bench.take_answers("jakarta")
    await bench.desk.judge()
    assert bench.standings.read.count_alarms() == {"unknown": 1}
    assert len(await bench.events()) == 1


# --- the file --------------------------------------------------------------------------------------------------------


async def test_of_what_was_delivered_and_replaced_nothing_personal_is_kept(
    bench: Bench, jakarta: VisaSystemPeer, tmp_path: Path
) -> None:
    await bench.desk.handle(bench.recommendation(1, "issued", 1, kanim=JAKARTA))
    await bench.desk.handle(bench.recommendation(2, "issued", 2, kanim=JAKARTA))
    await bench.deliver("jakarta")
    with sqlite3.connect(tmp_path / FILE_NAME) as db:
        assert db.execute("SELECT count(*) FROM delivery WHERE body IS NOT NULL").fetchone() == (0,)
        assert db.execute("SELECT revision FROM revision WHERE body IS NOT NULL").fetchall() == [(2,)]
    db.close()


async def test_a_new_file_asks_for_the_feed_from_its_beginning_until_that_is_noted(tmp_path: Path) -> None:
    offices = read_offices(None, "http://a.example")
    for created in (True, True, False):
        async with Standings.open(tmp_path, offices, lambda: pytest.fail("no clock"), 2**30) as standings:
            assert standings.read.created is created
            if (tmp_path / "fed").exists():
                await standings.mark_fed()
            (tmp_path / "fed").touch()
