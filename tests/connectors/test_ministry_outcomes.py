"""What the ministry is told: durable before the hub's stream goes on, once by its key, whoever is away meanwhile."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from standardwebhooks import Webhook

from connectors.link.clock import utc_now
from connectors.link.fault import SettingsFault, SourceUnreachable
from connectors.ministry.outcome_queue import FILE_NAME, RETRY_S_MAX, OutcomeQueue, OutcomesFull
from connectors.ministry.rights import OutcomeRefused
from connectors.ministry.telling import FileReceiver, Receiver, Teller
from connectors.ministry.translate import OutcomeRow
from connectors.ministry.webhook import WebhookReceiver, read_signers

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OLD_SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
NOW = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)


def outcome(number: int) -> OutcomeRow:
    return OutcomeRow(f"e-{number}", "VISA", "RPTKA/1", None, {"nama": "Taro Yamada \u6771", "number": number})


@dataclass
class Clock:
    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Taker:
    """A receiver that a test makes answer as it likes."""

    batch_max: int = 10
    away: bool = False
    refused: set[str] = field(default_factory=set)
    taken: list[str] = field(default_factory=list)

    async def take(self, rows: Sequence[OutcomeRow]) -> None:
        if self.away:
            raise SourceUnreachable("away")
        if self.refused & {row.event_id for row in rows}:
            raise OutcomeRefused("too long")
        self.taken += [row.event_id for row in rows]


@dataclass
class Telling:
    queue: OutcomeQueue
    clock: Clock
    receiver: Receiver
    metrics: CollectorRegistry = field(default_factory=CollectorRegistry)

    def __post_init__(self) -> None:
        self.teller = Teller(self.queue, self.receiver, self.clock, self.metrics)

    async def tell_all(self) -> None:
        while await self.teller.tell_due():
            pass


@asynccontextmanager
async def telling(folder: Path, receiver: Receiver) -> AsyncIterator[Telling]:
    clock = Clock()
    async with OutcomeQueue.open(folder, clock) as queue:
        yield Telling(queue, clock, receiver)


async def test_outcome_is_told_once_in_order_and_its_content_is_forgotten(tmp_path: Path) -> None:
    taker = Taker()
    async with telling(tmp_path, taker) as one:
        for _ in range(2):
            await one.queue.push([outcome(1), outcome(2)])
        await one.tell_all()
        # The hub delivers it again: it is known, though its content is gone.
        await one.queue.push([outcome(1)])
        await one.tell_all()
        assert b"tkahub_connector_outcomes_waiting 0.0" in generate_latest(one.metrics)
    assert taker.taken == ["e-1", "e-2"]
    assert b"Taro" not in (tmp_path / FILE_NAME).read_bytes()
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o077 == 0


async def test_waiting_outcomes_outlive_the_process_and_an_outage(tmp_path: Path) -> None:
    taker = Taker(away=True)
    async with telling(tmp_path, taker) as one:
        await one.queue.push([outcome(1)])
        with pytest.raises(SourceUnreachable):
            await one.tell_all()
    taker.away = False
    async with telling(tmp_path, taker) as one:
        assert (await one.queue.status()).waiting == 1
        one.clock.now += timedelta(hours=72)
        await one.tell_all()
    assert taker.taken == ["e-1"]


async def test_refused_outcome_holds_up_no_other_and_is_tried_ever_later(tmp_path: Path) -> None:
    taker = Taker(refused={"e-2"})
    async with telling(tmp_path, taker) as one:
        await one.queue.push([outcome(1), outcome(2), outcome(3)])
        await one.tell_all()
        assert taker.taken == ["e-1", "e-3"]
        pauses = []
        for _ in range(14):
            due = await one.queue.next_due()
            assert due is not None
            pauses.append((due - one.clock.now).total_seconds())
            one.clock.now = due
            await one.tell_all()
        assert pauses[:3] == [5.0, 10.0, 20.0]
        assert pauses[-1] == RETRY_S_MAX
        taker.refused.clear()
        one.clock.now += timedelta(hours=1)
        await one.tell_all()
        assert taker.taken == ["e-1", "e-3", "e-2"]
        assert await one.queue.next_due() is None


async def test_queue_is_bounded_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.ministry.outcome_queue.WAITING_MAX", 2)
    async with telling(tmp_path, Taker()) as one:
        await one.queue.push([outcome(1), outcome(2)])
        with pytest.raises(OutcomesFull, match="2 outcomes wait"):
            await one.queue.push([outcome(3)])
        await one.tell_all()
        await one.queue.push([outcome(3)])


async def test_files_are_written_whole_and_once(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    row = OutcomeRow("row-folder-a/b.csv:3", "BARIS_DITOLAK", None, None, {"row": "a/b.csv:3"})
    async with telling(tmp_path, FileReceiver(folder)) as one:
        await one.queue.push([row, outcome(1)])
        await one.tell_all()
        await FileReceiver(folder).take([row])
    names = {file.name for file in (folder / "outcomes").iterdir()}
    assert names == {"e-1.json", "row-folder-a%2Fb.csv%3A3.json"}
    assert json.loads((folder / "outcomes" / "e-1.json").read_text())["payload"] == outcome(1).payload
    with pytest.raises(SourceUnreachable):
        await FileReceiver(tmp_path / "none").take([row])


@dataclass
class Endpoint:
    """An agency's own server, which verifies webhooks by the library for receivers."""

    statuses: list[int] = field(default_factory=list)
    bodies: dict[str, object] = field(default_factory=dict)
    calls: int = 0
    url: str = ""

    async def take(self, request: web.Request) -> web.Response:
        self.calls += 1
        if self.statuses and (status := self.statuses.pop(0)) != 200:
            return web.Response(status=status)
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.bodies[headers["webhook-id"]] = Webhook(OLD_SECRET).verify(await request.read(), headers)
        return web.Response(status=204)

    @asynccontextmanager
    async def serve(self) -> AsyncIterator["Endpoint"]:
        app = web.Application()
        app.router.add_post("/hook", self.take)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
        try:
            yield self
        finally:
            await runner.cleanup()


