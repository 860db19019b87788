"""A whole year of national traffic under the overseers' eyes: what service times, findings and statistics cost."""

import gc
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Any, TypeVar

from rich.console import Console
from rich.table import Table

from contracts.oversight.clocks import read_clocks
from contracts.oversight.dossier import Dossier
from contracts.oversight.statistics import count_month, observe
from contracts.rules.case import Fact
from devstack.agencies import misdeeds
from devstack.agencies.year import NATIONAL_FILES
from tests.bench.installation import BenchFailed
from tests.oversight.year import RULES, judge, read_facts, tell

SEED = 2012
SMALL_FILES = 1_600
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Measured:
    """What a year cost, in CPU seconds, and what was found in it."""

    files: int
    facts: int
    telling_s: float
    findings_s: float
    clocks_s: float
    statistics_s: float
    findings: int


def measure_year(files: int = NATIONAL_FILES) -> Measured:
    """Tell a year with each misdeed once, and judge it. Raises BenchFailed unless exactly those are found."""
    # A year is millions of objects of which none is garbage: looking for some again and again measures the collector.
    gc.disable()
    try:
        return _measure(files)
    finally:
        gc.enable()


def _measure(files: int) -> Measured:
    told, telling_s = _time(lambda: tell(SEED, files, misdeeds.ALL.values()))
    facts = read_facts(told)
    number = len(told)
    told.clear()
    leads, findings_s = _time(lambda: judge(facts))
    found = sorted(lead.finding for lead in leads)
    if found != sorted(misdeeds.ALL):
        raise BenchFailed(f"A year of {files} files showed {', '.join(found)}.")
    now = max(fact.time for one in facts.values() for fact in one) + timedelta(days=1)
    _, clocks_s = _time(lambda: sum(len(_read_clocks(name, one)) for name, one in facts.items()))
    _, statistics_s = _time(lambda: _count(facts, now))
    return Measured(files, number, telling_s, findings_s, clocks_s, statistics_s, len(found))


def _read_clocks(name: str, facts: list[Fact]) -> list[Any]:
    dossier = Dossier(name, facts)
    rule_set = dossier.rule_set(RULES.book)
    return [] if rule_set is None else read_clocks(dossier, rule_set)


def _count(facts: dict[str, list[Fact]], now: Any) -> int:
    seen = (observe(Dossier(name, one), RULES.book, now) for name, one in facts.items())
    return len(count_month([one for one in seen if one is not None], date(2025, 8, 1)))


def _time(work: Callable[[], Result]) -> tuple[Result, float]:
    begun = time.process_time()
    result = work()
    return result, time.process_time() - begun


def show_year(console: Console, measured: Measured) -> dict[str, Any]:
    """Show what a year cost; return it as it is written to a file."""
    table = Table(title=f"A year of {measured.files:,} applications and {measured.facts:,} messages, on one core")
    table.add_column("what")
    for column in ("CPU seconds", "microseconds a message"):
        table.add_column(column, justify="right")
    for name, seconds in (
        (f"the findings: {measured.findings} misdeeds, {measured.findings} found", measured.findings_s),
        ("every service time", measured.clocks_s),
        ("a month's statistics", measured.statistics_s),
    ):
        table.add_row(name, f"{seconds:,.1f}", f"{seconds / measured.facts * 1e6:,.1f}")
    console.print(table)
    return asdict(measured)
