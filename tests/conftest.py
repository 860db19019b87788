"""The real stack, shared by a session's tests: one Kafka cluster, one PostgreSQL server, own names for each test."""

import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from devstack.choice import engine_answers
from devstack.kafka import Kafka, start_kafka
from devstack.postgres import Postgres, start_postgres
from devstack.run import Run
from tests.history import find_release_before
from tests.interop import toolchains

_numbers = itertools.count(1)
_missing = pytest.StashKey[list[str]]()

# The machines that run this are shared: how long one example takes says nothing.
settings.register_profile("project", deadline=None)
settings.load_profile("project")

# What some tests need beside the pinned packages, and how to tell whether it is here. Those named in ONLY_WHERE_PRESENT
# are run wherever they can be; the lack of any other fails in CI, whose set-up installs it.
NEEDS: dict[str, Callable[[], bool]] = {
    "docker engine": engine_answers,
    "root": lambda: os.geteuid() == 0,
    "curl": lambda: shutil.which("curl") is not None,
    "openssl": lambda: shutil.which("openssl") is not None,
    "go": toolchains.has_go,
    "node": toolchains.has_node,
    "jdk": toolchains.has_jdk,
    "chromium": lambda: Path("/usr/bin/chromium").is_file(),
    "softhsm": lambda: shutil.which("softhsm2-util") is not None,
    "promtool": lambda: shutil.which("promtool") is not None,
    "the release before": lambda: find_release_before() is not None,
    "mariadb": lambda: shutil.which("mariadbd") is not None and shutil.which("mariadb-install-db") is not None,
}
ONLY_WHERE_PRESENT = {"docker engine", "the release before"}


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_missing] = []
    config.addinivalue_line("markers", "needs(name): deselect and name the test where NEEDS says that `name` is absent")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    kept: list[pytest.Item] = []
    absent: list[pytest.Item] = []
    for item in items:
        lacking = _lacking(item)
        # What CI should have had is not left out: it fails, each test with its reason.
        left_out = lacking & ONLY_WHERE_PRESENT if os.environ.get("CI") else lacking
        (absent if left_out else kept).append(item)
        config.stash[_missing] += [f"{item.nodeid} (needs {name})" for name in sorted(left_out)]
    items[:] = kept
    config.hook.pytest_deselected(items=absent)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if lacking := _lacking(item):
        pytest.fail(f"This needs {', '.join(sorted(lacking))}, which CI has to install.", pytrace=False)


def _lacking(item: pytest.Item) -> set[str]:
    return {mark.args[0] for mark in item.iter_markers("needs") if not NEEDS[mark.args[0]]()}


def pytest_sessionfinish(session: pytest.Session) -> None:
    # Where several workers share the tests, only they know what is missing, and only their parent prints.
    output: dict[str, object] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["missing"] = session.config.stash[_missing]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    # Each worker collects everything, so that each says the same; one that crashed says nothing.
    node.config.stash[_missing] = getattr(node, "workeroutput", {}).get("missing", node.config.stash[_missing])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line in config.stash[_missing]:
        terminalreporter.write_line(f"not run here: {line}")


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
def secured_kafka() -> Iterator[Kafka]:
    """Give the session's cluster of another kind: with certificates, and rights for nobody but the administration."""
    with Run() as run:
        cluster = start_kafka(run, secured=True)
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
