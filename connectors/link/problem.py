"""A call at a door of plain HTTP: its token, its body, and the problem (RFC 9457) that it is answered with otherwise.

Problems repeat nothing that was sent. After any answer of 5xx, or none, the same call is made again.
"""

import asyncio
import hashlib
import hmac
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import jiter
import structlog
from fastapi import Request
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect

from connectors.link.fault import SettingsFault, SpoolFull
from connectors.link.retry import where
from keys.fault import KeyFault
from keys.files import read_secret

BODY_S_MAX: Final = 10.0
RETRY_AFTER_S: Final = "15"
TOKENS_MAX: Final = 2
TOKEN_LENGTH_MIN: Final = 32
#: For a route: every method is answered by the door itself, so that a wrong one is a problem too.
METHODS: Final = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]

_PROBLEMS = "https://contracts.tkahub.example/problems"

_log = structlog.get_logger()


class Problem(Exception):
    """An answer other than the one asked for; `detail` is a sentence for the caller's engineer."""

    def __init__(self, status: HTTPStatus, slug: str, detail: str, **more: str) -> None:
        super().__init__(slug)
        self.status = status
        self.slug = slug
        self.detail = detail
        self.more = more

    def render(self) -> JSONResponse:
        """Return the answer; `more` are its headers."""
        body = {
            "type": f"{_PROBLEMS}/{self.slug}",
            "title": self.status.phrase,
            "status": int(self.status),
            "detail": self.detail,
        }
        headers = {name.replace("_", "-"): value for name, value in self.more.items()}
        return JSONResponse(body, self.status, headers, "application/problem+json")


async def answer_call(
    request: Request, take: Callable[[Request], Awaitable[tuple[HTTPStatus, dict[str, Any]]]]
) -> JSONResponse:
    """Answer with what `take` returns, whatever happens."""
    try:
        status, body = await take(request)
        return JSONResponse(body, status)
    except Problem as problem:
        return problem.render()
    except ClientDisconnect:
        return Problem(HTTPStatus.BAD_REQUEST, "body-incomplete", "The body ended too early.").render()
    except SpoolFull as fault:
        _log.error("a fact was not taken", why=str(fault))
        says = "The connector's disk is full. Keep the fact and send it again."
        return Problem(HTTPStatus.SERVICE_UNAVAILABLE, "spool-full", says, retry_after=RETRY_AFTER_S).render()
    except Exception as error:  # noqa: BLE001  # The caller needs an answer in this form whatever broke.
        _log.error("a fact was not taken", error=where(error))
        says = "The connector failed. Keep the fact and send it again."
        return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal-error", says).render()


def check_post(request: Request) -> None:
    """Refuse every method but POST. Raises Problem."""
    if request.method != "POST":
        raise Problem(HTTPStatus.METHOD_NOT_ALLOWED, "method-not-allowed", "Only POST is known here.", allow="POST")


def check_token(request: Request, tokens: Sequence[bytes]) -> None:
    """Refuse who does not show one of the tokens. Raises Problem."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    given = hashlib.sha256(token.strip().encode()).digest()
    # Every token is compared, so that the time says nothing of which one it was.
    known = [hmac.compare_digest(given, hashlib.sha256(each).digest()) for each in tokens]
    if scheme.lower() != "bearer" or not any(known):
        says = "Give Authorization: Bearer and the token that the connector's operator gave you."
        raise Problem(HTTPStatus.UNAUTHORIZED, "token-invalid", says, www_authenticate="Bearer")


async def read_body(request: Request, bytes_max: int) -> bytes:
    """Read a body that says it is JSON, with a limit on its size and on the time it may take. Raises Problem."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        says = "The body has to be application/json."
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "content-type-wrong", says)
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_S_MAX):
            async for chunk in request.stream():
                body += chunk
                if len(body) > bytes_max:
                    says = f"The body may have {bytes_max} bytes at most."
                    raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body-too-large", says)
    except TimeoutError:
        says = f"The body has to arrive within {BODY_S_MAX:.0f} s."
        raise Problem(HTTPStatus.REQUEST_TIMEOUT, "body-too-slow", says) from None
    return bytes(body)


def read_members(body: bytes, names: frozenset[str]) -> dict[str, Any]:
    """Return the members of a body that is an object of exactly these names. Raises Problem."""
    try:
        members = jiter.from_json(body, catch_duplicate_keys=True, float_mode="decimal", allow_inf_nan=False)
    except ValueError:
        says = "The body is no JSON in UTF-8, or a name stands twice in one of its objects."
        raise Problem(HTTPStatus.BAD_REQUEST, "json-invalid", says) from None
    if not isinstance(members, dict) or members.keys() != names:
        raise members_wrong(f"The body has to be an object of exactly {', '.join(sorted(names))}.")
    return members


def members_wrong(says: str) -> Problem:
    """Return the problem of a body whose members are not as they should be."""
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "members-wrong", says)


def fact_unfit(code: str, detail: str) -> Problem:
    """Return the problem of a fact that the hub would refuse for its form."""
    says = f"The fact cannot be published: {detail}."
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, code.replace("_", "-"), says)


def read_tokens(file: Path, setting: str) -> list[bytes]:
    """Return the tokens of the file that `setting` names: one line, or two during a change. Raises SettingsFault."""
    try:
        lines = read_secret(file).split()
    except KeyFault as fault:
        raise SettingsFault(f"{setting} {file} {fault.says}.") from None
    if not 1 <= len(lines) <= TOKENS_MAX or min(map(len, lines)) < TOKEN_LENGTH_MIN:
        raise SettingsFault(
            f"{setting} {file} must hold one token, or two during a change, each of {TOKEN_LENGTH_MIN}"
            " characters or more."
        )
    return lines
