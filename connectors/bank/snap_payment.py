"""SNAP's payment notification (service 25): an authenticated call in, a notification or SNAP's refusal out. Pure.

    read_notification(call, profile, timestamp)    raises SnapRefusal 4002500, 4002501, 4002502
    judge_repeat(notification, ...)                the answer to a repeat, or None when the payment is to be judged

The signature was judged before (`snap_call.authenticate`); what a repeat is answered is DOMAIN's table in one function.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, StringConstraints

from connectors.bank import snap
from connectors.bank.profile import Profile
from connectors.bank.snap_answer import (
    BILL_CASES,
    BILL_REASONS,
    CONFLICT,
    INCONSISTENT_REQUEST,
    INVALID_FORMAT,
    SUCCESSFUL,
    Answer,
    Call,
    Case,
    SnapRefusal,
    answer_with,
    read_object,
)
from connectors.bank.snap_body import (
    BANK_REFERENCE,
    BILLING_CODE,
    NTPN,
    AccountBody,
    BodyPart,
    Faults,
    drop_empty,
    read_member,
    read_part,
)
from contracts import fields

PATH: Final = "/v1.0/transfer-va/payment"
SERVICE_CODE: Final = "25"
BILL_DETAILS_MAX: Final = 24

_EXTERNAL_ID = re.compile(r"[0-9]{1,36}")
_CHANNEL_ID = re.compile(r"[0-9A-Za-z]{1,5}")

_Adviser = Annotated[str, StringConstraints(pattern=r"^[YN]$")]
_Optional = Annotated[str, StringConstraints(max_length=255)] | None


class _Amount(BodyPart):
    value: fields.Money
    currency: fields.Currency


class _Body(AccountBody):
    """The members of a payment notification that are used here, under SNAP's names, in the standard's order."""

    account_name: _Optional = Field(default=None, alias="virtualAccountName")
    request_id: fields.BankReference = Field(alias="paymentRequestId")
    channel_code: Annotated[str, StringConstraints(max_length=4)] | int | None = Field(
        default=None, alias="channelCode"
    )
    source_bank_code: fields.BankCode | None = Field(default=None, alias="sourceBankCode")
    amount: Annotated[_Amount, BeforeValidator(drop_empty)] = Field(alias="paidAmount")
    trx_id: Annotated[str, StringConstraints(max_length=64)] | None = Field(default=None, alias="trxId")
    trx_time: str | None = Field(default=None, alias="trxDateTime")
    advise: _Adviser | None = Field(default=None, alias="flagAdvise")
    bill_details: Annotated[list[Any], Field(max_length=BILL_DETAILS_MAX)] | None = Field(
        default=None, alias="billDetails"
    )


@dataclass(frozen=True, slots=True)
class Notification:
    """An authentic, well-formed payment notification.

    `day` is the Jakarta day of the call's own timestamp; `content` the digest of what makes two calls the same payment;
    `account_data` what an answer echoes. `account_name` is a person's: it is echoed and never stored.
    """

    partner_id: str
    external_id: str
    day: str
    payment_request_id: str
    billing_code: str
    amount: str
    currency: str
    paid_at: datetime
    ntpn: str | None
    bank_reference: str | None
    advise: bool
    content: str
    account_data: Mapping[str, Any]
    account_name: str | None = None

    def write(self) -> str:
        """Return the one JSON text of it, without the account's name."""
        kept = {**asdict(self), "paid_at": self.paid_at.isoformat(), "account_name": None}
        return json.dumps(kept, ensure_ascii=False, sort_keys=True, separators=(",", ":"))

    @staticmethod
    def read(text: str) -> "Notification":
        """Return what `write` wrote."""
        kept = json.loads(text)
        return Notification(**{**kept, "paid_at": datetime.fromisoformat(kept["paid_at"])})


def check_service_headers(call: Call) -> str:
    """Return X-EXTERNAL-ID; raise SnapRefusal unless it and CHANNEL-ID have their forms."""
    external_id = call.header("X-EXTERNAL-ID")
    if not _EXTERNAL_ID.fullmatch(external_id):
        raise SnapRefusal(INVALID_FORMAT, "{X-EXTERNAL-ID}")
    if not _CHANNEL_ID.fullmatch(call.header("CHANNEL-ID")):
        raise SnapRefusal(INVALID_FORMAT, "{CHANNEL-ID}")
    return external_id


