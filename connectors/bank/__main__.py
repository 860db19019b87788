"""`python -m connectors.bank`: what every connector has, and what only a bank has."""

import json
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from fastapi import APIRouter

from connectors.bank import snap
from connectors.bank.book import BankBook
from connectors.bank.camt054 import StatementRefused, read_transactions
from connectors.bank.check import check_bank
from connectors.bank.entry import Transaction
from connectors.bank.explain import explain_difference
from connectors.bank.explanation_door import ExplanationDoor
from connectors.bank.notifications import Behind, NotificationDoor
from connectors.bank.payments import Payments
from connectors.bank.profile import read_partners
from connectors.bank.settings import BankSettings
from connectors.bank.snap_listener import SnapProtocol, open_listeners
from connectors.bank.snap_token import Tokens
from connectors.bank.statements import judge_statement, open_folders
from connectors.bank.status import StatusDesk
from connectors.link.check import EXIT_OK, EXIT_SETTINGS, EXIT_WRONG
from connectors.link.command import add_make_keys, make_command
from connectors.link.fault import SettingsFault
from connectors.link.problem import read_tokens
from connectors.link.service import Agency, Join, Link, Task


def join_bank(settings: BankSettings) -> Join:
    """Return what joins this bank to the link; raise SettingsFault when its profile or folder cannot be used."""

    @asynccontextmanager
    async def join(link: Link) -> AsyncIterator[Agency]:
        partners = read_partners(settings.snap_profile_file)
        metrics = link.metrics.collected
        book = BankBook(link.spool, partners, link.author.source, link.clock)
        payments = Payments(link.spool, book, link.clock)
        tokens = Tokens.of(link.key)
        behind = Behind(partners, tokens, payments, book, link.clock, settings.snap_trusted_proxies)
        door = NotificationDoor(behind, metrics)
        desk = StatusDesk(link.spool, payments, partners, link.http, link.clock)
        routes = APIRouter()
        routes.include_router(door.routes())
        routes.include_router(book.routes())
        if settings.explanation_token_file is not None:
            given = read_tokens(settings.explanation_token_file, "EXPLANATION_TOKEN_FILE")
            explained = ExplanationDoor(link.spool, link.author, book.differences, given, link.clock, metrics)
            routes.include_router(explained.routes())
        tasks: dict[str, Task] = {"notifications": payments.forget_old, "status": desk.run}
        for listener in open_listeners(partners.all, door):
            tasks[f"listener {listener.port}"] = listener.run
        async with open_folders(settings, partners, link.spool, metrics) as folders:
            tasks |= {f"statements {number}": folder.run for number, folder in enumerate(folders, start=1)}
            yield Agency(handle=book.handle, tasks=tasks, routes=routes, protocol=SnapProtocol, show=book.show)

    return join


app = make_command("a bank", BankSettings.read, join_bank, check_bank)
add_make_keys(app)

_File = Annotated[Path, typer.Argument(metavar="FILE")]


@app.command()
def check_signatures(file: _File) -> None:
    """Judge the SNAP signature vectors of FILE; print one JSON object a line: id, verifies, reason.

    Exit codes: 0 every vector came out as it says, 1 one did not, 2 the file cannot be read.
    """
    try:
        vectors = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        _stop(f"{file} cannot be read as JSON: {type(error).__name__}.")
    if not isinstance(vectors, list):
        _stop(f"{file} is not a JSON list of vectors.")
    as_said = True
    for vector in vectors:
        verdict = snap.judge_vector(vector)
        said = vector.get("verifies", verdict.verifies) if isinstance(vector, dict) else False
        as_said = as_said and said is verdict.verifies
        _print({"id": verdict.id, "verifies": verdict.verifies, "reason": verdict.reason})
    raise typer.Exit(EXIT_OK if as_said else EXIT_WRONG)


@app.command()
def read_statement(file: _File) -> None:
    """Read a camt.054 statement and publish nothing; print one JSON object a line: the file, then each transaction.

    Exit codes: 0 everything was read, 1 the file or some of its entries were refused, 2 the file cannot be opened.
    """
    try:
        with file.open("rb") as source:
            judgement = judge_statement(source)
            _print({"file": file.name, "verdict": judgement.verdict, "reason": judgement.reason})
            if judgement.verdict != "refused":
                source.seek(0)
                for line in _lines(read_transactions(source)):
                    _print(line)
    except OSError as error:
        _stop(f"{file} cannot be read: {error.strerror}.")
    except StatementRefused as refusal:
        _stop(f"{file} changed while it was read: {refusal}.")
    raise typer.Exit(EXIT_OK if judgement.verdict == "accepted" else EXIT_WRONG)


@app.command()
def explain(
    difference_id: Annotated[str, typer.Argument(metavar="ID", help="As GET /differences has it.")],
    code: Annotated[str, typer.Option(help="The bank's own code of the reason, at most 32 letters, digits, . _ -.")],
    text: Annotated[str, typer.Option(help="What happened, for people; no names of persons.")],
) -> None:
    """Explain a difference through the running connector, which the same settings tell where to find.

    Exit codes: 0 taken, or taken before, 1 refused, 2 wrong settings, 3 the connector does not answer: try again.
    Example: python -m connectors.bank explain 820260401000017:0123456789abcdef --code LATE --text "Booked on Monday."
    """
    try:
        exit_code, says = explain_difference(BankSettings.read(), difference_id, code, text)
    except SettingsFault as fault:
        _stop(str(fault))
    print(says, file=sys.stderr if exit_code else sys.stdout)
    raise typer.Exit(exit_code)


def _lines(transactions: Iterator[Transaction]) -> Iterator[dict[str, Any]]:
    for each in transactions:
        yield {
            "entry": each.entry,
            "detail": each.detail,
            "counts": each.counts,
            "reason": each.reason,
            "amount": each.amount,
            "currency": each.currency,
            "booking_date": each.booking_date,
            "references": list(each.references),
            "billing_code": each.billing_code,
            "bank_reference": each.bank_reference,
        }


def _print(line: dict[str, Any]) -> None:
    # In ASCII, since no terminal's encoding can write everything that a file may hold.
    print(json.dumps(line))


def _stop(sentence: str) -> NoReturn:
    print(sentence, file=sys.stderr)
    raise typer.Exit(EXIT_SETTINGS)


if __name__ == "__main__":
    app()
