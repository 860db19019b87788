"""The repair desk at the browser: what two operators do there, and what nobody else can do."""

import json
import re
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from html import unescape

import httpx
import pytest

from hub.accounts import Role, make_account
from hub.repairs import REFUSALS, Repairs
from hub.store import accounts
from hub.web.pages.language import read_catalogue
from tests.hub.exchange import PERSON
from tests.pages.hall import PASSWORD, Hall

pytestmark = pytest.mark.anyio
PATH = "/operations/repair"
REASON = "Release 1.4.2 mends the cause"
HIDDEN = re.compile(r'<input type="hidden" name="([a-z_]+)" value="([^"]*)">')
NUMBER = "B.3/000777/PK.04.00/III/2026"


class Operator:
    """Somebody at the repair desk."""

    def __init__(self, hall: Hall, browser: httpx.AsyncClient) -> None:
        self.hall = hall
        self.browser = browser

    async def read(self, **query: str) -> str:
        """Read a page of the desk."""
        answer = await self.browser.get(PATH, params=query)
        assert answer.status_code == 200
        return answer.text

    async def form(self, verb: str, **query: str) -> dict[str, str]:
        """Return the form of a page that asks for `verb`, filled in."""
        for form in re.findall(r"<form.*?</form>", await self.read(**query), re.DOTALL):
            fields = {name: unescape(value) for name, value in HIDDEN.findall(form)}
            if fields.get("verb") == verb:
                return {"reason": REASON} | fields
        raise LookupError(f"the page has no form for {verb}")

    async def send(self, form: dict[str, str]) -> httpx.Response:
        """Send a form; what it asks is settled as the process `deadlines` does."""
        answer = await self.browser.post(PATH, data=form)
        desk, now = Repairs(self.hall.exchange.desk), datetime.now(UTC)
        while await desk.settle(now) is not None:
            pass
        return answer

    async def ask(self, verb: str, **query: str) -> dict[str, str]:
        """Fill a form in and send it; return where the browser is sent."""
        answer = await self.send(await self.form(verb, **query))
        assert answer.status_code == 303
        return dict(httpx.URL(answer.headers["location"]).params)


@pytest.fixture(scope="module")
async def two(hall: Hall) -> AsyncIterator[tuple[Operator, Operator]]:
    """Give two operators."""
    account = make_account("second", Role.OPERATOR, None, None, PASSWORD)
    async with hall.exchange.database.connection() as connection:
        await accounts.add(connection, account, datetime.now(UTC) - timedelta(days=1))
        await connection.execute("UPDATE accounts SET created_at = created_at - interval '1 day'")
    async with hall.open_browser() as browser:
        assert (await browser.post("/sign-in", data={"name": "second", "password": PASSWORD})).status_code == 303
        yield Operator(hall, await hall.browser_of(Role.OPERATOR)), Operator(hall, browser)


async def park(hall: Hall, number: str = NUMBER) -> str:
    """Let a bug put a message with a person's data into quarantine; return its id."""
    ministry = hall.exchange.ministry
    await hall.exchange.take(ministry.sign(ministry.approved(number)), bug="where it broke")
    row = await hall.exchange.row("SELECT max(id) AS id FROM quarantine")
    return str(row["id"])


async def test_two_operators_take_a_message_up_and_each_step_is_shown(
    hall: Hall, two: tuple[Operator, Operator]
) -> None:
    first, second = two
    parked = await park(hall)
    assert "poison" in await first.read()
    run = await first.ask("rehearse", message=parked)
    shown = await first.read(**run)
    assert "1 of 1 messages would be taken in" in shown
    assert "id.tka.ministry.permit.approved.v1" in shown
    assert await first.ask("request", **run) == run
    assert "Another person has to approve it" in await first.read(**run)
    with pytest.raises(LookupError):
        await first.form("approve", **run)
    await second.ask("approve", **run)
    answer = await first.browser.get(PATH, params=run)
    assert answer.headers["refresh"] == "2"
    assert "<progress" in answer.text
    assert await Repairs(hall.exchange.desk).carry_on(datetime.now(UTC)) is not None
    after = await first.read(**run)
    assert ("Finished" in after, "taken in" in after) == (True, True)
    assert "Taken up again" in await first.read(message=parked)


async def test_whoever_asked_cannot_approve_with_a_form_of_its_own_making(
    hall: Hall, two: tuple[Operator, Operator]
) -> None:
    first, _ = two
    run = await first.ask("rehearse", message=await park(hall, "B.3/000778/PK.04.00/III/2026"))
    form = await first.form("request", **run)
    await first.send(form)
    forged = form | {"verb": "approve", "token": str(uuid.uuid4())}
    assert (await first.send(forged)).status_code == 303
    assert "the person who asked for it" in await first.read(**run)
    assert await Repairs(hall.exchange.desk).carry_on(datetime.now(UTC)) is None
    await first.ask("stop", **run)
    assert "Stopped" in await first.read(**run)
    assert (await first.send(forged | {"token": str(uuid.uuid4())})).status_code == 303
    assert await Repairs(hall.exchange.desk).carry_on(datetime.now(UTC)) is None


