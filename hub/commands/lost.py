"""lost: what topics deleted before the hub took it in, and that somebody has looked into it."""

from collections.abc import Sequence
from typing import Annotated

import typer

from hub import losses, trust
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
from hub.settings import Settings, read_settings
from hub.store.losses import Loss, list_losses

COLUMNS = ("name", "to_offset", "records", "noted_at", "acknowledged_at", "actor", "reason")

app = typer.Typer(no_args_is_help=True, help="Stretches that were lost to a topic's retention.")


@app.command("list", epilog="Example: hub lost list --all")
def list_lost(
    acknowledged: Annotated[bool, typer.Option("--all", help="Also those that were acknowledged.")] = False,
    as_json: AsJson = False,
) -> None:
    """List what topics deleted before the hub took it in, oldest first. The senders send it again within 12 hours."""
    rows = [loss.describe() for loss in wait_for(_list(read_settings(), acknowledged))]
    if as_json:
        print_json(rows)
    else:
        print_table(rows, COLUMNS, "Nothing that was lost waits to be acknowledged.")


async def _list(settings: Settings, acknowledged: bool) -> Sequence[Loss]:
    async with database(settings) as opened, opened.connection() as connection:
        return await list_losses(connection, acknowledged=acknowledged)


@app.command("acknowledge", epilog='Example: hub lost acknowledge from.bri/0/120 --reason "All has come again"')
def acknowledge_lost(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name that the list shows.")],
    reason: Annotated[str, typer.Option(help="Why; it is written into the evidence log. No personal data.")],
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Say that a lost stretch was looked into, which ends its alarm. The action is a leaf of the evidence log.

    Exit code 1 if no such stretch waits to be acknowledged.
    """
    try:
        wait_for(_acknowledge(read_settings(), name, name_actor(actor), reason))
    except losses.NotLost as error:
        print_fault(str(error))
        raise typer.Exit(FOUND_WRONG) from None
    if as_json:
        print_json({"name": name, "acknowledged": True})
    else:
        print_line("It is acknowledged.")


async def _acknowledge(settings: Settings, name: str, actor: str, reason: str) -> None:
    root = trust.read_root(settings.trust_root_file)
    async with database(settings) as opened:
        await losses.acknowledge(Desk(opened, root), name, actor, reason, utc_now())
