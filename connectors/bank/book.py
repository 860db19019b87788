"""What the hub told this bank: the bills it may collect, what became of its payments, and which differences are open.

Kept as notes of the spool, so it moves and is durable with it. A stream is read in order and repeats do no harm, since
the last word on a bill or a payment replaces the one before. The payer's name is kept only while the bill is open, for
the bank's inquiry; nothing of the worker ever comes here.
"""

import json
from collections.abc import Mapping
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Final

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from connectors.bank.bill import Bill
from connectors.bank.differences import Differences
from connectors.bank.profile import Partners
from connectors.bank.translate import notification_key
from connectors.link.clock import Clock
from connectors.link.delivery import Delivered
from connectors.link.message import event_id_of
from connectors.link.problem import Problem
from connectors.link.spool import Spool
from connectors.link.status import Shown, Table
from contracts.events.hub import BillClosed, BillOpened, PaymentOutcome
from contracts.wire.instant import write_instant

#: Without a word from the hub for so long, a bill that is not known here may still exist.
PICTURE_KEPT: Final = timedelta(minutes=15)
SHOWN_MAX: Final = 1_000
ROWS_SHOWN_MAX: Final = 50

_BILL_NOTES = "bill/"
_OUTCOME_NOTES = "outcome/"
_SETTLED_NOTES = "settled/"
REFUSAL_NOTES: Final = "snap/refused/"
UNCLEAR_NOTES: Final = "snap/unclear/"
FATE_NOTES: Final = "snap/fate/"


def settled_note(billing_code: str) -> str:
    """Return the name under which a bill is claimed by the one payment that was authorised for the whole of it."""
    return _SETTLED_NOTES + billing_code


