"""The door at which the bank's SNAP calls arrive: answered 2002500 only once the payment is on disk in the spool.

Repeats are told by what the spool keeps: a note for each payment, and one for each X-EXTERNAL-ID and Jakarta day,
written as claims in the transaction of the payment itself. So a repeat is known after a restart, and two at once cannot
both be new.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import structlog
from cryptography.hazmat.primitives.asymmetric import rsa
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from prometheus_client import CollectorRegistry, Counter
from starlette.requests import ClientDisconnect

from connectors.bank import snap, snap_payment
from connectors.bank.profile import Profile
from connectors.bank.snap_payment import Answer, Call, Notification, SnapRefusal, Taken
from connectors.bank.translate import payment_received
from connectors.link import failpoint
from connectors.link.clock import Clock
from connectors.link.fault import ClaimTaken, SpoolFull
from connectors.link.retry import where
from connectors.link.spool import Spool
from contracts.wire.instant import write_instant

BODY_S_MAX = 10.0
ANSWER_S_MAX = 20.0
CLAIM_ATTEMPTS_MAX = 3
EXTERNAL_IDS_KEPT = timedelta(days=3)
PAYMENTS_KEPT = timedelta(days=400)
FORGET_EVERY_S = 3600.0

_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]
_PAYMENT_NOTES = "snap/payment/"
_EXTERNAL_NOTES = "snap/external/"
_UNKNOWN_SERVICE = "00"

_log = structlog.get_logger()


class NotificationDoor:
    """Takes the notifications of one bank into one spool."""

    def __init__(
        self, spool: Spool, profile: Profile, key: rsa.RSAPublicKey, clock: Clock, metrics: CollectorRegistry
    ) -> None:
        self._spool = spool
        self._profile = profile
        self._key = key
        self._clock = clock
        self._answers = Counter(
            "tkahub_connector_snap_answers", "Answers to SNAP calls, by response code", ["code"], registry=metrics
        )

    def routes(self) -> APIRouter:
        """Return the routes; whatever else is asked below /v1.0 is answered in SNAP's form too."""
        router = APIRouter()
        router.add_api_route(snap_payment.PATH, self._payment, methods=_METHODS)
        router.add_api_route("/v1.0/{rest:path}", self._elsewhere, methods=_METHODS)
        return router

    async def forget_old(self) -> None:
        """Delete what no repeat can ask for any more; runs until it is cancelled."""
        while True:
            now = self._clock()
            await self._spool.forget_notes(_EXTERNAL_NOTES, now - EXTERNAL_IDS_KEPT)
            await self._spool.forget_notes(_PAYMENT_NOTES, now - PAYMENTS_KEPT)
            await asyncio.sleep(FORGET_EVERY_S)

    async def _payment(self, request: Request) -> JSONResponse:
        """Answer a payment notification; whatever happens, in SNAP's own form."""
        try:
            if request.method != "POST":
                raise SnapRefusal(snap_payment.NOT_ALLOWED)
            answer = await self._answer(await _read_call(request))
        except SnapRefusal as refusal:
            answer = refusal.answer
        except SpoolFull as fault:
            _log.error("a notification was not taken", why=str(fault))
            answer = Answer(snap_payment.INTERNAL_ERROR, snap_payment.INTERNAL_ERROR.message)
        except ClientDisconnect:
            answer = Answer(snap_payment.SLOW_REQUEST, snap_payment.SLOW_REQUEST.message)
        except Exception as error:  # noqa: BLE001  # The bank needs an answer in SNAP's form whatever broke.
            _log.error("a notification was not taken", error=where(error))
            answer = Answer(snap_payment.GENERAL_ERROR, snap_payment.GENERAL_ERROR.message)
        failpoint.reach("notification.before_answer")
        return self._respond(answer, snap_payment.SERVICE_CODE)

    async def _elsewhere(self) -> JSONResponse:
        return self._respond(
            Answer(snap_payment.INVALID_ROUTING, snap_payment.INVALID_ROUTING.message), _UNKNOWN_SERVICE
        )

    def _respond(self, answer: Answer, service: str) -> JSONResponse:
        self._answers.labels(answer.case.code(service)).inc()
        stamp = self._clock().astimezone(snap.JAKARTA).isoformat(timespec="seconds")
        return JSONResponse(answer.body(service), status_code=answer.case.status, headers={"X-TIMESTAMP": stamp})

    async def _answer(self, call: Call) -> Answer:
        now = self._clock()
        timestamp = snap_payment.authenticate(call, self._profile, self._key, now)
        notification = snap_payment.read_notification(call, timestamp)
        # A slow disk must not leave the bank without an answer; the payment may still be taken, and then its repeat
        # is told so.
        taking = asyncio.ensure_future(self._take(notification))
        done, _ = await asyncio.wait({taking}, timeout=ANSWER_S_MAX)
        if not done:
            taking.add_done_callback(_hear_late_failure)
            raise SnapRefusal(snap_payment.TIMEOUT)
        return taking.result()

    async def _take(self, notification: Notification) -> Answer:
        """Store the payment, or answer its repeat; two at once race for the claims, and the loser is a repeat."""
        payment_note = f"{_PAYMENT_NOTES}{notification.partner_id}/{notification.payment_request_id}"
        external_note = f"{_EXTERNAL_NOTES}{notification.partner_id}/{notification.day}/{notification.external_id}"
        for _ in range(CLAIM_ATTEMPTS_MAX):
            held, used_for = await self._spool.note(payment_note), await self._spool.note(external_note)
            taken = None if held is None else Taken.read(held)
            repeat = snap_payment.judge_repeat(notification, taken, used_for)
            claims = {external_note: notification.payment_request_id}
            try:
                if repeat is not None:
                    if used_for is None:
                        await self._spool.put(claims=claims)
                    return repeat
                return await self._store(notification, payment_note, claims)
            except ClaimTaken:
                continue
        raise SnapRefusal(snap_payment.CONFLICT)

    async def _store(self, notification: Notification, payment_note: str, claims: dict[str, str]) -> Answer:
        """Put the payment and its claims into the spool in one durable transaction."""
        now = self._clock()
        taken = Taken(notification.content, write_instant(now), notification.account_data)
        event = payment_received(notification, self._profile.bank_code, now)
        failpoint.reach("notification.before_put")
        [put] = await self._spool.put([event], claims={**claims, payment_note: taken.write()})
        if put.outcome == "conflict":
            return Answer(snap_payment.INCONSISTENT_REQUEST, snap_payment.INCONSISTENT_REQUEST.message)
        if put.outcome == "unfit":
            # The hub would not take it: the bank must keep it, and the next call must not look like a repeat.
            await self._spool.put(notes=dict.fromkeys((*claims, payment_note)))
            _log.error("a notification was not taken", code=put.code, detail=put.detail)
            return Answer(snap_payment.GENERAL_ERROR, snap_payment.GENERAL_ERROR.message)
        return snap_payment.accept(notification, taken.account_data)


def _hear_late_failure(taking: "asyncio.Future[Answer]") -> None:
    if not taking.cancelled() and (error := taking.exception()) is not None:
        _log.error("a notification that had been answered with a timeout was not taken", error=where(error))


async def _read_call(request: Request) -> Call:
    """Read the call with a limit on its size and on the time it may take."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_S_MAX):
            async for chunk in _chunks(request):
                body += chunk
                if len(body) > snap_payment.BODY_BYTES_MAX:
                    raise SnapRefusal(
                        snap_payment.BAD_REQUEST, f"[the body is larger than {snap_payment.BODY_BYTES_MAX} bytes]"
                    )
    except TimeoutError:
        raise SnapRefusal(snap_payment.SLOW_REQUEST) from None
    path = request.scope["raw_path"].decode("latin-1")
    query = request.scope["query_string"].decode("latin-1")
    headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in request.headers.raw]
    return Call(request.method, f"{path}?{query}" if query else path, headers, bytes(body))


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    async for chunk in request.stream():
        yield chunk
