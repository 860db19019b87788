"""What the pages show, for programs: the hall's board and the service times for anybody, a bank's refusals for itself.

The public answers carry an ETag and may be kept for a moment. A participant authenticates as elsewhere in this API
(SPEC.md section 7.3) and sees only what was refused of its own.
"""

import hashlib
import json
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response
from pydantic import BaseModel

from contracts.errors import EXPLANATIONS, Code
from contracts.rules.rulebook import RuleSet
from contracts.wire.instant import write_instant
from hub.clock import utc_now
from hub.progress import Progress
from hub.store import quarantine
from hub.store.database import Database
from hub.trust import RegistryInForce
from hub.web import access
from hub.web.counter import Counter
from hub.web.problems import refuse, unauthenticated

BOARD_CACHE = "public, max-age=5"
TIMES_CACHE = "public, max-age=300"
REFUSALS_MAX = 200
REFUSALS_DEFAULT = 50
ID_MAX = 2**63 - 1

Asked = Annotated[str, Header(max_length=200)]


class BoardEntry(BaseModel):
    """One application on the board: never a name."""

    application: str
    stage: str
    holder: str
    since: str
    due_on: str | None
    paused: bool
    overdue: bool


class BoardAnswer(BaseModel):
    """The applications that were moved last."""

    read_at: str
    applications: list[BoardEntry]


class ServiceTimeEntry(BaseModel):
    """One service time with its legal source."""

    step: str
    days: int
    kind: str
    source: str


class ServiceTimesAnswer(BaseModel):
    """The service times of the rule set for an application of today."""

    rule_set: str
    sha256: str
    service_times: list[ServiceTimeEntry]


class RefusalEntry(BaseModel):
    """One refused message, without its bytes, and what to do about it."""

    id: int
    code: str
    fault: str
    event_id: str | None
    source: str | None
    topic: str
    partition: int
    offset: int
    received_at: str
    meaning_en: str
    meaning_id: str
    remedy_en: str
    remedy_id: str


class RefusalsAnswer(BaseModel):
    """A page of refusals; `next` is the cursor of the following page, or null behind the last."""

    refusals: list[RefusalEntry]
    next: int | None


def _describe(file: Progress) -> BoardEntry:
    clock = file.clock
    due_on = None if clock is None or clock.due_on is None else clock.due_on.isoformat()
    return BoardEntry(
        application=file.application,
        stage=file.stage.value,
        holder=file.holder.value,
        since=write_instant(file.since),
        due_on=due_on,
        paused=clock is not None and clock.paused,
        overdue=clock is not None and clock.overdue,
    )


def _explain(row: dict[str, Any]) -> RefusalEntry:
    said = EXPLANATIONS[Code(row["code"])]
    members = ("id", "code", "fault", "event_id", "source", "topic", "partition", "offset")
    return RefusalEntry(
        **{name: row[name] for name in members},
        received_at=write_instant(row["received_at"]),
        meaning_en=said.meaning_en,
        meaning_id=said.meaning_id,
        remedy_en=said.remedy_en,
        remedy_id=said.remedy_id,
    )


def _list_times(rule_set: RuleSet) -> ServiceTimesAnswer:
    times = [
        ServiceTimeEntry(step=step, days=time.days, kind=time.kind, source=time.source)
        for step, time in rule_set.service_times.items()
    ]
    name = f"{rule_set.id}/{rule_set.version}"
    return ServiceTimesAnswer(rule_set=name, sha256=rule_set.sha256, service_times=times)


def answer_unless_known(answer: BaseModel, asked: str, cache: str, *, but: frozenset[str] = frozenset()) -> Response:
    """Give an answer with its ETag (RFC 9110 section 8.8.3), or 304 where the caller has it; `but` does not count."""
    content = answer.model_dump(mode="json")
    counted = {name: value for name, value in content.items() if name not in but}
    tag = f'"{hashlib.sha256(json.dumps(counted).encode()).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": cache}
    known = {one.strip().removeprefix("W/") for one in asked.split(",")}
    if tag in known or "*" in known:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(answer.model_dump_json(), media_type="application/json", headers=headers)


def create_router(database: Database, in_force: RegistryInForce, api_url: str, counter: Counter) -> APIRouter:
    """Return these routes. `api_url` is the audience that assertions must name."""
    router = APIRouter(prefix="/api/v1")
    unchanged: dict[int | str, dict[str, Any]] = {304: {"description": "The caller has this answer."}}

    @router.get("/board", response_model=BoardAnswer, responses=unchanged)
    async def read_board(if_none_match: Asked = "") -> Response:
        """Give the applications that were moved last: number, stage, whose turn, service time."""
        board = await counter.read_board()
        answer = BoardAnswer(
            read_at=write_instant(board.read_at), applications=[_describe(file) for file in board.rows]
        )  # fmt: skip
        return answer_unless_known(answer, if_none_match, BOARD_CACHE, but=frozenset({"read_at"}))

    @router.get("/service-times", response_model=ServiceTimesAnswer, responses=unchanged)
    async def read_service_times(if_none_match: Asked = "") -> Response:
        """Give the service times that hold for an application of today, each with its legal source."""
        rule_set = await counter.read_rule_set()
        if rule_set is None:
            refuse(HTTPStatus.NOT_FOUND, "rule-set-absent", "The exchange has no rule set for an application of today.")
        return answer_unless_known(_list_times(rule_set), if_none_match, TIMES_CACHE)

    @router.get("/refusals")
    async def read_refusals(
        authorization: Annotated[str | None, Header()] = None,
        after: Annotated[int, Query(ge=0, le=ID_MAX)] = 0,
        limit: Annotated[int, Query(ge=1, le=REFUSALS_MAX)] = REFUSALS_DEFAULT,
    ) -> RefusalsAnswer:
        """Give what was refused of the caller's own messages and is not resolved, oldest first."""
        if authorization is None:
            raise unauthenticated("assertion-missing", "Send a client assertion (RFC 7523) as a bearer token.")
        async with database.connection() as connection:
            registry = await in_force.refresh(connection)
        caller = access.read_assertion(authorization, registry, api_url, utc_now())
        await access.spend(database, caller)
        async with database.connection() as connection:
            rows = await quarantine.list_parked(
                connection, participant=caller.participant.id, after=after, limit=limit + 1
            )
        following = rows[limit - 1]["id"] if len(rows) > limit else None
        return RefusalsAnswer(refusals=[_explain(row) for row in rows[:limit]], next=following)

    return router
