"""Events of the hub itself: receipts, outcomes, bills to collect, recommendations, differences, heartbeats."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from contracts import fields
from contracts.events.count import PARTITIONS_MAX, SOURCES_MAX, CountedSource, SentStream
from contracts.events.event import EventData, Part
from contracts.events.ministry import PLACES_MAX, Employer, PermitKind, Person, Places, Position

RECEIPT_ENTRIES_MAX = 256
BASIS_MAX = 256
EXPLANATIONS_MAX = 64
REGENCIES_MAX = PLACES_MAX + 1
ENTRY_FACTS_MAX = 4_000
CURRENCIES_MAX = 256
ERASED_CASES_MAX = 250

Outcome = Literal["matched", "partial", "excess", "wrong_currency", "late", "unmatched", "duplicate", "reversed"]
DifferenceKind = Literal[
    "not_booked", "not_notified", "amount", "currency", "unmatched", "excess", "reversal_of_nothing"
]


class AcceptedMessage(Part):
    """A message that the hub took, or had taken before, and its place in the evidence log."""

    id: fields.EventId
    sha256: fields.Sha256Text
    log_index: fields.LogIndex


class RefusedMessage(Part):
    """A message that the hub refused, with the stable code of the reason; `id` is null where none could be read."""

    id: fields.EventId | None
    sha256: fields.Sha256Text
    code: fields.Word
    log_index: fields.LogIndex


class Receipt(EventData):
    """What became of messages of one source. Subject: the participant's id in upper case."""

    TYPE: ClassVar[str] = "id.tka.hub.receipt.v1"

    source: fields.SourceUri
    accepted: Annotated[list[AcceptedMessage], Field(max_length=RECEIPT_ENTRIES_MAX)]
    refused: Annotated[list[RefusedMessage], Field(max_length=RECEIPT_ENTRIES_MAX)]


class CorrectionRequested(EventData):
    """The operator asks for a refused message to be corrected. Subject: the participant's id in upper case.

    The sender corrects the fact in its own books and signs a new event, whose `causationid` is the refused one's id:
    nobody else ever changes its bytes. `note` says what is wrong, in the operator's words.
    """

    TYPE: ClassVar[str] = "id.tka.hub.correction.requested.v1"

    participant: fields.ParticipantId
    source: fields.SourceUri
    id: fields.EventId | None
    sha256: fields.Sha256Text
    code: fields.Word
    log_index: fields.LogIndex
    note: fields.Text

    def subject(self) -> str | None:
        """The participant's id in upper case."""
        return self.participant.upper()


class PaymentName(Part):
    """A payment, named by the event that reported it."""

    source: fields.SourceUri
    id: fields.EventId


class PaymentOutcome(EventData):
    """What one reported payment came to. Subject: the billing code, or the payment's own subject without one."""

    TYPE: ClassVar[str] = "id.tka.hub.payment.outcome.v1"

    billing_code: fields.BillingCode | None
    application: fields.Application | None
    payment: PaymentName
    outcome: Outcome
    amount: fields.Money
    currency: fields.Currency
    billed: fields.Money | None


class BillOpened(EventData):
    """A bill that every bank may collect; nothing of the worker. Subject: the billing code."""

    TYPE: ClassVar[str] = "id.tka.hub.bill.opened.v1"

    billing_code: fields.BillingCode
    amount: fields.Money
    currency: fields.Currency
    expires_at: fields.Timestamp
    payer: fields.Name

    def subject(self) -> str | None:
        """The billing code."""
        return self.billing_code


class BillClosed(EventData):
    """A bill that is no longer to be collected. Subject: the billing code."""

    TYPE: ClassVar[str] = "id.tka.hub.bill.closed.v1"

    billing_code: fields.BillingCode
    reason: Literal["paid", "expired", "cancelled"]

    def subject(self) -> str | None:
        """The billing code."""
        return self.billing_code


class RuleSetName(Part):
    """A rule set, named so that it can be found and checked."""

    id: fields.Code
    version: Annotated[int, Field(ge=1, le=999_999)]
    sha256: fields.Sha256Hex


class BasisFact(Part):
    """A message on which a recommendation rests."""

    role: fields.Word
    source: fields.SourceUri
    id: fields.EventId
    type: fields.EventType
    sha256: fields.Sha256Text
    log_index: fields.LogIndex


