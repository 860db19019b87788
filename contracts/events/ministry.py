"""Events of the Ministry: permits and their billing (PP 34/2021, Permenaker 8/2021)."""

from decimal import Decimal
from hashlib import sha256
from hmac import compare_digest
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from contracts import fields
from contracts.events import count
from contracts.events.event import EventData, Part

DOCUMENTS_MAX = 100
PLACES_MAX = 50
#: Rupiah bills are rounded by the treasury; a difference of up to one unit of the currency is rounding.
ROUNDING_MAX = Decimal("1.00")

PositionLevel = Literal["staff", "supervisor", "manager", "director", "commissioner", "expert"]
PermitKind = Literal["new", "extension", "temporary"]


class Document(Part):
    """One document of an application, named by code and by the SHA-256 of its bytes."""

    code: fields.Code
    sha256: fields.Sha256Hex


class MissingDocument(Part):
    """Why the application is not complete, and which document the reason is about."""

    code: fields.Code
    document: fields.Code


class StatusVerifier(Part):
    """The salted hash of the secret (>= 80 random bits) by which the applicant sees the status of the application."""

    salt: fields.Salt
    sha256: fields.Sha256Hex

    def knows(self, secret: str) -> bool:
        """Whether this is the applicant's secret: SHA-256 over the salt's characters and then the secret's, in UTF-8.

        Compared in constant time.
        """
        return compare_digest(digest_secret(self.salt, secret), self.sha256)


def digest_secret(salt: str, secret: str) -> str:
    """What the verifier of a secret says of it under a salt (SPEC.md section 3.4)."""
    return sha256(f"{salt}{secret}".encode()).hexdigest()


class Employer(Part):
    """The employer: a legal entity."""

    name: fields.Name
    nib: fields.Nib
    npwp: fields.Npwp


class Position(Part):
    """The post, by KBJI code and title."""

    kbji: fields.Kbji
    title: fields.Name


class Place(Part):
    """A place of work, by BPS codes."""

    province: fields.Province
    regency: fields.Regency

    @model_validator(mode="after")
    def _regency_in_province(self) -> Self:
        if self.regency[:2] != self.province:
            raise ValueError("the regency is in another province")
        return self


class Person(Part):
    """The worker's personal data, for Immigration alone."""

    name: fields.Name
    birth_date: fields.Date
    nationality: fields.Nationality
    passport: fields.Passport


Documents = Annotated[list[Document], Field(min_length=1, max_length=DOCUMENTS_MAX)]
Places = Annotated[list[Place], Field(min_length=1, max_length=PLACES_MAX)]


class PermitEvent(EventData):
    """What every permit event carries: who handled it, and the statistical members, none of which may be missing.

    `official`, `unit`, `intermediary` and `worker` are references that only the Ministry can resolve.
    """

    application: fields.Application
    official: fields.Reference
    unit: fields.Reference
    intermediary: fields.Reference | None
    worker: fields.Reference
    kbli: fields.Kbli
    province: fields.Province
    regency: fields.Regency
    position_level: PositionLevel
    permit_kind: PermitKind
    nationality: fields.Nationality

    def subject(self) -> str | None:
        """The application's number."""
        return self.application

    @model_validator(mode="after")
    def _regency_in_province(self) -> Self:
        if self.regency[:2] != self.province:
            raise ValueError("the regency is in another province")
        return self


#: A step of the handling repeats the statistical members of the submission; a case folds them once.
_STATISTICAL = frozenset(
    ("worker", "kbli", "province", "regency", "position_level", "permit_kind", "nationality"),
)


class PermitStep(PermitEvent):
    """A step of the handling between submission and decision."""

    NOT_FOLDED: ClassVar[frozenset[str]] = _STATISTICAL


class _Post(PermitEvent):
    """The post that is applied for or approved."""

    employer: Employer
    position: Position
    places: Places
    from_: fields.Date = Field(alias="from")
    until: fields.Date
    kanim: fields.Kanim
    special_zone: fields.Code | None = None

    @model_validator(mode="after")
    def _until_after_from(self) -> Self:
        if self.until <= self.from_:
            raise ValueError("until is not after from")
        return self


class PermitSubmitted(_Post):
    """An application was submitted."""

    TYPE: ClassVar[str] = "id.tka.ministry.permit.submitted.v1"
    NOT_FOLDED: ClassVar[frozenset[str]] = frozenset(("status_verifier", "employer", "position", "places", "kanim"))

    application_date: fields.Date
    documents: Documents
    status_verifier: StatusVerifier


class PermitDeficiencyNotified(PermitStep):
    """The applicant was told what is missing: the only thing that pauses a clock."""

    TYPE: ClassVar[str] = "id.tka.ministry.permit.deficiency_notified.v1"

    missing: Annotated[list[MissingDocument], Field(min_length=1, max_length=DOCUMENTS_MAX)]


class PermitResubmitted(PermitStep):
    """The applicant handed in what was missing."""

    TYPE: ClassVar[str] = "id.tka.ministry.permit.resubmitted.v1"

    documents: Documents


class PermitCompleted(PermitStep):
    """The application is complete: the clock of the decision starts."""

    TYPE: ClassVar[str] = "id.tka.ministry.permit.completed.v1"


class PermitFeasibilityAssessed(PermitStep):
    """The feasibility of the plan was assessed."""

    TYPE: ClassVar[str] = "id.tka.ministry.permit.feasibility_assessed.v1"

    result: Literal["pass", "fail"]


class PermitWorkerVerified(PermitStep):
    """The worker's data was verified."""

    TYPE: ClassVar[str] = "id.tka.ministry.permit.worker_verified.v1"


