"""counts: what each participant said in each day, as the hub and as the participant count it."""

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any

import typer

from hub import trust
from hub.clock import utc_now
from hub.commands.terminal import FOUND_WRONG, AsJson, database, print_json, print_line, print_table, wait_for
from hub.counts import DayCounter, Made
from hub.desk import Desk
from hub.settings import Settings, read_settings
from hub.store.counts import list_counts

COLUMNS = ("day", "participant", "source", "entries", "accepted", "refused", "verdict", "difference")
DIFFERENT = ("differs", "unknown")

app = typer.Typer(no_args_is_help=True, help="Daily counts that both sides compare.")


@app.command("show", epilog="Example: hub counts show --day 2026-11-24 --participant bri")
def show(
    day: Annotated[str | None, typer.Option(help="Only this day in Jakarta, YYYY-MM-DD.")] = None,
    participant: Annotated[str | None, typer.Option(help="Only this participant.")] = None,
    differing: Annotated[bool, typer.Option("--differing", help="Only counts that differ.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what was counted of each day, and whether the participant counts the same; `waiting`: it has not said.

    Exit code 1 if a shown count differs; the sequences that are missing are named.
    """
    try:
        chosen = None if day is None else date.fromisoformat(day)
    except ValueError:
        raise typer.BadParameter("--day must be a date such as 2026-11-24.") from None
    rows = wait_for(_list(read_settings(), participant, chosen))
    shown = [row for row in rows if not differing or row["verdict"] in DIFFERENT]
    if as_json:
        print_json(shown)
    else:
        print_table([_describe(row) for row in shown], COLUMNS, "Nothing was counted.")
    if any(row["verdict"] in DIFFERENT for row in shown):
        raise typer.Exit(FOUND_WRONG)


async def _list(settings: Settings, participant: str | None, day: date | None) -> list[dict[str, Any]]:
    async with database(settings) as opened, opened.connection() as connection:
        return await list_counts(connection, participant, day)


def _describe(row: Mapping[str, Any]) -> dict[str, Any]:
    detail = row.get("detail", {})
    return {
        "day": row["day"],
        "participant": row["participant"],
        "source": row["source"],
        "entries": f"{row['first_index']} to {row['log_size']}",
        "accepted": row["accepted"],
        "refused": sum(one["count"] for one in row["refused"]),
        "verdict": row["verdict"],
        "difference": detail.get("words") or detail.get("why"),
    }


@app.command("make", epilog="Example: hub counts make --json")
def make(as_json: AsJson = False) -> None:
    """Count every day that is over and was not counted, and compare what participants said. Safe to repeat.

    `hub deadlines` does the same; a new exchange's first count is made by this command alone on its first day.
    """
    made = wait_for(_make(read_settings()))
    if as_json:
        print_json([one._asdict() for one in made])
        return
    for one in made:
        print_line(f"{one.participant} {one.day}: {one.accepted} accepted, {one.refused} refused")
    print_line(f"{len(made)} counted.")


async def _make(settings: Settings) -> list[Made]:
    root = trust.read_root(settings.trust_root_file)
    async with database(settings) as opened:
        counter = DayCounter(Desk(opened, root))
        now = utc_now()
        made = await counter.catch_up(now, from_first_day=False)
        await counter.judge(now)
    return made
