"""The watch over receipts: every message that was sent gets one, and one that does not come in time is an alarm.

What it shows follows from the spool alone: it is there again after a restart, and is over once the receipt has come.
"""

import asyncio
import json
from datetime import datetime, timedelta
from typing import Final

import structlog

from connectors.link.clock import Clock
from connectors.link.fact import MissingReceipts
from connectors.link.metrics import LinkMetrics
from connectors.link.spool import Spool
from contracts.wire.instant import read_instant, write_instant

NOTE: Final = "receipts"
STRANGE_NOTE: Final = "receipt/strange"
LOOK_EVERY_S = 2.0
STRANGE_SHOWN = timedelta(days=7)

_log = structlog.get_logger()


def tell_missing(missing: MissingReceipts, within_s: float) -> str:
    """Return the sentence that says which receipts are missing, and what to do."""
    since = "" if missing.sent_at is None else f" since {write_instant(missing.sent_at)}"
    return (
        f"{missing.count} messages from sequence {missing.first_sequence} on have no receipt of the hub{since}, which "
        f"is longer than RECEIPT_WITHIN_S ({within_s:.0f}): the hub does not take them, its receipts do not come, or "
        "another key signed them. Ask the hub's operator."
    )


class ReceiptWatch:
    """Looks for receipts that ought to have come."""

    def __init__(self, spool: Spool, metrics: LinkMetrics, within_s: float, clock: Clock) -> None:
        self._spool = spool
        self._metrics = metrics
        self._within_s = within_s
        self._clock = clock
        self._told = False

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_EVERY_S)

    async def look(self) -> MissingReceipts:
        """Look once; raise the alarm or end it."""
        now = self._clock()
        missing = await self._spool.missing_receipts(now - timedelta(seconds=self._within_s))
        self._metrics.receipts_missing.set(missing.count)
        sentences = [tell_missing(missing, self._within_s)] if missing.count else []
        sentences += await self._tell_strange(now)
        if sentences:
            self._metrics.notes[NOTE] = " ".join(sentences)
        else:
            self._metrics.notes.pop(NOTE, None)
        if missing.count and not self._told:
            _log.error("receipts are missing", messages=missing.count, first_sequence=missing.first_sequence)
        elif self._told and not missing.count:
            _log.info("no receipt is missing any more")
        self._told = missing.count > 0
        return missing

    async def _tell_strange(self, now: datetime) -> list[str]:
        text = await self._spool.note(STRANGE_NOTE)
        if text is None:
            return []
        said = json.loads(text)
        if read_instant(said["at"]) < now - STRANGE_SHOWN:
            return []
        return [
            f"The hub gave a receipt at {said['at']} (entry {said['log_index']} of its log) for a message that this "
            "spool never held, or holds with other bytes: somebody may sign with this participant's key. Call the "
            "hub's operator."
        ]
