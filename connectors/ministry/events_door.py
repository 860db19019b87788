"""`POST /events`: the door for systems that cannot offer a table. Answered only once the fact is on disk in the spool.

    Authorization: Bearer <a line of EVENTS_TOKEN_FILE>
    Idempotency-Key: <the system's own identity of the fact>
    {"at": "2026-03-02T08:00:00+07:00", "kind": "LENGKAP", "application_number": "RPTKA/1", "payload": {...}}

202: stored now. 200: this very fact was stored before. Errors are problem details (RFC 9457) and repeat nothing that
was sent. After any answer of 5xx, or none, the same call is made again: the key keeps it from counting twice
(draft-ietf-httpapi-idempotency-key-header).
"""

import asyncio
import hashlib
import hmac
import re
from collections.abc import Sequence
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import jiter
import structlog
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from prometheus_client import CollectorRegistry, Counter
from starlette.requests import ClientDisconnect

from connectors.link import failpoint
from connectors.link.fact import Author
from connectors.link.fault import ClaimTaken, SettingsFault, SpoolFull
from connectors.link.message import compose, content_digest
from connectors.link.retry import where
from connectors.link.spool import Spool
from connectors.ministry.translate import NativeRow, Untranslatable, translate_row
from contracts.errors import Refusal

PATH: Final = "/events"
DOOR: Final = "rest"
BODY_BYTES_MAX: Final = 128 * 1024
BODY_S_MAX: Final = 10.0
RETRY_AFTER_S: Final = "15"
#: What the message is judged with: as long as any that it may get.
SEQUENCE_MAX: Final = 2**53 - 1
NONCE: Final = "A" * 22
TOKENS_MAX: Final = 2
TOKEN_LENGTH_MIN: Final = 32

_PROBLEMS = "https://contracts.tkahub.example/problems"
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]
_MEMBERS = frozenset(("at", "kind", "application_number", "payload"))
_key_of = re.compile(r'"?([A-Za-z0-9._:/-]{1,200})"?').fullmatch

_log = structlog.get_logger()


class Problem(Exception):
    """An answer other than the one asked for; `detail` is a sentence for the caller's engineer."""

    def __init__(self, status: HTTPStatus, slug: str, detail: str, **more: str) -> None:
        super().__init__(slug)
        self.status = status
        self.slug = slug
        self.detail = detail
        self.more = more


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
        router.add_api_route(PATH, self._answer, methods=_METHODS)
        return router

    async def _answer(self, request: Request) -> JSONResponse:
        """Answer whatever happens; a problem is told in RFC 9457's form."""
        try:
            status, body = await self._take(request)
            answer = JSONResponse(body, status)
        except Problem as problem:
            answer = _render(problem)
        except ClientDisconnect:
            answer = _render(Problem(HTTPStatus.BAD_REQUEST, "body-incomplete", "The body ended too early."))
        except SpoolFull as fault:
            _log.error("an event was not taken", why=str(fault))
            says = "The connector's disk is full. Keep the fact and send it again."
            answer = _render(Problem(HTTPStatus.SERVICE_UNAVAILABLE, "spool-full", says, retry_after=RETRY_AFTER_S))
        except Exception as error:  # noqa: BLE001  # The caller needs an answer in this form whatever broke.
            _log.error("an event was not taken", error=where(error))
            says = "The connector failed. Keep the fact and send it again."
            answer = _render(Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal-error", says))
        failpoint.reach("events.before_answer")
        self._answers.labels(answer.status_code).inc()
        return answer

    async def _take(self, request: Request) -> tuple[HTTPStatus, dict[str, Any]]:
        if request.method != "POST":
            raise Problem(HTTPStatus.METHOD_NOT_ALLOWED, "method-not-allowed", "Only POST is known here.", allow="POST")
        self._authenticate(request)
        key = _key_of(request.headers.get("idempotency-key", ""))
        if key is None:
            says = "Give Idempotency-Key: 1 to 200 letters, digits and . _ : / - that name this fact for ever."
            raise Problem(HTTPStatus.BAD_REQUEST, "idempotency-key-invalid", says)
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != "application/json":
            says = "The body has to be application/json."
            raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "content-type-wrong", says)
        row = read_event(await _read_body(request), key[1])
        return await self._store(row)

    def _authenticate(self, request: Request) -> None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        given = hashlib.sha256(token.strip().encode()).digest()
        # Every token is compared, so that the time says nothing of which one it was.
        known = [hmac.compare_digest(given, hashlib.sha256(each).digest()) for each in self._tokens]
        if scheme.lower() != "bearer" or not any(known):
            says = "Give Authorization: Bearer and the token that the connector's operator gave you."
            raise Problem(HTTPStatus.UNAUTHORIZED, "token-invalid", says, www_authenticate="Bearer")

    async def _store(self, row: NativeRow) -> tuple[HTTPStatus, dict[str, Any]]:
        """Put the fact into the spool in one durable transaction, unless its key was used for another."""
        try:
            event = translate_row(row)
            # Judged before anything is stored under the key, so that the corrected fact may come under it.
            compose(self._author, event, sequence=SEQUENCE_MAX, recorded=row.at, nonce=NONCE)
        except Untranslatable as reason:
            raise _unfit(reason.code, reason.detail) from None
        except Refusal as refusal:
            raise _unfit(str(refusal.code), refusal.detail) from None
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
            raise _unfit(put.code or "", put.detail or "")
        status = HTTPStatus.ACCEPTED if put.outcome == "new" else HTTPStatus.OK
        return status, {"event_id": put.event_id, "sequence": put.sequence, "repeated": put.outcome == "again"}


