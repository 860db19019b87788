"""What the parts use: CPU time by process, children and ended PostgreSQL backends included, and resident memory."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import psutil


class Metered(NamedTuple):
    """A process that counts, and whether the children it has and will have count with it."""

    process: psutil.Process
    with_children: bool


@dataclass
class Meter:
    """Processes by the part that they are."""

    parts: dict[str, list[Metered]] = field(default_factory=dict)

    def add(self, part: str, pid: int, *, with_children: bool = True) -> None:
        """Count a process to `part`."""
        self.parts.setdefault(part, []).append(Metered(psutil.Process(pid), with_children))

    def choose(self, *parts: str) -> "Meter":
        """Return a meter of these parts alone."""
        return Meter({part: list(self.parts[part]) for part in parts})

    def cpu_s(self) -> dict[str, float]:
        """Return the CPU seconds that each part has used since it began."""
        return {part: sum(map(_cpu_of, found)) for part, found in self.parts.items()}

    def resident_mib(self) -> dict[str, float]:
        """Return the resident memory of each part's own processes."""
        return {part: sum(one.process.memory_info().rss for one in found) / 2**20 for part, found in self.parts.items()}


def _cpu_of(metered: Metered) -> float:
    """Return the CPU seconds of a process, of its children, and of those that it has outlived and waited for."""
    used = metered.process.cpu_times()
    total = used.user + used.system
    if not metered.with_children:
        return float(total)
    total += used.children_user + used.children_system
    for child in metered.process.children():
        try:
            times = child.cpu_times()
        except psutil.NoSuchProcess:
            # It ended just now, so its parent counts it from here on.
            continue
        total += times.user + times.system
    return float(total)


def subtract(after: Mapping[str, float], before: Mapping[str, float]) -> dict[str, float]:
    """Return by how much each part's figure grew."""
    return {part: value - before.get(part, 0.0) for part, value in after.items()}
