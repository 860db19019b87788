"""Money that a statement reports a second time at another place: counted once.

A transaction's identity is its place (account, notification, page, entry, detail), and the spool knows a place again.
Two things move money to another place without being other money:

    a copy      a notification marked as copy or duplicate (CpyDplctInd), sent under an identifier of its own
    a shift     a notification sent again with an entry before, so that what follows stands one place further

Both are told by content, counted: of equal transactions each is matched once, so that equal payments stay so many. A
notification that is seen for the first time, on an account that never had a copy, is not looked into.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from connectors.bank.entry import Notification, Transaction
from connectors.bank.translate import statement_key
from connectors.link.spool import Spool

#: Where in its notification: entry, and detail or 0.
Position = tuple[int, int]
#: Which notification: account, identifier, page.
Where = tuple[str, str, int]

CONTENT_NOTES: Final = "statement/content/"
KNOWN_NOTES: Final = "statement/known/"
_COPIES_NOTES = "statement/copies/"
_NAME_CHARACTERS = 32
_MARKED = "copy"

SHIFTED: Final = "it was counted before, at another place of its notification"
COPIED: Final = "it was counted before, from a notification of which one is a copy of the other"


def where_of(notification: Notification) -> Where:
    """Return which notification it is; only one whose account and identifier are usable is ever asked about."""
    return notification.account or "", notification.id or "", notification.page


def position_of(transaction: Transaction) -> Position:
    """Return where in its notification a transaction stands."""
    return transaction.place, transaction.detail or 0


def _name(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode("ascii")).hexdigest()[:_NAME_CHARACTERS]


def _content_prefix(transaction: Transaction) -> str:
    return f"{CONTENT_NOTES}{_name(transaction.notification.account, transaction.content_sha256())}/"


def _note_of(transaction: Transaction) -> str:
    entry, detail = position_of(transaction)
    return f"{_content_prefix(transaction)}{_name(*where_of(transaction.notification))}/{entry}/{detail}"


@dataclass(frozen=True, slots=True)
class _Seen:
    """A transaction of the same content that was counted: its note, and `mark`, what the note says."""

    note: str
    where: str
    position: Position
    mark: str

    def may_be_copied_by(self, where: str, marked: bool) -> bool:
        """Tell whether one of the two notifications is a copy of the other; a copy has one original only."""
        if marked:
            return True
        return self.mark in (_MARKED, f"{_MARKED} {where}")


ReadPlaces = Callable[[Where], Awaitable[Mapping[Position, str]]]


class Sightings:
    """One file's transactions against everything that was counted before it.

    `read_places` returns what stands at each place of one notification in this file: content by position.
    """

    def __init__(self, spool: Spool, read_places: ReadPlaces) -> None:
        self._spool = spool
        self._read_places = read_places
        self._suspect: dict[Where, bool] = {}
        self._places: dict[Where, Mapping[Position, str]] = {}
        self._matched: Counter[tuple[str, str, str]] = Counter()

    async def is_suspect(self, notification: Notification) -> bool:
        """Tell whether anything of this notification may have been counted at another place."""
        where = where_of(notification)
        if where not in self._suspect:
            names = (KNOWN_NOTES + _name(*where), _COPIES_NOTES + _name(where[0]))
            known = [await self._spool.note(name) for name in names]
            self._suspect[where] = notification.copy or any(text is not None for text in known)
        return self._suspect[where]

    async def find(self, transaction: Transaction) -> tuple[str, dict[str, str]] | None:
        """Return why a transaction does not count again, and notes to keep with that; None when it is to be put."""
        if not await self.is_suspect(transaction.notification):
            return None
        if await self._spool.fact_by_key(statement_key(transaction)) is not None:
            # The place itself was counted, and the spool tells whether this is the same.
            return None
        here, seen = _name(*where_of(transaction.notification)), await self._seen(transaction)
        shifted = [each for each in seen if each.where == here and await self._is_displaced(transaction, each.position)]
        if self._match(transaction, shifted, SHIFTED) is not None:
            return SHIFTED, {}
        marked = transaction.notification.copy
        copied = [each for each in seen if each.where != here and each.may_be_copied_by(here, marked)]
        found = self._match(transaction, copied, COPIED)
        if found is None:
            return None
        return COPIED, {} if marked else {found.note: f"{_MARKED} {here}"}

    async def _seen(self, transaction: Transaction) -> list[_Seen]:
        prefix, found = _content_prefix(transaction), []
        for note, mark in (await self._spool.notes(prefix)).items():
            where, entry, detail = note.removeprefix(prefix).split("/")
            found.append(_Seen(note, where, (int(entry), int(detail)), mark))
        return found

    async def _is_displaced(self, transaction: Transaction, position: Position) -> bool:
        """Tell whether this file has something else at the place where the same content was counted."""
        where = where_of(transaction.notification)
        if where not in self._places:
            self._places[where] = await self._read_places(where)
        return self._places[where].get(position) != transaction.content_sha256()

    def _match(self, transaction: Transaction, candidates: list[_Seen], why: str) -> _Seen | None:
        """Return the next candidate that no equal transaction of this notification was matched with yet."""
        key = (_name(*where_of(transaction.notification)), transaction.content_sha256(), why)
        if self._matched[key] >= len(candidates):
            return None
        self._matched[key] += 1
        return candidates[self._matched[key] - 1]

    def notes_of(self, transaction: Transaction) -> dict[str, str]:
        """Return what is kept of a transaction that was counted."""
        marked = transaction.notification.copy
        where = where_of(transaction.notification)
        notes = {_note_of(transaction): _MARKED if marked else "", KNOWN_NOTES + _name(*where): ""}
        return {**notes, _COPIES_NOTES + _name(where[0]): ""} if marked else notes
