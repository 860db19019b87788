"""The real stack, shared by a session's tests: one Kafka cluster, one PostgreSQL server, own names for each test."""

import itertools
from collections.abc import Iterator

import pytest

from devstack.kafka import Kafka, start_kafka
from devstack.postgres import Postgres, start_postgres
from devstack.run import Run

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests run on asyncio alone, as the project does."""
    return "asyncio"


@pytest.fixture(scope="session")
def stack_run() -> Iterator[Run]:
    """Own the session's processes and its temporary folder."""
    with Run() as run:
        yield run


@pytest.fixture(scope="session")
def kafka_cluster(stack_run: Run) -> Iterator[Kafka]:
    """Give the session's cluster."""
    cluster = start_kafka(stack_run)
    yield cluster
    cluster.close()


@pytest.fixture(scope="session")
def kafka(kafka_cluster: Kafka) -> str:
    """Give the bootstrap address of the session's cluster."""
    return kafka_cluster.bootstrap


@pytest.fixture(scope="session")
def postgres_server(stack_run: Run) -> Iterator[Postgres]:
    """Give the session's server."""
    server = start_postgres(stack_run)
    yield server
    server.close()


@pytest.fixture(scope="session")
def postgres(postgres_server: Postgres) -> str:
    """Give the administrator's DSN of the session's server."""
    return postgres_server.dsn


@pytest.fixture
def database(postgres_server: Postgres) -> Iterator[str]:
    """Give the DSN of an empty database that only this test has."""
    dsn = postgres_server.create_database()
    yield dsn
    postgres_server.drop_database(dsn)


@pytest.fixture
def topic_prefix(kafka_cluster: Kafka) -> Iterator[str]:
    """Give a prefix that only this test's topics have; they are deleted afterwards."""
    prefix = f"{kafka_cluster.prefix}t{next(_numbers)}-"
    yield prefix
    kafka_cluster.delete_topics(prefix)
