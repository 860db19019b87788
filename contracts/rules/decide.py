"""The decision: whether a recommendation is wanted, on what basis, and what each payment and bill came to."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from contracts.rules.rulebook import RuleSet


class Basis(NamedTuple):
    """A message on which a recommendation rests, and the part it plays."""

    role: str
    source: str
    id: str
    type: str
    sha256: str
    log_index: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """A recommendation that should stand.

    `content` is everything a recommendation says except number, revision, state, reason, the worker's personal data
    and the basis. Two with the same `fingerprint` say the same, personal data included.
    """

    content: Mapping[str, Any]
    basis: tuple[Basis, ...]
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What the rule set makes of a state.

    `blocked_by` holds stable words, the weightiest first; it is empty exactly when a recommendation is wanted.
    `outcomes` are keyed by (source, id) of the payment; `bills` says open, paid, expired or cancelled per billing code.
    """

    rule_set: RuleSet | None
    recommendation: Wanted | None
    blocked_by: tuple[str, ...]
    work_permit_blocked_by: tuple[str, ...]
    outcomes: Mapping[tuple[str, str], str]
    bills: Mapping[str, str]
