"""Live status: the file that a session opened, as it moves, and to nobody else; however many listen."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from hub.accounts import Role
from hub.health import Health
from hub.store.database import Database
from hub.web import live, probes
from hub.web.counter import Counter
from hub.web.live import LISTENERS_OF_ONE_MAX, Gallery
from hub.web.people import People
from hub.web.problems import Problem
from tests.connectors.serving import served
from tests.hub.exchange import PERSON
from tests.pages.hall import Hall, code_of, number_of

pytestmark = pytest.mark.anyio
PATH = "/api/v1/status/events"
LOOK_EVERY_S = 0.05


@pytest.fixture
async def address(hall: Hall) -> AsyncIterator[str]:
    """Serve the stream over the hall's database."""
    database: Database = hall.exchange.database
    people = People(database, secure=True)
    gallery = Gallery(Counter(database), people, LOOK_EVERY_S)
    async with served(probes.create_app(Health(), live.create_router(gallery, people))) as url:
        yield url


async def cookie_of(hall: Hall, role: Role) -> dict[str, str]:
    """Return the cookie of a role's session, as a browser sends it."""
    browser = await hall.browser_of(role)
    return {"cookie": "; ".join(f"{one.name}={one.value}" for one in browser.cookies.jar)}


async def read_state(lines: AsyncIterator[str]) -> tuple[str, dict[str, Any]]:
    """Return the next event's id and data."""
    identity = ""
    async for line in lines:
        name, _, value = line.partition(": ")
        if name == "id":
            identity = value
        elif name == "data":
            return identity, json.loads(value)
    raise AssertionError("the stream ended")


async def test_a_change_is_told_and_what_is_known_is_not_told_again(hall: Hall, address: str) -> None:
    cookie = await cookie_of(hall, Role.APPLICANT)
    async with httpx.AsyncClient(base_url=address) as client:
        async with client.stream("GET", PATH, headers=cookie) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert answer.headers["cache-control"] == "no-store"
            lines = answer.aiter_lines()
            first, state = await read_state(lines)
            assert (state["stage"], state["holder"], state["owed"]) == ("payment_due", "applicant", 1)
            assert not [canary for canary in PERSON.values() if canary in json.dumps(state)]
            assert number_of("payment_due") not in json.dumps(state)
            await hall.exchange.take(hall.exchange.bri.sign(hall.exchange.bri.paid(code_of("payment_due"))))
            second, moved = await read_state(lines)
            assert (second != first, moved["stage"]) == (True, "assessing")
        async with client.stream("GET", PATH, headers=cookie | {"last-event-id": first}) as answer:
            assert (await read_state(answer.aiter_lines()))[0] == second
        async with client.stream("GET", PATH, headers=cookie | {"last-event-id": second}) as answer:
            rejected = hall.exchange.ministry.permit(
                "rejected", number_of("payment_due"), decision="TLK.2/2026", reason_code="NOT_FEASIBLE"
            )
            await hall.exchange.take(hall.exchange.ministry.sign(rejected))
            third, ended = await read_state(answer.aiter_lines())
            assert (third not in (first, second), ended["stage"]) == (True, "rejected")


async def test_nobody_listens_without_the_files_own_session(hall: Hall, address: str) -> None:
    async with httpx.AsyncClient(base_url=address) as client:
        for headers in ({}, {"cookie": "__Host-session=guessed"}, await cookie_of(hall, Role.OPERATOR)):
            answer = await client.get(PATH, headers=headers)
            assert (answer.status_code, answer.json()["type"].rpartition("/")[2]) == (401, "session-missing")


async def test_listeners_are_bounded_and_a_seat_is_free_again(hall: Hall) -> None:
    gallery = Gallery(Counter(hall.exchange.database), People(hall.exchange.database, secure=True))
    for _ in range(LISTENERS_OF_ONE_MAX):
        gallery.take_seat("one")
    with pytest.raises(Problem) as refused:
        gallery.take_seat("one")
    assert refused.value.slug == "listeners-limited"
    gallery.take_seat("another")
    browser = await hall.browser_of(None)
    request: Any = type("Asked", (), {"cookies": dict(browser.cookies), "app": None})()
    assert [one async for one in gallery.listen(request, "one", "")] == [f"retry: {live.RETRY_MS}\n\n"]
    gallery.take_seat("one")
