"""The register of foreign workers: a labour office sees who works in its regencies, Immigration all in force.

An officer of the ministry sees what its own unit handled. Where ministry and Immigration do not agree about a worker,
both are shown it; people are references that only the ministry can resolve.
"""

from datetime import date
from http import HTTPStatus
from typing import Any, NamedTuple

from fastapi import APIRouter, Request, Response

from contracts.oversight.register import EXPIRING_DAYS, Registered
from contracts.rules.clock import jakarta_day
from hub.accounts import Person, Role
from hub.clock import utc_now
from hub.lookups import Register
from hub.register import find_grant
from hub.store import register as store
from hub.store.database import Connection, Database
from hub.store.register import InForce, View
from hub.trust import RegistryInForce
from hub.web.cursors import Cursors
from hub.web.pages.frame import Pages
from hub.web.problems import refuse
from hub.web.register import REGISTER, list_disagreements

ROWS_MAX = 50
DIFFERING_MAX = 50
DIFFERING_STEP = 500
ROLES = (Role.IMMIGRATION, Role.LABOUR_OFFICE, Role.OFFICER)


class Shown(NamedTuple):
    """A page of the register as a reader may see it; `next` is the place behind it, None at the end."""

    day: date
    view: View
    border: bool
    counted: InForce
    entries: list[Registered]
    next: str | None
    differences: list[dict[str, Any]]


class Reader:
    """Reads a person's part of the register."""

    def __init__(self, database: Database, in_force: RegistryInForce) -> None:
        self._database = database
        self._in_force = in_force
        self._cursors = Cursors(database)

    async def read(self, person: Person, within: int | None, cursor: str) -> Shown:
        """Return a page of it. Raises Problem (400, or 403 for the office of a participant that is granted none)."""
        day, reader = jakarta_day(utc_now()), f"person {person.name}"
        after = await self._cursors.read(REGISTER, reader, cursor)
        async with self._database.connection() as connection:
            if person.role is Role.LABOUR_OFFICE:
                party = (await self._in_force.refresh(connection)).participant(person.participant or "")
                grant = None if party is None else find_grant(party)
                if grant is None:
                    refuse(HTTPStatus.FORBIDDEN, "register-not-granted", "The registry grants this office no part.")
                view, border = grant.view, grant.border
            else:
                view, border = View(unit=person.unit), True
            counted = await store.count_in_force(connection, view, day)
            entries = await store.list_in_force(
                connection, view, day, within=within, after=after, limit=ROWS_MAX + 1
            )  # fmt: skip
            found: list[dict[str, Any]] = []
            if border:
                found = await _find_disagreements(connection, view, day)
        place = entries[ROWS_MAX - 1].application if len(entries) > ROWS_MAX else None
        following = await self._cursors.write(REGISTER, reader, place)
        return Shown(day, view, border, counted, entries[:ROWS_MAX], following, found)


async def _find_disagreements(connection: Connection, view: View, day: date) -> list[dict[str, Any]]:
    """Return what the agencies do not agree about, DIFFERING_MAX at most; most entries that may differ do not."""
    found: list[dict[str, Any]] = []
    after = ""
    while len(found) < DIFFERING_MAX:
        some = await store.list_differing(connection, view, day, after=after, limit=DIFFERING_STEP)
        found += list_disagreements(some, day)
        if len(some) < DIFFERING_STEP:
            break
        after = some[-1].application
    return found[:DIFFERING_MAX]


def create_router(database: Database, in_force: RegistryInForce, lookups: Register, pages: Pages) -> APIRouter:
    """Return the register's route."""
    router = APIRouter(include_in_schema=False)
    reader = Reader(database, in_force)

    @router.get("/register")
    async def show_register(request: Request) -> Response:
        person = await pages.people.require(request, *ROLES)
        asked = request.query_params.get("expiring", "")
        within = int(asked) if asked in map(str, EXPIRING_DAYS) else None
        shown = await reader.read(person, within, request.query_params.get("after", ""))
        scope = person.participant or person.unit or "all"
        await lookups.note(person, "register", scope, "Opened the register.", utc_now())
        return pages.render(
            request, "register.html", person, shown=shown, within=within, expiring_days=EXPIRING_DAYS
        )  # fmt: skip

    return router
