"""The connector's HTTP door: liveness, readiness, metrics and a status page, beside whatever the agency adds."""

from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import HTMLResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException

from connectors.link.metrics import LinkMetrics
from connectors.link.problem import Problem
from connectors.link.status import StatusBoard

STATUS_OK = 200
STATUS_UNAVAILABLE = 503
_PAGE_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}


def open_door() -> FastAPI:
    """Return an application that has no routes yet, and answers what no route takes with a problem (RFC 9457)."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.add_exception_handler(HTTPException, _answer_unmatched)
    return app


def build_app(board: StatusBoard, metrics: LinkMetrics, routes: APIRouter | None) -> FastAPI:
    """Return the application. Ready means: a fact that is handed over now can be stored durably."""
    app = open_door()

    @app.get("/healthz")
    async def alive() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/readyz")
    async def ready(response: Response) -> dict[str, Any]:
        found = await board.readiness()
        response.status_code = STATUS_OK if found["ready"] else STATUS_UNAVAILABLE
        return found

    @app.get("/status")
    async def show() -> HTMLResponse:
        return HTMLResponse(await board.page(), headers=_PAGE_HEADERS)

    @app.get("/metrics")
    async def measure() -> Response:
        await board.measure()
        return Response(generate_latest(metrics.collected), media_type=CONTENT_TYPE_LATEST)

    if routes is not None:
        app.include_router(routes)
    return app


async def _answer_unmatched(request: Request, error: Exception) -> Response:
    """Answer what no route takes as everything else is answered (RFC 9457)."""
    if not isinstance(error, HTTPException):
        raise error
    status = HTTPStatus(error.status_code)
    allowed = {name.lower(): value for name, value in (error.headers or {}).items()}
    return Problem(status, status.phrase.lower().replace(" ", "-"), f"{status.description}.", **allowed).render()
