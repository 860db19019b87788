"""Liveness, readiness and figures: the routes that every process of the hub serves."""

import time
from http import HTTPStatus

from fastapi import APIRouter, FastAPI, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from hub.health import Health
from hub.web import description, problems
from hub.web.frame import Frame
from hub.web.limits import Limiter

_SENTENCES = {"type": "object", "additionalProperties": {"type": "string"}}
READINESS = {
    "application/json": {
        "schema": {
            "type": "object",
            "required": ["status", "problems", "notes"],
            "properties": {"status": {"enum": ["ok", "not ready"]}, "problems": _SENTENCES, "notes": _SENTENCES},
        }
    }
}


def create_router(health: Health) -> APIRouter:
    """Return the probes' routes, with `health` as what readiness knows."""
    router = APIRouter()
    started = time.monotonic()

    @router.get("/healthz")
    async def healthz() -> dict[str, object]:
        """Say that the process lives; an outage of Kafka or PostgreSQL is no reason to kill it."""
        return {"status": "ok", "uptime_s": round(time.monotonic() - started, 1)}

    @router.get("/readyz", responses={503: {"description": "Some part does not work", "content": READINESS}})
    async def readyz() -> JSONResponse:
        """Say whether every part works, and what keeps those that do not."""
        found = health.problems()
        status = HTTPStatus.SERVICE_UNAVAILABLE if found else HTTPStatus.OK
        state = "not ready" if found else "ok"
        return JSONResponse({"status": state, "problems": found, "notes": health.notes()}, status)

    @router.get("/metrics", response_class=Response, responses=problems.describe("text/plain"))
    def figures() -> Response:
        """Give the figures in Prometheus' text format."""
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return router


def create_app(health: Health, *routers: APIRouter, limiter: Limiter | None = None) -> FastAPI:
    """Return an application with the probes, the given routers, problem documents and framed answers.

    `limiter` counts requests by address.
    """
    app = FastAPI(
        title="TKA exchange hub",
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/v1/openapi.json",
        version="1",
        responses=problems.RESPONSES,
    )
    app.include_router(create_router(health))
    for router in routers:
        app.include_router(router)
    problems.install(app)
    description.install(app)
    app.add_middleware(Frame, limiter=limiter)
    return app
