"""The spool: one SQLite file in which a fact is durable, and its message fixed, before anything is sent.

    async with Spool.open(path, author) as spool:
        [put] = await spool.put([NewEvent(native_key="outbox/17", ...)], notes={"register": "812,17"})

Life of a row: waiting -> signed -> sent -> accepted | refused. Its value (nonce, recordedtime and sequence included) is
fixed in the transaction of `put`; its signature is stored before the first send; both are kept until the hub's receipt.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

from connectors.link.clock import Clock, utc_now
from connectors.link.fact import (
    AcceptedBefore,
    Aside,
    Author,
    MissingReceipts,
    NewEvent,
    Put,
    PutRequest,
    ReceiptEntry,
    Settlement,
    Signed,
    SpooledFact,
    SpoolStatus,
    Unsigned,
)
from connectors.link.settings import SPOOL_BYTES_MAX_DEFAULT
from connectors.link.spool_correction import Asked
from connectors.link.spool_file import SpoolFile
from contracts.counts import Count
from contracts.erasure import Erasure

__all__ = ["Aside", "Author", "NewEvent", "Put", "Spool", "SpoolStatus", "SpooledFact"]

REQUESTS_IN_ONE_COMMIT_MAX = 256

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Caller:
    request: PutRequest
    answer: "asyncio.Future[list[Put]]"


class Spool:
    """The durable memory of one connector. Every method is safe to call from many tasks of one event loop."""

    def __init__(self, file: SpoolFile, thread: ThreadPoolExecutor) -> None:
        self._file = file
        self._thread = thread
        self._callers: list[_Caller] = []
        self._committer: asyncio.Task[None] | None = None
        self.arrived = asyncio.Event()
        self.signed = asyncio.Event()

    @staticmethod
    @asynccontextmanager
    async def open(
        path: Path, author: Author, *, bytes_max: int = SPOOL_BYTES_MAX_DEFAULT, clock: Clock = utc_now
    ) -> AsyncIterator["Spool"]:
        """Open or create the spool at `path` and hold its lock.

        Raises SpoolLocked when another process holds it, SpoolUnusable when it belongs to another source.
        """
        thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spool")
        try:
            file = await asyncio.get_running_loop().run_in_executor(thread, SpoolFile, path, author, bytes_max, clock)
            spool = Spool(file, thread)
            try:
                yield spool
            finally:
                if spool._committer is not None:
                    await asyncio.wait({spool._committer})
                await spool._run(file.close)
        finally:
            thread.shutdown()

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def put(
        self,
        facts: Sequence[NewEvent] = (),
        *,
        aside: Sequence[Aside] = (),
        notes: Mapping[str, str | None] | None = None,
        claims: Mapping[str, str] | None = None,
    ) -> list[Put]:
        """Store facts, things set aside and notes in one durable transaction; return one Put per fact, in order.

        Concurrent calls are gathered into one commit. `notes` are named values of the connector (a cursor; None
        deletes). `claims` are notes written only if absent: one that holds another value raises ClaimTaken and
        nothing of this call is stored. Raises SpoolFull.
        """
        answer: asyncio.Future[list[Put]] = asyncio.get_running_loop().create_future()
        request = PutRequest(tuple(facts), tuple(aside), dict(notes or {}), dict(claims or {}))
        self._callers.append(_Caller(request, answer))
        if self._committer is None or self._committer.done():
            self._committer = asyncio.create_task(self._commit_callers())
        return await answer

    async def _commit_callers(self) -> None:
        """Commit what waits, again and again: whoever comes during a commit shares the next one."""
        while self._callers:
            callers = self._callers[:REQUESTS_IN_ONE_COMMIT_MAX]
            del self._callers[: len(callers)]
            results = await self._put_requests([caller.request for caller in callers])
            for caller, result in zip(callers, results, strict=True):
                if caller.answer.done():
                    continue
                if isinstance(result, Exception):
                    caller.answer.set_exception(result)
                else:
                    caller.answer.set_result(result)
            self.arrived.set()

    async def _put_requests(self, requests: Sequence[PutRequest]) -> Sequence[list[Put] | Exception]:
        """Commit requests together; if that fails, each alone, so that one bad request spoils no other's fact."""
        try:
            return await self._run(partial(self._file.put, requests))
        except Exception as error:  # noqa: BLE001  # Every caller is told: none may take its fact for stored.
            if len(requests) == 1:
                return [error]
        alone = [await self._put_requests([request]) for request in requests]
        return [result for results in alone for result in results]

    async def waiting(self, limit: int) -> list[Unsigned]:
        """Return the oldest messages that have no signature, in sequence."""
        return await self._run(lambda: self._file.waiting(limit))

    async def store_signatures(self, rows: Iterable[tuple[int, str, str | None]], chain: str | None) -> None:
        """Keep (sequence, jws, jws-proof) before the first send, and `chain`, the `prev` of the next batch."""
        await self._run(lambda: self._file.store_signatures(rows, chain))
        self.signed.set()

    async def take_back(self, kids: frozenset[str]) -> int:
        """Let be signed anew what these keys signed and the hub has not accepted; return how many."""
        taken_back = await self._run(lambda: self._file.take_back(kids))
        if taken_back:
            self.arrived.set()
        return taken_back

    async def unsent(self, limit: int) -> list[Signed]:
        """Return the oldest signed messages that no broker has taken yet."""
        return await self._run(lambda: self._file.unsent(limit))

    async def overdue(self, sent_before: datetime, limit: int) -> list[Signed]:
        """Return messages sent before that time which have no receipt yet."""
        return await self._run(lambda: self._file.overdue(sent_before, limit))

    async def mark_sent(self, sequences: Iterable[int]) -> None:
        """Note that the broker holds these messages, as of now."""
        await self._run(lambda: self._file.mark_sent(sequences))

    async def settle(self, entries: Iterable[ReceiptEntry]) -> Settlement:
        """Apply a receipt; an entry whose SHA-256 is not that of the stored bytes changes nothing and is counted."""
        return await self._run(lambda: self._file.settle(entries))

    async def missing_receipts(self, sent_before: datetime) -> MissingReceipts:
        """Return how many messages that were first sent before that time have no receipt yet (bounded)."""
        return await self._run(lambda: self._file.missing_receipts(sent_before))

    async def count(self, first_index: int, log_size: int) -> Count:
        """Count what the hub's receipts say of a stretch of its log."""
        return await self._run(lambda: self._file.count(first_index, log_size))

    async def rebuilt_at(self) -> datetime | None:
        """Return when this spool took over what the hub had of its source; None if it knows all of it itself."""
        return await self._run(self._file.rebuilt_at)

    async def erase_settled(self, before: datetime) -> int:
        """Erase content and signature of what was settled before that time; return how many (bounded a call)."""
        return await self._run(lambda: self._file.erase_settled(before))

    async def erase(self, erasure: Erasure) -> None:
        """Erase what an order names; what the hub has not taken yet goes with its receipt. Raises LogInUse."""
        await self._run(lambda: self._file.erase(erasure))

    async def note(self, name: str) -> str | None:
        """Return the named value, or None."""
        return await self._run(lambda: self._file.note(name))

    async def notes(self, prefix: str) -> dict[str, str]:
        """Return every named value whose name starts with `prefix`."""
        return await self._run(lambda: self._file.notes(prefix))

    async def forget_notes(self, prefix: str, before: datetime) -> int:
        """Delete notes under `prefix` written before that time; return how many."""
        return await self._run(lambda: self._file.forget_notes(prefix, before))

    async def position(self, topic: str, partition: int) -> int:
        """Return the last hub-seq that was handled on this stream; 0 at first."""
        return (await self._run(lambda: self._file.position(topic, partition)))[0]

    async def place(self, topic: str, partition: int) -> tuple[int, int]:
        """Return the last handled hub-seq of a stream and the Kafka offset to read from; (0, 0) at first."""
        return await self._run(lambda: self._file.position(topic, partition))

    async def note_position(self, topic: str, partition: int, seq: int, next_offset: int) -> None:
        """Keep how far a stream was handled."""
        await self._run(lambda: self._file.note_position(topic, partition, seq, next_offset))

    async def unreported(self, limit: int) -> list[Aside]:
        """Return things set aside that the agency has not been told of."""
        return await self._run(lambda: self._file.unreported(limit))

    async def mark_reported(self, asides: Iterable[Aside]) -> None:
        """Note that the agency has been told of these."""
        await self._run(lambda: self._file.mark_reported(asides))

    async def fact(self, event_id: str) -> SpooledFact | None:
        """Return what is known of one message by its event id, without its content."""
        return await self._run(lambda: self._file.fact(event_id))

    async def fact_by_key(self, native_key: str) -> SpooledFact | None:
        """Return what is known of the message of one native fact."""
        return await self._run(lambda: self._file.fact_by_key(native_key))

    async def ask_correction(self, event_id: str, code: str, note: str, log_index: int) -> None:
        """Keep that the hub asks to correct a refused message: the same fact with other content is its correction."""
        await self._run(lambda: self._file.ask_correction(event_id, code, note, log_index))

    async def corrections(self, limit: int) -> list[Asked]:
        """Return what is still to be corrected, the oldest first."""
        return await self._run(lambda: self._file.corrections(limit))

    async def status(self) -> SpoolStatus:
        """Return the counts that status and metrics show."""
        return await self._run(self._file.status)

    async def refusals(self) -> dict[str, int]:
        """Return how many messages the hub refused, and how many items were set aside, by code."""
        return await self._run(self._file.refusals)

    async def is_new(self) -> bool:
        """Whether nothing was ever put here, or the rebuilding was not finished."""
        return await self._run(self._file.is_new)

    async def last_sequence(self) -> int:
        """Return the last sequence number that was given out; 0 at first."""
        return await self._run(self._file.last_sequence)

    async def adopt(self, accepted: Sequence[AcceptedBefore]) -> None:
        """Keep what the hub has accepted of this source before this spool was made."""
        await self._run(lambda: self._file.adopt(accepted))

    async def begin(self) -> None:
        """Note that this spool knows all that the hub has of its source."""
        await self._run(self._file.begin)

    async def rewind(self, topic: str) -> None:
        """Forget how far a topic's streams were handled."""
        await self._run(lambda: self._file.rewind(topic))
