"""The spool: one SQLite file in which a fact is durable, and its message fixed, before anything is sent.

    async with Spool.open(path, author) as spool:
        [put] = await spool.put([NewEvent(native_key="outbox/17", ...)], notes={"register": "812,17"})

Life of a row: waiting -> signed -> sent -> accepted | refused. Its value (nonce, recordedtime and sequence included) is
fixed in the transaction of `put`; its signature is stored before the first send; both are kept until the hub's receipt.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Author:
    """Whose facts this spool holds: they go into every envelope."""

    participant: str
    source: str
    environment: str
    expiry_days: int = 90


@dataclass(frozen=True, slots=True)
class NewEvent:
    """A translated fact of the agency, not yet a message.

    `native_key` is the agency's own identity of the fact (at most 512 characters): the event's id is derived from it,
    so the same fact gets the same id again. `time` is when it happened, aware UTC.
    """

    native_key: str
    type: str
    subject: str
    time: datetime
    correlationid: str
    data: Mapping[str, Any]
    causationid: str | None = None


@dataclass(frozen=True, slots=True)
class Aside:
    """A native item that cannot become a message: kept with its reason, so that nothing vanishes silently."""

    native_key: str
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Put:
    """What became of one fact.

    new: stored now. again: the same fact was stored earlier. conflict: another content under the same native key, set
    aside. unfit: the hub would refuse it for its form (`code`, `detail` say why, without values), set aside.
    """

    event_id: str
    outcome: Literal["new", "again", "conflict", "unfit"]
    sequence: int | None = None
    code: str | None = None
    detail: str | None = None


class Spool:
    """The durable memory of one connector. Every method is safe to call from many tasks of one event loop."""

    @staticmethod
    def open(path: Path, author: Author, *, bytes_max: int = 0) -> AbstractAsyncContextManager["Spool"]:
        """Open or create the spool at `path` and hold its lock.

        Raises SpoolLocked when another process holds it, SpoolUnusable when it belongs to another source.
        """
        raise NotImplementedError

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
        raise NotImplementedError

    async def note(self, name: str) -> str | None:
        """Return the named value, or None."""
        raise NotImplementedError

    async def notes(self, prefix: str) -> dict[str, str]:
        """Return every named value whose name starts with `prefix`."""
        raise NotImplementedError

    async def forget_notes(self, prefix: str, before: datetime) -> int:
        """Delete notes under `prefix` written before that time; return how many."""
        raise NotImplementedError

    async def position(self, topic: str, partition: int) -> int:
        """Return the last hub-seq that was handled on this stream; 0 at first."""
        raise NotImplementedError
