"""An office's visa system over REST: recommendations in, answers out.

    PUT /recommendations/{number}/{revision}/{state}      200 or 201; again with the same body 200; 409 with another
    PUT /query-answers/{query_id}                         the same
    GET /answers?after=N&limit=M                          {"answers": [{"id": N+1, "kind": ..., ...}]}

VisaSystemFault        base
|- VisaSystemAway      no answer, or one that says "later": nobody's fault, waiting helps
`- VisaSystemRefused   it will never take this: what is sent is wrong for it, or it holds another content
"""

from typing import Any
from urllib.parse import quote

import httpx
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

ATTEMPTS_MAX = 6
PAUSE_FIRST_S = 0.1
PAUSE_S_MAX = 2.0
TIMEOUT_S = 10.0
ANSWERS_IN_ONE_PAGE_MAX = 200

CONFLICT = 409
_JSON = {"Content-Type": "application/json"}
#: What no repetition mends. Others, such as 401 and 404, come from settings that somebody will put right.
_REFUSALS = frozenset((400, 405, CONFLICT, 410, 413, 415, 422))


class VisaSystemFault(Exception):
    """A fault of the visa system, told without anything of what was sent."""


class VisaSystemAway(VisaSystemFault):
    """The visa system does not answer, or says that it cannot now."""


class VisaSystemRefused(VisaSystemFault):
    """The visa system will not take this, however often it is sent."""

    def __init__(self, status: int, why: str = "") -> None:
        super().__init__(why or f"the visa system answered {status}")
        self.status = status


class VisaSystem:
    """One visa system; `http` has its address as the base URL, and its token if it wants one."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def deliver(self, name: str, body: str, key: str) -> None:
        """Hand over what an office is to be told; `key` is the idempotency key. Raises VisaSystemFault.

        `name` is NUMBER/REVISION/STATE of a recommendation, or `query-answer/QUERY_ID`; `body` is JSON.
        """
        first, *rest = (quote(part, safe="") for part in name.split("/"))
        path = (
            f"/query-answers/{rest[0]}" if first == "query-answer" else f"/recommendations/{'/'.join((first, *rest))}"
        )
        await self._put(path, body, key)

    async def answers(self, after: int) -> list[dict[str, Any]]:
        """Return the answers after that number, in order. Raises VisaSystemFault."""
        response = await self._request("GET", "/answers", params={"after": after, "limit": ANSWERS_IN_ONE_PAGE_MAX})
        try:
            answers = response.json()["answers"]
            if all(isinstance(each["id"], int) and each["id"] > after for each in answers):
                return sorted(answers, key=lambda each: int(each["id"]))
        except (ValueError, KeyError, TypeError):
            pass
        raise VisaSystemAway("the visa system's page of answers cannot be read")

    async def _put(self, path: str, body: str, key: str) -> None:
        """Put, and try again a few times; the office's courier goes on trying after that."""
        attempts = AsyncRetrying(
            retry=retry_if_exception_type(VisaSystemAway),
            wait=wait_random_exponential(multiplier=PAUSE_FIRST_S, max=PAUSE_S_MAX),
            stop=stop_after_attempt(ATTEMPTS_MAX),
            reraise=True,
        )
        async for attempt in attempts:
            with attempt:
                await self._request("PUT", path, content=body.encode(), headers=_JSON | {"Idempotency-Key": key})

    async def _request(self, method: str, path: str, **content: Any) -> httpx.Response:
        try:
            response = await self._http.request(method, path, **content)
        except httpx.TransportError as error:
            raise VisaSystemAway(f"the visa system does not answer ({type(error).__name__})") from None
        if response.status_code in _REFUSALS:
            raise VisaSystemRefused(response.status_code)
        if not response.is_success:
            raise VisaSystemAway(f"the visa system answered {response.status_code}")
        return response
