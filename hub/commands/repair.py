"""repair: take refused messages up again, as two persons want it; ask their senders to correct them."""

import json
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer
from rich.progress import Progress as Bar

from contracts.errors import Code
from contracts.wire.instant import write_instant
from hub import trust
from hub.accounts import Person, Role, authenticate
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
    show_progress,
    wait_for,
)
from hub.desk import Desk
from hub.lookups import REASON_CHARACTERS_MAX, REASON_CHARACTERS_MIN, Register
from hub.repairs import MESSAGES_MAX, REFUSALS, STOPPED, Repairs
from hub.settings import Settings, SettingsInvalid, read_settings
from hub.store import attention
from hub.store import repairs as store
from hub.store.database import Database
from hub.store.repairs import Action, Asked, Progress

WATCH_EVERY_S = 0.5
CAUSES = ("code", "fault", "participants", "messages", "since", "last", "example")
REPAIRS = ("id", "state", "messages", "done", "left_alone", "rehearsed_by", "requested_by", "approved_by", "ended_by")
MESSAGES = ("id", "participant", "type", "today", "then", "code")

app = typer.Typer(no_args_is_help=True, help="The repair desk: refused messages, taken up again by two persons.")

RepairId = Annotated[int, typer.Argument(metavar="ID", help="The number of the dry run.")]
Account = Annotated[str, typer.Option("--account", help="The operator's account; its password is asked for.")]
Reason = Annotated[str, typer.Option(help="Why; it is written into the evidence log. No personal data.")]
Digest = Annotated[str, typer.Option("--digest", help="The digest that the dry run showed.")]
ParkedId = Annotated[int | None, typer.Argument(metavar="ID", help="One message, by the id that the list shows.")]
OneCode = Annotated[Code | None, typer.Option(help="Instead of one message: those refused with this code ...")]
OneParticipant = Annotated[str | None, typer.Option(help="... of this participant; without it, of nobody known.")]


@app.command("list", epilog="Example: hub repair list")
def list_causes(as_json: AsJson = False) -> None:
    """List what is in quarantine by its cause with one example each, and the newest dry runs and repairs."""
    causes, found = wait_for(_list(read_settings()))
    rows = [cause._asdict() | {"example": cause.example.get("id")} for cause in causes]
    if as_json:
        print_json({"causes": rows, "repairs": [_describe(one) for one in found]})
        return
    print_table(rows, CAUSES, "Nothing is in quarantine.")
    print_table([_describe(one) for one in found], REPAIRS, "No dry run was made yet.")


async def _list(settings: Settings) -> tuple[list[attention.Cause], list[Progress]]:
    async with database(settings) as opened, opened.connection() as connection:
        return await attention.read_causes(connection), await store.list_repairs(connection)


def _describe(found: Progress) -> dict[str, Any]:
    return found.repair._asdict() | {"done": found.done, "left_alone": found.left_alone}


@app.command("rehearse", epilog='Example: hub repair rehearse 17 --account siti --reason "Release 1.4.2 mends it"')
def rehearse(
    account: Account,
    reason: Reason,
    parked_id: ParkedId = None,
    code: OneCode = None,
    participant: OneParticipant = None,
    messages_max: Annotated[
        int, typer.Option("--max", help="At most so many, oldest first.", min=1, max=MESSAGES_MAX)
    ] = MESSAGES_MAX,
    as_json: AsJson = False,
) -> None:
    """Show what would become of refused messages if they were judged again now. Nothing is changed.

    Exit code 1 if there are none.
    """
    chosen = _choose(parked_id, code, participant) | {"messages_max": messages_max}
    action = _ask("rehearse", account, reason, chosen)
    _show(action.id, as_json)


def _choose(parked_id: int | None, code: Code | None, participant: str | None) -> dict[str, Any]:
    if (parked_id is None) == (code is None):
        raise typer.BadParameter("Name either one message by its id, or a group by --code and --participant.")
    return {"parked_id": parked_id, "code": None if code is None else str(code), "participant": participant}


