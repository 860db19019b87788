"""The officer's lists and the hall's board: of the own unit alone, complete, and a page at a time."""

import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta

import httpx
import pytest

from hub.accounts import Role
from hub.overseer import Overseer
from hub.store import files
from hub.store.files import ListedFile
from hub.store.progress import Rulebooks, read_progress
from hub.web.counter import BOARD_ROWS, INDEX_MAX
from hub.web.pages.worklist import BEGINNING, ROWS_PER_PAGE, write_cursor
from tests.hub.exchange import Exchange, Sender
from tests.pages import crowd
from tests.pages.hall import STAGES, Hall, number_of

pytestmark = pytest.mark.anyio
FORM_TOKEN = re.compile(r'name="form_token" value="([^"]+)"')
MARCH = datetime(2026, 3, 2, 3, tzinfo=UTC)
LATE, PAID, GONE, OTHERS = (f"B.3/00030{n}/PK.04.00/III/2026" for n in range(4))
UNIT = "unit-00001"


async def tell(exchange: Exchange, party: Sender, value: bytes, at: datetime) -> None:
    """Let the hub take a message that says when it happened."""
    said = json.loads(value)
    dated = party.write(said["type"], said["data"], said["subject"], time=at, sequence=int(said["sequence"]))
    await exchange.take(party.sign(dated))


@pytest.fixture(scope="module")
async def office(hall: Hall) -> Hall:
    """Give the hall with a file that is overdue, one paid and waiting, one whose money is gone, one of another unit."""
    exchange, hour = hall.exchange, timedelta(hours=1)
    ministry, bri = exchange.ministry, exchange.bri
    for place, number in enumerate((LATE, PAID, GONE)):
        await tell(exchange, ministry, ministry.submitted(number), MARCH)
        await tell(exchange, ministry, ministry.permit("completed", number), MARCH + hour)
        if number != LATE:
            await exchange.take(ministry.sign(ministry.billed(number, f"82026039900030{place}")))
            await exchange.take(bri.sign(bri.paid(f"82026039900030{place}", ntpn=f"0A1B2C3D4E5F6G8{place}")))
        if number == GONE:
            await exchange.take(ministry.sign(ministry.approved(number)))
            await exchange.take(
                bri.sign(bri.booked("reversed", f"82026039900030{place}", ntpn=f"0A1B2C3D4E5F6G8{place}"))
            )
    await exchange.take(ministry.sign(ministry.submitted(OTHERS, unit="unit-00002")))
    overseer, now = Overseer(exchange.desk), datetime.now(UTC)
    while await overseer.follow(now):
        pass
    while await overseer.look(now, 50):
        pass
    return hall


def rows_of(page: str, name: str) -> list[str]:
    """The numbers in one of a page's lists."""
    found = re.search(rf'<section aria-labelledby="{name}">.*?</section>', page, re.DOTALL)
    return [] if found is None else re.findall(r'<th scope="row" class="number">([^<]+)<', found[0])


async def test_each_file_stands_in_the_list_of_what_it_wants(office: Hall) -> None:
    page = (await (await office.browser_of(Role.OFFICER)).get("/work")).text
    assert LATE in rows_of(page, "overdue")
    assert PAID in rows_of(page, "paid")
    assert rows_of(page, "reversed") == [GONE]
    assert number_of("assessing") in rows_of(page, "coming") + rows_of(page, "today")
    assert "Payment taken back after approval" in page
    assert OTHERS not in page


async def search(browser: httpx.AsyncClient, number: str, token: str | None = None) -> httpx.Response:
    found = FORM_TOKEN.search((await browser.get("/work")).text)
    assert found is not None
    return await browser.post("/work", data={"form_token": token or found[1], "number": number})


async def test_a_file_is_found_by_the_beginning_of_its_number_in_the_own_unit_alone(office: Hall) -> None:
    browser = await office.browser_of(Role.OFFICER)
    assert rows_of((await search(browser, "b.3/0003")).text, "found") == [LATE, PAID, GONE]
    assert rows_of((await search(browser, OTHERS)).text, "found") == []
    for pattern in ("B.3/%", "B.3/______", "B.3/0003' OR '1'='1"):
        assert rows_of((await search(browser, pattern)).text, "found") == []
    assert (await search(browser, "B.3")).status_code == 400
    assert (await search(browser, LATE, "forged")).status_code == 403


@pytest.mark.parametrize("cursor", ["x", "e30", write_cursor("2026-03-02", "B"), write_cursor("never", "B"), "A" * 300])
async def test_a_cursor_of_ones_own_making_is_refused(office: Hall, cursor: str) -> None:
    browser = await office.browser_of(Role.OFFICER)
    assert (await browser.get("/work", params={"list": "paid", "after": cursor})).status_code == 400


