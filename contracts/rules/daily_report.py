"""The daily report of one bank: its messages, its books and the Ministry's bills of one banking day, side by side.

A pure function of facts to bytes: whoever has the facts below `log_size` computes the same report. The day is a banking
day in Jakarta and takes in the money of the days of rest before it.
"""

from collections.abc import Iterable
from datetime import date, datetime
from typing import Any, Final, NamedTuple

from pydantic_core import to_json

from contracts.fields import hundredths, write_money
from contracts.reference.holidays import SHA256 as CALENDAR_SHA256
from contracts.rules.case import BOOKED, PAYMENTS, RECEIVED, Bill, Fact
from contracts.rules.clock import banking_day_before, banking_day_of, count_banking_days, end_of_day, jakarta_day
from contracts.rules.payments import tally
from contracts.rules.reconciliation import explanations_of

FORMAT: Final = "tkahub-reconciliation/1"
COLUMNS: Final = ("notified", "booked", "reversed", "paired", "billed")


class Account(NamedTuple):
    """What is known under one key: its bill, if there is one, and the payments and explanations of all banks."""

    key: str
    bill: Bill | None
    facts: tuple[Fact, ...]


class OpenDifference(NamedTuple):
    """A difference that was open when the report was made; `paid_on` is the Jakarta day of its money."""

    id: str
    kind: str
    billing_code: str | None
    amount: str
    currency: str
    paid_on: date
    opened_at: str


class Scope(NamedTuple):
    """What a report is about, and up to which entry of the log."""

    environment: str
    log_origin: str
    participant: str
    day: date
    log_size: int


def span_of(day: date) -> tuple[datetime, datetime]:
    """The moments at which a banking day's money begins and ends (exclusive), in UTC."""
    return end_of_day(banking_day_before(day)), end_of_day(day)


def write_report(scope: Scope, accounts: Iterable[Account], differences: Iterable[OpenDifference]) -> bytes:
    """Write a bank's report: compact JSON, members sorted by name, UTF-8.

    `accounts` hold at least every key under which the bank reported money of the day, each once, and every key of
    `differences`; more of them change nothing.
    """
    totals: dict[str, dict[str, list[int]]] = {}
    explained: dict[str, tuple[Fact, ...]] = {}
    for account in accounts:
        facts = tuple(fact for fact in account.facts if fact.log_index < scope.log_size)
        bill = account.bill if account.bill is not None and account.bill.fact.log_index < scope.log_size else None
        _count(totals, account._replace(bill=bill, facts=facts), scope)
        explained[account.key] = facts
    members = {
        "format": FORMAT,
        "environment": scope.environment,
        "log_origin": scope.log_origin,
        "participant": scope.participant,
        "day": scope.day.isoformat(),
        "calendar_sha256": CALENDAR_SHA256,
        "log_size": scope.log_size,
        "totals": [_write_totals(currency, totals[currency]) for currency in sorted(totals)],
        "differences": [_write_difference(one, scope, explained) for one in sorted(differences)],
    }
    return to_json(dict(sorted(members.items())))


def _count(totals: dict[str, dict[str, list[int]]], account: Account, scope: Scope) -> None:
    """Add one key's money of the day. A bill counts once, under its own currency, if any money of the day names it."""
    payments = [fact for fact in account.facts if fact.type in PAYMENTS and fact.participant == scope.participant]
    of_the_day = {(fact.source, fact.id) for fact in payments if banking_day_of(jakarta_day(fact.time)) == scope.day}
    if not of_the_day:
        return
    for fact in payments:
        if (fact.source, fact.id) in of_the_day:
            column = {RECEIVED: "notified", BOOKED: "booked"}.get(fact.type, "reversed")
            _add(totals, fact.data["currency"], column, hundredths(fact.data["amount"]))
    for money in tally(None, payments).standing:
        if len(money.reports) > 1 and (money.primary.source, money.primary.id) in of_the_day:
            _add(totals, money.currency, "paired", money.amount)
    if account.bill is not None:
        _add(totals, account.bill.currency, "billed", account.bill.amount)


def _add(totals: dict[str, dict[str, list[int]]], currency: str, column: str, amount: int) -> None:
    total = totals.setdefault(currency, {name: [0, 0] for name in COLUMNS})[column]
    total[0] += 1
    total[1] += amount


def _write_totals(currency: str, totals: dict[str, list[int]]) -> dict[str, Any]:
    sums = {name: {"amount": write_money(amount), "count": count} for name, (count, amount) in totals.items()}
    return dict(sorted({"currency": currency, **sums}.items()))


def _write_difference(one: OpenDifference, scope: Scope, explained: dict[str, tuple[Fact, ...]]) -> dict[str, Any]:
    """A difference with its age in banking days; the words of an explanation stay with the parties."""
    given = explanations_of(one.id, scope.participant, explained.get(one.id.partition(":")[0], ()))
    members = {
        "id": one.id,
        "kind": one.kind,
        "billing_code": one.billing_code,
        "amount": one.amount,
        "currency": one.currency,
        "paid_on": one.paid_on.isoformat(),
        "opened_at": one.opened_at,
        "age_banking_days": count_banking_days(one.paid_on, scope.day),
        "explanations": [{"code": given_one.code, "participant": given_one.participant} for given_one in given],
    }
    return dict(sorted(members.items()))
