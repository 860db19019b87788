"""The life of differences: opened, explained, closed. Pure: what the facts show, compared with what was told before.

    open --the facts agree--> resolved --they differ again--> open (next revision)
    open --an operator's word--> closed --the facts agree--> resolved

A book is what is remembered of one key: the differences by id (`differences`), the Jakarta day up to which money was
checked (`checked`), and the days whose check is to come (`due`). Empty members are left out, and so is an empty book.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

from contracts.rules.case import Fact
from contracts.rules.clock import add_banking_days, end_of_day, jakarta_day
from contracts.rules.payments import Tally
from contracts.rules.reconciliation import Difference, explanations_of, judge, key_of
from contracts.wire.instant import write_instant

OPENED = "id.tka.hub.difference.opened.v1"
EXPLAINED = "id.tka.hub.difference.explained.v1"
CLOSED = "id.tka.hub.difference.closed.v1"

# The action under which the log keeps an operator's closing.
CLOSE_DIFFERENCE = "close_difference"
BOOKING_TIMER = "booking"
# Between billing code and day in the subject of a booking timer; neither holds it.
DAY_MARK = "@"

Book = Mapping[str, Any]


class NotOpen(Exception):
    """There is no such difference, or it is not open."""


class Closing(NamedTuple):
    """An operator's word that a difference is over, and why."""

    difference_id: str
    statement: str


class Occasion(NamedTuple):
    """What else than new facts lets a case be judged, and how long money may take to be in both books.

    `passed` names, by billing code, the day whose money has had its time: `booking_days` banking days, or `grace` from
    now for what is told later than that.
    """

    passed: Mapping[str, str] = {}
    closing: Closing | None = None
    booking_days: int = 2
    grace: timedelta = timedelta()


NEW_FACTS = Occasion()


class Matter(NamedTuple):
    """What is known under one key. `counted` is None as long as the payments are not to be judged yet."""

    key: str
    application: str | None
    facts: Sequence[Fact]
    counted: Tally | None


class News(NamedTuple):
    """An event about a difference; `participant` is the bank that hears of it."""

    type: str
    data: dict[str, Any]
    participant: str


class DifferenceRow(NamedTuple):
    """A difference as the database shows it, in the order of the columns; instants and JSON as text."""

    id: str
    revision: int
    key: str
    kind: str
    participant: str
    state: str
    application: str | None
    payment_source: str
    payment_id: str
    amount: str
    currency: str
    paid_on: date
    opened_at: datetime
    closed_at: datetime | None
    statement: str | None
    explanations: list[list[str]]


class Reconciled(NamedTuple):
    """What a book says from now on and what of it is news; `deadlines` are (subject, when), taken back with None."""

    book: dict[str, Any]
    news: list[News]
    rows: list[DifferenceRow]
    deadlines: list[tuple[str, datetime | None]]


NOTHING = Reconciled({}, [], [], [])


def reconcile(book: Book, matter: Matter, occasion: Occasion, now: datetime) -> Reconciled:
    """Compare what the facts under a key show with its book.

    Raises NotOpen if the occasion is the closing of a difference under this key that is not open.
    """
    passed, closing = occasion.passed.get(matter.key), occasion.closing
    if closing is not None and key_of(closing.difference_id) != matter.key:
        closing = None
    checked = max(filter(None, (book.get("checked"), passed)), default=None)
    known: Mapping[str, dict[str, Any]] = book.get("differences", {})
    shown: Mapping[str, Difference | None] = dict.fromkeys(known)
    due = list(book.get("due", ()))
    if matter.counted is not None:
        limit = None if checked is None else date.fromisoformat(checked)
        judged = judge(matter.key, matter.facts, matter.counted, limit)
        if not judged.differences and not judged.waiting and not book and checked is None and closing is None:
            return NOTHING
        shown = dict.fromkeys(known) | {one.id: one for one in judged.differences}
        due = [day.isoformat() for day in judged.waiting]
    if closing is not None and known.get(closing.difference_id, {}).get("state") != "open":
        raise NotOpen(f"There is no open difference {closing.difference_id}.")
    after: dict[str, dict[str, Any]] = {}
    for identity in sorted(shown):
        entry = known.get(identity)
        if matter.counted is not None:
            entry = _follow(entry, shown[identity], now)
        if closing is not None and closing.difference_id == identity and entry is not None:
            entry = _close(entry, closing.statement, now)
        if entry is not None:
            given = explanations_of(identity, entry["participant"], matter.facts)
            after[identity] = entry | {"explanations": [list(one) for one in given]}
    before_due = book.get("due", ())
    members = {"differences": after, "checked": checked, "due": due}
    changed = [identity for identity, entry in after.items() if entry != known.get(identity)]
    return Reconciled(
        book={name: member for name, member in members.items() if member},
        news=[one for name in changed for one in _tell(name, known.get(name), after[name], matter, now)],
        rows=[_row_of(name, matter, after[name]) for name in changed],
        deadlines=list(_set_deadlines(matter.key, before_due, due, occasion, now)),
    )


