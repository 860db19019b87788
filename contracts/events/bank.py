"""Events of the banks: money received, booked and taken back.

Identity is each channel's own: partner and paymentRequestId for a notification; account, notification, entry and detail
for a statement's entry. No reference in here identifies money by itself.
"""

from typing import Annotated, ClassVar

from pydantic import Field, TypeAdapter, ValidationError

from contracts import fields
from contracts.events import count
from contracts.events.event import EventData

POSITION_MAX = 999_999
_UNCODED_SUBJECT: TypeAdapter[str] = TypeAdapter(fields.UncodedSubject)


class PaymentReceived(EventData):
    """A SNAP payment notification: the bank has taken the money."""

    TYPE: ClassVar[str] = "id.tka.bank.payment.received.v1"
    NOT_FOLDED: ClassVar[frozenset[str]] = frozenset(("bank_code", "payment_request_id", "paid_at"))

    bank_code: fields.BankCode
    billing_code: fields.BillingCode
    amount: fields.Money
    currency: fields.Currency
    payment_request_id: fields.BankReference
    paid_at: fields.Timestamp
    ntpn: fields.Ntpn | None = None
    bank_reference: fields.BankReference | None = None

    def subject(self) -> str | None:
        """The billing code."""
        return self.billing_code


class PaymentBooked(EventData):
    """A statement's entry (camt.054, status BOOK): the money is on the account."""

    TYPE: ClassVar[str] = "id.tka.bank.payment.booked.v1"
    NOT_FOLDED: ClassVar[frozenset[str]] = frozenset(
        ("bank_code", "booked_on", "account", "notification_id", "entry", "detail", "content_sha256")
    )

    bank_code: fields.BankCode
    billing_code: fields.BillingCode | None
    amount: fields.Money
    currency: fields.Currency
    booked_on: fields.Date
    account: fields.BankReference
    notification_id: fields.BankReference
    entry: Annotated[int, Field(ge=0, le=POSITION_MAX)]
    detail: Annotated[int, Field(ge=0, le=POSITION_MAX)] | None = None
    content_sha256: fields.Sha256Hex
    ntpn: fields.Ntpn | None = None
    bank_reference: fields.BankReference | None = None

    def subject(self) -> str | None:
        """The billing code; without one the subject is the connector's own ("X-" and an identifier)."""
        return self.billing_code

    def fits(self, subject: str) -> bool:
        """Whether the subject is the billing code, or without one a name that no billing code can equal."""
        if self.billing_code is not None:
            return subject == self.billing_code
        try:
            _UNCODED_SUBJECT.validate_python(subject)
        except ValidationError:
            return False
        return True


class PaymentReversed(PaymentBooked):
    """A statement's entry that takes a credit back (DBIT with RvslInd true)."""

    TYPE: ClassVar[str] = "id.tka.bank.payment.reversed.v1"

    reason_code: fields.Code | None = None


class DifferenceExplained(EventData):
    """A bank explained a difference."""

    TYPE: ClassVar[str] = "id.tka.bank.difference.explained.v1"
    NOT_FOLDED: ClassVar[frozenset[str]] = frozenset(("text",))

    difference_id: fields.DifferenceId
    explanation_code: fields.Code
    text: fields.Text

    def subject(self) -> str | None:
        """The subject of the difference, with which its id begins."""
        return self.difference_id.partition(":")[0]


class CountStated(count.CountStated):
    """A bank's own count of a day."""

    TYPE: ClassVar[str] = "id.tka.bank.count.stated.v1"


#: What names the bank whose money it is.
BANK_PAYMENTS = (PaymentReceived, PaymentBooked)
BANK_EVENTS: tuple[type[EventData], ...] = (
    PaymentReceived,
    PaymentBooked,
    PaymentReversed,
    DifferenceExplained,
    CountStated,
)
