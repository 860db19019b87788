"""A bank explains a difference: stored before it is answered, once, and every fault a problem that says what to do."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from connectors.bank.book import BankBook
from connectors.bank.explanation_door import BODY_BYTES_MAX, ExplanationDoor
from connectors.bank.profile import Partners
from connectors.link.delivery import StreamItem, verify
from connectors.link.door import open_door
from connectors.link.spool import Spool
from contracts.wire.envelope import read_envelope
from contracts.wire.signature import VerifiedRoots
from devstack.ports import find_free_ports
from tests.connectors.parties import AUTHOR, BRI_SOURCE, World
from tests.connectors.serving import served
from tests.connectors.snap_bench import NOON, partner
from tests.contracts.samples import SAMPLES

TOKEN, OTHER_TOKEN = "t" * 32, "o" * 40
OPENED, EXPLAINED, CLOSED = (f"id.tka.hub.difference.{step}.v1" for step in ("opened", "explained", "closed"))
DIFFERENCE = str(SAMPLES[OPENED]["difference_id"])
SUBJECT = DIFFERENCE.partition(":")[0]
SAID = {"code": "SETTLEMENT_PENDING", "text": "Booked with the next day's statement."}


class Bench:
    """A bank's own door, the spool behind it, and a hub that tells of differences."""

    def __init__(self, http: httpx.AsyncClient, spool: Spool, book: BankBook, metrics: CollectorRegistry) -> None:
        self.http, self.spool, self.book, self.metrics = http, spool, book, metrics
        self._world, self._seq = World(), 0

    async def tell(self, event: str, **data: Any) -> None:
        self._seq += 1
        said = {**SAMPLES[event], "difference_id": DIFFERENCE, **data}
        item = self._world.word("to.bri", self._seq, event, said, subject=SUBJECT)
        assert item.value is not None
        stream = StreamItem("to.bri", 0, item.seq, item.key.encode(), item.value, item.headers, None)
        await self.book.handle(verify(stream, self._world.registry(), VerifiedRoots(), self._world.now))

    async def explain(self, body: Any = SAID, identity: str = DIFFERENCE, **changes: str) -> httpx.Response:
        headers = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"} | changes
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.http.post(f"/differences/{identity}/explanation", content=content, headers=headers)

    async def stored(self) -> list[dict[str, Any]]:
        """What was put into the spool, as it will be signed."""
        return [dict(read_envelope(one.value).data) for one in await self.spool.waiting(100)]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with open_bench(tmp_path) as opened:
        yield opened


@asynccontextmanager
async def open_bench(folder: Path, bytes_max: int = 2**30, port: int = 0) -> AsyncIterator[Bench]:
    """Open the bank's door on the spool of this folder."""
    async with Spool.open(folder / "spool.sqlite", AUTHOR, bytes_max=bytes_max) as spool:
        metrics, app = CollectorRegistry(), open_door()
        book = BankBook(spool, Partners((partner(),)), BRI_SOURCE, lambda: NOON)
        tokens = [TOKEN.encode(), OTHER_TOKEN.encode()]
        door = ExplanationDoor(spool, AUTHOR, book.differences, tokens, lambda: NOON, metrics)
        app.include_router(book.routes())
        app.include_router(door.routes())
        async with served(app, port) as url, httpx.AsyncClient(base_url=url) as http:
            yield Bench(http, spool, book, metrics)


async def test_open_differences_are_listed_until_they_are_over(bench: Bench) -> None:
    assert (await bench.http.get("/differences")).json() == []
    await bench.tell(OPENED)
    [listed] = (await bench.http.get("/differences")).json()
    said = SAMPLES[OPENED]
    names = ("kind", "billing_code", "amount", "currency", "opened_at", "payment")
    assert listed == {"difference_id": DIFFERENCE, "explanations": []} | {name: said[name] for name in names}
    [table] = (await bench.book.show()).tables
    assert (table.title, table.rows[0][1]) == ("Open differences", DIFFERENCE)
    await bench.tell(EXPLAINED, explanations=[{"participant": "bri", "code": "LATE"}])
    assert (await bench.http.get("/differences")).json()[0]["explanations"] == ["bri: LATE"]
    await bench.tell(CLOSED, reason="resolved", statement=None)
    assert (await bench.http.get("/differences")).json() == []
    assert (await bench.book.show()).tables == ()
    await bench.tell(EXPLAINED)
    assert (await bench.http.get("/differences")).json() == []


