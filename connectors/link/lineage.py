"""Is this spool the newest of its source? Asked at each start, before anything is sent.

    a known spool    its last sequence is compared with the hub's; where the hub's is ahead, an old copy was started,
                     and it stops: its next messages would bear numbers that are used up
    a new spool      waits until the hub has read this participant's topic to its end, then takes over the hub's last
                     sequence and the ids of all that was accepted; whatever the agency's system tells again is skipped

A known spool whose hub does not answer keeps the agency's facts, and sends nothing until the hub has answered.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog
from aiokafka.errors import KafkaError

from connectors.link.broker import Broker
from connectors.link.fact import Author
from connectors.link.fault import FatalFault, HubUnreachable, PassingFault
from connectors.link.hub_client import HubClient, SourceProgress
from connectors.link.metrics import LinkMetrics
from connectors.link.retry import keep_trying
from connectors.link.spool import Spool
from contracts.registry import Registry

NOTE = "lineage"

_log = structlog.get_logger()


class OldCopy(FatalFault):
    """The hub knows later messages of this source than this spool does."""


class HubBehind(PassingFault):
    """The hub has not read this participant's topic to its end yet."""


@dataclass(frozen=True, slots=True)
class _Asked:
    spool: Spool
    hub: HubClient
    broker: Broker


class Lineage:
    """Whether this spool may be sent from; `settled` once that is known."""

    def __init__(
        self,
        spool: Spool,
        hub: HubClient,
        broker: Broker,
        author: Author,
        registry: Callable[[], Registry],
        metrics: LinkMetrics,
    ) -> None:
        self._asked = _Asked(spool, hub, broker)
        self._author = author
        self._registry = registry
        self._metrics = metrics
        self.settled = False

    async def start(self) -> None:
        """Settle it now if it can be; a new spool waits for the hub. Raises OldCopy."""
        if not self._is_registered():
            return
        if await self._asked.spool.is_new():
            await keep_trying(
                "new spool", self._rebuild, (HubUnreachable, HubBehind, KafkaError, OSError),
                sentence="a new spool takes nothing until the hub has told what it holds of this source",
            )  # fmt: skip
            self.settled = True
            return
        try:
            await self._compare()
        except HubUnreachable as fault:
            self._metrics.notes[NOTE] = "Nothing is sent until the hub has said that this spool is its newest."
            _log.warning("nothing is sent until the spool could be compared with the hub", why=str(fault))

    async def settle(self) -> None:
        """Go on asking until it is settled. Raises OldCopy."""
        if not self.settled:
            await keep_trying("lineage", self._compare_when_registered, (HubUnreachable, HubBehind))

    def _is_registered(self) -> bool:
        """Whether the registry gives the source to this participant: before that the hub can have nothing of it."""
        owner = self._registry().owner_of(self._author.source)
        return owner is not None and owner.id == self._author.participant

    async def _compare_when_registered(self) -> None:
        if not self._is_registered():
            raise HubBehind("The registry does not know this participant's source yet.")
        await self._compare()

    async def _compare(self) -> None:
        """Compare the last sequences. Raises OldCopy; HubUnreachable."""
        progress = await self._asked.hub.progress(self._author.source)
        last = await self._asked.spool.last_sequence()
        if progress.last_sequence > last:
            raise OldCopy(
                f"This spool is an old copy: it ends at sequence {last}, the hub has {progress.last_sequence} of this"
                " source. Start the newest copy of SPOOL_DIR; if that is lost, move this one away and start with an"
                " empty folder: nothing is lost or doubled by that."
            )
        self.settled = True
        self._metrics.notes.pop(NOTE, None)

    async def _rebuild(self) -> None:
        """Take over what the hub has of this source. Raises HubBehind, HubUnreachable, KafkaError."""
        source = self._author.source
        progress = await self._asked.hub.progress(source)
        ends = await self._asked.broker.ends(f"from.{self._author.participant}")
        _check_read(progress, ends)
        after = await self._asked.spool.last_sequence()
        while after < progress.last_sequence:
            accepted = await self._asked.hub.accepted(source, after)
            if not accepted:
                break
            await self._asked.spool.adopt(accepted)
            after = accepted[-1].sequence
        await self._asked.spool.begin()
        if progress.last_sequence:
            _log.info("a new spool took over what the hub has of this source", last_sequence=progress.last_sequence)


def _check_read(progress: SourceProgress, ends: Mapping[int, int]) -> None:
    """Raise HubBehind while the hub may still take something in that was sent before."""
    behind = sum(max(0, end - progress.taken.get(partition, 0)) for partition, end in ends.items())
    if behind:
        raise HubBehind(f"The hub has still to read {behind} records of this participant's topic.")
    if progress.deferred:
        raise HubBehind(f"The hub has still to judge {progress.deferred} messages of this participant.")
