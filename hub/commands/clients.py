"""clients: the machines that ask the API with a secret."""

import secrets
from typing import Annotated, Any

import typer

from hub.accounts import AccountInvalid, Role, check_name, check_reach
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
from hub.settings import Settings, SettingsInvalid, read_settings
from hub.store import clients
from hub.store.clients import Client
from hub.web.access import digest_token
from hub.web.scopes import OF_ROLE, Scope

COLUMNS = ("id", "role", "unit", "participant", "scopes", "created_at", "disabled_at")
SECRET_BYTES = 32

app = typer.Typer(no_args_is_help=True, help="The machines that ask the API with a secret (OAuth client credentials).")


@app.command("add", epilog="Example: hub clients add kpk-analysis --role oversight --scope findings:read")
def add_client(
    identity: Annotated[str, typer.Argument(metavar="ID", help="The client's id.")],
    role: Annotated[Role, typer.Option(help="What the machine may see.")],
    unit: Annotated[str | None, typer.Option(help="The unit that an officer's machine asks for.")] = None,
    participant: Annotated[
        str | None, typer.Option(help="The participant that a bank's or a labour office's machine asks for.")
    ] = None,
    scope: Annotated[list[Scope] | None, typer.Option(help="What it may ask; repeatable. All of its role's.")] = None,
    as_json: AsJson = False,
) -> None:
    """Add a client and print its secret, which nobody can read again. Exit code 1 if the id is taken.

    A machine that can sign needs none: it asks with the participant's key that stands in the registry.
    """
    secret = secrets.token_urlsafe(SECRET_BYTES)
    client = _make(identity, role, (unit, participant), frozenset(scope or ()), secret)
    if not wait_for(_add(read_settings(), client)):
        print_fault(f"There is a client {identity} already.")
        raise typer.Exit(FOUND_WRONG)
    if as_json:
        print_json({"id": identity, "secret": secret, "scopes": client.scopes})
    else:
        print_line(f"{identity} may ask {', '.join(client.scopes)}. Its secret, shown this once:")
        print_line(secret)


def _make(
    identity: str, role: Role, reach: tuple[str | None, str | None], scopes: frozenset[Scope], secret: str
) -> Client:
    """Return a client as it is kept. Raises SettingsInvalid."""
    granted = OF_ROLE.get(role, frozenset())
    try:
        check_name(identity)
        check_reach(role, *reach)
    except AccountInvalid as error:
        raise SettingsInvalid(str(error)) from None
    if not scopes <= granted or not granted:
        raise SettingsInvalid(f"The role {role.value} may ask: {', '.join(sorted(granted)) or 'nothing'}.")
    return Client(identity, role.value, *reach, sorted(scopes or granted), digest_token(secret))


async def _add(settings: Settings, client: Client) -> bool:
    async with database(settings) as opened, opened.connection() as connection:
        return await clients.add(connection, client, utc_now())


@app.command("list", epilog="Example: hub clients list --json")
def list_clients(as_json: AsJson = False) -> None:
    """List the clients, those that were disabled too."""
    rows = wait_for(_list(read_settings()))
    if as_json:
        print_json(rows)
    else:
        print_table(rows, COLUMNS, "No clients.")


async def _list(settings: Settings) -> list[dict[str, Any]]:
    async with database(settings) as opened, opened.connection() as connection:
        return await clients.list_all(connection)


@app.command("disable", epilog="Example: hub clients disable kpk-analysis")
def disable_client(
    identity: Annotated[str, typer.Argument(metavar="ID", help="The id that the list shows.")], as_json: AsJson = False
) -> None:
    """Keep a machine out at once, with every token that it has. Exit code 1 if there is no such client."""
    if not wait_for(_disable(read_settings(), identity)):
        print_fault(f"There is no client {identity} that may ask.")
        raise typer.Exit(FOUND_WRONG)
    if as_json:
        print_json({"id": identity, "disabled": True})
    else:
        print_line(f"{identity} may not ask any more.")


async def _disable(settings: Settings, identity: str) -> bool:
    async with database(settings) as opened, opened.connection() as connection:
        return await clients.disable(connection, identity, utc_now())
