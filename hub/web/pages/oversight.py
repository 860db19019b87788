"""What the oversight body sees first: the findings, as leads and not as guilt, and all of them to take away."""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request, Response

from contracts.rules.rulebook import FindingRule
from contracts.wire.instant import write_instant
from hub.accounts import Person, Role
from hub.clock import utc_now
from hub.lookups import Register, SealMissing
from hub.store import dossiers
from hub.store.database import Database
from hub.store.progress import Rulebooks
from hub.web.pages.frame import PAGE_HEADERS, Pages
from hub.web.problems import refuse

# A page that nobody can read to its end helps nobody; the export holds all.
ROWS_PER_FINDING_MAX = 50
COLUMNS = (
    "number", "id", "revision", "state", "finding", "subject", "rule_set", "opened_at", "opened_index", "closed_at",
    "closed_index", "since", "measured", "denominator", "counted", "cases", "log_indices",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Group:
    """One of the findings: what its rule set says of it, and the leads that are open."""

    rule: FindingRule
    leads: list[dict[str, Any]]

    @property
    def shown(self) -> list[dict[str, Any]]:
        """The newest of them."""
        return self.leads[::-1][:ROWS_PER_FINDING_MAX]


class Watch:
    """Reads what the oversight body sees."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._rulebooks = Rulebooks()

    async def read_groups(self) -> list[Group]:
        """Return every finding of the newest rule set that has any, those with open leads first."""
        async with self._database.connection() as connection:
            rulebook = await self._rulebooks.read(connection)
            listed = await dossiers.list_findings(connection, closed=False)
        rules = next((rule_set.findings for rule_set in rulebook if rule_set.findings), {})
        groups = [Group(rule, [one for one in listed if one["finding"] == word]) for word, rule in rules.items()]
        return sorted(groups, key=lambda group: (not group.leads, group.rule.number))

    async def read_all(self) -> list[dict[str, Any]]:
        """Return every finding, those that are over too."""
        async with self._database.connection() as connection:
            return await dossiers.list_findings(connection, closed=True)


def write_csv(findings: Iterable[dict[str, Any]]) -> str:
    """Return findings as CSV (RFC 4180), one to a line."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\r\n")
    writer.writeheader()
    for finding in findings:
        lead = finding["lead"]
        lists = {name: " ".join(map(str, lead[name])) for name in ("cases", "log_indices")}
        times = {name: write_instant(finding[name]) for name in ("opened_at", "closed_at") if finding[name]}
        writer.writerow(lead | finding | lists | times)
    return text.getvalue()


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
        groups = await watch.read_groups()
        return pages.render(request, "oversight.html", person, groups=groups, rows_max=ROWS_PER_FINDING_MAX)

    @router.get("/oversight/findings.csv")
    async def give_findings(request: Request) -> Response:
        await admit(request, "findings.csv")
        headers = {**PAGE_HEADERS, "Content-Disposition": 'attachment; filename="findings.csv"'}
        return Response(write_csv(await watch.read_all()), media_type="text/csv", headers=headers)

    return router
