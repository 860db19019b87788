"""doctor: what is wrong, how sure that is, and what to do."""

from datetime import timedelta
from typing import Annotated

import typer

from hub.commands.terminal import FOUND_WRONG, AsJson, print_json, print_table, wait_for, working
from hub.diagnosis import Finding, is_well
from hub.settings import Settings, read_settings

app = typer.Typer()

NOTICE_DAYS_DEFAULT = 30


@app.command(epilog="Example: hub doctor --days 14")
def doctor(
    days: Annotated[
        int, typer.Option(min=0, help="Tell of certificates and keys so many days before they end.")
    ] = NOTICE_DAYS_DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Look at everything that the exchange stands on, and say what to do. Nothing is changed.

    Database and rights there, registry, Kafka (topics, rights and quotas against the registry), certificates, keys,
    suspended ones and what waits for them, clocks, disks, lag, the evidence log with its witnesses, and whether each
    duty has its process. What does not answer is told, and the rest is looked at all the same. Exit code 1 if anything
    is wrong; a notice is not.
    """
    settings = read_settings()
    with working("Looking"):
        findings = wait_for(_gather(settings, timedelta(days=days)))
    if as_json:
        print_json({"well": is_well(findings), "findings": [finding._asdict() for finding in findings]})
    else:
        print_table([finding._asdict() for finding in findings], Finding._fields, "Nothing was looked at.")
    if not is_well(findings):
        raise typer.Exit(FOUND_WRONG)


async def _gather(settings: Settings, notice: timedelta) -> list[Finding]:
    # Imported late, since Kafka's administration client takes long to load.
    from hub.doctor import examine

    return [finding async for finding in examine(settings, notice)]
