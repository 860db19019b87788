"""Service times: hand-computed days over both rule sets and two years of holidays, rounds, warnings and breaches."""

import csv
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.oversight.clocks import describe, find_due, read_clocks
from contracts.oversight.dossier import Dossier
from contracts.rules.case import Fact
from contracts.rules.rulebook import ServiceTime
from tests.contracts.samples import RULE_SETS, START, fact

VECTORS = list(csv.DictReader(Path(__file__).with_name("service_times.csv").read_text("utf-8").splitlines()))
LATE = START + timedelta(days=400)


def at(name: str, moment: str, **members: Any) -> Fact:
    hours = (datetime.fromisoformat(moment) - START).total_seconds() / 3600
    return fact(name, hours, **members)._replace(log_index=1)


def started(row: dict[str, str]) -> list[Fact]:
    """The facts of a file whose clock starts when the row says."""
    kind = "extension" if row["clock"] == "extension_decision" else "new"
    facts = [at("permit.submitted", "2025-01-01T01:00Z", permit_kind=kind)]
    clock = RULE_SETS[row["rule_set"]].service_times[row["clock"]].clock
    assert clock is not None
    full = clock.starts[0]
    name = full.partition(".")[2]
    first = at(name, row["started"]) if not full.startswith("hub.") else at("recommendation.issued", row["started"])
    facts.append(first)
    for pause in row["pauses"].split():
        since, _, until = pause.partition("/")
        facts.append(at("permit.deficiency_notified", since))
        if until:
            facts.append(at("permit.resubmitted", until))
    return facts


@pytest.mark.parametrize(
    "row", VECTORS, ids=lambda row: f"{row['rule_set']}-{row['clock']}-{row['started']}-{row['pauses']}"
)
def test_hand_computed_vectors(row: dict[str, str]) -> None:
    dossier = Dossier("A", started(row))
    (reading,) = [one for one in read_clocks(dossier, RULE_SETS[row["rule_set"]]) if one.clock == row["clock"]]
    expected = [datetime.fromisoformat(row[name]) if row[name] else None for name in ("warns_at", "breached_at")]
    assert (reading.due_on and reading.due_on.isoformat()) == (row["due_on"] or None), row["reasoning"]
    assert [reading.warns_at, reading.breached_at] == expected
    assert row["reasoning"]


def test_the_vectors_cover_both_rule_sets_two_years_and_every_clock() -> None:
    clocks = {(row["rule_set"], row["clock"]) for row in VECTORS}
    names = ("2012-2", "2021-2")
    assert clocks == {
        (name, clock)
        for name in names
        for clock, time in RULE_SETS[name].service_times.items()
        if time.clock is not None
    }
    assert {row["started"][:4] for row in VECTORS} == {"2025", "2026"}


def test_a_clock_runs_warns_and_is_breached_and_a_decision_ends_it() -> None:
    facts = [fact("permit.submitted", 0), fact("permit.completed", 1)]
    rule_set = RULE_SETS["2021-2"]
    (reading,) = read_clocks(Dossier("A", facts), rule_set)
    assert (reading.holder, reading.unit, reading.due_on) == ("ministry", "unit-00001", date(2026, 3, 4))
    assert reading.warns_at is not None
    assert reading.breached_at is not None
    moments = [START + timedelta(hours=2), reading.warns_at, reading.breached_at + timedelta(seconds=1)]
    assert [reading.state(moment) for moment in moments] == ["running", "warned", "breached"]
    met = read_clocks(Dossier("A", [*facts, fact("permit.rejected", 20)]), rule_set)[0]
    assert (met.state(LATE), met.warned(LATE)) == ("met", False)
    late = read_clocks(Dossier("A", [*facts, fact("permit.approved", 100)]), rule_set)[0]
    assert (late.state(LATE), late.warned(LATE)) == ("breached", True)
    assert describe(late, LATE)["state"] == "breached"


def test_every_bill_starts_a_round_of_its_own() -> None:
    other = "820260302000025"
    facts = [
        fact("permit.submitted", 0), fact("billing.issued", 1), fact("billing.expired", 170),
        fact("billing.issued", 200, billing_code=other), fact("payment.received", 205, "bri", billing_code=other),
    ]  # fmt: skip
    rounds = [one for one in read_clocks(Dossier("A", facts), RULE_SETS["2021-2"]) if one.clock == "payment"]
    assert [one.state(LATE) for one in rounds] == ["breached", "met"]
    assert {one.holder for one in rounds} == {"applicant"}
    assert len({one.name for one in rounds}) == 2


def test_what_nobody_tells_the_applicant_pauses_nothing() -> None:
    queried = fact("recommendation.queried", 3, "immigration")
    facts = [fact("permit.submitted", 0), fact("permit.completed", 1), queried, fact("permit.worker_verified", 5)]
    (reading,) = [one for one in read_clocks(Dossier("A", facts), RULE_SETS["2021-2"]) if one.clock == "decision"]
    assert not reading.paused
    paused = read_clocks(Dossier("A", [*facts, fact("permit.deficiency_notified", 6)]), RULE_SETS["2021-2"])
    assert [(one.clock, one.state(LATE)) for one in paused] == [("decision", "paused")]


@given(st.integers(0, 700), st.integers(1, 30), st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)), max_size=4))
def test_a_pause_never_brings_a_day_nearer(after: int, days: int, pauses: list[tuple[int, int]]) -> None:
    moment = datetime(2023, 1, 2, 3, tzinfo=UTC) + timedelta(days=after)
    time = ServiceTime(days=days, kind="working", source="a law")
    plain, _ = find_due(moment, time)
    given_pauses = [(moment + timedelta(days=a), moment + timedelta(days=a + b)) for a, b in pauses]
    paused, resting = find_due(moment, time, given_pauses)
    assert not resting
    assert plain is not None
    assert paused is not None
    assert paused >= plain
