"""Between register and spool: rows go out exactly once, outcomes come in exactly once.

Out: translate, then facts, rows set aside and the cursor in one spool transaction; a crash repeats only what makes the
same ids. In: the outcome row's key is the event's id, so that a repeated delivery writes nothing.
"""

import asyncio
from collections.abc import Sequence

import structlog

from connectors.link import failpoint
from connectors.link.delivery import Delivered
from connectors.link.fact import Aside, NewEvent
from connectors.link.spool import Spool
from connectors.ministry.outbox import ROWS_MAX, Cursor, Register
from connectors.ministry.translate import (
    OutboxRow,
    Untranslatable,
    outcome_of,
    refusals_of,
    row_refused,
    translate_row,
)
from contracts.events.hub import Receipt

POLL_S = 0.25
REPORTS_MAX = 100
NOTE_CURSOR = "register/cursor"
NOTE_IDENTITY = "register/identity"

_log = structlog.get_logger()


class Exchange:
    """Moves rows of the register's outbox into the spool, and what came out into its outcome table."""

    def __init__(self, register: Register, spool: Spool) -> None:
        self._register = register
        self._spool = spool

    async def read_for_ever(self) -> None:
        """Read the outbox and report what was set aside; ends only by cancellation or an error."""
        await self.begin()
        await self.report_aside()
        while True:
            if await self.read_once() < ROWS_MAX:
                await asyncio.sleep(POLL_S)

    async def begin(self) -> None:
        """Go back to the outbox's beginning if the register's transaction numbers are not those of before.

        After a restore or a move to another server, numbers start lower than the cursor, and new rows would be passed
        by. Reading all rows again is safe: a known row makes the same id and is not stored again.
        """
        identity = await self._register.identity()
        known, cursor = await self._spool.note(NOTE_IDENTITY), Cursor.read(await self._spool.note(NOTE_CURSOR))
        notes: dict[str, str | None] = {NOTE_IDENTITY: identity.name}
        if cursor.xact >= identity.next_xact or known not in (None, identity.name):
            _log.warning("the register is another database than before: its outbox is read from the beginning")
            notes[NOTE_CURSOR] = str(Cursor())
        await self._spool.put(notes=notes)

    async def read_once(self) -> int:
        """Take the next rows into the spool and report those that could not be; return how many rows there were."""
        rows = await self._register.rows_after(Cursor.read(await self._spool.note(NOTE_CURSOR)))
        failpoint.reach("register.after_read")
        if not rows:
            return 0
        facts, aside = translate_rows(rows)
        cursor = Cursor(rows[-1].xact, rows[-1].id)
        outcomes = await self._spool.put(facts, aside=aside, notes={NOTE_CURSOR: str(cursor)})
        if aside or any(put.outcome in ("conflict", "unfit") for put in outcomes):
            await self.report_aside()
        return len(rows)

    async def report_aside(self) -> None:
        """Tell the register of every row that was set aside and that it has not heard of."""
        while asides := await self._spool.unreported(REPORTS_MAX):
            await self._register.write_outcomes([row_refused(aside) for aside in asides])
            await self._spool.mark_reported(asides)
            _log.warning("outbox rows set aside", rows=len(asides), codes=sorted({aside.code for aside in asides}))

    async def handle(self, delivered: Delivered) -> None:
        """Write what the register should know of a delivered event; writing it twice changes nothing."""
        if isinstance(delivered.event, Receipt):
            named = [each.id for each in delivered.event.refused if each.id is not None]
            facts = {event_id: fact for event_id in named if (fact := await self._spool.fact(event_id)) is not None}
            outcome = refusals_of(delivered.envelope.id, delivered.event, facts)
        else:
            outcome = outcome_of(delivered.envelope)
        if outcome is not None:
            await self._register.write_outcomes([outcome])


def translate_rows(rows: Sequence[OutboxRow]) -> tuple[list[NewEvent], list[Aside]]:
    """Return the events of the rows, and the rows that cannot become one."""
    facts: list[NewEvent] = []
    aside: list[Aside] = []
    for row in rows:
        try:
            facts.append(translate_row(row))
        except Untranslatable as reason:
            aside.append(Aside(row.native_key, reason.code, reason.detail))
    return facts, aside
