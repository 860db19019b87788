"""What the ministry is still to be told, in a SQLite file beside the spool.

So a register or a receiver that is away holds up neither the hub's stream nor the receipts on it.

Life of an outcome: waiting -> delivered. One that its receiver would not take waits longer each time; it is never given
up. Of a delivered one only the key is kept, so that a repeated delivery by the hub is not told again.
"""

import asyncio
import json
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, TypeVar

from connectors.link import failpoint
from connectors.link.clock import Clock
from connectors.link.erasing import blank
from connectors.link.fault import PassingFault, SpoolUnusable
from connectors.link.spool_erasure import empty_log
from connectors.ministry.translate import OutcomeRow
from contracts.erasure import Erasure

FILE_NAME: Final = "outcomes.sqlite"
#: At this many waiting outcomes the hub's stream waits too; the hub keeps what it has to say.
WAITING_MAX: Final = 500_000
BUSY_TIMEOUT_MS: Final = 5_000
RETRY_FIRST_S: Final = 5.0
RETRY_S_MAX: Final = 3_600.0
RETRY_DOUBLINGS_MAX: Final = 12

_FIND_NAMED = """
    SELECT number, body FROM outcome WHERE body IS NOT NULL AND (
        json_extract(body, '$.application') IN (SELECT value FROM json_each(?1))
        OR json_extract(body, '$.billing_code') IN (SELECT value FROM json_each(?1)))"""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS outcome (
    number INTEGER PRIMARY KEY, event_id TEXT NOT NULL UNIQUE, body TEXT, attempts INTEGER NOT NULL DEFAULT 0,
    due_at REAL NOT NULL, delivered_at REAL);
CREATE INDEX IF NOT EXISTS outcome_due ON outcome (due_at, number) WHERE body IS NOT NULL;
"""

T = TypeVar("T")


class OutcomesFull(PassingFault):
    """So much waits to be told that the hub's stream has to wait."""


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """How many outcomes wait, and how many of them their receiver has refused before."""

    waiting: int
    refused: int


