"""reconcile: what banks told, what they booked, what the Ministry billed, day by day, and where that does not agree."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer

from contracts.rules.clock import banking_day_before, count_banking_days, jakarta_day
from contracts.rules.daily_report import COLUMNS
from hub import trust
from hub.clock import utc_now
from hub.commands.terminal import (
    FOUND_WRONG,
    Actor,
    AsJson,
    database,
    name_actor,
    print_fault,
    print_json,
    print_line,
    print_table,
    wait_for,
)
from hub.desk import Desk
from hub.difference import Closing, NotOpen
from hub.reconciler import NotABank, NotABankingDay, Published, Reconciler, Report, check_day
from hub.settings import Settings, read_settings
from hub.store import differences

DEADLINES_MAX = 500
DIFFERENCE_COLUMNS = (
    "id", "participant", "kind", "amount", "currency", "paid_on", "age_banking_days", "state", "explanations",
)  # fmt: skip

app = typer.Typer(no_args_is_help=True, help="The banks' money against their messages and the bills.")

Day = Annotated[str | None, typer.Option(help="The banking day in Jakarta, YYYY-MM-DD; by default the last one over.")]
Bank = Annotated[str | None, typer.Option(help="Only this bank.")]


@app.command("show", epilog="Example: hub reconcile show --day 2026-11-24 --bank bri")
def show_day(
    day: Day = None,
    bank: Bank = None,
    all_differences: Annotated[bool, typer.Option("--all", help="Also differences that are over.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show each bank's totals of a day as of now, and the differences that are open by then. Publishes nothing."""
    chosen = _read_day(day)
    reports, listed = wait_for(_show(read_settings(), chosen, bank, all_differences))
    if as_json:
        print_json({"reports": [_describe(report) for report in reports], "differences": listed})
        return
    _print_totals(reports)
    print_table(listed, DIFFERENCE_COLUMNS, "No difference is open.")


@app.command("run", epilog="Example: hub reconcile run --day 2026-11-24 --out reports")
def run_day(
    day: Day = None,
    bank: Bank = None,
    out: Annotated[Path | None, typer.Option(help="A folder to write the reports to, <day>-<bank>.json.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check what is due and publish each bank's report of a day, to the bank and the Ministry, signed by the relay.

    Safe to repeat: a report that says the same is not published again, one that late messages changed is another
    revision.
    """
    chosen = _read_day(day)
    published = wait_for(_run(read_settings(), chosen, bank))
    for one in published if out is not None else ():
        out.mkdir(parents=True, exist_ok=True)  # type: ignore[union-attr]
        (out / f"{one.report.day}-{one.report.participant}.json").write_bytes(one.report.document)  # type: ignore[operator]
    if as_json:
        print_json([_describe(one.report) | {"revision": one.revision, "published_now": one.new} for one in published])
        return
    _print_totals([one.report for one in published])
    for one in published:
        state = "published now" if one.new else "said so before"
        print_line(f"{one.report.participant}: revision {one.revision}, {state}, SHA-256 {one.report.sha256}")


@app.command("close", epilog='Example: hub reconcile close 820261124000001:4f… --reason "Refunded on 24 November"')
def close_difference(
    difference_id: Annotated[str, typer.Argument(metavar="ID", help="The difference's id.")],
    reason: Annotated[str, typer.Option(help="Why; bank, Ministry and the evidence log get it. No personal data.")],
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Close a difference that is explained or will not be resolved. The action is a leaf of the evidence log.

    Exit code 1 if no such difference is open.
    """
    try:
        wait_for(_close(read_settings(), Closing(difference_id, reason), name_actor(actor)))
    except NotOpen as error:
        print_fault(str(error))
        raise typer.Exit(FOUND_WRONG) from None
    if as_json:
        print_json({"id": difference_id, "state": "closed"})
    else:
        print_line("It is closed.")


def _read_day(text: str | None) -> date:
    """Read a banking day. Raises typer.BadParameter, which is exit code 2."""
    if text is None:
        return banking_day_before(jakarta_day(utc_now()))
    try:
        return check_day(date.fromisoformat(text))
    except NotABankingDay as error:
        raise typer.BadParameter(str(error)) from None
    except ValueError:
        raise typer.BadParameter("--day must be a date such as 2026-11-24.") from None


async def _banks(reconciler: Reconciler, bank: str | None) -> list[str]:
    try:
        return await reconciler.list_banks(bank)
    except NotABank as error:
        raise typer.BadParameter(str(error)) from None


async def _show(
    settings: Settings, day: date, bank: str | None, over: bool
) -> tuple[list[Report], list[dict[str, Any]]]:
    root = trust.read_root(settings.trust_root_file)
    async with database(settings) as opened:
        reconciler = Reconciler(Desk(opened, root))
        banks = await _banks(reconciler, bank)
        reports = [await reconciler.make(name, day) for name in banks]
        async with opened.connection() as connection:
            listed = await differences.list_differences(connection, participant=bank, until=day, closed=over)
    ages = [{"age_banking_days": count_banking_days(one["paid_on"], day)} for one in listed]
    return reports, [one | age for one, age in zip(listed, ages, strict=True)]


async def _run(settings: Settings, day: date, bank: str | None) -> list[Published]:
    root = trust.read_root(settings.trust_root_file)
    async with database(settings) as opened:
        desk = Desk(opened, root)
        reconciler = Reconciler(desk)
        banks = await _banks(reconciler, bank)
        now = utc_now()
        while len(await desk.fire_timers(now, DEADLINES_MAX)) == DEADLINES_MAX:
            now = utc_now()
        return [await reconciler.report(name, day, utc_now()) for name in banks]


async def _close(settings: Settings, closing: Closing, actor: str) -> None:
    root = trust.read_root(settings.trust_root_file)
    async with database(settings) as opened:
        await Reconciler(Desk(opened, root)).close(closing, actor, utc_now())


def _describe(report: Report) -> dict[str, Any]:
    return report.members | {"sha256": report.sha256}


def _print_totals(reports: list[Report]) -> None:
    rows = [row for report in reports for row in _list_totals(report)]
    print_table(rows, ("bank", "day", "currency", *COLUMNS), "No money of that day is known.")


def _list_totals(report: Report) -> Iterator[dict[str, Any]]:
    """Yield a row for each currency: how many, and how much together."""
    for total in report.members["totals"]:
        sums = {name: f"{total[name]['count']}: {total[name]['amount']}" for name in COLUMNS}
        yield {"bank": report.participant, "day": report.day, "currency": total["currency"]} | sums