class RecommendationIssued(EventData):
    """Immigration may rest a visa decision on this. Subject: the application's number."""

    TYPE: ClassVar[str] = "id.tka.hub.recommendation.issued.v1"

    number: fields.RecommendationNumber
    revision: fields.Revision
    state: Literal["issued"]
    application: fields.Application
    rule_set: RuleSetName
    worker: Person
    employer: Employer
    position: Position
    places: Places
    permit_kind: PermitKind
    from_: fields.Date = Field(alias="from")
    until: fields.Date
    kanim: fields.Kanim
    basis: Annotated[list[BasisFact], Field(min_length=1, max_length=BASIS_MAX)]

    def subject(self) -> str | None:
        """The application's number."""
        return self.application


class RecommendationWithdrawn(RecommendationIssued):
    """A revision no longer stands; the reason is a stable word. Subject: the application's number."""

    TYPE: ClassVar[str] = "id.tka.hub.recommendation.withdrawn.v1"

    state: Literal["withdrawn"]  # type: ignore[assignment]  # The withdrawal is the issue's content in another state.
    reason: fields.Word


class DifferenceOpened(EventData):
    """Two books do not agree. Subject: the billing code, or the payment's own subject without one."""

    TYPE: ClassVar[str] = "id.tka.hub.difference.opened.v1"

    difference_id: fields.DifferenceId
    kind: DifferenceKind
    participant: fields.ParticipantId
    billing_code: fields.BillingCode | None
    application: fields.Application | None
    payment: PaymentName | None
    amount: fields.Money | None
    currency: fields.Currency | None
    opened_at: fields.Timestamp

    def subject(self) -> str | None:
        """The subject of the difference, with which its id begins."""
        return self.difference_id.partition(":")[0]


class Explanation(Part):
    """Who explained a difference, and how, by that party's own list."""

    participant: fields.ParticipantId
    code: fields.Code


class DifferenceExplained(EventData):
    """A difference has been explained; it stays open until it is closed. Subject: as it was opened.

    `explanations` are all that were given. Their words stay with the parties.
    """

    TYPE: ClassVar[str] = "id.tka.hub.difference.explained.v1"

    difference_id: fields.DifferenceId
    kind: DifferenceKind
    participant: fields.ParticipantId
    explanations: Annotated[list[Explanation], Field(min_length=1, max_length=EXPLANATIONS_MAX)]
    explained_at: fields.Timestamp

    def subject(self) -> str | None:
        """The subject of the difference, with which its id begins."""
        return self.difference_id.partition(":")[0]


class DifferenceClosed(EventData):
    """A difference is over: the facts agree now (resolved), or an operator closed it and says why (closed).

    Subject: as it was opened.
    """

    TYPE: ClassVar[str] = "id.tka.hub.difference.closed.v1"

    difference_id: fields.DifferenceId
    kind: DifferenceKind
    participant: fields.ParticipantId
    reason: Literal["resolved", "closed"]
    statement: fields.Text | None
    closed_at: fields.Timestamp

    def subject(self) -> str | None:
        """The subject of the difference, with which its id begins."""
        return self.difference_id.partition(":")[0]


class Sum(Part):
    """How many, and how much together."""

    count: Annotated[int, Field(ge=0, le=2**53 - 1)]
    amount: fields.Total


class DailyTotals(Part):
    """A bank's day in one currency.

    `paired` is notified money that the books know too; `billed` what the Ministry asks under the codes of this money.
    """

    currency: fields.Currency
    notified: Sum
    booked: Sum
    reversed: Sum
    paired: Sum
    billed: Sum


class ReconciliationReported(EventData):
    """A bank's books and its messages of one banking day, side by side. Subject: the bank's id in upper case.

    `sha256` is that of the report, which everybody who has the facts below `log_size` computes to the same bytes. What
    comes late makes a new revision.
    """

    TYPE: ClassVar[str] = "id.tka.hub.reconciliation.reported.v1"

    participant: fields.ParticipantId
    day: fields.Date
    revision: fields.Revision
    log_size: fields.LogIndex
    sha256: fields.Sha256Hex
    totals: Annotated[list[DailyTotals], Field(max_length=CURRENCIES_MAX)]
    differences_open: Annotated[int, Field(ge=0, le=2**53 - 1)]

    def subject(self) -> str | None:
        """The bank's id in upper case."""
        return self.participant.upper()


