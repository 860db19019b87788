"""fsck, case show and vectors run: looking without changing anything."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from contracts.rules.reasons import REASONS
from contracts.vectors.run import judge_each, read_vectors
from hub import fsck as fsck_room
from hub.commands.terminal import (
    FOUND_WRONG,
    WRONG_USE,
    AsJson,
    database,
    print_fault,
    print_json,
    print_line,
    print_table,
    wait_for,
    working,
)
from hub.provenance import Finding
from hub.settings import Settings, read_settings
from hub.store import views

app = typer.Typer()
case_app = typer.Typer(no_args_is_help=True, help="Look at a case.")
vectors_app = typer.Typer(no_args_is_help=True, help="Run test vectors of the protocol.")


@app.command(epilog="Example: hub fsck --json")
def fsck(as_json: AsJson = False) -> None:
    """Fold every case again from the inbox in log order and compare; check leaves, positions and streams.

    Exit code 1 if anything differs.
    """
    with working("Folding every case again"):
        findings = wait_for(_check(read_settings()))
    if as_json:
        print_json({"findings": [finding._asdict() for finding in findings]})
    else:
        rows = [finding._asdict() for finding in findings]
        print_table(rows, Finding._fields, "Everything that was folded again equals what is stored.")
    if findings:
        raise typer.Exit(FOUND_WRONG)


async def _check(settings: Settings) -> list[Finding]:
    async with database(settings) as opened:
        return await fsck_room.check(opened)


@case_app.command("show", epilog="Example: hub case show B.3/000017/PK.04.00/III/2026")
def show_case(case: Annotated[str, typer.Argument(help="The application's number.")], as_json: AsJson = False) -> None:
    """Show a case's facts, bills, payments and recommendation, or what it lacks. No personal data.

    Exit code 1 if there is no such case.
    """
    found = wait_for(_find_case(read_settings(), case))
    if found is None:
        print_fault("There is no such case.")
        raise typer.Exit(FOUND_WRONG)
    if as_json:
        print_json(found)
        return
    print_line(f"Case {found['case']}, rule set {found['rule_set'] or 'not chosen yet'}.")
    print_table(found["facts"], ("log_index", "time", "participant", "type", "id"), "No facts.")
    for code, state in found["bills"].items():
        print_line(f"Bill {code}: {state}.")
    for payment, outcome in found["payments"].items():
        print_line(f"Payment {payment}: {outcome}.")
    standing = found["recommendation"]
    if standing is None:
        print_line("No recommendation was issued.")
    else:
        print_line(f"Recommendation {standing['number']}, revision {standing['revision']}: {standing['state']}.")
    for word in found["blocked_by"]:
        print_line(f"What is missing: {REASONS[word].text_en} ({word})")


async def _find_case(settings: Settings, case: str) -> dict[str, Any] | None:
    async with database(settings) as opened, opened.connection() as connection:
        return await views.show_case(connection, case)


@vectors_app.command("run", epilog="Example: hub vectors run contracts/vectors/signature.json")
def run_vectors(
    file: Annotated[Path, typer.Argument(help="A vector file (contracts/SPEC.md describes both formats).")],
    as_json: AsJson = True,
) -> None:
    """Judge each vector and print one JSON object a line: name, verdict (accept or refuse), code.

    Exit code 1 if a vector says what should come out and something else did.
    """
    try:
        vectors = read_vectors(file.read_bytes())
    except (OSError, ValueError) as error:
        print_fault(f"The file cannot be read as vectors: {type(error).__name__}.")
        raise typer.Exit(WRONG_USE) from None
    differing = 0
    for vector, found in zip(vectors, judge_each(vectors), strict=True):
        # In ASCII, since a name may hold what no terminal's encoding can.
        typer.echo(json.dumps({"name": found.name, "verdict": found.verdict, "code": found.code}))
        said = vector if isinstance(vector, dict) else {}
        expected = said.get("expect", found.verdict), said.get("code", found.code)
        differing += expected != (found.verdict, found.code)
    if differing:
        print_fault(f"{differing} of {len(vectors)} vectors did not come out as they say.")
        raise typer.Exit(FOUND_WRONG)
