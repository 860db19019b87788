"""The extract of a file: the little of it that findings over many files, statistics and patterns read.

An extract names the groups in which its file is judged (`keys`), so that a new fact asks for those groups alone.
"""

from datetime import date, datetime
from typing import NamedTuple

from contracts.oversight.dossier import (
    COMPLETED,
    DECIDED,
    EMPLOYMENT_ENDED,
    ENDED,
    GRANTED,
    ISSUED,
    Dossier,
)
from contracts.rules.case import APPROVED, BILL_CANCELLED, BILLED, EXEMPTED, PAYMENTS
from contracts.rules.clock import jakarta_day
from contracts.rules.rulebook import RuleSet

Pause = tuple[datetime, datetime | None]


class Money(NamedTuple):
    """Money on which a recommendation rests, by the name under which it could be used again."""

    reference: str
    log_index: int


class Extract(NamedTuple):
    """A file in short. `official` is who decided it, before that who had it last; `moneys` those of its bases.

    `pauses` is when the applicant owed an answer or the compensation, so that the file was not in the unit's hands.
    `from_` and `until` are those of the permit in its last words and `ended_on` when it ended before that.
    """

    case: str
    rule_set: str
    unit: str
    kind: str
    official: str
    intermediary: str | None
    submitted_at: datetime
    completed_at: datetime | None
    decided_at: datetime | None
    approved: bool
    exempted_by: str | None
    worker: str
    employer: str | None
    position: str | None
    from_: date
    until: date
    ended_on: date | None
    moneys: tuple[Money, ...]
    pauses: tuple[Pause, ...]
    log_indices: tuple[int, ...]

    @property
    def keys(self) -> list[str]:
        """The groups in which this file is judged beside others."""
        keys = [f"unit:{self.unit}", f"official:{self.official}"]
        if self.intermediary is not None:
            keys.append(f"intermediary:{self.intermediary}")
        if self.employer is not None:
            keys.append(f"worker:{self.worker}@{self.employer}")
        return keys + [f"money:{money.reference}" for money in self.moneys]

    def rests_at(self, moment: datetime) -> bool:
        """Whether the applicant owes an answer at this moment."""
        return any(since <= moment and (until is None or moment < until) for since, until in self.pauses)


def extract(dossier: Dossier, rule_set: RuleSet) -> Extract | None:
    """The extract of a file, or None before its submission is known: a pure function of its facts."""
    submitted = dossier.submitted
    if submitted is None:
        return None
    completed, decided = dossier.first(COMPLETED), dossier.first(*DECIDED)
    granted = dossier.of(*GRANTED)
    words = granted[-1] if granted else submitted
    said = decided or (dossier.of(COMPLETED) or [submitted])[-1]
    exempted = dossier.first(EXEMPTED)
    named = [fact for fact in (submitted, completed, decided, exempted) if fact is not None]
    employer, position = words.data.get("employer"), words.data.get("position")
    return Extract(
        case=dossier.subject,
        rule_set=rule_set.name,
        unit=submitted.data["unit"],
        kind=submitted.data["permit_kind"],
        official=said.data["official"],
        intermediary=submitted.data.get("intermediary"),
        submitted_at=submitted.time,
        completed_at=None if completed is None else completed.time,
        decided_at=None if decided is None else decided.time,
        approved=decided is not None and decided.type == APPROVED,
        exempted_by=None if exempted is None else exempted.data["official"],
        worker=submitted.data["worker"],
        employer=None if employer is None else employer["nib"],
        position=None if position is None else position["kbji"],
        from_=date.fromisoformat(words.data["from"]),
        until=date.fromisoformat(words.data["until"]),
        ended_on=_ended_on(dossier),
        moneys=_moneys_of(dossier),
        pauses=(*dossier.pauses, *_unpaid(dossier))
        if "settled" in rule_set.recommendation_needs
        else (*dossier.pauses,),
        log_indices=tuple(sorted(fact.log_index for fact in named)),
    )


def _ended_on(dossier: Dossier) -> date | None:
    """The day on which a permit ended before its time: the employment's end, or a revocation or expiry."""
    days = [date.fromisoformat(fact.data["ended_on"]) for fact in dossier.of(EMPLOYMENT_ENDED)]
    if dossier.state.ended is not None and dossier.state.ended.type in ENDED:
        days.append(jakarta_day(dossier.state.ended.time))
    return min(days, default=None)


def _unpaid(dossier: Dossier) -> list[Pause]:
    """From each bill until the first report of money on it, or its cancellation."""
    pauses: list[Pause] = []
    answers = dossier.of(*PAYMENTS, BILL_CANCELLED)
    for billed in dossier.of(BILLED):
        code = billed.data["billing_code"]
        pauses.append((billed.time, next((one.time for one in answers if one.data.get("billing_code") == code), None)))
    return pauses


def _moneys_of(dossier: Dossier) -> tuple[Money, ...]:
    """The money in the bases of a file's recommendations, by treasury receipt and by the bank's own reference."""
    payments = {(fact.source, fact.id): fact for fact in dossier.of(*PAYMENTS)}
    moneys: dict[str, Money] = {}
    for issued in dossier.of(ISSUED):
        for entry in issued.data["basis"]:
            fact = payments.get((entry["source"], entry["id"])) if entry["role"] == "payment" else None
            if fact is None:
                continue
            if (ntpn := fact.data.get("ntpn")) is not None:
                name = f"ntpn/{ntpn.upper()}"
                moneys[name] = Money(name, fact.log_index)
            if (reference := fact.data.get("bank_reference")) is not None:
                name = f"{fact.participant}/{reference.upper()}"
                moneys[name] = Money(name, fact.log_index)
    return tuple(moneys.values())
