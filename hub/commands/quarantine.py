"""quarantine: what was refused, why, and whose fault it is. To take it up again is the repair desk's."""

from typing import Annotated, Any

import typer

from contracts.errors import EXPLANATIONS, Code
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
from hub.store import quarantine

LIMIT_DEFAULT = 100
LIMIT_MAX = 10_000
COLUMNS = ("id", "received_at", "participant", "code", "fault", "topic", "partition", "offset", "resolution")
# What was refused may hold a person's data, so that its bytes are neither listed nor shown.
HIDDEN = {"key", "value", "headers", "salt"}

app = typer.Typer(no_args_is_help=True, help="Refused messages.")


@app.command("list", epilog="Example: hub quarantine list --participant bri --code signature_invalid")
def list_parked(
    code: Annotated[Code | None, typer.Option(help="Only those refused with this code.")] = None,
    participant: Annotated[str | None, typer.Option(help="Only those of this participant.")] = None,
    resolved: Annotated[bool, typer.Option("--all", help="Also those that were resolved.")] = False,
    after: Annotated[int, typer.Option(help="Only those after this id, to page on.", min=0)] = 0,
    limit: Annotated[int, typer.Option(help="At most so many.", min=1, max=LIMIT_MAX)] = LIMIT_DEFAULT,
    as_json: AsJson = False,
) -> None:
    """List what was refused, oldest first."""
    chosen = None if code is None else str(code)
    rows = wait_for(_list(read_settings(), chosen, participant, resolved, after, limit))
    if as_json:
        print_json(rows)
    else:
        print_table(rows, COLUMNS, "Nothing is in quarantine.")


async def _list(
    settings: Settings, code: str | None, participant: str | None, resolved: bool, after: int, limit: int
) -> list[dict[str, Any]]:
    async with database(settings) as opened, opened.connection() as connection:
        return await quarantine.list_parked(
            connection, code=code, participant=participant, resolved=resolved, after=after, limit=limit
        )


@app.command("show", epilog="Example: hub quarantine show 17")
def show_parked(
    parked_id: Annotated[int, typer.Argument(metavar="ID", help="The id that the list shows.")], as_json: AsJson = False
) -> None:
    """Show why a message was refused, whose fault that is and what to do. Exit code 1 if there is no such message."""
    found = wait_for(_find(read_settings(), parked_id))
    if found is None:
        print_fault(f"There is no message {parked_id} in quarantine.")
        raise typer.Exit(FOUND_WRONG)
    explanation = EXPLANATIONS[Code(found["code"])]
    size = len(found["value"] or b"")
    shown = {name: value for name, value in found.items() if name not in HIDDEN}
    shown |= {"value_bytes": size, "meaning": explanation.meaning_en, "remedy": explanation.remedy_en}
    if as_json:
        print_json(shown | {"meaning_id": explanation.meaning_id, "remedy_id": explanation.remedy_id})
        return
    for name, value in shown.items():
        if value is not None:
            print_line(f"{name.replace('_', ' ')}: {value}")


async def _find(settings: Settings, parked_id: int) -> dict[str, Any] | None:
    async with database(settings) as opened, opened.connection() as connection:
        return await quarantine.show_parked(connection, parked_id)
