"""The tally: which reports are the same money, and what each came to.

No reference identifies money by itself. Within a channel every report is money of its own, since the channel's own
identity already made repeats vanish. Across channels, among reports of one participant with equal billing code, amount
and currency: pair first by NTPN, then by bank reference, then whatever is left, one with one. So the money of such a
group is the larger of notified and booked, whatever came first. A reversal takes one money of its group away.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import zip_longest
from typing import NamedTuple

from contracts.fields import hundredths
from contracts.rules.case import BOOKED, RECEIVED, Bill, Fact, order_of

#: A payment fact's identity.
FactKey = tuple[str, str]


class Money(NamedTuple):
    """One payment, and the reports of it, the notification first."""

    reports: tuple[Fact, ...]
    amount: int
    currency: str

    @property
    def primary(self) -> Fact:
        """The report by which the money is dated and named."""
        return self.reports[0]


@dataclass(frozen=True, slots=True)
class Tally:
    """What the payments of one billing code came to.

    `outcomes` per (source, id) of every report and reversal; `settled` is the money that counts, in hundredths of the
    bill's currency; `settling` the reports of the money that completed it; `taken_back` the reversals that found money;
    `standing` the money that was not taken back, in order.
    """

    outcomes: Mapping[FactKey, str]
    settled: int
    complete: bool
    settling: tuple[Fact, ...]
    taken_back: tuple[Fact, ...]
    standing: tuple[Money, ...] = ()


EMPTY = Tally({}, 0, False, (), ())


def tally(bill: Bill | None, payments: Iterable[Fact], late_settles: bool = True) -> Tally:
    """Count the reported payments of one billing code against its bill, in whatever order they are given.

    Without a bill, or with a cancelled one, money is unmatched. Money after the bill's expiry is late; whether it
    settles is the rule set's word.
    """
    outcomes: dict[FactKey, str] = {}
    standing: list[Money] = []
    taken_back: list[Fact] = []
    for group in _groups_of(payments).values():
        notified = [fact for fact in group if fact.type == RECEIVED]
        booked = [fact for fact in group if fact.type == BOOKED]
        reversals = [fact for fact in group if fact.type != RECEIVED and fact.type != BOOKED]
        moneys = _moneys_of(notified, booked)
        if reversals:
            moneys = _take_back(moneys, reversals, outcomes, taken_back)
        standing += moneys
    standing.sort(key=lambda money: order_of(money.primary))
    for money in standing:
        for report in money.reports[1:]:
            outcomes[report.source, report.id] = "duplicate"
    if bill is None or bill.cancelled:
        for money in standing:
            outcomes[money.primary.source, money.primary.id] = "unmatched"
        return Tally(outcomes, 0, False, (), tuple(taken_back), tuple(standing))
    settled, settling = _settle(bill, standing, late_settles, outcomes)
    complete = settled >= bill.amount
    return Tally(outcomes, settled, complete, tuple(settling), tuple(taken_back), tuple(standing))


def _groups_of(payments: Iterable[Fact]) -> dict[tuple[str, str, str, str], list[Fact]]:
    """The reports that may be the same money, each group in order and without repeats."""
    groups: dict[tuple[str, str, str, str], list[Fact]] = {}
    for fact in sorted({(fact.source, fact.id): fact for fact in payments}.values(), key=order_of):
        data = fact.data
        group = (fact.participant, data.get("billing_code", ""), data["amount"], data["currency"])
        groups.setdefault(group, []).append(fact)
    return groups


def _moneys_of(notified: Sequence[Fact], booked: Sequence[Fact]) -> list[Money]:
    """Pair the reports of two channels: as many moneys as the longer list has reports."""
    pairs: list[tuple[Fact, ...]] = []
    for reference in ("ntpn", "bank_reference"):
        if notified and booked:
            notified, booked = _pair_by(reference, notified, booked, pairs)
    for first, second in zip_longest(notified, booked):
        pairs.append(tuple(report for report in (first, second) if report is not None))
    return [Money(reports, hundredths(reports[0].data["amount"]), reports[0].data["currency"]) for reports in pairs]


def _pair_by(
    reference: str, notified: Sequence[Fact], booked: Sequence[Fact], pairs: list[tuple[Fact, ...]]
) -> tuple[list[Fact], list[Fact]]:
    """Pair the reports that name an equal reference, one with one in order, and return the rest of both."""
    waiting: dict[str, list[Fact]] = {}
    for fact in reversed(booked):
        if (named := fact.data.get(reference)) is not None:
            waiting.setdefault(named.upper(), []).append(fact)
    paired: set[FactKey] = set()
    rest: list[Fact] = []
    for fact in notified:
        named = fact.data.get(reference)
        partners = waiting.get(named.upper()) if named is not None else None
        if partners:
            partner = partners.pop()
            paired.add((partner.source, partner.id))
            pairs.append((fact, partner))
        else:
            rest.append(fact)
    return rest, [fact for fact in booked if (fact.source, fact.id) not in paired]


def _take_back(
    moneys: list[Money], reversals: Iterable[Fact], outcomes: dict[FactKey, str], taken_back: list[Fact]
) -> list[Money]:
    """Take one money away for each reversal, and return what stands.

    A reversal never repeats the original's reference, so it takes the latest money that is not after it; when a
    bank's dates leave none, the earliest of all.
    """
    standing = sorted(moneys, key=lambda money: order_of(money.primary))
    for reversal in reversals:
        if not standing:
            outcomes[reversal.source, reversal.id] = "unmatched"
            continue
        earlier = sum(1 for money in standing if money.primary.time <= reversal.time)
        for report in standing.pop(max(earlier - 1, 0)).reports:
            outcomes[report.source, report.id] = "reversed"
        outcomes[reversal.source, reversal.id] = "reversed"
        taken_back.append(reversal)
    return standing


def _settle(
    bill: Bill, standing: Iterable[Money], late_settles: bool, outcomes: dict[FactKey, str]
) -> tuple[int, list[Fact]]:
    """Name the outcome of each money, in order; return what counts and the reports that made it complete."""
    settled = 0
    settling: list[Fact] = []
    for money in standing:
        outcome = _outcome_of(bill, money, settled, money.primary.time, late_settles)
        outcomes[money.primary.source, money.primary.id] = outcome
        if outcome == "wrong_currency" or (outcome == "late" and not late_settles):
            continue
        if settled < bill.amount:
            settling.append(money.primary)
        settled += money.amount
    return settled, settling


def _outcome_of(bill: Bill, money: Money, settled: int, time: datetime, late_settles: bool) -> str:
    """The outcome of money that comes when `settled` is already there: too much outweighs too late."""
    if money.currency != bill.currency:
        return "wrong_currency"
    late = time > bill.expires_at
    total = settled + money.amount
    if total > bill.amount and (late_settles or not late):
        return "excess"
    if late:
        return "late"
    return "matched" if total == bill.amount else "partial"