async def test_a_list_that_does_not_exist_is_not_found(office: Hall) -> None:
    assert (await (await office.browser_of(Role.OFFICER)).get("/work", params={"list": "names"})).status_code == 404


async def test_the_lists_say_what_the_applicant_is_told(office: Hall) -> None:
    numbers = [*(number_of(stage) for stage in STAGES), LATE, PAID, GONE]
    now = datetime.now(UTC)
    async with office.exchange.database.connection() as connection:
        told = await read_progress(connection, await Rulebooks().read(connection), numbers, now)
        listed = {one.application: one for one in await files.read_moved(connection, now.date(), INDEX_MAX, 50)}
    for number in numbers:
        file, progress = listed[number], told[number]
        assert (file.stage, file.holder, file.since) == (progress.stage, progress.holder, progress.since)
        assert (file.clock is None) is (progress.clock is None)
        if file.clock is not None and progress.clock is not None:
            assert (file.clock.due_on, file.clock.paused) == (progress.clock.due_on, progress.clock.paused)


async def test_a_bill_that_runs_out_moves_its_file_though_nobody_says_anything(office: Hall) -> None:
    async with office.exchange.database.connection() as connection:
        wakes = await connection.fetchval(
            "SELECT wakes_at FROM dossiers WHERE subject = $1", number_of("payment_due")
        )  # fmt: skip
    assert wakes is not None
    assert wakes <= datetime.now(UTC) + timedelta(days=8)


@pytest.fixture
async def crowded(office: Hall) -> AsyncIterator[Hall]:
    """Give the hall with thousands of files more."""
    async with office.exchange.database.connection() as connection:
        await crowd.fill_files(connection, crowd.FEW)
    yield office
    async with office.exchange.database.connection() as connection:
        await crowd.clear(connection)


async def read_whole(browser: httpx.AsyncClient, path: str) -> list[str]:
    """Read a list page after page, as the links lead."""
    found: list[str] = []
    following: str | None = path
    while following is not None:
        page = (await browser.get(following)).text
        found += re.findall(r'<th scope="row" class="number">([^<]+)<', page)
        link = re.search(r'href="([^"]+(?:after|before)=[^"]+)"[^>]*>(?:Further files|Moved before these)', page)
        following = None if link is None else link[1].replace("&amp;", "&")
    return found


@pytest.mark.parametrize("name", ["overdue", "paid"])
async def test_a_list_is_whole_and_in_order_over_all_its_pages(crowded: Hall, name: str) -> None:
    found = await read_whole(await crowded.browser_of(Role.OFFICER), f"/work?list={name}")
    column, test = ("due_on", "due_on < current_date") if name == "overdue" else ("since", "task = 'paid'")
    async with crowded.exchange.database.connection() as connection:
        rows = await connection.fetch(
            f"SELECT application FROM files WHERE unit = $1 AND {test} ORDER BY {column}, application", UNIT
        )
    assert len(rows) > ROWS_PER_PAGE
    assert found == [row[0] for row in rows]


async def test_a_monitor_goes_round_and_a_visitor_reaches_every_file(crowded: Hall) -> None:
    async with crowded.open_browser() as browser:
        seen, path = list[str](), "/board"
        first = await browser.get("/board")
        assert first.headers["refresh"].startswith("20; url=/board?before=")
        for _ in range(8):
            answer = await browser.get(path)
            seen += re.findall(r'<th scope="row" class="number">([^<]+)<', answer.text)
            path = answer.headers["refresh"].partition("url=")[2]
        assert path == "/board"
        assert len(seen) == len(set(seen)) == 8 * BOARD_ROWS
        held = await browser.get("/board", params={"hold": 1, "before": 1_005_000})
        assert "refresh" not in held.headers
        assert "/board?before=" in held.text
        api = (await browser.get("/api/v1/board", params={"before": 1_005_000})).json()
        assert api["applications"][0]["application"] in held.text
        assert (await browser.get("/board", params={"before": "x"})).status_code == 400


async def test_no_list_reads_more_than_it_shows(crowded: Hall) -> None:
    async with crowded.exchange.database.connection() as connection:
        await connection.execute("ANALYZE files")
        plans = await crowd.explain(connection)
    assert [(name, plan) for name, plan in plans.items() if "Seq Scan" in plan] == []
    assert all("Index" in plan for plan in plans.values())


async def test_what_one_reads_is_what_was_kept(crowded: Hall) -> None:
    async with crowded.exchange.database.connection() as connection:
        [newest] = await files.read_moved(connection, date(2026, 11, 1), INDEX_MAX, 1)
        task = await files.read_task(connection, UNIT, "paid", date(2026, 11, 1), (BEGINNING, ""), 1)
    assert isinstance(newest, ListedFile)
    assert [one.task for one in task] == ["paid"]
