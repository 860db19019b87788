"""A request that changes something, sent twice, changes it once: the caller names it by an `Idempotency-Key`.

Key, change and answer are one transaction, so that a request which was cut off is either done and answered alike
ever after, or as if it had never come. The same key for another request is refused (422). What was refused kept
nothing, and may be tried again under its key.
"""

import hashlib
import re
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Header, Request, Response
from fastapi.responses import JSONResponse

from hub.clock import utc_now
from hub.store import answers
from hub.store.database import Connection, Database
from hub.web.problems import refuse

KEPT_FOR = timedelta(hours=24)
KEY_CHARACTERS_MAX = 64
#: Printable ASCII, between quotes as the draft has it (a structured field's string) or bare, as many clients send it.
KEY_PATTERN = r'^(?:"[!#-~]{1,64}"|[!#-~]{1,64})$'
REPLAYED = "Idempotency-Replayed"
_is_key = re.compile(KEY_PATTERN.removeprefix("^").removesuffix("$")).fullmatch

IdempotencyKey = Annotated[
    str | None,
    Header(
        description="A name of the caller's own for this request, such as a UUID: sent again, it is done once.",
        pattern=KEY_PATTERN,
    ),
]
Work = Callable[[Connection, datetime], Awaitable[dict[str, Any]]]


def fingerprint_of(request: Request, body: bytes) -> bytes:
    """Return the digest of what is asked, by which another request under the same key is noticed."""
    asked = f"{request.method} {request.url.path}".encode()
    return hashlib.sha256(len(asked).to_bytes(4, "big") + asked + body).digest()


class Idempotency:
    """Does each request once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def once(self, request: Request, caller: str, key: str | None, work: Work) -> Response:
        """Answer with what `work` returns, or with what it returned when this request came first.

        `work` gets the transaction in which the answer is kept. Raises Problem (400, 422), and what `work` raises.
        """
        if key is None or not _is_key(key):
            detail = "Send an Idempotency-Key: 1 to 64 printable characters, new for each request."
            refuse(HTTPStatus.BAD_REQUEST, "idempotency-key-missing", detail)
        key, now = key.strip('"'), utc_now()
        fingerprint = fingerprint_of(request, await request.body())
        async with self._database.transaction() as connection:
            kept = await answers.claim(connection, caller, key, fingerprint, (now, now + KEPT_FOR))
            if kept is None:
                answer = JSONResponse(await work(connection, now))
                await answers.keep(connection, caller, key, answer.status_code, bytes(answer.body).decode())
                return answer
        if kept.fingerprint != fingerprint:
            detail = "This Idempotency-Key was used for another request: take a new one."
            refuse(HTTPStatus.UNPROCESSABLE_ENTITY, "idempotency-key-reused", detail)
        return Response(kept.body, kept.status, {REPLAYED: "true"}, "application/json")
