"""What the exchange ought to conclude from the agencies' own books, computed without it.

A second, deliberately different reading of the rules (DOMAIN: one payment counts once, whichever channel reports it):
the tests compare nothing here with the exchange's own code, the demo compares its results with what came out.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from devstack.agencies.scenario import CHAPTERS, Application, Bill, Report, Row

# Under the rules of 2012 the permit alone carried the visa recommendation; the payment gated a later document.
FIRST_YEAR_OF_PAYMENT_FIRST = 2021


@dataclass(slots=True)
class Money:
    """One payment of money, whoever reported it and how often."""

    reports: list[Report]
    taken_back: bool = False

    @property
    def paid_at(self) -> datetime:
        """When the money came: the notification's word if there is one."""
        return self.reports[0].dated

    @property
    def amount(self) -> Decimal:
        """How much came."""
        return self.reports[0].amount

    @property
    def currency(self) -> str:
        """In which currency."""
        return self.reports[0].currency


@dataclass(slots=True)
class Verdict:
    """The outcome of each report of one billing code, by the report's key, the sum that settles, and the money."""

    outcomes: dict[str, str] = field(default_factory=dict)
    settled: Decimal = Decimal(0)
    moneys: list[Money] = field(default_factory=list)


def judge_bill(bill: Bill | None, reports: Iterable[Report]) -> Verdict:
    """Judge all that was reported under one billing code. `bill`: None if nobody issued it."""
    told = list(reports)
    moneys = _gather(report for report in told if report.channel != "reversal")
    verdict = Verdict(moneys=moneys)
    for reversal in (report for report in told if report.channel == "reversal"):
        verdict.outcomes[reversal.key] = "reversed" if _take_back(moneys, reversal) else "unmatched"
    for money in sorted(moneys, key=lambda money: money.paid_at):
        primary, *echoes = money.reports
        verdict.outcomes[primary.key] = _judge_money(bill, money, verdict)
        for echo in echoes:
            verdict.outcomes[echo.key] = "duplicate"
    return verdict


def _gather(payments: Iterable[Report]) -> list[Money]:
    notified: list[Report] = []
    booked: list[Report] = []
    for payment in sorted(payments, key=lambda report: report.at):
        (notified if payment.channel == "notification" else booked).append(payment)
    moneys = [Money([payment]) for payment in notified]
    for same in (_same_receipt, _same_reference, _same_sum):
        for entry in list(booked):
            partner = next(
                (money for money in moneys if len(money.reports) == 1 and same(money.reports[0], entry)), None
            )
            if partner is not None:
                partner.reports.append(entry)
                booked.remove(entry)
    return moneys + [Money([entry]) for entry in booked]


def _same_sum(one: Report, other: Report) -> bool:
    return (one.bank, one.amount, one.currency) == (other.bank, other.amount, other.currency)


def _same_receipt(one: Report, other: Report) -> bool:
    return one.ntpn is not None and one.ntpn == other.ntpn and _same_sum(one, other)


def _same_reference(one: Report, other: Report) -> bool:
    return one.reference == other.reference and _same_sum(one, other)


def _take_back(moneys: list[Money], reversal: Report) -> bool:
    for money in sorted(moneys, key=lambda money: money.paid_at):
        if not money.taken_back and _same_sum(money.reports[0], reversal):
            money.taken_back = True
            return True
    return False


def _judge_money(bill: Bill | None, money: Money, verdict: Verdict) -> str:
    if money.taken_back:
        return "reversed"
    if bill is None:
        return "unmatched"
    if money.currency != bill.currency:
        return "wrong_currency"
    verdict.settled += money.amount
    if money.paid_at > bill.expires_at:
        return "late"
    if verdict.settled < bill.amount:
        return "partial"
    return "matched" if verdict.settled == bill.amount else "excess"


@dataclass(slots=True)
class Reckoning:
    """What should have come out in the end."""

    outcomes: dict[str, str] = field(default_factory=dict)
    issued: list[tuple[str, int]] = field(default_factory=list)
    withdrawn: list[tuple[str, int]] = field(default_factory=list)
    bills_paid: set[str] = field(default_factory=set)


def reckon(applications: dict[str, Application], rows: Iterable[Row], reports: Iterable[Report]) -> Reckoning:
    """Reckon the day from what the ministry wrote and the banks told, chapter by chapter.

    The driver lets a chapter's recommendations arrive before the afternoon's chapters begin, so what stands at the
    end of noon, afternoon and evening tells how many revisions and withdrawals there are.
    """
    told, written = list(reports), list(rows)
    bills = {made.bill.code: made.bill for made in applications.values() if made.bill is not None}
    by_code: dict[str | None, list[Report]] = defaultdict(list)
    for report in told:
        by_code[report.billing_code].append(report)
    reckoning = Reckoning()
    for code, under_code in by_code.items():
        bill = bills.get(code) if code is not None else None
        reckoning.outcomes.update(judge_bill(bill, under_code).outcomes)
        if bill is not None and judge_bill(bill, under_code).settled >= bill.amount:
            reckoning.bills_paid.add(bill.code)
    standing: dict[str, int] = {}
    for chapter in CHAPTERS[2:]:
        past = CHAPTERS[: CHAPTERS.index(chapter) + 1]
        for application in applications.values():
            kinds = {row.kind for row in written if row.application == application.number and row.chapter in past}
            under = [report for report in by_code[_code_of(application)] if report.chapter in past]
            _note_change(reckoning, standing, application, _is_recommended(application, kinds, under))
    return reckoning


def _code_of(application: Application) -> str | None:
    # An application without a bill must not be credited with the entries that name no bill.
    return application.bill.code if application.bill is not None else f"no bill of {application.number}"


def _is_recommended(application: Application, kinds: set[str], reports: list[Report]) -> bool:
    if "DISETUJUI" not in kinds or kinds & {"DICABUT", "DITOLAK"}:
        return False
    if "PEMBEBASAN" in kinds or application.submitted_on.year < FIRST_YEAR_OF_PAYMENT_FIRST:
        return True
    bill = application.bill
    return bill is not None and judge_bill(bill, reports).settled >= bill.amount


def _note_change(reckoning: Reckoning, standing: dict[str, int], application: Application, wanted: bool) -> None:
    number, revision = application.number, standing.get(application.number, 0)
    if wanted and revision <= 0:
        standing[number] = 1 - revision
        reckoning.issued.append((number, 1 - revision))
    elif not wanted and revision > 0:
        standing[number] = -revision
        reckoning.withdrawn.append((number, revision))
