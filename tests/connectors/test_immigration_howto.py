"""docs/how-to/immigration.md, command by command, and the rotation of docs/how-to/move-a-connector.md."""

import json
from pathlib import Path

import httpx

from contracts.wire.key import PrivateKey
from devstack.ports import find_free_ports
from tests.connectors.engineer import LOAD_SETTINGS, Engineer, Page, read_message
from tests.connectors.immigration_bench import ISSUED
from tests.connectors.parties import HubPeer, World, create_topics, eventually, send
from tests.connectors.serving import served
from tests.connectors.visa_system import VisaSystemPeer
from tests.contracts.root_world import write_registry
from tests.contracts.samples import APPLICATION, NUMBER, SAMPLES

PAGE = Page.read("immigration.md")
MOVING = Page.read("move-a-connector.md")


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
    engineer = Engineer(PAGE, folder, real, door="8093", loads_settings=False)
    await engineer.do("2. Make the keys")
    peer.world.immigration = PrivateKey.from_pem((folder / "keys" / "message.pem").read_bytes())
    peer.world.immigration_api = PrivateKey.from_pem((folder / "keys" / "api.pem").read_bytes())
    register(peer)
    (folder / "root.jwk.json").write_text(json.dumps(peer.world.root.public.jwk))
    await engineer.do("4. Name the offices")
    await engineer.do("5. Write the settings")
    return engineer


async def test_an_engineer_gets_from_nothing_to_a_first_answer(tmp_path: Path, kafka: str, topic_prefix: str) -> None:
    await create_topics(kafka, f"{topic_prefix}from.immigration", f"{topic_prefix}to.immigration")
    system = VisaSystemPeer()
    async with HubPeer(World()).serve() as peer, served(system.app()) as visa_system:
        engineer = await settle_in(tmp_path, peer, kafka, topic_prefix, visa_system)
        assert "Its visa system answers" in " ".join((await engineer.do("6. Check")).split())
        async with engineer.running():
            said = SAMPLES[ISSUED] | {"kanim": "JKT-SELATAN"}
            times = {"subject": APPLICATION, "hub_seq": 1}
            issued = peer.world.word("recommendations", 1, ISSUED, said, **times)
            await send(kafka, f"{topic_prefix}to.immigration", issued, peer.world.heartbeat("to.immigration", 2))

            is_it_valid, look = PAGE.blocks("8. Is it valid now?")

            async def is_valid() -> bool:
                return '"valid"' in await engineer.shell(is_it_valid)

            await eventually(is_valid)
            told = json.loads(await engineer.shell(look))
            assert (told["status"], told["recommendation"]["kanim"]) == ("valid", "JKT-SELATAN")

            async def is_told() -> bool:
                return list(system.taken) == [f"{NUMBER}/1/issued"]

            await eventually(is_told)
            assert json.loads(await engineer.do("9. Answer")) == {"taken": 1, "refused": []}
            answer = await read_message(kafka, f"{topic_prefix}from.immigration")
            assert answer.type == "id.tka.immigration.recommendation.acknowledged.v1"
            assert await engineer.do("10. Alarms") == ""
            async with httpx.AsyncClient() as http:
                page = (await http.get(f"{engineer.address}/status")).text
            assert "jakarta" in page
            assert "Last seen" in page
            await rotate(engineer, peer)


async def rotate(engineer: Engineer, peer: HubPeer) -> None:
    """Change the key for messages while the connector runs."""
    [change] = MOVING.blocks("Change a key")
    command = LOAD_SETTINGS + change.replace("ministry", "immigration")
    waiting = await engineer.shell(command.rstrip() + " --json")
    assert json.loads(waiting)["step"] == "waiting for the registry"
    following = PrivateKey.from_pem((engineer.folder / "keys" / "message.pem.next").read_bytes())
    assert json.loads(waiting)["key"]["kid"] == following.kid
    register(peer, 2, following)
    assert json.loads(await engineer.shell(command.rstrip() + " --json"))["step"] == "finished"
    assert PrivateKey.from_pem((engineer.folder / "keys" / "message.pem").read_bytes()).kid == following.kid
