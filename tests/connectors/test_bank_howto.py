"""docs/how-to/bank.md, command by command: an engineer who does what it says gets a first payment across."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from connectors.bank import notifications, snap_answer, snap_listener
from connectors.bank.profile import Profile
from contracts.fields import write_digest
from contracts.wire.envelope import Envelope, read_envelope
from contracts.wire.key import PrivateKey
from devstack.ports import find_free_ports
from tests.connectors.parties import BRI_SOURCE, HubPeer, World, create_topics, eventually, send
from tests.contracts.samples import SAMPLES

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "how-to" / "bank.md").read_text(encoding="utf-8")
RUN = "python -m connectors.bank run\n"
CODE = "820260401000017"
OPENED = "id.tka.hub.bill.opened.v1"
LIMIT_S = 60


def section(heading: str) -> str:
    return PAGE.split(f"\n## {heading}", 1)[1].split("\n## ", 1)[0]


def blocks(heading: str, language: str = "sh") -> list[str]:
    """Return the commands below a heading, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", section(heading), re.MULTILINE | re.DOTALL)


@dataclass
class Engineer:
    """Who follows the page in a folder of their own. `real`: the page's example values, and those of this machine."""

    folder: Path
    real: Mapping[str, str]

    @property
    def environment(self) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return {"PATH": path, "PYTHONPATH": str(ROOT), "HOME": str(self.folder)}

    async def do(self, heading: str) -> str:
        """Run the commands below a heading as they stand; return what they print."""
        return "".join([await self.shell(block) for block in blocks(heading)])

    async def shell(self, block: str) -> str:
        # In a thread, since the hub that a command may call is served by this one's loop.
        return await asyncio.to_thread(self._shell, block)

    def _shell(self, block: str) -> str:
        for example, value in self.real.items():
            block = block.replace(example, value)
        settings = "set -eu; set -a; [ ! -f connector.env ] || . ./connector.env; set +a\n"
        command = ["bash", "-c", settings + block]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the connector as the page says, until its door answers; stop it in order afterwards."""
        assert blocks("7. Run") == [RUN]
        settings = "set -a; . ./connector.env; set +a; exec "
        process = await asyncio.create_subprocess_exec(
            "bash", "-c", settings + RUN, cwd=self.folder, env=self.environment, stderr=asyncio.subprocess.DEVNULL
        )
        try:
            await eventually(self._answers)
            yield
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), LIMIT_S) == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def _answers(self) -> bool:
        async with httpx.AsyncClient() as http:
            try:
                return (await http.get(f"http://127.0.0.1:{self.real['8090']}/healthz")).is_success
            except httpx.HTTPError:
                return False


@dataclass
class Exchange:
    """The other side: the hub's API and the topics."""

    peer: HubPeer
    bootstrap: str
    prefix: str

    async def message(self, number: int) -> Envelope:
        """Return the bank's message at this offset, as the broker holds it."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap, auto_offset_reset="earliest")
        await consumer.start()
        try:
            place = TopicPartition(f"{self.prefix}from.bri", 0)
            consumer.assign([place])
            consumer.seek(place, number)
            return read_envelope((await asyncio.wait_for(consumer.getone(place), LIMIT_S)).value)
        finally:
            await consumer.stop()

    async def say(self, *items: Any) -> None:
        await send(self.bootstrap, f"{self.prefix}to.bri", *items)


@pytest.fixture
async def exchange(kafka: str, topic_prefix: str) -> AsyncIterator[Exchange]:
    await create_topics(kafka, f"{topic_prefix}from.bri", f"{topic_prefix}to.bri")
    async with HubPeer(World()).serve() as peer:
        yield Exchange(peer, kafka, topic_prefix)


async def settle_in(folder: Path, exchange: Exchange) -> Engineer:
    """Do what comes before the first run: keys, whose public halves the operator registers, profile, settings."""
    real = {
        "https://hub.example": exchange.peer.url,
        "kafka.example:9092": exchange.bootstrap,
        "TOPIC_PREFIX=\n": f"TOPIC_PREFIX={exchange.prefix}\n",
        "8090": str(find_free_ports(1)[0]),
    }
    engineer, world = Engineer(folder, real), exchange.peer.world
    printed = [json.loads(line) for line in (await engineer.do("2. Make the keys")).splitlines()]
    world.bri = PrivateKey.from_pem((folder / "keys" / "message.pem").read_bytes())
    world.api = PrivateKey.from_pem((folder / "keys" / "api.pem").read_bytes())
    assert [(each["use"], each["kid"]) for each in printed] == [("message", world.bri.kid), ("api", world.api.kid)]
    exchange.peer.registry = world.signed()
    (folder / "root.jwk.json").write_text(json.dumps(world.root.public.jwk))
    await engineer.do("4. Write down how the bank speaks SNAP")
    await engineer.do("5. Write the settings")
    return engineer


def codes(said: str) -> list[str]:
    return re.findall(r'"responseCode":"([0-9]{7})"', said)


@pytest.mark.needs("curl")
async def test_first_messages_of_a_bank(tmp_path: Path, exchange: Exchange) -> None:
    engineer, world = await settle_in(tmp_path, exchange), exchange.peer.world
    await engineer.do("6. Check")
    notify, repeats, asking = blocks("8. Notify a first payment")
    async with engineer.running():
        assert codes(await engineer.shell(notify)) == ["2002500"]
        assert codes(await engineer.shell(repeats)) == ["4042518", "4092500", "2002500"]
        received = await exchange.message(0)
        assert (received.type, received.subject) == ("id.tka.bank.payment.received.v1", CODE)
        told = {"id": received.id, "sha256": write_digest(received.digest), "log_index": 1}
        opened = {**SAMPLES[OPENED], "billing_code": CODE, "expires_at": "2999-01-01T00:00:00Z"}
        bill = world.word("to.bri", 2, OPENED, opened, subject=CODE)
        await exchange.say(world.receipt("to.bri", 1, BRI_SOURCE, accepted=[told]), bill)

        async def is_accepted() -> bool:
            return bool(json.loads(await engineer.shell(asking))["message"] == "accepted")

        await eventually(is_accepted)
        look, drop = blocks("9. Drop a first statement")
        file, transaction = map(json.loads, (await engineer.shell(look)).splitlines())
        assert (file["verdict"], transaction["counts"], transaction["billing_code"]) == ("accepted", "credit", CODE)
        await engineer.shell(drop)
        booked = await exchange.message(1)
        assert (booked.type, booked.subject) == ("id.tka.bank.payment.booked.v1", CODE)
        moved = tmp_path / "statements" / "done" / "day.xml"

        async def is_moved() -> bool:
            return await asyncio.to_thread(moved.exists)

        await eventually(is_moved)
    await engineer.do("Symmetric signatures")
    async with engineer.running():
        [answer] = [await engineer.do("Inquiry before payment")]
        assert codes(answer) == ["2002400"]
        assert json.loads(answer)["virtualAccountData"]["virtualAccountName"] == opened["payer"]


def test_the_page_names_every_member_of_a_profile() -> None:
    rows = re.findall(r"^\| (`.*?) \|", section("4. Write down how the bank speaks SNAP"), re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`([a-z_]+)`", row)} == set(Profile.model_fields)


@pytest.mark.parametrize("heading", ["Mutual TLS and addresses", "Payments whose fate is unclear"])
def test_the_parts_of_a_profile_on_the_page_are_ones(heading: str) -> None:
    [block] = blocks(heading, "json")
    part = json.loads("{" + block + "}")
    Profile.model_validate({"partner_id": "B", "bank_code": "002", "public_key_pem_file": "x", **part})


def test_the_limits_on_the_page_are_the_doors() -> None:
    table = section("Response codes")
    for limit in (snap_answer.BODY_BYTES_MAX, snap_answer.HEADERS_BYTES_MAX):
        assert f"{limit:,} bytes" in table
    seconds = f"{snap_listener.HEAD_S_MAX:.0f} seconds for the headers, {notifications.BODY_S_MAX:.0f} for the body"
    assert seconds in table