async def test_another_digest_than_the_one_shown_is_refused(hall: Hall, two: tuple[Operator, Operator]) -> None:
    first, second = two
    run = await first.ask("rehearse", message=await park(hall, "B.3/000779/PK.04.00/III/2026"))
    await first.ask("request", **run)
    form = await second.form("approve", **run)
    await second.send(form | {"digest": "0" * 64})
    assert "this is not what was shown" in await first.read(**run)


async def test_a_form_sent_again_does_nothing_more(hall: Hall, two: tuple[Operator, Operator]) -> None:
    first, second = two
    form = await first.form("rehearse", message=await park(hall, "B.3/000780/PK.04.00/III/2026"))
    places = {(await first.send(form)).headers["location"] for _ in range(2)}
    assert len(places) == 1
    mine = await second.form("rehearse", message=form["message"])
    assert (await second.send(form | {"form_token": mine["form_token"]})).status_code == 409


async def test_a_body_is_shown_once_its_look_up_is_written_down(hall: Hall, two: tuple[Operator, Operator]) -> None:
    first, _ = two
    parked = await park(hall, "B.3/000781/PK.04.00/III/2026")
    page = await first.read(message=parked)
    assert not [canary for canary in (PERSON["name"], PERSON["passport"]) if canary in page]
    form = await first.form("look", message=parked)
    refused = await first.send(form | {"reason": "because"})
    assert (refused.status_code, PERSON["name"] in refused.text) == (400, False)
    assert PERSON["name"] in (await first.send(form)).text
    row = await hall.exchange.row("SELECT actor, page, subject, reason FROM lookups ORDER BY id DESC LIMIT 1")
    assert tuple(row.values()) == ("operator", "repair", f"quarantine/{parked}", REASON)
    assert "Look at the message" in await first.read(message=parked)
    row = await hall.exchange.row("SELECT convert_from(entry, 'UTF8') AS e FROM leaves ORDER BY log_index DESC LIMIT 1")
    assert '"action":"look"' in row["e"]


async def test_a_bank_s_message_is_sent_back_to_that_bank_alone(hall: Hall, two: tuple[Operator, Operator]) -> None:
    first, _ = two
    bri = hall.exchange.bri
    await hall.exchange.take(bri.sign(bri.paid("820269900000009", amount="1.5")))
    await first.ask("send_back", code="data_invalid", participant="bri")
    assert "Sent back" in await first.read(code="data_invalid", participant="bri")
    heard = [one["type"] for one in await hall.exchange.sent("to.bri")]
    assert "id.tka.hub.correction.requested.v1" in heard
    assert "id.tka.hub.correction.requested.v1" not in [one["type"] for one in await hall.exchange.sent("to.mandiri")]


@pytest.mark.parametrize("role", [None, *(role for role in Role if role is not Role.OPERATOR)])
@pytest.mark.parametrize("verb", ["look", "rehearse", "send_back", "request", "approve", "stop"])
async def test_nobody_else_asks_anything(
    hall: Hall, two: tuple[Operator, Operator], role: Role | None, verb: str
) -> None:
    form = {"verb": verb, "token": str(uuid.uuid4()), "reason": REASON, "message": "1", "run": "1", "digest": "0" * 64}
    before = await hall.exchange.row("SELECT count(*) FROM repair_actions")
    answer = await (await hall.browser_of(role)).post(PATH, data=form)
    assert answer.status_code in (303, 403)
    assert PERSON["name"] not in answer.text
    assert await hall.exchange.row("SELECT count(*) FROM repair_actions") == before


@pytest.mark.parametrize(
    "wrong",
    [
        {"form_token": ""},
        {"verb": "delete"},
        {"token": "1"},
        {"message": "x"},
        {"message": ""},
        {"code": "none_of_ours"},
    ],
)
async def test_a_form_that_is_not_of_this_page_is_refused(
    two: tuple[Operator, Operator], hall: Hall, wrong: dict[str, str]
) -> None:
    first, _ = two
    form = await first.form("rehearse", message=await park(hall, f"B.3/{uuid.uuid4().int % 10**6:06}/X"))
    assert (await first.send(form | wrong)).status_code in (400, 403)


async def test_both_languages_have_a_word_for_each_refusal(two: tuple[Operator, Operator]) -> None:
    first, _ = two
    for language in ("id", "en"):
        assert {f"became.{word}" for word in REFUSALS} <= read_catalogue(language).keys()
    answer = await first.browser.get(PATH, params={"lang": "id"})
    assert "Meja perbaikan" in answer.text
    await first.browser.get(PATH, params={"lang": "en"})


async def test_gaps_and_clocks_are_on_the_operator_s_screen(two: tuple[Operator, Operator], hall: Hall) -> None:
    first, _ = two
    bri = hall.exchange.bri
    said = bri.paid("820269900000010")
    ahead = datetime.now(UTC) + timedelta(seconds=20)
    await hall.exchange.take(bri.sign(bri.write("id.tka.bank.payment.received.v1", json.loads(said)["data"],
        "820269900000010", recordedtime=ahead, time=ahead)))  # fmt: skip
    page = (await first.browser.get("/operations")).text
    assert "s ahead of ours" in page
    assert "came behind" in page
