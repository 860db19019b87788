"""SIGKILL at every durable step of the ministry's doors: started again, the connector has lost and doubled nothing."""

import asyncio
import hashlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from connectors.link import failpoint
from connectors.link.clock import utc_now
from connectors.link.fact import Author
from connectors.link.spool import Spool
from devstack.ports import find_free_ports
from tests.connectors.parties import MINISTRY_SOURCE, HubPeer, World, eventually, write_keys
from tests.connectors.test_ministry import AUTHOR, FILE
from tests.connectors.test_ministry_events import EVENT, TOKEN
from tests.connectors.test_ministry_outcomes import OLD_SECRET, Endpoint
from tests.contracts.samples import APPLICATION
from tests.faults.armed import write_order

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "tests.faults.armed", "connectors.ministry", "run"]
POINTS = [point for point in failpoint.POINTS if point.split(".")[0] in ("events", "folder", "webhook")]
END_LIMIT_S = 60


@dataclass
class Office:
    """An agency without a database: its calls, its files, its server for webhooks, and the connector beside it."""

    folder: Path
    environment: dict[str, str]
    endpoint: Endpoint
    process: asyncio.subprocess.Process | None = None
    posted: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.environment['HTTP_PORT']}"

    async def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(*COMMAND, env=self.environment, stderr=log)
        await eventually(self._is_alive)

    async def _is_alive(self) -> bool:
        assert self.process is not None
        assert self.process.returncode is None, (self.folder / "log").read_text()
        async with httpx.AsyncClient() as http:
            try:
                return (await http.get(f"{self.url}/healthz")).is_success
            except httpx.HTTPError:
                return False

    async def end(self, number: signal.Signals | None = None) -> int:
        """Wait for the connector's end, after a signal if one is given; return its exit code."""
        assert self.process is not None
        if number is not None:
            self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), END_LIMIT_S)

    async def post(self, key: str) -> bool:
        """Send one event; tell whether it was answered as taken."""
        headers = {"authorization": f"Bearer {TOKEN}", "idempotency-key": key}
        async with httpx.AsyncClient() as http:
            try:
                answer = await http.post(f"{self.url}/events", json=EVENT, headers=headers)
            except httpx.HTTPError:
                return False
        return answer.status_code in (200, 202)

    def drop(self, name: str) -> None:
        """Drop a file of a good row and a bad one, which the office is told of by webhook."""
        row: dict[str, Any] = {"at": EVENT["at"], "kind": "LENGKAP", "application_number": APPLICATION, "payload": FILE}
        rows = [row | {"key": f"{name}-good"}, row | {"key": f"{name}-bad", "kind": "PINDAH"}]
        content = "".join(json.dumps(each) + "\n" for each in rows).encode()
        manifest = {"name": f"{name}.ndjson", "rows": 2, "sha256": hashlib.sha256(content).hexdigest()}
        (self.folder / "in" / f"{name}.ndjson").write_bytes(content)
        (self.folder / "in" / "manifest.part").write_text(json.dumps(manifest))
        (self.folder / "in" / "manifest.part").rename(self.folder / "in" / f"{name}.ndjson.manifest.json")
        self.dropped.append(name)

    async def is_at_rest(self) -> bool:
        """Whether every file was moved, and every bad row told of."""
        told = {f"row-folder-{name}-bad" for name in self.dropped}
        moved = {f"{name}.ndjson.manifest.json" for name in self.dropped}
        done = self.folder / "in" / "done"
        return told == self.endpoint.bodies.keys() and moved <= {each.name for each in done.glob("*")}


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    async with HubPeer(World()).serve() as peer, Endpoint().serve() as endpoint:
        for name, text in (("token", TOKEN), ("secret", OLD_SECRET)):
            (tmp_path / name).write_text(text)
            (tmp_path / name).chmod(0o600)
        (tmp_path / "in").mkdir()
        environment = write_keys(tmp_path, peer.world, peer.world.ministry, peer.world.ministry_api) | {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "PARTICIPANT": "ministry",
            "SOURCE_URI": MINISTRY_SOURCE,
            "HUB_API_URL": peer.url,
            # No broker is needed for what is tested here: the facts wait in the spool.
            "KAFKA_BOOTSTRAP": "127.0.0.1:1",
            "HTTP_PORT": str(find_free_ports(1)[0]),
            "EVENTS_TOKEN_FILE": str(tmp_path / "token"),
            "EVENTS_DIR": str(tmp_path / "in"),
            "WEBHOOK_URL": endpoint.url,
            "WEBHOOK_SECRET_FILE": str(tmp_path / "secret"),
            "FAULT_ORDER": str(tmp_path / "order"),
        }
        await begin_spool(environment)
        async with running(Office(tmp_path, environment, endpoint)) as office:
            yield office


async def begin_spool(environment: dict[str, str]) -> None:
    """Make a spool that is not new: a new one would wait for a broker to tell what the hub has of it."""
    async with Spool.open(
        Path(environment["SPOOL_DIR"]) / "spool.sqlite", Author("ministry", MINISTRY_SOURCE, "demo")
    ) as spool:
        await spool.begin()


@asynccontextmanager
async def running(office: Office) -> AsyncIterator[Office]:
    try:
        yield office
    finally:
        if office.process is not None and office.process.returncode is None:
            office.process.kill()
            await office.process.wait()


@pytest.mark.timeout(600)
async def test_kill_at_every_point(office: Office) -> None:
    await office.start()
    for number, point in enumerate(POINTS):
        write_order(office.folder / "order", point, 1, signal.SIGKILL)
        key = f"K-{number}"
        if point.startswith("events."):
            assert not await office.post(key)
        else:
            office.drop(f"file-{number}")
        assert await office.end() == -signal.SIGKILL, point
        await office.start()
        assert await office.post(key)
        office.posted.append(key)
        await eventually(office.is_at_rest)
    assert await office.end(signal.SIGTERM) == 0
    expected = {*(f"rest/{key}" for key in office.posted), *(f"folder/{name}-good" for name in office.dropped)}
    async with Spool.open(office.folder / "spool" / "spool.sqlite", AUTHOR, clock=utc_now) as spool:
        assert (await spool.status()).last_sequence == len(expected)
        assert {key for key in expected if await spool.fact_by_key(key) is not None} == expected
    done = {each.name for each in (office.folder / "in" / "done").iterdir()}
    suffixes = (".ndjson", ".ndjson.manifest.json", ".ndjson.reason.txt")
    assert done == {f"{name}{suffix}" for name in office.dropped for suffix in suffixes}


async def test_second_connector_on_the_folder_alone_says_so(office: Office, tmp_path: Path) -> None:
    await office.start()
    other = office.environment | {"SPOOL_DIR": str(tmp_path / "other"), "HTTP_PORT": "0"}
    await begin_spool(other)
    process = await asyncio.create_subprocess_exec(*COMMAND, env=other, stderr=asyncio.subprocess.PIPE)
    _, said = await asyncio.wait_for(process.communicate(), END_LIMIT_S)
    assert process.returncode == 1
    assert b"Another connector process takes files from EVENTS_DIR" in said
    assert b"Traceback" not in said
