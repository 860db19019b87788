"""The door at which the banks' SNAP calls arrive: access token, inquiry, payment notification.

Every answer is in SNAP's own form, whatever happened. 2002500 leaves only once the payment is on disk in the spool.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Final

import structlog
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from prometheus_client import CollectorRegistry, Counter
from starlette.requests import ClientDisconnect

from connectors.bank import snap, snap_inquiry, snap_payment, snap_token
from connectors.bank.bill import judge_bill
from connectors.bank.book import BankBook
from connectors.bank.payments import Payments
from connectors.bank.profile import Partners
from connectors.bank.snap_answer import (
    BAD_REQUEST,
    BILL_NOT_FOUND,
    BODY_BYTES_MAX,
    EXTERNAL_ERROR,
    GENERAL_ERROR,
    INTERNAL_ERROR,
    INVALID_ROUTING,
    NO_SERVICE,
    NOT_ALLOWED,
    SLOW_REQUEST,
    TIMEOUT,
    UNAUTHORIZED,
    Answer,
    Call,
    SnapRefusal,
    answer_with,
)
from connectors.bank.snap_call import authenticate, check_fresh, check_place, read_timestamp
from connectors.link import failpoint
from connectors.link.clock import Clock
from connectors.link.fault import SpoolFull
from connectors.link.retry import where

BODY_S_MAX = 10.0
ANSWER_S_MAX = 20.0
NONCE_BYTES: Final = 12

_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]

Network = IPv4Network | IPv6Network
_Service = Callable[[Call, Request], Awaitable[Answer]]

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Behind:
    """What the door answers from."""

    partners: Partners
    tokens: snap_token.Tokens
    payments: Payments
    book: BankBook
    clock: Clock
    #: Proxies whose X-Forwarded-For is believed; nobody else's is.
    proxies: Sequence[Network] = ()


class NotificationDoor:
    """Takes the SNAP calls of every partner bank."""

    def __init__(self, behind: Behind, metrics: CollectorRegistry) -> None:
        self._behind = behind
        self._clock = behind.clock
        self._late: set[asyncio.Future[Answer]] = set()
        self._marking: set[asyncio.Task[None]] = set()
        self._answers = Counter(
            "tkahub_connector_snap_answers", "Answers to SNAP calls, by response code", ["code"], registry=metrics
        )

    def routes(self, listener: str | None = None) -> APIRouter:
        """Return the routes; whatever else is asked below /v1.0 is answered in SNAP's form too.

        `listener` names the partner whose own listener these routes are served at.
        """
        router = APIRouter()
        for path, service, answer in (
            (snap_token.PATH, snap_token.SERVICE_CODE, self._grant),
            (snap_inquiry.PATH, snap_inquiry.SERVICE_CODE, self._inquire),
            (snap_payment.PATH, snap_payment.SERVICE_CODE, self._notify),
            ("/v1.0/{rest:path}", NO_SERVICE, self._elsewhere),
        ):
            router.add_route(path, self._endpoint(service, answer, listener), methods=_METHODS)
        return router

    def _endpoint(
        self, service: str, answer: _Service, listener: str | None
    ) -> Callable[[Request], Awaitable[JSONResponse]]:
        async def endpoint(request: Request) -> JSONResponse:
            return self._respond(await self._answer(request, service, answer, listener), service)

        return endpoint

    async def _answer(self, request: Request, service: str, answer: _Service, listener: str | None) -> Answer:
        """Return the answer to a call; whatever happens, there is one."""
        try:
            if service != NO_SERVICE and request.method != "POST":
                raise SnapRefusal(NOT_ALLOWED)
            found = await answer(await self._read_call(request, listener), request)
        except SnapRefusal as refusal:
            found = refusal.answer
        except SpoolFull as fault:
            _log.error("a call was not taken", why=str(fault), service=service)
            found = answer_with(INTERNAL_ERROR)
        except ClientDisconnect:
            found = answer_with(SLOW_REQUEST)
        except Exception as error:  # noqa: BLE001  # The bank needs an answer in SNAP's form whatever broke.
            _log.error("a call was not taken", error=where(error), service=service)
            found = answer_with(GENERAL_ERROR)
        failpoint.reach("notification.before_answer")
        return found

    def _respond(self, answer: Answer, service: str) -> JSONResponse:
        code = answer.case.code(service)
        self._answers.labels(code).inc()
        stamp = self._clock().astimezone(snap.JAKARTA).isoformat(timespec="seconds")
        return JSONResponse(answer.body(service), status_code=answer.case.status, headers={"X-TIMESTAMP": stamp})

    # --- the services ------------------------------------------------------------------------------------------------

    async def _elsewhere(self, call: Call, request: Request) -> Answer:
        return answer_with(INVALID_ROUTING)

    async def _grant(self, call: Call, request: Request) -> Answer:
        """Answer a request for an access token."""
        now = self._clock()
        partner = self._behind.partners.by_client_key.get(call.header("X-CLIENT-KEY"))
        if partner is None:
            raise SnapRefusal(UNAUTHORIZED, "[Unknown client]")
        check_place(call, partner)
        timestamp = read_timestamp(call.header("X-TIMESTAMP"), partner)
        snap_token.verify_request(call, partner.key)
        check_fresh(timestamp, partner, now)
        snap_token.read_grant(call)
        nonce = secrets.token_urlsafe(NONCE_BYTES)
        return snap_token.grant_token(self._behind.tokens.issue(partner.profile.partner_id, now, nonce))

    async def _inquire(self, call: Call, request: Request) -> Answer:
        """Answer whether a bill may be paid."""
        now, book = self._clock(), self._behind.book
        authentic = authenticate(call, self._behind.partners, self._behind.tokens, now)
        inquiry = snap_inquiry.read_inquiry(call, authentic.partner.profile)
        bill = await book.find_bill(inquiry.billing_code)
        case = judge_bill(bill, await book.is_settled(inquiry.billing_code), now)
        if case is None and bill is not None:
            return snap_inquiry.tell_bill(inquiry, bill)
        if bill is None and book.is_stale():
            raise SnapRefusal(EXTERNAL_ERROR)
        return snap_inquiry.refuse_bill(inquiry, case or BILL_NOT_FOUND)

    async def _notify(self, call: Call, request: Request) -> Answer:
        """Answer a payment notification."""
        authentic = authenticate(call, self._behind.partners, self._behind.tokens, self._clock())
        profile = authentic.partner.profile
        notification = snap_payment.read_notification(call, profile, authentic.timestamp)
        # A slow disk must not leave the bank without an answer; the payment may still be taken, and then its repeat
        # is told so.
        taking = asyncio.ensure_future(self._behind.payments.take(notification, profile))
        done, _ = await asyncio.wait({taking}, timeout=ANSWER_S_MAX)
        if not done:
            self._late.add(taking)
            taking.add_done_callback(self._hear_late)
            self._mark(notification, "it was answered with a timeout")
            raise SnapRefusal(TIMEOUT)
        answer = taking.result()
        if authentic.partner.status is not None and await request.is_disconnected():
            self._mark(notification, "the bank had hung up before it was answered")
        return answer

    def _mark(self, notification: snap_payment.Notification, why: str) -> None:
        marking = asyncio.create_task(self._behind.payments.mark_unclear(notification, why))
        self._marking.add(marking)
        marking.add_done_callback(self._hear_marked)

    def _hear_marked(self, marking: "asyncio.Task[None]") -> None:
        self._marking.discard(marking)
        if not marking.cancelled() and (error := marking.exception()) is not None:
            _log.error("a payment whose fate is unclear could not be noted", error=where(error))

    def _hear_late(self, taking: "asyncio.Future[Answer]") -> None:
        self._late.discard(taking)
        if not taking.cancelled() and (error := taking.exception()) is not None:
            _log.error("a notification that had been answered with a timeout was not taken", error=where(error))

    # --- the call as it came -----------------------------------------------------------------------------------------

    async def _read_call(self, request: Request, listener: str | None) -> Call:
        """Read the call with a limit on its size and on the time it may take."""
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_S_MAX):
                async for chunk in _chunks(request):
                    body += chunk
                    if len(body) > BODY_BYTES_MAX:
                        raise SnapRefusal(BAD_REQUEST, f"[the body is larger than {BODY_BYTES_MAX} bytes]")
        except TimeoutError:
            raise SnapRefusal(SLOW_REQUEST) from None
        path = request.scope["raw_path"].decode("latin-1")
        query = request.scope["query_string"].decode("latin-1")
        headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in request.headers.raw]
        peer = request.client.host if request.client is not None else None
        forwarded = [value for name, value in headers if name == "x-forwarded-for"]
        address = find_address(peer, forwarded, self._behind.proxies)
        return Call(request.method, f"{path}?{query}" if query else path, headers, bytes(body), address, listener)


def find_address(peer: str | None, forwarded: Sequence[str], proxies: Sequence[Network]) -> str | None:
    """Return where a call came from: the peer as seen, or what a named trusted proxy says of it.

    The proxy's own word is the last one of X-Forwarded-For; what stands before it anybody can have written.
    """
    hops = [hop.strip() for value in forwarded for hop in value.split(",")]
    address = peer
    while address is not None and hops and _is_proxy(address, proxies):
        address = hops.pop()
    return address


def _is_proxy(address: str, proxies: Sequence[Network]) -> bool:
    try:
        seen = ip_address(address)
    except ValueError:
        return False
    return any(seen in network for network in proxies)


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    async for chunk in request.stream():
        yield chunk
