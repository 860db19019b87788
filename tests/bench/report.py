"""The figures as tables, in the order in which they answer what one wants to know."""

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from tests.bench.figures import Span, find_percentile

AIMS_PER_CPU_SECOND = {"single": 2_500, "batch": 6_000}
FLOOR_TIMES_MAX = 2.0
GROWTH_MAX = 0.15
PARTS = ("intake", "relay", "postgresql", "broker")


def show_rates(console: Console, rates: Mapping[str, Span], floors: Mapping[str, Span]) -> None:
    """Show the rates of the whole path, and how they compare with the aims and the floor."""
    table = Table(title="The whole path: verify, dedupe, fold, decide, evidence, outbox, relay, receipts")
    for column in ("signatures", "messages", "messages/s", "per CPU-second", "aim", "floor per CPU-second", "x floor"):
        table.add_column(column, justify="left" if column == "signatures" else "right")
    for signing, span in rates.items():
        aim, floor = AIMS_PER_CPU_SECOND[signing], floors[signing]
        times = floor.per_cpu_second / span.per_cpu_second
        table.add_row(
            signing,
            f"{span.messages:,}",
            f"{span.per_second:,.0f}",
            _judge(f"{span.per_cpu_second:,.0f}", span.per_cpu_second >= aim),
            f">= {aim:,}",
            f"{floor.per_cpu_second:,.0f}",
            _judge(f"{times:.2f}", times <= FLOOR_TIMES_MAX),
        )
    console.print(table)


def show_parts(
    console: Console, rates: Mapping[str, Span], admitting_us: Mapping[str, float], floors: Mapping[str, Span]
) -> None:
    """Show where the CPU time of a message goes."""
    table = Table(title="CPU microseconds a message")
    table.add_column("part")
    for signing in rates:
        table.add_column(signing, justify="right")
    costs = {signing: span.costs_us() for signing, span in rates.items()}
    rows = {"intake: admit": admitting_us}
    rows |= {"intake: other": {name: costs[name]["intake"] - admitting_us[name] for name in costs}}
    rows |= {part: {name: costs[name][part] for name in costs} for part in PARTS if part != "intake"}
    rows |= {"all": {name: span.cost_us for name, span in rates.items()}}
    for name, row in rows.items():
        table.add_row(name, *(f"{row[signing]:.1f}" for signing in rates), end_section=name in ("broker", "all"))
    for part in sorted({part for span in floors.values() for part in span.cpu_s}):
        table.add_row(f"floor: {part}", *(f"{floors[name].costs_us()[part]:.1f}" for name in rates))
    console.print(table)


def show_latencies(console: Console, latencies_s: list[float], per_second: float) -> None:
    """Show how long a recommendation takes at half load."""
    table = Table(title="From the permit's last fact to the recommendation readable in `recommendations`")
    for column in ("load, messages/s", "recommendations", "p50, ms", "p99, ms", "longest, ms"):
        table.add_column(column, justify="right")
    found = [find_percentile(latencies_s, share) * 1_000 for share in (0.5, 0.99, 1.0)]
    table.add_row(f"{per_second:,.0f}", f"{len(latencies_s):,}", *(f"{value:.1f}" for value in found))
    console.print(table)


def show_growth(console: Console, spans: Mapping[int, Span], memory_mib: Mapping[int, Mapping[str, float]]) -> None:
    """Show what the rows that are already there do to the cost of a message, and to the processes' memory."""
    table = Table(title="As the exchange fills (batch signatures)")
    for column in ("log entries there", *PARTS, "all, CPU us a message", "growth"):
        table.add_column(column, justify="right")
    first = next(iter(spans.values())).cost_us
    for entries, span in spans.items():
        growth, costs = span.cost_us / first - 1, span.costs_us()
        verdict = _judge(f"{growth:+.1%}", growth <= GROWTH_MAX)
        table.add_row(f"{entries:,}", *(f"{costs[part]:.1f}" for part in PARTS), f"{span.cost_us:.1f}", verdict)
    console.print(table)
    table = Table(title="Resident memory, MiB")
    for column in ("after messages", "intake", "relay"):
        table.add_column(column, justify="right")
    for messages, used in memory_mib.items():
        table.add_row(f"{messages:,}", f"{used['intake']:.1f}", f"{used['relay']:.1f}")
    console.print(table)


def _judge(text: str, good: bool) -> str:
    return f"[green]{text}[/green]" if good else f"[red]{text}[/red]"
