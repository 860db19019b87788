"""The relay against real Kafka and PostgreSQL: each message once, in order, whatever stops or freezes on the way."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from tenacity import AsyncRetrying, retry_if_result, stop_after_delay, wait_fixed

from contracts.wire.signature import VerifiedRoots, sign_single, verify_signature
from hub import release
from hub.cluster import Cluster
from hub.health import Health
from hub.relay import Relay, RelayRefused, check_position
from hub.release import KeyNotOurs, Signer
from hub.store import outbox, schema
from hub.store.database import Database
from hub.trust import RegistryInForce
from tests.hub.brokers import create_topics
from tests.hub.world import EVENT, World, fill_inbox, fill_outbox

pytestmark = pytest.mark.anyio
PATIENCE_S = 60


@dataclass
class Bench:
    """One test's database, topics and exchange."""

    dsn: str
    database: Database
    cluster: Cluster
    world: World

    def relay(self, health: Health | None = None) -> Relay:
        """Return a relay that shares nothing with another but Kafka and the database."""
        registry = RegistryInForce(self.world.root.public)
        signer = Signer(self.world.hub)
        return Relay(self.database, self.dsn, self.cluster, registry, signer, health or Health())

    async def read(self, topic: str, count: int) -> list[ConsumerRecord]:
        """Return the first `count` committed records of partition 0, and make sure that there are no more."""
        physical = self.cluster.physical(topic)
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.cluster.bootstrap, isolation_level="read_committed", auto_offset_reset="earliest"
        )
        await consumer.start()
        try:
            place = TopicPartition(physical, 0)
            consumer.assign([place])
            records: list[ConsumerRecord] = []
            async with asyncio.timeout(PATIENCE_S):
                while len(records) < count:
                    records += (await consumer.getmany(place, timeout_ms=500)).get(place, [])
            records += (await consumer.getmany(place, timeout_ms=300)).get(place, [])
            return records
        finally:
            await consumer.stop()

    async def position(self, topic: str, partition: int = 0) -> int:
        """Return the noted position of a stream."""
        async with self.database.connection() as connection:
            return (await outbox.read_positions(connection, topic)).get(partition, 0)

    async def reach(self, topic: str, seq: int) -> None:
        """Wait until the relay has noted `seq`."""

        async def look() -> bool:
            return await self.position(topic) >= seq

        await until(look)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for a condition with a deadline."""
    patiently = AsyncRetrying(
        stop=stop_after_delay(PATIENCE_S), wait=wait_fixed(0.05), retry=retry_if_result(lambda held: not held)
    )

    # tenacity awaits what it can see to be a coroutine function, which a lambda that returns a coroutine is not.
    async def look() -> bool:
        return await condition()

    await patiently(look)


@asynccontextmanager
async def running(*relays: Relay) -> AsyncIterator[list["asyncio.Task[None]"]]:
    """Run relays until the block ends, then let them stop by themselves."""
    stop = asyncio.Event()
    tasks = [asyncio.create_task(relay.run(stop)) for relay in relays]
    try:
        yield tasks
    finally:
        stop.set()
        await asyncio.gather(*tasks)


@pytest.fixture
async def bench(database: str, kafka: str, topic_prefix: str) -> AsyncIterator[Bench]:
    """Give a migrated database with a registry, and its topics."""
    await schema.migrate(database)
    opened = await Database.open(database)
    world = World()
    await world.put_in_force(opened)
    await create_topics(Cluster(kafka, topic_prefix), world.topics)
    yield Bench(database, opened, Cluster(kafka, topic_prefix), world)
    await opened.close()


def seqs_of(records: list[ConsumerRecord]) -> list[int]:
    """Return the hub-seq of each record."""
    return [int(dict(record.headers)["hub-seq"]) for record in records]


async def test_own_events_are_signed_in_batches_and_arrive_in_order(bench: Bench) -> None:
    await fill_outbox(bench.dsn, "to.bri", 0, 150)
    async with running(bench.relay()):
        records = await bench.read("to.bri", 150)
    assert seqs_of(records) == list(range(1, 151))
    roots, keys = VerifiedRoots(), {bench.world.hub.kid: bench.world.hub.public}
    signatures = [verify_signature(record.value, record.headers, keys.get, roots) for record in records]
    assert {signature.typ for signature in signatures} == {"tkahub-batch+jws"}
    statements = list(dict.fromkeys(s.statement for s in signatures if s.statement is not None))
    assert [(s.first, s.last) for s in statements] == [(1, 64), (65, 128), (129, 150)]
    assert [s.prev for s in statements[1:]] == [s.root for s in statements[:-1]]
    assert {s.aud for s in statements} == {"demo/to.bri/0"}


async def test_a_recommendation_is_signed_singly_under_its_own_typ(bench: Bench) -> None:
    await fill_outbox(bench.dsn, "recommendations", 0, 2, typ="recommendation")
    async with running(bench.relay()):
        records = await bench.read("recommendations", 2)
    keys = {bench.world.hub.kid: bench.world.hub.public}
    for record in records:
        signature = verify_signature(record.value, record.headers, keys.get, VerifiedRoots())
        assert (signature.typ, signature.proof) == ("tkahub-recommendation+jws", None)


async def test_a_forward_keeps_its_senders_bytes_and_signature(bench: Bench) -> None:
    values = [b'{ "as":"it came", "n":%d }' % number for number in range(3)]
    await fill_inbox(bench.dsn, 100, values, "sender..signature", ["0.x", "1.x", "2.x"])
    await fill_outbox(bench.dsn, "to.immigration", 0, 3, forward_from=100)
    async with running(bench.relay()):
        records = await bench.read("to.immigration", 3)
    assert [record.value for record in records] == values
    assert [dict(record.headers)["jws"] for record in records] == [b"sender..signature"] * 3
    assert [dict(record.headers)["jws-proof"] for record in records] == [b"0.x", b"1.x", b"2.x"]


async def test_a_stored_signature_is_sent_and_never_made_anew(bench: Bench) -> None:
    await fill_outbox(bench.dsn, "to.bri", 0, 1)
    async with bench.database.connection() as connection:
        await outbox.store_signatures(connection, "to.bri", {0: [outbox.StoredSignature(1, "stored..before", None)]})
    async with running(bench.relay()):
        (record,) = await bench.read("to.bri", 1)
    assert dict(record.headers)["jws"] == b"stored..before"


async def test_a_restart_goes_on_where_kafka_stands_even_if_the_note_is_behind(bench: Bench) -> None:
    await fill_outbox(bench.dsn, "to.bri", 0, 10)
    async with running(bench.relay()):
        await bench.reach("to.bri", 10)
    async with bench.database.connection() as connection:
        await connection.execute("UPDATE relay_position SET seq = 4")
    # What Kafka holds is noted even if nothing more is to be sent.
    async with running(bench.relay()):
        await bench.reach("to.bri", 10)
    await fill_outbox(bench.dsn, "to.bri", 0, 5)
    async with running(bench.relay()):
        records = await bench.read("to.bri", 15)
    assert seqs_of(records) == list(range(1, 16))


async def test_a_restart_goes_on_behind_what_was_erased_before_it_was_told(bench: Bench) -> None:
    await fill_outbox(bench.dsn, "to.bri", 0, 4)
    async with bench.database.connection() as connection:
        await connection.execute("UPDATE outbox SET value = NULL, erased_at = now() WHERE seq >= 3")
    async with running(bench.relay()):
        await bench.reach("to.bri", 4)
    for noted in (1, 3):
        async with bench.database.connection() as connection:
            await connection.execute("UPDATE relay_position SET seq = $1", noted)
        async with running(bench.relay()):
            await bench.reach("to.bri", 4)


async def test_a_topic_behind_its_note_stops_the_relay(bench: Bench) -> None:
    await fill_outbox(bench.dsn, "to.bri", 0, 3)
    async with bench.database.connection() as connection:
        await outbox.note_positions(connection, "to.bri", {0: 3})
    with pytest.raises(RelayRefused, match=r"to\.bri/0 was relayed up to 0, the database noted 3"):
        async with asyncio.timeout(PATIENCE_S):
            await bench.relay().run(asyncio.Event())


def test_a_position_beyond_the_outbox_is_refused() -> None:
    check_position("to.bri/0", 4, 4, 9)
    with pytest.raises(RelayRefused, match="the outbox ends at 3"):
        check_position("to.bri/0", 4, 4, 3)


async def test_a_restored_database_that_went_on_is_refused(bench: Bench) -> None:
    await fill_outbox(bench.dsn, "to.bri", 0, 5)
    async with running(bench.relay()):
        await bench.reach("to.bri", 5)
    # As a copy of the database from before the third message is, once the hub has said as much again and more.
    async with bench.database.connection() as connection:
        await connection.execute("DELETE FROM outbox_signature WHERE seq > 2")
        await connection.execute("UPDATE relay_position SET seq = 2")
    await fill_outbox(bench.dsn, "to.bri", 0, 4)
    with pytest.raises(RelayRefused, match="what the outbox holds at 3 was never signed: this database is older"):
        async with asyncio.timeout(PATIENCE_S):
            await bench.relay().run(asyncio.Event())
    assert len(await bench.read("to.bri", 5)) == 5


async def test_a_restored_database_in_which_only_forwards_are_missing_is_refused(bench: Bench) -> None:
    """Forwards bear no mark of the hub's own: only what Kafka holds tells that they are other ones."""
    jws = sign_single(EVENT, bench.world.bank)
    await fill_inbox(bench.dsn, 100, [EVENT[:-1] + b',"at":%d}' % place for place in range(5)], jws)
    await fill_outbox(bench.dsn, "to.bri", 0, 5, forward_from=100)
    async with running(bench.relay()):
        await bench.reach("to.bri", 5)
    async with bench.database.connection() as connection:
        await connection.execute("UPDATE relay_position SET seq = 2")
        # The intake was started, and took the last two in the other order.
        await connection.execute("UPDATE outbox SET inbox_index = 207 - inbox_index WHERE seq > 3")
    with pytest.raises(RelayRefused, match="another message at hub-seq 4"):
        async with asyncio.timeout(PATIENCE_S):
            await bench.relay().run(asyncio.Event())
    assert len(await bench.read("to.bri", 5)) == 5


