"""SNAP's payment notification (service 25): a call's headers and body in, a notification or SNAP's refusal out. Pure.

    authenticate(call, profile, key, now)      raises SnapRefusal 4002501, 4002502, 4012500, 4042516
    read_notification(call)                    raises SnapRefusal 4002500, 4002501, 4002502
    judge_repeat(notification, ...)            the answer to a repeat, or None when the payment is new here

The order is the standard's: the signature is judged before the body is read.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, ClassVar

import jiter
from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from connectors.bank import snap
from connectors.bank.profile import Profile
from contracts import fields

PATH = "/v1.0/transfer-va/payment"
SERVICE_CODE = "25"
BODY_BYTES_MAX = 65_536
BILL_DETAILS_MAX = 24

_EXTERNAL_ID = re.compile(r"[0-9]{1,36}")
_CHANNEL_ID = re.compile(r"[0-9A-Za-z]{1,5}")
_BRANCHES = frozenset(("str", "int", "constrained-str"))  # Pydantic's names for the branches of a union.
_JSON_MEDIA_TYPE = re.compile(r'application/json(\s*;\s*charset="?utf-8"?)?', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Case:
    """One of SNAP's response codes: HTTP status, case digits, and its message in the standard's words."""

    status: int
    case: str
    message: str

    def code(self, service: str = SERVICE_CODE) -> str:
        """Return the seven digits: HTTP status, service, case."""
        return f"{self.status}{service}{self.case}"


SUCCESSFUL = Case(200, "00", "Successful")
BAD_REQUEST = Case(400, "00", "Bad Request")
INVALID_FORMAT = Case(400, "01", "Invalid Field Format")
MISSING_FIELD = Case(400, "02", "Invalid Mandatory Field")
UNAUTHORIZED = Case(401, "00", "Unauthorized")
INVALID_ROUTING = Case(404, "02", "Invalid Routing")
PARTNER_NOT_FOUND = Case(404, "16", "Partner Not Found")
INCONSISTENT_REQUEST = Case(404, "18", "Inconsistent Request")
NOT_ALLOWED = Case(405, "01", "Requested Operation Is Not Allowed")
SLOW_REQUEST = Case(408, "00", "Request Timeout")
CONFLICT = Case(409, "00", "Conflict")
GENERAL_ERROR = Case(500, "00", "General Error")
INTERNAL_ERROR = Case(500, "01", "Internal Server Error")
TIMEOUT = Case(504, "00", "Timeout")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the bank is answered."""

    case: Case
    message: str
    account_data: Mapping[str, Any] | None = None

    def body(self, service: str = SERVICE_CODE) -> dict[str, Any]:
        """Return the answer's JSON object."""
        written: dict[str, Any] = {"responseCode": self.case.code(service), "responseMessage": self.message}
        if self.account_data is not None:
            written["virtualAccountData"] = dict(self.account_data)
        return written


class SnapRefusal(Exception):
    """A call that is not taken; `answer` says why in SNAP's own form, naming a field and never its value."""

    def __init__(self, case: Case, detail: str | None = None) -> None:
        self.answer = Answer(case, case.message if detail is None else f"{case.message} {detail}")
        super().__init__(self.answer.message)


