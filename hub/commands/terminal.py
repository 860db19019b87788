"""How commands speak: a table or sentence for people, JSON on stdout for programs, progress and errors on stderr."""

import asyncio
import json
import os
import pwd
import sys
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import date, datetime
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from hub.settings import Settings
from hub.store.database import Database

OK, FOUND_WRONG, WRONG_USE, UNREACHABLE = 0, 1, 2, 3
EXIT_CODES = (
    "Exit codes: 0 done and well; 1 something wrong was found; 2 wrong use or settings; "
    "3 the database or Kafka cannot be reached."
)

Actor = Annotated[str | None, typer.Option(help="Who decides this; by default the user that runs this.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Result = TypeVar("Result")

_out = Console(soft_wrap=True, highlight=False)
_err = Console(stderr=True, soft_wrap=True, highlight=False)


def name_actor(actor: str | None) -> str:
    """Return who decides: the name that was given, or the user that runs this."""
    return actor or pwd.getpwuid(os.getuid()).pw_name


def read_password(*, confirm: bool = False) -> str:
    """Ask for a password, or read it as one line where nobody sits at a terminal.

    Among the arguments it would stand in the list of processes and in the shell's history.
    """
    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=confirm, err=True))
    return sys.stdin.readline().rstrip("\n")


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def print_json(value: Any) -> None:
    """Print a value as one line of JSON on stdout."""
    typer.echo(json.dumps(value, default=_plain, ensure_ascii=False))


def print_line(text: str) -> None:
    """Print a sentence on stdout, as it is."""
    _out.print(text, markup=False)


def print_fault(text: str) -> None:
    """Print a sentence about a failure on stderr, as it is."""
    _err.print(text, markup=False, style="bold red")


def print_table(rows: Sequence[Mapping[str, Any]], columns: Iterable[str], empty: str) -> None:
    """Print rows as a table of the given columns, or the sentence `empty`."""
    if not rows:
        print_line(empty)
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    names = list(columns)
    for name in names:
        table.add_column(name.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(_cell(row.get(name)) for name in names))
    # A pipe has no width of its own; a row must not be folded there.
    Console(highlight=False, width=None if _out.is_terminal else 240).print(table)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return str(value).replace("[", "\\[")


@contextmanager
def working(what: str) -> Iterator[None]:
    """Show that something takes its time; silent where nobody watches."""
    with _err.status(f"{what} ..."):
        yield


def show_progress() -> Progress:
    """Give a bar on stderr; silent where nobody watches."""
    return Progress(console=_err, transient=True, disable=not _err.is_terminal)


def wait_for(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a command's asynchronous part."""
    return asyncio.run(work)


@asynccontextmanager
async def database(settings: Settings) -> AsyncIterator[Database]:
    """Give the hub's database for the time of one command."""
    opened = await Database.open(settings.database_url, size=2, name="hub-cli")
    try:
        yield opened
    finally:
        await opened.close()
