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
    tell_twice,
)

WATERMARK = [f"hub.store.positions:MOVE={REPLACEMENTS}:MOVE_FROM_ANYWHERE"]
INBOX_KEY = [f"hub.store.inbox:recall={REPLACEMENTS}:recall_nothing"]
LOCK_ORDER = [
    f"hub.store.cases:lock_codes={REPLACEMENTS}:lock_codes_in_any_order",
    f"hub.store.cases:lock_cases={REPLACEMENTS}:lock_cases_in_any_order",
]
ABSENT_ROW = [
    f"hub.store.cases:lock_codes={REPLACEMENTS}:lock_codes_that_are_there",
    f"hub.store.cases:lock_cases={REPLACEMENTS}:lock_cases_that_are_there",
    f"hub.store.cases:SAVE_CODES={REPLACEMENTS}:UPSERT_CODES",
    f"hub.store.cases:SAVE_CASES={REPLACEMENTS}:UPSERT_CASES",
]
FENCING = [f"hub.relay:AIOKafkaProducer={REPLACEMENTS}:UnfencedProducer"]
RECYCLING = [f"hub.relay:TopicRelay._lead_term={REPLACEMENTS}:lead_with_one_producer"]
SPOOL = [f"connectors.link.spool_file:SpoolFile._open={REPLACEMENTS}:open_forgetful"]
DEDUPE = [f"connectors.link.stream_reader:is_repeat={REPLACEMENTS}:is_never_repeat"]

Scenario = Callable[[Exchange, list[str]], list[str]]


PROTECTIONS: dict[str, tuple[Scenario, list[str]]] = {
    "watermark": (freeze_intake, WATERMARK),
    "inbox key": (tell_twice, INBOX_KEY),
    "lock order": (tell_all_at_once, LOCK_ORDER),
    "absent-row insert": (tell_all_at_once, ABSENT_ROW),
    "fencing": (freeze_relay, FENCING),
    "producer recycling": (lose_answers, RECYCLING),
    "spool-before-send": (kill_sender, SPOOL),
    "subscriber's dedupe": (repeat_delivery, DEDUPE),
}
SCENARIOS = {scenario.__name__: scenario for scenario, _ in PROTECTIONS.values()}


@pytest.mark.parametrize("name", PROTECTIONS)
def test_without_it_the_invariants_fail(
    name: str, kafka_cluster: Kafka, postgres_server: Postgres, tmp_path: Path
) -> None:
    scenario, replacing = PROTECTIONS[name]
    with open_exchange(kafka_cluster, postgres_server, tmp_path) as exchange:
        assert scenario(exchange, replacing) != []


@pytest.mark.parametrize("name", SCENARIOS)
def test_with_it_they_hold(name: str, kafka_cluster: Kafka, postgres_server: Postgres, tmp_path: Path) -> None:
    with open_exchange(kafka_cluster, postgres_server, tmp_path) as exchange:
        assert SCENARIOS[name](exchange, []) == []
