"""`POST /differences/{difference_id}/explanation`: a bank explains a difference; answered once it is on disk.

    Authorization: Bearer <a line of EXPLANATION_TOKEN_FILE>
    {"code": "SETTLEMENT_PENDING", "text": "Booked with the next day's statement."}

202: stored now. 200: this very explanation of this difference was given before. Another code or text is another
explanation, and stands beside the first. Errors are problem details (RFC 9457) and repeat nothing that was sent. The
door is at the connector's own address alone, never at a partner's listener.
"""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from prometheus_client import CollectorRegistry, Counter

from connectors.bank.differences import Differences
from connectors.bank.translate import difference_explained
from connectors.link import failpoint
from connectors.link.clock import Clock
from connectors.link.fact import Author
from connectors.link.fault import ClaimTaken
from connectors.link.message import judge
from connectors.link.problem import (
    METHODS,
    Problem,
    answer_call,
    check_post,
    check_token,
    fact_unfit,
    members_wrong,
    read_body,
    read_members,
)
from connectors.link.spool import Spool
from contracts.errors import Refusal
from contracts.wire.instant import write_instant

PATH: Final = "/differences/{difference_id}/explanation"
BODY_BYTES_MAX: Final = 16 * 1024

_MEMBERS = frozenset(("code", "text"))
_CLAIMS = "explanation/"


class ExplanationDoor:
    """Takes a bank's explanations into the spool."""

    def __init__(
        self,
        spool: Spool,
        author: Author,
        differences: Differences,
        tokens: Sequence[bytes],
        clock: Clock,
        metrics: CollectorRegistry,
    ) -> None:
        self._spool = spool
        self._author = author
        self._differences = differences
        self._tokens = tokens
        self._clock = clock
        self._answers = Counter(
            "tkahub_connector_explanation_answers",
            "Answers to explanations of differences, by status",
            ["status"],
            registry=metrics,
        )

    def routes(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter()
        router.add_api_route(PATH, self._answer, methods=METHODS)
        return router

    async def _answer(self, request: Request) -> JSONResponse:
        """Answer whatever happens; a problem is told in RFC 9457's form."""
        answer = await answer_call(request, self._take)
        failpoint.reach("explanation.before_answer")
        self._answers.labels(answer.status_code).inc()
        return answer

    async def _take(self, request: Request) -> tuple[HTTPStatus, dict[str, Any]]:
        check_post(request)
        check_token(request, self._tokens)
        members = read_members(await read_body(request, BODY_BYTES_MAX), _MEMBERS)
        code, text = members["code"], members["text"]
        if not isinstance(code, str) or not isinstance(text, str):
            raise members_wrong("code and text are texts.")
        return await self._store(request.path_params["difference_id"], code, text)

    async def _store(self, difference_id: str, code: str, text: str) -> tuple[HTTPStatus, dict[str, Any]]:
        """Put the explanation into the spool in one durable transaction, unless it is there."""
        now = self._clock()
        event = difference_explained(difference_id, code, text, now)
        # Asked first, since a repeat is one whatever has become of the difference meanwhile.
        if (again := await self._find(event.native_key)) is not None:
            return again
        if await self._differences.find(difference_id) is None:
            says = "No difference of this id is open at this bank: GET /differences lists those that are."
            raise Problem(HTTPStatus.NOT_FOUND, "difference-unknown", says)
        try:
            judge(self._author, event, now)
        except Refusal as refusal:
            raise fact_unfit(str(refusal.code), refusal.detail) from None
        failpoint.reach("explanation.before_put")
        try:
            # Two calls at once say the same of two moments: the claim lets one of them in.
            [put] = await self._spool.put([event], claims={_CLAIMS + event.native_key: write_instant(now)})
        except ClaimTaken:
            again = await self._find(event.native_key)
            if again is None:
                raise
            return again
        failpoint.reach("explanation.after_put")
        if put.outcome == "unfit":
            raise fact_unfit(put.code or "", put.detail or "")
        status = HTTPStatus.ACCEPTED if put.outcome == "new" else HTTPStatus.OK
        return status, {"event_id": put.event_id, "sequence": put.sequence, "repeated": put.outcome != "new"}

    async def _find(self, native_key: str) -> tuple[HTTPStatus, dict[str, Any]] | None:
        fact = await self._spool.fact_by_key(native_key)
        if fact is None:
            return None
        return HTTPStatus.OK, {"event_id": fact.event_id, "sequence": fact.sequence, "repeated": True}
