"""The other side of the hub's daily counts: the same stretch of the log, counted from this spool, compared and said.

    hub's count --keep--> note --compare--> verdict, and an event that tells the hub and the oversight body

The hub's count comes behind every receipt of its stretch on the same stream, so what the spool says by then is final.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any, Final

import structlog

from connectors.link.clock import Clock
from connectors.link.fact import Author, NewEvent
from connectors.link.metrics import LinkMetrics
from connectors.link.spool import Spool
from contracts.counts import Count, compare, read_count
from contracts.events.hub import CountReported
from contracts.registry import Registry
from contracts.rules.clock import jakarta_day
from contracts.wire.instant import write_instant

PREFIX: Final = "count/"
NOTE: Final = "counts"
LOOK_EVERY_S = 1.0
# A verdict is looked at again now and then, since what differed may have been mended.
AGAIN_EVERY = timedelta(hours=1)
KEPT = timedelta(days=400)
SHOWN_MAX = 14

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class DayCount:
    """A day as the hub counted it, and what became of the comparison; `revision` 0 has not been told."""

    day: str
    first_index: int
    log_size: int
    hub: Count
    sent: tuple[tuple[int, int, int], ...]
    revision: int = 0
    stated: Mapping[str, Any] | None = None
    verdict: str | None = None
    words: str = ""

    def write(self) -> str:
        """Spell it for the spool's notes."""
        return json.dumps(
            {
                "first_index": self.first_index, "log_size": self.log_size, "hub": self.hub.members(),
                "sent": self.sent, "revision": self.revision, "stated": self.stated, "verdict": self.verdict,
                "words": self.words,
            }
        )  # fmt: skip

    @classmethod
    def read(cls, day: str, text: str) -> "DayCount":
        """Read what `write` wrote."""
        said = json.loads(text)
        sent = tuple((one[0], one[1], one[2]) for one in said.pop("sent"))
        return cls(day=day, hub=read_count(said.pop("hub")), sent=sent, **said)

    @property
    def received(self) -> int:
        """How many messages the hub sent in the time of this count."""
        return sum(max(0, last - first + 1) for _, first, last in self.sent)


def note_of(event: CountReported, source: str) -> dict[str, str | None]:
    """Return the note that keeps the hub's count of a source, or none if it counts no such source."""
    for one in event.sources:
        if one.source == source:
            sent = tuple((each.partition, each.first, each.last) for each in event.sent)
            hub = read_count(one.model_dump())
            kept = DayCount(event.day, event.first_index, event.log_size, hub, sent)
            return {PREFIX + event.day: kept.write()}
    return {}


def _find_gap(before: DayCount | None, count: DayCount) -> str:
    """Say where a count does not begin where the one before it ends: what stands between would be in neither."""
    if before is None or count.first_index == before.log_size:
        return ""
    return f"it begins at {count.first_index}, and the count before it ends at {before.log_size}"


class DayCounts:
    """Compares the hub's counts with the spool's, and tells."""

    def __init__(
        self, spool: Spool, author: Author, registry: Callable[[], Registry], metrics: LinkMetrics, clock: Clock
    ) -> None:
        self._spool = spool
        self._author = author
        self._registry = registry
        self._metrics = metrics
        self._clock = clock
        self._again_at = datetime.min.replace(tzinfo=UTC)
        self._arrived = asyncio.Event()

    async def keep(self, event: CountReported) -> None:
        """Keep what the hub counted; the same count again changes nothing."""
        for name, text in note_of(event, self._author.source).items():
            if await self._spool.note(name) is None:
                await self._spool.put(notes={name: text})
        self._arrived.set()

    async def run(self) -> None:
        """Compare what is new for ever, and what differs again now and then."""
        while True:
            self._arrived.clear()
            pause_s = LOOK_EVERY_S if await self.look() else AGAIN_EVERY.total_seconds()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._arrived.wait()

    async def look(self) -> bool:
        """Compare every count that was not told yet, and those that differ if it is time; show what differs.

        Return whether a count waits until everything was read that the hub had sent before it.
        """
        now = self._clock()
        again = now >= self._again_at
        if again:
            self._again_at = now + AGAIN_EVERY
            await self._spool.forget_notes(PREFIX, now - KEPT)
        waits, known = False, await self.known()
        for before, count in zip([None, *known], known, strict=False):
            if count.verdict is None or (again and (count.revision == 0 or count.verdict == "differs")):
                if await self._is_read(count):
                    await self._compare(count, _find_gap(before, count))
                else:
                    waits = True
        self._show(await self.known())
        return waits

    async def known(self) -> list[DayCount]:
        """Return every count that is kept, by day."""
        notes = await self._spool.notes(PREFIX)
        return [DayCount.read(name.removeprefix(PREFIX), text) for name, text in notes.items()]

    async def _is_read(self, count: DayCount) -> bool:
        """Whether everything was handled that the hub had sent by then."""
        topic = f"to.{self._author.participant}"
        places = [await self._spool.position(topic, partition) >= last for partition, _, last in count.sent]
        return all(places)

    async def _compare(self, count: DayCount, gap: str) -> None:
        own = await self._spool.count(count.first_index, count.log_size)
        rebuilt_at = await self._spool.rebuilt_at()
        known = rebuilt_at is None or jakarta_day(rebuilt_at).isoformat() < count.day
        disagreement = compare(count.hub, own, refusals_known=known)
        if count.stated == own.members():
            return
        words = "; ".join(filter(None, (gap, disagreement.tell())))
        told = self._tell(count, own, bool(words), rebuilt_at)
        kept = DayCount(
            count.day, count.first_index, count.log_size, count.hub, count.sent,
            count.revision + len(told), own.members() if told else None,
            "differs" if words else "agrees", words,
        )  # fmt: skip
        if kept == count:
            return
        # The event and the note that it was told are one transaction: a crash tells nothing twice.
        await self._spool.put(told, notes={PREFIX + count.day: kept.write()})
        if words:
            _log.error("the hub counts otherwise", day=count.day, difference=words)

    def _tell(self, count: DayCount, own: Count, differs: bool, rebuilt_at: datetime | None) -> list[NewEvent]:
        """Return the event that says it, if the registry lets this participant say it."""
        registry, author = self._registry(), self._author
        party = registry.participant(author.participant)
        event_type = None if party is None else f"id.tka.{party.kind}.count.stated.v1"
        if party is None or event_type not in party.publishes or event_type not in registry.contracts:
            return []
        revision, subject = count.revision + 1, author.participant.upper()
        data = {
            "participant": author.participant, "day": count.day, "revision": revision,
            "first_index": count.first_index, "log_size": count.log_size, "source": author.source,
            "counted": own.members(), "received": count.received, "verdict": "differs" if differs else "agrees",
            "rebuilt_at": None if rebuilt_at is None else write_instant(rebuilt_at.replace(microsecond=0)),
        }  # fmt: skip
        happened = datetime.combine(datetime.fromisoformat(count.day), time.min, tzinfo=UTC)
        return [NewEvent(f"count/{count.day}/{revision}", event_type, subject, happened, author.participant, data)]

    def _show(self, known: list[DayCount]) -> None:
        differing = [count for count in known if count.verdict == "differs"]
        self._metrics.counts_differing.set(len(differing))
        if differing:
            named = "; ".join(f"{count.day}: {count.words}" for count in differing[-SHOWN_MAX:])
            self._metrics.notes[NOTE] = f"The hub counts other messages than this spool. {named}. Ask its operator."
        else:
            self._metrics.notes.pop(NOTE, None)
