"""The decision: whether a recommendation is wanted, on what basis, and what each payment and bill came to.

    State --decide--> Decision(recommendation | blocked_by, outcomes, bills)

An auditor recomputes a recommendation with this module alone: its content, its basis and its reason come from the facts
and the rule set, never from the clock. `now` decides only whether an unpaid bill is shown as expired.
"""

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Any, Final, Literal, NamedTuple

from contracts.rules import reasons
from contracts.rules.case import REJECTED, REVOKED, Bill, Fact, State
from contracts.rules.payments import EMPTY, FactKey, Tally, tally
from contracts.rules.rulebook import Rulebook, RuleSet, due, started_months

BillStatus = Literal["open", "paid", "expired", "cancelled"]

#: The members of the deciding permit event that a recommendation repeats word for word.
_REPEATED: Final = ("employer", "position", "places", "permit_kind", "from", "until", "kanim")

#: What a payment may have come to since a recommendation was built on it, and the reason that this gives.
_LOST: Final = {
    "reversed": reasons.PAYMENT_REVERSED,
    "unmatched": reasons.BILL_CANCELLED,
    "wrong_currency": reasons.PAYMENT_MISSING,
}


class Basis(NamedTuple):
    """A message on which a recommendation rests, and the part it plays."""

    role: str
    source: str
    id: str
    type: str
    sha256: str
    log_index: int


class Wanted(NamedTuple):
    """A recommendation that should stand.

    `content` is everything a recommendation says except number, revision, state, reason, the worker's personal data
    and the basis. `granted` names, by (source, id), the event whose personal data belongs to it. Two with the same
    `fingerprint` say the same, personal data included.
    """

    content: Mapping[str, Any]
    basis: tuple[Basis, ...]
    granted: FactKey
    fingerprint: str


class Decision(NamedTuple):
    """What the rule set makes of a state.

    `blocked_by` holds words of `reasons`, the weightiest first; it is empty exactly when a recommendation is wanted.
    `work_permit_blocked_by` says the same of the work permit (2012: the IMTA, which the payment gates).
    `outcomes` are keyed by (source, id) of each payment event; `bills` and `tallies` by billing code.
    """

    rule_set: RuleSet | None
    recommendation: Wanted | None
    blocked_by: tuple[str, ...]
    work_permit_blocked_by: tuple[str, ...]
    outcomes: Mapping[FactKey, str]
    bills: Mapping[str, BillStatus]
    tallies: Mapping[str | None, Tally]


class _Settlement(NamedTuple):
    """Whether the compensation is settled: what blocks it, and the facts that settle it."""

    blocked_by: tuple[str, ...]
    basis: tuple[Basis, ...]


def decide(state: State, rulebook: Rulebook, now: datetime) -> Decision:
    """Decide a state by the rule set of its application's date: a pure function of its arguments."""
    applied_on = _application_date(state)
    rule_set = None if applied_on is None else rulebook.choose(applied_on)
    late_settles = rule_set is None or rule_set.late_settles
    tallies = _tallies_of(state, late_settles)
    outcomes: dict[FactKey, str] = {}
    for counted in tallies.values():
        outcomes |= counted.outcomes
    bills = {code: _status_of(bill, tallies[code], now) for code, bill in state.bills.items()}
    if rule_set is None or applied_on is None:
        unruled = (reasons.APPLICATION_UNKNOWN if applied_on is None else reasons.RULE_SET_MISSING,)
        return Decision(None, None, unruled, unruled, outcomes, bills, tallies)
    unapproved = _approval_blocked_by(state, rule_set)
    settlement = _settlement_of(state, tallies, rule_set, applied_on)
    needs_settled = "settled" in rule_set.recommendation_needs
    blocked_by = unapproved + (settlement.blocked_by if needs_settled else ())
    permit_blocked_by = unapproved + (settlement.blocked_by if "settled" in rule_set.work_permit_needs else ())
    wanted = None
    if not blocked_by and state.submitted and state.approved and state.granted:
        settling = settlement.basis if needs_settled else ()
        wanted = _wanted(state.submitted, state.approved, state.granted, settling, rule_set)
    return Decision(rule_set, wanted, blocked_by, permit_blocked_by, outcomes, bills, tallies)


def _application_date(state: State) -> date | None:
    """The date that chooses the rule set."""
    return None if state.submitted is None else date.fromisoformat(state.submitted.data["application_date"])


def _tallies_of(state: State, late_settles: bool) -> dict[str | None, Tally]:
    """The tally of every billing code that has a bill or a payment; payments without a code stand under None."""
    tallies: dict[str | None, Tally] = dict.fromkeys(state.bills, EMPTY)
    for code, payments in state.payments.items():
        bill = None if code is None else state.bills.get(code)
        tallies[code] = tally(bill, payments, late_settles)
    return tallies


def _status_of(bill: Bill, counted: Tally, now: datetime) -> BillStatus:
    """What banks are told of a bill: cancelled outweighs paid, and paid outweighs expired."""
    if bill.cancelled:
        return "cancelled"
    if counted.complete:
        return "paid"
    return "expired" if bill.expired or bill.expires_at <= now else "open"


