"""What a message takes on disk: in each table with its indexes, and in Kafka's topics."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from hub.store import retention
from tests.bench.installation import Installation

# What a message adds less than this to is shown together.
SHOWN_BYTES_MIN = 20


class Sizes(NamedTuple):
    """What there was at some moment: bytes by table and by kind of topic, and messages sent until then."""

    messages: int
    tables: Mapping[str, int]
    topics: Mapping[str, int]


async def weigh_disk(installation: Installation) -> Sizes:
    """Read what the database and the brokers' folders hold of an installation."""
    async with installation.database.connection() as connection:
        tables = {size.table: size.bytes for size in await retention.read_sizes(connection)}
    topics: dict[str, int] = {}
    for broker in installation.stack.kafka.brokers:
        for folder in (broker.folder / "data").glob(f"{installation.prefix}*"):
            kind = re.match(r"[a-z]+", folder.name.removeprefix(installation.prefix))
            if kind is not None:
                held = sum(file.stat().st_size for file in folder.glob("*.log"))
                topics[kind[0]] = topics.get(kind[0], 0) + held
    return Sizes(installation.produced, tables, topics)


def find_growth(before: Sizes, after: Sizes) -> dict[str, dict[str, float]]:
    """Return by how many bytes a message made each table and each kind of topic grow."""
    messages = after.messages - before.messages
    pairs = {"tables": (before.tables, after.tables), "topics": (before.topics, after.topics)}
    return {
        name: {key: (held - earlier.get(key, 0)) / messages for key, held in later.items()}
        for name, (earlier, later) in pairs.items()
    }


def show_growth(console: Console, grown: Mapping[str, Mapping[str, float]]) -> None:
    """Show what a message takes, the largest first."""
    for name in ("tables", "topics"):
        table = Table(title=f"Bytes a message: {name}")
        table.add_column(name)
        table.add_column("bytes", justify="right")
        shown = {key: held for key, held in grown[name].items() if held >= SHOWN_BYTES_MIN}
        for key, held in sorted(shown.items(), key=lambda one: -one[1]):
            table.add_row(key, f"{held:,.0f}")
        table.add_row("all", f"{sum(grown[name].values()):,.0f}")
        console.print(table)
