"""The differences between this bank's messages and its books that the hub has opened: known until they are over.

A difference that opens again is told again, under its id. What was explained here is not noted here: the explanation is
a fact in the spool, and the hub's word on it comes back on the stream.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from connectors.link.delivery import Delivered
from connectors.link.spool import Spool
from connectors.link.status import Table
from contracts.events.hub import DifferenceClosed, DifferenceExplained, DifferenceOpened

SHOWN_MAX: Final = 1_000
ROWS_SHOWN_MAX: Final = 50

_NOTES = "difference/"
_COLUMNS = ("opened_at", "difference_id", "kind", "billing_code", "amount", "currency", "explanations")


class Differences:
    """Remembers what one connector was told of differences."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool

    async def handle(self, delivered: Delivered) -> None:
        """Keep what a record says of a difference; other records concern somebody else."""
        event = delivered.event
        if isinstance(event, DifferenceOpened):
            said = event.model_dump(mode="json", include=set(_COLUMNS) | {"payment"})
            await self._write(event.difference_id, {**said, "explanations": []})
        elif isinstance(event, DifferenceExplained):
            known = await self.find(event.difference_id)
            if known is not None:
                given = [f"{one.participant}: {one.code}" for one in event.explanations]
                await self._write(event.difference_id, {**known, "explanations": given})
        elif isinstance(event, DifferenceClosed):
            await self._spool.put(notes={_NOTES + event.difference_id: None})

    async def find(self, difference_id: str) -> dict[str, Any] | None:
        """Return a difference that is open, as last told; None when none of this id is."""
        text = await self._spool.note(_NOTES + difference_id)
        return None if text is None else dict(json.loads(text))

    async def list_open(self) -> list[Mapping[str, Any]]:
        """Return the differences that are open, oldest first."""
        found: list[Mapping[str, Any]] = [json.loads(text) for text in (await self._spool.notes(_NOTES)).values()]
        return sorted(found, key=lambda each: (str(each["opened_at"]), str(each["difference_id"])))[:SHOWN_MAX]

    async def tabulate(self) -> Table | None:
        """Return what the status page shows, None when no difference is open."""
        opened = (await self.list_open())[:ROWS_SHOWN_MAX]
        rows = tuple(tuple(_write_cell(each[column]) for column in _COLUMNS) for each in opened)
        return Table("Open differences", _COLUMNS, rows) if rows else None

    async def _write(self, difference_id: str, said: Mapping[str, Any]) -> None:
        text = json.dumps(said, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        await self._spool.put(notes={_NOTES + difference_id: text})


def _write_cell(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