def _ask(verb: str, account: str, reason: str, chosen: Mapping[str, Any]) -> Action:
    """Let somebody who proves to be an operator ask for something; exit with code 1 if it is refused."""
    words = " ".join(reason.split())
    if not REASON_CHARACTERS_MIN <= len(words) <= REASON_CHARACTERS_MAX:
        raise SettingsInvalid(f"--reason has {REASON_CHARACTERS_MIN} to {REASON_CHARACTERS_MAX} characters.")
    action = wait_for(_settle(read_settings(), account, read_password(), verb, words, chosen))
    if action.outcome != "done":
        print_fault(REFUSALS[action.outcome or ""])
        raise typer.Exit(FOUND_WRONG)
    return action


async def _settle(
    settings: Settings, account: str, password: str, verb: str, reason: str, chosen: Mapping[str, Any]
) -> Action:
    root = trust.read_root(settings.trust_root_file)
    async with database(settings) as opened:
        found = await authenticate(opened, account, password, "terminal", utc_now())
        if verb == "look":
            person = Person(Role(found.role), found.name, found.unit, found.participant)
            await Register(opened, None).note(person, "repair", f"quarantine/{chosen['parked_id']}", reason, utc_now())
        async with opened.connection() as connection:
            action_id = await store.ask(connection, Asked(uuid.uuid4(), verb, found.name, reason, **chosen))
        desk = Repairs(Desk(opened, root))
        while await desk.settle(utc_now()) is not None:
            pass
        return await _read_action(opened, action_id or 0)


async def _read_action(opened: Database, action_id: int) -> Action:
    async with opened.connection() as connection:
        action = await store.read_action(connection, action_id)
    if action is None:
        raise LookupError(f"action {action_id}")
    return action


@app.command("show", epilog="Example: hub repair show 4 --json")
def show(repair_id: RepairId, as_json: AsJson = False) -> None:
    """Show a dry run, and what became of it. Exit code 1 if there is none of this number."""
    _show(repair_id, as_json)


def _show(repair_id: int, as_json: bool) -> None:
    found = wait_for(_read(read_settings(), repair_id))
    if found is None:
        print_fault(f"There is no dry run {repair_id}.")
        raise typer.Exit(FOUND_WRONG)
    progress, document, outcomes = found
    if as_json:
        print_json(_describe(progress) | {"document": document, "outcomes": outcomes})
        return
    print_table(document["messages"], MESSAGES, "No messages.")
    sends = ", ".join(f"{count} x {name}" for name, count in document["sends"].items())
    print_line(
        f"{progress.repair.messages} of {len(document['messages'])} would change, of {document['waiting']} that wait."
    )
    print_line(f"What would go out: {sends or 'nothing'}.")
    print_line(f"Dry run {repair_id} of {write_instant(progress.repair.rehearsed_at)}: {progress.repair.state}.")
    print_line(f"Digest: {progress.repair.digest}")


async def _read(settings: Settings, repair_id: int) -> tuple[Progress, dict[str, Any], dict[int, str]] | None:
    async with database(settings) as opened, opened.connection() as connection:
        found = await store.list_repairs(connection, repair_id)
        document = await store.read_document(connection, repair_id)
        outcomes = await store.list_outcomes(connection, repair_id)
    return (found[0], json.loads(document), outcomes) if found and document is not None else None


@app.command("request", epilog='Example: hub repair request 4 --digest D --account siti --reason "Key was late"')
def request(repair_id: RepairId, digest: Digest, account: Account, reason: Reason, as_json: AsJson = False) -> None:
    """Ask for exactly what a dry run showed; another person has to approve it. Exit code 1 if it is refused."""
    _change(
        "request", repair_id, account, reason, digest, as_json, "It is asked for: another person has to approve it."
    )


