"""From a bank's words to the exchange's: a notification, a transaction or an explanation in, a new event out. Pure.

The native key is the channel's own identity of the fact: partner and paymentRequestId; or account, notification, page,
entry and detail; or the difference and what was said of it. No bank reference is part of it, since in real files none
identifies money by itself.
"""

import hashlib
import json
import uuid
from datetime import UTC, date, datetime, time
from typing import Any, Final

from connectors.bank.entry import IDENTIFIER_CHARACTERS_MAX, Transaction, is_identifier
from connectors.bank.snap import JAKARTA
from connectors.bank.snap_payment import Notification
from connectors.link.fact import NewEvent
from contracts.wire.instant import write_instant

RECEIVED: Final = "id.tka.bank.payment.received.v1"
BOOKED: Final = "id.tka.bank.payment.booked.v1"
REVERSED: Final = "id.tka.bank.payment.reversed.v1"
EXPLAINED: Final = "id.tka.bank.difference.explained.v1"


def notification_key(partner_id: str, payment_request_id: str) -> str:
    """Return the native key of a notified payment: the partner's own number for it."""
    return json.dumps(["snap", partner_id, payment_request_id])


def payment_received(notification: Notification, bank_code: str, now: datetime) -> NewEvent:
    """Return the event of a payment that the bank notified.

    A bank's clock may run ahead of ours within its tolerance: the event is then dated `now`, since nobody takes a fact
    from the future; `paid_at` stays what the bank said.
    """
    return NewEvent(
        native_key=notification_key(notification.partner_id, notification.payment_request_id),
        type=RECEIVED,
        subject=notification.billing_code,
        time=min(notification.paid_at, now.astimezone(UTC)),
        correlationid=notification.billing_code,
        data={
            "bank_code": bank_code,
            "billing_code": notification.billing_code,
            "amount": notification.amount,
            "currency": notification.currency,
            "payment_request_id": notification.payment_request_id,
            "paid_at": write_instant(notification.paid_at),
            "ntpn": notification.ntpn,
            "bank_reference": notification.bank_reference,
        },
    )


def statement_key(transaction: Transaction) -> str:
    """Return the native key of a statement's transaction: its place."""
    above = transaction.notification
    return json.dumps(["camt054", above.account, above.id, above.page, transaction.place, transaction.detail])


def statement_payment(transaction: Transaction, bank_code: str) -> NewEvent:
    """Return the event of a counted transaction: a credit is booked, a reversal is reversed.

    Raises ValueError for a transaction that does not count.
    """
    booked_on, account, name = transaction.booking_date, transaction.notification.account, transaction.notification.id
    if transaction.money is None or booked_on is None or account is None or name is None:
        raise ValueError("only a credit or a reversal is a payment")
    page, native_key = transaction.notification.page, statement_key(transaction)
    subject = transaction.billing_code or f"X-{uuid.uuid5(uuid.NAMESPACE_URL, native_key).hex.upper()}"
    data: dict[str, Any] = {
        "bank_code": bank_code,
        "billing_code": transaction.billing_code,
        "amount": transaction.money,
        "currency": transaction.currency,
        "booked_on": booked_on,
        "account": account,
        "notification_id": name if page == 1 else f"{name}#{page}"[-IDENTIFIER_CHARACTERS_MAX:],
        "entry": transaction.place,
        "detail": transaction.detail,
        "content_sha256": transaction.content_sha256(),
        "ntpn": transaction.ntpn,
        "bank_reference": transaction.bank_reference if is_identifier(transaction.bank_reference) else None,
    }
    if transaction.counts == "reversal":
        data["reason_code"] = transaction.reason_code
    return NewEvent(
        native_key=native_key,
        type=BOOKED if transaction.counts == "credit" else REVERSED,
        subject=subject,
        time=_booked_time(date.fromisoformat(booked_on), transaction.notification.created),
        correlationid=subject,
        data=data,
    )


def difference_explained(difference_id: str, code: str, text: str, now: datetime) -> NewEvent:
    """Return the event of a difference that the bank explains."""
    # Hashed, since a text may be longer than a native key.
    said = hashlib.sha256(json.dumps([code, text]).encode("ascii")).hexdigest()
    # A difference's id begins with the subject of what it is about (contracts/events/hub.py).
    subject = difference_id.partition(":")[0]
    return NewEvent(
        native_key=json.dumps(["explanation", difference_id, said]),
        type=EXPLAINED,
        subject=subject,
        time=now.astimezone(UTC),
        correlationid=subject,
        data={"difference_id": difference_id, "explanation_code": code, "text": text},
    )


def _booked_time(booked_on: date, created: datetime | None) -> datetime:
    """Return the start of the booking day in Jakarta, or when the statement was made if the booking is dated ahead.

    A day is all that every version gives, and its start is what favours the payer; both come from the file, so that
    reading it again gives the same event.
    """
    start = datetime.combine(booked_on, time.min, tzinfo=JAKARTA)
    try:
        return (start if created is None else min(start, created)).astimezone(UTC)
    except OverflowError:
        # The calendar's first day begins in Jakarta before it does in UTC. The spool sets so old a time aside.
        return datetime.min.replace(tzinfo=UTC)
