"""The intake against a real Kafka and a real PostgreSQL: whatever happens, every offset counts exactly once."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from tenacity import AsyncRetrying, retry_if_result, stop_after_delay, wait_fixed

from contracts.wire.record import Record
from hub import desk, failpoint, fsck, step, topics
from hub.cluster import Cluster
from hub.health import Health
from hub.intake import Intake, IntakeFailed
from hub.step import Case, Step
from hub.topics import TopicChanged
from tests.hub.brokers import create_topics
from tests.hub.exchange import HEARD, Exchange

PATIENCE_S = 40.0


class Stage:
    """An exchange on Kafka: its topics, what publishes to them, and intakes to run."""

    def __init__(self, exchange: Exchange, bootstrap: str, prefix: str) -> None:
        self.exchange = exchange
        self.bootstrap = bootstrap
        self.prefix = prefix
        self.cluster = Cluster(bootstrap, prefix)
        self.health = Health()

    async def publish(self, records: Sequence[Record], partition: int = 0) -> None:
        """Put records into their topic as their sender would."""
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, enable_idempotence=True)
        await producer.start()
        try:
            for one in records:
                await producer.send(
                    self.prefix + one.topic, one.value, key=one.key, headers=list(one.headers), partition=partition
                )
        finally:
            await producer.stop()

    def intake(self, group: str | None = None, **others: Any) -> Intake:
        intake = Intake(self.exchange.desk, self.cluster, self.health, **others)
        if group is not None:
            intake.group = self.prefix + group
        return intake

    @contextlib.asynccontextmanager
    async def running(self, *intakes: Intake) -> AsyncIterator[list[asyncio.Task[None]]]:
        tasks = [asyncio.create_task(intake.run()) for intake in intakes]
        try:
            yield tasks
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def count(self, query: str) -> int:
        async with self.exchange.database.connection() as connection:
            return int(await connection.fetchval(query))

    async def wait(self, check: Callable[[], Awaitable[bool]], tasks: Sequence[asyncio.Task[None]] = ()) -> None:
        """Wait until `check` holds; a task that ends meanwhile has failed."""
        retrying = AsyncRetrying(
            retry=retry_if_result(lambda done: not done), wait=wait_fixed(0.05), stop=stop_after_delay(PATIENCE_S)
        )

        async def look() -> bool:
            for task in tasks:
                if task.done():
                    task.result()
            return await check()

        assert await retrying(look)

    async def taken(self, messages: int, tasks: Sequence[asyncio.Task[None]]) -> None:
        """Wait until so many offsets have been consumed."""

        async def enough() -> bool:
            return await self.count("SELECT COALESCE(sum(next), 0) FROM watermark") >= messages

        await self.wait(enough, tasks)


@pytest.fixture
async def stage(database: str, kafka: str, topic_prefix: str) -> AsyncIterator[Stage]:
    exchange = await Exchange.open(database, partitions=2)
    names = {f"from.{name}": 2 for name in HEARD}
    await create_topics(Cluster(kafka, topic_prefix), names)
    opened = Stage(exchange, kafka, topic_prefix)
    yield opened
    assert await fsck.check(exchange.database) == []
    await exchange.database.close()


@pytest.fixture
def disarm() -> Iterator[None]:
    yield
    failpoint.arm(lambda name: None)


def permits(stage: Stage, first: int, last: int) -> tuple[list[Record], list[Record]]:
    """Return the Ministry's and the bank's messages about some applications, five in all for each."""
    ministry, bri = stage.exchange.ministry, stage.exchange.bri
    values, paid = [], []
    for number in range(first, last):
        application, code = f"B.3/{number:06d}", f"{820260302000000 + number}"
        values += [ministry.submitted(application), ministry.billed(application, code)]
        values += [ministry.permit("completed", application), ministry.approved(application)]
        paid.append(bri.paid(code))
    signed = [one for start in range(0, len(values), 64) for one in ministry.sign_all(values[start : start + 64])]
    return signed, [bri.sign(value) for value in paid]


async def test_a_permit_and_a_payment_through_kafka(stage: Stage) -> None:
    signed, paid = permits(stage, 0, 1)
    async with stage.running(stage.intake()) as tasks:
        await stage.publish(signed)
        await stage.publish(paid, partition=1)
        await stage.taken(5, tasks)
    issued = await stage.exchange.sent("recommendations")
    assert [event["data"]["state"] for event in issued] == ["issued"]
    assert stage.health.problems() == {}


async def test_two_intakes_share_and_a_third_takes_over(stage: Stage) -> None:
    signed, paid = permits(stage, 0, 40)
    async with stage.running(stage.intake(batch_size=7), stage.intake(batch_size=7)) as tasks:
        await stage.publish(signed)
        await stage.publish(paid)
        await stage.taken(100, tasks)
    signed, paid = permits(stage, 40, 60)
    async with stage.running(stage.intake()) as tasks:
        await stage.publish(paid, partition=1)
        await stage.publish(signed, partition=1)
        await stage.taken(300, tasks)
    assert len(await stage.exchange.sent("recommendations")) == 60


async def test_rival_owners_of_the_same_partitions_do_everything_once(stage: Stage) -> None:
    # Two groups own every partition each: neither Kafka nor its generations stand between them, only the position.
    signed, paid = permits(stage, 0, 60)
    await stage.publish(signed)
    await stage.publish(paid)
    async with stage.running(stage.intake("a", batch_size=5), stage.intake("b", batch_size=3)) as tasks:
        await stage.taken(300, tasks)
    assert len(await stage.exchange.sent("recommendations")) == 60
    assert await stage.count("SELECT count(*) FROM inbox") == 300


async def test_a_bug_is_isolated_to_its_record(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def choke(case: Case, *others: Any) -> Step:
        if case.id == "B.3/000003":
            raise ZeroDivisionError(case.id)
        return step.advance(case, *others)

    monkeypatch.setattr(desk, "advance", choke)
    signed, _ = permits(stage, 0, 8)
    async with stage.running(stage.intake()) as tasks:
        await stage.publish(signed)
        await stage.taken(32, tasks)
    assert await stage.count("SELECT count(*) FROM inbox") == 29
    row = await stage.exchange.row("SELECT DISTINCT code, fault, traceback FROM quarantine")
    assert (row["code"], row["fault"]) == ("poison", "hub")
    assert "choke" in row["traceback"]
    assert row["traceback"].endswith("builtins.ZeroDivisionError")


class BadName(str):
    """A header's name whose bytes are no UTF-8, for a producer that encodes it."""

    __slots__ = ()

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return b"x-\xff\xfe"


