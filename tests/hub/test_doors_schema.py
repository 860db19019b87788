"""The hub's API answers nothing that the document which it publishes of itself does not name."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from hub.health import Health
from hub.lookups import Register
from hub.store import outbox
from hub.trust import RegistryInForce
from hub.web import asyncapi, facts, inquiries, live, log, machines, probes, register, tokens
from hub.web.access import Guard
from hub.web.counter import Counter
from hub.web.pages.staff import Office
from hub.web.people import People
from tests.connectors.exploration import EXAMPLES, explore
from tests.connectors.serving import served
from tests.docs.api_documents import write_openapi
from tests.hub.log_bench import Bench, open_bench, running
from tests.hub.test_web import API_URL, Door
from tests.hub.world import fill_outbox

pytestmark = pytest.mark.anyio
# What no generator guesses, and where the answer is more than a refusal.
KNOWN: dict[str, list[Any]] = {
    "source": ["https://bri.example/tka", "https://other.example/tka"],
    "topic": ["to.bri", "recommendations", "from.bri"],
    "partition": [0, 1],
    "place": ["0/000.p/3", "entries/000.p/3", "1/000", "entries/000"],
}


@pytest.fixture
async def bench(database: str, tmp_path: Path) -> AsyncIterator[Bench]:
    """Give an exchange with a signed log of three leaves, and a message for the bank."""
    async with open_bench(database, tmp_path) as opened:
        await opened.add(2)
        async with running(opened.sequencer()):
            await opened.cosigned(3)
        await fill_outbox(database, "to.bri", 0, 2)
        async with opened.database.connection() as connection:
            signatures = [outbox.StoredSignature(seq, f"h..s{seq}", None) for seq in (1, 2)]
            await outbox.store_signatures(connection, "to.bri", {0: signatures})
            await outbox.note_positions(connection, "to.bri", {0: 2})
        yield opened


def with_known(document: dict[str, Any]) -> dict[str, Any]:
    """Let the generator also choose what this exchange holds."""
    for path in document["paths"].values():
        for parameter in path.get("get", {}).get("parameters", []):
            if parameter["in"] == "path":
                parameter["schema"] = {"anyOf": [{"enum": KNOWN[parameter["name"]]}, parameter["schema"]]}
    return document


@pytest.mark.parametrize("authentic", [True, False])
async def test_the_hubs_api(bench: Bench, authentic: bool) -> None:
    health, in_force = Health(), RegistryInForce(bench.world.root.public)
    counter = Counter(bench.database)
    guard, people = Guard(bench.database, in_force, API_URL, None), People(bench.database, secure=True)
    routers = [
        machines.create_router(bench.database, in_force, guard),
        tokens.create_router(bench.database, in_force, guard),
        log.create_router(bench.database, in_force),
        facts.create_router(bench.database, guard, counter),
        register.create_router(bench.database, guard),
        inquiries.create_router(
            bench.database, guard, Office(bench.database, in_force), Register(bench.database, None)
        ),
        live.create_router(live.Gallery(counter, people), people),
        asyncapi.create_router(bench.database, in_force, ""),
    ]
    app = probes.create_app(health, *routers)
    async with served(app) as address, httpx.AsyncClient(base_url=address) as http:
        door = Door(bench.dsn, bench.database, bench.world, bench.registry, health, http)
        document = with_known((await http.get("/api/v1/openapi.json")).json())
        assert set(document["paths"]) == set(json.loads(write_openapi())["paths"])

        def make_headers() -> dict[str, str]:
            return {"Authorization": f"Bearer {door.assertion(bench.world.bank_api)}"} if authentic else {}

        assert await explore(address, document, make_headers) >= EXAMPLES
        answer = await http.get("/api/v1/streams/to.bri/0", headers=make_headers())
        assert answer.status_code == (200 if authentic else 401)
