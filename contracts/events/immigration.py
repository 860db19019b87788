"""Events of Immigration: what became of a recommendation."""

from typing import ClassVar

from contracts import fields
from contracts.events import count
from contracts.events.event import EventData


class RecommendationEvent(EventData):
    """An event about one revision of a recommendation."""

    application: fields.Application
    number: fields.RecommendationNumber
    revision: fields.Revision

    def subject(self) -> str | None:
        """The application's number."""
        return self.application


class RecommendationAcknowledged(RecommendationEvent):
    """The visa system holds this revision."""

    TYPE: ClassVar[str] = "id.tka.immigration.recommendation.acknowledged.v1"


class RecommendationQueried(RecommendationEvent):
    """Immigration asks the Ministry about a recommendation."""

    TYPE: ClassVar[str] = "id.tka.immigration.recommendation.queried.v1"
    NOT_FOLDED: ClassVar[frozenset[str]] = frozenset(("text",))

    query_id: fields.EventId
    question_code: fields.Code
    text: fields.Text


class VisaApproved(RecommendationEvent):
    """The visa was approved."""

    TYPE: ClassVar[str] = "id.tka.immigration.visa.approved.v1"
    NOT_FOLDED: ClassVar[frozenset[str]] = frozenset(("visa_number",))

    visa_number: fields.PermitNumber
    valid_until: fields.Date


class VisaRefused(RecommendationEvent):
    """The visa was refused."""

    TYPE: ClassVar[str] = "id.tka.immigration.visa.refused.v1"

    reason_code: fields.Code


class VisaRevoked(RecommendationEvent):
    """The visa was revoked."""

    TYPE: ClassVar[str] = "id.tka.immigration.visa.revoked.v1"
    NOT_FOLDED: ClassVar[frozenset[str]] = frozenset(("visa_number",))

    visa_number: fields.PermitNumber
    reason_code: fields.Code


class StayPermitIssued(RecommendationEvent):
    """A stay permit was issued."""

    TYPE: ClassVar[str] = "id.tka.immigration.stay_permit.issued.v1"
    NOT_FOLDED: ClassVar[frozenset[str]] = frozenset(("permit_number",))

    permit_number: fields.PermitNumber
    valid_until: fields.Date


class _Crossing(RecommendationEvent):
    """The worker crossed the border."""

    NOT_FOLDED: ClassVar[frozenset[str]] = frozenset(("port",))

    at: fields.Timestamp
    port: fields.Code


class EntryRecorded(_Crossing):
    """The worker entered the country."""

    TYPE: ClassVar[str] = "id.tka.immigration.entry.recorded.v1"


class ExitRecorded(_Crossing):
    """The worker left the country."""

    TYPE: ClassVar[str] = "id.tka.immigration.exit.recorded.v1"


class CountStated(count.CountStated):
    """Immigration's own count of a day."""

    TYPE: ClassVar[str] = "id.tka.immigration.count.stated.v1"


IMMIGRATION_EVENTS: tuple[type[EventData], ...] = (
    RecommendationAcknowledged,
    RecommendationQueried,
    VisaApproved,
    VisaRefused,
    VisaRevoked,
    StayPermitIssued,
    EntryRecorded,
    ExitRecorded,
    CountStated,
)
