"""The rule sets: what they say, where they say it from, and which one an application falls under."""

import hashlib
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.rules import reasons
from contracts.rules.rulebook import Rulebook, RuleSet, RuleSetError, due, started_months
from tests.contracts.samples import RULE_SETS, RULEBOOK, SETS

DATES = st.dates(date(2012, 1, 1), date(2040, 12, 31))
SOURCE_2021 = (SETS / "2021.toml").read_bytes()


def test_what_gates_a_recommendation_is_data() -> None:
    assert RULE_SETS["2012"].recommendation_needs == {"approved"}
    assert RULE_SETS["2012"].work_permit_needs == {"approved", "settled"}
    assert RULE_SETS["2021"].recommendation_needs == {"approved", "settled"}
    assert RULE_SETS["2021"].late_settles


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        ("2011-12-31", None),
        ("2012-01-01", "2012"),
        ("2021-03-31", "2012"),
        ("2021-04-01", "2021"),
        ("2031-01-01", "2021"),
    ],
)
def test_the_date_of_the_application_chooses(day: str, expected: str | None) -> None:
    chosen = RULEBOOK.choose(date.fromisoformat(day))
    assert (None if chosen is None else chosen.id) == expected


def test_the_digest_is_that_of_the_bytes() -> None:
    assert RuleSet.read(SOURCE_2021).sha256 == hashlib.sha256(SOURCE_2021).hexdigest()
    assert RuleSet.read(SOURCE_2021 + b"\n").sha256 != RULE_SETS["2021"].sha256


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'format = "tkahub-rules/1"', b'format = "tkahub-rules/2"'),
        (b'value = "100.00"', b"value = 100.0"),
        (b"value = true", b'value = "yes"'),
        (b'["approved", "settled"]', b'["approved", "wished"]'),
        (b"source = ", b"origin = "),
        (b"version = 1", b"version = 0"),
        (b"[applies_from]", b"[applies_from"),
        (b"format", b"\xff"),
    ],
)
def test_a_bad_document_is_refused(old: bytes, new: bytes) -> None:
    with pytest.raises(RuleSetError):
        RuleSet.read(SOURCE_2021.replace(old, new, 1))


def test_the_highest_version_counts() -> None:
    newer = RuleSet.read(SOURCE_2021.replace(b"version = 1", b"version = 2"))
    book = Rulebook([newer, RULE_SETS["2021"], RULE_SETS["2012"]])
    assert book.choose(date(2026, 1, 1)) is newer
    assert [rule_set.id for rule_set in book] == ["2021", "2012"]


def test_no_day_has_two_rule_sets() -> None:
    other = RuleSet.read(SOURCE_2021.replace(b'id = "2021"', b'id = "2022"'))
    with pytest.raises(RuleSetError):
        Rulebook([other, RULE_SETS["2021"]])


@pytest.mark.parametrize(
    ("from_", "until", "months"),
    [
        ("2026-04-01", "2027-04-01", 12),
        ("2026-04-01", "2027-03-31", 12),
        ("2026-04-01", "2027-04-02", 13),
        ("2026-04-01", "2026-04-02", 1),
        ("2026-01-31", "2026-02-28", 1),
        ("2026-01-31", "2026-03-01", 2),
        ("2024-02-29", "2026-02-28", 24),
        ("2026-12-15", "2027-01-14", 1),
        ("2026-12-15", "2027-01-16", 2),
    ],
)
def test_a_part_month_counts_as_a_full_one(from_: str, until: str, months: int) -> None:
    first, last = date.fromisoformat(from_), date.fromisoformat(until)
    assert started_months(first, last) == months
    assert due(RULE_SETS["2021"], first, last) == months * 100_00


@given(DATES, st.integers(1, 2000), st.integers(0, 400))
def test_a_longer_permit_never_costs_less(first: date, days: int, more: int) -> None:
    shorter = started_months(first, first + timedelta(days=days))
    assert shorter <= started_months(first, first + timedelta(days=days + more))
    assert days / 31 <= shorter <= days / 28 + 1


def test_the_longest_permits() -> None:
    rule_set = RULE_SETS["2021"]
    assert rule_set.months_max("temporary", True) == 6
    assert rule_set.months_max("new", False) == 24
    assert rule_set.months_max("extension", True) == 60


def test_an_exemption_has_its_period() -> None:
    exemption = RULE_SETS["2021"].exemptions["ikn"]
    assert not exemption.stands_on(date(2023, 3, 5))
    assert exemption.stands_on(date(2023, 3, 6))
    assert exemption.stands_on(date(2035, 12, 31))
    assert not exemption.stands_on(date(2036, 1, 1))
    assert RULE_SETS["2021"].exemptions["religious_institution"].stands_on(date(2021, 4, 1))


def test_every_reason_has_its_text() -> None:
    words = {value for name, value in vars(reasons).items() if name.isupper() and isinstance(value, str)}
    assert words == set(reasons.REASONS)
    for reason in reasons.REASONS.values():
        assert reason.text_en.endswith(".")
        assert reason.text_id.endswith(".")
