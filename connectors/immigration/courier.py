"""Takes one office's queue to its door, in a task of its own: an office that is down holds up nobody else."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from connectors.immigration.client import CONFLICT, VisaSystemAway, VisaSystemRefused
from connectors.immigration.offices import Office
from connectors.immigration.standing_file import Delivery
from connectors.immigration.standings import Standings
from connectors.link import failpoint
from connectors.link.clock import Clock
from connectors.link.fact import Aside
from connectors.link.retry import keep_trying
from connectors.link.spool import Spool

AT_ONCE_MAX = 8
POSTPONED_FIRST_S = 5.0
POSTPONED_S_MAX = 300.0
POSTPONED_DOUBLINGS_MAX = 6
LOOK_AGAIN_S = 5.0

_log = structlog.get_logger()


class Door(Protocol):
    """How an office is told something; the same again must change nothing."""

    async def deliver(self, name: str, body: str, key: str) -> None:
        """Hand over; raises VisaSystemAway or VisaSystemRefused."""


class Courier:
    """One office's courier. `trouble` is what keeps it now, if anything; `last_taken_at` when a delivery was taken."""

    def __init__(self, office: Office, door: Door, standings: Standings, spool: Spool, clock: Clock) -> None:
        self._office = office
        self._door = door
        self._standings = standings
        self._spool = spool
        self._clock = clock
        self.refused = 0
        self.trouble: str | None = None
        self.last_taken_at: datetime | None = None

    async def run(self) -> None:
        """Deliver for ever, waiting out the office's troubles."""
        name = f"office {self._office.name}"
        await keep_trying(name, self._follow, (VisaSystemAway,), sentence="this office's queue waits; no other does")

    async def _follow(self) -> None:
        arrived = self._standings.arrived[self._office.name]
        while True:
            arrived.clear()
            if await self.deliver_next() == 0:
                try:
                    async with asyncio.timeout(LOOK_AGAIN_S):
                        await arrived.wait()
                except TimeoutError:
                    continue

    async def deliver_next(self) -> int:
        """Deliver what has its turn; return how much is over. Raises VisaSystemAway when the office takes nothing."""
        turn = await self._standings.turn(self._office.name, AT_ONCE_MAX)
        if not turn:
            return 0
        failpoint.reach("visa_system.before_delivery")
        outcomes = await asyncio.gather(*(self._deliver(delivery) for delivery in turn))
        failpoint.reach("visa_system.after_delivery")
        over = [(one, outcome) for one, outcome in zip(turn, outcomes, strict=True) if isinstance(outcome, str)]
        away = [(one, fault) for one, fault in zip(turn, outcomes, strict=True) if isinstance(fault, VisaSystemAway)]
        await self._standings.finish(over)
        if over:
            self.last_taken_at = self._clock()
        self.trouble = str(away[0][1]) if away else None
        if away and not over:
            raise away[0][1]
        # What alone fails while the office takes other things must not hold them up.
        await self._postpone([one for one, _ in away])
        return len(over)

    async def _deliver(self, delivery: Delivery) -> str | VisaSystemAway:
        """Hand over; what the office will never take is set aside, so that nothing waits behind it for ever."""
        try:
            await self._door.deliver(delivery.name, delivery.body, delivery.key)
        except VisaSystemAway as fault:
            return fault
        except VisaSystemRefused as refusal:
            code = "visa_system_conflict" if refusal.status == CONFLICT else "visa_system_refused"
            await self._spool.put(aside=[Aside(f"delivery/{delivery.office}/{delivery.name}", code, str(refusal))])
            self.refused += 1
            _log.error("an office refused a delivery", office=self._office.name, delivery=delivery.name, code=code)
            return code
        return "taken"

    async def _postpone(self, deliveries: Sequence[Delivery]) -> None:
        now = self._clock()
        until = [
            now
            + timedelta(
                seconds=min(POSTPONED_S_MAX, POSTPONED_FIRST_S * 2.0 ** min(one.attempts, POSTPONED_DOUBLINGS_MAX))
            )
            for one in deliveries
        ]
        await self._standings.postpone(deliveries, until)
