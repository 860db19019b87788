"""SIGKILL at every boundary under load: the process is started again, and the whole history must hold."""

import pytest

from tests.faults.armed import POINTS
from tests.faults.exchange import Exchange

APPLICATIONS_EACH = 2
# Whose point it is. The link's points are passed by every connector; one is chosen for each.
OWNERS = {
    "intake": "hub-intake-1",
    "deadlines": "hub-deadlines",
    "relay": "hub-relay",
    "sequencer": "hub-sequencer",
    "spool": "connector-bri",
    "publish": "connector-ministry",
    "deliver": "connector-immigration",
    "trust": "connector-mandiri",
    "register": "connector-ministry",
    "writeback": "connector-ministry",
    "notification": "connector-bri",
    "statement": "connector-bri",
    "answers": "connector-immigration",
    "visa_system": "connector-immigration",
    "offices": "connector-immigration",
}
# Doors of the ministry that this exchange does not use: tests/connectors/test_ministry_kill.py kills at these.
# tests/hub/test_repairs.py kills while a repair is carried out.
# tests/faults/test_reconciliation_kills.py kills while differences and days are reconciled and days counted, and
# tests/connectors/test_bank_explain_kill.py while a bank explains one.
ELSEWHERE = {"erasure", "events", "folder", "webhook", "keys", "reconciler", "counts", "explanation", "repairs"}
# Passed only by a new spool (tests/connectors/test_lineage.py), by an order of erasure (test_erasure.py) and by an
# office's folder (test_offices.py).
SELDOM = (
    *("spool.before_adopt", "spool.after_adopt", "spool.before_begin", "spool.after_begin"),
    *("spool.before_erase", "spool.after_erase"),
    *("answers.before_put_away", "answers.after_put_away"),
)
# The points that a load of this size passes only once or twice; the others are passed once before the kill.
RARE = ("deadlines", "trust", "statement", "intake.before_offsets", "intake.after_offsets")


def is_reached(point: str) -> bool:
    """Whether the processes of this exchange pass the point."""
    return point.split(".")[0] not in ELSEWHERE and not point.startswith(SELDOM)


@pytest.mark.parametrize("point", [point for point in POINTS if is_reached(point)])
def test_kill(point: str, exchange: Exchange) -> None:
    owner = OWNERS[point.split(".")[0]]
    exchange.rig.arm(owner, point, hit=1 if point.startswith(RARE) else 2)
    telling = exchange.load(APPLICATIONS_EACH)
    if point.startswith("trust."):
        exchange.background.run(exchange.rig.change_registry([]))
    # Not every load comes past a rare point: the agencies go on telling until it was reached.
    while not exchange.rig.dies_soon(owner):
        telling += exchange.load(1)
    exchange.rig.start(owner)
    exchange.settle(telling)
    assert exchange.findings() == []


def test_every_point_has_an_owner() -> None:
    assert {point.split(".")[0] for point in POINTS} == OWNERS.keys() | ELSEWHERE