async def test_two_relays_share_the_topics_and_one_takes_over(bench: Bench) -> None:
    first, second = bench.relay(), bench.relay()
    async with running(first) as (task,):
        await until(lambda: _leads(first, 3))
        async with running(second):
            await until(lambda: _leads(second, 1))
            await fill_outbox(bench.dsn, "to.bri", 0, 20)
            await fill_outbox(bench.dsn, "to.immigration", 0, 20)
            await fill_outbox(bench.dsn, "recommendations", 0, 20, typ="recommendation")
            for topic in ("to.bri", "to.immigration", "recommendations"):
                await bench.reach(topic, 20)
        await until(lambda: _leads(first, 3))
        await fill_outbox(bench.dsn, "to.bri", 0, 1)
        await bench.reach("to.bri", 21)
        assert not task.done()
    for topic, count in (("to.bri", 21), ("to.immigration", 20), ("recommendations", 20)):
        assert seqs_of(await bench.read(topic, count)) == list(range(1, count + 1))


async def _leads(relay: Relay, count: int) -> bool:
    return len(relay.leading()) == count


async def test_a_relay_whose_session_is_cut_comes_back_and_doubles_nothing(bench: Bench) -> None:
    async with running(bench.relay()):
        for _ in range(3):
            await fill_outbox(bench.dsn, "to.bri", 0, 700)
            connection = await asyncpg.connect(bench.dsn)
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'hub-relay'"
            )
            await connection.close()
        await bench.reach("to.bri", 2100)
        records = await bench.read("to.bri", 2100)
    assert seqs_of(records) == list(range(1, 2101))


