"""A lead: what a finding says of somebody. It is no guilt, and it is never deleted.

Each carries the rule set that defines it, the log indices of the facts that show it, and a denominator, without which
a number means nothing.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple

from contracts.rules.rulebook import FindingRule, Rulebook, RuleSet

UNFOUNDED_RECOMMENDATION = "unfounded_recommendation"
MONEY_REUSED = "money_reused"
PHANTOM_PAYMENT = "phantom_payment"
APPROVED_UNPAID = "approved_unpaid"
VISA_UNSUPPORTED = "visa_unsupported"
WITHDRAWAL_IGNORED = "withdrawal_ignored"
SILENT_FILE = "silent_file"
SERIAL_DEFICIENCIES = "serial_deficiencies"
QUEUE_JUMP = "queue_jump"
FAVOURED_INTERMEDIARY = "favoured_intermediary"
EXEMPTION_ANOMALY = "exemption_anomaly"
CHAINED_TEMPORARIES = "chained_temporaries"


class Lead(NamedTuple):
    """One finding.

    `subject` names what it is about: an application, or the parties of a pattern; `cases` are the applications that
    show it; `since` is when it came to be; `measured` out of `denominator` things of the kind that `counted` names.
    """

    finding: str
    subject: str
    cases: tuple[str, ...]
    since: datetime
    log_indices: tuple[int, ...]
    measured: int
    denominator: int
    counted: str
    rule_set: str
    detail: str = ""

    @property
    def id(self) -> str:
        """What tells it from every other: the finding and its subject."""
        return f"{self.finding}:{self.subject}"

    def to_json(self) -> dict[str, Any]:
        """The lead as JSON holds it, but for `since`, which stays an instant."""
        return self._asdict() | {"id": self.id, "cases": list(self.cases), "log_indices": list(self.log_indices)}


class Rules:
    """The rule sets by the log index from which on each counts."""

    def __init__(self, rule_sets: Sequence[tuple[int, RuleSet]]) -> None:
        self._rule_sets = sorted(rule_sets, key=lambda one: one[0])
        self._books: dict[int, Rulebook] = {}

    @cached_property
    def book(self) -> Rulebook:
        """All of them."""
        return Rulebook(rule_set for _, rule_set in self._rule_sets)

    @cached_property
    def by_name(self) -> dict[str, RuleSet]:
        """Each by id and version."""
        return {rule_set.name: rule_set for _, rule_set in self._rule_sets}

    def book_at(self, index: int) -> Rulebook:
        """Those that counted just before a place in the log."""
        known = sum(1 for since, _ in self._rule_sets if since < index)
        if known not in self._books:
            self._books[known] = Rulebook(rule_set for _, rule_set in self._rule_sets[:known])
        return self._books[known]

    def find(self, rule_set: str, finding: str) -> FindingRule | None:
        """A finding as a rule set defines it; None where it does not."""
        known = self.by_name.get(rule_set)
        return None if known is None else known.findings.get(finding)


def drop_implied(leads: Iterable[Lead], rules: Rules) -> list[Lead]:
    """Leave out each lead that another one about the same subject entails, by its own definition."""
    found = list(leads)
    raised = {(lead.subject, lead.finding) for lead in found}
    return [
        lead
        for lead in found
        if (rule := rules.find(lead.rule_set, lead.finding)) is None
        or not any((lead.subject, other) in raised for other in rule.implied_by)
    ]