@pytest.mark.parametrize("codec", [None, "gzip"])
async def test_a_header_name_that_is_no_text_stops_nobody(stage: Stage, codec: str | None) -> None:
    bri, mandiri = stage.exchange.bri, stage.exchange.mandiri
    bad, good, other = bri.sign(bri.paid()), bri.sign(bri.paid()), mandiri.sign(mandiri.paid())

    def publish_bad() -> None:
        producer = KafkaProducer(bootstrap_servers=stage.bootstrap, compression_type=codec)
        try:
            headers = [*bad.headers, (BadName("x"), b"1")]
            sent = producer.send(stage.prefix + bad.topic, bad.value, key=bad.key, headers=headers, partition=0)
            sent.get(PATIENCE_S)
        finally:
            producer.close()

    await asyncio.to_thread(publish_bad)
    await stage.publish([good, other])
    async with stage.running(stage.intake()) as tasks:
        await stage.taken(3, tasks)
    if codec is not None:
        # The broker has written the batch anew to store it uncompressed, the header's name in UTF-8.
        assert await stage.count("SELECT count(*) FROM inbox") == 3
        return
    row = await stage.exchange.row("SELECT code, fault, value, headers FROM quarantine")
    assert (row["code"], row["fault"], row["value"]) == ("header_invalid", "sender", bad.value)
    assert json.loads(row["headers"])[-1] == ["x-\udcff\udcfe", "MQ=="]
    assert await stage.count("SELECT count(*) FROM inbox") == 2


@pytest.mark.parametrize("error", [asyncpg.DeadlockDetectedError, asyncpg.ConnectionDoesNotExistError, OSError])
@pytest.mark.parametrize("point", ["intake.after_inbox", "intake.before_commit", "intake.after_commit"])
@pytest.mark.usefixtures("disarm")
async def test_what_passes_is_tried_again_and_an_unknown_commit_is_settled(
    stage: Stage, error: type[Exception], point: str
) -> None:
    left = [3]

    def fail(name: str) -> None:
        if name == point and left[0]:
            left[0] -= 1
            raise error("for the test")

    failpoint.arm(fail)
    signed, paid = permits(stage, 0, 4)
    async with stage.running(stage.intake(batch_size=4)) as tasks:
        await stage.publish(signed)
        await stage.publish(paid)
        await stage.taken(20, tasks)
    assert left == [0]
    assert await stage.count("SELECT count(*) FROM inbox") == 20
    assert len(await stage.exchange.sent("recommendations")) == 4


