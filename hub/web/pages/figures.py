"""The months in figures: for everybody as charts, CSV and JSON, and for the minister's office side by side."""

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import date
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from contracts.oversight.statistics import DIMENSIONS, KINDS, Row
from contracts.wire.instant import write_instant
from hub.accounts import Role
from hub.store import statistics
from hub.store.database import Database
from hub.store.statistics import Month
from hub.web.pages.charts import draw_bars, draw_columns
from hub.web.pages.frame import PAGE_HEADERS, Pages
from hub.web.problems import refuse

MONTHS_MAX = 13
MONTHS_LISTED_MAX = 120
FIGURES = ("stock", "workers", *(f"flow_{kind}" for kind in KINDS))
COLUMNS = ("month", "figure", "by", "of", "value", "final", "log_size", "log_root", "rule_sets", "counted_at")
CACHE = "public, max-age=60"


class Ledger:
    """Reads the months that were counted."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list_months(self, limit: int = MONTHS_MAX) -> list[Month]:
        """Return the newest months with the figures about all files, the newest first."""
        async with self._database.connection() as connection:
            return await statistics.list_months(connection, limit)

    async def read_month(self, month: date) -> Month | None:
        """Return a month with all its figures, or None."""
        async with self._database.connection() as connection:
            return await statistics.read_month(connection, month)


class Figures:
    """A month's figures as a page asks for them; `value` is None where it is left out or there is none."""

    def __init__(self, month: Month) -> None:
        self.month = month
        self._rows = {(row.figure, row.by, row.of): row.value for row in month.rows}

    def value(self, figure: str, by: str = "total") -> str | None:
        """Return a figure about all files."""
        return self._rows.get((figure, by, ""))

    def count(self, figure: str) -> int | None:
        """Return a figure that is a number of files."""
        value = self.value(figure)
        return None if value is None else int(value)

    def table(self, figure: str, by: str) -> list[Row]:
        """Return a figure's values by one dimension."""
        return [row for row in self.month.rows if (row.figure, row.by) == (figure, by)]


def select(month: Month, figure: str | None, by: str | None) -> list[dict[str, Any]]:
    """Return a month's rows, each with what it was computed from, of one figure and dimension if they are given."""
    origin = {
        "month": f"{month.month:%Y-%m}", "final": month.final, "log_size": month.log_size, "log_root": month.log_root,
        "rule_sets": month.rule_sets, "counted_at": write_instant(month.counted_at),
    }  # fmt: skip
    return [
        {**row._asdict(), **origin}
        for row in month.rows
        if figure in (None, row.figure) and by in (None, row.by)
    ]  # fmt: skip


def write_csv(rows: Iterable[dict[str, Any]], columns: Sequence[str]) -> str:
    """Return rows as CSV (RFC 4180)."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\r\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def read_month_name(text: str | None) -> date | None:
    """Return the first day of a month such as 2026-10, None for none. Raises Problem (400)."""
    if text is None:
        return None
    try:
        return date.fromisoformat(f"{text}-01")
    except ValueError:
        refuse(HTTPStatus.BAD_REQUEST, "month-malformed", "A month is written like 2026-10.")


def create_router(database: Database, pages: Pages) -> APIRouter:
    """Return the routes of the months."""
    router = APIRouter(include_in_schema=False)
    ledger = Ledger(database)

    async def choose(request: Request) -> tuple[Month | None, list[Month]]:
        """Return the month that is asked for, else the newest that is final, and all months. Raises Problem."""
        wanted = read_month_name(request.query_params.get("month"))
        months = await ledger.list_months(MONTHS_LISTED_MAX)
        if wanted is None:
            wanted = next((one.month for one in months if one.final), months[0].month if months else None)
            return None if wanted is None else await ledger.read_month(wanted), months
        found = await ledger.read_month(wanted)
        if found is None:
            refuse(HTTPStatus.NOT_FOUND, "month-unknown", "This month was not counted.")
        return found, months

    async def take(request: Request) -> list[dict[str, Any]]:
        month, _ = await choose(request)
        query = request.query_params
        return [] if month is None else select(month, query.get("figure"), query.get("by"))

    @router.get("/statistics")
    async def show_statistics(request: Request) -> Response:
        month, months = await choose(request)
        figure = request.query_params.get("figure", FIGURES[0])
        if figure not in FIGURES:
            refuse(HTTPStatus.BAD_REQUEST, "figure-unknown", "There is no such figure.")
        newest = [Figures(one) for one in months[:MONTHS_MAX]][::-1]
        shown = None if month is None else Figures(month)
        tables = {by: [] if shown is None else shown.table(figure, by) for by in DIMENSIONS}
        return pages.render(
            request,
            "statistics.html",
            await pages.people.find(request),
            shown=shown,
            months=months,
            newest=newest,
            columns=draw_columns([(one.count("received"), one.count("decided")) for one in newest]),
            figure=figure,
            figures=FIGURES,
            charts={by: draw_bars(rows) for by, rows in tables.items()},
            money=[] if month is None else [row for row in month.rows if row.by == "currency"],
        )

    @router.get("/statistics.csv")
    async def give_csv(request: Request) -> Response:
        headers = {**PAGE_HEADERS, "Content-Disposition": 'attachment; filename="statistics.csv"'}
        return Response(write_csv(await take(request), COLUMNS), media_type="text/csv", headers=headers)

    @router.get("/statistics.json")
    async def give_json(request: Request) -> Response:
        return JSONResponse({"figures": await take(request)}, headers={**PAGE_HEADERS, "Cache-Control": CACHE})

    @router.get("/minister")
    async def show_months(request: Request) -> Response:
        person = await pages.people.require(request, Role.MINISTER)
        months = [Figures(one) for one in await ledger.list_months()]
        final = next((one for one in months if one.month.final), None)
        return pages.render(request, "minister.html", person, months=months, final=final)

    return router
