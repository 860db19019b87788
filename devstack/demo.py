"""A day of the exchange on real Kafka and real PostgreSQL, with trouble made on purpose.

    python -m devstack.demo          runs it; exit code 0 only if everything expected was seen and nothing else
    python -m devstack.demo down     ends what KEEP=1 left running

Environment: APPLICATIONS (60), SEED (2012), KEEP (1: leave everything running), DEMO_DIR (build/demo), and DEVSTACK,
KAFKA_BOOTSTRAP and DATABASE_URL as in `devstack.choice`.
"""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import psutil
from aiokafka import AIOKafkaProducer
from rich.console import Console

from devstack.agencies.scenario import APPLICATIONS_MIN, BANKS, Day, write_day
from devstack.demonstration import evidence, report
from devstack.demonstration.cast import (
    Cast,
    call_cast,
    provide_services,
    write_environment,
    write_full_profiles,
)
from devstack.demonstration.observation import Tables, Watcher
from devstack.demonstration.performance import Performance
from devstack.demonstration.progress import Progress
from devstack.demonstration.remains import find_running, is_running, is_service, take_down, write_state
from devstack.demonstration.stage import Stage
from devstack.demonstration.troubles import Ledger, SecondHand
from devstack.demonstration.visitors import open_doors
from devstack.kafka import start_kafka
from devstack.postgres import start_postgres
from devstack.processes import StackError
from devstack.run import Run, Say
from devstack.stack import Stack

REPOSITORY = Path(__file__).resolve().parent.parent
FOLDER = Path(os.environ.get("DEMO_DIR") or REPOSITORY / "build" / "demo").absolute()
APPLICATIONS_DEFAULT = 60
SEED_DEFAULT = 2012
EXIT_DIFFERENT, EXIT_WRONG_USE, EXIT_STACK, EXIT_INTERRUPTED = 1, 2, 3, 130
WIDTH_OF_A_FILE = 120
LEFT_BEHIND = "processes left behind"


def main(arguments: list[str]) -> int:
    """Run the demo, or end a kept one.

    Exit codes: 0 as expected, 1 something differs, 2 wrong use, 3 something broke, 130 interrupted.
    """
    console = Console()
    if not console.is_terminal:
        console.width = WIDTH_OF_A_FILE
    try:
        if arguments == ["down"]:
            console.print(take_down(FOLDER))
            return 0
        applications, seed = _read_number("APPLICATIONS", APPLICATIONS_DEFAULT), _read_number("SEED", SEED_DEFAULT)
        if arguments or applications < APPLICATIONS_MIN:
            console.print(f"Usage: python -m devstack.demo [down], with APPLICATIONS at least {APPLICATIONS_MIN}.")
            return EXIT_WRONG_USE
        if is_running(FOLDER):
            console.print("A demo that was kept is still running; end it with: make down")
            return EXIT_WRONG_USE
        return asyncio.run(_run(console, applications, seed, keep=os.environ.get("KEEP") == "1"))
    except ValueError as error:
        console.print(str(error))
        return EXIT_WRONG_USE
    except (StackError, ExceptionGroup) as error:
        console.print(f"[bold red]{_first_sentence(error)}[/]", highlight=False, markup=True)
        console.print(f"The logs of all processes are in {_shorten(FOLDER / 'logs')}.")
        return EXIT_STACK
    except (asyncio.CancelledError, KeyboardInterrupt):
        console.print("Interrupted: everything that was started has been ended.")
        return EXIT_INTERRUPTED


