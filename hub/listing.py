"""What lists show of an application, and statistics read of it: a pure function of its dossier."""

from datetime import date, datetime
from typing import Any, NamedTuple

from contracts.oversight.dossier import ISSUED, WITHDRAWN, Dossier
from contracts.oversight.handling import Handled, read_handling
from contracts.oversight.statistics import Observation, observe
from contracts.rules.case import BANK, DECISIVE, IMMIGRATION, MINISTRY, PAYMENTS, Fact, State
from contracts.rules.clock import jakarta_day
from contracts.rules.decide import Decision, decide
from contracts.rules.rulebook import Rulebook
from hub.progress import Clock, Progress, Said, Stage, follow

REVERSED = "reversed"
PAID = "paid"
QUERIED = "queried"
#: What the ministry has to do beside deciding in time, the most pressing first.
TASKS = (REVERSED, QUERIED, PAID)


class Listing(NamedTuple):
    """A file in the lists; `closes_on` is the last day of which any figure can count it."""

    progress: Progress
    unit: str
    last_index: int
    task: str | None
    closes_on: date
    observed: Observation
    handled: list[Handled]
    wakes_at: datetime | None

    @property
    def clock(self) -> Clock | None:
        """The clock of the decision."""
        return self.progress.clock


def list_file(dossier: Dossier, rulebook: Rulebook, now: datetime) -> Listing | None:
    """Return what lists show of an application, or None before its submission and a rule set for it are known."""
    observed = observe(dossier, rulebook, now)
    spoken = [fact for fact in dossier.facts if fact.type.startswith((MINISTRY, BANK, IMMIGRATION))]
    decision = decide(dossier.state, rulebook, now)
    said = [Said(fact.type, fact.time) for fact in spoken if fact.type not in PAYMENTS]
    decisive = [fact for fact in spoken if fact.type in DECISIVE]
    progress = follow(said, decisive, dossier.state, decision, _standing(dossier), now)
    if observed is None or progress is None or dossier.submitted is None:
        return None
    return Listing(
        progress=progress,
        unit=dossier.submitted.data["unit"],
        last_index=max(fact.log_index for fact in spoken),
        task=_task_of(progress, dossier.state, decision),
        closes_on=_closes_on(dossier.facts[-1].time, observed, spoken),
        observed=observed,
        handled=read_handling(dossier),
        # A bill that runs out unpaid changes where a file is, though nobody says anything.
        wakes_at=min((owed.expires_at for owed in progress.owed if owed.expires_at > now), default=None),
    )


def _standing(dossier: Dossier) -> dict[str, Any] | None:
    told = dossier.of(ISSUED, WITHDRAWN)
    # A withdrawal names the revision that it takes back.
    newest = max(told, key=lambda fact: (fact.data["revision"], fact.type == WITHDRAWN), default=None)
    return None if newest is None else dict(newest.data)


def _task_of(progress: Progress, state: State, decision: Decision) -> str | None:
    if state.ended is not None:
        return None
    if progress.stage is Stage.QUERIED:
        return QUERIED
    if state.approved is not None:
        reversed_ = any(counted.taken_back for counted in decision.tallies.values())
        return REVERSED if reversed_ and decision.blocked_by else None
    statuses = set(decision.bills.values())
    waits = "paid" in statuses and "open" not in statuses and progress.stage is not Stage.DEFICIENT
    return PAID if waits else None


def _closes_on(last: datetime, observed: Observation, spoken: list[Fact]) -> date:
    """A file that is not decided is pending in every month; a permit is in the stock until its last day."""
    if observed.decided_at is None:
        return date.max
    moments = [last, observed.submitted_at, observed.decided_at, *(fact.time for fact in spoken)]
    days = [jakarta_day(moment) for moment in moments]
    return max([*days, observed.until] if observed.approved else days)
