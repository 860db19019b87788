"""A simulated year of national traffic: each misdeed is seen once, and an honest year raises nothing."""

import gc
from collections.abc import Iterator
from datetime import timedelta
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.oversight.case_findings import judge_case
from contracts.oversight.dossier import Dossier
from contracts.oversight.lead import Lead, Rules
from devstack.agencies import misdeeds
from devstack.agencies.year import NATIONAL_FILES
from tests.contracts.samples import RULE_SETS
from tests.oversight.year import RULES, judge, read_facts, tell

FILES = NATIONAL_FILES // 50
FEW = 400
CLEAN_SEEDS = range(1, 21)
SMALL = tell(3, 60, [misdeeds.ALL[name] for name in ("silent_file", "money_reused", "chained_temporaries")])
DEFINED = RULE_SETS["2021-2"].findings


@pytest.fixture(autouse=True, scope="module")
def without_collection() -> Iterator[None]:
    """Hold the collector off: a year is a million objects, which go by themselves when their test ends."""
    gc.disable()
    yield
    gc.enable()
    gc.collect()


def names_of(leads: list[Lead]) -> list[str]:
    return sorted(lead.finding for lead in leads)


@pytest.mark.parametrize("seed", CLEAN_SEEDS)
def test_a_clean_year_raises_nothing(seed: int) -> None:
    assert judge(read_facts(tell(seed, FILES))) == []


def test_a_year_with_each_misdeed_once_raises_exactly_the_twelve() -> None:
    leads = judge(read_facts(tell(2012, FILES, misdeeds.ALL.values())))
    assert names_of(leads) == sorted(misdeeds.ALL) == sorted(DEFINED)
    assert sorted(rule.number for rule in DEFINED.values()) == list(range(1, 13))
    for lead in leads:
        assert lead.rule_set == "2021/2"
        assert lead.log_indices
        assert 1 <= lead.measured <= lead.denominator
        assert lead.to_json()["id"] == f"{lead.finding}:{lead.subject}"


@pytest.mark.parametrize("misdeed", misdeeds.ALL)
def test_each_misdeed_alone_raises_its_own_finding_and_no_other(misdeed: str) -> None:
    files = 4 * FEW if misdeed in {"queue_jump", "favoured_intermediary"} else FEW
    assert names_of(judge(read_facts(tell(7, files, [misdeeds.ALL[misdeed]])))) == [misdeed]


@given(st.randoms(use_true_random=False))
@settings(max_examples=10)
def test_the_order_in_which_facts_are_read_changes_nothing(dice: Random) -> None:
    files = read_facts(SMALL)
    expected = judge(files)
    names = list(files)
    dice.shuffle(names)
    shuffled = {name: dice.sample(files[name], len(files[name])) for name in names}
    assert sorted(judge(shuffled)) == sorted(expected)
    assert expected


def test_a_file_says_when_time_alone_may_show_something() -> None:
    files = read_facts(tell(5, 40, [misdeeds.ALL["silent_file"]]))
    for name, facts in files.items():
        dossier = Dossier(name, facts[:1])
        submitted = facts[0].time
        early = judge_case(dossier, RULES, submitted + timedelta(hours=1))
        assert early.leads == []
        assert early.wakes_at is not None
        assert judge_case(dossier, RULES, early.wakes_at - timedelta(microseconds=2)).leads == []
        assert names_of(judge_case(dossier, RULES, early.wakes_at).leads) == ["silent_file"]


def test_a_rule_set_without_findings_raises_none() -> None:
    files = read_facts(tell(3, 20, [misdeeds.ALL["silent_file"]]))
    rules = Rules([(0, RULE_SETS["2021"])])
    later = max(fact.time for facts in files.values() for fact in facts) + timedelta(days=30)
    assert [
        lead for name, facts in files.items() for lead in judge_case(Dossier(name, facts), rules, later).leads
    ] == []
