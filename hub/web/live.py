"""An applicant's file as it moves: server-sent events, for whoever opened it with its number and secret.

    id     names the state: a listener that comes back with it in `Last-Event-ID` hears nothing until the next change
    data   stage, whose turn, since when, by when: what the page shows first, and nothing about a person

The page itself needs none of it. Listeners are bounded, together and for each application; each is sent away after a
while, and comes back by itself. A session that ended ends its stream.
"""

import asyncio
import hashlib
import json
from collections import Counter as Tally
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from contracts.wire.instant import write_instant
from hub.accounts import Role
from hub.progress import Progress
from hub.web.counter import Counter
from hub.web.people import People
from hub.web.problems import Problem, describe, refuse

MEDIA_TYPE = "text/event-stream"
LISTENERS_MAX = 100
LISTENERS_OF_ONE_MAX = 3
LOOK_EVERY_S = 5.0
ALIVE_EVERY_S = 15.0
LIFETIME_S = 600.0
RETRY_MS = 5_000
RETRY_AFTER_S = "60"
ID_HEX_DIGITS = 16


def write_event(file: Progress) -> tuple[str, str]:
    """Return a state's id, and the event that tells it."""
    clock = file.clock
    told: dict[str, Any] = {
        "stage": file.stage.value,
        "holder": file.holder.value,
        "since": write_instant(file.since),
        "due_on": None if clock is None or clock.due_on is None else clock.due_on.isoformat(),
        "paused": clock is not None and clock.paused,
        "overdue": clock is not None and clock.overdue,
        "owed": len(file.owed),
    }
    data = json.dumps(told)
    identity = hashlib.sha256(data.encode()).hexdigest()[:ID_HEX_DIGITS]
    return identity, f"id: {identity}\nevent: status\ndata: {data}\n\n"


class Gallery:
    """The listeners that there are."""

    def __init__(self, counter: Counter, people: People, look_every_s: float = LOOK_EVERY_S) -> None:
        self._counter = counter
        self._people = people
        self._look_every_s = look_every_s
        self._listening: Tally[str] = Tally()

    def take_seat(self, application: str) -> None:
        """Count a listener. Raises Problem (503) where there are too many."""
        if self._listening.total() >= LISTENERS_MAX or self._listening[application] >= LISTENERS_OF_ONE_MAX:
            detail = "There are too many listeners: look at the page instead, or come back later."
            headers = {"Retry-After": RETRY_AFTER_S}
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "listeners-limited", detail, headers)
        self._listening[application] += 1

    async def listen(self, request: Request, application: str, known: str) -> AsyncIterator[str]:
        """Yield the state and each that follows it, and a comment now and then; the seat is free afterwards."""
        try:
            loop = asyncio.get_running_loop()
            began = spoke = loop.time()
            yield f"retry: {RETRY_MS}\n\n"
            while loop.time() - began < LIFETIME_S:
                person = await self._people.find(request)
                file = None if person is None else await self._counter.read_file(application)
                if person is None or person.application != application or file is None:
                    return
                identity, event = write_event(file)
                if identity != known:
                    known, spoke = identity, loop.time()
                    yield event
                elif loop.time() - spoke >= ALIVE_EVERY_S:
                    spoke = loop.time()
                    yield ": alive\n\n"
                if await _ends_within(request, self._look_every_s):
                    return
        finally:
            self._listening[application] -= 1
            # A counter keeps what it counted down to nothing.
            self._listening = +self._listening


async def _ends_within(request: Request, wait_s: float) -> bool:
    """Wait; return whether the server was told to end meanwhile."""
    stop: asyncio.Event | None = getattr(request.app.state, "stop", None)
    if stop is None:
        await asyncio.sleep(wait_s)
        return False
    try:
        async with asyncio.timeout(wait_s):
            await stop.wait()
    except TimeoutError:
        return False
    return True


def create_router(gallery: Gallery, people: People) -> APIRouter:
    """Return the route."""
    router = APIRouter()

    @router.get("/api/v1/status/events", response_class=Response, responses=describe(MEDIA_TYPE))
    async def follow_file(request: Request) -> Response:
        """Give the file that this session opened as it moves, as server-sent events."""
        person = await people.find(request)
        if person is None or person.role is not Role.APPLICANT or person.application is None:
            refuse(HTTPStatus.UNAUTHORIZED, "session-missing", "Open the file at /status first.")
        gallery.take_seat(person.application)
        known = request.headers.get("last-event-id", "")
        headers = {"X-Accel-Buffering": "no"}
        return StreamingResponse(
            gallery.listen(request, person.application, known), media_type=MEDIA_TYPE, headers=headers
        )  # fmt: skip

    return router
