"""Rule sets: data with a legal source per value, immutable, named by their SHA-256 in every recommendation."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RuleSet:
    """One rule set."""

    id: str
    version: int
    sha256: str
