"""Refused messages that the hub asks to correct, in the spool: the fact comes again under its key, and is signed anew.

The agency corrects the fact in its own books and tells it again: under its key, where another content is a conflict
otherwise and here is the correction; or as a new fact that names the refused message. Either way it is an event with an
identity of its own, whose `causationid` is the refused one's id. The refused one stays as it is.
"""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from connectors.link.fact import NewEvent

SCHEMA = """
CREATE TABLE IF NOT EXISTS correction (
    event_id TEXT PRIMARY KEY, code TEXT NOT NULL, note TEXT NOT NULL, log_index INTEGER NOT NULL,
    asked_at REAL NOT NULL,
    corrected_by TEXT) WITHOUT ROWID;
"""
ASK = "INSERT OR IGNORE INTO correction (event_id, code, note, log_index, asked_at) VALUES (?, ?, ?, ?, ?)"
OPEN = """
    SELECT c.event_id, coalesce(f.native_key, ''), c.code, c.note, c.asked_at
    FROM correction c LEFT JOIN fact f USING (event_id) WHERE c.corrected_by IS NULL
        AND coalesce(f.state, 'refused') = 'refused' ORDER BY c.asked_at, c.event_id LIMIT ?"""
# A correction may be refused and sent back in its turn.
CORRECTIONS_IN_A_ROW_MAX = 100


@dataclass(frozen=True, slots=True)
class Asked:
    """A refused message that is to be corrected; `note` says what is wrong with it, in the operator's words."""

    event_id: str
    native_key: str
    code: str
    note: str
    asked_at: datetime


def ask(db: sqlite3.Connection, event_id: str, code: str, note: str, log_index: int, now: datetime) -> None:
    """Keep that a message is to be corrected; a second time changes nothing."""
    db.execute(ASK, (event_id, code, note, log_index, now.timestamp()))


def list_open(db: sqlite3.Connection, limit: int) -> list[Asked]:
    """Return what is still to be corrected, the oldest first."""
    rows = db.execute(OPEN, (limit,)).fetchall()
    return [
        Asked(event_id, native_key, code, note, datetime.fromtimestamp(at, UTC))
        for event_id, native_key, code, note, at in rows
    ]


def follow(db: sqlite3.Connection, event: NewEvent, identify: Callable[[str], str]) -> NewEvent:
    """Return a fact as it is to be stored: itself, or as the newest correction of the message that first told it.

    `identify` gives the event id of a native key.
    """
    current, native_key = event, event.native_key
    for number in range(1, CORRECTIONS_IN_A_ROW_MAX):
        event_id = identify(current.native_key)
        row = db.execute(
            "SELECT c.corrected_by, coalesce(f.state, 'refused') FROM correction c LEFT JOIN fact f USING (event_id)"
            " WHERE c.event_id = ?",
            (event_id,),
        ).fetchone()
        if row is None or (row[0] is None and row[1] != "refused"):
            break
        current = replace(event, native_key=f"{native_key}/correction/{number}", causationid=event_id)
    return current


def note_corrected(db: sqlite3.Connection, event: NewEvent, event_id: str) -> None:
    """Note by which event a message was corrected that an event names as its cause."""
    db.execute(
        "UPDATE correction SET corrected_by = ? WHERE event_id = ? AND corrected_by IS NULL",
        (event_id, event.causationid),
    )
