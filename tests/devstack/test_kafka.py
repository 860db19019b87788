"""Clusters of the development stack: three brokers, a given one, and jars that are not what the lock says."""

from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from devstack import jars
from devstack.choice import Choice, choose
from devstack.kafka import Kafka, start_kafka
from devstack.processes import StackError
from devstack.run import Run


async def test_three_brokers_go_on_without_the_leader() -> None:
    with Run() as run:
        kafka = start_kafka(run, brokers=3)
        topic = f"{kafka.prefix}letters"
        kafka.create_topics({topic: 1})
        async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, acks="all", enable_idempotence=True) as producer:
            await producer.send_and_wait(topic, b"before")
            leader = kafka.find_leader(topic, 0)
            leader.kill()
            sent = await producer.send_and_wait(topic, b"after")
            assert sent.offset == 1
            assert kafka.find_leader(topic, 0) is not leader
        leader.start()
        kafka.wait_until_ready()
        kafka.close()


def test_given_cluster_with_foreign_topics_is_refused(
    kafka_cluster: Kafka, stack_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP", kafka_cluster.bootstrap)
    monkeypatch.delenv("DEVSTACK", raising=False)
    with kafka_cluster.admin() as admin:
        admin.create_topics({"payroll": {"num_partitions": 1}}, wait_for_metadata=True)
        try:
            with pytest.raises(StackError, match=r"'payroll' is one of 1\); give it an empty one\.$"):
                start_kafka(stack_run)
        finally:
            admin.delete_topics(["payroll"])


def test_given_cluster_is_left_as_it_was(kafka_cluster: Kafka, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP", kafka_cluster.bootstrap)
    monkeypatch.delenv("DEVSTACK", raising=False)
    with Run() as run:
        given = start_kafka(run)
        assert given.choice is Choice.GIVEN
        given.create_topics({f"{given.prefix}one": 1, f"{given.prefix}two": 2})
        given.close()
        with kafka_cluster.admin() as admin:
            assert not [name for name in admin.list_topics() if name.startswith(run.prefix)]
        with pytest.raises(StackError, match="not one of this run's"):
            given.delete_topics(kafka_cluster.prefix)


def test_unknown_choice_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEVSTACK", "podman")
    with pytest.raises(StackError, match="only 'embedded' and 'docker' are known"):
        choose(None)


def test_jar_with_another_byte_is_refused(tmp_path: Path) -> None:
    for jar in jars.fetch_jars().glob("*.jar"):
        (tmp_path / jar.name).symlink_to(jar)
    jars.check_jars(tmp_path)

    changed = tmp_path / f"kafka-clients-{jars.KAFKA_VERSION}.jar"
    content = bytearray(changed.read_bytes())
    content[-1] ^= 1
    changed.unlink()
    changed.write_bytes(content)
    with pytest.raises(StackError, match=r"kafka-clients-.*\.jar in .* is not the one in kafka\.lock"):
        jars.check_jars(tmp_path)


def test_additional_jar_is_refused(tmp_path: Path) -> None:
    for jar in jars.fetch_jars().glob("*.jar"):
        (tmp_path / jar.name).symlink_to(jar)
    (tmp_path / "stowaway.jar").write_bytes(b"")
    with pytest.raises(StackError, match=r"stowaway\.jar"):
        jars.check_jars(tmp_path)


def test_java_of_the_wheel_is_used_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert jars.find_java().endswith("java-runtime/bin/java")
