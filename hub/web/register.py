"""The register of foreign workers for programs: each grantee its own part, by references and never by name.

A participant authenticates as elsewhere in this API (SPEC.md section 7.3). What it is granted stands in the signed
registry, as the filter of its subscription to the register's events, which bring the same by its topic.
"""

from collections.abc import Callable
from datetime import date
from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Response
from pydantic import BaseModel, Field

from contracts.oversight.register import Registered
from contracts.oversight.register import compare as find_disagreements
from contracts.rules.clock import jakarta_day
from contracts.wire import base64url
from hub.clock import utc_now
from hub.register import Grant, find_grant
from hub.store import register
from hub.store.database import Database
from hub.trust import RegistryInForce
from hub.web import access
from hub.web.facts import answer_unless_known
from hub.web.problems import refuse, unauthenticated

ENTRIES_MAX = 500
ENTRIES_DEFAULT = 100
CURSOR_CHARACTERS_MAX = 100
REGISTER_CACHE = "private, no-cache"

Asked = Annotated[str, Header(max_length=200)]
Bearer = Annotated[str | None, Header()]
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


def write_cursor(application: str) -> str:
    """Return the place behind an application as a caller passes it on: opaque, and no number in any proxy's log."""
    return base64url.encode(application.encode())


def read_cursor(cursor: str) -> str:
    """Return the application that a cursor stands behind. Raises Problem (400)."""
    raw = base64url.decode(cursor.encode())
    if raw is None or not raw.isascii() or b"\0" in raw:
        refuse(HTTPStatus.BAD_REQUEST, "cursor-invalid", "Pass `next` of the page before as `after`, or leave it out.")
    return raw.decode()


def list_disagreements(entries: list[Registered], day: date) -> list[dict[str, Any]]:
    """Return what does not agree about these entries on a day."""
    found = [one for entry in entries for one in find_disagreements(entry, day)]
    return [one._asdict() | {"log_indices": list(one.log_indices)} for one in found]


def _describe(entry: Registered, grant: Grant) -> Worker:
    shared = entry.share(border=grant.border)
    shared["from_"] = shared.pop("from")
    return Worker.model_validate(shared)


def _page(entries: list[Registered], limit: int) -> tuple[list[Registered], str | None]:
    """Part a page from the one entry behind it that says that there is another."""
    following = write_cursor(entries[limit - 1].application) if len(entries) > limit else None
    return entries[:limit], following


def create_router(database: Database, in_force: RegistryInForce, api_url: str) -> APIRouter:
    """Return these routes. `api_url` is the audience that assertions must name."""
    router = APIRouter(prefix="/api/v1/register")
    unchanged: dict[int | str, dict[str, Any]] = {304: {"description": "The caller has this answer."}}

    async def admit(authorization: str | None, allow: Callable[[Grant], bool]) -> Grant:
        """Return what the caller is granted. Raises Problem (401, 403)."""
        if authorization is None:
            raise unauthenticated("assertion-missing", "Send a client assertion (RFC 7523) as a bearer token.")
        async with database.connection() as connection:
            registry = await in_force.refresh(connection)
        caller = access.read_assertion(authorization, registry, api_url, utc_now())
        await access.spend(database, caller)
        grant = find_grant(caller.participant)
        if grant is None or not allow(grant):
            refuse(HTTPStatus.FORBIDDEN, "register-not-granted", "The registry does not grant the caller this.")
        return grant

    @router.get("", response_model=RegisterAnswer, responses=unchanged)
    async def read_register(
        authorization: Bearer = None,
        if_none_match: Asked = "",
        after: Cursor = "",
        limit: Limit = ENTRIES_DEFAULT,
        expiring: Annotated[Literal["30", "60", "90"] | None, Query()] = None,
    ) -> Response:
        """Give who is in work today in the caller's part of the register, or whose permit ends within so many days."""
        grant, day = await admit(authorization, lambda _: True), jakarta_day(utc_now())
        within, behind = None if expiring is None else int(expiring), read_cursor(after)
        async with database.connection() as connection:
            found = await register.list_in_force(
                connection, grant.view, day, within=within, after=behind, limit=limit + 1
            )
        shown, following = _page(found, limit)
        answer = RegisterAnswer(day=day, entries=[_describe(one, grant) for one in shown], next=following)
        return answer_unless_known(answer, if_none_match, REGISTER_CACHE, but=frozenset({"day"}))

    @router.get("/differences", response_model=DisagreementsAnswer, responses=unchanged)
    async def read_differences(
        authorization: Bearer = None, if_none_match: Asked = "", after: Cursor = "", limit: Limit = ENTRIES_DEFAULT
    ) -> Response:
        """Give where the Ministry's word and Immigration's do not agree about a worker: both are shown the same."""
        grant, day = await admit(authorization, lambda one: one.border), jakarta_day(utc_now())
        behind = read_cursor(after)
        async with database.connection() as connection:
            found = await register.list_differing(connection, grant.view, day, after=behind, limit=limit + 1)
        shown, following = _page(found, limit)
        listed = [DisagreementEntry(**one) for one in list_disagreements(shown, day)]
        answer = DisagreementsAnswer(day=day, differences=listed, next=following)
        return answer_unless_known(answer, if_none_match, REGISTER_CACHE, but=frozenset({"day"}))

    return router
