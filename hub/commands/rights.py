"""database roles and check: who may do what in the database."""

import typer

from hub.commands.terminal import FOUND_WRONG, AsJson, database, print_json, print_line, wait_for
from hub.settings import Settings, read_settings
from hub.store import privileges, schema

app = typer.Typer(no_args_is_help=True, help="The database's roles: what each process may do, and no more.")


@app.command(epilog="Example: hub database roles > roles.sql")
def roles() -> None:
    """Print the SQL by which the server's administrator makes a group role for each kind of process. Safe to repeat.

    Then `hub migrate`, as the owner, grants each of them what its statements need.
    """
    typer.echo(privileges.write_roles(wait_for(schema.read_name(read_settings().database_url))), nl=False)


@app.command(epilog="Example: hub database check --json")
def check(as_json: AsJson = False) -> None:
    """Compare the database's roles and rights with what this hub asks for. Exit code 1 if anything differs."""
    drift = wait_for(_check(read_settings()))
    if as_json:
        print_json({"drift": drift})
    else:
        for sentence in drift or ["Roles and rights are as they should be."]:
            print_line(sentence)
    if drift:
        raise typer.Exit(FOUND_WRONG)


async def _check(settings: Settings) -> list[str]:
    async with database(settings) as opened, opened.connection() as connection:
        return await privileges.find_drift(connection)
