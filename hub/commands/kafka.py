"""kafka apply: the brokers are told what the registry says, and what else they were told is found."""

import asyncio
import sys
from typing import Annotated, Any

import typer

from hub import trust
from hub.commands.terminal import FOUND_WRONG, AsJson, database, print_json, print_line, print_table, wait_for, working
from hub.settings import Settings, SettingsInvalid, read_settings
from hub.transport import Found, Plan, Wanted, write_wanted
from hub.trust import RegistryInForce

app = typer.Typer(no_args_is_help=True, help="Topics, rights and quotas in Kafka, as the registry says.")

ALL_WELL = "Nothing to do: topics, rights and quotas are what the registry says."
OPEN_TO_ALL = (
    "These brokers have no authorizer: whoever reaches them may do everything. Only topics can be looked after there."
)


@app.command(epilog="Example: hub kafka apply --dry-run")
def apply(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what differs; exit code 1 if anything.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do it without asking.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what Kafka lacks of the registry, or grants beside it, then put it right. Safe to repeat.

    Topics are created and set, never deleted. Rights and quotas of participants and hub processes are made what the
    registry says: what a former version granted is taken away. What others were granted is told and left alone.
    """
    settings = read_settings()
    with working("Comparing"):
        wanted, found, plan = wait_for(_compare(settings))
    if not as_json:
        _show(plan, found)
    wanting = any(plan.list_steps()) and not dry_run
    left = plan
    if wanting and (yes or _agreed()):
        with working("Applying"):
            left = wait_for(_carry_out(settings, wanted, plan))
    if as_json:
        print_json(_describe(plan, found) | {"left": [step._asdict() for step in left.list_steps()]})
    elif left is not plan:
        print_line("Done." if not any(left.list_steps()) else "Not all of it is done: run it again.")
    if any(left.list_steps()) or left.conflicts:
        raise typer.Exit(FOUND_WRONG)


def _agreed() -> bool:
    if not sys.stdin.isatty():
        raise SettingsInvalid("Nobody is at a terminal to be asked: give --yes, or --dry-run to look only.")
    return typer.confirm("Do it?")


def _show(plan: Plan, found: Found) -> None:
    steps = [step._asdict() for step in plan.list_steps()]
    print_table(steps, ("verb", "what"), ALL_WELL)
    for sentence in plan.conflicts:
        print_line(sentence)
    for sentence in plan.foreign:
        print_line(f"Left alone, since the exchange did not make it: {sentence}.")
    if found.acls is None:
        print_line(OPEN_TO_ALL)


def _describe(plan: Plan, found: Found) -> dict[str, Any]:
    return {
        "authorizer": found.acls is not None,
        "steps": [step._asdict() for step in plan.list_steps()],
        "conflicts": plan.conflicts,
        "left_alone": plan.foreign,
    }


async def _compare(settings: Settings) -> tuple[Wanted, Found, Plan]:
    # Imported late, since Kafka's administration client takes long to load and no other command here needs it.
    from hub import administration
    from hub.cluster import find_cluster
    from hub.transport import make_plan

    cluster = find_cluster(settings)
    async with database(settings) as opened, opened.connection() as connection:
        registry = await RegistryInForce(trust.read_root(settings.trust_root_file)).refresh(connection)
    wanted = write_wanted(registry, cluster.prefix)
    found = await asyncio.to_thread(administration.find, cluster, wanted)
    return wanted, found, make_plan(wanted, found)


async def _carry_out(settings: Settings, wanted: Wanted, plan: Plan) -> Plan:
    from hub import administration
    from hub.cluster import find_cluster

    return await asyncio.to_thread(administration.carry_out, find_cluster(settings), wanted, plan)
