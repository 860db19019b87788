"""docs/how-to/ministry.md, command by command: an engineer who does what it says gets a first message across."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from connectors.ministry.translate import KINDS
from contracts.fields import write_digest
from contracts.wire.envelope import Envelope
from contracts.wire.key import PrivateKey
from devstack.ports import find_free_ports
from tests.connectors.engineer import Engineer, Page, read_message
from tests.connectors.mariadb import Mariadb
from tests.connectors.parties import MINISTRY_SOURCE, HubPeer, World, create_topics, eventually, send
from tests.connectors.test_ministry_outcomes import Endpoint

PAGE = Page.read("ministry.md")


@pytest.fixture
async def peer() -> AsyncIterator[HubPeer]:
    async with HubPeer(World()).serve() as peer:
        yield peer


@dataclass
class Exchange:
    """The other side: the hub's API and the topics."""

    peer: HubPeer
    bootstrap: str
    prefix: str

    async def first_message(self, number: int = 0) -> Envelope:
        """Return the ministry's message at this offset, as the broker holds it."""
        return await read_message(self.bootstrap, f"{self.prefix}from.ministry", number)

    async def say(self, *items: Any) -> None:
        await send(self.bootstrap, f"{self.prefix}to.ministry", *items)


@pytest.fixture
async def exchange(peer: HubPeer, kafka: str, topic_prefix: str) -> Exchange:
    await create_topics(kafka, f"{topic_prefix}from.ministry", f"{topic_prefix}to.ministry")
    return Exchange(peer, kafka, topic_prefix)


async def settle_in(folder: Path, exchange: Exchange, **real: str) -> Engineer:
    """Do what comes before the register: keys, whose public halves the operator registers, and the root's key."""
    examples = {
        "https://hub.example": exchange.peer.url,
        "kafka.example:9092": exchange.bootstrap,
        "TOPIC_PREFIX=\n": f"TOPIC_PREFIX={exchange.prefix}\n",
        "8090": str(find_free_ports(1)[0]),
    }
    engineer = Engineer(PAGE, folder, examples | real, door="8090")
    printed = [json.loads(line) for line in (await engineer.do("2. Make the keys")).splitlines()]
    world = exchange.peer.world
    world.ministry = PrivateKey.from_pem((folder / "keys" / "message.pem").read_bytes())
    world.ministry_api = PrivateKey.from_pem((folder / "keys" / "api.pem").read_bytes())
    assert [(each["use"], each["kid"]) for each in printed] == [
        ("message", world.ministry.kid),
        ("api", world.ministry_api.kid),
    ]
    exchange.peer.registry = world.signed()
    (folder / "root.jwk.json").write_text(json.dumps(world.root.public.jwk))
    await engineer.do("5. Write the settings")
    return engineer


async def run_sql(connection: "asyncpg.Connection[Any]", engineer: Engineer, heading: str) -> list[dict[str, Any]]:
    """Run the SQL below a heading; return the rows of the last statement."""
    rows: list[dict[str, Any]] = []
    for block in PAGE.blocks(heading, "sql"):
        rows = [dict(row) for row in await connection.fetch(engineer.really(block))] if "SELECT kind" in block else []
        if not rows and "SELECT kind" not in block:
            await connection.execute(engineer.really(block))
    return rows


@pytest.fixture
async def owner(database: str) -> AsyncIterator["asyncpg.Connection[Any]"]:
    connection = await asyncpg.connect(database)
    yield connection
    role = urlsplit(database).path.strip("/") + "_tka"
    await connection.execute(f'DROP OWNED BY "{role}"')
    await connection.execute(f'DROP ROLE "{role}"')
    await connection.close()


