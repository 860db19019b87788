"""The drill: a connector's folder is lost, restored from yesterday, or an old copy of it is started again."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack.kafka import Kafka
from devstack.postgres import Postgres
from tests.faults.background import wait_until
from tests.faults.exchange import Exchange, open_exchange

APPLICATIONS = 2
END_LIMIT_S = 60.0
FOUND_WRONG = 1


@pytest.fixture(scope="module")
def exchange(
    kafka_cluster: Kafka, postgres_server: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Exchange]:
    """Give an exchange that has worked for a while."""
    with open_exchange(kafka_cluster, postgres_server, tmp_path_factory.mktemp("drill")) as exchange:
        exchange.begin()
        exchange.settle(exchange.load(APPLICATIONS))
        yield exchange


def folder_of(exchange: Exchange, agency: str) -> Path:
    return exchange.rig.cast.folder / "spool" / agency


def copy(exchange: Exchange, agency: str, name: str) -> Path:
    """Stop a connector, copy its folder, and start it again."""
    exchange.rig.stop(f"connector-{agency}")
    target = exchange.rig.cast.folder / f"{agency}-{name}"
    shutil.copytree(folder_of(exchange, agency), target)
    start(exchange, agency)
    return target


def start(exchange: Exchange, agency: str) -> None:
    exchange.rig.start(f"connector-{agency}")
    exchange.rig.wait_ready(f"connector-{agency}")


def put_in_place(exchange: Exchange, agency: str, source: Path | None) -> None:
    """Put a copy, or nothing, in the place of a connector's folder."""
    shutil.rmtree(folder_of(exchange, agency))
    if source is None:
        folder_of(exchange, agency).mkdir(mode=0o700)
    else:
        shutil.copytree(source, folder_of(exchange, agency))


def refuses_to_start(exchange: Exchange, agency: str) -> str:
    """Start a connector that must stop by itself; return what it said."""
    exchange.rig.start(f"connector-{agency}")
    child = exchange.rig.running[f"connector-{agency}"]
    wait_until("it has ended", lambda: not child.is_alive(), END_LIMIT_S)
    assert child.returncode == FOUND_WRONG
    return child.read_log_tail()


@pytest.mark.parametrize("agency", ["ministry", "bri", "mandiri", "immigration"])
def test_the_folder_is_deleted(agency: str, exchange: Exchange) -> None:
    exchange.rig.kill(f"connector-{agency}")
    put_in_place(exchange, agency, None)
    start(exchange, agency)
    assert exchange.findings_in_the_end(exchange.load(APPLICATIONS)) == []


@pytest.mark.parametrize("agency", ["ministry", "immigration"])
def test_the_folder_is_lost_while_messages_are_on_their_way(agency: str, exchange: Exchange) -> None:
    telling = exchange.natives.tell(exchange.natives.deal(APPLICATIONS))
    exchange.rig.kill(f"connector-{agency}")
    put_in_place(exchange, agency, None)
    start(exchange, agency)
    assert exchange.findings_in_the_end(telling) == []


@pytest.mark.parametrize("agency", ["ministry", "bri"])
def test_yesterdays_copy_is_restored_and_then_an_old_one_started_again(agency: str, exchange: Exchange) -> None:
    yesterday = copy(exchange, agency, "yesterday")
    exchange.settle(exchange.load(APPLICATIONS))
    today = copy(exchange, agency, "today")
    exchange.rig.stop(f"connector-{agency}")
    put_in_place(exchange, agency, yesterday)
    assert "This spool is an old copy" in refuses_to_start(exchange, agency)
    put_in_place(exchange, agency, None)
    start(exchange, agency)
    exchange.settle(exchange.load(APPLICATIONS))
    newest = copy(exchange, agency, "newest")
    exchange.rig.stop(f"connector-{agency}")
    put_in_place(exchange, agency, today)
    assert "This spool is an old copy" in refuses_to_start(exchange, agency)
    put_in_place(exchange, agency, newest)
    start(exchange, agency)
    assert exchange.findings_in_the_end(exchange.load(1)) == []
