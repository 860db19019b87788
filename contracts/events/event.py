"""What the data of every event has in common."""

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

SCHEMA_HOST = "https://contracts.tkahub.example"


class EventData(BaseModel):
    """The `data` member of one event type: strict, frozen, and without a member that the contract does not name."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    TYPE: ClassVar[str]
    #: Members that a case does not fold: personal data, free text, and what no rule or finding reads.
    NOT_FOLDED: ClassVar[frozenset[str]] = frozenset()

    def subject(self) -> str | None:
        """The subject that the envelope must carry, or None where the contract does not fix it."""
        return None

    def fits(self, subject: str) -> bool:
        """Whether the envelope may carry this subject."""
        return self.subject() in (None, subject)

    def decision_facts(self) -> dict[str, Any]:
        """The members that rules and findings read, without personal data: they outlive the original's erasure."""
        return self.model_dump(by_alias=True, exclude=set(self.NOT_FOLDED), exclude_none=True)

    def personal(self) -> dict[str, str] | None:
        """The worker's personal data that a recommendation carries, or None."""
        return None


class Part(BaseModel):
    """A group of members inside an event."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


def dataschema_of(event_type: str) -> str:
    """The only `dataschema` that an event of this type may name; it is never fetched."""
    return f"{SCHEMA_HOST}/{event_type}.json"
