"""The subscriber, on a real broker and beside a real HTTP peer: order, repeats, gaps, forgery, crash."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import pytest

from connectors.link.broker import Broker
from connectors.link.clock import utc_now
from connectors.link.delivery import Delivered
from connectors.link.erasing import NOTE, Eraser
from connectors.link.fact import ReceiptEntry
from connectors.link.hub_client import HubClient
from connectors.link.metrics import LinkMetrics
from connectors.link.spool import Spool
from connectors.link.stream_reader import Surroundings
from connectors.link.subscriber import Subscriber
from connectors.link.trust import Trust
from contracts.events.hub import ErasureOrdered
from contracts.fields import write_digest
from contracts.wire.envelope import read_envelope
from contracts.wire.key import PrivateKey
from tests.connectors.parties import (
    AUTHOR,
    IMMIGRATION_SOURCE,
    HubPeer,
    Item,
    World,
    create_topics,
    eventually,
    payment,
    send,
)
from tests.connectors.test_erasure import ordered, write_order
from tests.contracts.root_world import TWO
from tests.contracts.samples import APPLICATION, CODE, SAMPLES

TOPIC = "to.bri"
STREAM = f"{TOPIC}/0"
ISSUED = "id.tka.hub.recommendation.issued.v1"
VISA = "id.tka.immigration.visa.approved.v1"


@dataclass
class Bench:
    """One connector's reading side, with everything that a test touches."""

    world: World
    peer: HubPeer
    spool: Spool
    trust: Trust
    subscriber: Subscriber
    metrics: LinkMetrics
    broker: Broker
    got: list[Delivered] = field(default_factory=list)
    failures: int = 0

    async def handle(self, delivered: Delivered) -> None:
        if self.failures > 0:
            self.failures -= 1
            raise ConnectionError("the agency's own system is away")
        self.got.append(delivered)

    async def send(self, *items: Item) -> None:
        await send(self.broker.bootstrap, self.broker.physical(TOPIC), *items)

    def seqs(self) -> list[int]:
        return [each.seq for each in self.got]

    async def at(self, seq: int) -> None:
        """Wait until the stream is handled and noted up to `seq`."""

        async def reached() -> bool:
            return await self.spool.position(TOPIC, 0) == seq

        await eventually(reached)

    async def stopped(self) -> str:
        """Wait until the stream is stopped; return the sentence."""

        async def held() -> bool:
            return STREAM in self.subscriber.stopped

        await eventually(held)
        return self.subscriber.stopped[STREAM]


@pytest.fixture
async def broker(kafka: str, topic_prefix: str) -> Broker:
    await create_topics(kafka, f"{topic_prefix}{TOPIC}", f"{topic_prefix}recommendations")
    return Broker(kafka, topic_prefix, "test")


@asynccontextmanager
async def reading(
    folder: Path, broker: Broker, peer: HubPeer, *, run: bool = True, topics: tuple[str, ...] = (TOPIC,)
) -> AsyncIterator[Bench]:
    """Run a subscriber on the spool of `folder`."""
    world = peer.world
    async with httpx.AsyncClient() as http, Spool.open(folder / "spool.sqlite", AUTHOR) as spool:
        hub = HubClient(http, peer.url, "bri", world.api)
        trust = Trust(folder / "registry.jws", world.root.public, hub.registry)
        await trust.refresh()
        metrics = LinkMetrics()
        around = Surroundings(
            spool, trust, hub, broker, lambda delivered: bench.handle(delivered), metrics, AUTHOR.source, utc_now,
            eraser=Eraser(trust, (spool.erase,), metrics),
        )  # fmt: skip
        bench = Bench(world, peer, spool, trust, Subscriber(topics, around), metrics, broker)
        task = asyncio.create_task(bench.subscriber.run() if run else asyncio.sleep(0))
        try:
            yield bench
        finally:
            task.cancel()
            [ended] = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(ended, asyncio.CancelledError | None), ended


@pytest.fixture
async def peer() -> AsyncIterator[HubPeer]:
    async with HubPeer(World()).serve() as peer:
        yield peer
        assert peer.refusals == []


async def test_records_are_handed_over_in_order_and_once(tmp_path: Path, broker: Broker, peer: HubPeer) -> None:
    words = [peer.world.outcome(TOPIC, seq) for seq in range(1, 6)]
    async with reading(tmp_path, broker, peer) as bench:
        await bench.send(*words[:3], words[1], words[2])
        await bench.at(3)
        await bench.send(words[3])
        await bench.at(4)
        assert bench.seqs() == [1, 2, 3, 4]
        assert {each.participant for each in bench.got} == {"hub"}
    async with reading(tmp_path, broker, peer) as bench:
        await bench.send(words[4])
        await bench.at(5)
        assert bench.seqs() == [5]
    assert not any("streams" in path for path in peer.asked)


