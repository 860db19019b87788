"""The commands of every connector: `python -m connectors.<agency> run|check|rotate-key`."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from connectors.link.check import EXIT_SETTINGS, EXIT_WRONG, Finding, check_link, exit_code_of
from connectors.link.clock import utc_now
from connectors.link.fault import FatalFault, LinkFault, SettingsFault
from connectors.link.rotation import rotate_key, write_step
from connectors.link.service import Join, run_service
from connectors.link.settings import ConnectorSettings
from contracts.errors import Refusal
from contracts.wire.key import PrivateKey

SettingsT = TypeVar("SettingsT", bound=ConnectorSettings)

KEY_USES = ("message", "api")
KEY_ALGORITHM = "Ed25519"

_COLOURS = {"ok": "green", "wrong": "red", "settings": "red", "unreachable": "yellow"}


def make_command(
    agency: str,
    read_settings: Callable[[], SettingsT],
    join: Callable[[SettingsT], Join],
    check_agency: Callable[[SettingsT], AsyncIterator[Finding]],
) -> typer.Typer:
    """Return the command line of one agency's connector."""
    app = typer.Typer(add_completion=False, no_args_is_help=True, help=f"The connector of {agency}.")

    @app.command()
    def run() -> None:
        """Run the connector until SIGTERM or SIGINT.

        Exit codes: 0 stopped in order, 1 something is wrong that waiting does not mend, 2 wrong settings.
        """
        settings = _settings_or_exit(read_settings)
        raise typer.Exit(run_service(settings, join(settings)))

    @app.command()
    def check(as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False) -> None:
        """Look at settings, keys, registry, broker and the agency's own system, and say what to mend.

        Exit codes: 0 all is well, 1 something is wrong, 2 wrong settings, 3 something cannot be reached.
        Example: python -m connectors.ministry check --json
        """
        settings = _settings_or_exit(read_settings)
        findings = asyncio.run(_gather(settings, check_agency))
        _show(findings, as_json)
        raise typer.Exit(exit_code_of(findings))

    @app.command(name="rotate-key")
    def rotate(
        api: Annotated[
            bool, typer.Option("--api", help="The key for the hub's API, not the one for messages.")
        ] = False,
        as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    ) -> None:
        """Take the next step of a key's rotation: make the next key, or make it the key once it is registered.

        Old and new key overlap; the running connector needs no restart and no message waits.
        Exit codes: 0 done, 1 the registry cannot be trusted, 2 wrong settings.
        Example: python -m connectors.bank rotate-key --json
        """
        settings = _settings_or_exit(read_settings)
        try:
            step = asyncio.run(rotate_key(settings, "api" if api else "message", utc_now()))
        except (LinkFault, Refusal, OSError) as error:
            fault = error if isinstance(error, LinkFault) else None
            print(fault or f"The key cannot be rotated ({type(error).__name__}): look at its folder.", file=sys.stderr)
            code = fault.exit_code if isinstance(fault, FatalFault) else EXIT_WRONG
            raise typer.Exit(code) from None
        print(write_step(step, as_json))

    return app


def add_make_keys(app: typer.Typer) -> None:
    """Add the command that makes a participant's first keys."""

    @app.command(name="make-keys")
    def make_keys(
        folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where message.pem and api.pem go.")],
    ) -> None:
        """Make the two private keys, and print their public halves, which the hub's operator registers.

        Exit codes: 0 made, 2 the folder cannot be written or holds keys already.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for use in KEY_USES:
                key = PrivateKey.generate(KEY_ALGORITHM)
                file = os.open(folder / f"{use}.pem", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
                with os.fdopen(file, "wb") as opened:
                    opened.write(key.to_pem())
                print(json.dumps({"use": use, "kid": key.kid, "alg": key.alg, "jwk": key.public.jwk}))
        except OSError as error:
            print(f"{folder} cannot be used: {error.strerror}.", file=sys.stderr)
            raise typer.Exit(EXIT_SETTINGS) from None


def _settings_or_exit(read_settings: Callable[[], SettingsT]) -> SettingsT:
    try:
        return read_settings()
    except SettingsFault as fault:
        print(fault, file=sys.stderr)
        raise typer.Exit(EXIT_SETTINGS) from None


async def _gather(settings: SettingsT, check_agency: Callable[[SettingsT], AsyncIterator[Finding]]) -> list[Finding]:
    return [found async for found in check_link(settings)] + [found async for found in check_agency(settings)]


def _show(findings: list[Finding], as_json: bool) -> None:
    if as_json:
        for found in findings:
            print(json.dumps({"title": found.title, "verdict": found.verdict, "says": found.says}))
        return
    table = Table("what", "is", "in words")
    for found in findings:
        table.add_row(found.title, f"[{_COLOURS[found.verdict]}]{found.verdict}[/]", found.says)
    Console().print(table)
