"""The publisher, on a real broker: what the hub's admission says of what it sends, and what a crash makes it send."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from connectors.link.broker import Broker
from connectors.link.clock import utc_now
from connectors.link.metrics import LinkMetrics
from connectors.link.publisher import RESEND_AFTER, Publisher
from connectors.link.spool import Spool
from contracts.admission import Admitted, admit
from contracts.wire.record import Record
from contracts.wire.signature import NO_PREVIOUS_ROOT, VerifiedRoots, root_of
from tests.connectors.parties import AUTHOR, World, create_topics, eventually, payment

ROOT = Path(__file__).resolve().parents[2]

if TYPE_CHECKING:
    RawRecord: TypeAlias = ConsumerRecord[bytes, bytes]


async def read_topic(bootstrap: str, topic: str, count: int) -> "list[RawRecord]":
    """Read the first `count` records of a topic's partition 0."""
    place = TopicPartition(topic, 0)
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, isolation_level="read_committed")
    await consumer.start()
    found: list[RawRecord] = []
    try:
        consumer.assign([place])
        consumer.seek(place, 0)
        async with asyncio.timeout(30):
            while len(found) < count:
                found += (await consumer.getmany(timeout_ms=200)).get(place, [])
        # Nothing may follow what is expected.
        assert (await consumer.end_offsets([place]))[place] == count
    finally:
        await consumer.stop()
    return found


def judge(world: World, records: "list[RawRecord]") -> list[Admitted]:
    """Admit records as the hub does."""
    registry, roots = world.registry(), VerifiedRoots()
    verdicts = [
        admit(
            Record("from.bri", 0, each.offset, each.key, each.value, tuple(each.headers), each.timestamp),
            registry,
            roots,
        )
        for each in records
    ]
    admitted = [verdict for verdict in verdicts if isinstance(verdict, Admitted)]
    assert len(admitted) == len(verdicts), [verdict for verdict in verdicts if verdict not in admitted][:1]
    return admitted


async def run_until_sent(publisher: Publisher, spool: Spool) -> None:
    """Let the publisher run until nothing is left to send."""
    async with running(publisher):

        async def all_sent() -> bool:
            status = await spool.status()
            return not status.waiting and not status.signed

        await eventually(all_sent)


@asynccontextmanager
async def running(publisher: Publisher) -> AsyncIterator[None]:
    """Let the publisher run meanwhile; it must not end by itself."""
    task = asyncio.create_task(publisher.run())
    yield
    assert not task.done(), task
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def broker(kafka: str, topic_prefix: str) -> Broker:
    await create_topics(kafka, f"{topic_prefix}from.bri")
    return Broker(kafka, topic_prefix, "test")


async def test_single_and_batches_are_admitted_in_sequence(tmp_path: Path, broker: Broker) -> None:
    world = World()
    async with Spool.open(tmp_path / "spool.sqlite", AUTHOR) as spool:
        publisher = Publisher(spool, AUTHOR, world.bri, broker, LinkMetrics())
        await spool.put([payment(0)])
        await run_until_sent(publisher, spool)
        await spool.put([payment(number) for number in range(1, 150)])
        await run_until_sent(publisher, spool)
        assert (await spool.status()).sent == 150
    admitted = judge(world, await read_topic(broker.bootstrap, broker.physical("from.bri"), 150))
    assert [each.envelope.sequence for each in admitted] == list(range(1, 151))
    assert admitted[0].signature.statement is None
    statements = {each.signature.jws: each.signature.statement for each in admitted[1:]}
    previous = NO_PREVIOUS_ROOT
    for jws, statement in statements.items():
        assert statement is not None
        assert statement.prev == previous
        assert statement.size == statement.last - statement.first + 1 <= 64
        previous = root_of(jws)


async def test_batch_that_cannot_be_signed_goes_out_singly(tmp_path: Path, broker: Broker) -> None:
    world = World()
    async with Spool.open(tmp_path / "spool.sqlite", AUTHOR) as spool:
        # A `prev` of the wrong length, as a damaged note would be.
        await spool.put([payment(1), payment(2)], notes={"link/chain": "AAAA"})
        await run_until_sent(Publisher(spool, AUTHOR, world.bri, broker, LinkMetrics()), spool)
    admitted = judge(world, await read_topic(broker.bootstrap, broker.physical("from.bri"), 2))
    assert [each.signature.statement for each in admitted] == [None, None]


