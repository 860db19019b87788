"""What the hub tells a connector of its own source: how far it is, and which messages it has accepted."""

import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

import httpx
import pytest

from contracts.wire import base64url
from contracts.wire.key import PrivateKey
from hub.health import Health
from hub.trust import RegistryInForce
from hub.web import machines, probes
from hub.web.access import Guard
from tests.hub.exchange import CODE, Exchange

API_URL = "https://hub.example"


@dataclass
class Door:
    """The API over an exchange in which the bank has an API key."""

    exchange: Exchange
    client: httpx.AsyncClient
    key: PrivateKey

    async def get(self, path: str, source: str = "https://bri.example/tka", **query: int) -> httpx.Response:
        """Ask as the bank."""
        claims = {"iss": "bri", "sub": "bri", "aud": API_URL, "jti": str(uuid.uuid4())}
        claims["exp"] = int(datetime.now(UTC).timestamp()) + 50  # type: ignore[assignment]
        header = {"alg": self.key.alg, "kid": self.key.kid, "typ": "JWT"}
        parts = [base64url.encode(json.dumps(part).encode()) for part in (header, claims)]
        token = ".".join([*parts, base64url.encode(self.key.sign(".".join(parts).encode()))])
        address = f"/api/v1/sources/{quote(source, safe='')}/{path}"
        return await self.client.get(address, params=query, headers={"Authorization": f"Bearer {token}"})


@pytest.fixture
async def door(database: str) -> AsyncIterator[Door]:
    exchange, key = await Exchange.open(database), PrivateKey.generate("ES256")
    bri = next(one for one in exchange.participants() if one["id"] == "bri")
    api = {"jwk": key.public.jwk, "use": "api", "nbf": "2020-01-01T00:00:00Z", "exp": "2099-01-01T00:00:00Z"}
    await exchange.register({"participants": [bri | {"keys": [*bri["keys"], api]}]})
    in_force = RegistryInForce(exchange.root.public)
    router = machines.create_router(
        exchange.database, in_force, Guard(exchange.database, in_force, API_URL, None)
    )  # fmt: skip
    transport = httpx.ASGITransport(probes.create_app(Health(), router), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=API_URL) as client:
        yield Door(exchange, client, key)
    await exchange.database.close()


async def test_a_source_of_which_nothing_came(door: Door) -> None:
    told = (await door.get("progress")).json()
    assert (told["last_sequence"], told["taken"], told["deferred"]) == (0, [], 0)
    assert (await door.get("accepted")).json() == {"source": "https://bri.example/tka", "messages": []}


async def test_progress_and_accepted_messages_page_by_page(door: Door) -> None:
    bri = door.exchange.bri
    values = [bri.paid() for _ in range(4)]
    await door.exchange.take(*[bri.sign(value) for value in values])
    await door.exchange.take(bri.sign(values[0]), bri.sign(values[1]))
    told = (await door.get("progress")).json()
    assert (told["topic"], told["last_sequence"], told["taken"]) == ("from.bri", 4, [{"partition": 0, "next": 6}])
    first = (await door.get("accepted", limit=3)).json()["messages"]
    second = (await door.get("accepted", after=first[-1]["sequence"])).json()["messages"]
    assert [one["sequence"] for one in first + second] == [1, 2, 3, 4]
    assert [one["id"] for one in first + second] == [json.loads(value)["id"] for value in values]
    assert all(len(base64url.decode(one["sha256"].encode()) or b"") == 32 for one in first + second)
    assert CODE not in json.dumps(first)


async def test_what_waits_to_be_judged_is_counted(door: Door) -> None:
    bri = door.exchange.bri
    bri.key = PrivateKey.generate("Ed25519")
    await door.exchange.take(bri.sign(bri.paid()))
    assert (await door.get("progress")).json()["deferred"] == 1


@pytest.mark.parametrize("path", ["progress", "accepted"])
async def test_only_the_owner_of_a_source_is_told(door: Door, path: str) -> None:
    for source in ("https://mandiri.example/tka", "https://nobody.example/tka"):
        refused = await door.get(path, source)
        assert (refused.status_code, refused.json()["type"].rsplit("/", 1)[1]) == (403, "source-not-owned")
    address = f"/api/v1/sources/{quote('https://bri.example/tka', safe='')}/{path}"
    assert (await door.client.get(address)).status_code == 401


async def test_a_page_has_a_limit(door: Door) -> None:
    assert (await door.get("accepted", limit=1_001)).status_code == 400
    assert (await door.get("accepted", after=-1)).status_code == 400
