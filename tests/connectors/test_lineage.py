"""A spool against the hub's memory of its source: new, known, an old copy; real Kafka, a real HTTP peer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

import httpx
import pytest

from connectors.link import failpoint
from connectors.link.broker import Broker
from connectors.link.check import check_rotation, key_in_use
from connectors.link.clock import utc_now
from connectors.link.hub_client import HubClient
from connectors.link.key_ring import KeyRing, Use, make_next, next_file, promote
from connectors.link.lineage import NOTE, Lineage, OldCopy
from connectors.link.metrics import LinkMetrics
from connectors.link.settings import ConnectorSettings
from connectors.link.spool import Spool
from connectors.link.trust import read_private_key
from contracts.registry import Registry
from contracts.wire import base64url
from tests.connectors.parties import (
    AUTHOR,
    HubPeer,
    World,
    create_topics,
    eventually,
    payment,
    send,
    write_keys,
)


class Killed(BaseException):
    """Stands for the process's end at a point."""


@dataclass
class Bench:
    spool: Spool
    lineage: Lineage
    metrics: LinkMetrics


@asynccontextmanager
async def opened(file: Path, peer: HubPeer, broker: Broker) -> AsyncIterator[Bench]:
    """Open a spool and what is asked about it."""
    metrics = LinkMetrics()
    async with httpx.AsyncClient() as http, Spool.open(file, AUTHOR) as spool:
        hub = HubClient(http, peer.url, "bri", peer.world.api, metrics=metrics)
        yield Bench(spool, Lineage(spool, hub, broker, AUTHOR, peer.world.registry, metrics), metrics)


async def put(spool: Spool, *numbers: int) -> list[str]:
    """Put payments; return the ids of their messages."""
    return [each.event_id for each in await spool.put([payment(number) for number in numbers])]


async def take(peer: HubPeer, spool: Spool) -> None:
    """Let the hub accept all that waits in a spool."""
    for row in await spool.waiting(100):
        fact = await _fact(spool, row.sequence)
        digest = base64url.encode(b"%032d" % row.sequence)
        peer.accepted.append({"sequence": row.sequence, "id": fact, "sha256": digest, "log_index": row.sequence})


async def _fact(spool: Spool, sequence: int) -> str:
    facts = [await spool.fact_by_key(f"snap/partner/PR-{number}") for number in range(10)]
    return next(fact.event_id for fact in facts if fact is not None and fact.sequence == sequence)


@pytest.fixture
async def peer() -> AsyncIterator[HubPeer]:
    async with HubPeer(World()).serve() as peer:
        yield peer
        assert peer.refusals == []


@pytest.fixture
async def broker(kafka: str, topic_prefix: str) -> Broker:
    await create_topics(kafka, f"{topic_prefix}from.bri")
    return Broker(kafka, topic_prefix, "test")


async def test_the_first_spool_of_a_source_begins_at_once(tmp_path: Path, peer: HubPeer, broker: Broker) -> None:
    async with opened(tmp_path / "spool.sqlite", peer, broker) as bench:
        await bench.lineage.start()
        assert bench.lineage.settled
        assert not await bench.spool.is_new()
        assert [each.sequence for each in await bench.spool.put([payment(1)])] == [1]


async def test_a_new_spool_takes_over_what_the_hub_has_and_doubles_nothing(
    tmp_path: Path, peer: HubPeer, broker: Broker
) -> None:
    async with opened(tmp_path / "lost.sqlite", peer, broker) as bench:
        await bench.lineage.start()
        await put(bench.spool, 1, 2, 3, 4, 5)
        await take(peer, bench.spool)
    del peer.accepted[1]
    async with opened(tmp_path / "new.sqlite", peer, broker) as bench:
        await bench.lineage.start()
        again = await bench.spool.put([payment(number) for number in range(1, 7)])
        assert [each.outcome for each in again] == ["again", "new", "again", "again", "again", "new"]
        assert [each.sequence for each in again] == [1, 6, 3, 4, 5, 7]
        status = await bench.spool.status()
        assert (status.accepted, status.waiting, status.last_sequence) == (4, 2, 7)


async def test_a_new_spool_waits_until_the_hub_has_read_and_judged_all(
    tmp_path: Path, peer: HubPeer, broker: Broker
) -> None:
    await send(broker.bootstrap, broker.physical("from.bri"), peer.world.outcome("from.bri", 1))
    end = (await broker.ends("from.bri"))[0]
    peer.deferred = 1

    async def has_asked(times: int) -> bool:
        return sum("progress" in path for path in peer.asked) >= times

    async with opened(tmp_path / "spool.sqlite", peer, broker) as bench:
        starting = asyncio.create_task(bench.lineage.start())
        await eventually(partial(has_asked, 2))
        assert await bench.spool.is_new()
        peer.taken[0] = end
        await eventually(partial(has_asked, len(peer.asked) + 2))
        assert await bench.spool.is_new()
        peer.deferred = 0
        await asyncio.wait_for(starting, 30)
        assert bench.lineage.settled


