"""retention: what may go after its time, what never goes, and how large everything is."""

from typing import Annotated

import typer

from hub import retention, trust
from hub.clock import utc_now
from hub.commands.terminal import (
    FOUND_WRONG,
    Actor,
    AsJson,
    database,
    name_actor,
    print_fault,
    print_json,
    print_table,
    wait_for,
    working,
)
from hub.desk import Desk
from hub.retention import BusyElsewhere, Plans, Row
from hub.settings import Settings, read_settings

app = typer.Typer(no_args_is_help=True, help="What goes after its time, and what never goes.")


@app.command(epilog="Example: hub retention plan")
def plan(as_json: AsJson = False) -> None:
    """Show every table: its size, its rule, and how much of it would go now. Nothing is changed."""
    rows = [row._asdict() for row in wait_for(_look(read_settings()))]
    if as_json:
        print_json(rows)
    else:
        print_table(rows, Row._fields, "")


async def _look(settings: Settings) -> list[Row]:
    async with database(settings) as opened:
        desk = Desk(opened, trust.read_root(settings.trust_root_file))
        limits = (await desk.judgement()).registry.limits
        return await retention.look(opened, limits.expiry_days_max, utc_now())


@app.command(epilog='Example: hub retention apply --reason "The month is over"')
def apply(
    reason: Annotated[str, typer.Option(help="Why; it is written into the evidence log. No personal data.")],
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Let go what the plan shows, as the database's owner. Safe to repeat, and to kill. A leaf of the log says so.

    Exit code 1 if somebody else is at it, or holds a table for too long: what was done stays done.
    """
    try:
        with working("Letting go"):
            went = wait_for(_apply(read_settings(), name_actor(actor), reason))
    except BusyElsewhere as error:
        print_fault(str(error))
        raise typer.Exit(FOUND_WRONG) from None
    shown = went._asdict() | {"months": len(went.months)}
    if as_json:
        print_json(shown)
    else:
        print_table([shown], shown, "")


async def _apply(settings: Settings, actor: str, reason: str) -> Plans:
    async with database(settings) as opened:
        desk = Desk(opened, trust.read_root(settings.trust_root_file))
        return await retention.apply(desk, actor, reason, utc_now())
