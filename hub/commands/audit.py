"""audit export: what an auditor takes away, in one file."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from contracts.audit.pack import Pack, write_pack
from hub.audit import Exporter, NotCovered
from hub.clock import utc_now
from hub.commands.terminal import FOUND_WRONG, AsJson, database, print_fault, print_json, print_line, wait_for, working
from hub.settings import Settings, read_settings
from hub.store import audit as store
from hub.trust import read_root

app = typer.Typer(no_args_is_help=True, help="Hand evidence to an auditor.")

PACK_MODE = 0o600
PACKS_MODE = 0o700
UNSAFE = "/:"


@app.callback()
def _audit() -> None:
    # With one command alone, typer would take its name away.
    """Hand evidence to an auditor."""


@app.command(epilog="Example: hub audit export B.3/000017/PK.04.00/III/2026 -o pack.json")
def export(
    case: Annotated[str, typer.Argument(help="The application's number, or an unclaimed billing code.")] = "",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file, or with --all the folder; else standard output.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="A pack of every case and of every unclaimed code.")] = False,
    since: Annotated[
        int, typer.Option(min=0, help="With --all, only what something was accepted of from this log index on.")
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Write the pack of a case: originals, signatures, proofs, registry, rule sets. It holds personal data.

    Exit code 1 if there is no such case, or no checkpoint that covers it yet.
    """
    if every != (not case) or (every and output is None):
        raise typer.BadParameter("Name one case, or give --all with a folder to -o.")
    settings = read_settings()
    written: list[Path] | None
    with working("Gathering evidence"):
        try:
            if every and output is not None:
                written = wait_for(_export_all(settings, output, since))
            else:
                written = wait_for(_export(settings, case, output))
        except NotCovered as error:
            print_fault(str(error))
            raise typer.Exit(FOUND_WRONG) from None
    if written is None:
        print_fault("There is no such case, and no such unclaimed billing code.")
        raise typer.Exit(FOUND_WRONG)
    if as_json and output is not None:
        print_json({"written": [str(path) for path in written]})
    elif output is not None:
        print_line(f"{len(written)} written: {output}")


async def _export(settings: Settings, case: str, output: Path | None) -> list[Path] | None:
    root = read_root(settings.trust_root_file)
    async with database(settings) as opened, opened.snapshot() as connection:
        exporter = await Exporter.open(connection, root, utc_now())
        pack = await exporter.export(case)
    if pack is None:
        return None
    if output is None:
        typer.echo(write_pack(pack), nl=False)
        return []
    return [_write(pack, output)]


async def _export_all(settings: Settings, folder: Path, since: int) -> list[Path]:
    root = read_root(settings.trust_root_file)
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True, mode=PACKS_MODE)
    written = []
    async with database(settings) as opened, opened.snapshot() as connection:
        exporter = await Exporter.open(connection, root, utc_now())
        claims = await exporter.gather_claims()
        for subject in await store.list_subjects(connection, since):
            try:
                pack = await exporter.export(subject, claims)
            except NotCovered:
                # What came last is covered a moment later, and is in the next run.
                continue
            if pack is not None:
                written.append(_write(pack, folder / f"{name_pack(subject)}.json"))
    return written


def name_pack(subject: str) -> str:
    """Return a file's name for a case, in which every mark that a file system reads stands for itself no more."""
    return "".join("_" if mark in UNSAFE else mark for mark in subject)


def _write(pack: Pack, path: Path) -> Path:
    """Write beside and then in place, so that no reader meets half a pack."""
    beside = path.with_name(f".{path.name}.new")
    beside.touch(mode=PACK_MODE)
    beside.write_bytes(write_pack(pack))
    beside.replace(path)
    return path
