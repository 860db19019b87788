"""docs/how-to/bank.md, command by command: an engineer who does what it says gets a first payment across."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from connectors.bank import notifications, snap_answer, snap_listener
from connectors.bank.profile import Profile
from contracts.fields import write_digest
from contracts.wire.envelope import Envelope
from contracts.wire.key import PrivateKey
from devstack.ports import find_free_ports
from tests.connectors.engineer import Engineer, Page, read_message
from tests.connectors.parties import BRI_SOURCE, HubPeer, World, create_topics, eventually, send
from tests.contracts.samples import SAMPLES

PAGE = Page.read("bank.md")
CODE = "820260401000017"
OPENED = "id.tka.hub.bill.opened.v1"
DIFFERENCE = "id.tka.hub.difference.opened.v1"


@dataclass
class Exchange:
    """The other side: the hub's API and the topics."""

    peer: HubPeer
    bootstrap: str
    prefix: str

    async def message(self, number: int) -> Envelope:
        """Return the bank's message at this offset, as the broker holds it."""
        return await read_message(self.bootstrap, f"{self.prefix}from.bri", number)

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
    engineer, world = Engineer(PAGE, folder, real, door="8090"), exchange.peer.world
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
    notify, repeats, asking = PAGE.blocks("8. Notify a first payment")
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
        look, drop = PAGE.blocks("9. Drop a first statement")
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


@pytest.mark.needs("curl")
async def test_bank_explains_a_difference(tmp_path: Path, exchange: Exchange) -> None:
    engineer, world = await settle_in(tmp_path, exchange), exchange.peer.world
    token, by_hand, by_system = PAGE.blocks("Explain a difference")
    await engineer.shell(token)
    assert "Differences can be explained" in await engineer.do("6. Check")
    identity = re.findall(r"explain (\S+) --code", by_hand)[0]
    said = {**SAMPLES[DIFFERENCE], "difference_id": identity}
    await exchange.say(world.word("to.bri", 1, DIFFERENCE, said, subject=CODE))
    async with engineer.running():

        async def is_known() -> bool:
            async with httpx.AsyncClient() as http:
                return bool((await http.get(f"{engineer.address}/differences")).json())

        await eventually(is_known)
        assert identity in await engineer.shell(by_hand)
        assert json.loads(await engineer.shell(by_system))["repeated"] is True
        explained = await exchange.message(0)
        assert (explained.type, explained.subject) == ("id.tka.bank.difference.explained.v1", CODE)


def test_the_page_names_every_member_of_a_profile() -> None:
    rows = re.findall(r"^\| (`.*?) \|", PAGE.section("4. Write down how the bank speaks SNAP"), re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`([a-z_]+)`", row)} == set(Profile.model_fields)


@pytest.mark.parametrize("heading", ["Mutual TLS and addresses", "Payments whose fate is unclear"])
def test_the_parts_of_a_profile_on_the_page_are_ones(heading: str) -> None:
    [block] = PAGE.blocks(heading, "json")
    part = json.loads("{" + block + "}")
    Profile.model_validate({"partner_id": "B", "bank_code": "002", "public_key_pem_file": "x", **part})


def test_the_limits_on_the_page_are_the_doors() -> None:
    table = PAGE.section("Response codes")
    for limit in (snap_answer.BODY_BYTES_MAX, snap_answer.HEADERS_BYTES_MAX):
        assert f"{limit:,} bytes" in table
    seconds = f"{snap_listener.HEAD_S_MAX:.0f} seconds for the headers, {notifications.BODY_S_MAX:.0f} for the body"
    assert seconds in table