def administrate(stage: Stage, work: Callable[[Any], object]) -> None:
    client = KafkaAdminClient(bootstrap_servers=stage.bootstrap)
    try:
        work(client)
    finally:
        client.close()


async def test_what_retention_took_is_noted_as_lost(stage: Stage) -> None:
    signed, _ = permits(stage, 0, 4)
    await stage.publish(signed)
    place = TopicPartition(f"{stage.prefix}from.ministry", 0)
    await asyncio.to_thread(administrate, stage, lambda client: client.delete_records({place: 10}))
    async with stage.running(stage.intake()) as tasks:
        await stage.taken(16, tasks)
    row = await stage.exchange.row("SELECT from_offset, to_offset FROM watermark_interval WHERE kind = 'lost'")
    assert (row["from_offset"], row["to_offset"]) == (0, 10)
    assert await stage.count("SELECT count(*) FROM inbox") == 6


async def test_a_topic_that_was_made_anew_stops_the_intake(stage: Stage) -> None:
    signed, _ = permits(stage, 0, 1)
    await stage.publish(signed)
    async with stage.running(stage.intake()) as tasks:
        await stage.taken(4, tasks)
    name = f"{stage.prefix}from.ministry"
    await asyncio.to_thread(administrate, stage, lambda client: client.delete_topics([name]))

    async def gone() -> bool:
        return "from.ministry" not in await topics.describe(stage.cluster, ["from.ministry"])

    await stage.wait(gone)
    await create_topics(stage.cluster, {"from.ministry": 2})
    with pytest.raises(TopicChanged, match="deleted and created anew"):
        await stage.intake().run()


async def test_a_position_above_the_end_stops_the_intake(stage: Stage) -> None:
    signed, _ = permits(stage, 0, 1)
    await stage.publish(signed)
    async with stage.running(stage.intake()) as tasks:
        await stage.taken(4, tasks)
    async with stage.exchange.database.transaction() as tx:
        await tx.execute("UPDATE watermark SET next = 9 WHERE next = 4")
        await tx.execute("UPDATE watermark_interval SET to_offset = 9 WHERE to_offset = 4")
    with pytest.raises(TopicChanged, match="ends at 4, but was consumed up to 9"):
        await stage.intake().run()


async def test_senders_must_not_choose_the_time(stage: Stage) -> None:
    name = f"{stage.prefix}from.kpk"
    party = {"id": "kpk", "kind": "oversight", "publishes": ["id.tka.bank.payment.received.v1"]}
    await stage.exchange.register([party])
    topic = NewTopic(name, 1, 1, topic_configs={"message.timestamp.type": "CreateTime"})
    await asyncio.to_thread(administrate, stage, lambda client: client.create_topics([topic], wait_for_metadata=True))
    record = stage.exchange.bri.sign(stage.exchange.bri.paid(), topic="from.kpk")
    await stage.publish([record])
    with pytest.raises(IntakeFailed, match="LogAppendTime"):
        await stage.intake().run()


async def test_a_new_participant_is_heard_without_a_restart(stage: Stage) -> None:
    signed, _ = permits(stage, 0, 1)
    async with stage.running(stage.intake()) as tasks:
        await stage.publish(signed)
        await stage.taken(4, tasks)
        party = {"id": "kpk", "kind": "oversight", "publishes": ["id.tka.bank.payment.received.v1"]}
        await stage.exchange.register([party])
        await create_topics(stage.cluster, {"from.kpk": 1})
        await stage.publish([stage.exchange.bri.sign(stage.exchange.bri.paid(), topic="from.kpk")])
        await stage.taken(5, tasks)
    assert (await stage.exchange.row("SELECT code FROM quarantine"))["code"] == "topic_wrong"


async def test_an_unreachable_kafka_is_waited_for(stage: Stage) -> None:
    stage.cluster = Cluster("127.0.0.1:1", stage.prefix)

    async def reported() -> bool:
        return "intake" in stage.health.problems()

    async with stage.running(stage.intake()) as tasks:
        await stage.wait(reported, tasks)
