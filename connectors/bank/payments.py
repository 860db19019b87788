"""Takes the payments that a bank notifies, or refuses them where the bank holds the money until it is answered.

Repeats are told by what the spool keeps: a note for each payment, and one for each X-EXTERNAL-ID and Jakarta day,
written as claims in the transaction of the payment itself. So a repeat is known after a restart, and to the next
process that holds the spool; and two at once cannot both be new. One process holds a spool at a time (its lock), so two
processes of one bank stand by for each other and never both answer.
"""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final
from weakref import WeakValueDictionary

import structlog

from connectors.bank.bill import judge_payment
from connectors.bank.book import FATE_NOTES, REFUSAL_NOTES, UNCLEAR_NOTES, BankBook, settled_note
from connectors.bank.profile import Profile
from connectors.bank.snap_answer import (
    BILL_NOT_FOUND,
    CONFLICT,
    EXTERNAL_ERROR,
    GENERAL_ERROR,
    INCONSISTENT_REQUEST,
    Answer,
    Case,
    SnapRefusal,
    answer_with,
)
from connectors.bank.snap_payment import SERVICE_CODE, Judged, Notification, answer_first, judge_repeat
from connectors.bank.translate import notification_key, payment_received
from connectors.link import failpoint
from connectors.link.clock import Clock
from connectors.link.fact import Aside
from connectors.link.fault import ClaimTaken
from connectors.link.spool import Spool
from contracts.wire.instant import write_instant

CLAIM_ATTEMPTS_MAX: Final = 4
EXTERNAL_IDS_KEPT: Final = timedelta(days=3)
PAYMENTS_KEPT: Final = timedelta(days=400)
FORGET_EVERY_S: Final = 3600.0

_PAYMENT_NOTES = "snap/payment/"
_EXTERNAL_NOTES = "snap/external/"
_CALL_BYTES = 8

_log = structlog.get_logger()


