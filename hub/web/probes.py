"""Liveness, readiness and figures: the routes that every process of the hub serves."""

import time
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, FastAPI, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from hub import metrics
from hub.health import Health
from hub.web import problems

SECURITY_HEADERS = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"interest-cohort=()"),
    (b"referrer-policy", b"no-referrer"),
    (b"strict-transport-security", b"max-age=31536000"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)

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

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]


class Frame:
    """Puts the security headers on every answer and counts it under its route, never under the path that was asked."""

    def __init__(self, app: Asgi) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_framed(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name for name, _ in message["headers"]}
                added = [(name, value) for name, value in SECURITY_HEADERS if name not in present]
                message["headers"] = [*message["headers"], *added]
                route = getattr(scope.get("route"), "path", "unknown")
                metrics.API_REQUESTS.labels(route, str(message["status"])).inc()
            await send(message)

        await self._app(scope, receive, send_framed)


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


def create_app(health: Health, *routers: APIRouter) -> FastAPI:
    """Return an application with the probes, the given routers, problem documents and security headers."""
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
    app.add_middleware(Frame)
    return app