async def test_position_is_kept_after_the_handler(tmp_path: Path, broker: Broker, peer: HubPeer) -> None:
    async with reading(tmp_path, broker, peer) as bench:
        bench.failures = 10**9
        await bench.send(peer.world.outcome(TOPIC, 1))

        async def failed() -> bool:
            return bench.failures < 10**9

        await eventually(failed)
    async with reading(tmp_path, broker, peer) as bench:
        bench.failures = 2
        await bench.at(1)
        assert bench.seqs() == [1]
        assert bench.metrics.collected.get_sample_value("tkahub_connector_handle_failures_total") == 2


async def test_gap_is_filled_from_the_archive(tmp_path: Path, broker: Broker, peer: HubPeer) -> None:
    words = [peer.world.outcome(TOPIC, seq) for seq in range(1, 8)]
    # What was erased in the archive keeps its place.
    peer.streams[TOPIC, 0] = [*words[:3], replace(words[3], value=None), *words[4:]]
    peer.failures = 1
    async with reading(tmp_path, broker, peer) as bench:
        await bench.send(words[0], words[5], words[6])
        await bench.at(7)
        assert bench.seqs() == [1, 2, 3, 5, 6, 7]
        assert [each.value for each in bench.got[:3]] == [word.value for word in words[:3]]
        assert peer.asked[-1] == "/api/v1/streams/to.bri/0?after=1&limit=256"


async def test_gap_that_the_archive_lacks_stops_the_stream(tmp_path: Path, broker: Broker, peer: HubPeer) -> None:
    words = [peer.world.outcome(TOPIC, seq) for seq in range(1, 5)]
    peer.streams[TOPIC, 0] = [words[0], words[2], words[3]]
    async with reading(tmp_path, broker, peer) as bench:
        await bench.send(words[0], words[3])
        assert "the hub's archive goes from 1 to 3" in await bench.stopped()
        assert bench.seqs() == [1]


async def test_what_kafka_no_longer_keeps_comes_from_the_archive(tmp_path: Path, broker: Broker, peer: HubPeer) -> None:
    words = [peer.world.outcome(TOPIC, seq) for seq in range(1, 4)]
    peer.streams[TOPIC, 0] = words[:2]
    async with reading(tmp_path, broker, peer, run=False) as bench:
        # A kept offset that the topic does not reach: it was deleted and made again.
        await bench.spool.note_position(TOPIC, 0, 1, 1000)
    async with reading(tmp_path, broker, peer) as bench:
        await bench.at(2)
        await bench.send(words[1], words[2])
        await bench.at(3)
        assert bench.seqs() == [2, 3]


async def test_archive_of_another_hub_stops_the_stream(tmp_path: Path, broker: Broker, peer: HubPeer) -> None:
    async with reading(tmp_path, broker, peer, run=False) as bench:
        await bench.spool.note_position(TOPIC, 0, 9, 1000)
    async with reading(tmp_path, broker, peer) as bench:
        assert "archive ends at 0, before the 9" in await bench.stopped()


async def test_receipts_settle_the_spool(tmp_path: Path, broker: Broker, peer: HubPeer) -> None:
    async with reading(tmp_path, broker, peer) as bench:
        await bench.spool.put([payment(1), payment(2), payment(3)])
        rows = await bench.spool.waiting(10)
        await bench.spool.store_signatures([(row.sequence, "jws", None) for row in rows], None)
        await bench.spool.mark_sent([1, 2, 3])
        first, second, third = (read_envelope(row.value) for row in rows)

        def entry(event_id: str, digest: bytes, log_index: int, **more: str) -> dict[str, object]:
            return {"id": event_id, "sha256": write_digest(digest), "log_index": log_index, **more}

        accepted = [entry(first.id, first.digest, 4), entry(third.id, first.digest, 5)]
        refused = [entry(second.id, second.digest, 6, code="data_invalid")]
        await bench.send(peer.world.receipt(TOPIC, 1, AUTHOR.source, accepted=accepted, refused=refused))
        await bench.at(1)
        status = await bench.spool.status()
        assert (status.accepted, status.refused, status.sent) == (1, 1, 1)
        assert bench.seqs() == [1]
        count = bench.metrics.collected.get_sample_value
        assert count("tkahub_connector_receipts_total", {"outcome": "foreign"}) == 1