class Payments:
    """Takes the payments of every partner into one spool."""

    def __init__(self, spool: Spool, book: BankBook, clock: Clock) -> None:
        self._spool = spool
        self._book = book
        self._clock = clock
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def forget_old(self) -> None:
        """Delete what no repeat can ask for any more; runs until it is cancelled."""
        while True:
            now = self._clock()
            await self._spool.forget_notes(_EXTERNAL_NOTES, now - EXTERNAL_IDS_KEPT)
            for prefix in (_PAYMENT_NOTES, REFUSAL_NOTES, FATE_NOTES):
                await self._spool.forget_notes(prefix, now - PAYMENTS_KEPT)
            await asyncio.sleep(FORGET_EVERY_S)

    async def take(self, notification: Notification, profile: Profile) -> Answer:
        """Answer a payment: taken and on disk, a repeat, or (`authorised` only) refused by the bill.

        Raises SnapRefusal, SpoolFull.
        """
        if profile.mode == "notified":
            return await self._take_notified(notification, profile)
        async with self._alone(f"{profile.partner_id}/{notification.payment_request_id}"):
            return await self._take_authorised(notification, profile)

    @asynccontextmanager
    async def _alone(self, name: str) -> AsyncIterator[None]:
        """Hold the lock of one payment: a refusal must not overwrite what another call of it decides meanwhile."""
        lock = self._locks.setdefault(name, asyncio.Lock())
        async with lock:
            yield

    async def _take_notified(self, notification: Notification, profile: Profile) -> Answer:
        """Store at once, since most calls are new; what another call has claimed before tells that this is a repeat."""
        payment_note, external_note = _names_of(notification)
        for _ in range(CLAIM_ATTEMPTS_MAX):
            judged = self._judged(notification, None)
            claims = {external_note: notification.payment_request_id, payment_note: judged.write()}
            try:
                return await self._store(notification, profile, claims, judged)
            except ClaimTaken:
                repeat = await self._answer_repeat(notification)
            if repeat is not None:
                return repeat
        raise SnapRefusal(CONFLICT)

    async def _take_authorised(self, notification: Notification, profile: Profile) -> Answer:
        payment_note, external_note = _names_of(notification)
        external = {external_note: notification.payment_request_id}
        code, now = notification.billing_code, self._clock()
        for _ in range(CLAIM_ATTEMPTS_MAX):
            repeat = await self._answer_repeat(notification)
            if repeat is not None:
                return repeat
            bill, settled = await self._book.find_bill(code), await self._book.is_settled(code)
            case = judge_payment(bill, settled, notification.amount, notification.currency, now)
            if case is BILL_NOT_FOUND and bill is None and self._book.is_stale():
                raise SnapRefusal(EXTERNAL_ERROR)
            judged = self._judged(notification, case)
            try:
                if case is not None:
                    return await self._refuse(notification, case, external, judged)
                claims = {**external, settled_note(code): notification.payment_request_id}
                return await self._store(notification, profile, claims, judged, {payment_note: judged.write()})
            except ClaimTaken:
                continue
        raise SnapRefusal(CONFLICT)

    def _judged(self, notification: Notification, case: Case | None) -> Judged:
        at, call = write_instant(self._clock()), secrets.token_hex(_CALL_BYTES)
        refused = None if case is None else case.case
        return Judged(notification.content, at, notification.account_data, call, refused)

    async def _answer_repeat(self, notification: Notification) -> Answer | None:
        """Return the answer to a repeat, None when the payment is to be judged now."""
        payment_note, external_note = _names_of(notification)
        held, used_for = await self._spool.note(payment_note), await self._spool.note(external_note)
        first = None if held is None else Judged.read(held)
        repeat = judge_repeat(notification, first, used_for)
        if repeat is not None and used_for is None:
            await self._spool.put(claims={external_note: notification.payment_request_id})
        if repeat is not None and first is not None and first.content != notification.content:
            await self.mark_unclear(notification, "another content came under the same paymentRequestId")
        return repeat

    async def _store(
        self,
        notification: Notification,
        profile: Profile,
        claims: dict[str, str],
        judged: Judged,
        notes: dict[str, str | None] | None = None,
    ) -> Answer:
        """Put the payment, its claims and its notes into the spool in one durable transaction."""
        event = payment_received(notification, profile.bank_code, self._clock())
        failpoint.reach("notification.before_put")
        [put] = await self._spool.put([event], claims=claims, notes=notes)
        if put.outcome in ("conflict", "unfit"):
            # Nothing of this call was taken, so the next one must not look like its repeat.
            await self._spool.put(notes=dict.fromkeys((*claims, *(notes or {}))))
        if put.outcome == "conflict":
            return answer_with(INCONSISTENT_REQUEST)
        if put.outcome == "unfit":
            # The hub would not take it: the bank must keep it.
            _log.error("a notification was not taken", code=put.code, detail=put.detail)
            return answer_with(GENERAL_ERROR)
        return answer_first(notification, judged)

    async def _refuse(self, notification: Notification, case: Case, claims: dict[str, str], judged: Judged) -> Answer:
        """Keep the refusal, publish nothing, and answer it."""
        code, named = case.code(SERVICE_CODE), f"{notification.partner_id}/{notification.payment_request_id}"
        kept = {
            "at": judged.judged_at,
            "code": code,
            "billing_code": notification.billing_code,
            "amount": notification.amount,
            "currency": notification.currency,
        }
        notes = {_PAYMENT_NOTES + named: judged.write(), REFUSAL_NOTES + named: json.dumps(kept, sort_keys=True)}
        key = notification_key(notification.partner_id, notification.payment_request_id)
        await self._spool.put(aside=[Aside(key, code, "the payment was not authorised")], claims=claims, notes=notes)
        return answer_first(notification, judged)

    # --- payments whose fate is unclear ------------------------------------------------------------------------------

    async def mark_unclear(self, notification: Notification, why: str) -> None:
        """Note that the bank's own word is needed about this payment."""
        said: dict[str, Any] = {
            "at": write_instant(self._clock()),
            "why": why,
            "asked": 0,
            "billing_code": notification.billing_code,
            "amount": notification.amount,
            "currency": notification.currency,
            "notification": notification.write(),
        }
        name = f"{UNCLEAR_NOTES}{notification.partner_id}/{notification.payment_request_id}"
        await self._spool.put(notes={name: json.dumps(said, sort_keys=True)})

    async def is_taken(self, notification: Notification) -> bool:
        """Tell whether this payment is in the spool."""
        key = notification_key(notification.partner_id, notification.payment_request_id)
        return await self._spool.fact_by_key(key) is not None


def _names_of(notification: Notification) -> tuple[str, str]:
    """Return the names of the notes of a payment and of its X-EXTERNAL-ID."""
    partner = notification.partner_id
    return (
        f"{_PAYMENT_NOTES}{partner}/{notification.payment_request_id}",
        f"{_EXTERNAL_NOTES}{partner}/{notification.day}/{notification.external_id}",
    )
