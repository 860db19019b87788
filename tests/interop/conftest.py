"""The foreign programs, made ready once a session, and the exchange whose log and recommendations they check."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from devstack.kafka import Kafka
from devstack.postgres import Postgres
from tests.faults.exchange import Exchange, open_exchange
from tests.interop import toolchains

LIBRARIES = {"jose": "node", "jwx": "go", "nimbus": "jdk"}


@pytest.fixture(scope="session")
def go_programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder of the Go programs."""
    return toolchains.build_go(tmp_path_factory.mktemp("go"))


@pytest.fixture(scope="session")
def node_programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder of the JavaScript programs."""
    return toolchains.install_node(tmp_path_factory.mktemp("node"))


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.needs(tool)) for name, tool in LIBRARIES.items()])
def library(request: pytest.FixtureRequest) -> Sequence[str]:
    """Give the command that asks one foreign JOSE library."""
    match request.param:
        case "jose":
            return ["node", str(request.getfixturevalue("node_programs") / "jose.js")]
        case "jwx":
            return [str(request.getfixturevalue("go_programs") / "jwx")]
        case _:
            return toolchains.nimbus_command()


@pytest.fixture(scope="session")
def exchange(
    kafka_cluster: Kafka, postgres_server: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Exchange]:
    """Give the running exchange."""
    with open_exchange(kafka_cluster, postgres_server, tmp_path_factory.mktemp("interop")) as exchange:
        exchange.begin()
        yield exchange
