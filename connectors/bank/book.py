"""What the hub told this bank: the bills it may collect, and what became of the payments it reported.

Kept as notes of the spool, so it moves and is durable with it. A stream is read in order and repeats do no harm, since
the last word on a bill or a payment replaces the one before. The payer's name is not kept: nothing here needs it.
"""

import json
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, HTTPException

from connectors.bank.profile import Profile
from connectors.bank.translate import notification_key
from connectors.link.delivery import Delivered
from connectors.link.message import event_id_of
from connectors.link.spool import Spool
from contracts.events.hub import BillClosed, BillOpened, PaymentOutcome
from contracts.wire.instant import write_instant

_BILL_NOTES = "bill/"
_OUTCOME_NOTES = "outcome/"
STATUS_NOT_FOUND = 404


class BankBook:
    """Remembers what one bank was told and answers the bank's questions about it."""

    def __init__(self, spool: Spool, profile: Profile, source: str) -> None:
        self._spool = spool
        self._profile = profile
        self._source = source

    async def handle(self, delivered: Delivered) -> None:
        """Keep what a record says about a bill or a payment; other records concern nobody but the link."""
        event = delivered.event
        if isinstance(event, BillOpened):
            bill = {"state": "open", "amount": event.amount, "currency": event.currency, "expires_at": event.expires_at}
            await self._keep(_BILL_NOTES + event.billing_code, bill, delivered)
        elif isinstance(event, BillClosed):
            closed = {**await self._read(_BILL_NOTES + event.billing_code), "state": event.reason}
            await self._keep(_BILL_NOTES + event.billing_code, closed, delivered)
        elif isinstance(event, PaymentOutcome):
            outcome = {"outcome": event.outcome, "billing_code": event.billing_code, "billed": event.billed}
            await self._keep(_OUTCOME_NOTES + event.payment.id, outcome, delivered)

    def routes(self) -> APIRouter:
        """Return the questions that the bank may ask: about one bill, and about one payment it notified."""
        router = APIRouter()
        router.add_api_route("/bills/{billing_code}", self.bill, methods=["GET"])
        router.add_api_route("/payments/{payment_request_id:path}", self.payment, methods=["GET"])
        return router

    async def bill(self, billing_code: str) -> Mapping[str, Any]:
        """Return the bill's state as last told: open, paid, expired or cancelled."""
        if not (known := await self._read(_BILL_NOTES + billing_code)):
            raise HTTPException(STATUS_NOT_FOUND, "this bank was told of no such bill")
        return known

    async def payment(self, payment_request_id: str) -> Mapping[str, Any]:
        """Return where the message of a notified payment is, and the outcome last told, null before the first."""
        event_id = event_id_of(self._source, notification_key(self._profile.partner_id, payment_request_id))
        fact = await self._spool.fact(event_id)
        if fact is None:
            raise HTTPException(STATUS_NOT_FOUND, "no such payment was notified")
        outcome = await self._read(_OUTCOME_NOTES + event_id) or None
        return {"id": event_id, "message": fact.state, "code": fact.code, "outcome": outcome}

    async def _keep(self, name: str, value: Mapping[str, Any], delivered: Delivered) -> None:
        told_at = write_instant(delivered.envelope.time)
        await self._spool.put(notes={name: json.dumps({**value, "told_at": told_at}, sort_keys=True)})

    async def _read(self, name: str) -> dict[str, Any]:
        note = await self._spool.note(name)
        return {} if note is None else dict(json.loads(note))
