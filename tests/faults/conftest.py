"""One exchange that goes on through all the kills; after a test that failed, the next one gets a new exchange."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from devstack.kafka import Kafka
from devstack.postgres import Postgres
from tests.faults.exchange import Exchange, open_exchange

# Modules whose tests share an exchange of their own: with several workers, one of them runs all of these.
TOGETHER = {"test_brokers.py", "test_outages_spool.py"}


# Before the plugin that shares the tests out looks at their groups.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent and item.path.name in TOGETHER:
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


class Lease:
    """Keeps one running exchange for as long as it is sound."""

    def __init__(self, kafka: Kafka, postgres: Postgres, folder: Path) -> None:
        self._services = kafka, postgres
        self._folder = folder
        self._stack = ExitStack()
        self._exchange: Exchange | None = None

    def take(self) -> Exchange:
        """Return the running exchange, or a new one."""
        if self._exchange is None:
            self._exchange = self._stack.enter_context(open_exchange(*self._services, self._folder))
            self._exchange.begin()
        return self._exchange

    def give_up(self) -> None:
        """End the exchange."""
        self._exchange = None
        self._stack.close()


@pytest.fixture(scope="session")
def lease(kafka_cluster: Kafka, postgres_server: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lease]:
    lease = Lease(kafka_cluster, postgres_server, tmp_path_factory.mktemp("faults"))
    yield lease
    lease.give_up()


@pytest.fixture
def exchange(lease: Lease, request: pytest.FixtureRequest) -> Iterator[Exchange]:
    """Give the running exchange. Its whole history must hold at the end of each test."""
    failed = request.session.testsfailed
    yield lease.take()
    if request.session.testsfailed > failed:
        lease.give_up()
