"""The register of foreign workers for programs: each grantee its own part, by references and never by name.

What a participant is granted stands in the signed
registry, as the filter of its subscription to the register's events, which bring the same by its topic.
"""

from datetime import date
from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Response
from pydantic import BaseModel, Field

from contracts.oversight.register import Registered
from contracts.oversight.register import compare as find_disagreements
from contracts.rules.clock import jakarta_day
from hub.accounts import Role
from hub.clock import utc_now
from hub.register import find_grant
from hub.store import register
from hub.store.database import Database
from hub.store.register import View
from hub.web.access import Caller, Guard
from hub.web.cursors import CURSOR_CHARACTERS_MAX, Cursors
from hub.web.facts import answer_unless_known
from hub.web.problems import refuse
from hub.web.scopes import Scope

ENTRIES_MAX = 500
ENTRIES_DEFAULT = 100
REGISTER = "register"
DIFFERENCES = "register/differences"
REGISTER_CACHE = "private, no-cache"

Asked = Annotated[str, Header(max_length=200)]
Cursor = Annotated[str, Query(max_length=CURSOR_CHARACTERS_MAX)]
Limit = Annotated[int, Query(ge=1, le=ENTRIES_MAX)]


class Worker(BaseModel):
    """A foreign worker in one post. What Immigration says is null for whoever is not granted it."""

    application: str
    worker: str
    employer: str
    position: str
    regencies: list[str]
    kanim: str
    from_: date = Field(serialization_alias="from")
    until: date
    ended_on: date | None
    visa_until: date | None
    stay_until: date | None
    present: bool | None
    crossed_on: date | None
    log_indices: list[int]


class RegisterAnswer(BaseModel):
    """A page of the register on a day; `next` is the cursor of the following page, or null behind the last."""

    day: date
    entries: list[Worker]
    next: str | None


class DisagreementEntry(BaseModel):
    """Two agencies' books do not agree about a worker since a day."""

    kind: str
    application: str
    worker: str
    since: date
    log_indices: list[int]


class DisagreementsAnswer(BaseModel):
    """A page of what does not agree on a day; `next` is the cursor of the following page, or null behind the last."""

    day: date
    differences: list[DisagreementEntry]
    next: str | None


def list_disagreements(entries: list[Registered], day: date) -> list[dict[str, Any]]:
    """Return what does not agree about these entries on a day."""
    found = [one for entry in entries for one in find_disagreements(entry, day)]
    return [one._asdict() | {"log_indices": list(one.log_indices)} for one in found]


def _describe(entry: Registered, border: bool) -> Worker:
    shared = entry.share(border=border)
    shared["from_"] = shared.pop("from")
    return Worker.model_validate(shared)


def _page(entries: list[Registered], limit: int) -> tuple[list[Registered], str | None]:
    """Part a page from the one entry behind it that says that there is another; return where it ends then."""
    following = entries[limit - 1].application if len(entries) > limit else None
    return entries[:limit], following


def create_router(database: Database, guard: Guard) -> APIRouter:
    """Return these routes."""
    router = APIRouter(prefix="/api/v1/register")
    cursors, require = Cursors(database), guard.require(Scope.REGISTER)
    unchanged: dict[int | str, dict[str, Any]] = {304: {"description": "The caller has this answer."}}

    def read_part(caller: Caller, *, border: bool) -> tuple[View, bool]:
        """Return the caller's part, and whether with what Immigration says, as `border` wants. Raises Problem (403)."""
        if caller.role is Role.OFFICER:
            # As on the pages: the files of the own unit, with what Immigration says of them.
            return View(unit=caller.unit), True
        grant = None if caller.participant is None else find_grant(caller.participant)
        if grant is None or (border and not grant.border):
            refuse(HTTPStatus.FORBIDDEN, "register-not-granted", "The registry does not grant the caller this.")
        return grant.view, grant.border

    @router.get("", response_model=RegisterAnswer, responses=unchanged)
    async def read_register(
        caller: Annotated[Caller, require],
        if_none_match: Asked = "",
        after: Cursor = "",
        limit: Limit = ENTRIES_DEFAULT,
        expiring: Annotated[Literal["30", "60", "90"] | None, Query()] = None,
    ) -> Response:
        """Give who is in work today in the caller's part of the register, or whose permit ends within so many days."""
        (view, border), day = read_part(caller, border=False), jakarta_day(utc_now())
        within = None if expiring is None else int(expiring)
        behind = await cursors.read(REGISTER, caller.id, after)
        async with database.connection() as connection:
            found = await register.list_in_force(connection, view, day, within=within, after=behind, limit=limit + 1)
        shown, following = _page(found, limit)
        following = await cursors.write(REGISTER, caller.id, following)
        answer = RegisterAnswer(day=day, entries=[_describe(one, border) for one in shown], next=following)
        return answer_unless_known(answer, if_none_match, REGISTER_CACHE, but=frozenset({"day"}))

    @router.get("/differences", response_model=DisagreementsAnswer, responses=unchanged)
    async def read_differences(
        caller: Annotated[Caller, require],
        if_none_match: Asked = "",
        after: Cursor = "",
        limit: Limit = ENTRIES_DEFAULT,
    ) -> Response:
        """Give where the Ministry's word and Immigration's do not agree about a worker: both are shown the same."""
        (view, _), day = read_part(caller, border=True), jakarta_day(utc_now())
        behind = await cursors.read(DIFFERENCES, caller.id, after)
        async with database.connection() as connection:
            found = await register.list_differing(connection, view, day, after=behind, limit=limit + 1)
        shown, following = _page(found, limit)
        following = await cursors.write(DIFFERENCES, caller.id, following)
        listed = [DisagreementEntry(**one) for one in list_disagreements(shown, day)]
        answer = DisagreementsAnswer(day=day, differences=listed, next=following)
        return answer_unless_known(answer, if_none_match, REGISTER_CACHE, but=frozenset({"day"}))

    return router