def _set_deadlines(
    key: str, before: Sequence[str], due: Sequence[str], occasion: Occasion, now: datetime
) -> Iterator[tuple[str, datetime | None]]:
    """Set a deadline for each day whose money waits now, and take back those for which nothing waits any more."""
    for day in before:
        if day not in due and day != occasion.passed.get(key):
            yield f"{key}{DAY_MARK}{day}", None
    for day in due:
        if day not in before:
            due_at = end_of_day(add_banking_days(date.fromisoformat(day), occasion.booking_days))
            yield f"{key}{DAY_MARK}{day}", max(due_at, now + occasion.grace)


def read_timer_subject(name: str, subject: str) -> tuple[str, str | None]:
    """Return the billing code that a deadline is about, and for a booking timer the day whose money is checked."""
    code, _, day = subject.partition(DAY_MARK)
    return (code, day) if name == BOOKING_TIMER else (subject, None)


def list_passed(fired: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return, by billing code, the last day whose check is among the deadlines that passed."""
    passed: dict[str, str] = {}
    for name, subject in fired:
        code, day = read_timer_subject(name, subject)
        if day is not None:
            passed[code] = max(day, passed.get(code, day))
    return passed


def _follow(entry: dict[str, Any] | None, difference: Difference | None, now: datetime) -> dict[str, Any] | None:
    """Let an entry follow what the facts show now."""
    if difference is None:
        if entry is None or entry["state"] == "resolved":
            return entry
        if entry["state"] == "closed":
            return entry | {"state": "resolved"}
        return entry | {"state": "resolved", "closed_at": write_instant(now)}
    if entry is not None and entry["state"] != "resolved":
        return entry
    payment = difference.payment
    return {
        "kind": difference.kind,
        "participant": difference.participant,
        "revision": 1 if entry is None else entry["revision"] + 1,
        "state": "open",
        "payment": [payment.source, payment.id],
        "amount": payment.data["amount"],
        "currency": payment.data["currency"],
        "paid_on": jakarta_day(payment.time).isoformat(),
        "opened_at": write_instant(now),
        "closed_at": None,
        "statement": None,
    }


def _close(entry: dict[str, Any], statement: str, now: datetime) -> dict[str, Any]:
    """Close an entry on an operator's word; what the facts resolved in the same step needs none."""
    if entry["state"] != "open":
        raise NotOpen("The facts have just resolved this difference.")
    return entry | {"state": "closed", "closed_at": write_instant(now), "statement": statement}


def _tell(
    identity: str, before: Mapping[str, Any] | None, after: Mapping[str, Any], matter: Matter, now: datetime
) -> Iterable[News]:
    """Say what has changed, in the order of a difference's life."""
    same = {"difference_id": identity, "kind": after["kind"], "participant": after["participant"]}
    participant = after["participant"]
    if before is None or before["revision"] != after["revision"]:
        source, payment_id = after["payment"]
        opened = same | {
            "billing_code": matter.key if matter.key.isdigit() else None,
            "application": matter.application,
            "payment": {"source": source, "id": payment_id},
            "amount": after["amount"],
            "currency": after["currency"],
            "opened_at": after["opened_at"],
        }
        yield News(OPENED, opened, participant)
    if after["explanations"] and (before is None or before["explanations"] != after["explanations"]):
        given = [{"participant": name, "code": code} for name, code in after["explanations"]]
        yield News(EXPLAINED, same | {"explanations": given, "explained_at": write_instant(now)}, participant)
    if before is not None and before["state"] == "open" and after["state"] != "open":
        closed = same | {
            "reason": after["state"],
            "statement": after["statement"],
            "closed_at": after["closed_at"],
        }
        yield News(CLOSED, closed, participant)


def _row_of(identity: str, matter: Matter, entry: Mapping[str, Any]) -> DifferenceRow:
    closed_at = entry["closed_at"]
    source, payment_id = entry["payment"]
    return DifferenceRow(
        identity,
        entry["revision"],
        matter.key,
        entry["kind"],
        entry["participant"],
        entry["state"],
        matter.application,
        source,
        payment_id,
        entry["amount"],
        entry["currency"],
        date.fromisoformat(entry["paid_on"]),
        datetime.fromisoformat(entry["opened_at"]),
        None if closed_at is None else datetime.fromisoformat(closed_at),
        entry["statement"],
        entry["explanations"],
    )
