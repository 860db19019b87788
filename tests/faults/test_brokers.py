"""Three brokers: the leader is killed, and all of them are restarted one after the other, while messages flow."""

from collections.abc import Iterator

import pytest

from devstack.kafka import Broker, Kafka, start_kafka
from devstack.postgres import Postgres
from devstack.run import Run
from tests.faults.exchange import Exchange, open_exchange

APPLICATIONS = 4
SETTLE_LIMIT_S = 120.0
TOPICS = ("from.ministry", "from.bri", "to.immigration", "recommendations")


@pytest.fixture(scope="module")
def three(postgres_server: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Kafka, Exchange]]:
    """Give three brokers of their own, and an exchange that runs on them."""
    with Run() as run:
        kafka = start_kafka(run, brokers=3)
        with open_exchange(kafka, postgres_server, tmp_path_factory.mktemp("brokers")) as exchange:
            exchange.begin()
            yield kafka, exchange
        kafka.close()


@pytest.mark.parametrize("topic", TOPICS)
def test_leader_is_killed(topic: str, three: tuple[Kafka, Exchange]) -> None:
    kafka, exchange = three
    telling = exchange.natives.tell(exchange.natives.deal(APPLICATIONS))
    leader = kafka.find_leader(exchange.rig.cast.services.topic_prefix + topic, 0)
    leader.kill()
    exchange.settle(telling, SETTLE_LIMIT_S)
    _bring_back(kafka, leader)
    exchange.settle(exchange.load(1), SETTLE_LIMIT_S)
    assert exchange.findings() == []


def test_rolling_restart(three: tuple[Kafka, Exchange]) -> None:
    kafka, exchange = three
    telling = []
    for broker in kafka.brokers:
        telling += exchange.natives.tell(exchange.natives.deal(APPLICATIONS))
        broker.stop()
        _bring_back(kafka, broker)
    exchange.settle([*telling, *exchange.load(1)], SETTLE_LIMIT_S)
    assert exchange.findings() == []


def _bring_back(kafka: Kafka, broker: Broker) -> None:
    broker.start()
    kafka.wait_until_ready()