def forgeries(world: World) -> dict[str, Item]:
    """Records that must never be handed over, by what is wrong with them."""
    good = world.outcome(TOPIC, 1)
    assert good.value is not None
    stranger = PrivateKey.generate("Ed25519")
    return {
        "signature_invalid": replace(good, value=good.value.replace(b"1200.00", b"1300.00")),
        "key_unknown": world.outcome(TOPIC, 1, signer=stranger),
        "key_not_subject": replace(good, key="OTHER"),
        "audience_wrong: sequence": world.outcome(TOPIC, 2, hub_seq=1),
        "audience_wrong": world.outcome(TOPIC, 1, audience="demo/to.mandiri/0"),
        "source_not_owned": world.outcome(TOPIC, 1, signer=world.bri),
        "type_not_permitted": world.outcome(TOPIC, 1, signer=world.bri, source=AUTHOR.source, audience="demo/from.bri"),
        "jws_typ_wrong": world.word(TOPIC, 1, ISSUED, SAMPLES[ISSUED], subject=APPLICATION, source=AUTHOR.source),
        "key_use_wrong": world.outcome(TOPIC, 1, signer=world.api),
        "contract_unknown": world.word(TOPIC, 1, "id.tka.hub.payment.outcome.v2", {}),
        "header_duplicate": replace(good, headers=(*good.headers, ("hub-seq", b"2"))),
        "no hub-seq": replace(good, headers=good.headers[:2]),
    }


@pytest.mark.parametrize("wrong", sorted(forgeries(World())))
async def test_forgery_stops_the_stream_and_is_not_passed_on(
    tmp_path: Path, broker: Broker, peer: HubPeer, wrong: str
) -> None:
    async with reading(tmp_path, broker, peer) as bench:
        await bench.send(forgeries(peer.world)[wrong], peer.world.outcome(TOPIC, 2))
        assert wrong in await bench.stopped()
        assert bench.got == []
        assert await bench.spool.position(TOPIC, 0) == 0


async def test_new_key_is_learned_from_a_newer_registry(tmp_path: Path, broker: Broker, peer: HubPeer) -> None:
    world = peer.world
    world.unknown.add(world.immigration.kid)
    peer.registry = world.signed(1)
    async with reading(tmp_path, broker, peer) as bench:
        world.unknown.clear()
        peer.registry = world.signed(2)
        await bench.send(world.forward(1, VISA, world.immigration, IMMIGRATION_SOURCE, "immigration"))
        await bench.at(1)
        assert bench.got[0].participant == "immigration"
        assert bench.trust.registry.version == 2


async def test_stopped_stream_goes_on_under_a_newer_registry(tmp_path: Path, broker: Broker, peer: HubPeer) -> None:
    world = peer.world
    world.unknown.add(world.immigration.kid)
    peer.registry = world.signed(1)
    async with reading(tmp_path, broker, peer) as bench:
        await bench.send(world.forward(1, VISA, world.immigration, IMMIGRATION_SOURCE, "immigration"))
        assert "key_unknown" in await bench.stopped()
        world.unknown.clear()
        peer.registry = world.signed(2)
        await bench.trust.refresh()
        await bench.at(1)
        assert bench.subscriber.stopped == {}


async def test_heartbeat_names_a_newer_registry(tmp_path: Path, broker: Broker, peer: HubPeer) -> None:
    async with reading(tmp_path, broker, peer) as bench:
        peer.registry = peer.world.signed(5)
        await bench.send(peer.world.heartbeat(TOPIC, 1, registry_version=5))
        await bench.at(1)
        assert bench.trust.registry.version == 5


@pytest.mark.parametrize("in_archive", [True, False])
async def test_forward_of_a_revoked_key_needs_the_archive(
    tmp_path: Path, broker: Broker, peer: HubPeer, in_archive: bool
) -> None:
    world = peer.world
    world.revoked.add(world.immigration.kid)
    peer.registry = world.signed(1)
    forward = world.forward(1, VISA, world.immigration, IMMIGRATION_SOURCE, "immigration")
    peer.streams[TOPIC, 0] = [forward] if in_archive else [world.outcome(TOPIC, 1)]
    async with reading(tmp_path, broker, peer) as bench:
        await bench.send(forward)
        if in_archive:
            await bench.at(1)
            assert bench.seqs() == [1]
        else:
            assert "key_revoked" in await bench.stopped()
            assert bench.got == []


