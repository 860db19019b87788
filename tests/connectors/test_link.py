"""The process around a connector: its start, its door, its commands, its end; real processes, real signals."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from connectors.link.fact import Author
from connectors.link.spool import Spool
from tests.connectors.parties import (
    ENVIRONMENT,
    MINISTRY_SOURCE,
    HubPeer,
    World,
    create_topics,
    write_keys,
)

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "connectors.ministry"]


def environment_of(folder: Path, peer: HubPeer, bootstrap: str, prefix: str, database: str) -> dict[str, str]:
    keys = write_keys(folder, peer.world, peer.world.ministry, peer.world.ministry_api)
    return keys | {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "PARTICIPANT": "ministry",
        "SOURCE_URI": MINISTRY_SOURCE,
        "HUB_API_URL": peer.url,
        "KAFKA_BOOTSTRAP": bootstrap,
        "TOPIC_PREFIX": prefix,
        "REGISTER_URL": database,
    }


@asynccontextmanager
async def connector(environment: dict[str, str]) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """Run the ministry's connector; give its process and the address of its door."""
    process = await asyncio.create_subprocess_exec(*COMMAND, "run", env=environment, stderr=asyncio.subprocess.PIPE)
    assert process.stderr is not None
    port = None
    try:
        async with asyncio.timeout(30):
            while port is None:
                line = json.loads(await process.stderr.readline())
                port = line.get("port") if line["event"] == "started" else None
        yield process, f"http://127.0.0.1:{port}"
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def run_command(environment: dict[str, str], *arguments: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *COMMAND, *arguments, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@pytest.fixture
async def peer() -> AsyncIterator[HubPeer]:
    async with HubPeer(World()).serve() as peer:
        yield peer


@pytest.fixture
async def environment(tmp_path: Path, peer: HubPeer, kafka: str, topic_prefix: str, database: str) -> dict[str, str]:
    await create_topics(kafka, f"{topic_prefix}from.ministry", f"{topic_prefix}to.ministry")
    return environment_of(tmp_path, peer, kafka, topic_prefix, database)


async def test_connector_starts_shows_itself_and_stops_in_order(
    environment: dict[str, str], register: str, peer: HubPeer
) -> None:
    environment["REGISTER_URL"] = register
    async with connector(environment) as (process, url), httpx.AsyncClient() as http:
        assert (await http.get(f"{url}/healthz")).json() == {"status": "alive"}
        ready = await http.get(f"{url}/readyz")
        assert ready.status_code == 200
        status = ready.json()
        assert status["spool"]["synchronous"] == "FULL"
        assert (status["registry_version"], status["streams"], status["stopped_streams"]) == (
            1,
            {"to.ministry/0": 0},
            {},
        )
        metrics = (await http.get(f"{url}/metrics")).text
        assert "tkahub_connector_registry_version 1.0" in metrics
        assert 'tkahub_connector_spool_messages{state="waiting"} 0.0' in metrics
        code, _, said = await run_command(environment, "run")
        assert (code, said.strip()) == (
            2,
            "Another connector process works on this spool. Stop it, or give this one a SPOOL_DIR of its own.",
        )
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 30) == 0
    author = Author("ministry", MINISTRY_SOURCE, ENVIRONMENT)
    async with Spool.open(Path(environment["SPOOL_DIR"]) / "spool.sqlite", author):
        pass
    # The next start needs no hub: the registry was kept.
    peer.failures = 10**9
    async with connector(environment) as (process, _):
        process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(process.wait(), 30) == 0


async def test_first_start_waits_for_the_hub_and_can_be_stopped(environment: dict[str, str]) -> None:
    environment["HUB_API_URL"] = "http://127.0.0.1:1"
    process = await asyncio.create_subprocess_exec(*COMMAND, "run", env=environment, stderr=asyncio.subprocess.PIPE)
    assert process.stderr is not None
    line = json.loads(await asyncio.wait_for(process.stderr.readline(), 60))
    assert (line["event"], line["why"]) == (
        "trying again",
        "The hub's API does not answer (ConnectError): check HUB_API_URL.",
    )
    process.terminate()
    assert await asyncio.wait_for(process.wait(), 30) == 0
    await process.communicate()


@pytest.mark.parametrize(
    ("changed", "value", "says"),
    [
        ("KEY_FILE", "/nowhere/key.pem", "KEY_FILE cannot be read"),
        ("SOURCE_URI", "https://bri.example/tka", "The registry gives SOURCE_URI to another participant"),
        ("HTTP_PORT", "taken", "HTTP_HOST and HTTP_PORT cannot be listened on"),
        ("HUB_API_URL", "hub", "These settings cannot be used: HUB_API_URL"),
        ("TRUST_ROOT_FILE", None, "These settings cannot be used: TRUST_ROOT_FILE: Field required"),
    ],
)
async def test_wrong_setting_is_one_clear_sentence(
    environment: dict[str, str], changed: str, value: str | None, says: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        if value is None:
            del environment[changed]
        else:
            environment[changed] = str(taken.getsockname()[1]) if value == "taken" else value
        code, _, said = await run_command(environment, "run")
    assert code == 2
    assert says in said
    assert "Traceback" not in said


async def test_register_without_its_tables_ends_the_connector(environment: dict[str, str]) -> None:
    code, _, said = await run_command(environment, "run")
    assert code == 1
    assert "grant SELECT on outbox" in said
    assert "Traceback" not in said


async def test_check_finds_nothing_wrong(environment: dict[str, str], register: str) -> None:
    environment["REGISTER_URL"] = register
    code, out, said = await run_command(environment, "check", "--json")
    findings = [json.loads(line) for line in out.splitlines()]
    assert [(found["verdict"], found["says"]) for found in findings if found["verdict"] != "ok"] == []
    assert [found["title"] for found in findings] == [
        "keys",
        "spool",
        "registry",
        "registry entry",
        "hub",
        "broker",
        "clock",
        "register",
        "register's clock",
    ]
    assert (code, said) == (0, "")


async def test_check_names_each_fix(environment: dict[str, str], peer: HubPeer) -> None:
    peer.world.unknown.add(peer.world.ministry.kid)
    peer.registry = peer.world.signed(1)
    environment["TOPIC_PREFIX"] = "other-"
    code, out, _ = await run_command(environment, "check", "--json")
    wrong = {found["title"]: found["says"] for found in map(json.loads, out.splitlines()) if found["verdict"] != "ok"}
    assert code == 1
    assert wrong.keys() == {"registry entry", "broker", "register"}
    assert "send its public half" in wrong["registry entry"]
    assert "check TOPIC_PREFIX" in wrong["broker"]
    assert "grant SELECT" in wrong["register"]


async def test_check_of_what_cannot_be_reached(environment: dict[str, str]) -> None:
    environment |= {"KAFKA_BOOTSTRAP": "127.0.0.1:1", "REGISTER_URL": "postgresql://nobody:x@127.0.0.1:1/none"}
    code, out, _ = await run_command(environment, "check")
    assert code == 3
    assert "KAFKA_BOOTSTRAP" in out
    assert "REGISTER_URL" in out


def test_nothing_that_ships_arms_a_failpoint() -> None:
    found = subprocess.run(
        ["grep", "-rlE", r"failpoint\.arm|\barm\(", "connectors"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert found.stdout.split() == ["connectors/link/failpoint.py"]
