"""accounts: the people who may sign in to the exchange's pages."""

from typing import Annotated, Any

import typer

from hub.accounts import AccountInvalid, Role, make_account, make_openid_account
from hub.clock import utc_now
from hub.commands.terminal import (
    FOUND_WRONG,
    AsJson,
    database,
    print_fault,
    print_json,
    print_line,
    print_table,
    read_password,
    wait_for,
)
from hub.settings import Settings, SettingsInvalid, read_settings
from hub.store import accounts
from hub.store.accounts import Account

COLUMNS = ("name", "role", "unit", "participant", "person", "openid", "created_at", "disabled_at")

app = typer.Typer(no_args_is_help=True, help="The people who may sign in to the pages.")


@app.command("add", epilog="Example: hub accounts add siti --role officer --unit unit-00001 < password.txt")
def add_account(
    name: Annotated[str, typer.Argument(help="The name to sign in with.")],
    role: Annotated[Role, typer.Option(help="What the person may see.")],
    unit: Annotated[str | None, typer.Option(help="An officer's unit, as the ministry's events name it.")] = None,
    participant: Annotated[
        str | None, typer.Option(help="The bank or labour office that its person answers for.")
    ] = None,
    person: Annotated[
        str | None, typer.Option(help="For somebody with several accounts: the name that all of them share.")
    ] = None,
    openid_subject: Annotated[
        str | None, typer.Option(help="Whom the OpenID provider calls so signs in there, without a password here.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Add an account. The password is asked for, or read as one line where nobody sits at a terminal.

    Exit code 1 if the name or the subject is taken.
    """
    try:
        if openid_subject is not None:
            account = make_openid_account(name, role, unit, participant, openid_subject, person)
        else:
            account = make_account(name, role, unit, participant, read_password(confirm=True), person)
    except AccountInvalid as error:
        raise SettingsInvalid(str(error)) from None
    if not wait_for(_add(read_settings(), account)):
        print_fault(f"There is an account {name} already, or one for that subject.")
        raise typer.Exit(FOUND_WRONG)
    if as_json:
        print_json({"name": name, "role": role.value})
    else:
        print_line(f"{name} may sign in.")


async def _add(settings: Settings, account: Account) -> bool:
    async with database(settings) as opened, opened.connection() as connection:
        return await accounts.add(connection, account, utc_now())


@app.command("list", epilog="Example: hub accounts list --json")
def list_accounts(as_json: AsJson = False) -> None:
    """List the accounts, those that were disabled too."""
    rows = wait_for(_list(read_settings()))
    if as_json:
        print_json(rows)
    else:
        print_table(rows, COLUMNS, "No accounts.")


async def _list(settings: Settings) -> list[dict[str, Any]]:
    async with database(settings) as opened, opened.connection() as connection:
        return await accounts.list_all(connection)


@app.command("disable", epilog="Example: hub accounts disable siti")
def disable_account(
    name: Annotated[str, typer.Argument(help="The name that the list shows.")], as_json: AsJson = False
) -> None:
    """Keep somebody from signing in, and end the sessions there are. Exit code 1 if there is no such account."""
    if not wait_for(_disable(read_settings(), name)):
        print_fault(f"There is no account {name} that may sign in.")
        raise typer.Exit(FOUND_WRONG)
    if as_json:
        print_json({"name": name, "disabled": True})
    else:
        print_line(f"{name} may not sign in any more.")


async def _disable(settings: Settings, name: str) -> bool:
    async with database(settings) as opened, opened.connection() as connection:
        return await accounts.disable(connection, name, utc_now())
