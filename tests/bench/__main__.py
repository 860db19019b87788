"""Measure the hub, the agencies, a year of national traffic and the pages; results in build/bench/*.json.

python -m tests.bench                       at full size: 1,000,000 messages, about a quarter of an hour
python -m tests.bench --messages 100000     shorter, with the last section smaller
python -m tests.bench --part log            one part alone: exchange, log, agencies, watch, year, pages
python -m tests.bench --small               about 2,000 messages: whether it works, not how fast it is
"""

import argparse
import asyncio
import logging
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from contracts.admission import Admitted, admit
from contracts.registry import Registry
from contracts.wire.record import Record
from contracts.wire.signature import VerifiedRoots
from devstack.agencies.year import NATIONAL_FILES
from devstack.choice import FORCE_VARIABLE, Choice
from devstack.kafka import LONG_JVM, SHORT_JVM
from devstack.postgres import DURABLE, start_postgres
from devstack.processes import StackError
from devstack.run import Run
from devstack.stack import Stack, start_stack
from tests.bench import report
from tests.bench.agencies import measure_agencies, table_of
from tests.bench.evidence import describe_latencies, measure_evidence, pass_day
from tests.bench.figures import Span, join, write_figures
from tests.bench.floor import Floor, collect, set_mark
from tests.bench.installation import BenchFailed, Installation, install
from tests.bench.latency import measure_latencies
from tests.bench.pages import measure_pages
from tests.bench.sizes import show_growth
from tests.bench.traffic import LIFE, Message, Traffic
from tests.bench.watch import measure_watch
from tests.bench.year import SMALL_FILES, measure_year, show_year

MESSAGES_DEFAULT = 1_000_000
SECONDS_DEFAULT = 20.0
SMALL_MESSAGES = 2_000
SMALL_SECONDS = 1.0
# The rates, the parts and the floor are measured over so many; what follows only fills the exchange.
RATED_MESSAGES_MAX = 100_000
DAYS_RATED = 5
LOAD_SHARE = 0.5
PARTS = ("exchange", "log", "agencies", "watch", "year", "pages")
FOLDER_DEFAULT = Path("build/bench")


