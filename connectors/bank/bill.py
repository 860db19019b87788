"""A bill as this bank was told of it, and whether money for it may be taken. Pure.

Only a bank that holds the money until it is answered is told so (`authorised`); a payment that a bank has taken is a
fact whatever the bill says.
"""

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Literal

from connectors.bank.snap_answer import BILL_EXPIRED, BILL_NOT_FOUND, INVALID_AMOUNT, PAID_BILL, Case

BillState = Literal["open", "paid", "expired", "cancelled"]


@dataclass(frozen=True, slots=True)
class Bill:
    """What is kept of a bill. `payer` only while the bill is open; `expires_at` and `told_at` are RFC 3339 in UTC.

    A bill of which only the end was told has no amount.
    """

    state: BillState
    told_at: str
    amount: str | None = None
    currency: str | None = None
    expires_at: str | None = None
    payer: str | None = None

    def write(self) -> str:
        """Return the one JSON text of it."""
        return json.dumps(asdict(self), ensure_ascii=False, sort_keys=True, separators=(",", ":"))

    @staticmethod
    def read(text: str) -> "Bill":
        """Return what `write` wrote."""
        return Bill(**json.loads(text))


def judge_bill(bill: Bill | None, settled: bool, now: datetime) -> Case | None:
    """Return why the bill cannot be paid now, or None when it can.

    `settled`: a payment of it was authorised here, and the hub has not said yet that the bill is closed.
    """
    if bill is None or bill.state == "cancelled":
        return BILL_NOT_FOUND
    if bill.state == "paid" or settled:
        return PAID_BILL
    if bill.state == "expired" or (bill.expires_at is not None and datetime.fromisoformat(bill.expires_at) < now):
        return BILL_EXPIRED
    return None


def judge_payment(bill: Bill | None, settled: bool, amount: str, currency: str, now: datetime) -> Case | None:
    """Return why this much cannot be taken for the bill now, or None when it can."""
    case = judge_bill(bill, settled, now)
    if case is None and bill is not None and (bill.amount, bill.currency) != (amount, currency):
        return INVALID_AMOUNT
    return case
