"""What a witness remembers, in one SQLite file: what it cosigned, and the proofs against a log that forked.

Whatever is answered was stored before, and to look and to store are one transaction: two requests at once, or two
processes on one file, cannot both build on the same checkpoint.
"""

import sqlite3
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from connectors.oversight.memory import transaction
from contracts.log.checkpoint import Checkpoint, read_checkpoint
from contracts.log.note import Note, read_note

# Older ones than these are forgotten; the last one says all that the next needs.
HISTORY_MAX = 100_000
# One proof is enough to ask questions; a log that goes on forking does not fill the disk.
EVIDENCE_MAX = 1_000
BUSY_TIMEOUT_S = 5.0

SCHEMA = """
    CREATE TABLE IF NOT EXISTS cosigned (
        origin TEXT NOT NULL, size INTEGER NOT NULL, note TEXT NOT NULL, PRIMARY KEY (origin, size)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS evidence (
        number INTEGER PRIMARY KEY, at TEXT NOT NULL, fault TEXT NOT NULL, held TEXT, shown TEXT NOT NULL UNIQUE)"""


class Evidence(NamedTuple):
    """Two signed checkpoints of one log that contradict each other, or the second of which nothing proved."""

    number: int
    at: str
    fault: str
    held: str | None
    shown: str


class WitnessState:
    """A witness's memory."""

    def __init__(self, file: Path) -> None:
        """Open the file, or make it and its folder. Raises sqlite3.Error, OSError."""
        file.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(file, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        # FULL: what was answered survives the machine, not only the process.
        self._connection.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")
        self._connection.executescript(SCHEMA)

    def transaction(self) -> AbstractContextManager[None]:
        """Look and store as one step, which is durable when the block has ended."""
        return transaction(self._connection)

    def newest(self, origin: str) -> Note | None:
        """Return the checkpoint of the log that was cosigned last, with the signatures that it then had."""
        row = self._connection.execute(
            "SELECT note FROM cosigned WHERE origin = ? ORDER BY size DESC LIMIT 1", (origin,)
        ).fetchone()
        return None if row is None else read_note(row[0].encode())

    def recall(self, origin: str, size: int) -> Note | None:
        """Return the checkpoint of exactly this size, if it is still kept."""
        row = self._connection.execute(
            "SELECT note FROM cosigned WHERE origin = ? AND size = ?", (origin, size)
        ).fetchone()
        return None if row is None else read_note(row[0].encode())

    def remember(self, checkpoint: Checkpoint, note: Note) -> None:
        """Keep a checkpoint as the newest of its log."""
        self._connection.execute(
            "INSERT OR REPLACE INTO cosigned VALUES (?, ?, ?)",
            (checkpoint.origin, checkpoint.size, note.write().decode()),
        )
        self._connection.execute(
            "DELETE FROM cosigned WHERE origin = ?1 AND size <= "
            "(SELECT size FROM cosigned WHERE origin = ?1 ORDER BY size DESC LIMIT 1 OFFSET ?2)",
            (checkpoint.origin, HISTORY_MAX),
        )

    def accuse(self, at: datetime, fault: str, held: Note | None, shown: Note) -> None:
        """Keep both checkpoints of a contradiction; the same one shown again changes nothing."""
        self._connection.execute(
            "INSERT OR IGNORE INTO evidence (at, fault, held, shown) SELECT ?, ?, ?, ? "
            "WHERE (SELECT count(*) FROM evidence) < ?",
            (
                at.isoformat(),
                fault,
                None if held is None else held.write().decode(),
                shown.write().decode(),
                EVIDENCE_MAX,
            ),
        )

    def evidence(self) -> list[Evidence]:
        """Return every contradiction that was kept, in order."""
        rows = self._connection.execute("SELECT number, at, fault, held, shown FROM evidence ORDER BY number")
        return [Evidence(*row) for row in rows]

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def checkpoint_of(note: Note | None) -> Checkpoint | None:
    """Return what a note that was kept says."""
    return None if note is None else read_checkpoint(note.text)