async def test_an_older_producer_is_fenced_and_its_relay_starts_a_new_one(bench: Bench) -> None:
    async with running(bench.relay()):
        await fill_outbox(bench.dsn, "to.bri", 0, 5)
        await bench.reach("to.bri", 5)
        intruder = AIOKafkaProducer(
            bootstrap_servers=bench.cluster.bootstrap,
            transactional_id=f"{bench.cluster.physical('to.bri')}-relay",
        )
        await intruder.start()
        await intruder.stop()
        await fill_outbox(bench.dsn, "to.bri", 0, 5)
        records = await bench.read("to.bri", 10)
    assert seqs_of(records) == list(range(1, 11))


async def test_a_required_proof_holds_the_recommendation_back_and_readiness_says_why(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release, "LATE_S", 0.0)
    document = bench.world.document(version=2, proof_required=True)
    await bench.world.put_in_force(bench.database, document)
    await fill_outbox(bench.dsn, "to.immigration", 0, 2)
    await fill_outbox(bench.dsn, "to.immigration", 0, 1, typ="recommendation")
    await fill_outbox(bench.dsn, "to.immigration", 0, 1)
    health = Health()
    async with running(bench.relay(health)):
        records = await bench.read("to.immigration", 2)
        await until(lambda: _says(health, "at hub-seq 3 waits: no checkpoint of the evidence log covers it"))
    assert seqs_of(records) == [1, 2]


async def _says(health: Health, words: str) -> bool:
    return any(words in problem for problem in health.problems().values())


async def test_a_missing_topic_is_waited_for_and_named(bench: Bench) -> None:
    health = Health()
    document = bench.world.document(version=2, topics=bench.world.topics | {"to.kpk": 1})
    await bench.world.put_in_force(bench.database, document)
    async with running(bench.relay(health)):
        await until(lambda: _says(health, "Topic to.kpk has 0 of its 1 partitions: run `hub kafka apply`"))
        await fill_outbox(bench.dsn, "to.kpk", 0, 1)
        await create_topics(bench.cluster, document["topics"])
        await bench.reach("to.kpk", 1)


async def test_a_key_that_the_registry_does_not_list_is_refused(bench: Bench) -> None:
    bench.world.hub = bench.world.bank
    with pytest.raises(KeyNotOurs, match="does not list the key"):
        await bench.relay().run(asyncio.Event())
