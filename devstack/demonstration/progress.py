"""Live progress bars, counted from the agencies' books and the hub's tables."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import httpx
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bars

from devstack.agencies.reckoning import reckon
from devstack.agencies.scenario import BANKS, Day
from devstack.demonstration.observation import Tables
from devstack.demonstration.stage import Stage

REFRESH_S = 0.5


class Progress:
    """Four bars that move while the day is played; nothing where the output is not a terminal."""

    def __init__(self, console: Console, stage: Stage, day: Day, tables: Tables) -> None:
        self._stage = stage
        self._day = day
        self._tables = tables
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )

    @contextlib.asynccontextmanager
    async def shown(self) -> AsyncIterator[None]:
        """Show the bars for one block."""
        if self._bars.disable:
            yield
            return
        with self._bars:
            moving = asyncio.create_task(self._move())
            try:
                yield
            finally:
                moving.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await moving

    async def _move(self) -> None:
        issued = len(reckon(self._day.applications, self._day.rows, self._day.reports).issued)
        rows = self._bars.add_task("ministry's rows / baris kementerian", total=len(self._day.rows))
        told = self._bars.add_task("banks' reports / laporan bank", total=len(self._day.reports))
        accepted = self._bars.add_task("accepted by the hub / diterima", total=None)
        received = self._bars.add_task("recommendations at Immigration / di Imigrasi", total=issued)
        while True:
            # A progress bar must never be what fails a demo: an agency that does not answer is asked again.
            with contextlib.suppress(httpx.HTTPError):
                books = await self._stage.read_books()
                self._bars.update(rows, completed=len(books["ministry"].page("written")))
                self._bars.update(told, completed=sum(len(books[bank].page("told")) for bank in BANKS))
                held = books["immigration"].page("recommendations").values()
                self._bars.update(received, completed=sum(entry["state"] == "issued" for entry in held))
            self._bars.update(accepted, completed=(await self._tables.count()).accepted)
            await asyncio.sleep(REFRESH_S)
