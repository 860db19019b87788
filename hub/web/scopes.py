"""What a machine may be allowed to ask, in OAuth's word its scopes, and who may have which of them.

Scopes narrow a credential; what a participant may see at all stays the registry's to say, and a role's unit or
participant that of the client's own entry.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from hub.accounts import Role


class Scope(StrEnum):
    """One kind of question."""

    STREAMS = "streams:read"
    SOURCES = "sources:read"
    REFUSALS = "refusals:read"
    RECOMMENDATIONS = "recommendations:read"
    FINDINGS = "findings:read"
    REGISTER = "register:read"


DESCRIPTIONS: Final[Mapping[Scope, str]] = MappingProxyType(
    {
        Scope.STREAMS: "The archive of the streams that the registry grants.",
        Scope.SOURCES: "What the exchange has of one's own source.",
        Scope.REFUSALS: "What was refused of one's own messages.",
        Scope.RECOMMENDATIONS: "One recommendation, with its proof; each look-up is logged.",
        Scope.FINDINGS: "The findings, as leads; each look-up is logged, sealed to the oversight body.",
        Scope.REGISTER: "The register of foreign workers, as far as the registry or the unit grants it.",
    }
)
_EVERY_PARTICIPANT = frozenset({Scope.STREAMS, Scope.SOURCES, Scope.REFUSALS, Scope.REGISTER})
#: By the participant's kind in the registry.
OF_KIND: Final[Mapping[str, frozenset[Scope]]] = MappingProxyType(
    {"immigration": _EVERY_PARTICIPANT | {Scope.RECOMMENDATIONS}}
)
#: By the role of a client that has a secret.
OF_ROLE: Final[Mapping[Role, frozenset[Scope]]] = MappingProxyType(
    {
        Role.OFFICER: frozenset({Scope.REGISTER}),
        Role.BANK: frozenset({Scope.REFUSALS}),
        Role.LABOUR_OFFICE: frozenset({Scope.REGISTER}),
        Role.IMMIGRATION: frozenset({Scope.RECOMMENDATIONS}),
        Role.OVERSIGHT: frozenset({Scope.FINDINGS}),
    }
)


def of_kind(kind: str) -> frozenset[Scope]:
    """Return what a participant of this kind may ask."""
    return OF_KIND.get(kind, _EVERY_PARTICIPANT)


def read_scopes(text: str) -> frozenset[Scope] | None:
    """Return the scopes that a `scope` parameter names (RFC 6749 section 3.3), or None if one is unknown."""
    try:
        return frozenset(Scope(word) for word in text.split(" ") if word)
    except ValueError:
        return None


def write_scopes(scopes: frozenset[Scope]) -> str:
    """Return scopes as a `scope` parameter."""
    return " ".join(sorted(scopes))
