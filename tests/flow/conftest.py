"""One exchange of real processes that the tests of a session share, each with applications of its own."""

from collections.abc import Iterator

import pytest

from devstack.kafka import Kafka
from devstack.postgres import Postgres
from tests.faults.exchange import Exchange, open_exchange
from tests.faults.rig import EVERYTHING
from tests.flow.collector import Collector, open_collector


@pytest.fixture(scope="session")
def collector() -> Iterator[Collector]:
    """Give the collector to which the shared exchange's processes send their spans."""
    with open_collector() as collector:
        yield collector


@pytest.fixture(scope="session")
def exchange(
    kafka_cluster: Kafka, postgres_server: Postgres, tmp_path_factory: pytest.TempPathFactory, collector: Collector
) -> Iterator[Exchange]:
    """Give the running exchange."""
    with open_exchange(kafka_cluster, postgres_server, tmp_path_factory.mktemp("flow")) as exchange:
        exchange.rig.extra |= {name: {"TRACES_URL": collector.url} for name in EVERYTHING if name != "witness"}
        exchange.begin()
        yield exchange
