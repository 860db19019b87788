"""findings, statistics, register: what the hub's own overseer sees, a month in figures, and who works where."""

import csv
import sys
from collections.abc import Sequence
from datetime import date
from typing import Annotated, Any, NamedTuple

import typer

from contracts.oversight.dossier import Dossier
from contracts.oversight.lead import Rules
from contracts.oversight.register import Registered, compare
from contracts.oversight.statistics import Observation, Row, count_month, observe
from contracts.rules.clock import jakarta_day
from contracts.rules.rulebook import RuleSet
from hub.clock import utc_now
from hub.commands.terminal import (
    FOUND_WRONG,
    AsJson,
    database,
    print_fault,
    print_json,
    print_line,
    print_table,
    wait_for,
)
from hub.settings import Settings, read_settings
from hub.store import audit, dossiers, register, statistics, tiles
from hub.store.database import Database
from hub.store.register import View

COLUMNS = ("number", "finding", "subject", "measured", "state", "opened_at", "closed_at")
ENTRY_COLUMNS = (
    "worker",
    "employer",
    "position",
    "regencies",
    "from",
    "until",
    "ended_on",
    "stay_until",
    "application",
)
DISAGREEMENT_COLUMNS = ("kind", "worker", "application", "since")
ENTRIES_PER_PAGE = 1_000
FIGURES = ("month", "figure", "by", "of", "value", "log_size", "log_root", "rule_sets")

findings_app = typer.Typer(no_args_is_help=True, help="Findings: leads for the overseers, and no guilt.")
register_app = typer.Typer(no_args_is_help=True, help="The register of foreign workers, by pseudonymous references.")
app = typer.Typer()


class Counted(NamedTuple):
    """A month's figures, and what they were computed from: a checkpoint's size and root, and the rule sets' names."""

    month: date
    rows: Sequence[Row]
    log_size: int
    log_root: str
    rule_sets: str

    def list_rows(self) -> list[dict[str, Any]]:
        """Return each figure with what it was computed from."""
        origin = {"log_size": self.log_size, "log_root": self.log_root, "rule_sets": self.rule_sets}
        return [{"month": f"{self.month:%Y-%m}", **row._asdict(), **origin} for row in self.rows]


