"""How far an application is: the stages in their order, and the same clock as the overseer's."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import contracts.rules
from contracts.oversight.clocks import read_clocks
from contracts.oversight.dossier import Dossier
from contracts.rules.case import SUBMITTED, Fact, fold
from contracts.rules.decide import decide
from contracts.rules.rulebook import Rulebook, RuleSet
from hub.progress import COMPLETED, DEFICIENT, RESUBMITTED, Holder, Progress, Said, Stage, follow

START = datetime(2026, 3, 2, 3, tzinfo=UTC)
NOW = datetime(2026, 6, 1, 3, tzinfo=UTC)
DATA = {"application": "B.3/1", "application_date": "2026-03-02", "permit_kind": "new", "unit": "unit-00001"}
SETS = Path(contracts.rules.__file__).parent / "sets"
RULES = Rulebook(RuleSet.read(path.read_bytes()) for path in sorted(SETS.glob("20*.toml")))


def facts_of(course: list[tuple[str, int]]) -> list[Fact]:
    """Facts of these types, so many hours after the submission."""
    said = [(SUBMITTED, 0), *course]
    return [
        Fact("s", f"{number:04}", "ministry", name, START + timedelta(hours=hours, seconds=number), "", number, DATA)
        for number, (name, hours) in enumerate(said)
    ]


def follow_facts(facts: list[Fact], now: datetime = NOW) -> Progress:
    decisive = [fact for fact in facts if fact.type == SUBMITTED]
    state = fold(decisive)
    said = [Said(fact.type, fact.time) for fact in facts]
    found = follow(said, decisive, state, decide(state, RULES, now), None, now)
    assert found is not None
    return found


@given(st.lists(st.tuples(st.sampled_from([DEFICIENT, RESUBMITTED, COMPLETED]), st.integers(1, 900)), max_size=8))
def test_the_clock_is_the_overseers(course: list[tuple[str, int]]) -> None:
    facts = facts_of(sorted(course, key=lambda one: one[1]))
    clock = follow_facts(facts).clock
    rule_set = RULES.choose(START.date())
    assert rule_set is not None
    readings = [one for one in read_clocks(Dossier("B.3/1", facts), rule_set) if one.clock == "decision"]
    assert [(one.due_on, one.paused) for one in readings] == ([] if clock is None else [(clock.due_on, clock.paused)])
    if clock is not None:
        assert clock.overdue is (readings[0].state(NOW) == "breached")


@pytest.mark.parametrize(
    ("course", "stage", "holder"),
    [
        ([], Stage.RECEIVED, Holder.MINISTRY),
        ([(DEFICIENT, 1)], Stage.DEFICIENT, Holder.APPLICANT),
        ([(DEFICIENT, 1), (RESUBMITTED, 2)], Stage.RECEIVED, Holder.MINISTRY),
        ([(DEFICIENT, 1), (RESUBMITTED, 2), (DEFICIENT, 3)], Stage.DEFICIENT, Holder.APPLICANT),
        ([(DEFICIENT, 1), (COMPLETED, 2)], Stage.ASSESSING, Holder.MINISTRY),
        ([(COMPLETED, 1), (DEFICIENT, 2)], Stage.DEFICIENT, Holder.APPLICANT),
    ],
)
def test_stages_follow_what_was_said(course: list[tuple[str, int]], stage: Stage, holder: Holder) -> None:
    found = follow_facts(facts_of(course))
    assert (found.stage, found.holder) == (stage, holder)


def test_nothing_said_is_nothing_known() -> None:
    state = fold([])
    assert follow([], [], state, decide(state, RULES, NOW), None, NOW) is None
