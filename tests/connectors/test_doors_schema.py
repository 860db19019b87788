"""The Ministry's, Immigration's and every connector's own HTTP doors answer nothing outside their documents."""

from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry

from connectors.immigration.routes import Access, create_router
from connectors.link.broker import Broker
from connectors.link.clock import utc_now
from connectors.link.delivery import Delivered
from connectors.link.door import build_app, open_door
from connectors.link.hub_client import HubClient
from connectors.link.metrics import LinkMetrics
from connectors.link.spool import Spool
from connectors.link.status import Shown, StatusBoard, Table
from connectors.link.stream_reader import Surroundings
from connectors.link.subscriber import Subscriber
from connectors.link.trust import Trust
from connectors.ministry.events_door import EventsDoor
from tests.connectors import bank_door_schema, events_schema, pull_schema, service_schema
from tests.connectors.exploration import EXAMPLES, explore
from tests.connectors.immigration_bench import opened
from tests.connectors.parties import AUTHOR as BANK
from tests.connectors.parties import HubPeer, World, payment
from tests.connectors.serving import served
from tests.connectors.test_bank_explain import OPENED, open_bench
from tests.connectors.test_ministry import AUTHOR
from tests.connectors.test_offices import write_offices
from tests.connectors.visa_system import VisaSystemPeer
from tests.contracts.samples import NUMBER

TOKEN = "t" * 32


@pytest.mark.parametrize("token", [TOKEN, "other"])
async def test_the_ministrys_events(tmp_path: Path, token: str) -> None:
    async with Spool.open(tmp_path / "spool.sqlite", AUTHOR, clock=utc_now) as spool:
        app = open_door()
        app.include_router(EventsDoor(spool, AUTHOR, [TOKEN.encode()], CollectorRegistry()).routes())
        async with served(app) as address:
            calls = await explore(address, events_schema.DOCUMENT, lambda: {"Authorization": f"Bearer {token}"})
        assert calls >= EXAMPLES
        assert ((await spool.status()).last_sequence > 0) == (token == TOKEN)


@pytest.mark.parametrize("token", [TOKEN, "other"])
async def test_a_banks_own_door(tmp_path: Path, token: str) -> None:
    async with open_bench(tmp_path) as bench:
        await bench.tell(OPENED)
        address, document = str(bench.http.base_url), bank_door_schema.DOCUMENT
        calls = await explore(address, document, lambda: {"Authorization": f"Bearer {token}"})
        assert calls >= EXAMPLES
        assert bool(await bench.stored()) == (token == TOKEN)


async def test_immigrations_questions(tmp_path: Path) -> None:
    peer = VisaSystemPeer()
    offices = write_offices(tmp_path)
    async with opened(tmp_path, ("jakarta", peer), ("bali", peer), offices_file=offices) as bench:
        await bench.beat()
        await bench.desk.handle(bench.recommendation(kanim="DIR"))
        app = open_door()
        access = Access(None, loopback=True)
        app.include_router(create_router(bench.desk, bench.standings, bench.offices, access, bench.clock))
        async with served(app) as address, httpx.AsyncClient(base_url=address) as http:
            assert await explore(address, pull_schema.DOCUMENT) >= EXAMPLES
            assert (await http.get(f"/recommendations/{NUMBER}")).json()["status"] == "valid"


async def take_nothing(delivered: Delivered) -> None:
    """Stand for an agency's code, which is not asked here."""
    raise AssertionError(delivered)


async def show_something() -> Shown:
    """Show what an agency may, with signs that mean something in HTML."""
    return Shown(("Look at <this>.",), (Table("Offices & queues", ("name",), (("<script>",),)),))


async def test_a_connectors_own_door(tmp_path: Path) -> None:
    async with (
        HubPeer(World()).serve() as peer,
        httpx.AsyncClient() as http,
        Spool.open(tmp_path / "spool.sqlite", BANK) as spool,
    ):
        hub, metrics = HubClient(http, peer.url, "bri", peer.world.api), LinkMetrics()
        trust = Trust(tmp_path / "registry.jws", peer.world.root.public, hub.registry)
        await trust.refresh()
        broker = Broker("127.0.0.1:1", "", "test")
        around = Surroundings(spool, trust, hub, broker, take_nothing, metrics, BANK.source, utc_now)
        subscriber = Subscriber(("to.bri",), around)
        await spool.put([payment(1)])
        metrics.see("hub", utc_now())
        board = StatusBoard("bri", spool, trust, metrics, subscriber, utc_now, show_something)
        async with served(build_app(board, metrics, None)) as address:
            assert await explore(address, service_schema.DOCUMENT) >= len(service_schema.DOCUMENT["paths"])
            page = (await http.get(f"{address}/status")).text
            assert "Look at &lt;this&gt;." in page
            assert "<script>" not in page