def write_secret(folder: Path, *lines: str) -> Path:
    file = folder / "secret"
    file.write_text("\n".join(lines))
    file.chmod(0o600)
    return file


@asynccontextmanager
async def hooked(folder: Path, statuses: list[int]) -> AsyncIterator[tuple[Endpoint, Telling]]:
    """Give an endpoint that answers with these statuses at first, and what is told to it."""
    signers = read_signers(write_secret(folder, OLD_SECRET))
    async with (
        Endpoint(statuses).serve() as endpoint,
        httpx.AsyncClient() as http,
        telling(folder, WebhookReceiver(http, endpoint.url, signers, utc_now)) as one,
    ):
        yield endpoint, one


async def test_webhook_is_signed_for_both_secrets_of_a_change(tmp_path: Path) -> None:
    signers = read_signers(write_secret(tmp_path, SECRET, OLD_SECRET))
    async with Endpoint().serve() as endpoint, httpx.AsyncClient() as http:
        receiver = WebhookReceiver(http, endpoint.url, signers, utc_now)
        async with telling(tmp_path, receiver) as one:
            await one.queue.push([outcome(1), outcome(2)])
            await one.tell_all()
    assert list(endpoint.bodies) == ["e-1", "e-2"]
    assert endpoint.bodies["e-1"] == {
        "event_id": "e-1",
        "kind": "VISA",
        "application_number": "RPTKA/1",
        "billing_code": None,
        "payload": outcome(1).payload,
    }


@pytest.mark.parametrize("status", [500, 503, 401, 403, 404, 408, 429])
async def test_receiver_that_is_away_keeps_everything_waiting(tmp_path: Path, status: int) -> None:
    async with hooked(tmp_path, [status]) as (endpoint, one):
        await one.queue.push([outcome(1), outcome(2)])
        with pytest.raises(SourceUnreachable, match=str(status)):
            await one.tell_all()
        await one.tell_all()
    assert list(endpoint.bodies) == ["e-1", "e-2"]


async def test_receiver_that_refuses_one_gets_the_others(tmp_path: Path) -> None:
    async with hooked(tmp_path, [400, 200]) as (endpoint, one):
        await one.queue.push([outcome(1), outcome(2)])
        await one.tell_all()
        assert list(endpoint.bodies) == ["e-2"]
        one.clock.now += timedelta(minutes=1)
        await one.tell_all()
    assert list(endpoint.bodies) == ["e-2", "e-1"]


async def test_nobody_listening_is_told_in_words(tmp_path: Path) -> None:
    async with httpx.AsyncClient() as http:
        receiver = WebhookReceiver(http, "http://127.0.0.1:1/", read_signers(write_secret(tmp_path, SECRET)), utc_now)
        with pytest.raises(SourceUnreachable, match="does not answer"):
            await receiver.take([outcome(1)])


@pytest.mark.parametrize("lines", [(), ("x",), ("whsec_",), ("whsec_!",), (SECRET, "x"), (SECRET, SECRET, SECRET)])
def test_secret_that_cannot_be_used_is_told(tmp_path: Path, lines: tuple[str, ...]) -> None:
    with pytest.raises(SettingsFault, match="must hold one line"):
        read_signers(write_secret(tmp_path, *lines))


def test_secret_must_be_private(tmp_path: Path) -> None:
    file = write_secret(tmp_path, SECRET)
    file.chmod(0o640)
    with pytest.raises(SettingsFault, match="chmod 600"):
        read_signers(file)
    with pytest.raises(SettingsFault, match="cannot be read"):
        read_signers(tmp_path / "none")
