"""SNAP's inquiry (service 24): may this bill be paid, by whom, how much. Pure.

A question changes nothing and is kept nowhere, so it may be asked again in any form; its X-EXTERNAL-ID uses up none.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import Field, StringConstraints

from connectors.bank.bill import Bill
from connectors.bank.profile import Profile
from connectors.bank.snap_answer import BILL_REASONS, SUCCESSFUL, Answer, Call, Case, answer_with, read_object
from connectors.bank.snap_body import BILLING_CODE, AccountBody, Faults, read_member, read_part
from connectors.bank.snap_payment import check_service_headers

PATH: Final = "/v1.0/transfer-va/inquiry"
SERVICE_CODE: Final = "24"

_PRINTABLE = r"^[\x20-\x7e]{1,128}$"


class _Body(AccountBody):
    request_id: Annotated[str, StringConstraints(pattern=_PRINTABLE)] = Field(alias="inquiryRequestId")


@dataclass(frozen=True, slots=True)
class Inquiry:
    """A question about one bill; `account_data` is what the answer echoes."""

    billing_code: str
    account_data: dict[str, Any]


def read_inquiry(call: Call, profile: Profile) -> Inquiry:
    """Read an authenticated call; raise SnapRefusal 4002400, 4002401 or 4002402, naming the member."""
    check_service_headers(call)
    value, faults = read_object(call), Faults()
    body = read_part(_Body, value, faults)
    code = read_member(value, profile.billing_code_at, BILLING_CODE, faults, mandatory=True)
    faults.check()
    if body is None or code is None:
        raise AssertionError("a part is None only with a fault")
    return Inquiry(code, {**body.account(), "inquiryRequestId": body.request_id})


def tell_bill(inquiry: Inquiry, bill: Bill) -> Answer:
    """Return 2002400 with what is to be paid."""
    found = {
        "inquiryStatus": "00",
        "inquiryReason": {"english": "Success", "indonesia": "Sukses"},
        **inquiry.account_data,
        "virtualAccountName": bill.payer or "",
        "totalAmount": {"value": bill.amount, "currency": bill.currency},
        "additionalInfo": {"billingCode": inquiry.billing_code, "expiresAt": bill.expires_at},
    }
    return answer_with(SUCCESSFUL, found)


def refuse_bill(inquiry: Inquiry, case: Case) -> Answer:
    """Return 4042412, 4042414 or 4042419, with the reason in both languages."""
    return answer_with(case, {"inquiryStatus": "01", "inquiryReason": dict(BILL_REASONS[case]), **inquiry.account_data})
