"""Look-ups by programs: one recommendation for Immigration, the findings for the oversight body. Each is logged first.

A question about a recommendation is a POST, since it adds to the log of look-ups; its `Idempotency-Key` keeps a
question that is sent again from being logged, and answered, twice.
"""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from contracts.wire.instant import write_instant
from hub.accounts import Person, Role
from hub.clock import utc_now
from hub.lookups import REASON_CHARACTERS_MAX, ReasonMissing, Register, SealMissing
from hub.store import dossiers
from hub.store.database import Connection, Database
from hub.web.access import Caller, Guard
from hub.web.cursors import CURSOR_CHARACTERS_MAX, Cursors
from hub.web.idempotency import Idempotency, IdempotencyKey
from hub.web.pages.staff import APPLICATION_CHARACTERS_MAX, Office
from hub.web.problems import refuse
from hub.web.scopes import Scope

FINDINGS = "findings"
FINDINGS_MAX = 500
FINDINGS_DEFAULT = 100
LISTED = "Asked for the list of findings."


class Inquiry(BaseModel):
    """A question about one application's recommendation, and why it is asked."""

    model_config = ConfigDict(extra="forbid")
    application: str = Field(min_length=1, max_length=APPLICATION_CHARACTERS_MAX)
    reason: str = Field(max_length=REASON_CHARACTERS_MAX)


class RecommendationAnswer(BaseModel):
    """What stands, since when, and its proof once a checkpoint covers it; all null where nothing was recommended."""

    application: str
    state: str | None
    number: str | None
    revision: int | None
    since: str | None
    log_index: int | None
    proof: str | None


class FindingEntry(BaseModel):
    """One finding: a lead, and no guilt."""

    number: int
    revision: int
    state: str
    finding: str
    subject: str
    rule_set: str
    opened_at: str
    closed_at: str | None
    lead: dict[str, Any]


class FindingsAnswer(BaseModel):
    """A page of findings; `next` is the cursor of the following page, or null behind the last."""

    findings: list[FindingEntry]
    next: str | None


def name_person(caller: Caller) -> Person:
    """Return as whom a caller stands in the log of look-ups."""
    return Person(caller.role or Role.IMMIGRATION, caller.id, caller.unit)


def _describe(finding: dict[str, Any]) -> FindingEntry:
    told = {name: finding[name] for name in ("number", "revision", "state", "finding", "subject", "rule_set", "lead")}
    closed_at = None if finding["closed_at"] is None else write_instant(finding["closed_at"])
    return FindingEntry(**told, opened_at=write_instant(finding["opened_at"]), closed_at=closed_at)


class Inquirer:
    """Writes each question down and answers it."""

    def __init__(self, database: Database, office: Office, register: Register) -> None:
        self._database = database
        self._office = office
        self._register = register

    async def ask(self, connection: Connection, caller: Caller, inquiry: Inquiry, now: datetime) -> dict[str, Any]:
        """Return what stands, once it is written down in the same transaction. Raises Problem (400)."""
        application = inquiry.application.strip().upper()
        try:
            what = ("recommendation", application, inquiry.reason)
            await self._register.note_within(connection, name_person(caller), what, now)
        except ReasonMissing:
            refuse(HTTPStatus.BAD_REQUEST, "reason-missing", "Say why this is asked, in a few words.")
        found = await self._office.find_recommendation(connection, application)
        standing = {} if found is None else found.standing
        return RecommendationAnswer(
            application=application,
            **{name: standing.get(name) for name in ("state", "number", "revision")},
            since=None if found is None or found.since is None else write_instant(found.since),
            log_index=None if found is None else found.leaf_index,
            proof=None if found is None else found.proof,
        ).model_dump()

    async def list_findings(self, caller: Caller, after: int, limit: int) -> list[dict[str, Any]]:
        """Return findings in their order, once it is written down, sealed, that they are looked at. Raises Problem."""
        try:
            await self._register.note(name_person(caller), FINDINGS, FINDINGS, LISTED, utc_now())
        except SealMissing:
            refuse(HTTPStatus.SERVICE_UNAVAILABLE, "seal-missing", "OVERSIGHT_SEAL_KEY_FILE is not set.")
        async with self._database.connection() as connection:
            return await dossiers.list_findings(connection, closed=True, after=after, limit=limit)


def create_router(database: Database, guard: Guard, office: Office, register: Register) -> APIRouter:
    """Return these routes."""
    router = APIRouter(prefix="/api/v1")
    inquirer, cursors, idempotency = Inquirer(database, office, register), Cursors(database), Idempotency(database)

    @router.post("/recommendation-inquiries", response_model=RecommendationAnswer)
    async def ask_recommendation(
        request: Request,
        inquiry: Inquiry,
        caller: Annotated[Caller, guard.require(Scope.RECOMMENDATIONS)],
        idempotency_key: IdempotencyKey = None,
    ) -> Response:
        """Give what is recommended for an application, now, with its proof. Who asked, and why, is written down."""

        async def work(connection: Connection, now: datetime) -> dict[str, Any]:
            return await inquirer.ask(connection, caller, inquiry, now)

        return await idempotency.once(request, caller.id, idempotency_key, work)

    @router.get("/findings")
    async def read_findings(
        caller: Annotated[Caller, guard.require(Scope.FINDINGS)],
        after: Annotated[str, Query(max_length=CURSOR_CHARACTERS_MAX)] = "",
        limit: Annotated[int, Query(ge=1, le=FINDINGS_MAX)] = FINDINGS_DEFAULT,
    ) -> FindingsAnswer:
        """Give the findings, those that are over too, in the order in which they were opened."""
        behind = int(await cursors.read(FINDINGS, caller.id, after) or 0)
        found = await inquirer.list_findings(caller, behind, limit + 1)
        place = str(found[limit - 1]["number"]) if len(found) > limit else None
        following = await cursors.write(FINDINGS, caller.id, place)
        return FindingsAnswer(findings=[_describe(one) for one in found[:limit]], next=following)

    return router
