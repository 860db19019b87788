"""One exchange of real processes that the tests of a session share, each with applications of its own."""

from collections.abc import Iterator

import pytest

from devstack.kafka import Kafka
from devstack.postgres import Postgres
from tests.faults.exchange import Exchange, open_exchange


@pytest.fixture(scope="session")
def exchange(
    kafka_cluster: Kafka, postgres_server: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Exchange]:
    """Give the running exchange."""
    with open_exchange(kafka_cluster, postgres_server, tmp_path_factory.mktemp("flow")) as exchange:
        exchange.begin()
        yield exchange