class CountReported(EventData):
    """What the hub counts of a participant's day. Subject: the participant's id in upper case.

    `day` is a day in Jakarta. The count is of the log's entries from `first_index` up to `log_size` (exclusive), where
    the next day's begins: it is final. `sent` is what was placed on the streams to this participant since the last one.
    """

    TYPE: ClassVar[str] = "id.tka.hub.count.reported.v1"

    participant: fields.ParticipantId
    day: fields.Date
    first_index: fields.LogIndex
    log_size: fields.LogIndex
    sources: Annotated[list[CountedSource], Field(max_length=SOURCES_MAX)]
    sent: Annotated[list[SentStream], Field(max_length=PARTITIONS_MAX)]

    def subject(self) -> str | None:
        """The participant's id in upper case."""
        return self.participant.upper()


class ErasureOrdered(EventData):
    """Persons ordered that originals be erased (UU 27/2022). Subject: the recipient's id in upper case.

    `document` is the order as they signed it, `order` its digest, `cases` are those that it concerns, as the hub knows
    them. It comes on each partition, behind everything that it takes out there.
    """

    TYPE: ClassVar[str] = "id.tka.hub.erasure.ordered.v1"

    participant: fields.ParticipantId
    order: fields.Sha256Hex
    document: fields.SignedOrder
    cases: Annotated[list[fields.Application], Field(max_length=ERASED_CASES_MAX)]

    def subject(self) -> str | None:
        """The recipient's id in upper case."""
        return self.participant.upper()


class Heartbeat(EventData):
    """The stream is alive: everything up to `last_sequence` has been sent. Subject: the participant's id in upper case.

    `last_sequence` is the hub-seq of the message before this one on the stream, 0 when there was none.
    """

    TYPE: ClassVar[str] = "id.tka.hub.heartbeat.v1"

    topic: Annotated[str, Field(pattern=r"^[a-z][a-z0-9._-]{0,63}$")]
    partition: Annotated[int, Field(ge=0, le=9_999)]
    last_sequence: fields.Sequence
    registry_version: Annotated[int, Field(ge=1, le=2**53 - 1)]


class _Clock(EventData):
    """A service-time clock of one application. Subject: the application's number."""

    application: fields.Application
    clock: fields.Word
    holder: fields.ParticipantId
    unit: fields.Reference | None
    started_at: fields.Timestamp
    due_on: fields.Date
    rule_set: RuleSetName

    def subject(self) -> str | None:
        """The application's number."""
        return self.application


class SlaWarning(_Clock):
    """A service time is about to run out."""

    TYPE: ClassVar[str] = "id.tka.hub.sla.warning.v1"


class SlaBreached(_Clock):
    """A service time ran out."""

    TYPE: ClassVar[str] = "id.tka.hub.sla.breached.v1"


class RegisterEntered(EventData):
    """A foreign worker's entry in the register, as it stands now. Subject: the application's number.

    A higher `revision` replaces a lower one of the same application. What Immigration says of the worker is null for a
    labour office, `log_indices` are the facts that the entry was folded from.
    """

    TYPE: ClassVar[str] = "id.tka.hub.register.entered.v1"

    participant: fields.ParticipantId
    revision: fields.Revision
    application: fields.Application
    worker: fields.Reference
    employer: fields.Nib
    position: fields.Kbji
    regencies: Annotated[list[fields.Regency], Field(min_length=1, max_length=REGENCIES_MAX)]
    kanim: fields.Kanim
    from_: fields.Date = Field(alias="from")
    until: fields.Date
    ended_on: fields.Date | None
    visa_until: fields.Date | None
    stay_until: fields.Date | None
    present: bool | None
    crossed_on: fields.Date | None
    log_indices: Annotated[list[fields.LogIndex], Field(min_length=1, max_length=ENTRY_FACTS_MAX)]

    def subject(self) -> str | None:
        """The application's number."""
        return self.application


class RegisterLeft(EventData):
    """An entry is no longer in force, or no longer in the recipient's part of the register.

    Subject: the application's number.
    """

    TYPE: ClassVar[str] = "id.tka.hub.register.left.v1"

    participant: fields.ParticipantId
    revision: fields.Revision
    application: fields.Application
    worker: fields.Reference
    reason: Literal["ended", "moved"]

    def subject(self) -> str | None:
        """The application's number."""
        return self.application


HUB_EVENTS: tuple[type[EventData], ...] = (
    Receipt,
    CorrectionRequested,
    PaymentOutcome,
    BillOpened,
    BillClosed,
    RecommendationIssued,
    RecommendationWithdrawn,
    DifferenceOpened,
    DifferenceExplained,
    DifferenceClosed,
    ReconciliationReported,
    CountReported,
    ErasureOrdered,
    Heartbeat,
    SlaWarning,
    SlaBreached,
    RegisterEntered,
    RegisterLeft,
)
