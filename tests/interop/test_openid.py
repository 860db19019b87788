"""A person signs in through an OpenID provider that others wrote and certified, and comes back to the hub's pages."""

import os
import re
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from devstack.ports import find_free_ports
from hub.accounts import Role, make_openid_account
from hub.health import Health
from hub.openid import Provider
from hub.store import accounts, schema
from hub.store.database import Database
from hub.web import probes
from hub.web.pages import door, entrance

HUB = "https://hub.example"
ANSWER = f"{HUB}/sign-in/openid/answer"
CLIENT, SECRET = "tka hub", "s3cret: of the client"  # What a header must encode is in them.
SUBJECT = "siti@ministry.example"
FORM = re.compile(r'<form[^>]*action="([^"]+)"')
PROMPT = re.compile(r'name="prompt" value="([^"]+)"')
STEPS_MAX = 12


@contextmanager
def run_provider(program: Path) -> Iterator[str]:
    """Run the provider; give its issuer."""
    [port] = find_free_ports(1)
    environment = os.environ | {"PORT": str(port), "CLIENT_ID": CLIENT, "CLIENT_SECRET": SECRET, "REDIRECT_URL": ANSWER}
    with subprocess.Popen(["node", str(program)], env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "listening\n"
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()


@dataclass
class Desk:
    """The hub's entrance, a browser there, and the provider."""

    issuer: str
    app: httpx.ASGITransport
    browser: httpx.AsyncClient

    async def leave(self) -> str:
        """Go to the provider; return where that is."""
        return (await self.browser.get("/sign-in/openid")).headers["location"]

    async def come_back(self, answer: str) -> httpx.Response:
        """Bring the provider's answer."""
        return await self.browser.get(answer.removeprefix(HUB))


@pytest.fixture
async def desk(node_programs: Path, database: str) -> AsyncIterator[Desk]:
    """Give an entrance at which one subject has an account."""
    await schema.migrate(database)
    opened = await Database.open(database)
    account = make_openid_account("siti", Role.OPERATOR, None, None, SUBJECT)
    async with opened.connection() as connection:
        await accounts.add(connection, account, datetime.now(UTC))
    with run_provider(node_programs / "provider.js") as issuer:
        pages = door.create_pages(opened, HUB)
        provider = Provider(issuer, CLIENT, SECRET, ANSWER)
        app = probes.create_app(Health(), entrance.create_router(opened, pages, provider))
        door.install(app, pages)
        headers = {"accept": "text/html", "accept-language": "en"}
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url=HUB, headers=headers) as browser:
            yield Desk(issuer, transport, browser)
    await opened.close()


async def sign_in_there(place: str, subject: str) -> str:
    """Do at the provider what a person does; return where it sends the browser with its answer."""
    async with httpx.AsyncClient() as browser:
        answer = await browser.get(place)
        for _ in range(STEPS_MAX):
            if answer.is_redirect:
                place = str(answer.url.join(answer.headers["location"]))
                if place.startswith(HUB):
                    return place
                answer = await browser.get(place)
                continue
            form, prompt = FORM.search(answer.text), PROMPT.search(answer.text)
            assert form is not None, answer.text
            assert prompt is not None, answer.text
            fields = {"prompt": prompt[1], "login": subject, "password": "any"}
            answer = await browser.post(str(answer.url.join(form[1])), data=fields)
    raise AssertionError("the provider never answered")


@pytest.mark.needs("node")
async def test_who_has_an_account_is_let_in_and_an_answer_counts_once(desk: Desk) -> None:
    assert 'href="/sign-in/openid"' in (await desk.browser.get("/sign-in")).text
    place = await desk.leave()
    asked = parse_qs(urlsplit(place).query)
    assert (asked["code_challenge_method"], asked["response_type"], asked["scope"]) == (["S256"], ["code"], ["openid"])
    answer = await sign_in_there(place, SUBJECT)
    kept = dict(desk.browser.cookies)
    let_in = await desk.come_back(answer)
    assert (let_in.status_code, let_in.headers["location"]) == (303, "/start")
    assert {name: "HttpOnly" in one and "Secure" in one for one in let_in.headers.get_list("set-cookie")
            for name in [one.partition("=")[0]]} == {"__Host-session": True, "__Host-errand": True}  # fmt: skip
    assert (await desk.browser.get("/start")).headers["location"] == "/operations"
    # The provider takes each code once, whoever brings it again.
    async with httpx.AsyncClient(transport=desk.app, base_url=HUB, cookies=kept) as thief:
        assert (await thief.get(answer.removeprefix(HUB))).status_code == 401


@pytest.mark.needs("node")
async def test_who_has_no_account_is_not_let_in(desk: Desk) -> None:
    refused = await desk.come_back(await sign_in_there(await desk.leave(), "budi@ministry.example"))
    assert (refused.status_code, "__Host-session" in desk.browser.cookies) == (403, False)
    assert "has given you an account here" in refused.text


@pytest.mark.needs("node")
async def test_an_answer_that_is_not_this_browsers_is_refused(desk: Desk) -> None:
    answer = await sign_in_there(await desk.leave(), SUBJECT)
    # Somebody else's browser: it has kept nothing, or began an errand of its own.
    async with httpx.AsyncClient(transport=desk.app, base_url=HUB) as other:
        assert (await other.get(answer.removeprefix(HUB))).status_code == 401
        await other.get("/sign-in/openid")
        assert (await other.get(answer.removeprefix(HUB))).status_code == 401
        assert "__Host-session" not in other.cookies


@pytest.mark.needs("node")
@pytest.mark.parametrize(
    ("part", "other"), [("state=", "state=x"), ("iss=", "iss=https%3A%2F%2Fevil.example&was="), ("code=", "code=x")]
)
async def test_an_answer_that_was_changed_is_refused(desk: Desk, part: str, other: str) -> None:
    answer = await sign_in_there(await desk.leave(), SUBJECT)
    assert part in answer
    assert (await desk.come_back(answer.replace(part, other, 1))).status_code == 401


@pytest.mark.needs("node")
async def test_a_code_without_its_verifier_is_refused(desk: Desk) -> None:
    answer = await sign_in_there(await desk.leave(), SUBJECT)
    state, nonce, _ = desk.browser.cookies["__Host-errand"].split(".")
    async with httpx.AsyncClient(transport=desk.app, base_url=HUB) as thief:
        thief.cookies.set("__Host-errand", f"{state}.{nonce}.{'v' * 43}")
        assert (await thief.get(answer.removeprefix(HUB))).status_code == 401
