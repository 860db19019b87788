"""What the pages show, for programs: the hall's board and the service times for anybody, a bank's refusals for itself.

The public answers may be kept for a moment. A participant, or a client that acts for one, sees only what was refused of
its own.
"""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response
from pydantic import BaseModel

from contracts.errors import EXPLANATIONS, Code
from contracts.rules.rulebook import RuleSet
from contracts.wire.instant import write_instant
from hub.store import quarantine
from hub.store.database import Database
from hub.store.files import ListedFile
from hub.web.access import Caller, Guard
from hub.web.counter import INDEX_MAX, Counter
from hub.web.cursors import CURSOR_CHARACTERS_MAX, Cursors
from hub.web.frame import is_known, tag_of
from hub.web.problems import refuse
from hub.web.scopes import Scope

BOARD_CACHE = "public, max-age=5"
TIMES_CACHE = "public, max-age=300"
REFUSALS_MAX = 200
REFUSALS_DEFAULT = 50
REFUSALS = "refusals"

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
    """The applications that were moved last; `next` is the cursor of those before them, or null behind the last."""

    read_at: str
    applications: list[BoardEntry]
    next: int | None


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
    next: str | None


def _describe(file: ListedFile) -> BoardEntry:
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
    tag = tag_of(answer.model_dump_json(exclude=set(but)).encode())
    headers = {"ETag": tag, "Cache-Control": cache}
    if is_known(tag, asked):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(answer.model_dump_json(), media_type="application/json", headers=headers)


def create_router(database: Database, guard: Guard, counter: Counter) -> APIRouter:
    """Return these routes."""
    router = APIRouter(prefix="/api/v1")
    cursors = Cursors(database)
    unchanged: dict[int | str, dict[str, Any]] = {304: {"description": "The caller has this answer."}}

    @router.get("/board", response_model=BoardAnswer, responses=unchanged)
    async def read_board(
        if_none_match: Asked = "", before: Annotated[int | None, Query(ge=0, le=INDEX_MAX)] = None
    ) -> Response:
        """Give the applications that were moved last (before a cursor): number, stage, whose turn, service time."""
        board = await counter.read_board(before)
        answer = BoardAnswer(
            read_at=write_instant(board.read_at),
            applications=[_describe(file) for file in board.rows],
            next=board.following,
        )
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
        caller: Annotated[Caller, guard.require(Scope.REFUSALS)],
        after: Annotated[str, Query(max_length=CURSOR_CHARACTERS_MAX)] = "",
        limit: Annotated[int, Query(ge=1, le=REFUSALS_MAX)] = REFUSALS_DEFAULT,
    ) -> RefusalsAnswer:
        """Give what was refused of the caller's own messages and is not resolved, oldest first."""
        if caller.participant is None:
            refuse(HTTPStatus.FORBIDDEN, "participant-wanted", "Only a participant has refusals of its own.")
        behind = int(await cursors.read(REFUSALS, caller.id, after) or 0)
        async with database.connection() as connection:
            rows = await quarantine.list_parked(
                connection, participant=caller.participant.id, after=behind, limit=limit + 1
            )
        following = await cursors.write(REFUSALS, caller.id, str(rows[limit - 1]["id"]) if len(rows) > limit else None)
        return RefusalsAnswer(refusals=[_explain(row) for row in rows[:limit]], next=following)

    return router
