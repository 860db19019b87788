from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devstack.agencies.reckoning import judge_bill, reckon
from devstack.agencies.scenario import (
    APPLICATIONS_FOR_ALL,
    APPLICATIONS_MIN,
    BANKS,
    HOLDING_BANK,
    VARIANTS,
    Bill,
    Report,
    count_months,
    write_day,
)

START = datetime(2026, 5, 4, 8, 0, tzinfo=UTC)
BILL = Bill("826050400010001", "RPTKA/2026/000001", Decimal(1200), "USD", Decimal(1200), START)


def report(key: str, hours_before: int = 1, **changes: object) -> Report:
    known: dict[str, object] = {
        "bank": "bri",
        "chapter": "noon",
        "channel": "notification",
        "at": START - timedelta(hours=hours_before),
        "billing_code": BILL.code,
        "amount": Decimal(1200),
        "currency": "USD",
        "reference": key,
        "ntpn": None,
        "key": key,
    }
    return Report(**{**known, **changes})  # type: ignore[arg-type]


def test_same_seed_gives_the_same_day_and_another_seed_another() -> None:
    assert write_day(1, 40, START) == write_day(1, 40, START)
    assert write_day(1, 40, START) != write_day(2, 40, START)


@pytest.mark.parametrize("seed", range(10))
def test_a_day_that_is_large_enough_plays_every_variant_and_every_outcome(seed: int) -> None:
    day = write_day(seed, APPLICATIONS_FOR_ALL, START)
    assert {made.variant for made in day.applications.values()} == set(VARIANTS)
    outcomes = set(reckon(day.applications, day.rows, day.reports).outcomes.values())
    assert outcomes == {
        "matched",
        "partial",
        "excess",
        "wrong_currency",
        "late",
        "unmatched",
        "duplicate",
        "reversed",
    }


@given(st.integers(0, 10_000))
def test_each_bank_has_something_to_tell_at_dawn_and_notifies_at_noon(seed: int) -> None:
    day = write_day(seed, APPLICATIONS_MIN, START)
    for bank in BANKS:
        assert day.reports_of(bank, "dawn")
        assert any(report.channel == "notification" for report in day.reports_of(bank, "noon"))


@given(st.integers(0, 10_000), st.sampled_from([12, 25, 60]))
def test_what_the_holding_bank_notifies_fits_its_bill_and_what_it_attempts_does_not(seed: int, size: int) -> None:
    day = write_day(seed, size, START)
    bills = day.bills()
    for report in day.reports:
        if report.bank == HOLDING_BANK and report.channel == "notification":
            bill = bills[report.billing_code or ""]
            assert (report.amount, report.currency) == (bill.amount, bill.currency)
    attempts = [attempt for chapter in ("noon", "afternoon") for attempt in day.attempts_of(HOLDING_BANK, chapter)]
    assert [attempt.answer for attempt in attempts] == ["4042513", "4042514", "4042512", "4042519"]
    refused = attempts[0]
    assert refused.billing_code in day.run_out()
    booked = [report for report in day.reports if report.billing_code == refused.billing_code]
    assert [(report.channel, report.amount) for report in booked] == [("statement", refused.amount)]
    assert not day.attempts_of("bri", "noon")


def test_too_small_a_day_is_refused() -> None:
    with pytest.raises(ValueError, match="at least"):
        write_day(1, APPLICATIONS_MIN - 1, START)


@given(st.integers(0, 10_000))
def test_everything_told_happened_before_the_start_and_numbers_are_unique(seed: int) -> None:
    day = write_day(seed, 60, START)
    assert all(row.at < START for row in day.rows)
    assert all(report.at < START for report in day.reports)
    assert len(day.bills()) == sum(made.bill is not None for made in day.applications.values())
    assert len({report.key for report in day.reports}) == len(day.reports)
    assert len({row.key for row in day.rows}) == len(day.rows)
    for code in day.bills():
        moments = [report.at for report in day.reports if report.billing_code == code]
        assert len(set(moments)) == len(moments)


