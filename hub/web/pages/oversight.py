"""What the oversight body sees first: the findings, as leads and not as guilt, and all of them to take away."""

import csv
import io
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import date
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from contracts.oversight.handling import EXEMPTION, PAUSE, VISA, WITHDRAWAL, HandlingRow
from contracts.rules.rulebook import FindingRule
from contracts.wire.instant import write_instant
from hub.accounts import Person, Role
from hub.clock import utc_now
from hub.lookups import Register, SealMissing
from hub.store import attention, dossiers, statistics
from hub.store.attention import Cause
from hub.store.database import Database
from hub.store.progress import Rulebooks
from hub.web.pages.frame import PAGE_HEADERS, Pages
from hub.web.pages.staff import explain
from hub.web.problems import refuse

# A page that nobody can read to its end helps nobody; the export holds all.
ROWS_PER_FINDING_MAX = 50
ROWS_PER_TABLE_MAX = 50
ROWS_PER_PIECE = 500
HAPPENINGS = (PAUSE, EXEMPTION, WITHDRAWAL, VISA)
COLUMNS = (
    "number", "id", "revision", "state", "finding", "subject", "rule_set", "opened_at", "opened_index", "closed_at",
    "closed_index", "since", "measured", "denominator", "counted", "cases", "log_indices",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Group:
    """One of the findings: what its rule set says of it, how many are open, and the newest of them."""

    rule: FindingRule
    number: int
    shown: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Handling:
    """How files were handled in the newest month that was counted, by what happened, the most frequent first."""

    month: date | None
    tables: Mapping[str, list[HandlingRow]]


class Watch:
    """Reads what the oversight body sees."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._rulebooks = Rulebooks()

    async def read_groups(self) -> list[Group]:
        """Return every finding of the newest rule set that has any, those with open leads first."""
        async with self._database.connection() as connection:
            rulebook = await self._rulebooks.read(connection)
            rules = next((rule_set.findings for rule_set in rulebook if rule_set.findings), {})
            newest = await dossiers.list_newest(connection, rules, ROWS_PER_FINDING_MAX)
            counts = await dossiers.count_open(connection)
        groups = [
            Group(rule, counts.get(word, 0), [one for one in newest if one["finding"] == word])
            for word, rule in rules.items()
        ]
        return sorted(groups, key=lambda group: (not group.number, group.rule.number))

    async def read_handling(self) -> Handling:
        """Return how files were handled lately."""
        async with self._database.connection() as connection:
            months = await statistics.list_months(connection, 1)
            rows = await statistics.read_handling(connection, months[0].month) if months else []
        tables = {
            what: sorted((row for row in rows if row.what == what), key=lambda row: -row.number)[:ROWS_PER_TABLE_MAX]
            for what in HAPPENINGS
        }
        return Handling(months[0].month if months else None, tables)

    async def read_actions(self) -> list[dict[str, Any]]:
        """Return what operators did by hand."""
        async with self._database.connection() as connection:
            return await attention.read_actions(connection, ROWS_PER_TABLE_MAX)

    async def read_causes(self) -> list[Cause]:
        """Return what was refused and is not resolved, by its cause."""
        async with self._database.connection() as connection:
            return await attention.read_causes(connection)

    async def stream_all(self) -> AsyncIterator[list[dict[str, Any]]]:
        """Yield every finding, those that are over too, some at a time."""
        after = 0
        while True:
            async with self._database.connection() as connection:
                found = await dossiers.list_findings(connection, closed=True, after=after, limit=ROWS_PER_PIECE)
            if not found:
                return
            after = found[-1]["number"]
            yield found


def _flatten(finding: dict[str, Any]) -> dict[str, Any]:
    lead: dict[str, Any] = finding["lead"]
    lists = {name: " ".join(map(str, lead[name])) for name in ("cases", "log_indices")}
    times = {name: write_instant(finding[name]) for name in ("opened_at", "closed_at") if finding[name]}
    return lead | finding | lists | times


async def write_csv(pieces: AsyncIterator[list[dict[str, Any]]]) -> AsyncIterator[str]:
    """Yield findings as CSV (RFC 4180), one to a line."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\r\n")
    writer.writeheader()
    async for piece in pieces:
        writer.writerows(map(_flatten, piece))
        yield text.getvalue()
        text.seek(0)
        text.truncate()
    yield text.getvalue()


async def write_lines(pieces: AsyncIterator[list[dict[str, Any]]]) -> AsyncIterator[str]:
    """Yield findings as JSON, one to a line."""
    async for piece in pieces:
        yield "".join(
            json.dumps({name: row.get(name) for name in COLUMNS}, ensure_ascii=False) + "\n"
            for row in map(_flatten, piece)
        )


def create_router(database: Database, register: Register, pages: Pages) -> APIRouter:
    """Return the oversight body's routes."""
    router = APIRouter(include_in_schema=False)
    watch = Watch(database)

    async def admit(request: Request, subject: str) -> Person:
        """Return who looks, once it is written down, sealed."""
        person = await pages.people.require(request, Role.OVERSIGHT)
        try:
            await register.note(person, "oversight", subject, "Opened the list of findings.", utc_now())
        except SealMissing:
            refuse(HTTPStatus.SERVICE_UNAVAILABLE, "seal-missing", "OVERSIGHT_SEAL_KEY_FILE is not set.")
        return person

    @router.get("/oversight")
    async def show_findings(request: Request) -> Response:
        person = await admit(request, "findings")
        return pages.render(
            request,
            "oversight.html",
            person,
            groups=await watch.read_groups(),
            handling=await watch.read_handling(),
            actions=await watch.read_actions(),
            causes=await watch.read_causes(),
            explain=explain,
            rows_max=ROWS_PER_FINDING_MAX,
        )

    @router.get("/oversight/findings.csv")
    async def give_findings(request: Request) -> Response:
        await admit(request, "findings.csv")
        headers = {**PAGE_HEADERS, "Content-Disposition": 'attachment; filename="findings.csv"'}
        return StreamingResponse(write_csv(watch.stream_all()), media_type="text/csv", headers=headers)

    @router.get("/oversight/findings.jsonl")
    async def give_lines(request: Request) -> Response:
        await admit(request, "findings.jsonl")
        headers = {**PAGE_HEADERS, "Content-Disposition": 'attachment; filename="findings.jsonl"'}
        return StreamingResponse(write_lines(watch.stream_all()), media_type="application/jsonl", headers=headers)

    return router
