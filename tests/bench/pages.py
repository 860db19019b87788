"""The pages over a million applications: how long each takes, and how the database reads what they show.

A client asks the real application, over its own pool of the database, one page after another; every statement of a list
is explained at that size.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from devstack.postgres import Postgres
from hub.accounts import Role
from tests.bench.figures import find_percentile, write_figures
from tests.bench.installation import BenchFailed
from tests.pages import crowd
from tests.pages.hall import Hall, open_hall

CASES = 1_000_000
SMALL_CASES = 5_000
REQUESTS = 300
SMALL_REQUESTS = 5
PAGE_MS_MAX = 100.0
STATISTICS_MS_MAX = 200.0
#: Each page with its role, and its aim in milliseconds.
PAGES: Mapping[str, tuple[str, Role | None, float]] = {
    "procedure": ("/", None, PAGE_MS_MAX),
    "board": ("/board?before={index}", None, PAGE_MS_MAX),
    "status": ("/status/file", Role.APPLICANT, PAGE_MS_MAX),
    "statistics": ("/statistics", None, STATISTICS_MS_MAX),
    "months": ("/minister", Role.MINISTER, STATISTICS_MS_MAX),
    "work": ("/work", Role.OFFICER, PAGE_MS_MAX),
    "work, a whole list": ("/work?list=paid", Role.OFFICER, PAGE_MS_MAX),
    "recommendation": ("/recommendation", Role.IMMIGRATION, PAGE_MS_MAX),
    "bank": ("/bank", Role.BANK, PAGE_MS_MAX),
    "findings": ("/oversight", Role.OVERSIGHT, PAGE_MS_MAX),
}


@dataclass(frozen=True, slots=True)
class Timed:
    """How long one page took, in milliseconds."""

    page: str
    p50_ms: float
    p95_ms: float
    longest_ms: float
    aim_ms: float


def measure_pages(console: Console, postgres: Postgres, folder: Path, *, small: bool) -> None:
    """Fill a database, time every page, explain every list; write and show it. Raises BenchFailed for a long read."""
    figures = asyncio.run(_measure(postgres, SMALL_CASES if small else CASES, SMALL_REQUESTS if small else REQUESTS))
    write_figures(folder, "pages", figures)
    table = Table(title=f"Pages over {figures['cases']:,} applications, milliseconds")
    table.add_column("page")
    for column in ("p50", "p95", "longest", "aim for p95"):
        table.add_column(column, justify="right")
    for one in figures["pages"]:
        style = "green" if one["p95_ms"] <= one["aim_ms"] else "red"
        p95 = f"[{style}]{one['p95_ms']:.1f}[/{style}]"
        table.add_row(one["page"], f"{one['p50_ms']:.1f}", p95, f"{one['longest_ms']:.1f}", f"<= {one['aim_ms']:.0f}")
    console.print(table)


async def _measure(postgres: Postgres, cases: int, requests: int) -> dict[str, Any]:
    dsn = postgres.create_database()
    async with open_hall(dsn, dsn) as hall:
        began = time.monotonic()
        async with hall.exchange.database.connection() as connection:
            await crowd.fill_all(connection, cases)
        filled_s = time.monotonic() - began
        async with hall.exchange.database.connection() as connection:
            plans = await crowd.explain(connection)
        long = sorted(name for name, plan in plans.items() if "Seq Scan" in plan)
        if long:
            raise BenchFailed(f"These lists read a whole table: {', '.join(long)}.")
        timed = [await _time_page(hall, name, cases, requests) for name in PAGES]
        timed.append(await _time_search(hall, cases, requests))
    postgres.drop_database(dsn)
    return {
        "cases": cases,
        "requests": requests,
        "filled_s": filled_s,
        "pages": [asdict(one) for one in timed],
        "plans": plans,
    }


async def _time_page(hall: Hall, name: str, cases: int, requests: int) -> Timed:
    path, role, aim_ms = PAGES[name]
    browser = await hall.browser_of(role)
    places = (crowd.FIRST_INDEX + 7 * (1 + turn * 7_919 % cases) for turn in range(requests + 1))
    return await _time(name, aim_ms, requests, lambda: browser.get(path.format(index=next(places))))


async def _time_search(hall: Hall, cases: int, requests: int) -> Timed:
    """Search for numbers all over the nation's, of which the unit has one in so many."""
    browser = await hall.browser_of(Role.OFFICER)
    token = hall.form_token_of(await browser.get("/work"))
    numbers = (f"B.9/{1 + turn * 7_919 % cases:07}" for turn in range(requests + 1))
    form = {"form_token": token}
    return await _time(
        "search", PAGE_MS_MAX, requests, lambda: browser.post("/work", data=form | {"number": next(numbers)})
    )  # fmt: skip


async def _time(name: str, aim_ms: float, requests: int, ask: Callable[[], Awaitable[httpx.Response]]) -> Timed:
    taken = []
    await ask()
    for _ in range(requests):
        began = time.perf_counter()
        answer = await ask()
        taken.append((time.perf_counter() - began) * 1_000)
        if answer.status_code != httpx.codes.OK:
            raise BenchFailed(f"The page {name!r} was answered with {answer.status_code}.")
    return Timed(name, find_percentile(taken, 0.5), find_percentile(taken, 0.95), max(taken), aim_ms)
