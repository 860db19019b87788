"""lookups export: one day's record of who looked at whose file, with the proof of its root."""

import json
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer

from hub import trust
from hub.commands.terminal import FOUND_WRONG, AsJson, database, print_fault, print_json, print_line, wait_for
from hub.lookup_days import DayNotClosed, export_day
from hub.settings import Settings, read_settings
from hub.trust import read_root

app = typer.Typer(no_args_is_help=True, help="The record of who looked at whose file.")

EXPORT_MODE = 0o600


@app.callback()
def _lookups() -> None:
    # With one command alone, typer would take its name away.
    """Hand the record of who looked at whose file to the oversight body."""


@app.command(epilog="Example: hub lookups export 2026-11-24 -o lookups.json")
def export(
    day: Annotated[str, typer.Argument(help="A day in Jakarta, YYYY-MM-DD, that is over.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file. It names people: keep it private.")],
    as_json: AsJson = False,
) -> None:
    """Write a day's look-ups, the oversight body's sealed, with their salts, the day's entry and the proof of it.

    `python -m connectors.oversight lookups` checks the file. Exit code 1 if the day has no root in the log yet.
    """
    try:
        chosen = date.fromisoformat(day)
    except ValueError:
        raise typer.BadParameter("DAY must be a date such as 2026-11-24.") from None
    try:
        document = wait_for(_export(read_settings(), chosen))
    except DayNotClosed as error:
        print_fault(str(error))
        raise typer.Exit(FOUND_WRONG) from None
    output.touch(mode=EXPORT_MODE)
    output.chmod(EXPORT_MODE)
    output.write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", "utf-8")
    number = len(document["lookups"])
    if as_json:
        print_json({"written": str(output), "rows": number})
    else:
        print_line(f"{number} rows written: {output}")


async def _export(settings: Settings, day: date) -> dict[str, Any]:
    root = read_root(settings.trust_root_file)
    async with database(settings) as opened, opened.snapshot() as connection:
        in_force = await trust.load(connection, root)
        return await export_day(connection, in_force.registry, day)
