"""Two intakes and two relays at once share the work, and one that was frozen changes nothing when it wakes up."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack.kafka import Kafka
from devstack.postgres import Postgres
from tests.faults.background import wait_until
from tests.faults.exchange import Exchange, open_exchange
from tests.faults.scenarios import RELAYS, freeze_intake, freeze_relay, start_second_relay

SHARE_LIMIT_S = 30.0
APPLICATIONS = 6


@pytest.fixture
def own(kafka_cluster: Kafka, postgres_server: Postgres, tmp_path: Path) -> Iterator[Exchange]:
    """Give an exchange that only this test has; nothing of it is started."""
    with open_exchange(kafka_cluster, postgres_server, tmp_path) as exchange:
        yield exchange


def test_two_intakes_and_two_relays_share_the_work(own: Exchange) -> None:
    own.begin()
    own.rig.start("hub-intake-2")
    own.rig.wait_ready("hub-intake-2")
    start_second_relay(own, [])
    telling = own.load(APPLICATIONS)
    intakes = ("hub-intake-1", "hub-intake-2")
    own.settle(telling)
    wait_until("both intakes took", lambda: _both_took(own, intakes), SHARE_LIMIT_S)
    assert all(own.rig.read_figure(one, "hub_relay_messages_total") > 0 for one in RELAYS)
    assert own.findings() == []


def _both_took(exchange: Exchange, intakes: tuple[str, str]) -> bool:
    """Whether each intake has taken messages; a new load is told as long as the group is still sharing out."""
    if all(exchange.rig.read_figure(one, "hub_intake_messages_total") > 0 for one in intakes):
        return True
    exchange.settle(exchange.load(2))
    return False


def test_frozen_intake_changes_nothing_when_it_wakes_up(own: Exchange) -> None:
    assert freeze_intake(own, []) == []


def test_frozen_relay_changes_nothing_when_it_wakes_up(own: Exchange) -> None:
    assert freeze_relay(own, []) == []