async def test_unreceipted_is_sent_again_with_the_same_bytes(tmp_path: Path, broker: Broker) -> None:
    world, moved = World(), timedelta()

    async with Spool.open(tmp_path / "spool.sqlite", AUTHOR, clock=lambda: utc_now() + moved) as spool:
        publisher = Publisher(spool, AUTHOR, world.bri, broker, LinkMetrics(), clock=lambda: utc_now() + moved)
        await spool.put([payment(1), payment(2)])
        await run_until_sent(publisher, spool)
        assert await publisher.resend_overdue() == 0
        moved = RESEND_AFTER + timedelta(seconds=1)
        assert await publisher.resend_overdue() == 2
        assert await publisher.resend_overdue() == 0
        await publisher._discard_producer()
    records = await read_topic(broker.bootstrap, broker.physical("from.bri"), 4)
    said = [(each.key, each.value, each.headers) for each in records]
    assert said[:2] == said[2:]


async def test_nothing_is_signed_while_the_registry_lacks_the_key(tmp_path: Path, broker: Broker) -> None:
    world, registered = World(), asyncio.Event()
    async with Spool.open(tmp_path / "spool.sqlite", AUTHOR) as spool:
        publisher = Publisher(spool, AUTHOR, world.bri, broker, LinkMetrics(), may_sign=registered.is_set)
        await spool.put([payment(1)])
        async with running(publisher):
            for _ in range(20):
                assert (await spool.status()).waiting == 1
            registered.set()

            async def sent() -> bool:
                return (await spool.status()).sent == 1

            await eventually(sent)


async def test_broker_away_leaves_facts_signed_in_the_spool(tmp_path: Path, kafka: str) -> None:
    world = World()
    nowhere = Broker("127.0.0.1:1", "", "test")
    async with Spool.open(tmp_path / "spool.sqlite", AUTHOR) as spool:
        publisher = Publisher(spool, AUTHOR, world.bri, nowhere, LinkMetrics())
        await spool.put([payment(1)])

        async def signed() -> bool:
            return (await spool.status()).signed == 1

        async with running(publisher):
            await eventually(signed)
        assert (await spool.status()).sent == 0


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias
from connectors.link import failpoint
from connectors.link.broker import Broker
from connectors.link.metrics import LinkMetrics
from connectors.link.publisher import Publisher
from connectors.link.spool import Spool
from contracts.wire.key import PrivateKey
from tests.connectors.parties import AUTHOR, payment

path, key, bootstrap, prefix, point = sys.argv[1:]

def strike(name):
    if name == point:
        os.kill(os.getpid(), signal.SIGKILL)

async def main():
    async with Spool.open(Path(path), AUTHOR) as spool:
        await spool.put([payment(1), payment(2), payment(3)])
        failpoint.arm(strike)
        publisher = Publisher(
            spool, AUTHOR, PrivateKey.from_pem(Path(key).read_bytes()), Broker(bootstrap, prefix, "x"), LinkMetrics()
        )
        await publisher.run()

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("point", "copies"),
    [
        ("publish.before_sign", 1),
        ("spool.before_sign_commit", 1),
        ("spool.after_sign_commit", 1),
        ("publish.before_send", 1),
        ("publish.after_send", 2),
        ("spool.before_sent_commit", 2),
        ("spool.after_sent_commit", 1),
    ],
)
async def test_killed_publisher_sends_the_stored_bytes(tmp_path: Path, broker: Broker, point: str, copies: int) -> None:
    world, path, key = World(), tmp_path / "spool.sqlite", tmp_path / "key.pem"
    key.write_bytes(world.bri.to_pem())
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", KILLED, str(path), str(key), broker.bootstrap, broker.topic_prefix, point],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        timeout=60,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    async with Spool.open(path, AUTHOR) as spool:
        await run_until_sent(Publisher(spool, AUTHOR, world.bri, broker, LinkMetrics()), spool)
        assert (await spool.status()).sent == 3
    records = await read_topic(broker.bootstrap, broker.physical("from.bri"), 3 * copies)
    judge(world, records)
    said = [(each.key, each.value, each.headers) for each in records]
    assert said == said[:3] * copies
