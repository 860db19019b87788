"""SNAP's words for a call and its answer: the response codes, the call as it came, the refusal. Pure.

A response code has seven digits: HTTP status, service, case. The messages are the standard's; what is added to one
names a field or a reason and never a value. Source: SNAP BI technical standard, response codes.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import jiter

BODY_BYTES_MAX: Final = 65_536
HEADERS_BYTES_MAX: Final = 32_768
#: The service code where no service was reached.
NO_SERVICE: Final = "00"

_JSON_MEDIA_TYPE = re.compile(r'application/json(\s*;\s*charset="?utf-8"?)?', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Case:
    """One of SNAP's response codes without its service: HTTP status, case digits, and its message."""

    status: int
    case: str
    message: str

    def code(self, service: str) -> str:
        """Return the seven digits: HTTP status, service, case."""
        return f"{self.status}{service}{self.case}"


SUCCESSFUL = Case(200, "00", "Successful")
BAD_REQUEST = Case(400, "00", "Bad Request")
INVALID_FORMAT = Case(400, "01", "Invalid Field Format")
MISSING_FIELD = Case(400, "02", "Invalid Mandatory Field")
UNAUTHORIZED = Case(401, "00", "Unauthorized")
INVALID_TOKEN = Case(401, "01", "Invalid Token (B2B)")
INVALID_ROUTING = Case(404, "02", "Invalid Routing")
BILL_NOT_FOUND = Case(404, "12", "Invalid Bill/Virtual Account [Not Found]")
INVALID_AMOUNT = Case(404, "13", "Invalid Amount")
PAID_BILL = Case(404, "14", "Paid Bill")
PARTNER_NOT_FOUND = Case(404, "16", "Partner Not Found")
INCONSISTENT_REQUEST = Case(404, "18", "Inconsistent Request")
BILL_EXPIRED = Case(404, "19", "Invalid Bill/Virtual Account [Expired]")
NOT_ALLOWED = Case(405, "01", "Requested Operation Is Not Allowed")
SLOW_REQUEST = Case(408, "00", "Request Timeout")
CONFLICT = Case(409, "00", "Conflict")
GENERAL_ERROR = Case(500, "00", "General Error")
INTERNAL_ERROR = Case(500, "01", "Internal Server Error")
EXTERNAL_ERROR = Case(500, "02", "External Server Error")
TIMEOUT = Case(504, "00", "Timeout")

#: What a refusal that comes from the bill says to the payer, in both languages.
BILL_REASONS: Final = {
    BILL_NOT_FOUND: {"english": "Bill not found", "indonesia": "Tagihan tidak ditemukan"},
    INVALID_AMOUNT: {"english": "Amount is not the bill's", "indonesia": "Jumlah tidak sesuai dengan tagihan"},
    PAID_BILL: {"english": "Bill has been paid", "indonesia": "Tagihan telah dibayar"},
    BILL_EXPIRED: {"english": "Bill has expired", "indonesia": "Tagihan telah kedaluwarsa"},
}
BILL_CASES: Final = {case.case: case for case in BILL_REASONS}


@dataclass(frozen=True, slots=True)
class Answer:
    """What the bank is answered; `more` are the members beside the response code and its message."""

    case: Case
    message: str
    more: Mapping[str, Any] | None = None

    def body(self, service: str) -> dict[str, Any]:
        """Return the answer's JSON object."""
        return {"responseCode": self.case.code(service), "responseMessage": self.message, **(self.more or {})}


def answer_with(case: Case, account_data: Mapping[str, Any] | None = None) -> Answer:
    """Return an answer in the standard's words, with what it says of the virtual account, if anything."""
    return Answer(case, case.message, None if account_data is None else {"virtualAccountData": dict(account_data)})


class SnapRefusal(Exception):
    """A call that is not taken; `answer` says why in SNAP's own form, naming a field and never its value."""

    def __init__(self, case: Case, detail: str | None = None) -> None:
        self.answer = Answer(case, case.message if detail is None else f"{case.message} {detail}")
        super().__init__(self.answer.message)


@dataclass(frozen=True, slots=True)
class Call:
    """An HTTP call as it came: the path with its query string, headers lower-case in order, the body's bytes.

    `address` is where it came from, None when that cannot be told. `listener` names the partner whose own listener
    took it, after its certificate was verified there; None at the door that is open to all.
    """

    method: str
    path: str
    headers: Sequence[tuple[str, str]]
    body: bytes
    address: str | None = None
    listener: str | None = None

    def header(self, name: str) -> str:
        """Return the header's value; raise SnapRefusal when it is absent, empty or there twice."""
        value = self.optional(name)
        if not value:
            raise SnapRefusal(MISSING_FIELD, f"{{{name}}}")
        return value

    def optional(self, name: str) -> str:
        """Return the header's value, empty when it is absent; raise SnapRefusal when it is there twice."""
        values = [value for key, value in self.headers if key == name.lower()]
        if len(values) > 1:
            raise SnapRefusal(INVALID_FORMAT, f"{{{name}}}")
        return values[0] if values else ""


def read_object(call: Call) -> dict[str, Any]:
    """Return the body's JSON object, read strictly: UTF-8, no member twice at any depth, no NaN.

    Raises SnapRefusal: 400xx01 for another content type, 400xx00 for anything that is no strict JSON object.
    """
    if not _JSON_MEDIA_TYPE.fullmatch(call.header("Content-Type")):
        raise SnapRefusal(INVALID_FORMAT, "{Content-Type}")
    try:
        value = jiter.from_json(call.body, catch_duplicate_keys=True, allow_inf_nan=False, float_mode="lossless-float")
    except ValueError:
        raise SnapRefusal(BAD_REQUEST, "[the body is not strict JSON]") from None
    if not isinstance(value, dict):
        raise SnapRefusal(BAD_REQUEST, "[the body is not a JSON object]")
    return value