async def test_explanation_is_on_disk_when_it_is_answered(bench: Bench) -> None:
    await bench.tell(OPENED)
    answer = await bench.explain()
    assert answer.status_code == 202
    assert answer.json() | {"event_id": ""} == {"event_id": "", "sequence": 1, "repeated": False}
    fact = await bench.spool.fact(answer.json()["event_id"])
    assert fact is not None
    assert fact.type == "id.tka.bank.difference.explained.v1"
    [stored] = await bench.stored()
    assert stored == {"difference_id": DIFFERENCE, "explanation_code": SAID["code"], "text": SAID["text"]}
    assert b'status="202"' in generate_latest(bench.metrics)


async def test_repeat_counts_once_even_when_the_difference_is_over(bench: Bench) -> None:
    await bench.tell(OPENED)
    first = await bench.explain(authorization=f"Bearer {OTHER_TOKEN}")
    assert (await bench.explain()).json() == first.json() | {"repeated": True}
    await bench.tell(CLOSED, reason="closed", statement="Over.")
    again = await bench.explain()
    assert (again.status_code, again.json()["repeated"]) == (200, True)
    assert len(await bench.stored()) == 1
    assert (await bench.spool.status()).aside == 0


async def test_the_same_call_many_times_at_once_counts_once(bench: Bench) -> None:
    await bench.tell(OPENED)
    answers = await asyncio.gather(*(bench.explain() for _ in range(8)))
    assert sorted({answer.status_code for answer in answers}) == [200, 202]
    assert len({answer.json()["event_id"] for answer in answers}) == 1
    assert (len(await bench.stored()), (await bench.spool.status()).aside) == (1, 0)


@pytest.mark.parametrize("other", [{"text": "Booked at last."}, {"code": "BOOKED"}])
async def test_other_words_on_the_same_difference_are_an_explanation_beside_the_first(
    bench: Bench, other: dict[str, str]
) -> None:
    await bench.tell(OPENED)
    first, second = await bench.explain(), await bench.explain(SAID | other)
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json()["event_id"] != second.json()["event_id"]
    assert len(await bench.stored()) == 2


@pytest.mark.parametrize(
    ("status", "slug", "changes"),
    [
        (401, "token-invalid", {"authorization": ""}),
        (401, "token-invalid", {"authorization": f"Bearer {TOKEN}x"}),
        (401, "token-invalid", {"authorization": f"Basic {TOKEN}"}),
        (415, "content-type-wrong", {"content-type": "text/plain"}),
        (404, "difference-unknown", {"identity": f"{SUBJECT}:{'0' * 16}"}),
        (404, "difference-unknown", {"identity": "x" * 600}),
    ],
)
async def test_wrong_call_is_a_problem(bench: Bench, status: int, slug: str, changes: dict[str, Any]) -> None:
    await bench.tell(OPENED)
    answer = await bench.explain(**changes)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.json()["type"] == f"https://contracts.tkahub.example/problems/{slug}"
    assert await bench.stored() == []


@pytest.mark.parametrize(
    ("status", "slug", "body"),
    [
        (400, "json-invalid", b"{"),
        (400, "json-invalid", b'{"code": "A", "code": "B", "text": "x"}'),
        (422, "members-wrong", []),
        (422, "members-wrong", {"code": "A"}),
        (422, "members-wrong", SAID | {"more": 1}),
        (422, "members-wrong", SAID | {"text": 5}),
        (422, "data-invalid", SAID | {"code": "two words"}),
        (422, "data-invalid", SAID | {"code": ""}),
        (422, "data-invalid", SAID | {"text": ""}),
        (422, "data-invalid", SAID | {"text": "x" * 5_000}),
        (400, "json-invalid", b'{"code": "A", "text": "\\ud800"}'),
        (413, "body-too-large", b" " * (BODY_BYTES_MAX + 1)),
    ],
)
async def test_wrong_body_is_a_problem(bench: Bench, status: int, slug: str, body: Any) -> None:
    await bench.tell(OPENED)
    answer = await bench.explain(body)
    assert (answer.status_code, answer.json()["status"]) == (status, status), answer.text
    assert answer.json()["type"].endswith(f"/{slug}")
    assert await bench.stored() == []
    assert (await bench.spool.status()).aside == 0