@dataclass(frozen=True, slots=True)
class Size:
    """How much to do: `messages` in all, `rated` of them for rates and floor, `seconds` for latencies."""

    messages: int
    seconds: float

    @property
    def rated(self) -> int:
        """The messages over which rates are measured."""
        return min(self.messages, RATED_MESSAGES_MAX)

    @property
    def cohort(self) -> int:
        """How many permits begin each day."""
        return max(10, self.rated // DAYS_RATED // len(LIFE))


@dataclass(frozen=True, slots=True)
class Rated:
    """What the days of one way of signing gave; `entries` is what the log held before them."""

    entries: int
    span: Span
    floor: Span
    admitting_us: float


async def warm_up(installation: Installation, traffic: Traffic) -> None:
    """Let the days pass until a cohort of permits is in every stage."""
    for _ in range(len(LIFE) - 1):
        await installation.send(installation.encode(traffic.next_day()))
    await installation.drain()


def time_admission(messages: Sequence[Message], registry: Registry) -> float:
    """Return the CPU microseconds that admission alone takes for a message. Raises BenchFailed."""
    now_ms, roots = time.time_ns() // 1_000_000, VerifiedRoots()
    records = [
        Record(one.topic, one.partition, offset, one.subject.encode(), one.value, one.headers, now_ms)
        for offset, one in enumerate(messages)
    ]
    began = time.process_time()
    verdicts = [admit(record, registry, roots) for record in records]
    used = time.process_time() - began
    if not all(isinstance(verdict, Admitted) for verdict in verdicts):
        raise BenchFailed("A generated message was not admitted.")
    return used / len(records) * 1e6


async def rate(installation: Installation, traffic: Traffic) -> Rated:
    """Measure the whole path over some days, then the floor over the same messages."""
    mark, spans, messages = await set_mark(installation), [], []
    for _ in range(DAYS_RATED):
        day = traffic.next_day()
        spans.append(await pass_day(installation, day))
        messages += day
    await installation.check_all_accepted()
    admitting_us = time_admission(day, installation.registry)
    floor = await Floor(installation, messages, await collect(installation, mark)).run()
    return Rated(mark.log_index, join(spans), floor, admitting_us)


async def find_latencies(
    installation: Installation, traffic: Traffic, per_second: float, seconds: float
) -> list[float]:
    """Measure how long recommendations take at a load."""
    messages: list[Message] = []
    while len(messages) < per_second * seconds:
        messages += traffic.next_day()
    return await measure_latencies(installation, messages[: round(per_second * seconds)], per_second)


async def fill(
    console: Console, installation: Installation, traffic: Traffic, messages: int
) -> tuple[dict[int, Span], dict[int, dict[str, float]]]:
    """Go on until `messages` were taken in; return what it took by log entries there, and memory by messages."""
    spans: dict[int, Span] = {}
    memory = {installation.produced: installation.meter.resident_mib()}
    while installation.produced < messages:
        entries = await installation.count_entries()
        span = join([await pass_day(installation, traffic.next_day()) for _ in range(DAYS_RATED)])
        spans[entries] = span
        memory[installation.produced] = installation.meter.resident_mib()
        console.print(f"{entries:,} entries: {span.per_second:,.0f} messages/s, {span.cost_us:.1f} us")
    await installation.check_all_accepted()
    return spans, memory


async def measure(stack: Stack, console: Console, size: Size, folder: Path) -> None:
    """Measure everything, write and show it."""
    durable = {name: stack.postgres.fetch_values(f"SELECT current_setting('{name}')")[0] for name in DURABLE}
    console.print(f"PostgreSQL: {', '.join(f'{name} = {value}' for name, value in durable.items())}")
    rated: dict[str, Rated] = {}
    traffic = Traffic(size.cohort, "single")
    async with install(stack, traffic, "single") as installation:
        await warm_up(installation, traffic)
        rated["single"] = await rate(installation, traffic)
        load = rated["single"].span.per_second * LOAD_SHARE
        latencies = await find_latencies(installation, traffic, load, size.seconds)
    traffic = Traffic(size.cohort, "batch")
    async with install(stack, traffic, "batch") as installation:
        memory = {0: installation.meter.resident_mib()}
        await warm_up(installation, traffic)
        rated["batch"] = await rate(installation, traffic)
        later, memory_later = await fill(console, installation, traffic, size.messages)
        growth = {rated["batch"].entries: rated["batch"].span} | later
        memory |= memory_later
    spans = {name: one.span for name, one in rated.items()}
    floors = {name: one.floor for name, one in rated.items()}
    admitting = {name: one.admitting_us for name, one in rated.items()}
    report.show_rates(console, spans, floors)
    report.show_parts(console, spans, admitting, floors)
    report.show_latencies(console, latencies, load)
    report.show_growth(console, growth, memory)
    for name, one in rated.items():
        figures = {"rate": one.span.describe(), "floor": one.floor.describe(), "admitting_us": one.admitting_us}
        write_figures(folder, name, figures | {"postgresql": durable})
    write_figures(folder, "latency", describe_latencies(latencies, load))
    by_entries = {entries: span.describe() for entries, span in growth.items()}
    write_figures(folder, "growth", {"by_entries": by_entries, "resident_mib_by_messages": memory})


async def show_evidence(stack: Stack, console: Console, size: Size, folder: Path) -> None:
    """Measure what the evidence log costs and gives, write and show it."""
    figures, rows = await measure_evidence(
        stack, cohort=size.cohort, seconds=size.seconds, small=size.messages <= SMALL_MESSAGES
    )
    write_figures(folder, "log", figures)
    console.print(table_of("The evidence log", rows))
    show_growth(console, figures["bytes"])


def measure_parts(console: Console, size: Size, folder: Path, parts: Sequence[str]) -> None:
    """Measure the parts that need brokers and a database of their own."""
    with start_stack(jvm=SHORT_JVM if size.messages < RATED_MESSAGES_MAX else LONG_JVM) as stack:
        if "exchange" in parts:
            asyncio.run(measure(stack, console, size, folder))
        if "log" in parts:
            asyncio.run(show_evidence(stack, console, size, folder))
        if "agencies" in parts:
            asyncio.run(measure_agencies(console, stack.postgres, folder, small=size.messages <= SMALL_MESSAGES))
        if "watch" in parts:
            small = size.messages <= SMALL_MESSAGES
            figures, rows = measure_watch(stack.kafka, stack.postgres, stack.run.folder / "watch", small=small)
            write_figures(folder, "watch", figures)
            console.print(table_of("How fresh, and how soon told", rows))


def time_pages(console: Console, size: Size, folder: Path) -> None:
    """Time the pages, which need a database alone."""
    run = Run()
    try:
        postgres = start_postgres(run)
        measure_pages(console, postgres, folder, small=size.messages <= SMALL_MESSAGES)
        postgres.close()
    finally:
        run.close()


def read_arguments(arguments: Sequence[str]) -> tuple[Size, Path, Sequence[str]]:
    """Read the command line: how much to do, where the results go, which parts are measured."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure how fast the hub is.")
    parser.add_argument("--messages", type=int, default=MESSAGES_DEFAULT, help="batch-signed messages in all")
    parser.add_argument("--seconds", type=float, default=SECONDS_DEFAULT, help="how long to measure latencies")
    parser.add_argument("--small", action="store_true", help="only see whether it works")
    parser.add_argument("--into", type=Path, default=FOLDER_DEFAULT, help="the folder of the results")
    parser.add_argument("--part", action="append", choices=PARTS, help="measure this part alone; repeatable")
    given = parser.parse_args(arguments)
    size = Size(SMALL_MESSAGES, SMALL_SECONDS) if given.small else Size(given.messages, given.seconds)
    return size, given.into, given.part or PARTS


def main(arguments: Sequence[str]) -> int:
    """Measure; exit 1 if nothing could be measured."""
    size, folder, parts = read_arguments(arguments)
    # The CPU time of a broker in a container, or of a given one, could not be read.
    os.environ[FORCE_VARIABLE] = Choice.EMBEDDED
    # A topic that was created just now has no leader for a moment, and aiokafka tries again by itself.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    console = Console()
    try:
        if not set(parts) <= {"year", "pages"}:
            measure_parts(console, size, folder, parts)
        if "pages" in parts:
            time_pages(console, size, folder)
        if "year" in parts:
            files = SMALL_FILES if size.messages <= SMALL_MESSAGES else NATIONAL_FILES
            write_figures(folder, "year", show_year(console, measure_year(files)))
    except (StackError, BenchFailed) as error:
        console.print(f"[red]{error}[/red]")
        return 1
    console.print(f"Written to {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