def _unfit(code: str, detail: str) -> Problem:
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, code.replace("_", "-"), f"The fact cannot be published: {detail}.")


def _reused() -> Problem:
    says = "This Idempotency-Key was used for another fact, which stands."
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "idempotency-key-reused", says)


def _render(problem: Problem) -> JSONResponse:
    body = {
        "type": f"{_PROBLEMS}/{problem.slug}",
        "title": problem.status.phrase,
        "status": int(problem.status),
        "detail": problem.detail,
    }
    headers = {name.replace("_", "-"): value for name, value in problem.more.items()}
    return JSONResponse(body, problem.status, headers, "application/problem+json")


async def _read_body(request: Request) -> bytes:
    """Read the body with a limit on its size and on the time it may take."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_S_MAX):
            async for chunk in request.stream():
                body += chunk
                if len(body) > BODY_BYTES_MAX:
                    says = f"The body may have {BODY_BYTES_MAX} bytes at most."
                    raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body-too-large", says)
    except TimeoutError:
        says = f"The body has to arrive within {BODY_S_MAX:.0f} s."
        raise Problem(HTTPStatus.REQUEST_TIMEOUT, "body-too-slow", says) from None
    return bytes(body)


def read_event(body: bytes, key: str) -> NativeRow:
    """Read the body of a call. Raises Problem."""
    try:
        members = jiter.from_json(body, catch_duplicate_keys=True, float_mode="decimal", allow_inf_nan=False)
    except ValueError:
        says = "The body is no JSON in UTF-8, or a name stands twice in one of its objects."
        raise Problem(HTTPStatus.BAD_REQUEST, "json-invalid", says) from None
    if not isinstance(members, dict) or members.keys() != _MEMBERS:
        says = f"The body has to be an object of exactly {', '.join(sorted(_MEMBERS))}."
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "members-wrong", says)
    kind, application, payload = members["kind"], members["application_number"], members["payload"]
    if not isinstance(kind, str) or not isinstance(application, str | None) or not isinstance(payload, dict):
        says = "kind is a text, application_number a text or null, payload an object."
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "members-wrong", says)
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


def read_tokens(file: Path) -> list[bytes]:
    """Return the tokens of EVENTS_TOKEN_FILE: one line, or two during a change. Raises SettingsFault."""
    try:
        lines = file.read_bytes().split()
        mode = file.stat().st_mode
    except OSError as error:
        raise SettingsFault(f"EVENTS_TOKEN_FILE {file} cannot be read: {error.strerror}.") from None
    if mode & 0o077:
        raise SettingsFault(f"EVENTS_TOKEN_FILE {file} can be read by others: chmod 600 it.")
    if not 1 <= len(lines) <= TOKENS_MAX or min(map(len, lines)) < TOKEN_LENGTH_MIN:
        raise SettingsFault(
            f"EVENTS_TOKEN_FILE {file} must hold one token, or two during a change, each of {TOKEN_LENGTH_MIN}"
            " characters or more."
        )
    return lines
