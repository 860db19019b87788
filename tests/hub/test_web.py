"""The machines' API over the real database: who may read what, with which assertion, and how errors look."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from contracts.registry import Registry
from contracts.wire import base64url
from contracts.wire.key import PrivateKey
from contracts.wire.signature import VerifiedRoots, verify_signature
from hub.health import Health
from hub.release import Signer
from hub.store import assertions, outbox, schema
from hub.store.database import Database
from hub.trust import RegistryInForce
from hub.web import machines, probes, tokens
from hub.web.access import Guard
from tests.hub.world import World, fill_outbox

pytestmark = pytest.mark.anyio
API_URL = "https://hub.example"


@dataclass
class Door:
    """The API of one test, its exchange, and a client."""

    dsn: str
    database: Database
    world: World
    registry: Registry
    health: Health
    client: httpx.AsyncClient

    def assertion(self, key: PrivateKey, participant: str = "bri", **others: Any) -> str:
        """Return a client assertion; `others` replace claims (None removes) or, by `header_`, header members."""
        now = int(datetime.now(UTC).timestamp())
        claims = {"iss": participant, "sub": participant, "aud": API_URL, "exp": now + 50, "jti": str(uuid4())}
        header = {"alg": key.alg, "kid": key.kid, "typ": "JWT"}
        for name, value in others.items():
            target, member = (header, name[7:]) if name.startswith("header_") else (claims, name)
            target[member] = value
        return sign(key, header, {name: value for name, value in claims.items() if value is not None})

    async def get(self, stream: str, assertion: str, **query: int) -> httpx.Response:
        """Read a stream."""
        headers = {"Authorization": f"Bearer {assertion}"}
        return await self.client.get(f"/api/v1/streams/{stream}", params=query, headers=headers)


def sign(key: PrivateKey, header: dict[str, Any], claims: dict[str, Any]) -> str:
    """Return a compact JWS with its payload attached."""
    parts = [base64url.encode(json.dumps(part).encode()) for part in (header, claims)]
    return ".".join([*parts, base64url.encode(key.sign(".".join(parts).encode()))])


@pytest.fixture
async def door(database: str) -> AsyncIterator[Door]:
    """Give the API over a migrated database with a registry in force."""
    await schema.migrate(database)
    opened, world, health = await Database.open(database), World(), Health()
    registry = await world.put_in_force(opened)
    in_force = RegistryInForce(world.root.public)
    guard = Guard(opened, in_force, API_URL, None)
    routers = [machines.create_router(opened, in_force, guard), tokens.create_router(opened, in_force, guard)]
    transport = httpx.ASGITransport(probes.create_app(health, *routers), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=API_URL) as client:
        yield Door(database, opened, world, registry, health, client)
    await opened.close()


async def release(door: Door, topic: str, count: int) -> None:
    """Put signed messages on partition 0 of a topic, as the relay leaves them."""
    await fill_outbox(door.dsn, topic, 0, count)
    signatures = [outbox.StoredSignature(seq, f"h..s{seq}", None) for seq in range(1, count + 1)]
    async with door.database.connection() as connection:
        await outbox.store_signatures(connection, topic, {0: signatures})
        await outbox.note_positions(connection, topic, {0: count})


async def test_the_registry_is_given_as_it_was_signed(door: Door) -> None:
    answer = await door.client.get("/api/v1/registry")
    assert answer.headers["content-type"] == "application/jose+json"
    assert Registry.read(answer.content, door.world.root.public).version == door.registry.version


async def test_a_participant_reads_its_own_stream_page_by_page(door: Door) -> None:
    await release(door, "to.bri", 5)
    first = (await door.get("to.bri/0", door.assertion(door.world.bank_api), limit=3)).json()
    second = (await door.get("to.bri/0", door.assertion(door.world.bank_api), after=3)).json()
    assert (first["topic"], first["partition"], first["last"], second["last"]) == ("to.bri", 0, 5, 5)
    assert [record["seq"] for record in first["records"] + second["records"]] == [1, 2, 3, 4, 5]
    headers = dict(first["records"][0]["headers"])
    assert headers["jws"] == "h..s1"
    assert headers["hub-seq"] == "1"
    assert headers["content-type"] == "application/cloudevents+json; charset=UTF-8"
    assert base64url.decode(first["records"][0]["value"].encode()) is not None


async def test_what_the_relay_has_not_released_is_not_given(door: Door) -> None:
    await fill_outbox(door.dsn, "to.bri", 0, 3)
    answer = (await door.get("to.bri/0", door.assertion(door.world.bank_api))).json()
    assert (answer["last"], answer["records"]) == (0, [])


async def test_an_archived_record_verifies_like_the_one_from_kafka(door: Door) -> None:
    await fill_outbox(door.dsn, "to.bri", 0, 3)
    signer = Signer(door.world.hub)
    signer.use(door.registry)
    async with door.database.connection() as connection:
        await signer.sign_streams(connection, "to.bri", await outbox.read_streams(connection, "to.bri", {0: 0}, 10))
        await outbox.note_positions(connection, "to.bri", {0: 3})
    answer = (await door.get("to.bri/0", door.assertion(door.world.bank_api))).json()
    keys, roots = {door.world.hub.kid: door.world.hub.public}, VerifiedRoots()
    for record in answer["records"]:
        value = base64url.decode(record["value"].encode())
        headers = tuple((name, text.encode()) for name, text in record["headers"])
        assert value is not None
        assert verify_signature(value, headers, keys.get, roots).typ == "tkahub-batch+jws"


async def test_recommendations_need_a_grant(door: Door) -> None:
    await release(door, "recommendations", 1)
    granted = await door.get("recommendations/0", door.assertion(door.world.immigration_api, "immigration"))
    refused = await door.get("recommendations/0", door.assertion(door.world.bank_api))
    assert [record["seq"] for record in granted.json()["records"]] == [1]
    assert (refused.status_code, refused.json()["type"].rpartition("/")[2]) == (403, "stream-not-granted")


async def test_no_other_stream_is_given(door: Door) -> None:
    for stream in ("to.immigration/0", "from.bri/0", "to.nobody/0", "recommendations/0"):
        answer = await door.get(stream, door.assertion(door.world.bank_api))
        assert answer.status_code == 403, stream
        assert answer.headers["content-type"] == "application/problem+json"


async def test_a_partition_that_is_not_there_is_not_found(door: Door) -> None:
    assert (await door.get("to.bri/9", door.assertion(door.world.bank_api))).status_code == 404


async def test_an_assertion_is_good_for_one_request(door: Door) -> None:
    assertion = door.assertion(door.world.bank_api)
    assert (await door.get("to.bri/0", assertion)).status_code == 200
    again = await door.get("to.bri/0", assertion)
    assert (again.status_code, again.json()["type"].rpartition("/")[2]) == (401, "assertion-replayed")
    assert again.headers["www-authenticate"] == 'Bearer error="invalid_token"'


async def test_two_participants_may_use_the_same_jti(door: Door) -> None:
    for key, participant in ((door.world.bank_api, "bri"), (door.world.immigration_api, "immigration")):
        answer = await door.get(f"to.{participant}/0", door.assertion(key, participant, jti="same"))
        assert answer.status_code == 200


async def test_without_an_assertion_nothing_is_said(door: Door) -> None:
    answer = await door.client.get("/api/v1/streams/to.bri/0")
    assert answer.json()["type"].endswith("/assertion-missing")


async def test_a_parameter_out_of_range_is_named_and_not_repeated(door: Door) -> None:
    for name, value in (("after", -1), ("limit", 0), ("limit", 10_000), ("after", 2**63)):
        answer = await door.get("to.bri/0", door.assertion(door.world.bank_api), **{name: value})
        assert (answer.status_code, answer.json()["type"].rpartition("/")[2]) == (400, "request-invalid")
        assert answer.json()["detail"].endswith(f"{name}.")
        assert f"{value}." not in answer.text


async def test_an_unknown_path_is_a_problem_too(door: Door) -> None:
    answer = await door.client.get("/api/v1/L898902C36")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert "L898902C36" not in answer.text
    assert "L898902C36" not in (await door.client.get("/metrics")).text


async def test_every_answer_carries_the_security_headers(door: Door) -> None:
    for path in ("/healthz", "/metrics", "/api/v1/registry", "/api/v1/streams/to.bri/0", "/nowhere"):
        headers = (await door.client.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert headers["cache-control"] == "no-store"


async def test_readiness_says_what_is_wrong_and_liveness_does_not_mind(door: Door) -> None:
    assert (await door.client.get("/readyz")).json() == {"status": "ok", "problems": {}, "notes": {}}
    door.health.report("relay to.bri", "The proof is missing.")
    answer = await door.client.get("/readyz")
    assert (answer.status_code, answer.json()["problems"]) == (503, {"relay to.bri": "The proof is missing."})
    assert (await door.client.get("/healthz")).status_code == 200


async def test_a_database_that_is_gone_is_a_503(door: Door) -> None:
    await door.database.close()
    answer = await door.client.get("/api/v1/registry")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


async def test_expired_assertions_are_forgotten(door: Door) -> None:
    now = datetime.now(UTC)
    async with door.database.connection() as connection:
        await assertions.spend(connection, "old", now - timedelta(minutes=2))
        await assertions.spend(connection, "new", now + timedelta(minutes=1))
        await assertions.forget_expired(connection, now)
        assert await assertions.spend(connection, "old", now)
        assert not await assertions.spend(connection, "new", now)
