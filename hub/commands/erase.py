"""erase: take a person's originals out, by an order that two persons sign."""

from pathlib import Path
from typing import Annotated, Any

import typer

from contracts.erasure import FORMAT, TYP_ERASURE, check_order
from contracts.errors import RegistryError
from contracts.persons import read_proposal, sign_act, write_act
from contracts.wire.instant import write_instant
from hub import erasure, trust
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
    working,
)
from hub.desk import Desk
from hub.erasure import DoneBefore
from hub.settings import Settings, SettingsInvalid, read_settings
from hub.store import erasure as store

app = typer.Typer(no_args_is_help=True, help="Erase originals (UU 27/2022), which takes two persons.")

OrderFile = Annotated[Path, typer.Argument(help="What `hub erase propose` wrote.")]


@app.command(epilog='Example: hub erase propose order.json --case C-1 --reason "Request 17" --legal-basis "UU 27/2022"')
def propose(
    file: Annotated[Path, typer.Argument(help="The new file; must not exist yet.")],
    environment: Annotated[str, typer.Option(help="The exchange's environment, as the registry names it.")],
    reason: Annotated[str, typer.Option(help="Why, in one sentence. No personal data.")],
    legal_basis: Annotated[str, typer.Option(help="On what basis in law.")],
    case: Annotated[list[str] | None, typer.Option("--case", help="An application's number; repeatable.")] = None,
    worker: Annotated[
        list[str] | None, typer.Option("--worker", help="The Ministry's reference of a person: all of it.")
    ] = None,
    message: Annotated[
        list[str] | None,
        typer.Option("--message", metavar="SOURCE ID", help="One message: its source, a space, its id."),
    ] = None,
) -> None:
    """Write an order that nobody has signed yet. Nothing is erased."""
    named = [dict(zip(("source", "id"), one.partition(" ")[::2], strict=True)) for one in message or ()]
    payload = {
        "format": FORMAT, "environment": environment, "issued_at": write_instant(utc_now()), "reason": reason,
        "legal_basis": legal_basis, "messages": named, "cases": case or [], "workers": worker or [],
    }  # fmt: skip
    check_order(payload)
    _write_new(file, write_act(payload, TYP_ERASURE))
    print_line(f"Proposed in {file}. Two persons sign it with `hub erase sign {file} --key FILE`.")


@app.command(epilog="Example: hub erase sign order.json --key sari.pem")
def sign(
    file: OrderFile,
    key: Annotated[Path, typer.Option("--key", help="The person's own private key: PKCS#8 PEM, mode 0600.")],
) -> None:
    """Check what an order says, and sign it. It needs no network and no database."""
    raw = _read(file)
    check_order(read_proposal(raw, TYP_ERASURE))
    part = file.with_name(f"{file.name}.part")
    part.write_bytes(sign_act(raw, TYP_ERASURE, trust.read_private_key(key, "--key")))
    part.replace(file)
    print_line(f"Signed in {file}.")


@app.command(epilog="Example: hub erase apply order.json --dry-run")
def apply(
    file: OrderFile,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would go.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take out every original that a signed order names. Counts are shown, and nothing of what they were.

    The registry in force says who the persons are that may sign it, and how many of them must.

    Exit code 1 if the order was carried out before, or is not signed as it must be.
    """
    try:
        with working("Erasing"):
            shown = wait_for(_apply(read_settings(), _read(file), dry_run))
    except (DoneBefore, RegistryError) as error:
        print_fault(str(error))
        raise typer.Exit(FOUND_WRONG) from None
    if as_json:
        print_json(shown)
    else:
        print_table([shown], shown, "")


async def _apply(settings: Settings, raw: bytes, dry_run: bool) -> dict[str, Any]:
    async with database(settings) as opened:
        desk = Desk(opened, trust.read_root(settings.trust_root_file))
        if dry_run:
            return (await erasure.rehearse(desk, raw, utc_now()))._asdict()
        carried = await erasure.carry_out(desk, raw, utc_now())
    return carried.counts._asdict() | {"log_index": carried.erased.log_index, "gone_at": carried.erased.gone_at}


@app.command(epilog="Example: hub erase status --json")
def status(as_json: AsJson = False) -> None:
    """Show each order that was carried out, and until when topics may still hold what it took out elsewhere."""
    rows = [one._asdict() for one in wait_for(_list(read_settings()))]
    if as_json:
        print_json(rows)
    else:
        print_table(rows, ("sha256", "log_index", "erased_at", "messages", "gone_at"), "Nothing was erased.")


async def _list(settings: Settings) -> list[store.Erased]:
    async with database(settings) as opened, opened.connection() as connection:
        return await store.list_erased(connection)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise SettingsInvalid(f"{file} cannot be read: {error.strerror}.") from None


def _write_new(file: Path, content: bytes) -> None:
    try:
        with file.open("xb") as opened:
            opened.write(content)
    except OSError as error:
        raise SettingsInvalid(f"{file} cannot be written: {error.strerror}.") from None
