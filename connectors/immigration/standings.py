"""The standings as tasks use them: what writes runs in one thread, what reads answers at once."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

from connectors.immigration.offices import Offices
from connectors.immigration.standing_file import FILE_NAME, Delivery, Kept, News, Question, Reply, StandingFile
from connectors.immigration.validity import Beat, Stretch
from connectors.link.clock import Clock

T = TypeVar("T")


class Standings:
    """Safe to call from many tasks of one event loop. `read` answers without waiting for a disk."""

    def __init__(self, file: StandingFile, thread: ThreadPoolExecutor) -> None:
        self._file = file
        self._thread = thread
        self.read = file
        #: By office: set when its queue grew.
        self.arrived: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        #: Set when a decision, or the feed, may let something be judged.
        self.judgeable = asyncio.Event()

    @staticmethod
    @asynccontextmanager
    async def open(folder: Path, offices: Offices, clock: Clock, bytes_max: int) -> AsyncIterator["Standings"]:
        """Open or create the file in the spool's folder, whose lock keeps others out. Raises SpoolUnusable."""
        thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="standings")
        try:
            file = StandingFile(folder / FILE_NAME, offices, clock, bytes_max)
            standings = Standings(file, thread)
            try:
                yield standings
            finally:
                await standings._run(file.close)
        finally:
            thread.shutdown()

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def mark_fed(self) -> None:
        """Note that the feed is read from its beginning."""
        await self._run(self._file.mark_fed)

    async def take(self, what: News | Reply) -> None:
        """Keep what the feed has brought, and queue it for whom it concerns. Raises QueueFull."""
        work = partial(self._file.take_news, what) if isinstance(what, News) else partial(self._file.take_reply, what)
        for office in await self._run(work):
            self.arrived[office].set()
        self.judgeable.set()

    async def erase(self, cases: Iterable[str]) -> frozenset[str]:
        """Take everybody out of what is kept of these applications; return their recommendations' numbers."""
        return await self._run(lambda: self._file.erase(cases))

    async def keep_beat(self, topic: str, partition: int, beat: Beat, ended: Stretch | None) -> None:
        """Keep a stream's heartbeat, and the stale stretch that it ended."""
        await self._run(lambda: self._file.keep_beat(topic, partition, beat, ended))
        self.judgeable.set()

    async def turn(self, office: str, limit: int) -> list[Delivery]:
        """Return what an office is to be told next."""
        return await self._run(lambda: self._file.turn(office, limit))

    async def next_due(self, office: str) -> datetime | None:
        """Return when the next postponed delivery of an office is due."""
        return await self._run(lambda: self._file.next_due(office))

    async def finish(self, deliveries: Sequence[tuple[Delivery, str]]) -> None:
        """Note deliveries as over, each with its outcome."""
        if deliveries:
            await self._run(lambda: self._file.finish(deliveries))

    async def postpone(self, deliveries: Sequence[Delivery], until: Sequence[datetime]) -> None:
        """Try deliveries again later."""
        if deliveries:
            await self._run(lambda: self._file.postpone(deliveries, until))

    async def note_answers(self, office: str, questions: Sequence[Question], decisions: Sequence[Kept]) -> None:
        """Keep what an office asks and decides."""
        if questions or decisions:
            await self._run(lambda: self._file.note_answers(office, questions, decisions))
            self.judgeable.set()

    async def keep_verdicts(self, judged: Iterable[Kept]) -> None:
        """Keep what was found of decisions."""
        found = list(judged)
        if found:
            await self._run(lambda: self._file.keep_verdicts(found))

    async def acknowledge(self, key: str, actor: str, reason: str) -> bool:
        """Note who has seen an alarm and why it is over; False where there is no such open alarm."""
        return await self._run(lambda: self._file.acknowledge(key, actor, reason))
