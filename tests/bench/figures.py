"""What is measured, in the units that are reported."""

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.bench.meter import subtract


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of work: how many messages, how long by the clock, how much CPU time by part."""

    messages: int
    wall_s: float
    cpu_s: Mapping[str, float]

    @property
    def per_second(self) -> float:
        """Messages a second."""
        return self.messages / self.wall_s

    @property
    def per_cpu_second(self) -> float:
        """Messages for each second that any core was busy for any part."""
        return self.messages / sum(self.cpu_s.values())

    @property
    def cost_us(self) -> float:
        """CPU microseconds a message, all parts together."""
        return sum(self.cpu_s.values()) / self.messages * 1e6

    def costs_us(self) -> dict[str, float]:
        """Return the CPU microseconds a message of each part."""
        return {part: used / self.messages * 1e6 for part, used in self.cpu_s.items()}

    def describe(self) -> dict[str, Any]:
        """Return all of this for a JSON file."""
        derived = {"per_second": self.per_second, "per_cpu_second": self.per_cpu_second, "costs_us": self.costs_us()}
        return asdict(self) | derived


def join(spans: Iterable[Span]) -> Span:
    """Return several spans as one; what was between them does not count."""
    found = list(spans)
    parts = {part for span in found for part in span.cpu_s}
    cpu_s = {part: sum(span.cpu_s.get(part, 0.0) for span in found) for part in sorted(parts)}
    return Span(sum(span.messages for span in found), sum(span.wall_s for span in found), cpu_s)


class Stopwatch:
    """Measures one span. `used`: the CPU seconds by part so far."""

    def __init__(self, used: Mapping[str, float]) -> None:
        self._used = used
        self._began = time.perf_counter()

    def stop(self, messages: int, used: Mapping[str, float]) -> Span:
        """Return the span until now."""
        return Span(messages, time.perf_counter() - self._began, subtract(used, self._used))


def find_percentile(values: Iterable[float], share: float) -> float:
    """Return the value that this share of the values does not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, min(len(ordered) - 1, round(share * len(ordered)) - 1))]


def write_figures(folder: Path, name: str, figures: Mapping[str, Any]) -> None:
    """Write a section's figures to `<folder>/<name>.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(figures, indent=1) + "\n")
