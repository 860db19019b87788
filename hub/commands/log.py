"""log show, publish and key: the evidence log, as it stands and as files."""

from pathlib import Path
from typing import Annotated, Any

import typer

from contracts.log.note import Kind, VerifierKey, is_key_name
from hub import publication, trust
from hub.commands.terminal import AsJson, database, print_json, print_line, print_table, wait_for, working
from hub.publication import Published
from hub.settings import Settings, read_settings
from hub.store import tiles
from hub.trust import RegistryInForce

app = typer.Typer(no_args_is_help=True, help="Show the evidence log, and publish it as files.")


@app.command(epilog="Example: hub log show --json")
def show(as_json: AsJson = False) -> None:
    """Show how far the log is: leaves, tree, the newest checkpoint, what each witness cosigned last."""
    state = wait_for(_show(read_settings()))
    if as_json:
        print_json(state)
        return
    print_line(f"{state['origin']}: {state['leaves']} leaves, {state['tree']} in the tree.")
    signed = state["checkpoint"]
    if signed is None:
        print_line("No checkpoint was signed yet.")
    else:
        print_line(f"Signed: size {signed['size']} at {signed['signed_at']:%Y-%m-%d %H:%M:%S}.")
    print_table(state["witnesses"], ("name", "size", "signed_at"), "The registry names no witness.")


async def _show(settings: Settings) -> dict[str, Any]:
    in_force = RegistryInForce(trust.read_root(settings.trust_root_file))
    async with database(settings) as opened, opened.snapshot() as connection:
        registry = await in_force.refresh(connection)
        newest = await tiles.read_newest(connection)
        cosigned = {key: await tiles.read_cosigned(connection, [key.write()], 1) for key in registry.log.witnesses}
        return {
            "origin": registry.log_origin,
            "leaves": await tiles.count_leaves(connection),
            "tree": await tiles.read_size(connection),
            "checkpoint": None if newest is None else _describe(newest),
            "witnesses": [
                {"name": key.name} | ({"size": 0, "signed_at": None} if found is None else _describe(found))
                for key, found in cosigned.items()
            ],
        }


def _describe(checkpoint: tiles.StoredCheckpoint) -> dict[str, Any]:
    return {"size": checkpoint.size, "signed_at": checkpoint.signed_at}


@app.command(epilog="Example: hub log publish /srv/log")
def publish(
    folder: Annotated[Path, typer.Argument(help="Where the files go; a web server can serve it as it is.")],
    as_json: AsJson = False,
) -> None:
    """Write the log as static files (C2SP tlog-tiles): only what is missing, the checkpoint last. Safe to repeat."""
    with working("Publishing"):
        done = wait_for(_publish(read_settings(), folder))
    if as_json:
        print_json(done._asdict())
    else:
        print_line(f"{folder} has the log up to size {done.size}: {done.files} files written.")


async def _publish(settings: Settings, folder: Path) -> Published:
    in_force = RegistryInForce(trust.read_root(settings.trust_root_file))
    async with database(settings) as opened, opened.snapshot() as connection:
        return await publication.publish(connection, await in_force.refresh(connection), folder)


@app.command(epilog="Example: LOG_KEY_FILE=log.pem hub log key hub.example/demo")
def key(
    origin: Annotated[str, typer.Argument(help="The log's origin, as it stands in the registry's log_origin.")],
) -> None:
    """Print the verifier key of LOG_KEY_FILE (C2SP signed-note), as it goes into the registry's log_keys."""
    if not is_key_name(origin):
        raise typer.BadParameter("An origin has no space and no plus.")
    private = trust.read_private_key(read_settings().log_key_file, "LOG_KEY_FILE")
    print_line(VerifierKey.of(origin, Kind.ED25519, private.public).write())
