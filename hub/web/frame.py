"""What every answer has: an id, the security headers, a limit of requests, and a validator that saves a second copy.

    request id   the caller's own if it is a UUID, else a new one; in the answer, in each line logged, in each problem
    limit        by address, before anything is looked at; what somebody may ask who shows who it is, `access` counts
    ETag         of what the API answers to a GET with 200; the same answer again is 304 (RFC 9110 section 13.1.2)

A caller's id that is no UUID is not taken over: whatever may stand in a log must not be a caller's to write.
"""

import hashlib
import re
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import Request
from starlette.datastructures import Headers, MutableHeaders

from hub import metrics
from hub.web import problems
from hub.web.limits import Limiter, Verdict, group_address
from hub.web.problems import Problem

REQUEST_ID = "X-Request-Id"
SECURITY_HEADERS = (
    ("cache-control", "no-store"),
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "interest-cohort=()"),
    ("referrer-policy", "no-referrer"),
    ("strict-transport-security", "max-age=31536000"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
)
# Whoever watches the processes must see them however busy they are.
WITHOUT_LIMIT = frozenset({"/healthz", "/readyz", "/metrics"})
VALIDATED = ("/api/v1/", "/checkpoint")
ETAG_HEX_DIGITS = 32
_is_uuid = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}").fullmatch

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]


def name_request(asked: str | None) -> str:
    """Return the request's id: the one that the caller gave, if it is a UUID in lower case, else a new one."""
    return asked if asked is not None and _is_uuid(asked) else str(uuid.uuid4())


def tag_of(content: bytes) -> str:
    """Return the strong ETag of an answer's bytes."""
    return f'"{hashlib.sha256(content).hexdigest()[:ETAG_HEX_DIGITS]}"'


def is_known(tag: str, if_none_match: str) -> bool:
    """Whether the caller says that it has what this ETag names (weak comparison, RFC 9110 section 8.8.3.2)."""
    known = {one.strip().removeprefix("W/") for one in if_none_match.split(",")}
    return tag in known or "*" in known


def note_verdict(request: Request, verdict: Verdict | None) -> None:
    """Let the answer's headers say how much of a quota is left. Raises Problem (429) if nothing was."""
    if verdict is None:
        return
    request.scope["state"]["verdict"] = verdict
    if not verdict.allowed:
        detail = f"The quota of {verdict.quota.requests} requests a minute is used up: ask again after Retry-After."
        raise Problem(HTTPStatus.TOO_MANY_REQUESTS, "rate-limited", detail, verdict.headers())


class _Answer:
    """Sends one answer: adds what every answer has, and holds one that the caller may have back until it is known."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope = scope
        self._send = send
        self._start: Message | None = None
        self.began = False
        headers = Headers(scope=scope)
        self._if_none_match = headers.get("if-none-match", "")
        self._validates = scope["method"] == "GET" and scope["path"].startswith(VALIDATED)

    async def send(self, message: Message) -> None:
        """Pass a message on (ASGI)."""
        if message["type"] == "http.response.start":
            headers = self._add_headers(message)
            if self._validates and message["status"] == HTTPStatus.OK and "etag" not in headers:
                self._start = message
                return
            self.began = True
        elif self._start is not None:
            self.began = True
            message = await self._validate(self._start, message)
            self._start = None
        await self._send(message)

    def _add_headers(self, message: Message) -> MutableHeaders:
        headers = MutableHeaders(scope=message)
        for name, value in SECURITY_HEADERS:
            headers.setdefault(name, value)
        headers[REQUEST_ID] = self._scope["state"]["request_id"]
        verdict: Verdict | None = self._scope["state"].get("verdict")
        for name, value in ({} if verdict is None else verdict.headers()).items():
            headers[name] = value
        route = getattr(self._scope.get("route"), "path", "unknown")
        metrics.API_REQUESTS.labels(route, str(message["status"])).inc()
        return headers

    async def _validate(self, start: Message, message: Message) -> Message:
        """Send the start that was held back and return the body, which is empty where the caller has it."""
        # An answer that comes in pieces is a stream, which nobody has whole.
        if message.get("more_body", False):
            await self._send(start)
            return message
        headers = MutableHeaders(scope=start)
        headers["ETag"] = tag = tag_of(message.get("body", b""))
        if is_known(tag, self._if_none_match):
            start["status"] = int(HTTPStatus.NOT_MODIFIED)
            del headers["content-length"]
            message = {"type": "http.response.body", "body": b""}
        await self._send(start)
        return message


class Frame:
    """Frames every answer, and counts it under its route, never under the path that was asked."""

    def __init__(self, app: Asgi, limiter: Limiter | None) -> None:
        self._app = app
        self._limiter = limiter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        identity = name_request(request.headers.get(REQUEST_ID))
        scope.setdefault("state", {})["request_id"] = identity
        answer = _Answer(scope, send)
        with structlog.contextvars.bound_contextvars(request_id=identity):
            try:
                self._count(request)
            except Problem as problem:
                response = await problems.answer(request, problem)
                await response(scope, receive, answer.send)
                return
            try:
                await self._app(scope, receive, answer.send)
            except Exception as error:  # A defect is told like any other problem, with the same headers.
                response = await problems.answer_defect(request, error)
                if answer.began:
                    raise
                await response(scope, receive, answer.send)

    def _count(self, request: Request) -> None:
        """Count the request by where it comes from. Raises Problem (429)."""
        if self._limiter is None or request.url.path in WITHOUT_LIMIT:
            return
        address = "unknown" if request.client is None else group_address(request.client.host)
        # What claims to be somebody is counted apart, so that strangers at the same address do not shut it out.
        kind = "claiming" if "authorization" in request.headers else "anonymous"
        note_verdict(request, self._limiter.take(f"{kind} {address}", time.monotonic()))