def _approval_blocked_by(state: State, rule_set: RuleSet) -> tuple[str, ...]:
    """Why the permit does not carry a recommendation."""
    if state.ended is not None:
        if state.ended.type == REVOKED:
            return (reasons.PERMIT_REVOKED,)
        return (reasons.PERMIT_REJECTED if state.ended.type == REJECTED else reasons.PERMIT_EXPIRED,)
    if state.granted is None:
        return (reasons.PERMIT_NOT_APPROVED,)
    data = state.granted.data
    blocked_by: tuple[str, ...] = ()
    if data["position"]["kbji"] in rule_set.prohibited_positions:
        blocked_by += (reasons.POST_PROHIBITED,)
    months = started_months(date.fromisoformat(data["from"]), date.fromisoformat(data["until"]))
    if months > rule_set.months_max(data["permit_kind"], data.get("special_zone") is not None):
        blocked_by += (reasons.DURATION_OVER_LIMIT,)
    return blocked_by


def _settlement_of(
    state: State, tallies: Mapping[str | None, Tally], rule_set: RuleSet, applied_on: date
) -> _Settlement:
    """Whether an exemption stands or every live bill is paid in full and together they reach what is owed."""
    for fact in state.exemptions:
        exemption = rule_set.exemptions.get(fact.data["class"])
        if exemption is not None and exemption.stands_on(applied_on):
            return _Settlement((), (_basis("exemption", fact),))
    unknown = (reasons.EXEMPTION_UNKNOWN,) if state.exemptions else ()
    live = [bill for bill in state.bills.values() if _is_live(bill, tallies[bill.billing_code], state)]
    unpaid = _unpaid(state, tallies, live)
    if unpaid:
        return _Settlement(unknown + unpaid, ())
    if state.granted is not None:
        data = state.granted.data
        owed = due(rule_set, date.fromisoformat(data["from"]), date.fromisoformat(data["until"]))
        if sum(bill.usd_amount for bill in live) < owed:
            return _Settlement((*unknown, reasons.BILL_BELOW_DUE), ())
    basis: list[Basis] = []
    for bill in live:
        basis.append(_basis("bill", bill.fact))
        basis += [_basis("payment", fact) for fact in tallies[bill.billing_code].settling]
    return _Settlement((), tuple(basis))


def _is_live(bill: Bill, counted: Tally, state: State) -> bool:
    """Whether a bill counts: not cancelled, and not run out unpaid.

    An unpaid bill has run out when the Ministry said so, or when it issued another after this one's expiry.
    """
    if bill.cancelled:
        return False
    if counted.complete:
        return True
    return not bill.expired and all(other.fact.time < bill.expires_at for other in state.bills.values())


def _unpaid(state: State, tallies: Mapping[str | None, Tally], live: Iterable[Bill]) -> tuple[str, ...]:
    """Why the live bills are not paid in full, the weightiest reason alone, or nothing."""
    waiting = [tallies[bill.billing_code] for bill in live if not tallies[bill.billing_code].complete]
    if any(counted.taken_back for counted in waiting):
        return (reasons.PAYMENT_REVERSED,)
    if waiting:
        return (reasons.PAYMENT_PARTIAL if any(counted.settled for counted in waiting) else reasons.PAYMENT_MISSING,)
    if any(tallies[bill.billing_code].complete and not bill.cancelled for bill in state.bills.values()):
        return ()
    if any(tallies[code].taken_back for code in state.bills):
        return (reasons.PAYMENT_REVERSED,)
    if any(bill.cancelled for bill in state.bills.values()):
        return (reasons.BILL_CANCELLED,)
    return (reasons.BILL_EXPIRED if state.bills else reasons.BILL_MISSING,)


def _basis(role: str, fact: Fact) -> Basis:
    """A fact in its part."""
    return Basis(role, fact.source, fact.id, fact.type, fact.sha256, fact.log_index)


def _wanted(submitted: Fact, approved: Fact, granted: Fact, settling: tuple[Basis, ...], rule_set: RuleSet) -> Wanted:
    """The recommendation that an approval, in the words of its latest amendment, carries."""
    basis = (_basis("submission", submitted), _basis("approval", approved))
    amended = () if granted is approved else (_basis("amendment", granted),)
    content: dict[str, Any] = {
        "application": granted.data["application"],
        "rule_set": {"id": rule_set.id, "version": rule_set.version, "sha256": rule_set.sha256},
    }
    for member in _REPEATED:
        content[member] = granted.data[member]
    return Wanted(
        content=content,
        basis=(*basis, *amended, *settling),
        granted=(granted.source, granted.id),
        fingerprint=f"{rule_set.sha256}.{granted.sha256}",
    )


def foundation_lost(basis: Iterable[FactKey], decision: Decision) -> str | None:
    """Why a standing recommendation cannot stand on these facts any more, or None.

    Asked beside `decision.recommendation`: when money was taken back and paid again in one batch, a recommendation is
    wanted all the same, but the one that stands names money that is gone; it is withdrawn for this reason and issued
    anew, as it would have been in two batches.
    """
    for key in basis:
        outcome = decision.outcomes.get(key)
        if outcome in _LOST:
            return _LOST[outcome]
    return None


def recommendation_data(
    wanted: Wanted,
    personal: Mapping[str, str],
    number: str,
    revision: int,
    state: Literal["issued", "withdrawn"],
    reason: str | None = None,
) -> dict[str, Any]:
    """The `data` of a recommendation event, complete, in the one order of its members.

    `personal` is `EventData.personal()` of the event `wanted.granted`; `reason` belongs to a withdrawal and only there.
    """
    content = wanted.content
    data: dict[str, Any] = {
        "number": number,
        "revision": revision,
        "state": state,
        "application": content["application"],
        "rule_set": content["rule_set"],
        "worker": dict(personal),
    }
    for member in _REPEATED:
        data[member] = content[member]
    data["basis"] = [entry._asdict() for entry in wanted.basis]
    if reason is not None:
        data["reason"] = reason
    return data