@findings_app.command("list", epilog="Example: hub findings list --finding silent_file")
def list_findings(
    closed: Annotated[bool, typer.Option("--all", help="Also findings that are closed.")] = False,
    finding: Annotated[str | None, typer.Option(help="Only this finding, by its word.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the findings that are open. Each is a lead: it says where to look, not who is guilty."""
    found = wait_for(_list(read_settings(), closed, finding))
    if as_json:
        print_json(found)
        return
    rows = [one | {"measured": f"{one['lead']['measured']} of {one['lead']['denominator']}"} for one in found]
    print_table(rows, COLUMNS, "No finding is open.")


@findings_app.command("show", epilog="Example: hub findings show 3")
def show_finding(
    number: Annotated[int, typer.Argument(help="The finding's number.")],
    as_json: AsJson = False,
) -> None:
    """Show a finding: what it says, by which rule, and which entries of the evidence log show it.

    Exit code 1 if there is none of this number.
    """
    shown = wait_for(_show(read_settings(), number))
    if shown is None:
        print_fault(f"There is no finding {number}.")
        raise typer.Exit(FOUND_WRONG)
    if as_json:
        print_json(shown)
        return
    lead, rule = (
        shown["lead"],
        shown["rule"] or {"number": "?", "title_en": shown["finding"], "text_en": "", "source": ""},
    )
    print_line(f"Finding {number}, {shown['state']}: {rule['number']} {rule['title_en']}, of {shown['subject']}")
    print_line(f"{rule['text_en']} {lead['detail']}".rstrip())
    print_line(f"{lead['measured']} of {lead['denominator']} {lead['counted']}, since {lead['since']}")
    print_line(f"Rule set {shown['rule_set']}: {rule['source']}")
    print_line(f"Entries of the log: {', '.join(map(str, lead['log_indices']))}")


@app.command("statistics", epilog="Example: hub statistics --month 2026-10 --csv")
def show_statistics(
    month: Annotated[str | None, typer.Option(help="The month, YYYY-MM; by default the one before this.")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV instead of text.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show a month: stock, flow, workers, service times, compensation, as of one checkpoint of the log.

    A month that is over is shown as the hub counted it; any other is counted now, as of the newest checkpoint. Cells
    under 5 are left out. Whoever has the packs computes the same: `python -m connectors.oversight statistics`.
    """
    counted = wait_for(_count(read_settings(), _read_month(month)))
    rows = counted.list_rows()
    if as_json:
        print_json({"figures": rows})
    elif as_csv:
        writer = csv.DictWriter(sys.stdout, FIGURES)
        writer.writeheader()
        writer.writerows(rows)
    else:
        print_table(rows, FIGURES[1:5], "Nothing was counted.")
        print_line(f"Log of {counted.log_size} entries, root {counted.log_root}; rule sets {counted.rule_sets}.")


@register_app.command("list", epilog="Example: hub register list --regency 3171 --expiring 60")
def list_workers(
    regency: Annotated[
        list[str] | None, typer.Option(help="Only workers in this regency (BPS code); repeatable.")
    ] = None,
    expiring: Annotated[int | None, typer.Option(min=1, help="Only permits that end within so many days.")] = None,
    as_json: AsJson = False,
) -> None:
    """List who is in work today: for whom, in which post and regency, until when; by reference, never by name."""
    shown = wait_for(_list_workers(read_settings(), View(sorted(regency) if regency else None), expiring))
    _print_entries([one.to_json() for one in shown], ENTRY_COLUMNS, "Nobody is registered.", as_json)


@register_app.command("differences", epilog="Example: hub register differences")
def list_disagreements(as_json: AsJson = False) -> None:
    """List where Ministry and Immigration do not agree about a worker today: overstays, departures, visas left over."""
    today = jakarta_day(utc_now())
    found = [one for entry in wait_for(_list_differing(read_settings(), today)) for one in compare(entry, today)]
    rows = [one._asdict() | {"log_indices": list(one.log_indices)} for one in found]
    _print_entries(rows, DISAGREEMENT_COLUMNS, "The agencies agree.", as_json)


def _print_entries(rows: list[dict[str, Any]], columns: Sequence[str], empty: str, as_json: bool) -> None:
    if as_json:
        print_json(rows)
    else:
        print_table(rows, columns, empty)


async def _list_workers(settings: Settings, view: View, within: int | None) -> list[Registered]:
    """Read the register in force, page by page; permits that end soon are listed in the order of their end."""
    today, listed = jakarta_day(utc_now()), list[Registered]()
    async with database(settings) as opened, opened.snapshot() as connection:
        while True:
            behind = listed[-1].application if listed else ""
            page = await register.list_in_force(
                connection, view, today, within=within, after=behind, limit=ENTRIES_PER_PAGE
            )
            listed += page
            if len(page) < ENTRIES_PER_PAGE:
                break
    return listed if within is None else sorted(listed, key=lambda entry: (entry.last_day, entry.application))


async def _list_differing(settings: Settings, today: date) -> list[Registered]:
    listed = list[Registered]()
    async with database(settings) as opened, opened.snapshot() as connection:
        while True:
            behind = listed[-1].application if listed else ""
            page = await register.list_differing(connection, View(), today, after=behind, limit=ENTRIES_PER_PAGE)
            listed += page
            if len(page) < ENTRIES_PER_PAGE:
                return listed


def _read_month(text: str | None) -> date:
    """Read a month. Raises typer.BadParameter, which is exit code 2."""
    if text is None:
        first = utc_now().date().replace(day=1)
        return (
            (first.replace(year=first.year - 1, month=12)) if first.month == 1 else first.replace(month=first.month - 1)
        )
    try:
        return date.fromisoformat(f"{text}-01")
    except ValueError:
        raise typer.BadParameter("--month must be a month such as 2026-10.") from None


async def _read_rules(opened: Database) -> Rules:
    async with opened.connection() as connection:
        read = await audit.read_rule_sets(connection)
    return Rules([(index, RuleSet.read(document.encode())) for index, document in read])


async def _list(settings: Settings, closed: bool, finding: str | None) -> list[dict[str, Any]]:
    async with database(settings) as opened, opened.connection() as connection:
        return await dossiers.list_findings(connection, closed=closed, finding=finding)


async def _show(settings: Settings, number: int) -> dict[str, Any] | None:
    async with database(settings) as opened:
        async with opened.connection() as connection:
            shown = await dossiers.read_finding(connection, number)
        if shown is None:
            return None
        rule = (await _read_rules(opened)).find(shown["rule_set"], shown["finding"])
        unknown = {"number": "?", "title_en": shown["finding"], "text_en": "", "source": ""}
        return shown | {"rule": unknown if rule is None else rule.model_dump()}


async def _count(settings: Settings, month: date) -> Counted:
    async with database(settings) as opened:
        rules = await _read_rules(opened)
        now = utc_now()
        async with opened.snapshot() as connection:
            kept = await statistics.read_month(connection, month)
            if kept is not None and kept.final:
                return Counted(month, kept.rows, kept.log_size, kept.log_root, kept.rule_sets)
            checkpoint = await tiles.read_newest(connection)
            size = 0 if checkpoint is None else checkpoint.size
            seen: list[Observation] = []
            async for subject, facts in dossiers.stream_all(connection):
                known = Dossier(subject, (fact for fact in facts if fact.log_index < size))
                observed = observe(known, rules.book, now)
                if observed is not None:
                    seen.append(observed)
        root = "" if checkpoint is None else checkpoint.note.text.split("\n")[2]
        return Counted(month, count_month(seen, month), size, root, " ".join(sorted(rules.by_name)))