@pytest.mark.parametrize(
    "point",
    ["spool.before_adopt_commit", "spool.after_adopt_commit", "spool.before_begin_commit", "spool.after_begin_commit"],
)
async def test_a_kill_while_a_spool_is_rebuilt(tmp_path: Path, peer: HubPeer, broker: Broker, point: str) -> None:
    async with opened(tmp_path / "lost.sqlite", peer, broker) as bench:
        await bench.lineage.start()
        await put(bench.spool, 1, 2, 3)
        await take(peer, bench.spool)

    def strike(name: str) -> None:
        if name == point:
            raise Killed

    for _ in range(2):
        async with opened(tmp_path / "new.sqlite", peer, broker) as bench:
            failpoint.arm(strike)
            if await bench.spool.is_new():
                with pytest.raises(Killed):
                    await bench.lineage.start()
            failpoint.arm(lambda name: None)
    async with opened(tmp_path / "new.sqlite", peer, broker) as bench:
        await bench.lineage.start()
        again = await bench.spool.put([payment(number) for number in range(1, 5)])
        assert [each.outcome for each in again] == ["again", "again", "again", "new"]
        assert again[-1].sequence == 4


async def test_an_old_copy_is_stopped_and_an_empty_folder_goes_on(
    tmp_path: Path, peer: HubPeer, broker: Broker
) -> None:
    file, copy = tmp_path / "spool.sqlite", tmp_path / "copy.sqlite"
    async with opened(file, peer, broker) as bench:
        await bench.lineage.start()
        await put(bench.spool, 1)
    copy.write_bytes(file.read_bytes())
    async with opened(file, peer, broker) as bench:
        await put(bench.spool, 2)
        await take(peer, bench.spool)
    async with opened(copy, peer, broker) as bench:
        with pytest.raises(OldCopy, match="ends at sequence 1, the hub has 2"):
            await bench.lineage.start()
    async with opened(file, peer, broker) as bench:
        await bench.lineage.start()
        assert bench.lineage.settled


async def test_while_the_hub_is_away_a_known_spool_takes_facts_and_sends_nothing(
    tmp_path: Path, peer: HubPeer, broker: Broker
) -> None:
    file = tmp_path / "spool.sqlite"
    async with opened(file, peer, broker) as bench:
        await bench.lineage.start()
        await put(bench.spool, 1)
    peer.failures = 4
    async with opened(file, peer, broker) as bench:
        await bench.lineage.start()
        assert (bench.lineage.settled, list(bench.metrics.notes)) == (False, [NOTE])
        await put(bench.spool, 2)
        await bench.lineage.settle()
        assert (bench.lineage.settled, list(bench.metrics.notes)) == (True, [])


# --- keys ------------------------------------------------------------------------------------------------------------


def ring_of(file: Path, registry: list[Registry]) -> KeyRing:
    return KeyRing(file, "message", "bri", lambda: registry[-1], utc_now)


def settings_of(folder: Path, world: World) -> ConnectorSettings:
    names = write_keys(folder, world, world.bri, world.api)
    more = {
        "PARTICIPANT": "bri",
        "SOURCE_URI": AUTHOR.source,
        "HUB_API_URL": "http://127.0.0.1:1",
        "KAFKA_BOOTSTRAP": "x:1",
    }
    return ConnectorSettings.model_validate({name.lower(): value for name, value in (names | more).items()})


def test_the_next_key_is_used_from_when_the_registry_has_it(tmp_path: Path) -> None:
    world = World()
    settings = settings_of(tmp_path, world)
    registry = [world.registry(1)]
    ring = ring_of(settings.key_file, registry)
    old = ring.current().kid
    following = make_next(settings.key_file)
    assert (next_file(settings.key_file).stat().st_mode & 0o777, make_next(settings.key_file).kid) == (
        0o600,
        following.kid,
    )
    ring.reload()
    assert (ring.current().kid, ring.may_sign()) == (old, True)
    world.bri_next = following
    registry.append(world.registry(2))
    assert (ring.current().kid, ring.may_sign()) == (following.kid, True)
    promote(settings.key_file)
    ring.reload()
    assert ring.current().kid == following.kid
    assert not next_file(settings.key_file).exists()
    assert read_private_key(settings.key_file.with_name("message.pem.previous"), "x").kid == old


def test_check_says_where_a_rotation_stands_and_judges_by_the_key_in_use(tmp_path: Path) -> None:
    world = World()
    settings = settings_of(tmp_path, world)
    file, old = settings.key_file, read_private_key(settings.key_file, "x")
    asked: tuple[Path, Use, Registry, str, datetime] = (file, "message", world.registry(1), "bri", utc_now())
    assert check_rotation(*asked) is None
    following = make_next(file)
    told = check_rotation(*asked)
    assert told is not None
    assert f"{old.kid} of KEY_FILE is used; the next key {following.kid} is not registered" in told.says
    assert key_in_use(old, *asked) == old
    world.bri_next = following
    asked = (file, "message", world.registry(2), "bri", utc_now())
    told = check_rotation(*asked)
    assert told is not None
    assert f"{following.kid} is in force and used instead of {old.kid}: run rotate-key once more" in told.says
    assert key_in_use(old, *asked).kid == following.kid
    promote(file)
    assert check_rotation(*asked) is None


@pytest.mark.parametrize("point", ["keys.before_keep", "keys.after_keep", "keys.before_promote", "keys.after_promote"])
def test_a_kill_in_a_rotation_leaves_a_key(tmp_path: Path, point: str) -> None:
    world = World()
    settings = settings_of(tmp_path, world)

    def strike(name: str) -> None:
        if name == point:
            raise Killed

    def rotate() -> None:
        make_next(settings.key_file)
        promote(settings.key_file)

    failpoint.arm(strike)
    with pytest.raises(Killed):
        rotate()
    failpoint.arm(lambda name: None)
    assert read_private_key(settings.key_file, "x").kid
    if next_file(settings.key_file).exists() or point != "keys.after_promote":
        rotate()
    assert read_private_key(settings.key_file, "x").kid != world.bri.kid
