"""Without any one of the protections the invariants do fail: each is taken away from a process, and then they must.

Every scenario is also played with the protection in place, and then nothing is found.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from devstack.kafka import Kafka
from devstack.postgres import Postgres
from tests.faults.exchange import Exchange, open_exchange
from tests.faults.scenarios import (
    REPLACEMENTS,
    freeze_intake,
    freeze_relay,
    kill_sender,
    lose_answers,
    repeat_delivery,
    tell_all_at_once,
    tell_more_at_once,
    tell_twice,
)

WATERMARK = [
    f"hub.store.positions:MOVE={REPLACEMENTS}:MOVE_FROM_ANYWHERE",
    f"hub.store.positions:MOVE_TOGETHER={REPLACEMENTS}:MOVE_TOGETHER_FROM_ANYWHERE",
]
INBOX_KEY = [f"hub.store.inbox:recall={REPLACEMENTS}:recall_nothing"]
LOCK_ORDER = [f"hub.store.cases:lock_cases={REPLACEMENTS}:lock_cases_in_any_order"]
ABSENT_ROW = [
    f"hub.store.cases:lock_codes={REPLACEMENTS}:lock_codes_that_are_there",
    f"hub.store.cases:lock_cases={REPLACEMENTS}:lock_cases_that_are_there",
    f"hub.store.cases:SAVE_CODES={REPLACEMENTS}:UPSERT_CODES",
    f"hub.store.cases:SAVE_CASES={REPLACEMENTS}:UPSERT_CASES",
]
FENCING = [f"hub.relay:AIOKafkaProducer={REPLACEMENTS}:UnfencedProducer"]
RECYCLING = [f"hub.relay:TopicRelay._lead_term={REPLACEMENTS}:lead_with_one_producer"]
SPOOL = [
    f"connectors.link.spool_file:SpoolFile._open={REPLACEMENTS}:open_forgetful",
    f"connectors.link.lineage:Lineage.start={REPLACEMENTS}:start_blindly",
]
DEDUPE = [
    f"connectors.link.stream_reader:is_repeat={REPLACEMENTS}:is_never_repeat",
    f"connectors.immigration.standing_file:QUEUE={REPLACEMENTS}:QUEUE_AGAIN",
]

Scenario = Callable[[Exchange, list[str]], list[str]]


# What each one keeps, by the numbers of the invariants that fail without it.
PROTECTIONS: dict[str, tuple[Scenario, list[str], str]] = {
    "watermark": (freeze_intake, WATERMARK, "278"),
    "inbox key": (tell_twice, INBOX_KEY, "1"),
    "lock order": (tell_more_at_once, LOCK_ORDER, "8"),
    "absent-row insert": (tell_all_at_once, ABSENT_ROW, "36"),
    "fencing": (freeze_relay, FENCING, "4"),
    "producer recycling": (lose_answers, RECYCLING, "4"),
    "spool-before-send": (kill_sender, SPOOL, "15"),
    "subscriber's dedupe": (repeat_delivery, DEDUPE, "38"),
}


@pytest.mark.parametrize("name", PROTECTIONS)
def test_without_it_the_invariants_fail(
    name: str, kafka_cluster: Kafka, postgres_server: Postgres, tmp_path: Path
) -> None:
    scenario, replacing, invariants = PROTECTIONS[name]
    with open_exchange(kafka_cluster, postgres_server, tmp_path) as exchange:
        found = scenario(exchange, replacing)
        assert {line[0] for line in found} & set(invariants), found


@pytest.mark.parametrize(
    "scenario",
    [freeze_intake, tell_twice, tell_all_at_once, tell_more_at_once, freeze_relay, lose_answers, kill_sender],
    ids=lambda scenario: scenario.__name__,
)
def test_with_all_of_them_they_hold(scenario: Scenario, exchange: Exchange) -> None:
    assert scenario(exchange, []) == []


def test_with_all_of_them_nothing_is_delivered_twice(
    kafka_cluster: Kafka, postgres_server: Postgres, tmp_path: Path
) -> None:
    # An exchange of its own, since its stream is not 1 to n in order any more.
    with open_exchange(kafka_cluster, postgres_server, tmp_path) as exchange:
        assert repeat_delivery(exchange, []) == []
