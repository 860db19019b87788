"""Immigration's desk, its couriers and its doors around a real spool, with a clock that is set by hand."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
from prometheus_client import CollectorRegistry

from connectors.immigration.answers import take_page
from connectors.immigration.client import VisaSystem
from connectors.immigration.courier import Courier
from connectors.immigration.desk import Desk
from connectors.immigration.offices import Offices, read_offices
from connectors.immigration.standings import Standings
from connectors.link.delivery import Delivered, StreamItem, verify
from connectors.link.fact import Author
from connectors.link.spool import Spool
from connectors.link.trust import Trust
from contracts.wire.signature import VerifiedRoots
from tests.connectors.parties import IMMIGRATION_SOURCE, Item, World
from tests.connectors.serving import served
from tests.connectors.visa_system import VisaSystemPeer
from tests.contracts.root_world import write_registry
from tests.contracts.samples import APPLICATION, NUMBER, SAMPLES

AUTHOR = Author("immigration", IMMIGRATION_SOURCE, "demo")
ISSUED = "id.tka.hub.recommendation.issued.v1"
WITHDRAWN = "id.tka.hub.recommendation.withdrawn.v1"
ANSWERED = "id.tka.ministry.query.answered.v1"
OFFICE = "default"


class Killed(BaseException):
    """Stands for the process's end at a point."""


class Bench:
    """A desk with everything around it, and a clock that is set by hand."""

    def __init__(self, world: World, trust: Trust, spool: Spool) -> None:
        self.world = world
        self.trust = trust
        self.spool = spool
        self.now = world.now
        self.seq = 100
        self.metrics = CollectorRegistry()
        self.offices: Offices
        self.standings: Standings
        self.desk: Desk
        self.doors: dict[str, VisaSystem] = {}

    def clock(self) -> Any:
        """The time that was set."""
        return self.now

    def put_together(self, offices: Offices, standings: Standings) -> None:
        """Make the desk."""
        self.offices, self.standings = offices, standings
        self.desk = Desk(self.spool, self.trust, standings, "immigration", self.clock, self.metrics)

    def courier(self, office: str = OFFICE, door: Any = None) -> Courier:
        """The courier of an office."""
        found = self.offices.named(office)
        assert found is not None
        return Courier(found, door or self.doors[office], self.standings, self.spool, self.clock)

    async def deliver(self, office: str = OFFICE, door: Any = None) -> int:
        """Deliver all that an office is to be told; return how much."""
        courier, total = self.courier(office, door), 0
        while moved := await courier.deliver_next():
            total += moved
        return total

    async def tell(self, *news: Delivered) -> None:
        """Let the feed bring this, and everything be delivered."""
        for delivered in news:
            await self.desk.handle(delivered)
        await self.deliver()

    async def take_answers(self, office: str = OFFICE) -> int:
        """Take a page of an office's answers."""
        return await take_page(office, self.doors[office], self.desk, self.spool)

    def delivered(self, item: Item, partition: int = 0, topic: str = "to.immigration") -> Delivered:
        """The record, verified as the link does."""
        assert item.value is not None
        stream = StreamItem(topic, partition, item.seq, item.key.encode(), item.value, item.headers, None)
        return verify(stream, self.trust.registry, VerifiedRoots(), self.world.now)

    def recommendation(self, revision: int = 1, state: str = "issued", seq: int = 1, **data: Any) -> Delivered:
        """A recommendation's news, as of now."""
        event = ISSUED if state == "issued" else WITHDRAWN
        said = {**SAMPLES[event], "revision": revision, **data}
        times = {"time": self.now, "recordedtime": self.now, "expirytime": self.now + timedelta(days=30)}
        item = self.world.word("recommendations", seq, event, said, subject=APPLICATION, hub_seq=seq + 100, **times)
        return self.delivered(item)

    def heartbeat(self, seq: int, last: int, partition: int = 0) -> Delivered:
        """A heartbeat of a stream, as of now."""
        said = {"topic": "to.immigration", "partition": partition, "last_sequence": last, "registry_version": 1}
        audience = f"demo/to.immigration/{partition}"
        changes = {"subject": "IMMIGRATION", "audience": audience, "time": self.now, "recordedtime": self.now,
                   "expirytime": self.now + timedelta(days=30)}  # fmt: skip
        item = self.world.word("to.immigration", seq, "id.tka.hub.heartbeat.v1", said, **changes)
        return self.delivered(item, partition)

    async def beat(self) -> None:
        """Make the whole feed fresh."""
        for partition in range(2):
            await self.desk.handle(self.heartbeat(9, 8, partition))

    def status(self, number: str = NUMBER, revision: int | None = None) -> str:
        """Whether a recommendation is valid now."""
        return self.desk.valid_now(number, revision).status

    async def asides(self) -> list[tuple[str, str]]:
        """What was set aside."""
        return [(aside.native_key, aside.code) for aside in await self.spool.unreported(100)]

    async def events(self) -> list[dict[str, Any]]:
        """The messages that wait in the spool."""
        return [json.loads(row.value) for row in await self.spool.waiting(1000)]


@asynccontextmanager
async def opened(
    folder: Path,
    *peers: tuple[str, VisaSystemPeer],
    offices_file: Path | None = None,
    bytes_max: int = 2**30,
    queue_bytes_max: int = 2**30,
    world: World | None = None,
) -> AsyncIterator[Bench]:
    """Open a bench: each peer is served for the office of its name; without OFFICES_FILE there is one office."""
    world = world or World()
    document = world.document()
    document["topics"] |= {"from.immigration": 1, "to.immigration": 2}
    signed = write_registry(document, world.root)

    async def fetch() -> bytes:
        return signed

    trust = Trust(folder / "registry.jws", world.root.public, fetch)
    await trust.refresh()
    offices = read_offices(offices_file, None if offices_file else "http://visa.example")
    async with Spool.open(folder / "spool.sqlite", AUTHOR, bytes_max=bytes_max) as spool:
        bench = Bench(world, trust, spool)
        async with Standings.open(folder, offices, bench.clock, queue_bytes_max) as standings:
            bench.put_together(offices, standings)
            async with _doors(bench, list(peers)):
                yield bench


@asynccontextmanager
async def _doors(bench: Bench, peers: list[tuple[str, VisaSystemPeer]]) -> AsyncIterator[None]:
    if not peers:
        yield
        return
    name, peer = peers[0]
    async with served(peer.app()) as address, httpx.AsyncClient(base_url=address) as http:
        bench.doors[name] = VisaSystem(http)
        async with _doors(bench, peers[1:]):
            yield