def test_reckoning_of_a_reversal_counts_two_revisions_and_one_withdrawal() -> None:
    day = write_day(3, 25, START)
    number = next(made.number for made in day.applications.values() if made.variant == "reversed_repaid")
    reckoning = reckon(day.applications, day.rows, day.reports)
    assert [revision for name, revision in reckoning.issued if name == number] == [1, 2]
    assert [revision for name, revision in reckoning.withdrawn if name == number] == [1]


def test_applications_without_payment_or_approval_get_no_recommendation() -> None:
    day = write_day(3, APPLICATIONS_FOR_ALL, START)
    issued = {number for number, _ in reckon(day.applications, day.rows, day.reports).issued}
    without = {"rejected", "partial_only", "wrong_currency", "unmatched", "late_key", "refused"}
    assert {made.number for made in day.applications.values() if made.variant not in without} == issued


@pytest.mark.parametrize(
    ("starts", "ends", "months"),
    [
        (date(2026, 1, 1), date(2026, 6, 30), 6),
        (date(2026, 1, 1), date(2026, 7, 1), 7),
        (date(2026, 1, 15), date(2027, 1, 14), 12),
        (date(2026, 1, 15), date(2027, 1, 15), 13),
    ],
)
def test_a_part_month_counts_as_a_full_month(starts: date, ends: date, months: int) -> None:
    assert count_months(starts, ends) == months


def test_money_told_twice_counts_once_whatever_pairs_it() -> None:
    by_receipt = [report("a", 3, ntpn="N" * 16), report("b", 2, channel="statement", ntpn="N" * 16)]
    by_reference = [report("a", 3, reference="R"), report("b", 2, channel="statement", reference="R")]
    by_sum = [report("a", 3), report("b", 2, channel="statement")]
    for told in (by_receipt, by_reference, by_sum):
        verdict = judge_bill(BILL, told)
        assert verdict.outcomes == {"a": "matched", "b": "duplicate"}
        assert verdict.settled == 1200


def test_one_bill_paid_at_two_banks_is_paid_and_exceeded() -> None:
    verdict = judge_bill(BILL, [report("a", 3), report("b", 2, bank="mandiri")])
    assert verdict.outcomes == {"a": "matched", "b": "excess"}


def test_reversal_takes_the_earliest_payment_of_its_sum_and_another_finds_none() -> None:
    told = [
        report("a", 4),
        report("r", 3, channel="reversal"),
        report("b", 2),
        report("s", 1, channel="reversal", amount=Decimal(7)),
    ]
    assert judge_bill(BILL, told).outcomes == {"a": "reversed", "r": "reversed", "b": "matched", "s": "unmatched"}


def test_money_after_the_expiry_is_late_and_settles() -> None:
    verdict = judge_bill(BILL, [report("a", -1)])
    assert verdict.outcomes == {"a": "late"}
    assert verdict.settled == BILL.amount


def test_other_currency_settles_nothing_and_an_unknown_bill_matches_nothing() -> None:
    verdict = judge_bill(BILL, [report("a", currency="SGD")])
    assert verdict.outcomes == {"a": "wrong_currency"}
    assert verdict.settled == 0
    assert judge_bill(None, [report("a")]).outcomes == {"a": "unmatched"}


@given(st.permutations(range(6)))
def test_the_verdict_does_not_depend_on_the_order_of_telling(order: list[int]) -> None:
    told = [
        report("a", 9, amount=Decimal(600)),
        report("b", 8, amount=Decimal(600), channel="statement"),
        report("c", 7, amount=Decimal(600)),
        report("d", 6, amount=Decimal(50)),
        report("e", 5, currency="SGD"),
        report("f", 4, amount=Decimal(50), channel="reversal"),
    ]
    assert judge_bill(BILL, [told[place] for place in order]).outcomes == judge_bill(BILL, told).outcomes
