"""`POST /events`: the door for systems that cannot offer a table. Answered only once the fact is on disk in the spool.

    Authorization: Bearer <a line of EVENTS_TOKEN_FILE>
    Idempotency-Key: <the system's own identity of the fact>
    {"at": "2026-03-02T08:00:00+07:00", "kind": "LENGKAP", "application_number": "RPTKA/1", "payload": {...}}

202: stored now. 200: this very fact was stored before. Errors are problem details (RFC 9457) and repeat nothing that
was sent. After any answer of 5xx, or none, the same call is made again: the key keeps it from counting twice
(draft-ietf-httpapi-idempotency-key-header).
"""

import re
from collections.abc import Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from prometheus_client import CollectorRegistry, Counter

from connectors.link import failpoint
from connectors.link.fact import Author
from connectors.link.fault import ClaimTaken
from connectors.link.message import content_digest, judge
from connectors.link.problem import (
    METHODS,
    Problem,
    answer_call,
    check_post,
    check_token,
    fact_unfit,
    members_wrong,
    read_body,
    read_members,
)
from connectors.link.spool import Spool
from connectors.ministry.translate import NativeRow, Untranslatable, translate_row
from contracts.errors import Refusal

PATH: Final = "/events"
DOOR: Final = "rest"
BODY_BYTES_MAX: Final = 128 * 1024

_MEMBERS = frozenset(("at", "kind", "application_number", "payload"))
_key_of = re.compile(r'"?([A-Za-z0-9._:/-]{1,200})"?').fullmatch


class EventsDoor:
    """Takes facts by HTTP into the spool."""

    def __init__(self, spool: Spool, author: Author, tokens: Sequence[bytes], metrics: CollectorRegistry) -> None:
        self._spool = spool
        self._author = author
        self._tokens = tokens
        self._answers = Counter(
            "tkahub_connector_events_answers", "Answers of POST /events, by status", ["status"], registry=metrics
        )

    def routes(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter()
        router.add_api_route(PATH, self._answer, methods=METHODS)
        return router

    async def _answer(self, request: Request) -> JSONResponse:
        """Answer whatever happens; a problem is told in RFC 9457's form."""
        answer = await answer_call(request, self._take)
        failpoint.reach("events.before_answer")
        self._answers.labels(answer.status_code).inc()
        return answer

    async def _take(self, request: Request) -> tuple[HTTPStatus, dict[str, Any]]:
        check_post(request)
        check_token(request, self._tokens)
        key = _key_of(request.headers.get("idempotency-key", ""))
        if key is None:
            says = "Give Idempotency-Key: 1 to 200 letters, digits and . _ : / - that name this fact for ever."
            raise Problem(HTTPStatus.BAD_REQUEST, "idempotency-key-invalid", says)
        row = read_event(await read_body(request, BODY_BYTES_MAX), key[1])
        return await self._store(row)

    async def _store(self, row: NativeRow) -> tuple[HTTPStatus, dict[str, Any]]:
        """Put the fact into the spool in one durable transaction, unless its key was used for another."""
        try:
            event = translate_row(row)
            # Judged before anything is stored under the key, so that the corrected fact may come under it.
            judge(self._author, event, row.at)
        except (Untranslatable, Refusal) as reason:
            # Correcting the body would not help under a key that stands for another fact, so that is what is told.
            if await self._spool.fact_by_key(row.native_key) is not None:
                raise _reused() from None
            raise fact_unfit(str(reason.code), reason.detail) from None
        claims = {row.native_key: content_digest(event).hex()}
        failpoint.reach("events.before_put")
        try:
            [put] = await self._spool.put([event], claims=claims)
        except ClaimTaken:
            raise _reused() from None
        failpoint.reach("events.after_put")
        if put.outcome == "conflict":
            raise _reused()
        if put.outcome == "unfit":
            raise fact_unfit(put.code or "", put.detail or "")
        status = HTTPStatus.ACCEPTED if put.outcome == "new" else HTTPStatus.OK
        return status, {"event_id": put.event_id, "sequence": put.sequence, "repeated": put.outcome == "again"}


def _reused() -> Problem:
    says = "This Idempotency-Key was used for another fact, which stands."
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "idempotency-key-reused", says)


def read_event(body: bytes, key: str) -> NativeRow:
    """Read the body of a call. Raises Problem."""
    members = read_members(body, _MEMBERS)
    kind, application, payload = members["kind"], members["application_number"], members["payload"]
    if not isinstance(kind, str) or not isinstance(application, str | None) or not isinstance(payload, dict):
        raise members_wrong("kind is a text, application_number a text or null, payload an object.")
    return NativeRow(f"{DOOR}/{key}", _read_instant(members["at"]), kind, application, payload)


def _read_instant(text: Any) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        at = None
    if at is None or at.tzinfo is None:
        says = "at is a time with its zone, as 2026-03-02T08:00:00+07:00."
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "at-invalid", says)
    return at
