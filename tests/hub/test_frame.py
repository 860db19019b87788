"""What every answer of the API has: an id, a limit, a validator; and cursors and keys that the exchange vouches for."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any
from uuid import uuid4

import httpx
import pytest
import structlog
from fastapi import APIRouter, FastAPI, Request, Response

from contracts.wire import base64url
from hub.health import Health
from hub.store import answers, schema, secrets
from hub.store.database import Connection, Database
from hub.web import probes
from hub.web.cursors import read_cursor, write_cursor
from hub.web.idempotency import Idempotency, IdempotencyKey
from hub.web.limits import KEYS_MAX, WINDOW_S, Limiter, Quota, group_address
from hub.web.problems import Problem, refuse

UUID = "0b7f3d5e-6c1a-4a43-9f0e-2f6a4c1d8e90"

pytestmark = pytest.mark.anyio
URL = "https://hub.example"
LOGGED = structlog.get_logger("tests.hub.frame")
SECRET = bytes(range(32))


def open_client(app: FastAPI, address: str = "203.0.113.7") -> httpx.AsyncClient:
    """Give a client at an address."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=(address, 5_000))
    return httpx.AsyncClient(transport=transport, base_url=URL)


def create_app(limiter: Limiter | None = None) -> FastAPI:
    """Give an API with one small answer, one that comes in pieces, and one that is refused."""
    router = APIRouter()

    @router.get("/api/v1/small")
    async def give_small() -> dict[str, str]:
        LOGGED.warning("tests.answered")
        return {"said": "the same"}

    @router.get("/api/v1/refused")
    async def refuse_all() -> None:
        refuse(HTTPStatus.NOT_FOUND, "nothing", "There is nothing here.")

    @router.get("/api/v1/defect")
    async def fail() -> None:
        raise ValueError("L898902C36")

    return probes.create_app(Health(), router, limiter=limiter)


async def test_a_request_keeps_the_callers_uuid_everywhere() -> None:
    identity = str(uuid4())
    async with open_client(create_app()) as client:
        with structlog.testing.capture_logs([structlog.contextvars.merge_contextvars]) as lines:
            answer = await client.get("/api/v1/small", headers={"X-Request-Id": identity})
        refused = await client.get("/api/v1/refused", headers={"X-Request-Id": identity})
        unknown = await client.get("/nowhere", headers={"X-Request-Id": identity})
    assert answer.headers["x-request-id"] == identity
    assert [line["request_id"] for line in lines] == [identity]
    assert {refused.json()["instance"], unknown.json()["instance"]} == {f"urn:uuid:{identity}"}


async def test_a_defect_is_told_with_the_same_headers_and_without_its_text() -> None:
    async with open_client(create_app()) as client:
        answer = await client.get("/api/v1/defect")
    assert (answer.status_code, answer.json()["type"].rpartition("/")[2]) == (500, "defect")
    assert answer.json()["instance"].endswith(answer.headers["x-request-id"])
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "L898902C36" not in answer.text


@pytest.mark.parametrize("asked", [None, "", "L898902C36", "a" * 36, UUID.upper(), f"{UUID}\tx"])
async def test_what_is_no_uuid_is_not_taken_over(asked: str | None) -> None:
    headers = {} if asked is None else {"X-Request-Id": asked}
    async with open_client(create_app()) as client:
        first, second = [await client.get("/api/v1/refused", headers=headers) for _ in range(2)]
    found = {first.headers["x-request-id"], second.headers["x-request-id"]}
    assert len(found) == 2
    assert asked not in found
    assert not asked or asked not in first.text


