"""Between register and spool: rows go out exactly once, outcomes come in exactly once.

Out: translate, then facts, rows set aside and the cursor in one spool transaction; a crash repeats only what makes the
same ids. In: the outcome's key is the event's id, so that a repeated delivery tells nothing twice.
"""

import asyncio
from collections.abc import Mapping

import structlog

from connectors.link import failpoint
from connectors.link.delivery import Delivered
from connectors.link.spool import Spool
from connectors.ministry.outcome_queue import OutcomeQueue
from connectors.ministry.register import ROWS_MAX, Register
from connectors.ministry.translate import correction_of, outcome_of, refusals_of, row_refused, translate_rows
from contracts.events.hub import CorrectionRequested, Receipt

POLL_S = 0.25
REPORTS_MAX = 100
REPORT_S = 1.0
NOTE_CURSOR = "register/cursor"
NOTE_IDENTITY = "register/identity"

_log = structlog.get_logger()


class OutboxReader:
    """Moves rows of the register's outbox into the spool."""

    def __init__(self, register: Register, spool: Spool) -> None:
        self._register = register
        self._spool = spool

    async def read_for_ever(self) -> None:
        """Read the outbox; ends only by cancellation or an error."""
        await self.begin()
        while True:
            if not await self.read_once():
                await asyncio.sleep(POLL_S)

    async def begin(self) -> None:
        """Go back to the outbox's beginning if the register's numbers are not those of before.

        After a restore or a move to another server, numbers start lower than the cursor, and new rows would be passed
        by. Reading all rows again is safe: a known row makes the same id and is not stored again.
        """
        identity = await self._register.tables.identity()
        known, cursor = await self._spool.note(NOTE_IDENTITY), await self._spool.note(NOTE_CURSOR)
        notes: dict[str, str | None] = {NOTE_IDENTITY: identity}
        if known not in (None, identity) or await self._register.order.is_behind(cursor):
            _log.warning("the register is another database than before: its outbox is read from the beginning")
            notes[NOTE_CURSOR] = None
        await self._spool.put(notes=notes)

    async def read_once(self) -> bool:
        """Take the next rows into the spool; return whether there is more to read at once."""
        cursor = await self._spool.note(NOTE_CURSOR)
        reading = await self._register.order.read(cursor, ROWS_MAX)
        failpoint.reach("register.after_read")
        if reading.cursor != cursor:
            notes: Mapping[str, str | None] = {NOTE_CURSOR: reading.cursor}
            facts, aside = translate_rows(reading.rows)
            await self._spool.put(facts, aside=aside, notes=notes)
        return reading.more


class Desk:
    """Says what the ministry is to be told: of every delivered event that concerns it, and of what was set aside."""

    def __init__(self, spool: Spool, queue: OutcomeQueue) -> None:
        self._spool = spool
        self._queue = queue

    async def handle(self, delivered: Delivered) -> None:
        """Keep what the ministry should know of a delivered event; keeping it twice changes nothing."""
        if isinstance(delivered.event, Receipt):
            named = [each.id for each in delivered.event.refused if each.id is not None]
            facts = {event_id: fact for event_id in named if (fact := await self._spool.fact(event_id)) is not None}
            outcome = refusals_of(delivered.envelope.id, delivered.event, facts)
        elif isinstance(delivered.event, CorrectionRequested):
            fact = None if delivered.event.id is None else await self._spool.fact(delivered.event.id)
            outcome = correction_of(delivered.envelope.id, delivered.event, fact)
        else:
            outcome = outcome_of(delivered.envelope)
        if outcome is not None:
            await self._queue.push([outcome])

    async def report_for_ever(self) -> None:
        """Report what was set aside, by whichever door it came; ends only by cancellation or an error."""
        while True:
            await self.report_aside()
            await asyncio.sleep(REPORT_S)

    async def report_aside(self) -> None:
        """Tell the ministry of everything that was set aside and that it has not heard of."""
        while asides := await self._spool.unreported(REPORTS_MAX):
            await self._queue.push([row_refused(aside) for aside in asides])
            await self._spool.mark_reported(asides)
            _log.warning("rows set aside", rows=len(asides), codes=sorted({aside.code for aside in asides}))