@app.command("approve", epilog='Example: hub repair approve 4 --digest D --account budi --reason "Seen, as shown"')
def approve(repair_id: RepairId, digest: Digest, account: Account, reason: Reason, as_json: AsJson = False) -> None:
    """Approve exactly what a dry run showed and somebody else asked for: it runs. Exit code 1 if it is refused."""
    _change("approve", repair_id, account, reason, digest, as_json, "It is approved, and runs.")


@app.command("stop", epilog='Example: hub repair stop 4 --account siti --reason "Wrong messages"')
def stop(repair_id: RepairId, account: Account, reason: Reason, as_json: AsJson = False) -> None:
    """Stop a repair for good; what it has not dealt with stays in quarantine. Exit code 1 if it is over."""
    _change("stop", repair_id, account, reason, None, as_json, "It is stopped, and never goes on.")


def _change(
    verb: str, repair_id: int, account: str, reason: str, digest: str | None, as_json: bool, sentence: str
) -> None:
    action = _ask(verb, account, reason, {"repair_id": repair_id, "digest": digest})
    if as_json:
        print_json({"id": repair_id, "action": verb, "log_index": action.log_index})
    else:
        print_line(sentence)


@app.command("watch", epilog="Example: hub repair watch 4")
def watch(repair_id: RepairId, as_json: AsJson = False) -> None:
    """Show how far a repair is until it ends. Exit code 1 if it was stopped, or left messages as they were."""
    settings = read_settings()
    with show_progress() as bar:
        found = _follow(bar, lambda: wait_for(_read(settings, repair_id)), repair_id)
    if as_json:
        print_json(_describe(found))
    else:
        print_line(
            f"{found.done} of {found.repair.messages}: {found.repair.state}; {found.left_alone} left as they were."
        )
    if found.repair.state == STOPPED or found.left_alone:
        raise typer.Exit(FOUND_WRONG)


def _follow(bar: Bar, read: Callable[[], tuple[Progress, Any, Any] | None], repair_id: int) -> Progress:
    task = bar.add_task(f"Repair {repair_id}")
    while True:
        found = read()
        if found is None:
            print_fault(f"There is no dry run {repair_id}.")
            raise typer.Exit(FOUND_WRONG)
        bar.update(task, total=found[0].repair.messages, completed=found[0].done)
        if found[0].repair.ended_at is not None:
            return found[0]
        time.sleep(WATCH_EVERY_S)


@app.command("send-back", epilog='Example: hub repair send-back 17 --account siti --reason "The NIB has 12 digits"')
def send_back(
    account: Account,
    reason: Annotated[str, typer.Option(help="What is wrong, for the sender and the evidence log. No personal data.")],
    parked_id: ParkedId = None,
    code: OneCode = None,
    participant: OneParticipant = None,
    as_json: AsJson = False,
) -> None:
    """Ask the sender to correct refused messages, each once: it signs new ones that name these as their cause.

    Exit code 1 if there are none, or if nobody knows who their sender is.
    """
    action = _ask("send_back", account, reason, _choose(parked_id, code, participant))
    if as_json:
        print_json({"action": "send_back", "log_index": action.log_index})
    else:
        print_line("The sender is asked to correct it.")


@app.command("look", epilog='Example: hub repair look 17 --account siti --reason "Ticket 4711: which member"')
def look(
    account: Account,
    reason: Reason,
    parked_id: Annotated[int, typer.Argument(metavar="ID", help="The id that the list shows.")],
) -> None:
    """Print the bytes of a refused message, which may hold a person's data: who looks, and why, is recorded first."""
    action = _ask("look", account, reason, {"parked_id": parked_id})
    typer.echo(wait_for(_look(read_settings(), action.id)))


async def _look(settings: Settings, action_id: int) -> bytes:
    async with database(settings) as opened, opened.connection() as connection:
        found = await store.look(connection, action_id)
    return b"" if found is None else found[1] or b""