async def test_other_methods_are_problems(bench: Bench) -> None:
    answer = await bench.http.get(f"/differences/{DIFFERENCE}/explanation")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


async def test_full_spool_says_so_and_what_it_refused_is_taken_later(tmp_path: Path) -> None:
    other = SAID | {"code": "BOOKED"}
    async with open_bench(tmp_path) as bench:
        await bench.tell(OPENED)
    async with open_bench(tmp_path, bytes_max=1) as bench:
        assert (await bench.explain()).status_code == 202
        answer = await bench.explain(other)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "15")
        assert answer.json()["type"].endswith("/spool-full")
        assert (await bench.explain()).status_code == 200
    async with open_bench(tmp_path) as bench:
        assert (await bench.explain(other)).status_code == 202


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, str]:
    """Give the environment of a bank's connector whose door is at a free port."""
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "token").chmod(0o600)
    files = ("KEY_FILE", "API_KEY_FILE", "TRUST_ROOT_FILE", "SNAP_PROFILE_FILE", "SPOOL_DIR", "STATEMENT_DIR")
    return {
        "PARTICIPANT": "bri",
        "SOURCE_URI": BRI_SOURCE,
        "HUB_API_URL": "http://127.0.0.1:1",
        "KAFKA_BOOTSTRAP": "127.0.0.1:1",
        "HTTP_PORT": str(find_free_ports(1)[0]),
        "EXPLANATION_TOKEN_FILE": str(tmp_path / "token"),
        **dict.fromkeys(files, str(tmp_path / "unused")),
    }


async def run(settings: dict[str, str], identity: str = DIFFERENCE, code: str = SAID["code"]) -> tuple[int, str]:
    """Run the command; return its exit code and the only line that it printed."""
    command = [sys.executable, "-m", "connectors.bank", "explain", identity, "--code", code, "--text", SAID["text"]]
    environment = {name: value for name, value in os.environ.items() if name != "HTTP_PORT"} | settings
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    printed, errors = await process.communicate()
    assert process.returncode is not None
    said = (errors if process.returncode else printed).decode()
    assert len(said.splitlines()) == 1, said
    return process.returncode, said


async def test_command_explains_through_the_running_connector(tmp_path: Path, settings: dict[str, str]) -> None:
    async with open_bench(tmp_path, port=int(settings["HTTP_PORT"])) as bench:
        await bench.tell(OPENED)
        for code, says in ((0, "goes to the hub"), (0, "given before")):
            found, said = await run(settings)
            assert (found, says in said) == (code, True), said
        assert len(await bench.stored()) == 1
        for changes, says in (({"identity": "x/y?z"}, "404"), ({"code": "two words"}, "422")):
            found, said = await run(settings, **changes)
            assert (found, says in said) == (1, True), said
        (tmp_path / "token").write_text("x" * 32)
        found, said = await run(settings | {"HTTP_HOST": "0.0.0.0"})  # As a connector may be told.
        assert (found, "token" in said) == (1, True), said


async def test_command_says_what_is_wrong_with_its_settings(settings: dict[str, str]) -> None:
    for changes, code, says in (
        ({}, 3, "does not answer"),
        ({"HTTP_PORT": "0"}, 2, "HTTP_PORT"),
        ({"EXPLANATION_TOKEN_FILE": "/nowhere"}, 2, "EXPLANATION_TOKEN_FILE"),
    ):
        found, said = await run(settings | changes)
        assert (found, says in said) == (code, True), said
    del settings["EXPLANATION_TOKEN_FILE"]
    found, said = await run(settings)
    assert (found, "EXPLANATION_TOKEN_FILE" in said) == (2, True), said