async def test_an_answer_that_the_caller_has_is_not_sent_again() -> None:
    async with open_client(create_app()) as client:
        first = await client.get("/api/v1/small")
        tag = first.headers["etag"]
        for asked in (tag, f'W/{tag}, "other"', "*"):
            again = await client.get("/api/v1/small", headers={"If-None-Match": asked})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        other = await client.get("/api/v1/small", headers={"If-None-Match": '"other"'})
        refused = await client.get("/api/v1/refused", headers={"If-None-Match": "*"})
    assert (other.status_code, other.json()) == (200, first.json())
    assert (refused.status_code, "etag" in refused.headers) == (404, False)


async def test_an_address_that_asks_too_often_waits_and_no_other_does() -> None:
    app = create_app(Limiter(Quota("address", 3)))
    async with open_client(app) as client, open_client(app, "203.0.113.8") as neighbour:
        answers_ = [await client.get("/api/v1/small") for _ in range(4)]
        claiming = await client.get("/api/v1/small", headers={"Authorization": "Bearer x"})
        probed = await client.get("/healthz")
        other = await neighbour.get("/api/v1/small")
    assert [one.status_code for one in answers_] == [200, 200, 200, 429]
    assert [one.headers["ratelimit"].split(";")[1] for one in answers_] == ["r=2", "r=1", "r=0", "r=0"]
    assert answers_[0].headers["ratelimit-policy"] == '"address";q=3;w=60'
    limited = answers_[3]
    assert (limited.headers["retry-after"], limited.headers["content-type"]) == ("20", "application/problem+json")
    assert limited.json()["type"].endswith("/rate-limited")
    assert {claiming.status_code, probed.status_code, other.status_code} == {200}


def test_a_quota_comes_back_evenly_and_is_never_exceeded() -> None:
    limiter = Limiter(Quota("credential", 60))
    taken = [limiter.take("bri", 1_000.0) for _ in range(61)]
    assert [one is not None and one.allowed for one in taken] == [True] * 60 + [False]
    later = [limiter.take("bri", 1_001.0 + second) for second in range(5) for _ in range(2)]
    assert [one is not None and one.allowed for one in later] == [True, False] * 5
    rested = limiter.take("bri", 1_006.0 + WINDOW_S)
    assert rested is not None
    assert (rested.remaining, rested.reset_s) == (59, 1)
    assert Limiter(Quota("none", 0)).take("bri", 1.0) is None


def test_however_many_addresses_ask_the_memory_is_bounded() -> None:
    limiter = Limiter(Quota("address", 10), keys_max=100)
    for number in range(1_000):
        limiter.take(f"address {number}", float(number) / 1_000)
    assert len(limiter) == 100
    assert KEYS_MAX < 10**6
    assert group_address("2001:db8:1:2:3:4:5:6") == group_address("2001:db8:1:2::1") != group_address("2001:db8:1:3::1")
    assert group_address("203.0.113.7") != group_address("203.0.113.8")


@pytest.mark.parametrize("place", ["", "1", "B.3/000017/PK.04.00/III/2026"])
def test_a_cursor_leads_where_it_was_given(place: str) -> None:
    assert read_cursor(SECRET, "refusals", "bri", write_cursor(SECRET, "refusals", "bri", place)) == place


def test_a_cursor_that_was_changed_or_is_anothers_is_refused() -> None:
    cursor = write_cursor(SECRET, "refusals", "bri", "7")
    raw = base64url.decode(cursor.encode()) or b""
    flipped = [base64url.encode(bytes([*raw[:at], raw[at] ^ 1, *raw[at + 1 :]])) for at in range(len(raw))]
    others = [write_cursor(SECRET, "refusals", "mandiri", "7"), write_cursor(SECRET, "findings", "bri", "7")]
    others += [write_cursor(bytes(32), "refusals", "bri", "7"), write_cursor(SECRET, "refusalsb", "ri", "7")]
    for forged in (*flipped, *others, "", "7", cursor[:-1], cursor + "A", "é" * 32):
        with pytest.raises(Problem) as refused:
            read_cursor(SECRET, "refusals", "bri", forged)
        assert (refused.value.status, refused.value.slug) == (400, "cursor-invalid")


