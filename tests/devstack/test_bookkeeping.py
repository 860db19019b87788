"""The agencies' own bookkeeping: each kind of difference from the fewest reports that show it, and sums by day."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from contracts.rules.clock import banking_day_of
from devstack.agencies.bookkeeping import KINDS, Difference, Total, add_up, find_differences
from devstack.agencies.scenario import APPLICATIONS_FOR_ALL, LONG_AGO, Bill, Report, write_day
from devstack.demonstration.report import PARTS, WORDS

START = datetime(2026, 5, 4, 8, 0, tzinfo=UTC)
LONG_OVER = START - LONG_AGO / 2
BILL = Bill("826050400010001", "RPTKA/2026/000001", Decimal(1200), "USD", Decimal(1200), START + timedelta(days=7))
BILLS = {BILL.code: BILL}
TODAY = Report(
    *("bri", "noon", "notification", START - timedelta(hours=3), BILL.code, Decimal(1200), "USD", "REF", None, "a")
)
OLD = replace(TODAY, at=START - LONG_AGO)


def booked(report: Report, **changes: Any) -> Report:
    return replace(report, channel="statement", key=f"{report.key}-booked", **changes)


def kinds(*reports: Report) -> "Counter[str]":
    return Counter(each.kind for each in find_differences(BILLS, reports, LONG_OVER).elements())


@pytest.mark.parametrize(
    ("reports", "expected"),
    [
        ([TODAY], []),
        ([TODAY, booked(TODAY)], []),
        ([OLD, booked(OLD)], []),
        ([OLD], ["not_booked"]),
        ([booked(OLD)], ["not_notified"]),
        ([OLD, booked(OLD, amount=Decimal(500))], ["amount", "excess"]),
        ([OLD, booked(OLD, currency="SGD")], ["currency", "currency"]),
        ([replace(OLD, amount=Decimal(300)), booked(replace(OLD, amount=Decimal(300)))], ["amount"]),
        ([replace(TODAY, amount=Decimal(300))], []),
        ([replace(TODAY, currency="SGD")], ["currency"]),
        ([replace(TODAY, amount=Decimal(1250))], ["excess"]),
        ([replace(TODAY, billing_code="7" * 15)], ["unmatched"]),
        ([booked(replace(TODAY, billing_code=None))], ["unmatched"]),
        ([replace(TODAY, channel="reversal")], ["reversal_of_nothing"]),
        ([TODAY, replace(TODAY, key="r", channel="reversal")], []),
    ],
)
def test_each_kind_is_found_where_it_is_and_nowhere_else(reports: list[Report], expected: list[str]) -> None:
    found = kinds(*reports)
    # Another currency under one reference shows by the bill and by the twin, as one difference of each report.
    assert sorted(found.elements()) == sorted(expected)
    assert kinds(*reversed(reports)) == found


@pytest.mark.parametrize("seed", range(5))
def test_a_day_of_every_kind_has_every_difference(seed: int) -> None:
    day = write_day(seed, APPLICATIONS_FOR_ALL, START)
    found = find_differences(day.bills(), day.reports, LONG_OVER)
    assert {each.kind for each in found} == set(KINDS)
    late = [made.bill.code for made in day.applications.values() if made.variant == "booked_late" and made.bill]
    assert not [each for each in found if each.code in late]
    before = [report for report in day.reports if report.chapter != "evening"]
    assert [each.kind for each in find_differences(day.bills(), before, LONG_OVER) if each.code in late] == [
        "not_booked"
    ]


def test_a_difference_names_bank_code_and_money() -> None:
    [each] = find_differences(BILLS, [OLD], LONG_OVER)
    assert each == Difference("bri", BILL.code, "not_booked", Decimal(1200), "USD")


def test_sums_are_by_banking_day_and_a_bill_counts_once_a_day() -> None:
    sunday = datetime(2026, 5, 3, 3, 0, tzinfo=UTC)
    half = replace(TODAY, at=sunday, amount=Decimal("600.50"))
    other = replace(half, key="b", at=sunday + timedelta(hours=1), reference="OTHER")
    totals = add_up(BILLS, [half, other, booked(half)], banking_day_of)
    monday = date(2026, 5, 4)
    assert totals == {
        Total("bri", monday, "USD", "notified"): 120_100,
        Total("bri", monday, "USD", "booked"): 60_050,
        Total("bri", monday, "USD", "paired"): 60_050,
        Total("bri", monday, "USD", "billed"): 120_000,
    }


def test_a_statement_s_money_belongs_to_its_day_in_jakarta() -> None:
    # 23:30 in Jakarta on the 4th; in UTC it is the same day, half an hour later it is not.
    late = booked(replace(TODAY, at=datetime(2026, 5, 4, 16, 30, tzinfo=UTC)))
    after = booked(replace(TODAY, at=datetime(2026, 5, 4, 17, 30, tzinfo=UTC)))
    assert [total.day.day for total in add_up({}, [late], lambda day: day)] == [4]
    assert [total.day.day for total in add_up({}, [after], lambda day: day)] == [5]


def test_money_taken_back_is_counted_as_such_and_not_as_paired() -> None:
    told = [TODAY, booked(TODAY), replace(TODAY, key="r", channel="reversal")]
    columns = {total.column for total in add_up({}, told, lambda day: day)}
    assert columns == {"notified", "booked", "reversed"}


def test_every_kind_of_difference_has_its_words() -> None:
    assert {f"differences: {kind}" for kind in KINDS} <= WORDS.keys()
    assert PARTS[-1][1] == ("",)
