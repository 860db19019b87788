"""What an officer has to do next: the own unit's files, overdue and due today first, each list a page at a time."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from http import HTTPStatus
from typing import Any, Final

from fastapi import APIRouter, Request, Response

from contracts.rules.clock import jakarta_day
from contracts.wire import base64url
from hub.accounts import Role
from hub.clock import utc_now
from hub.listing import PAID, QUERIED, REVERSED
from hub.store import files
from hub.store.database import Connection, Database
from hub.store.files import COUNT_MAX, ListedFile
from hub.web.pages.frame import Pages
from hub.web.problems import refuse

ROWS_AT_FIRST = 10
ROWS_PER_PAGE = 50
NUMBER_CHARACTERS_MIN = 4
NUMBER_CHARACTERS_MAX = 64
CURSOR_CHARACTERS_MAX = 256
OVERDUE: Final = "overdue"
TODAY: Final = "today"
COMING: Final = "coming"
LISTS: Final = (OVERDUE, TODAY, REVERSED, QUERIED, PAID, COMING)
# Before any file.
BEGINNING: Final = datetime(2000, 1, 1, tzinfo=UTC)
_ONE_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class List:
    """One of the lists: its name, how many files it has (COUNT_MAX: that many or more), a page of it, where it goes on.

    The cursor is None behind the last page.
    """

    name: str
    count: int
    rows: Sequence[ListedFile]
    cursor: str | None

    @property
    def is_more(self) -> bool:
        """Whether there may be more of them than were counted."""
        return self.count >= COUNT_MAX


class Worklist:
    """Reads the lists of one unit, by index alone."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read_all(self, unit: str, today: date) -> list[List]:
        """Return every list with its first rows."""
        async with self._database.connection() as connection:
            return [await _read(connection, unit, name, today, None, ROWS_AT_FIRST) for name in LISTS]

    async def read(self, unit: str, name: str, today: date, cursor: str | None) -> List:
        """Return a page of a list. Raises Problem (400) for a cursor that is none of ours."""
        async with self._database.connection() as connection:
            return await _read(connection, unit, name, today, cursor, ROWS_PER_PAGE)

    async def search(self, unit: str, beginning: str, today: date) -> list[ListedFile]:
        """Return the unit's files whose numbers begin so."""
        async with self._database.connection() as connection:
            return await files.read_numbers(connection, unit, beginning, today, "", ROWS_PER_PAGE)


async def _read(
    connection: Connection, unit: str, name: str, today: date, cursor: str | None, limit: int
) -> List:  # fmt: skip
    days = {
        OVERDUE: (date.min, today - _ONE_DAY), TODAY: (today, today), COMING: (today + _ONE_DAY, date.max)
    }.get(name)  # fmt: skip
    if days is not None:
        behind = (date.min, "") if cursor is None else _read_day(cursor)
        count = await files.count_due(connection, unit, days)
        rows = await files.read_due(connection, unit, days, today, behind, limit + 1)
        places = [str(None if row.clock is None else row.clock.due_on) for row in rows]
    else:
        start = (BEGINNING, "") if cursor is None else _read_moment(cursor)
        count = await files.count_task(connection, unit, name)
        rows = await files.read_task(connection, unit, name, today, start, limit + 1)
        places = [row.since.isoformat() for row in rows]
    last = write_cursor(places[limit - 1], rows[limit - 1].application) if len(rows) > limit else None
    return List(name, count, rows[:limit], last)


def write_cursor(place: str, application: str) -> str:
    """Return where a list goes on: behind this row."""
    return base64url.encode(json.dumps([place, application]).encode())


def _read_cursor(cursor: str) -> tuple[str, str]:
    raw = base64url.decode(cursor.encode()) if len(cursor) <= CURSOR_CHARACTERS_MAX else None
    try:
        place, application = json.loads(raw or b"")
    except (ValueError, TypeError):
        refuse(HTTPStatus.BAD_REQUEST, "cursor-malformed", "This cursor is none that a list gave.")
    if not isinstance(place, str) or not isinstance(application, str) or "\0" in application:
        refuse(HTTPStatus.BAD_REQUEST, "cursor-malformed", "This cursor is none that a list gave.")
    return place, application


def _read_day(cursor: str) -> tuple[date, str]:
    place, application = _read_cursor(cursor)
    try:
        return date.fromisoformat(place), application
    except ValueError:
        refuse(HTTPStatus.BAD_REQUEST, "cursor-malformed", "This cursor is none that a list gave.")


def _read_moment(cursor: str) -> tuple[datetime, str]:
    place, application = _read_cursor(cursor)
    try:
        moment = datetime.fromisoformat(place)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        refuse(HTTPStatus.BAD_REQUEST, "cursor-malformed", "This cursor is none that a list gave.")
    return moment, application


def create_router(database: Database, pages: Pages) -> APIRouter:
    """Return the officer's routes."""
    router = APIRouter(include_in_schema=False)
    worklist = Worklist(database)

    @router.get("/work")
    async def show_work(request: Request) -> Response:
        person = await pages.people.require(request, Role.OFFICER)
        today, unit = jakarta_day(utc_now()), person.unit or ""
        name, cursor = request.query_params.get("list"), request.query_params.get("after")
        if name is not None and name not in LISTS:
            refuse(HTTPStatus.NOT_FOUND, "list-unknown", "There is no such list.")
        if name is None:
            lists = await worklist.read_all(unit, today)
        else:
            lists = [await worklist.read(unit, name, today, cursor)]
        return pages.render(
            request, "work.html", person, lists=lists, only=name, today=today, found=None, number="", error=None
        )  # fmt: skip

    @router.post("/work")
    async def search_number(request: Request) -> Response:
        person = await pages.people.require(request, Role.OFFICER)
        form = await pages.people.read_form(request, session=True)
        number = form.get("number", "").strip().upper()[:NUMBER_CHARACTERS_MAX]
        today, found, error, status = jakarta_day(utc_now()), None, None, HTTPStatus.OK
        if len(number) < NUMBER_CHARACTERS_MIN:
            error, status = "too_short", HTTPStatus.BAD_REQUEST
        else:
            found = await worklist.search(person.unit or "", number, today)
        values: dict[str, Any] = {"found": found, "number": number, "error": error}
        return pages.render(request, "work.html", person, status, lists=[], only=None, today=today, **values)

    return router