@pytest.fixture
async def opened(database: str) -> AsyncIterator[Database]:
    """Give a migrated database."""
    await schema.migrate(database)
    held = await Database.open(database)
    yield held
    await held.close()


def create_counter(database: Database, entered: asyncio.Event, leave: asyncio.Event) -> FastAPI:
    """Give an API whose one request adds a row, and fails or waits where it is told to."""
    router, idempotency = APIRouter(), Idempotency(database)

    @router.post("/api/v1/rows")
    async def add_row(request: Request, idempotency_key: IdempotencyKey = None) -> Response:
        asked = json.loads(await request.body())

        async def work(connection: Connection, now: datetime) -> dict[str, Any]:
            await connection.execute("INSERT INTO assertions VALUES (gen_random_uuid(), $1)", now)
            entered.set()
            if asked.get("wait"):
                await leave.wait()
            if asked.get("fail"):
                refuse(HTTPStatus.CONFLICT, "failed", "It failed.")
            return {"rows": await connection.fetchval("SELECT count(*) FROM assertions")}

        return await idempotency.once(request, request.headers.get("caller", "bri"), idempotency_key, work)

    return probes.create_app(Health(), router)


async def test_a_request_sent_twice_is_done_once(opened: Database) -> None:
    app = create_counter(opened, asyncio.Event(), asyncio.Event())
    async with open_client(app) as client:

        async def post(key: str | None, body: dict[str, Any], caller: str = "bri") -> httpx.Response:
            headers = {"caller": caller} | ({} if key is None else {"Idempotency-Key": key})
            return await client.post("/api/v1/rows", json=body, headers=headers)

        first, again, quoted = await post("one", {}), await post("one", {}), await post('"one"', {})
        assert first.json() == again.json() == quoted.json() == {"rows": 1}
        assert ["idempotency-replayed" in one.headers for one in (first, again, quoted)] == [False, True, True]
        reused = await post("one", {"other": 1})
        assert (reused.status_code, reused.json()["type"].rpartition("/")[2]) == (422, "idempotency-key-reused")
        # Another caller's key of the same name is another key.
        assert (await post("one", {"other": 1}, "mandiri")).json() == {"rows": 2}
        for missing in (None, "", "x" * 65, "with space"):
            assert (await post(missing, {})).status_code == 400
        # What was refused kept nothing: neither its row nor its key.
        assert (await post("two", {"fail": 1})).status_code == 409
        assert (await post("two", {})).json() == {"rows": 3}


async def test_two_at_once_are_one(opened: Database) -> None:
    entered, leave = asyncio.Event(), asyncio.Event()
    async with open_client(create_counter(opened, entered, leave)) as client:

        async def post() -> httpx.Response:
            return await client.post("/api/v1/rows", json={"wait": 1}, headers={"Idempotency-Key": "one"})

        first = asyncio.create_task(post())
        await entered.wait()
        second = asyncio.create_task(post())
        leave.set()
        found = [await first, await second]
    assert [one.json() for one in found] == [{"rows": 1}, {"rows": 1}]
    assert ["idempotency-replayed" in one.headers for one in found] == [False, True]


async def test_an_answer_is_forgotten_after_its_time(opened: Database) -> None:
    now = datetime.now(UTC)
    day = timedelta(days=1)
    async with opened.transaction() as connection:
        assert await answers.claim(connection, "bri", "one", bytes(32), (now, now + day)) is None
        await answers.keep(connection, "bri", "one", 200, "{}")
        assert await answers.claim(connection, "bri", "one", bytes(32), (now, now + day)) == (bytes(32), 200, "{}")
        assert await answers.claim(connection, "bri", "one", bytes(32), (now + day, now + 2 * day)) is None
        await answers.forget_expired(connection, now + 2 * day)
        assert await connection.fetchval("SELECT count(*) FROM answers") == 0
        assert len(await secrets.read(connection)) == 32
