"""The dossier of one application: everything that was said of it, by participants and by the hub.

A case folds what a decision reads. An overseer reads the steps of the handling, what Immigration answered, and the
hub's own recommendations beside it.
"""

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from functools import cached_property
from typing import Final

from contracts.fields import write_digest
from contracts.rules.case import (
    AMENDED,
    APPROVED,
    DECISIVE,
    EXPIRED,
    REJECTED,
    REVOKED,
    SUBMITTED,
    Fact,
    State,
    fold,
    order_of,
)
from contracts.rules.rulebook import Rulebook, RuleSet
from contracts.wire.envelope import Envelope

DEFICIENT: Final = "id.tka.ministry.permit.deficiency_notified.v1"
RESUBMITTED: Final = "id.tka.ministry.permit.resubmitted.v1"
COMPLETED: Final = "id.tka.ministry.permit.completed.v1"
EMPLOYMENT_ENDED: Final = "id.tka.ministry.employment.ended.v1"
ACKNOWLEDGED: Final = "id.tka.immigration.recommendation.acknowledged.v1"
VISA_APPROVED: Final = "id.tka.immigration.visa.approved.v1"
VISA_REFUSED: Final = "id.tka.immigration.visa.refused.v1"
VISA_REVOKED: Final = "id.tka.immigration.visa.revoked.v1"
STAY_PERMIT: Final = "id.tka.immigration.stay_permit.issued.v1"
ENTERED: Final = "id.tka.immigration.entry.recorded.v1"
LEFT: Final = "id.tka.immigration.exit.recorded.v1"
ISSUED: Final = "id.tka.hub.recommendation.issued.v1"
WITHDRAWN: Final = "id.tka.hub.recommendation.withdrawn.v1"
DECIDED: Final = frozenset((APPROVED, REJECTED))
ENDED: Final = frozenset((REJECTED, REVOKED, EXPIRED))
GRANTED: Final = frozenset((APPROVED, AMENDED))
#: What a dossier keeps of a recommendation: no personal data, and nothing that the approval says already.
RECOMMENDATION_MEMBERS: Final[tuple[str, ...]] = (
    "number",
    "revision",
    "state",
    "application",
    "rule_set",
    "basis",
    "reason",
)


class Dossier:
    """The facts of one application in the one order in which facts are read, each once."""

    def __init__(self, subject: str, facts: Iterable[Fact]) -> None:
        self.subject = subject
        self.facts: Sequence[Fact] = sorted({(fact.source, fact.id): fact for fact in facts}.values(), key=order_of)
        self._by_type: dict[str, list[Fact]] = {}
        for fact in self.facts:
            self._by_type.setdefault(fact.type, []).append(fact)

    def of(self, *types: str) -> list[Fact]:
        """The facts of these types, in order."""
        if len(types) == 1:
            return self._by_type.get(types[0], [])
        return [fact for fact in self.facts if fact.type in types]

    def first(self, *types: str) -> Fact | None:
        """The first fact of these types."""
        found = self.of(*types)
        return found[0] if found else None

    @cached_property
    def state(self) -> State:
        """What the decisive facts come to."""
        return fold(fact for fact in self.facts if fact.type in DECISIVE)

    @property
    def submitted(self) -> Fact | None:
        """The submission, whose date chooses the rule set."""
        return self.first(SUBMITTED)

    def rule_set(self, rulebook: Rulebook) -> RuleSet | None:
        """The rule set of the application's date, or None before the submission is known."""
        submitted = self.submitted
        return None if submitted is None else rulebook.choose(application_date(submitted))

    @cached_property
    def pauses(self) -> list[tuple[datetime, datetime | None]]:
        """When the applicant owed an answer: from a deficiency notice until what ended it, None while it lasts.

        Nothing else pauses a clock, since nothing else is told to the applicant.
        """
        pauses: list[tuple[datetime, datetime | None]] = []
        since: datetime | None = None
        for fact in self.of(DEFICIENT, RESUBMITTED, COMPLETED, *DECIDED):
            if fact.type == DEFICIENT:
                since = fact.time if since is None else since
            elif since is not None:
                pauses.append((since, fact.time))
                since = None
        return pauses if since is None else [*pauses, (since, None)]


def fact_of_recommendation(envelope: Envelope, hub: str, log_index: int) -> Fact:
    """The fact that a recommendation leaves in a dossier: no personal data."""
    said = envelope.data
    data = {name: said[name] for name in RECOMMENDATION_MEMBERS if name in said}
    digest = write_digest(envelope.digest)
    return Fact(envelope.source, envelope.id, hub, envelope.type, envelope.time, digest, log_index, data)


def application_date(submitted: Fact) -> date:
    """The date of an application."""
    return date.fromisoformat(submitted.data["application_date"])
