"""Where an application is, who holds it, what is owed and by when: pure, from what was said of it.

    Said (every accepted message) + State and Decision (what a rule set makes of the facts) --follow--> Progress

Only a deficiency that the applicant was told of pauses the clock of a decision (DOMAIN: silence breaches the SOP).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any, NamedTuple

from contracts.fields import hundredths
from contracts.oversight.clocks import find_due
from contracts.rules.case import PAYMENTS, REJECTED, REVOKED, Fact, State
from contracts.rules.clock import jakarta_day
from contracts.rules.decide import Decision
from contracts.rules.rulebook import RuleSet

PERMIT = "id.tka.ministry.permit."
DEFICIENT = f"{PERMIT}deficiency_notified.v1"
RESUBMITTED = f"{PERMIT}resubmitted.v1"
COMPLETED = f"{PERMIT}completed.v1"
APPROVED = f"{PERMIT}approved.v1"
ENDED = "id.tka.ministry.employment.ended.v1"
ANSWERED = "id.tka.ministry.query.answered.v1"
QUERIED = "id.tka.immigration.recommendation.queried.v1"
VISA_APPROVED = "id.tka.immigration.visa.approved.v1"
VISA_REFUSED = "id.tka.immigration.visa.refused.v1"
VISA_REVOKED = "id.tka.immigration.visa.revoked.v1"
STAY_PERMIT = "id.tka.immigration.stay_permit.issued.v1"


class Stage(StrEnum):
    """Where an application is."""

    RECEIVED = "received"
    DEFICIENT = "deficient"
    ASSESSING = "assessing"
    PAYMENT_DUE = "payment_due"
    BILL_WANTED = "bill_wanted"
    NOT_CARRIED = "not_carried"
    ISSUING = "issuing"
    AT_IMMIGRATION = "at_immigration"
    QUERIED = "queried"
    VISA_APPROVED = "visa_approved"
    VISA_REFUSED = "visa_refused"
    STAYING = "staying"
    WITHDRAWN = "withdrawn"
    REJECTED = "rejected"
    REVOKED = "revoked"
    EXPIRED = "expired"
    ENDED = "ended"


class Holder(StrEnum):
    """Whose turn it is."""

    MINISTRY = "ministry"
    APPLICANT = "applicant"
    IMMIGRATION = "immigration"
    EXCHANGE = "exchange"
    NOBODY = "nobody"


HOLDERS: Mapping[Stage, Holder] = {
    Stage.RECEIVED: Holder.MINISTRY,
    Stage.DEFICIENT: Holder.APPLICANT,
    Stage.ASSESSING: Holder.MINISTRY,
    Stage.PAYMENT_DUE: Holder.APPLICANT,
    Stage.BILL_WANTED: Holder.MINISTRY,
    Stage.NOT_CARRIED: Holder.MINISTRY,
    Stage.ISSUING: Holder.EXCHANGE,
    Stage.AT_IMMIGRATION: Holder.IMMIGRATION,
    Stage.QUERIED: Holder.MINISTRY,
    Stage.VISA_APPROVED: Holder.IMMIGRATION,
    Stage.VISA_REFUSED: Holder.NOBODY,
    Stage.STAYING: Holder.NOBODY,
    Stage.WITHDRAWN: Holder.MINISTRY,
    Stage.REJECTED: Holder.NOBODY,
    Stage.REVOKED: Holder.NOBODY,
    Stage.EXPIRED: Holder.NOBODY,
    Stage.ENDED: Holder.NOBODY,
}


class Said(NamedTuple):
    """One accepted message about an application; `missing` are a deficiency's codes with their documents."""

    type: str
    time: datetime
    missing: tuple[tuple[str, str], ...] = ()


class Owed(NamedTuple):
    """A bill that is open."""

    billing_code: str
    amount: str
    currency: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Clock:
    """The service time of a decision: by when it is due, and whether it stands still or has run out.

    `due_on` is None while it stands still, and where no holidays are decreed for the year.
    """

    due_on: date | None
    paused: bool
    overdue: bool


@dataclass(frozen=True, slots=True)
class Progress:
    """What an applicant asks first."""

    application: str
    stage: Stage
    holder: Holder
    since: datetime
    clock: Clock | None
    owed: tuple[Owed, ...]
    missing: tuple[tuple[str, str], ...]
    steps: tuple[tuple[str, datetime], ...]
    blocked_by: tuple[str, ...]
    rule_set: str | None


