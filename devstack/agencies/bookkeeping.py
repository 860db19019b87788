"""What a bank's and the ministry's own bookkeepers would say of the day: sums, and where two books do not agree.

Computed without the exchange, from what was told and billed (DOMAIN: seven kinds of difference; money that only one
channel reports, or that leaves a bill short, is a difference once the bank's days are over).
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple

from devstack.agencies.reckoning import Money, judge_bill
from devstack.agencies.scenario import JAKARTA, Bill, Report

KINDS = ("not_booked", "not_notified", "amount", "currency", "unmatched", "excess", "reversal_of_nothing")
COLUMNS = ("notified", "booked", "reversed", "paired", "billed")
_AT_ONCE = {"excess": "excess", "wrong_currency": "currency", "unmatched": "unmatched"}
_SHORT = ("partial", "late")
_CHANNELS = {"notification": "notified", "statement": "booked", "reversal": "reversed"}


class Difference(NamedTuple):
    """One place where books do not agree. `code`: empty for money that names no bill."""

    bank: str
    code: str
    kind: str
    amount: Decimal
    currency: str


class Total(NamedTuple):
    """Which sum: of one bank, banking day, currency and column."""

    bank: str
    day: date
    currency: str
    column: str


def find_differences(
    bills: Mapping[str, Bill], reports: Iterable[Report], long_over: datetime
) -> "Counter[Difference]":
    """Find all differences. `long_over`: money from before then should be in both books."""
    found: Counter[Difference] = Counter()
    for code, told in _by_code(reports).items():
        for kind, report in _compare(bills.get(code), told, long_over):
            found[Difference(report.bank, code, kind, report.amount, report.currency)] += 1
    return found


def _by_code(reports: Iterable[Report]) -> dict[str, list[Report]]:
    told: dict[str, list[Report]] = defaultdict(list)
    for report in reports:
        told[report.billing_code or ""].append(report)
    return told


def _compare(bill: Bill | None, told: Sequence[Report], long_over: datetime) -> set[tuple[str, Report]]:
    verdict = judge_bill(bill, told)
    paid = bill is not None and verdict.settled >= bill.amount
    found, lonely = set(), []
    for money in (money for money in verdict.moneys if not money.taken_back):
        report = money.reports[0]
        outcome = verdict.outcomes[report.key]
        if outcome in _AT_ONCE:
            found.add((_AT_ONCE[outcome], report))
        if money.paid_at >= long_over:
            continue
        if outcome in _SHORT and not paid:
            found.add(("amount", report))
        if len(money.reports) == 1 and report.billing_code is not None:
            lonely.append(report)
    found |= _name_lonely(lonely)
    reversals = (report for report in told if report.channel == "reversal")
    return found | {("reversal_of_nothing", one) for one in reversals if verdict.outcomes[one.key] == "unmatched"}


def _name_lonely(lonely: Sequence[Report]) -> set[tuple[str, Report]]:
    """Say what is wrong with money in one book only: another sum under the same reference, or nothing at all."""
    found, booked = set(), [report for report in lonely if report.channel == "statement"]
    for report in (report for report in lonely if report.channel == "notification"):
        twin = next((one for one in booked if (one.bank, one.reference) == (report.bank, report.reference)), None)
        if twin is None:
            found.add(("not_booked", report))
        else:
            booked.remove(twin)
            found.add(("amount" if twin.currency == report.currency else "currency", report))
    return found | {("not_notified", report) for report in booked}


def add_up(
    bills: Mapping[str, Bill], reports: Iterable[Report], banking_day: Callable[[date], date]
) -> "Counter[Total]":
    """Add up what each bank notified, booked, took back and found in both books, and what was billed under that.

    In hundredths. `banking_day`: the day to whose books the money of a calendar day in Jakarta belongs.
    """
    totals: Counter[Total] = Counter()

    def add(bank: str, day: date, currency: str, column: str, amount: Decimal) -> None:
        totals[Total(bank, day, currency, column)] += int(amount * 100)

    told: dict[tuple[str, str], list[Report]] = defaultdict(list)
    for report in reports:
        told[report.bank, report.billing_code or ""].append(report)
    for (bank, code), own in told.items():
        days = set()
        for report in own:
            day = banking_day(day_of(report.dated))
            days.add(day)
            add(bank, day, report.currency, _CHANNELS[report.channel], report.amount)
        for money in filter(_is_paired, judge_bill(None, own).moneys):
            add(bank, banking_day(day_of(money.paid_at)), money.currency, "paired", money.amount)
        for day in days if code in bills else ():
            add(bank, day, bills[code].currency, "billed", bills[code].amount)
    return totals


def _is_paired(money: Money) -> bool:
    return len(money.reports) > 1 and not money.taken_back


def day_of(moment: datetime) -> date:
    """Return the calendar day in Jakarta."""
    return moment.astimezone(JAKARTA).date()
