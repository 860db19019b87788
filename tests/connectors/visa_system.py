"""A visa system behind a real HTTP server: it takes recommendations once, and can be away or refuse on purpose."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request, Response

WAIT_S_MAX = 20.0


@dataclass
class VisaSystemPeer:
    """Its own books; `failures` are the answers it gives before it works again."""

    taken: dict[str, Any] = field(default_factory=dict)
    query_answers: dict[str, Any] = field(default_factory=dict)
    answers: list[dict[str, Any]] = field(default_factory=list)
    failures: list[int] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    called: asyncio.Event = field(default_factory=asyncio.Event)

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.put("/recommendations/{number}/{revision}/{state}")
        async def take(number: str, revision: int, state: str, request: Request) -> Response:
            return await self._take(self.taken, f"{number}/{revision}/{state}", request)

        @app.put("/query-answers/{query_id}")
        async def take_answer(query_id: str, request: Request) -> Response:
            return await self._take(self.query_answers, query_id, request)

        @app.get("/answers")
        async def list_answers(after: int, limit: int) -> Any:
            self._note("answers")
            if self.failures:
                return Response(status_code=self.failures.pop(0))
            return {"answers": [answer for answer in self.answers if answer["id"] > after][:limit]}

        return app

    def _note(self, call: str) -> None:
        self.calls.append(call)
        self.called.set()

    async def _take(self, book: dict[str, Any], name: str, request: Request) -> Response:
        self._note(name)
        self.keys.append(request.headers["idempotency-key"])
        body = await request.json()
        if self.failures:
            return Response(status_code=self.failures.pop(0))
        if name in book:
            return Response(status_code=200 if book[name] == body else 409)
        book[name] = body
        return Response(status_code=201)
