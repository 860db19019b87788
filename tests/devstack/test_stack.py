"""The development stack's own promises, on whatever stack this session uses."""

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from devstack.kafka import Kafka
from devstack.postgres import DURABLE, Postgres

LOG_APPEND_TIME = 1


async def test_topic_has_log_append_time_and_transactions(kafka_cluster: Kafka, topic_prefix: str) -> None:
    topic = f"{topic_prefix}letters"
    kafka_cluster.create_topics({topic: 2})
    async with (
        AIOKafkaProducer(
            bootstrap_servers=kafka_cluster.bootstrap, transactional_id=f"{topic_prefix}writer", enable_idempotence=True
        ) as producer,
        producer.transaction(),
    ):
        sent = await producer.send_and_wait(topic, b"value", partition=1, timestamp_ms=1)
    async with AIOKafkaConsumer(
        topic,
        bootstrap_servers=kafka_cluster.bootstrap,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    ) as consumer:
        record = await consumer.getone()
    assert (record.value, record.partition, record.timestamp_type) == (b"value", 1, LOG_APPEND_TIME)
    assert sent.offset == record.offset == 0
    assert record.timestamp > 1


async def test_database_is_empty_and_commits_survive_a_power_cut(database: str) -> None:
    connection = await asyncpg.connect(database)
    try:
        assert await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
        assert connection.get_server_version().major == 18
        for name in DURABLE:
            assert await connection.fetchval(f"SELECT current_setting('{name}')") == "on"
    finally:
        await connection.close()


async def test_each_test_has_a_database_of_its_own(database: str, postgres_server: Postgres) -> None:
    other = postgres_server.create_database()
    try:
        assert other != database
    finally:
        postgres_server.drop_database(other)
