"""Tells the ministry what came out: from the queue into its table, to its webhook, or as files into its folder.

Exactly once by key: an outcome is told again after a crash between telling and noting it, under the same `event_id`,
which the table's unique column, the webhook's receiver (`webhook-id`) or the file's name makes a repeat of no effect.
"""

import asyncio
import contextlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import quote

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from connectors.link.clock import Clock
from connectors.link.fault import SourceUnreachable
from connectors.ministry.outcome_queue import OutcomeQueue
from connectors.ministry.rights import OutcomeRefused
from connectors.ministry.translate import OutcomeRow

FILES_IN_ONE_BATCH_MAX: Final = 100
IDLE_S_MAX: Final = 30.0
IDLE_S_MIN: Final = 0.05

_log = structlog.get_logger()


class Receiver(Protocol):
    """Where outcomes go; taking one again changes nothing."""

    batch_max: int

    async def take(self, rows: Sequence[OutcomeRow]) -> None:
        """Take all of `rows` or none. Raises SourceUnreachable, SourceFault, OutcomeRefused."""


class Teller:
    """Carries what waits in the queue to its receiver."""

    def __init__(self, queue: OutcomeQueue, receiver: Receiver, clock: Clock, metrics: CollectorRegistry) -> None:
        self._queue = queue
        self._receiver = receiver
        self._clock = clock
        self._told = Counter(
            "tkahub_connector_outcomes", "Outcomes, by what their receiver did with them", ["became"], registry=metrics
        )
        self._waiting = Gauge("tkahub_connector_outcomes_waiting", "Outcomes that wait to be told", registry=metrics)

    async def tell_for_ever(self) -> None:
        """Tell what is due, for ever; ends only by cancellation or an error, after which it is started again."""
        while True:
            self._queue.arrived.clear()
            while await self.tell_due():
                pass
            await self._wait()

    async def tell_due(self) -> int:
        """Tell the outcomes that are due, as many as one batch takes; return how many there were."""
        rows = await self._queue.due(self._receiver.batch_max)
        if rows:
            await self._tell(rows)
        self._waiting.set((await self._queue.status()).waiting)
        return len(rows)

    async def _tell(self, rows: Sequence[OutcomeRow]) -> None:
        """Tell rows together, or each alone where one of them is refused."""
        try:
            await self._receiver.take(rows)
        except OutcomeRefused as refusal:
            if len(rows) > 1:
                for row in rows:
                    await self._tell([row])
                return
            await self._queue.postpone(rows[0])
            self._told.labels("refused").inc()
            _log.error("an outcome was refused and is told again later", kind=rows[0].kind, why=str(refusal))
            return
        await self._queue.delivered(rows)
        self._told.labels("taken").inc(len(rows))

    async def _wait(self) -> None:
        """Wait for a new outcome, or until the next one is due."""
        due = await self._queue.next_due()
        pause_s = IDLE_S_MAX if due is None else (due - self._clock()).total_seconds()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(max(pause_s, IDLE_S_MIN), IDLE_S_MAX)):
                await self._queue.arrived.wait()


class FileReceiver:
    """Writes each outcome as `outcomes/<event id>.json` below a folder, whole or not at all."""

    batch_max = FILES_IN_ONE_BATCH_MAX

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "outcomes"

    async def take(self, rows: Sequence[OutcomeRow]) -> None:
        """Write the files. Raises SourceUnreachable."""
        try:
            await asyncio.to_thread(self._write, rows)
        except OSError as error:
            raise SourceUnreachable(f"The folder of outcomes cannot be written ({error.strerror}).") from error

    def _write(self, rows: Sequence[OutcomeRow]) -> None:
        self._folder.mkdir(exist_ok=True)
        for row in rows:
            file = self._folder / f"{quote(row.event_id, safe='')}.json"
            part = file.with_name(file.name + ".part")
            with part.open("w", encoding="utf-8") as opened:
                json.dump(document_of(row), opened, ensure_ascii=False)
                opened.flush()
                os.fsync(opened.fileno())
            part.replace(file)
        _sync_folder(self._folder)


def _sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def document_of(row: OutcomeRow) -> dict[str, object]:
    """Return an outcome as the JSON object that a webhook or a file holds."""
    return {
        "event_id": row.event_id,
        "kind": row.kind,
        "application_number": row.application,
        "billing_code": row.billing_code,
        "payload": row.payload,
    }