def follow(
    said: Iterable[Said],
    facts: Sequence[Fact],
    state: State,
    decision: Decision,
    standing: Mapping[str, Any] | None,
    now: datetime,
) -> Progress | None:
    """Return an application's progress, or None if nothing was said of it."""
    paid = [Said(fact.type, fact.time) for fact in facts if fact.type in PAYMENTS]
    course = sorted([*said, *paid], key=lambda one: one.time)
    if not course:
        return None
    stage = _stage_of(course, state, decision, standing)
    last = [one for one in course if one.type == DEFICIENT]
    return Progress(
        application=state.application or "",
        stage=stage,
        holder=HOLDERS[stage],
        since=course[-1].time,
        clock=_clock_of(course, decision.rule_set, state, now),
        owed=_owed(state, decision),
        missing=last[-1].missing if stage is Stage.DEFICIENT else (),
        steps=tuple((one.type, one.time) for one in course),
        blocked_by=decision.blocked_by,
        rule_set=None if decision.rule_set is None else f"{decision.rule_set.id}/{decision.rule_set.version}",
    )


def _newest(course: Sequence[Said], event_type: str) -> datetime | None:
    return max((one.time for one in course if one.type == event_type), default=None)


def _is_after(first: datetime | None, second: datetime | None) -> bool:
    """Whether `first` happened, and `second` did not happen since."""
    return first is not None and (second is None or first > second)


def _stage_of(
    course: Sequence[Said], state: State, decision: Decision, standing: Mapping[str, Any] | None
) -> Stage:  # fmt: skip
    if state.ended is not None:
        return {REJECTED: Stage.REJECTED, REVOKED: Stage.REVOKED}.get(state.ended.type, Stage.EXPIRED)
    if _newest(course, ENDED) is not None:
        return Stage.ENDED
    if standing is not None:
        return _stage_at_immigration(course) if standing.get("state") == "issued" else Stage.WITHDRAWN
    if any(until is None for _, until in _pauses_of(course)):
        return Stage.DEFICIENT
    if not decision.blocked_by:
        return Stage.ISSUING
    if any(status == "open" for status in decision.bills.values()):
        return Stage.PAYMENT_DUE
    if state.approved is not None:
        money = any(word.startswith(("bill_", "payment_")) for word in decision.blocked_by)
        return Stage.BILL_WANTED if money else Stage.NOT_CARRIED
    return Stage.RECEIVED if _newest(course, COMPLETED) is None else Stage.ASSESSING


def _stage_at_immigration(course: Sequence[Said]) -> Stage:
    if _newest(course, STAY_PERMIT) is not None:
        return Stage.STAYING
    refused = max(filter(None, (_newest(course, VISA_REFUSED), _newest(course, VISA_REVOKED))), default=None)
    approved = _newest(course, VISA_APPROVED)
    if _is_after(refused, approved):
        return Stage.VISA_REFUSED
    if approved is not None:
        return Stage.VISA_APPROVED
    return Stage.QUERIED if _is_after(_newest(course, QUERIED), _newest(course, ANSWERED)) else Stage.AT_IMMIGRATION


def _owed(state: State, decision: Decision) -> tuple[Owed, ...]:
    bills = (bill for code, bill in state.bills.items() if decision.bills.get(code) == "open")
    return tuple(
        Owed(bill.billing_code, bill.fact.data["amount"], bill.currency, bill.expires_at)
        for bill in sorted(bills, key=lambda bill: bill.expires_at)
        if hundredths(bill.fact.data["amount"])
    )


def _clock_of(course: Sequence[Said], rule_set: RuleSet | None, state: State, now: datetime) -> Clock | None:
    """Return the clock of the decision, once the application is complete and until it is decided."""
    # A second word of completeness starts no clock anew.
    completed = min((one.time for one in course if one.type == COMPLETED), default=None)
    if completed is None or rule_set is None or state.approved is not None or state.ended is not None:
        return None
    kind = "decision" if state.submitted is None else str(state.submitted.data["permit_kind"])
    times = rule_set.service_times
    service_time = times.get("extension_decision" if kind == "extension" else "decision", times.get("decision"))
    if service_time is None:
        return None
    # The one reckoning of service times, by which warnings, breaches and findings go too.
    due_on, paused = find_due(completed, service_time, _pauses_of(course))
    overdue = due_on is not None and jakarta_day(now) > due_on
    return Clock(due_on, paused=paused, overdue=overdue)


def _pauses_of(course: Sequence[Said]) -> list[tuple[datetime, datetime | None]]:
    """Return from when until when the applicant owed something, in order."""
    pauses: list[tuple[datetime, datetime | None]] = []
    for one in course:
        if one.type == DEFICIENT and (not pauses or pauses[-1][1] is not None):
            pauses.append((one.time, None))
        elif one.type in (RESUBMITTED, COMPLETED) and pauses and pauses[-1][1] is None:
            pauses[-1] = pauses[-1][0], one.time
    return pauses
