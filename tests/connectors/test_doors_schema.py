"""The Ministry's and Immigration's HTTP doors answer nothing that their documents do not name."""

from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from connectors.immigration.routes import Access, create_router
from connectors.link.clock import utc_now
from connectors.link.spool import Spool
from connectors.ministry.events_door import EventsDoor
from tests.connectors import events_schema, pull_schema
from tests.connectors.exploration import EXAMPLES, explore
from tests.connectors.immigration_bench import opened
from tests.connectors.serving import served
from tests.connectors.test_ministry import AUTHOR
from tests.connectors.test_offices import write_offices
from tests.connectors.visa_system import VisaSystemPeer
from tests.contracts.samples import NUMBER

TOKEN = "t" * 32


@pytest.mark.parametrize("token", [TOKEN, "other"])
async def test_the_ministrys_events(tmp_path: Path, token: str) -> None:
    async with Spool.open(tmp_path / "spool.sqlite", AUTHOR, clock=utc_now) as spool:
        app = FastAPI()
        app.include_router(EventsDoor(spool, AUTHOR, [TOKEN.encode()], CollectorRegistry()).routes())
        async with served(app) as address:
            calls = await explore(address, events_schema.DOCUMENT, {"Authorization": f"Bearer {token}"})
        assert calls >= EXAMPLES
        assert ((await spool.status()).last_sequence > 0) == (token == TOKEN)


async def test_immigrations_questions(tmp_path: Path) -> None:
    peer = VisaSystemPeer()
    offices = write_offices(tmp_path)
    async with opened(tmp_path, ("jakarta", peer), ("bali", peer), offices_file=offices) as bench:
        await bench.beat()
        await bench.desk.handle(bench.recommendation(kanim="DIR"))
        app = FastAPI()
        access = Access(None, loopback=True)
        app.include_router(create_router(bench.desk, bench.standings, bench.offices, access, bench.clock))
        async with served(app) as address, httpx.AsyncClient(base_url=address) as http:
            assert await explore(address, pull_schema.DOCUMENT) >= EXAMPLES
            assert (await http.get(f"/recommendations/{NUMBER}")).json()["status"] == "valid"