class BankBook:
    """Remembers what one connector was told and answers the questions about it."""

    def __init__(self, spool: Spool, partners: Partners, source: str, clock: Clock) -> None:
        self._spool = spool
        self._partners = partners
        self._source = source
        self._clock = clock
        self._as_of = clock()
        self.differences = Differences(spool)

    async def handle(self, delivered: Delivered) -> None:
        """Keep what a record says about a bill, a payment or a difference; others concern nobody but the link."""
        self._as_of = max(self._as_of, delivered.envelope.time)
        event, told_at = delivered.event, write_instant(delivered.envelope.time)
        if isinstance(event, BillOpened):
            bill = Bill("open", told_at, event.amount, event.currency, event.expires_at, event.payer)
            known = await self.find_bill(event.billing_code)
            # A bill that opens again was settled and is not any more: a payment of it may be authorised again.
            freed = {settled_note(event.billing_code): None} if known is not None and known.state != "open" else {}
            await self._spool.put(notes={_BILL_NOTES + event.billing_code: bill.write(), **freed})
        elif isinstance(event, BillClosed):
            known = await self.find_bill(event.billing_code) or Bill(event.reason, told_at)
            closed = Bill(event.reason, told_at, known.amount, known.currency, known.expires_at)
            await self._spool.put(notes={_BILL_NOTES + event.billing_code: closed.write()})
        elif isinstance(event, PaymentOutcome):
            outcome = {"outcome": event.outcome, "billing_code": event.billing_code, "billed": event.billed}
            text = json.dumps({**outcome, "told_at": told_at}, sort_keys=True)
            await self._spool.put(notes={_OUTCOME_NOTES + event.payment.id: text})
        else:
            await self.differences.handle(delivered)

    async def find_bill(self, billing_code: str) -> Bill | None:
        """Return the bill as last told, None when this bank was told of no such bill."""
        text = await self._spool.note(_BILL_NOTES + billing_code)
        return None if text is None else Bill.read(text)

    async def is_settled(self, billing_code: str) -> bool:
        """Tell whether a payment of the whole bill was authorised here since the bill was last opened."""
        return await self._spool.note(settled_note(billing_code)) is not None

    def is_stale(self) -> bool:
        """Tell whether nothing was heard of the hub for so long that a bill may exist of which nothing is known."""
        return self._clock() - self._as_of > PICTURE_KEPT

    async def show(self) -> Shown:
        """Return what the status page shows: payments not authorised or of unclear fate, and open differences."""
        unclear, refused = await self.unclear(), await self.refusals()
        notes = [f"The fate of {len(unclear)} payments is unclear: see /snap/unclear."] if unclear else []
        rows = tuple(tuple(str(each[name]) for name in _COLUMNS) for each in refused[:ROWS_SHOWN_MAX])
        tables = [Table("Payments not authorised", _COLUMNS, rows)] if refused else []
        opened = await self.differences.tabulate()
        return Shown(tuple(notes), tuple(tables if opened is None else [*tables, opened]))

    def routes(self) -> APIRouter:
        """Return the questions about one bill and one payment, and what an operator should look at."""
        router = APIRouter()
        router.add_api_route("/bills/{billing_code:path}", self.bill, methods=["GET"], response_model=None)
        router.add_api_route("/payments/{payment_request_id:path}", self.payment, methods=["GET"], response_model=None)
        router.add_api_route("/snap/refusals", self.refusals, methods=["GET"])
        router.add_api_route("/snap/unclear", self.unclear, methods=["GET"])
        router.add_api_route("/differences", self.differences.list_open, methods=["GET"])
        return router

    async def bill(self, billing_code: str) -> Mapping[str, Any] | JSONResponse:
        """Return the bill's state as last told: open, paid, expired or cancelled."""
        bill = await self.find_bill(billing_code)
        if bill is None:
            return Problem(HTTPStatus.NOT_FOUND, "bill-unknown", "This bank was told of no such bill.").render()
        told = {"state": bill.state, "amount": bill.amount, "currency": bill.currency, "told_at": bill.told_at}
        return {**told, "expires_at": bill.expires_at}

    async def payment(self, payment_request_id: str, partner_id: str | None = None) -> Mapping[str, Any] | JSONResponse:
        """Return what is known of a payment: its message, the outcome last told, our refusal, the bank's own word.

        `partner_id` names the partner where two use the same number; without it the first that has it is shown.
        """
        for partner in self._partners.all:
            name = partner.profile.partner_id
            if partner_id in (None, name) and (known := await self._known(name, payment_request_id)):
                return known
        return Problem(HTTPStatus.NOT_FOUND, "payment-unknown", "No such payment was notified.").render()

    async def _known(self, partner_id: str, payment_request_id: str) -> dict[str, Any] | None:
        event_id = event_id_of(self._source, notification_key(partner_id, payment_request_id))
        named = f"{partner_id}/{payment_request_id}"
        fact = await self._spool.fact(event_id)
        refusal, fate = await self._read(REFUSAL_NOTES + named), await self._read(FATE_NOTES + named)
        if fact is None and refusal is None:
            return None
        known: dict[str, Any] = {"id": event_id, "message": None, "code": None, "outcome": None}
        if fact is not None:
            outcome = await self._read(_OUTCOME_NOTES + event_id)
            known.update(message=fact.state, code=fact.code, outcome=outcome)
        return {**known, "refusal": refusal, "bank_says": fate}

    async def refusals(self) -> list[Mapping[str, Any]]:
        """Return the payments that were not authorised, newest first."""
        return await self._list(REFUSAL_NOTES)

    async def unclear(self) -> list[Mapping[str, Any]]:
        """Return the payments whose fate is unclear: the bank may not have had our answer, or contradicts itself."""
        return await self._list(UNCLEAR_NOTES)

    async def _list(self, prefix: str) -> list[Mapping[str, Any]]:
        found: list[Mapping[str, Any]] = []
        for name, text in (await self._spool.notes(prefix)).items():
            shown = {key: said for key, said in json.loads(text).items() if key in _SHOWN}
            found.append({"payment": name.removeprefix(prefix), **shown})
        return sorted(found, key=lambda each: str(each["at"]), reverse=True)[:SHOWN_MAX]

    async def _read(self, name: str) -> dict[str, Any] | None:
        text = await self._spool.note(name)
        return None if text is None else dict(json.loads(text))


_COLUMNS = ("at", "payment", "code", "billing_code", "amount", "currency")
_SHOWN = frozenset(("at", "code", "billing_code", "amount", "currency", "why", "asked"))
