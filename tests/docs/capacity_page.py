"""What follows from the measured figures of docs/explanation/capacity.md: `python -m tests.docs.capacity_page`.

The page holds what was measured and what was assumed, and this computes the rest, so that the page cannot contradict
itself. It prints the table as the page must have it.
"""

import math
import re
from collections.abc import Mapping
from pathlib import Path

from tests.docs.markdown import table

PAGE = Path(__file__).resolve().parents[2] / "docs" / "explanation" / "capacity.md"
ROW = re.compile(r"^\| (?P<name>[^|]+) \| (?P<figure>[\d,.]+) \| (?P<rest>[^|]+) \|$", re.MULTILINE)
SCALES = (1, 10, 100, 1_000)
US_PER_S = 1e6
GB = 1e9
MACHINE_CORES = 2
# Two of everything, so that one may be away.
AT_LEAST = 2


def read_section(page: str, heading: str) -> str:
    """Return a section of the page."""
    return page.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


def read_figures(section: str) -> dict[str, float]:
    """Return the figures of a table, by the names in its first column."""
    return {found["name"]: float(found["figure"].replace(",", "")) for found in ROW.finditer(section)}


def derive(figures: Mapping[str, float], scale: int) -> dict[str, float]:
    """Return what so many times the national traffic needs."""
    a_year = figures["applications a year"] * figures["messages for each application"] * scale
    a_day = a_year / figures["working days a year"]
    peak = a_day / figures["hours of a working day"] / 3_600 * figures["busiest second, times the average one"]
    half = figures["share of a core that is used at the busiest second"]
    parts = [f"CPU µs a message: {part}" for part in ("intake", "relay", "PostgreSQL", "broker", "sequencer, witness")]
    cores = peak * sum(figures[part] for part in parts) / US_PER_S / half
    intakes = peak * figures["CPU µs a message: intake"] / US_PER_S / half
    stored = a_year * figures["bytes a message in PostgreSQL, with indexes"] / GB
    kept_days = figures["hours that topics keep"] / 24
    kafka = a_day * figures["busiest day, times the average one"] * figures["bytes a message in Kafka"] / GB
    return {
        "messages a year": a_year,
        "messages/s at the busiest second": peak,
        "share of what two cores were measured to take, %": peak / figures["messages/s, two cores"] * 100,
        "cores for everything at that second": cores,
        f"machines of {MACHINE_CORES} cores": max(AT_LEAST, math.ceil(cores / MACHINE_CORES)),
        "intake processes, and partitions of the busiest topic at least": max(AT_LEAST, math.ceil(intakes)),
        "PostgreSQL, GB more each year": stored,
        "PostgreSQL, GB after ten years": stored * 10,
        "Kafka, GB for the busiest days, all copies": kafka * kept_days * figures["copies of each record"],
    }


def write_number(value: float) -> str:
    """Return a number with two digits that say something; what is counted is exact."""
    if isinstance(value, int):
        return f"{value:,}"
    digits = 1 - math.floor(math.log10(abs(value)))
    return f"{round(value, digits):,.{max(0, digits)}f}"


def write_table(page: str) -> str:
    """Return what follows, as the page must have it."""
    figures = read_figures(read_section(page, "Measured")) | read_figures(read_section(page, "Assumed"))
    columns = [derive(figures, scale) for scale in SCALES]
    head = ["", *("a year of national traffic" if scale == 1 else f"{scale:,} times" for scale in SCALES)]
    return table(head, ([name, *(write_number(one[name]) for one in columns)] for name in columns[0]))


if __name__ == "__main__":
    print(write_table(PAGE.read_text("utf-8")), end="")
