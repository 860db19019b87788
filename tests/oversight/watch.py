"""An oversight body's machine, as the monitor's tests run it."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from connectors.oversight.log_source import LogSource
from connectors.oversight.monitor import Monitor
from connectors.oversight.monitor_state import MonitorState
from connectors.oversight.shown import Shown
from connectors.oversight.trust_options import read_rule_sets
from contracts.audit.pack import Pack, write_pack
from contracts.audit.verify import Trust
from tests.oversight.publication import publish
from tests.oversight.world import World

HOUR_S = 3_600


class Watch:
    """An oversight body's machine: a published log, a memory, a folder for packs."""

    def __init__(self, folder: Path, world: World) -> None:
        self.log, self.packs = folder / "log", folder / "packs"
        self.packs.mkdir()
        self.state = MonitorState(folder / "monitor.sqlite")
        self.world = world
        self.place = str(self.log)

    def look(self, later: timedelta = timedelta(), **trust: Any) -> set[str]:
        """Look once; return the codes of the new alarms."""
        now = self.world.now + later
        believed: Trust = replace(self.world.trust(), now=now + timedelta(minutes=1), **trust)
        monitor = Monitor(LogSource(self.place), self.state, believed, read_rule_sets(), now)
        monitor.follow(HOUR_S)
        shown = Shown(monitor)
        if shown.read_packs(self.packs):
            shown.keep_tops()
        shown.watch_deadlines(HOUR_S)
        shown.watch_sequences()
        shown.watch_completeness()
        shown.watch_counts()
        assert all(alarm.words.en and alarm.words.id for alarm in monitor.fresh)
        return {str(alarm.code) for alarm in monitor.fresh}

    def publish(self, **checkpoint: Any) -> None:
        """Publish the log as it is."""
        publish(self.log, self.world.entries, self.world.checkpoint(**checkpoint))

    def show(self, pack: Pack | None = None, name: str = "pack.json") -> None:
        """Put a pack into the folder."""
        (self.packs / name).write_bytes(write_pack(pack or self.world.pack()))
