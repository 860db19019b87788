"""Charts as numbers: where each bar begins and ends, for the templates to draw as SVG. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from contracts.oversight.statistics import Row

BARS_MAX = 10
#: The drawing's own units, about a phone's pixels.
WIDTH = 360
LABEL_WIDTH = 128
VALUE_WIDTH = 52
COLUMNS_HEIGHT = 150


class Bar(NamedTuple):
    """One value of a chart: its code, how long its bar is, and the value, None where it is left out."""

    code: str
    length: float
    value: int | None


class Bars(NamedTuple):
    """The largest values of a table, how many values there are in all, and how many of them are left out."""

    bars: list[Bar]
    number: int
    hidden: int


class Column(NamedTuple):
    """One month of two figures beside each other: where it stands, and how high each is."""

    x: float
    width: float
    heights: tuple[float, float]


def draw_bars(rows: Sequence[Row]) -> Bars:
    """Return the bars of a table's largest values."""
    shown = sorted(
        ((int(row.value), row.of) for row in rows if row.value is not None), key=lambda one: (-one[0], one[1])
    )
    longest = max((value for value, _ in shown), default=0) or 1
    room = WIDTH - LABEL_WIDTH - VALUE_WIDTH
    bars = [Bar(code, round(value / longest * room, 1), value) for value, code in shown[:BARS_MAX] if value]
    return Bars(bars, len(rows), sum(1 for row in rows if row.value is None))


def draw_columns(pairs: Sequence[tuple[int | None, int | None]]) -> list[Column]:
    """Return the columns of two figures month by month; what is left out has no height."""
    highest = max((value or 0 for pair in pairs for value in pair), default=0) or 1
    step = WIDTH / max(len(pairs), 6)
    return [
        Column(
            round(place * step, 1),
            round(step * 0.36, 1),
            (
                round((first or 0) / highest * COLUMNS_HEIGHT, 1),
                round((second or 0) / highest * COLUMNS_HEIGHT, 1),
            ),
        )
        for place, (first, second) in enumerate(pairs)
    ]
