"""What an office may ask this connector over HTTP, and what an office that has no door of its own tells it."""

import hmac
import json
from http import HTTPStatus
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import JSONResponse

from connectors.immigration.desk import Desk
from connectors.immigration.offices import Offices
from connectors.immigration.standings import Standings
from connectors.immigration.validity import Validity
from connectors.link.clock import Clock
from connectors.link.fault import SpoolFull
from contracts.wire.instant import write_instant

ANSWERS_BYTES_MAX = 1024**2
ANSWERS_MAX = 1_000
RETRY_AFTER_S = "15"
_NO_STORE = {"Cache-Control": "no-store"}

_log = structlog.get_logger()

Authorization = Annotated[str | None, Header()]


class Access:
    """Who may see recommendations and tell answers: who has the token; without one, only this machine asks."""

    def __init__(self, token: str | None, *, loopback: bool) -> None:
        self._token = token
        self._loopback = loopback

    def refusal(self, authorization: str | None) -> Response | None:
        """Return why a request is refused, or None."""
        if self._token is None:
            says = "Set PULL_TOKEN_FILE: without a token this is answered on a loopback address only."
            return None if self._loopback else _problem(HTTPStatus.FORBIDDEN, says)
        if hmac.compare_digest((authorization or "").encode(), f"Bearer {self._token}".encode()):
            return None
        says = "Send the token of PULL_TOKEN_FILE as a bearer token."
        return _problem(HTTPStatus.UNAUTHORIZED, says, {"WWW-Authenticate": "Bearer"})


def create_router(desk: Desk, standings: Standings, offices: Offices, access: Access, clock: Clock) -> APIRouter:
    """Return the routes `GET /valid`, `GET /recommendations/{number}` and `POST /offices/{name}/answers`."""
    router = APIRouter()
    _add_questions(router, desk, standings, access, clock)

    @router.post("/offices/{name}/answers")
    async def take_answers(name: str, request: Request, authorization: Authorization = None) -> Response:
        """Take an office's answers, durably before this is answered; the same again changes nothing."""
        refusal = access.refusal(authorization)
        if refusal is not None:
            return refusal
        office = offices.named(name)
        if office is None or office.door != "pull":
            return _problem(HTTPStatus.NOT_FOUND, "There is no office of this name with a pull door.")
        answers = await _read_answers(request)
        if answers is None:
            says = f'Send {{"answers": [...]}} in JSON, at most {ANSWERS_MAX} objects and {ANSWERS_BYTES_MAX} bytes.'
            return _problem(HTTPStatus.BAD_REQUEST, says)
        try:
            taken = await desk.take(name, answers)
        except SpoolFull as fault:
            return _problem(HTTPStatus.SERVICE_UNAVAILABLE, str(fault), {"Retry-After": RETRY_AFTER_S})
        refused = [{"key": key, "why": why} for key, why in taken.refusals]
        return JSONResponse({"taken": taken.count - len(refused), "refused": refused})

    return router


def _add_questions(router: APIRouter, desk: Desk, standings: Standings, access: Access, clock: Clock) -> None:
    @router.get("/valid")
    async def valid(number: str, revision: int | None = None) -> Response:
        """Say whether a recommendation, or one revision of it, is valid now, and why."""
        verdict = desk.valid_now(number, revision)
        return JSONResponse({"number": number, "revision": revision, **_told(verdict, clock)}, headers=_NO_STORE)

    @router.get("/recommendations/{number}")
    async def read_recommendation(number: str, authorization: Authorization = None) -> Response:
        """Give the newest revision of a recommendation, and whether it is valid now."""
        refusal = access.refusal(authorization)
        if refusal is not None:
            return refusal
        told = _told(desk.valid_now(number, None), clock)
        found = standings.read.content(number)
        if found is None:
            return _problem(HTTPStatus.NOT_FOUND, "There is no such recommendation here.", told=told)
        # Each look at a person's data leaves a trace, which itself tells nothing of the person.
        _log.info("a recommendation was looked up", number=number, revision=found[0])
        return Response(_write_content(number, found, told), media_type="application/json", headers=_NO_STORE)


def _write_content(number: str, found: tuple[int, str], told: dict[str, str]) -> bytes:
    """Return the answer's bytes; the content is put in as it is kept."""
    head = JSONResponse({"number": number, "revision": found[0], **told}).body
    return bytes(head)[:-1] + b',"recommendation":' + found[1].encode() + b"}"


def _told(verdict: Validity, clock: Clock) -> dict[str, str]:
    return {"status": verdict.status, "why": verdict.why, "as_of": write_instant(clock())}


async def _read_answers(request: Request) -> list[dict[str, Any]] | None:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > ANSWERS_BYTES_MAX:
            return None
    try:
        answers = json.loads(bytes(body))["answers"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    well_formed = isinstance(answers, list) and all(isinstance(each, dict) for each in answers)
    return answers if well_formed and len(answers) <= ANSWERS_MAX else None


def _problem(
    status: HTTPStatus, detail: str, headers: dict[str, str] | None = None, told: dict[str, str] | None = None
) -> Response:
    """Return a problem document (RFC 9457)."""
    body: dict[str, Any] = {"type": "about:blank", "title": status.phrase, "status": int(status), "detail": detail}
    if told is not None:
        body["validity"] = told
    return JSONResponse(body, status, {**_NO_STORE, **(headers or {})}, "application/problem+json")
