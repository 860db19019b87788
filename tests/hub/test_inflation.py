"""A record batch of a sender cannot be small in the broker and enormous in whoever reads it."""

import asyncio

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from kafka import KafkaProducer
from kafka.errors import MessageSizeTooLargeError

from hub import transport
from hub.cluster import Cluster
from tests.hub.brokers import create_topics

PATIENCE_S = 40.0
TOPIC = "from.bri"
BATCH_BYTES_MAX = 64_000_000


def publish(bootstrap: str, topic: str, values: list[bytes]) -> None:
    """Publish values in one compressed record batch; raise the broker's refusal."""
    producer = KafkaProducer(
        bootstrap_servers=bootstrap,
        compression_type="gzip",
        max_request_size=BATCH_BYTES_MAX,
        batch_size=BATCH_BYTES_MAX,
        linger_ms=500,
        # A batch that is too large would be split and sent again.
        retries=0,
        enable_idempotence=False,
    )
    try:
        sent = [producer.send(topic, value, partition=0) for value in values]
        for one in sent:
            one.get(PATIENCE_S)
    finally:
        producer.close()


async def read_all(bootstrap: str, topic: str) -> list[bytes | None]:
    """Return the values that stand in the topic."""
    place = TopicPartition(topic, 0)
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([place])
        end = (await consumer.end_offsets([place]))[place]
        return [(await consumer.getone()).value for _ in range(end)]
    finally:
        await consumer.stop()


async def test_what_inflates_past_the_limit_is_refused_by_the_broker(kafka: str, topic_prefix: str) -> None:
    await create_topics(Cluster(kafka, topic_prefix), {TOPIC: 1})
    with pytest.raises(MessageSizeTooLargeError):
        await asyncio.to_thread(publish, kafka, topic_prefix + TOPIC, [bytes(32_000_000)])
    honest = [b"%d" % number * 1_000 for number in range(100)]
    await asyncio.to_thread(publish, kafka, topic_prefix + TOPIC, honest)
    assert await read_all(kafka, topic_prefix + TOPIC) == honest


async def test_without_that_setting_a_small_batch_comes_out_enormous(
    kafka: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = transport.write_settings
    as_sent = {"compression.type": "producer"}
    monkeypatch.setattr(transport, "write_settings", lambda topic, replicas: settings(topic, replicas) | as_sent)
    await create_topics(Cluster(kafka, topic_prefix), {TOPIC: 1})
    await asyncio.to_thread(publish, kafka, topic_prefix + TOPIC, [bytes(32_000_000)])
    assert await read_all(kafka, topic_prefix + TOPIC) == [bytes(32_000_000)]


def test_the_hubs_own_topics_stay_as_they_are_written() -> None:
    for topic in ("to.bri", "recommendations"):
        assert transport.write_settings(topic, 1)["compression.type"] == "producer"