@pytest.mark.needs("curl")
async def test_first_message_from_postgresql(
    tmp_path: Path, exchange: Exchange, database: str, owner: "asyncpg.Connection[Any]"
) -> None:
    parts = urlsplit(database)
    role = parts.path.strip("/") + "_tka"
    url = f"postgresql://{role}:secret@{parts.hostname}:{parts.port}{parts.path}"
    real = {"postgresql://tka_connector:secret@db.example/register": url, "tka_connector": role}
    engineer = await settle_in(tmp_path, exchange, **real)
    await run_sql(owner, engineer, "4. Make the tables")
    await engineer.do("6. Check")
    async with engineer.running():
        await run_sql(owner, engineer, "8. Tell a first fact")
        envelope = await exchange.first_message()
        assert (envelope.type, envelope.subject) == ("id.tka.ministry.permit.completed.v1", "RPTKA/2026/000001")
        told = {"id": envelope.id, "sha256": write_digest(envelope.digest), "log_index": 1}
        world = exchange.peer.world
        receipt = world.receipt("to.ministry", 1, MINISTRY_SOURCE, accepted=[told])
        await exchange.say(receipt, world.outcome("to.ministry", 2))

        async def is_accepted() -> bool:
            return "1" in re.findall(r'"accepted":(\d+)', await engineer.do("8. Tell a first fact"))

        async def is_told() -> bool:
            rows = await run_sql(owner, engineer, "9. Read what comes back")
            return [row["kind"] for row in rows] == ["PEMBAYARAN"]

        await eventually(is_accepted)
        await eventually(is_told)


@pytest.mark.needs("mariadb")
async def test_first_message_from_a_register_that_exists_already(
    tmp_path: Path, exchange: Exchange, mariadb_server: Mariadb
) -> None:
    heading = "A register that exists already"
    await mariadb_server.wait_until_ready()
    url = mariadb_server.url("tka_connector", "secret", "register")
    real = {"mariadb://tka_connector:secret@db.example:3306/register": url}
    engineer = await settle_in(tmp_path, exchange, **real)
    tables, row = PAGE.blocks(heading, "sql")
    await mariadb_server.execute("CREATE DATABASE register")
    await mariadb_server.execute(*filter(str.strip, tables.split(";")), database="register")
    await engineer.do(heading)
    async with engineer.running():
        await mariadb_server.execute(row.rstrip().rstrip(";"), database="register")
        envelope = await exchange.first_message()
        assert (envelope.type, envelope.subject) == ("id.tka.ministry.permit.completed.v1", "RPTKA/2026/000001")
        assert envelope.data["position_level"] == "manager"


@pytest.mark.needs("curl")
async def test_first_messages_by_call_and_by_file(tmp_path: Path, exchange: Exchange) -> None:
    async with Endpoint().serve() as endpoint:
        example = "REGISTER_URL=postgresql://tka_connector:secret@db.example/register\n"
        webhook = {"https://permits.ministry.example/outcomes": endpoint.url, example: ""}
        engineer = await settle_in(tmp_path, exchange, **webhook)
        token, call = PAGE.blocks("Systems without a table")
        folder, file = PAGE.blocks("Offices with only files")
        await engineer.shell(token + folder)
        await engineer.do("Outcomes by webhook")
        await engineer.do("6. Check")
        async with engineer.running():
            assert json.loads(await engineer.shell(call))["repeated"] is False
            assert json.loads(await engineer.shell(call))["repeated"] is True
            await engineer.shell(file)
            types = {(await exchange.first_message(number)).type for number in range(2)}
            assert types == {"id.tka.ministry.permit.worker_verified.v1", "id.tka.ministry.billing.cancelled.v1"}
            manifest = tmp_path / "inbox" / "done" / "permits.csv.manifest.json"

            async def is_moved() -> bool:
                return await asyncio.to_thread(manifest.exists)

            await eventually(is_moved)


def test_page_names_every_kind() -> None:
    section = PAGE.text.split("\n## Kinds", 1)[1]
    assert set(re.findall(r"`([A-Z][A-Z_]+)`", section)) == KINDS