class OutcomeQueue:
    """The open file, with a thread of its own."""

    def __init__(self, file: Path, clock: Clock, thread: ThreadPoolExecutor) -> None:
        self._clock = clock
        self._thread = thread
        self.arrived = asyncio.Event()
        # The bodies hold personal data, so nobody else on the machine may read the file.
        os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))
        self._db = sqlite3.connect(file, isolation_level=None, check_same_thread=False, timeout=BUSY_TIMEOUT_MS / 1_000)
        try:
            for pragma in ("journal_mode = WAL", "synchronous = FULL", "fullfsync = ON", "secure_delete = ON"):
                self._db.execute(f"PRAGMA {pragma}")
            self._db.executescript(_SCHEMA)
            self._waiting = int(self._db.execute("SELECT count(*) FROM outcome WHERE body IS NOT NULL").fetchone()[0])
        except sqlite3.DatabaseError as error:
            self._db.close()
            raise SpoolUnusable(f"{FILE_NAME} beside the spool cannot be used ({error}): restore it.") from error

    @staticmethod
    @asynccontextmanager
    async def open(folder: Path, clock: Clock) -> AsyncIterator["OutcomeQueue"]:
        """Open or create the queue in the spool's folder, whose lock keeps others out. Raises SpoolUnusable."""
        thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="outcomes")
        try:
            queue = OutcomeQueue(folder / FILE_NAME, clock, thread)
            try:
                yield queue
            finally:
                await queue._run(queue._db.close)
        finally:
            thread.shutdown()

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def push(self, rows: Sequence[OutcomeRow]) -> None:
        """Keep outcomes durably, in order; one whose key is known changes nothing. Raises OutcomesFull."""
        if rows:
            await self._run(lambda: self._push(rows))
            self.arrived.set()

    def _push(self, rows: Sequence[OutcomeRow]) -> None:
        if self._waiting >= WAITING_MAX:
            raise OutcomesFull(f"{WAITING_MAX} outcomes wait to be told: see why the register or receiver takes none.")
        now_s = self._clock().timestamp()
        values = [(row.event_id, _write_body(row), now_s) for row in rows]
        failpoint.reach("writeback.before_queue")
        with _transaction(self._db):
            before = self._db.total_changes
            self._db.executemany("INSERT OR IGNORE INTO outcome (event_id, body, due_at) VALUES (?, ?, ?)", values)
            self._waiting += self._db.total_changes - before
        failpoint.reach("writeback.after_queue")

    async def due(self, limit: int) -> list[OutcomeRow]:
        """Return the outcomes to tell now: the longest due first, else in the order in which they came."""
        query = "SELECT body FROM outcome WHERE body IS NOT NULL AND due_at <= ? ORDER BY due_at, number LIMIT ?"
        now_s = self._clock().timestamp()
        found = await self._run(lambda: self._db.execute(query, (now_s, limit)).fetchall())
        return [_read_body(body) for (body,) in found]

    async def next_due(self) -> datetime | None:
        """Return when the next outcome is to be told, or None where none waits."""
        query = "SELECT min(due_at) FROM outcome WHERE body IS NOT NULL"
        found = await self._run(lambda: self._db.execute(query).fetchone()[0])
        return None if found is None else datetime.fromtimestamp(found, self._clock().tzinfo)

    async def delivered(self, rows: Iterable[OutcomeRow]) -> None:
        """Forget the content of outcomes that were taken."""
        now_s = self._clock().timestamp()
        values = [(now_s, row.event_id) for row in rows]
        await self._run(lambda: self._delivered(values))

    def _delivered(self, values: Sequence[tuple[float, str]]) -> None:
        failpoint.reach("writeback.before_delivered")
        with _transaction(self._db):
            before = self._db.total_changes
            query = "UPDATE outcome SET body = NULL, delivered_at = ? WHERE event_id = ? AND body IS NOT NULL"
            self._db.executemany(query, values)
            self._waiting -= self._db.total_changes - before
        failpoint.reach("writeback.after_delivered")

    async def postpone(self, row: OutcomeRow) -> None:
        """Tell a refused outcome again later, each time twice as late, up to RETRY_S_MAX."""
        await self._run(lambda: self._postpone(row.event_id))

    def _postpone(self, event_id: str) -> None:
        query = "SELECT attempts FROM outcome WHERE event_id = ?"
        attempts = int(self._db.execute(query, (event_id,)).fetchone()[0])
        pause_s = min(RETRY_S_MAX, RETRY_FIRST_S * 2.0 ** min(attempts, RETRY_DOUBLINGS_MAX))
        due = self._clock() + timedelta(seconds=pause_s)
        query = "UPDATE outcome SET attempts = attempts + 1, due_at = ? WHERE event_id = ?"
        self._db.execute(query, (due.timestamp(), event_id))

    async def erase(self, erasure: Erasure) -> None:
        """Let outcomes that wait tell what came out and nothing of whom; the ministry is told all the same."""
        await self._run(lambda: self._erase(erasure))

    def _erase(self, erasure: Erasure) -> None:
        with _transaction(self._db):
            found = self._db.execute(_FIND_NAMED, (json.dumps(sorted(erasure.cases)),)).fetchall()
            rows = [(json.dumps(blank(json.loads(body))), number) for number, body in found]
            self._db.executemany("UPDATE outcome SET body = ? WHERE number = ?", rows)
        empty_log(self._db)

    async def status(self) -> QueueStatus:
        """Return the counts that metrics show."""
        query = "SELECT count(*), count(*) FILTER (WHERE attempts > 0) FROM outcome WHERE body IS NOT NULL"
        waiting, refused = await self._run(lambda: self._db.execute(query).fetchone())
        return QueueStatus(int(waiting), int(refused))


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _write_body(row: OutcomeRow) -> str:
    return json.dumps(
        {
            "event_id": row.event_id,
            "kind": row.kind,
            "application": row.application,
            "billing_code": row.billing_code,
            "payload": row.payload,
        }
    )


def _read_body(body: str) -> OutcomeRow:
    return OutcomeRow(**json.loads(body))