@pytest.mark.parametrize(
    ("proof_required", "proof", "stopped"),
    [
        (False, "none", None),
        (True, "good", None),
        (True, "none", "proof_missing"),
        (True, "another's", "proof_invalid: inclusion_invalid"),
        (True, "another log's", "proof_invalid: log_signature_missing"),
    ],
)
async def test_recommendation_comes_from_its_home(
    tmp_path: Path, broker: Broker, peer: HubPeer, proof_required: bool, proof: str, stopped: str | None
) -> None:
    world = peer.world
    world.proof_required = proof_required
    peer.registry = world.signed(1)
    place = {"subject": APPLICATION, "audience": "demo/recommendations/3", "hub_seq": 1}
    item = world.word(TOPIC, 17, ISSUED, SAMPLES[ISSUED], **place)
    if proof == "good":
        item = world.proved(item)
    elif proof == "another's":
        other = world.proved(world.word(TOPIC, 18, ISSUED, SAMPLES[ISSUED], **place))
        item = replace(item, headers=(*item.headers, other.headers[-1]))
    elif proof == "another log's":
        world.log = PrivateKey.generate("Ed25519")
        item = world.proved(item)
    async with reading(tmp_path, broker, peer) as bench:
        await bench.send(item)
        if stopped is not None:
            assert stopped in await bench.stopped()
            assert bench.got == []
        else:
            await bench.at(1)
            assert (bench.got[0].envelope.sequence, bench.got[0].seq) == (17, 1)


async def test_tombstones_and_gaps_are_normal_where_records_are_compacted(
    tmp_path: Path, broker: Broker, peer: HubPeer
) -> None:
    world, topic = peer.world, "recommendations"

    def current(seq: int) -> Item:
        return world.word(topic, seq, ISSUED, SAMPLES[ISSUED], subject=APPLICATION)

    async with reading(tmp_path, broker, peer, topics=(topic,)) as bench:
        await send(broker.bootstrap, broker.physical(topic), current(3), Item(0, APPLICATION, None, ()), current(9))

        async def reached() -> bool:
            return await bench.spool.position(topic, 0) == 9

        await eventually(reached)
        assert bench.seqs() == [3, 9]


async def test_tombstone_in_a_contiguous_stream_keeps_its_place(tmp_path: Path, broker: Broker, peer: HubPeer) -> None:
    first, third = peer.world.outcome(TOPIC, 1), peer.world.outcome(TOPIC, 3)
    async with reading(tmp_path, broker, peer) as bench:
        await bench.send(first, Item(2, "X", None, (("hub-seq", b"2"),)), third)
        await bench.at(3)
        assert bench.seqs() == [1, 3]
    assert not any("streams" in path for path in peer.asked)


async def test_stopped_stream_holds_no_other_back(tmp_path: Path, broker: Broker, peer: HubPeer) -> None:
    world, topic = peer.world, "recommendations"
    async with reading(tmp_path, broker, peer, topics=(TOPIC, topic)) as bench:
        await bench.send(forgeries(world)["signature_invalid"])
        await bench.stopped()
        item = world.word(topic, 1, ISSUED, SAMPLES[ISSUED], subject=APPLICATION)
        await send(broker.bootstrap, broker.physical(topic), item)

        async def reached() -> bool:
            return await bench.spool.position(topic, 0) == 1

        await eventually(reached)
        assert [each.topic for each in bench.got] == [topic]


async def test_an_order_of_two_persons_is_obeyed_and_a_forged_one_is_passed_over(
    tmp_path: Path, broker: Broker, peer: HubPeer
) -> None:
    async with reading(tmp_path, broker, peer) as bench:
        await bench.spool.begin()
        [put] = await bench.spool.put([payment(1)])
        [row] = await bench.spool.waiting(1)
        await bench.spool.settle([ReceiptEntry(put.event_id, read_envelope(row.value).digest, 7)])
        forged, order = (write_order(keys, cases=[CODE]) for keys in (TWO[:1], TWO))
        for seq, document in enumerate((forged, order), 1):
            await bench.send(bench.world.word(TOPIC, seq, ErasureOrdered.TYPE, ordered("bri", document, [CODE])))
            await bench.at(seq)
            # The contents of the one message went with the order of two, and not before.
            assert ((await bench.spool.status()).bytes_used == 0) is (seq == 2)
        assert "nothing was erased" in bench.metrics.notes[NOTE]
        assert bench.seqs() == [1, 2]