def read_notification(call: Call, profile: Profile, timestamp: datetime) -> Notification:
    """Read an authenticated call; raise SnapRefusal 4002500 (no JSON object), 4002501 or 4002502 (names the field).

    `timestamp` is the call's own; it dates the payment when the body does not.
    """
    external_id = check_service_headers(call)
    value, faults = read_object(call), Faults()
    body = read_part(_Body, value, faults)
    code = read_member(value, profile.billing_code_at, BILLING_CODE, faults, mandatory=True)
    ntpn = read_member(value, profile.ntpn_at, NTPN, faults, mandatory=False)
    reference = read_member(value, profile.bank_reference_at, BANK_REFERENCE, faults, mandatory=False)
    faults.check()
    if body is None or code is None:
        raise AssertionError("a part is None only with a fault")
    paid_at = timestamp if body.trx_time is None else snap.read_time(body.trx_time)
    if paid_at is None:
        raise SnapRefusal(INVALID_FORMAT, "{trxDateTime}")
    return Notification(
        partner_id=profile.partner_id,
        external_id=external_id,
        day=snap.jakarta_day(timestamp),
        payment_request_id=body.request_id,
        billing_code=code,
        amount=body.amount.value,
        currency=body.amount.currency,
        paid_at=paid_at,
        ntpn=ntpn,
        bank_reference=reference,
        advise=body.advise == "Y",
        content=_digest(body, code),
        account_data=_account_data(body),
        account_name=body.account_name,
    )


def _digest(body: _Body, billing_code: str) -> str:
    """Return what must be equal for two calls to report one payment: where it was paid to, what for and how much."""
    parts = (body.account_no, body.amount.value, body.amount.currency, billing_code)
    return hashlib.sha256("\n".join(parts).encode("utf-8")).hexdigest()


def _account_data(body: _Body) -> dict[str, Any]:
    """Return what an answer echoes of a payment, before its flag."""
    return {
        **body.account(),
        "paymentRequestId": body.request_id,
        "paidAmount": {"value": body.amount.value, "currency": body.amount.currency},
    }


@dataclass(frozen=True, slots=True)
class Judged:
    """What is kept of a payment that was answered: enough to answer its repeats as the first was answered.

    `refused` is the case of the bill's refusal, None when the payment was taken. `call` differs for every call, so that
    of two at once only one can claim the payment.
    """

    content: str
    judged_at: str
    account_data: Mapping[str, Any]
    call: str
    refused: str | None = None

    def write(self) -> str:
        """Return the one JSON text of it."""
        kept = {
            "content": self.content,
            "judged_at": self.judged_at,
            "account_data": self.account_data,
            "call": self.call,
            "refused": self.refused,
        }
        return json.dumps(kept, ensure_ascii=False, separators=(",", ":"))

    @staticmethod
    def read(text: str) -> "Judged":
        """Return what `write` wrote."""
        kept = json.loads(text)
        # Spools of earlier versions kept only payments that were taken.
        kept["judged_at"] = kept.pop("taken_at", kept.get("judged_at"))
        return Judged(**{"call": "", **kept})

    def echo(self) -> dict[str, Any]:
        """Return the first result as SNAP flags it: 00 taken, 01 refused, with the reason in both languages."""
        if self.refused is None:
            reason, flag = {"english": "Success", "indonesia": "Sukses"}, "00"
        else:
            reason, flag = dict(BILL_REASONS[BILL_CASES[self.refused]]), "01"
        return {**self.account_data, "paymentFlagStatus": flag, "paymentFlagReason": reason}


def judge_repeat(call: Notification, first: Judged | None, external_id_used_for: str | None) -> Answer | None:
    """Return the answer to a repeat, or None when this payment is to be judged now.

    `first` is what is kept under the call's paymentRequestId, `external_id_used_for` the paymentRequestId that came
    under its X-EXTERNAL-ID on its Jakarta day.
    """
    if external_id_used_for not in (None, call.payment_request_id):
        return answer_with(CONFLICT)
    if first is None:
        return None
    if first.refused is not None and external_id_used_for is None and not call.advise:
        # Nothing was taken, so a new attempt under a new X-EXTERNAL-ID is judged by the bill as it is now.
        return None
    if first.content != call.content:
        return answer_with(INCONSISTENT_REQUEST, first.echo())
    if call.advise or external_id_used_for is None:
        # An advice, or a retry under a new X-EXTERNAL-ID, asks what became of the payment.
        return answer_first(call, first)
    return answer_with(INCONSISTENT_REQUEST, first.echo())


def answer_first(call: Notification, first: Judged) -> Answer:
    """Return what the payment was answered at first, with the account's name as the call itself gave it."""
    case: Case = SUCCESSFUL if first.refused is None else BILL_CASES[first.refused]
    name = {} if call.account_name is None else {"virtualAccountName": call.account_name}
    return answer_with(case, {**first.echo(), **name})
