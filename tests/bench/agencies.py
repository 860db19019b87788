"""The agencies' figures in one table, each measured in a process of its own: nothing else's heap is in it."""

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from devstack.postgres import Postgres
from tests.bench.figures import write_figures
from tests.bench.installation import BenchFailed

REPOSITORY = Path(__file__).parents[2]
NOTIFICATIONS_PER_S_MIN = 500
NOTIFICATION_P99_MS_MAX = 100
STATEMENT_S_MAX = 5
STATEMENT_MIB_MAX = 150
OUTBOX_PER_S_MIN = 5_000
VALID_P99_MS_MAX = 10
SIGNATURES = {"snap_asymmetric": "RSA", "snap_symmetric": "HMAC"}


@dataclass(frozen=True, slots=True)
class Row:
    """One figure beside its aim, and the CPU microseconds of one notification, entry, row or question, if measured."""

    what: str
    figure: str
    aim: str
    met: bool
    cpu_us: float | None = None


async def measure_agencies(console: Console, postgres: Postgres, folder: Path, *, small: bool) -> None:
    """Measure one after the other, write `agencies.json`, show the table. Raises BenchFailed."""
    database = postgres.create_database()
    figures: dict[str, Any] = {}
    for command in (("bank",), ("statement",), ("outbox", "--database", database), ("immigration",)):
        figures |= await measure_apart(*command, *(["--small"] if small else []))
    postgres.drop_database(database)
    write_figures(folder, "agencies", figures)
    console.print(table_of("The agencies' connectors", judge(figures)))


async def measure_apart(section: str, *arguments: str) -> dict[str, Any]:
    """Measure a section in a process of its own and return what it printed. Raises BenchFailed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        f"tests.bench.{section}",
        *arguments,
        cwd=REPOSITORY,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, faults = await process.communicate()
    if process.returncode != 0:
        raise BenchFailed(f"tests.bench.{section} failed:\n{faults.decode()}")
    found: dict[str, Any] = json.loads(out)
    return found


def judge(figures: dict[str, Any]) -> list[Row]:
    """Return each figure beside its aim."""
    camt, memory = figures["camt"], figures["camt_memory"]
    outbox, valid = figures["outbox"], figures["valid"]
    return [
        *(row for name, signed in SIGNATURES.items() for row in _judge_notifications(figures[name], signed)),
        Row(
            f"camt.054: {camt['entries']:,} entries read, checked, spooled",
            f"{camt['seconds']:.2f} s",
            f"<= {STATEMENT_S_MAX} s",
            camt["seconds"] <= STATEMENT_S_MAX,
            camt["cpu_us"],
        ),
        Row(
            f"camt.054: memory for {memory['entries']:,} entries",
            f"{memory['peak_mib']:.0f} MiB",
            f"< {STATEMENT_MIB_MAX} MiB",
            memory["peak_mib"] < STATEMENT_MIB_MAX,
        ),
        Row(
            f"outbox: {outbox['rows']:,} rows read, translated, spooled",
            f"{outbox['per_second']:,.0f}/s",
            f">= {OUTBOX_PER_S_MIN:,}/s",
            outbox["per_second"] >= OUTBOX_PER_S_MIN,
            outbox["cpu_us"],
        ),
        Row(
            f"/valid, {valid['recommendations']:,} recommendations, {valid['per_second']:,.0f} questions/s: p99",
            f"{valid['p99_ms']:.1f} ms",
            f"< {VALID_P99_MS_MAX} ms",
            valid["p99_ms"] < VALID_P99_MS_MAX,
            valid["cpu_us"],
        ),
    ]


def _judge_notifications(found: dict[str, Any], signed: str) -> list[Row]:
    """Return the rate and, at that rate, the latency; the client's CPU time counts with the door's."""
    rate, p99_ms = found["per_second"], found["p99_ms"]
    what, cpu_us = f"SNAP notifications on disk, {signed}", sum(found["cpu_us"].values())
    aim = f">= {NOTIFICATIONS_PER_S_MIN}/s"
    return [
        Row(what, f"{rate:,.0f}/s", aim, rate >= NOTIFICATIONS_PER_S_MIN, cpu_us),
        Row(f"{what}: p99", f"{p99_ms:.1f} ms", f"< {NOTIFICATION_P99_MS_MAX} ms", p99_ms < NOTIFICATION_P99_MS_MAX),
    ]


def table_of(title: str, rows: Sequence[Row]) -> Table:
    """Return the table for the terminal."""
    table = Table(title=title)
    for column in ("", "figure", "aim", "CPU us for one"):
        table.add_column(column, justify="right" if column else "left")
    for row in rows:
        colour = "green" if row.met else "red"
        cost = "" if row.cpu_us is None else f"{row.cpu_us:.0f}"
        table.add_row(row.what, f"[{colour}]{row.figure}[/{colour}]", row.aim, cost)
    return table