class _Decided(_Post):
    """A decision that says by itself everything a recommendation needs."""

    NOT_FOLDED: ClassVar[frozenset[str]] = frozenset(("person",))

    decision: fields.DecisionNumber
    decided_on: fields.Date
    person: Person

    @model_validator(mode="after")
    def _one_nationality(self) -> Self:
        if self.person.nationality != self.nationality:
            raise ValueError("two nationalities")
        return self

    def personal(self) -> dict[str, str] | None:
        """The worker's name, birth date, nationality and passport."""
        return self.person.model_dump()


class PermitApproved(_Decided):
    """The permit was approved (2021: Pengesahan RPTKA)."""

    TYPE: ClassVar[str] = "id.tka.ministry.permit.approved.v1"


class PermitAmended(_Decided):
    """An approved permit was changed; this decision replaces the earlier one."""

    TYPE: ClassVar[str] = "id.tka.ministry.permit.amended.v1"


class PermitRejected(PermitEvent):
    """The application was rejected."""

    TYPE: ClassVar[str] = "id.tka.ministry.permit.rejected.v1"

    decision: fields.DecisionNumber
    reason_code: fields.Code


class PermitRevoked(PermitEvent):
    """An approved permit was revoked."""

    TYPE: ClassVar[str] = "id.tka.ministry.permit.revoked.v1"

    decision: fields.DecisionNumber
    reason_code: fields.Code


class PermitExpired(PermitStep):
    """The permit ran out."""

    TYPE: ClassVar[str] = "id.tka.ministry.permit.expired.v1"


class ExtensionRequested(PermitEvent):
    """The employer asks to extend an earlier permit."""

    TYPE: ClassVar[str] = "id.tka.ministry.extension.requested.v1"

    previous_decision: fields.DecisionNumber
    until: fields.Date


class EmploymentEnded(PermitStep):
    """The employment ended before the permit did."""

    TYPE: ClassVar[str] = "id.tka.ministry.employment.ended.v1"

    ended_on: fields.Date


class ExemptionGranted(PermitEvent):
    """The employer owes no compensation; the rule set knows which classes stand."""

    TYPE: ClassVar[str] = "id.tka.ministry.exemption.granted.v1"
    NOT_FOLDED: ClassVar[frozenset[str]] = _STATISTICAL

    class_: fields.Word = Field(alias="class")
    legal_basis: fields.Text


class QueryAnswered(PermitStep):
    """The Ministry answered a question of Immigration about a recommendation."""

    TYPE: ClassVar[str] = "id.tka.ministry.query.answered.v1"
    NOT_FOLDED: ClassVar[frozenset[str]] = _STATISTICAL | {"answer"}

    number: fields.RecommendationNumber
    revision: fields.Revision
    query_id: fields.EventId
    answer: fields.Text


class _Billing(EventData):
    """An event about one billing code."""

    application: fields.Application
    billing_code: fields.BillingCode

    def subject(self) -> str | None:
        """The application's number."""
        return self.application


class BillingIssued(_Billing):
    """A payment notice with its SIMPONI billing code.

    A bill in rupiah keeps the dollar amount, the rate and the rate's date, so that the amount can be checked.
    """

    TYPE: ClassVar[str] = "id.tka.ministry.billing.issued.v1"

    amount: fields.Money
    currency: fields.Currency
    usd_amount: fields.Money
    fx_rate: fields.Rate | None = None
    fx_date: fields.Date | None = None
    expires_at: fields.Timestamp
    payer: fields.Name

    @model_validator(mode="after")
    def _amounts_agree(self) -> Self:
        if (self.fx_rate is None) != (self.fx_date is None) or (self.fx_rate is None) != (self.currency == "USD"):
            raise ValueError("a rate and its date belong to a bill in another currency than USD, and only there")
        billed = Decimal(self.amount)
        due = Decimal(self.usd_amount) * (1 if self.fx_rate is None else Decimal(self.fx_rate))
        if abs(billed - due) > (0 if self.fx_rate is None else ROUNDING_MAX):
            raise ValueError("the amount is not the dollar amount at the rate")
        return self


class BillingExpired(_Billing):
    """The bill can no longer be paid."""

    TYPE: ClassVar[str] = "id.tka.ministry.billing.expired.v1"


class BillingCancelled(_Billing):
    """The bill was taken back."""

    TYPE: ClassVar[str] = "id.tka.ministry.billing.cancelled.v1"

    reason_code: fields.Code


class DifferenceExplained(EventData):
    """The Ministry explained a difference."""

    TYPE: ClassVar[str] = "id.tka.ministry.difference.explained.v1"
    NOT_FOLDED: ClassVar[frozenset[str]] = frozenset(("text",))

    difference_id: fields.DifferenceId
    explanation_code: fields.Code
    text: fields.Text

    def subject(self) -> str | None:
        """The subject of the difference, with which its id begins."""
        return self.difference_id.partition(":")[0]


class CountStated(count.CountStated):
    """The Ministry's own count of a day."""

    TYPE: ClassVar[str] = "id.tka.ministry.count.stated.v1"


MINISTRY_EVENTS: tuple[type[EventData], ...] = (
    PermitSubmitted,
    PermitDeficiencyNotified,
    PermitResubmitted,
    PermitCompleted,
    PermitFeasibilityAssessed,
    PermitWorkerVerified,
    PermitApproved,
    PermitAmended,
    PermitRejected,
    PermitRevoked,
    PermitExpired,
    ExtensionRequested,
    EmploymentEnded,
    ExemptionGranted,
    QueryAnswered,
    BillingIssued,
    BillingExpired,
    BillingCancelled,
    DifferenceExplained,
    CountStated,
)
