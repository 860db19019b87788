"""Errors of the API, as problem details (RFC 9457). None repeats anything that a caller sent."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, NoReturn

import asyncpg
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from hub.trust import RegistryAbsent

PROBLEMS = "https://contracts.tkahub.example/problems"
MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = "5"
_DOCUMENT = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string", "format": "uri"},
    },
}
_ANSWER = {"description": "A problem document (RFC 9457).", "content": {MEDIA_TYPE: {"schema": _DOCUMENT}}}
#: What any route may answer beside what was asked for, as OpenAPI says it; it takes the place of FastAPI's own 422.
RESPONSES: dict[int | str, dict[str, Any]] = {"4XX": _ANSWER, "5XX": _ANSWER}

log = structlog.get_logger(__name__)


class Problem(Exception):
    """An answer other than the one asked for. `slug` is stable; `detail` is a sentence for the caller's engineer."""

    def __init__(self, status: HTTPStatus, slug: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(slug)
        self.status = status
        self.slug = slug
        self.detail = detail
        self.headers = dict(headers or {})


def unauthenticated(slug: str, detail: str) -> Problem:
    """Return the 401 that says what is wrong with a client assertion (RFC 6750 section 3)."""
    return Problem(HTTPStatus.UNAUTHORIZED, slug, detail, {"WWW-Authenticate": 'Bearer error="invalid_token"'})


def render(request: Request, problem: Problem) -> JSONResponse:
    """Return the problem document; its `instance` is the request's id (RFC 9457 section 3.1.5)."""
    body = {
        "type": f"{PROBLEMS}/{problem.slug}",
        "title": problem.status.phrase,
        "status": int(problem.status),
        "detail": problem.detail,
        "instance": f"urn:uuid:{request.state.request_id}",
    }
    return JSONResponse(body, problem.status, problem.headers, MEDIA_TYPE)


async def answer(request: Request, problem: Problem) -> Response:
    """Answer a person with a page, where the application has pages, and a program with the problem document."""
    as_page = getattr(request.app.state, "render_problem", None)
    page: Response | None = None if as_page is None else await as_page(request, problem)
    return render(request, problem) if page is None else page


async def _on_problem(request: Request, error: Exception) -> Response:
    if not isinstance(error, Problem):
        raise error
    return await answer(request, error)


async def _on_http_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    status = HTTPStatus(error.status_code)
    return await answer(
        request, Problem(status, status.phrase.lower().replace(" ", "-"), status.description + ".", error.headers)
    )


async def _on_invalid_request(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    places = sorted({str(fault["loc"][-1]) for fault in error.errors() if fault["loc"]})
    detail = f"These parameters are missing, of the wrong kind or out of range: {', '.join(places)}."
    return await answer(request, Problem(HTTPStatus.BAD_REQUEST, "request-invalid", detail))


async def _on_registry_absent(request: Request, error: Exception) -> Response:
    detail = "The exchange has no registry yet."
    return await answer(
        request, Problem(HTTPStatus.SERVICE_UNAVAILABLE, "registry-absent", detail, {"Retry-After": RETRY_AFTER_S})
    )


async def _on_database_error(request: Request, error: Exception) -> Response:
    log.warning("api.database_unreachable", reason=type(error).__name__)
    detail = "The exchange cannot reach its database just now."
    return await answer(
        request, Problem(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", detail, {"Retry-After": RETRY_AFTER_S})
    )


async def answer_defect(request: Request, error: Exception) -> Response:
    """Answer a request that met a defect of ours."""
    # The exception's text may quote a message, so that only its kind is logged.
    log.error("api.defect", kind=type(error).__name__)
    return await answer(request, Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "defect", "The exchange failed to answer."))


def describe(*media_types: str) -> dict[int | str, dict[str, Any]]:
    """Return what a route answers that gives bytes of these media types, as OpenAPI says it."""
    return {200: {"content": {media_type: {} for media_type in media_types}}}


def install(app: FastAPI) -> None:
    """Make `app` answer every error with a problem document."""
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(RegistryAbsent, _on_registry_absent)
    for kind in (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        app.add_exception_handler(kind, _on_database_error)


def refuse(status: HTTPStatus, slug: str, detail: str) -> NoReturn:
    """Answer the request in hand with a problem."""
    raise Problem(status, slug, detail)