def _shorten(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _read_number(name: str, default: int) -> int:
    text = os.environ.get(name) or str(default)
    if not text.isdecimal():
        raise ValueError(f"{name} is {text!r}, but it must be a whole number.")
    return int(text)


def _first_sentence(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}" if not isinstance(error, StackError) else str(error)


async def _run(console: Console, applications: int, seed: int, keep: bool) -> int:
    began_s = time.monotonic()
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    console.print(f"TKA Exchange Hub: {applications} applications, seed {seed}, files in {_shorten(FOLDER)}")
    with _set_up_stack(console, keep) as stack:
        cast = call_cast(provide_services(stack), FOLDER, seed, applications)
        write_full_profiles(cast, {bank: cast.url(f"agency-{bank}") for bank in BANKS})
        expected, seen, doors = await _perform(console, cast, stack, began_s, keep)
        processes = find_running(stack.run.children)
        if keep:
            write_state(FOLDER, stack)
    if not keep:
        expected[LEFT_BEHIND], seen[LEFT_BEHIND] = 0, len(_still_alive(processes))
    (FOLDER / "summary.json").write_text(json.dumps({"expected": expected, "seen": seen}, indent=1))
    differences = report.show_comparison(console, expected, seen)
    verdict = "[bold green]As expected.[/]" if not differences else f"[bold red]{differences} lines differ.[/]"
    console.print(f"{verdict} {time.monotonic() - began_s:.1f} s in all.")
    if keep:
        console.print(doors, highlight=False, markup=False)
        console.print(
            f"Everything is still running: `. {_shorten(FOLDER)}/env`, then look around; `make down` ends it."
        )
    return EXIT_DIFFERENT if differences else 0


@contextlib.contextmanager
def _set_up_stack(console: Console, keep: bool) -> Iterator[Stack]:
    """Give PostgreSQL that serves and Kafka that has begun to start."""
    run = Run(keep=keep, say=console.print)
    run.children.log_dir = FOLDER / "logs"
    stack: Stack | None = None
    try:
        kafka = start_kafka(run, secured=True, wait=False)
        postgres = start_postgres(run)
        stack = Stack(run, kafka, postgres)
        yield stack
    except BaseException:
        # A run that failed is never kept: what it left running could not be told from what it should be.
        _close(run, stack)
        raise
    if not keep:
        _close(run, stack)


def _close(run: Run, stack: Stack | None) -> None:
    """End the exchange's processes, all at once since each takes a moment, and only then the services under them."""
    exchange = [child for child in run.children.list_alive() if not is_service(child.name)]
    for child in exchange:
        child.send(signal.SIGTERM)
    for child in exchange:
        child.stop()
    if stack is not None:
        stack.close()
    else:
        run.close()


@contextlib.asynccontextmanager
async def _open_eyes(cast: Cast) -> AsyncIterator[tuple[Watcher, Tables, AIOKafkaProducer]]:
    producer = AIOKafkaProducer(**cast.services.kafka_options(), acks="all", enable_idempotence=True)
    async with Watcher(cast) as watcher, Tables.open(cast) as tables:
        await producer.start()
        try:
            yield watcher, tables, producer
        finally:
            await producer.stop()


async def _perform(
    console: Console, cast: Cast, stack: Stack, began_s: float, keep: bool
) -> tuple[dict[str, int], dict[str, int], str]:
    """Play the day; return what was expected, what was seen, and for a kept exchange how to get in."""
    day, ledger = write_day(cast.seed, cast.applications, cast.start), Ledger()
    (FOLDER / "env").write_text(write_environment(cast))

    def say(text: str) -> None:
        console.print(f"[dim]{time.monotonic() - began_s:5.1f} s[/]  {text}", highlight=False)

    async with httpx.AsyncClient() as client:
        stage = Stage(cast, stack.run.children, REPOSITORY, client)
        await _set_stage(stage, stack, say)
        async with _open_eyes(cast) as (watcher, tables, producer):
            hand = SecondHand(cast, producer, ledger)
            performance = Performance(stage, day, watcher, tables, hand, ledger, say)
            async with Progress(console, stage, day, tables).shown():
                await performance.perform()
                say("Waiting until everything has come to rest")
                expected, seen = await performance.settle()
                due, reported = await performance.reconcile()
                say("hub reconcile run: every bank's days are reported, to the bank and to the ministry")
                await stage.run_hub("fsck", "--json")
                say("hub fsck: every case, refolded from the inbox in log order, equals the stored one")
                await stage.run_hub("log", "publish", str(FOLDER / "log"))
                say(f"hub log publish: the evidence log stands as files in {_shorten(FOLDER / 'log')}")
                accounted = await _hold_to_account(stage, day, say)
            doors = await open_doors(stage, report.find_followed(day)[1]) if keep else ""
            books = await stage.read_books()
            report.show_totals(console, due, reported)
            report.show_steps(console, *await report.follow(day, books, watcher, tables))
            report.show_delays(console, report.measure_delays(day, books))
    return expected | due | evidence.EXPECTED, seen | reported | accounted, doors


async def _hold_to_account(stage: Stage, day: Day, say: Say) -> dict[str, int]:
    """Let the oversight body look into the case that is followed on the terminal, and at a forked log."""
    _, application = report.find_followed(day)
    accounted = await evidence.hold_to_account(stage, application.number, REPOSITORY)
    say(f"hub audit export, and the oversight body's verify from its own wheel: {_shorten(FOLDER / 'kpk')}")
    say("The same pack with one byte changed, and a fork signed with the log's own key, are shown too")
    return accounted


async def _set_stage(stage: Stage, stack: Stack, say: Say) -> None:
    """Prepare the database while Kafka starts, then start everything that was not started before."""
    agencies = [name for name in stage.names if name.startswith("agency-")]
    stage.start(*agencies)
    await asyncio.gather(_prepare_database(stage), asyncio.to_thread(stack.kafka.wait_until_ready))
    await stage.run_hub("kafka", "apply", "--yes")
    say("The database is migrated, the registry signed, the topics made")
    stage.start(*(name for name in stage.names if name not in agencies))
    await stage.wait_ready(*stage.names)
    say(f"{len(stage.names)} processes are ready")


async def _prepare_database(stage: Stage) -> None:
    await stage.run_hub("migrate")
    await stage.change_registry("registry.json", "--roots", str(stage.cast.folder / "roots.json"))


def _still_alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [process for process in processes if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