@dataclass(frozen=True, slots=True)
class Call:
    """An HTTP call as it came: the path with its query string, headers lower-case in order, the body's bytes."""

    method: str
    path: str
    headers: Sequence[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str:
        """Return the header's value; raise SnapRefusal when it is absent, empty or there twice."""
        values = [value for key, value in self.headers if key == name.lower()]
        if len(values) > 1:
            raise SnapRefusal(INVALID_FORMAT, f"{{{name}}}")
        if not values or not values[0]:
            raise SnapRefusal(MISSING_FIELD, f"{{{name}}}")
        return values[0]


def authenticate(call: Call, profile: Profile, key: rsa.RSAPublicKey, now: datetime) -> datetime:
    """Return the call's own timestamp once the call is known to be this bank's; else raise SnapRefusal.

    The signature is the asymmetric service signature, in the one form that the bank's profile names.
    """
    if call.header("X-PARTNER-ID") != profile.partner_id:
        raise SnapRefusal(PARTNER_NOT_FOUND)
    written = call.header("X-TIMESTAMP")
    timestamp = snap.read_time(written)
    if timestamp is None:
        raise SnapRefusal(INVALID_FORMAT, "{X-TIMESTAMP}")
    if not any(name == "x-signature" and value for name, value in call.headers):
        raise SnapRefusal(UNAUTHORIZED, "[Signature]")
    hashed = snap.body_hash(call.body, profile.hash_form)
    text = snap.asymmetric_text(call.method, call.path, hashed, written)
    if not snap.verify_asymmetric(text, key, call.header("X-SIGNATURE")):
        raise SnapRefusal(UNAUTHORIZED, "[Signature]")
    if abs((now - timestamp).total_seconds()) > profile.timestamp_tolerance_s:
        raise SnapRefusal(UNAUTHORIZED, "[Timestamp]")
    return timestamp


def _present(value: object) -> object:
    """Return the object without null and empty members: banks write an absent field in all three ways."""
    if isinstance(value, dict):
        return {name: member for name, member in value.items() if member is not None and member != ""}
    return value


_Adviser = Annotated[str, StringConstraints(pattern=r"^[YN]$")]
_Optional = Annotated[str, StringConstraints(max_length=255)] | None


class _Part(BaseModel):
    """A part of the body: strict in type, silent about members that are not used here."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, strict=True, extra="ignore", hide_input_in_errors=True)


class _Amount(_Part):
    value: fields.Money
    currency: fields.Currency


class _Additional(_Part):
    billing_code: fields.BillingCode = Field(alias="billingCode")
    ntpn: fields.Ntpn | None = None


class _Body(_Part):
    """The members of a payment notification that are used here, under SNAP's names, in the standard's order."""

    service_id: Annotated[str, StringConstraints(pattern=r"^ *[0-9]+$", max_length=8)] = Field(alias="partnerServiceId")
    customer_no: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,20}$")] = Field(alias="customerNo")
    account_no: Annotated[str, StringConstraints(max_length=28)] = Field(alias="virtualAccountNo")
    account_name: _Optional = Field(default=None, alias="virtualAccountName")
    request_id: fields.BankReference = Field(alias="paymentRequestId")
    channel_code: Annotated[str, StringConstraints(max_length=4)] | int | None = Field(
        default=None, alias="channelCode"
    )
    source_bank_code: fields.BankCode | None = Field(default=None, alias="sourceBankCode")
    amount: Annotated[_Amount, BeforeValidator(_present)] = Field(alias="paidAmount")
    trx_id: Annotated[str, StringConstraints(max_length=64)] | None = Field(default=None, alias="trxId")
    reference_no: fields.BankReference | None = Field(default=None, alias="referenceNo")
    trx_time: str | None = Field(default=None, alias="trxDateTime")
    advise: _Adviser | None = Field(default=None, alias="flagAdvise")
    bill_details: Annotated[list[Any], Field(max_length=BILL_DETAILS_MAX)] | None = Field(
        default=None, alias="billDetails"
    )
    additional: Annotated[_Additional, BeforeValidator(_present)] = Field(alias="additionalInfo")


@dataclass(frozen=True, slots=True)
class Notification:
    """An authentic, well-formed payment notification: a fact, whatever the bill says.

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
    account_name: str | None


def read_notification(call: Call, timestamp: datetime) -> Notification:
    """Read an authenticated call; raise SnapRefusal 4002500 (no JSON object), 4002501 or 4002502 (names the field).

    `timestamp` is what `authenticate` returned; it dates the payment when the body does not.
    """
    external_id = call.header("X-EXTERNAL-ID")
    if not _EXTERNAL_ID.fullmatch(external_id):
        raise SnapRefusal(INVALID_FORMAT, "{X-EXTERNAL-ID}")
    if not _CHANNEL_ID.fullmatch(call.header("CHANNEL-ID")):
        raise SnapRefusal(INVALID_FORMAT, "{CHANNEL-ID}")
    if not _JSON_MEDIA_TYPE.fullmatch(call.header("Content-Type")):
        raise SnapRefusal(INVALID_FORMAT, "{Content-Type}")
    body = _read_body(call.body)
    if body.account_no != body.service_id + body.customer_no:
        raise SnapRefusal(INVALID_FORMAT, "{virtualAccountNo}")
    paid_at = timestamp if body.trx_time is None else snap.read_time(body.trx_time)
    if paid_at is None:
        raise SnapRefusal(INVALID_FORMAT, "{trxDateTime}")
    return Notification(
        partner_id=call.header("X-PARTNER-ID"),
        external_id=external_id,
        day=snap.jakarta_day(timestamp),
        payment_request_id=body.request_id,
        billing_code=body.additional.billing_code,
        amount=body.amount.value,
        currency=body.amount.currency,
        paid_at=paid_at,
        ntpn=body.additional.ntpn,
        bank_reference=body.reference_no,
        advise=body.advise == "Y",
        content=_digest(body),
        account_data=_account_data(body),
        account_name=body.account_name,
    )


def _read_body(body: bytes) -> _Body:
    """Read the JSON object strictly: UTF-8, no member twice at any depth, no NaN; then its members."""
    try:
        value = jiter.from_json(body, catch_duplicate_keys=True, allow_inf_nan=False, float_mode="lossless-float")
    except ValueError:
        raise SnapRefusal(BAD_REQUEST, "[the body is not strict JSON]") from None
    if not isinstance(value, dict):
        raise SnapRefusal(BAD_REQUEST, "[the body is not a JSON object]")
    try:
        return _Body.model_validate(_present(value))
    except ValidationError as error:
        raise _field_refusal(error) from None


def _field_refusal(error: ValidationError) -> SnapRefusal:
    """Name the first missing member, or else the first malformed one, and never a value."""
    faults = error.errors(include_input=False, include_url=False, include_context=False)
    missing = [fault for fault in faults if fault["type"] == "missing"]
    place = ".".join(step for step in (missing or faults)[0]["loc"] if isinstance(step, str) and step not in _BRANCHES)
    return SnapRefusal(MISSING_FIELD if missing else INVALID_FORMAT, f"{{{place}}}")


def _digest(body: _Body) -> str:
    """Return what must be equal for two calls to report one payment: where it was paid to, what for and how much."""
    parts = (body.account_no, body.amount.value, body.amount.currency, body.additional.billing_code)
    return hashlib.sha256("\n".join(parts).encode("utf-8")).hexdigest()


def _account_data(body: _Body) -> dict[str, Any]:
    """Return the echo of a payment that was taken."""
    return {
        "partnerServiceId": body.service_id,
        "customerNo": body.customer_no,
        "virtualAccountNo": body.account_no,
        "paymentRequestId": body.request_id,
        "paidAmount": {"value": body.amount.value, "currency": body.amount.currency},
        "paymentFlagStatus": "00",
        "paymentFlagReason": {"english": "Success", "indonesia": "Sukses"},
    }


@dataclass(frozen=True, slots=True)
class Taken:
    """What is kept of a payment that was taken: enough to answer its repeats as the first was answered."""

    content: str
    taken_at: str
    account_data: Mapping[str, Any]

    def write(self) -> str:
        """Return the one JSON text of it."""
        kept = {"content": self.content, "taken_at": self.taken_at, "account_data": self.account_data}
        return json.dumps(kept, ensure_ascii=False, sort_keys=True, separators=(",", ":"))

    @staticmethod
    def read(text: str) -> "Taken":
        """Return what `write` wrote."""
        return Taken(**json.loads(text))


def judge_repeat(call: Notification, taken: Taken | None, external_id_used_for: str | None) -> Answer | None:
    """Return the answer to a repeat, or None when this payment is new.

    `taken` is what is kept under the call's paymentRequestId, `external_id_used_for` the paymentRequestId that came
    under its X-EXTERNAL-ID on its Jakarta day.
    """
    if external_id_used_for not in (None, call.payment_request_id):
        return Answer(CONFLICT, CONFLICT.message)
    if taken is None:
        return None
    first = dict(taken.account_data)
    if taken.content != call.content:
        return Answer(INCONSISTENT_REQUEST, INCONSISTENT_REQUEST.message, first)
    if call.advise or external_id_used_for is None:
        # An advice, or a retry under a new X-EXTERNAL-ID, asks what became of the payment: it was taken, once.
        return accept(call, first)
    return Answer(INCONSISTENT_REQUEST, INCONSISTENT_REQUEST.message, first)


def accept(call: Notification, account_data: Mapping[str, Any]) -> Answer:
    """Return 2002500, with the account's name as the call itself gave it."""
    name = {} if call.account_name is None else {"virtualAccountName": call.account_name}
    return Answer(SUCCESSFUL, SUCCESSFUL.message, {**account_data, **name})
