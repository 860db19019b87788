"""docs/how-to/immigration.md, command by command, and the rotation of docs/how-to/move-a-connector.md."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import httpx
from aiokafka import AIOKafkaConsumer, TopicPartition

from contracts.registry import write_registry
from contracts.wire.envelope import read_envelope
from contracts.wire.key import PrivateKey
from devstack.ports import find_free_ports
from tests.connectors.immigration_bench import ISSUED
from tests.connectors.parties import HubPeer, World, create_topics, eventually, send
from tests.connectors.serving import served
from tests.connectors.visa_system import VisaSystemPeer
from tests.contracts.samples import APPLICATION, NUMBER, SAMPLES

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "how-to" / "immigration.md").read_text(encoding="utf-8")
MOVING = (ROOT / "docs" / "how-to" / "move-a-connector.md").read_text(encoding="utf-8")
COMMAND_LIMIT_S = 60


def block(page: str, heading: str, number: int = 0) -> str:
    """Return a shell block below a heading."""
    section = page.split(f"\n## {heading}", 1)[1].split("\n## ", 1)[0]
    found: list[str] = re.findall(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    return found[number]


class Engineer:
    """Who follows the page in a folder of their own; `real` are this machine's values for the page's examples."""

    def __init__(self, folder: Path, real: dict[str, str]) -> None:
        self.folder = folder
        self.real = real
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.environment = {"PATH": path, "PYTHONPATH": str(ROOT), "HOME": str(folder)}

    async def do(self, heading: str, number: int = 0) -> str:
        """Run a block of the page; return what it prints."""
        return await self.shell(block(PAGE, heading, number))

    async def shell(self, text: str) -> str:
        for example, value in self.real.items():
            text = text.replace(example, value)
        # In a thread, since the hub that the command may call is served by this one's loop.
        return await asyncio.to_thread(self._shell, text)

    def _shell(self, text: str) -> str:
        done = subprocess.run(
            ["bash", "-ceu", text],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_LIMIT_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Run the connector as the page says; give the address of its door."""
        settings = "set -a; . ./connector.env; set +a; exec "
        address = f"http://127.0.0.1:{self.real['8093']}"
        with (self.folder / "log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *("bash", "-c", settings + block(PAGE, "7. Run")), cwd=self.folder, env=self.environment, stderr=log
            )
        try:
            await eventually(partial(_answers, address))
            yield address
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), COMMAND_LIMIT_S) == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def _answers(address: str) -> bool:
    async with httpx.AsyncClient() as http:
        try:
            return (await http.get(f"{address}/healthz")).is_success
        except httpx.HTTPError:
            return False


def register(peer: HubPeer, version: int = 1, *more: PrivateKey) -> None:
    """Put Immigration's keys and topics into the registry."""
    world = peer.world
    document = world.document(version)
    document["topics"] |= {"from.immigration": 1, "to.immigration": 1}
    [entry] = [one for one in document["participants"] if one["id"] == "immigration"]
    entry["keys"] = world._keys((world.immigration, "message"), (world.immigration_api, "api"),
                                *((key, "message") for key in more))  # fmt: skip
    peer.registry = write_registry(document, world.root)


async def settle_in(folder: Path, peer: HubPeer, bootstrap: str, prefix: str, visa_system: str) -> Engineer:
    real = {
        "https://hub.example": peer.url,
        "kafka.example:9092": bootstrap,
        "TOPIC_PREFIX=\n": f"TOPIC_PREFIX={prefix}\n",
        "8093": str(find_free_ports(1)[0]),
        "https://visa.jakarta.example": visa_system,
        "RPTKA/2026/000017": APPLICATION,
        "TKA-0123456789AB": NUMBER,
    }
    engineer = Engineer(folder, real)
    await engineer.do("2. Make the keys")
    peer.world.immigration = PrivateKey.from_pem((folder / "keys" / "message.pem").read_bytes())
    peer.world.immigration_api = PrivateKey.from_pem((folder / "keys" / "api.pem").read_bytes())
    register(peer)
    (folder / "root.jwk.json").write_text(json.dumps(peer.world.root.public.jwk))
    await engineer.do("4. Name the offices")
    await engineer.do("5. Write the settings")
    return engineer


async def first_message(bootstrap: str, topic: str) -> str:
    """Return the type of the first message on a topic."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        place = TopicPartition(topic, 0)
        consumer.assign([place])
        consumer.seek(place, 0)
        record = await asyncio.wait_for(consumer.getone(place), COMMAND_LIMIT_S)
        return read_envelope(record.value).type
    finally:
        await consumer.stop()


async def test_an_engineer_gets_from_nothing_to_a_first_answer(tmp_path: Path, kafka: str, topic_prefix: str) -> None:
    await create_topics(kafka, f"{topic_prefix}from.immigration", f"{topic_prefix}to.immigration")
    system = VisaSystemPeer()
    async with HubPeer(World()).serve() as peer, served(system.app()) as visa_system:
        engineer = await settle_in(tmp_path, peer, kafka, topic_prefix, visa_system)
        assert "Its visa system answers" in " ".join((await engineer.do("6. Check")).split())
        async with engineer.running() as address:
            said = SAMPLES[ISSUED] | {"kanim": "JKT-SELATAN"}
            times = {"subject": APPLICATION, "hub_seq": 1}
            issued = peer.world.word("recommendations", 1, ISSUED, said, **times)
            await send(kafka, f"{topic_prefix}to.immigration", issued, peer.world.heartbeat("to.immigration", 2))

            async def is_valid() -> bool:
                return '"valid"' in await engineer.do("8. Is it valid now?")

            await eventually(is_valid)
            told = json.loads(await engineer.do("8. Is it valid now?", 1))
            assert (told["status"], told["recommendation"]["kanim"]) == ("valid", "JKT-SELATAN")

            async def is_told() -> bool:
                return list(system.taken) == [f"{NUMBER}/1/issued"]

            await eventually(is_told)
            assert json.loads(await engineer.do("9. Answer")) == {"taken": 1, "refused": []}
            kind = await first_message(kafka, f"{topic_prefix}from.immigration")
            assert kind == "id.tka.immigration.recommendation.acknowledged.v1"
            assert await engineer.do("10. Alarms") == ""
            async with httpx.AsyncClient() as http:
                page = (await http.get(f"{address}/status")).text
            assert "jakarta" in page
            assert "Last seen" in page
            await rotate(engineer, peer, address)


async def rotate(engineer: Engineer, peer: HubPeer, address: str) -> None:
    """Change the key for messages while the connector runs."""
    command = "set -a; . ./connector.env; set +a\n" + block(MOVING, "Change a key").replace("ministry", "immigration")
    waiting = await engineer.shell(command.rstrip() + " --json")
    assert json.loads(waiting)["step"] == "waiting for the registry"
    following = PrivateKey.from_pem((engineer.folder / "keys" / "message.pem.next").read_bytes())
    assert json.loads(waiting)["key"]["kid"] == following.kid
    register(peer, 2, following)
    assert json.loads(await engineer.shell(command.rstrip() + " --json"))["step"] == "finished"
    assert PrivateKey.from_pem((engineer.folder / "keys" / "message.pem").read_bytes()).kid == following.kid
