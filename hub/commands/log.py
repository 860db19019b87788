"""log: the evidence log as it stands and as files, and how it goes on where the database was put back."""

from pathlib import Path
from typing import Annotated, Any

import typer

from contracts.log.checkpoint import read_checkpoint
from contracts.log.fault import Unproven
from contracts.log.note import Kind, VerifierKey, is_key_name
from hub import publication, succession, takeover, trust
from hub.clock import utc_now
from hub.cluster import find_cluster
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
    working,
)
from hub.desk import Desk
from hub.publication import Published
from hub.settings import Settings, read_settings
from hub.store import tiles
from hub.succession import NothingLost
from hub.takeover import StreamsDiverge, Taken
from hub.trust import RegistryInForce
from hub.witnesses import Witnesses

app = typer.Typer(
    no_args_is_help=True, help="The evidence log: show it, publish it as files, go on after a restored backup."
)


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


@app.command("new-origin", epilog="Example: hub log new-origin hub.example/2 --key new-log.vkey > settings.json")
def new_origin(
    origin: Annotated[str, typer.Argument(help="The new log's origin, a name that no log had.")],
    key_file: Annotated[Path, typer.Option("--key", help="File with the new log's verifier key (`hub log key`).")],
) -> None:
    """Print the registry settings under which a log goes on whose newest entries are lost for good.

    Asks the witnesses for the last checkpoint of the log that ends. Exit code 1 if this database still contains it:
    then nothing is lost, and the log goes on as it is.
    """
    try:
        new_key = VerifierKey.read(key_file.read_text("utf-8").strip())
        print_json(wait_for(_succeed(read_settings(), origin, new_key)))
    except (NothingLost, Unproven, ValueError) as error:
        print_fault(f"No new log: {error}.")
        raise typer.Exit(FOUND_WRONG) from None
    except OSError as error:
        raise typer.BadParameter(f"{key_file} cannot be read: {error.strerror}.") from None


async def _succeed(settings: Settings, origin: str, new_key: VerifierKey) -> dict[str, Any]:
    in_force = RegistryInForce(trust.read_root(settings.trust_root_file))
    witnesses = Witnesses(url.strip() for url in settings.witness_urls.split(",") if url.strip())
    async with database(settings) as opened:
        async with opened.connection() as connection:
            registry = await in_force.refresh(connection)
        last = succession.choose_last([seen.note for seen in await witnesses.ask_all(registry)])
        async with opened.snapshot() as connection:
            leaves = await tiles.count_leaves(connection)
            if await succession.contains(connection, leaves, read_checkpoint(last.text)):
                raise NothingLost("this database contains all that the witnesses cosigned")
    return {"settings": succession.write_settings(registry, last, origin, new_key), "participants": []}


@app.command("take-over", epilog='Example: hub log take-over --reason "Backup of 03:00 restored"')
def take_over(
    reason: Annotated[str, typer.Option(help="Why; it is written into the evidence log. No personal data.")],
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Copy from Kafka what was told on the hub's streams beyond a restored database. Run it before the hub is started.

    Exit code 1 if this database has said something else since it was restored.
    """
    try:
        with working("Comparing the streams"):
            taken = wait_for(_take_over(read_settings(), name_actor(actor), reason))
    except StreamsDiverge as error:
        print_fault(str(error))
        raise typer.Exit(FOUND_WRONG) from None
    if as_json:
        print_json([stretch._asdict() for stretch in taken])
    else:
        print_table([stretch._asdict() for stretch in taken], Taken._fields, "Kafka holds nothing that is not here.")


async def _take_over(settings: Settings, actor: str, reason: str) -> list[Taken]:
    root = trust.read_root(settings.trust_root_file)
    cluster = find_cluster(settings)
    async with database(settings) as opened:
        return await takeover.take_over(Desk(opened, root), cluster, actor, reason, utc_now())
