"""A look into the connectors' spools, read only."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from urllib.parse import quote

from devstack.demonstration.cast import Cast

SPOOL_FILE = "spool.sqlite"


@dataclass(frozen=True, slots=True)
class Settled:
    """Facts of one spool by what the hub's receipts said of them."""

    accepted: int
    refused: int
    unsettled: int


def count_settled(cast: Cast, agency: str) -> Settled:
    """Count an agency's facts by state."""
    file = cast.folder / "spool" / agency / SPOOL_FILE
    if not file.exists():
        return Settled(0, 0, 0)
    with closing(sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True)) as spool:
        counts: dict[str, int] = dict(spool.execute("SELECT state, count(*) FROM fact GROUP BY state").fetchall())
    accepted, refused = counts.pop("accepted", 0), counts.pop("refused", 0)
    return Settled(accepted, refused, sum(counts.values()))


def count_by_door(cast: Cast, agency: str, door: str) -> int:
    """Count an agency's accepted facts that came by one door of its connector."""
    file = cast.folder / "spool" / agency / SPOOL_FILE
    with closing(sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True)) as spool:
        query = "SELECT count(*) FROM fact WHERE state = 'accepted' AND native_key LIKE ? || '/%'"
        count: int = spool.execute(query, (door,)).fetchone()[0]
    return count
