"""Expected against seen, of the money at the end of the day: differences by kind, and every bank's sums.

Expected comes from the agencies' own bookkeeping; seen are the events that the ministry and the banks were sent.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from contracts.rules.clock import banking_day_of
from devstack.agencies.bookkeeping import COLUMNS, KINDS, Difference, Total, add_up, day_of, find_differences
from devstack.agencies.ministry import EXPLAINED_KIND
from devstack.agencies.scenario import BANKS, LONG_AGO, Day
from devstack.demonstration.cast import EXPLAINING_BANK, RECONCILIATION_TYPES
from devstack.demonstration.ledger import Books
from devstack.demonstration.observation import Watcher

OPENED, EXPLAINED, CLOSED, REPORTED = RECONCILIATION_TYPES
RESOLVED_KIND, CLOSED_KIND = "not_booked", "reversal_of_nothing"
TOTAL = "total of"
HUNDREDTHS = {name: f"{name}, in hundredths" for name in COLUMNS}


def codes_of(day: Day, variant: str) -> set[str]:
    """Return the billing codes of all applications of one kind."""
    return {made.bill.code for made in day.applications.values() if made.variant == variant and made.bill is not None}


def find_expected(books: Books) -> "Counter[Difference]":
    """Return the differences that the agencies' own books show now."""
    return find_differences(books.day.bills(), books.reports(), books.day.start - LONG_AGO / 2)


def expect_differences(books: Books) -> dict[str, int]:
    """Return what should be seen."""
    found = find_expected(books)
    kinds = Counter(one.kind for one in found.elements())
    late = codes_of(books.day, "booked_late")
    booked_late = sum(told.billing_code in late and told.channel == "statement" for told in books.reports())
    expected = {f"differences: {kind}": kinds[kind] for kind in KINDS}
    expected |= {f"differences told to {bank}": sum(one.bank == bank for one in found.elements()) for bank in BANKS}
    expected["differences told otherwise"] = 0
    expected[f"differences explained by {EXPLAINING_BANK}"] = len(books.ledger.explained)
    expected["differences explained by ministry"] = kinds[EXPLAINED_KIND]
    expected[f"differences over: {RESOLVED_KIND}, booked at last"] = booked_late
    expected[f"differences over: {CLOSED_KIND}, by hub reconcile close"] = len(books.ledger.closed)
    return expected


def see_differences(books: Books, watcher: Watcher) -> dict[str, int]:
    """Return what the ministry and the banks were told, under the same keys as `expect_differences`."""
    standing = list_standing(watcher, "ministry")
    found = Counter(standing.values())
    kinds = Counter(one.kind for one in standing.values())
    seen = {f"differences: {kind}": kinds[kind] for kind in KINDS}
    for bank in BANKS:
        own = list_standing(watcher, bank)
        seen[f"differences told to {bank}"] = sum(standing.get(identity) == one for identity, one in own.items())
    expected = find_expected(books)
    seen["differences told otherwise"] = sum(((found - expected) + (expected - found)).values())
    for participant in (EXPLAINING_BANK, "ministry"):
        seen[f"differences explained by {participant}"] = sum(
            any(one["participant"] == participant for one in record.event["data"]["explanations"])
            for record in _last(watcher, "ministry", EXPLAINED).values()
        )
    late, opened = codes_of(books.day, "booked_late"), list_opened(watcher, "ministry")
    over = [record.event["data"] for record in _last(watcher, "ministry", CLOSED).values()]
    resolved = {told["difference_id"] for told in over if told["reason"] == "resolved"}
    seen[f"differences over: {RESOLVED_KIND}, booked at last"] = sum(
        opened[identity].kind == RESOLVED_KIND and opened[identity].code in late for identity in resolved
    )
    seen[f"differences over: {CLOSED_KIND}, by hub reconcile close"] = sum(told["reason"] == "closed" for told in over)
    return seen


def _last(watcher: Watcher, participant: str, kind: str) -> dict[str, Any]:
    """Return the last event of a type on each difference."""
    return {record.event["data"]["difference_id"]: record for record in watcher.events(f"to.{participant}", kind)}


def list_opened(watcher: Watcher, participant: str) -> dict[str, Difference]:
    """Return every difference that a participant was told of, by id."""
    opened = {}
    for identity, record in _last(watcher, participant, OPENED).items():
        told = record.event["data"]
        code = told["billing_code"] or ""
        amount = Decimal(told["amount"])
        opened[identity] = Difference(told["participant"], code, told["kind"], amount, told["currency"])
    return opened


def list_standing(watcher: Watcher, participant: str) -> dict[str, Difference]:
    """Return the differences that the facts still show: what an operator closed is one of them."""
    standing: dict[str, Difference] = {}
    opened = list_opened(watcher, participant)
    for record in watcher.events(f"to.{participant}", OPENED, CLOSED):
        identity = record.event["data"]["difference_id"]
        if record.event["type"] == OPENED:
            standing[identity] = opened[identity]
        elif record.event["data"]["reason"] == "resolved":
            standing.pop(identity, None)
    return standing


# --- sums ------------------------------------------------------------------------------------------------------------


def list_days(books: Books) -> list[date]:
    """Return the banking days to which the day's money belongs."""
    return sorted({banking_day_of(day_of(report.dated)) for report in books.reports()})


def expect_totals(books: Books) -> dict[str, int]:
    """Return every sum of every bank's own books."""
    totals = add_up(books.day.bills(), books.reports(), banking_day_of)
    expected = {name_total(total): amount for total, amount in sorted(totals.items()) if amount}
    return expected | {"daily reports to ministry": len(list_days(books)) * len(BANKS)}


def see_totals(watcher: Watcher) -> dict[str, int]:
    """Return every sum of the reports that the banks were sent, the newest revision of each."""
    seen: dict[str, int] = {}
    reported = set()
    for bank in BANKS:
        for record in watcher.events(f"to.{bank}", REPORTED):
            seen |= _read_totals(record.event["data"])
    for record in watcher.events("to.ministry", REPORTED):
        reported.add((record.event["data"]["participant"], record.event["data"]["day"]))
    return dict(sorted(seen.items())) | {"daily reports to ministry": len(reported)}


def _read_totals(report: Mapping[str, Any]) -> dict[str, int]:
    bank, day, seen = report["participant"], date.fromisoformat(report["day"]), {}
    for total in report["totals"]:
        for column in COLUMNS:
            amount = int(Decimal(total[column]["amount"]) * 100)
            if amount:
                seen[name_total(Total(bank, day, total["currency"], column))] = amount
    return seen


def name_total(total: Total) -> str:
    """Return the key of a sum."""
    return f"{TOTAL} {total.bank}, {total.day}, {total.currency}: {HUNDREDTHS[total.column]}"
