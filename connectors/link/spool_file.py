"""The spool's SQLite file: every statement that touches it, synchronous, one connection, one thread.

State of a row and who moves it on:
    waiting   stored, unsigned             publisher: signs
    signed    its signature is stored      publisher: sends
    sent      the broker has it            subscriber: a receipt settles it; publisher: sends it again after 12 h
              publisher: back to waiting if its key was revoked; so is what is refused for that
    accepted  the hub's receipt is here    maintenance: erases value and signature after a while
    refused   the hub refused it           as accepted; an accepting receipt may still come (an operator's resend)
"""

import fcntl
import json
import os
import re
import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Literal

from connectors.link import failpoint, spool_correction
from connectors.link.clock import Clock
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
from connectors.link.fault import ClaimTaken, LinkFault, SpoolFull, SpoolLocked, SpoolUnusable
from connectors.link.message import compose, content_digest, event_id_of
from connectors.link.spool_erasure import ERASE_DOOMED, empty_log, erase_facts
from connectors.link.spool_schema import prepare
from contracts.counts import Count, Tally
from contracts.erasure import Erasure
from contracts.errors import Refusal
from contracts.wire import base64url

FORMAT = "tkahub-spool/1"
NONCE_BYTES = 16
BUSY_TIMEOUT_MS = 5_000
ERASE_ROWS_MAX = 1_000
# So many of the oldest messages that wait are looked at: what is behind them is younger.
MISSING_LOOKED_AT_MAX = 10_000
SYNCHRONOUS_FULL = 2
CODE_CONFLICT = "conflict"
# How many sequence numbers below its last a rebuilt spool has no message of.
MISSING_NOTE = "link/missing"
BEGUN_NOTE = "link/begun"
REBUILDING_NOTE = "link/rebuilding"
# What a message takes beside its value: its signature, its identity, the indexes.
BESIDE_VALUE_BYTES = 1_536
NOT_KNOWN = b""
# As the envelope spells it.
_is_subject = re.compile(r"[A-Z0-9./-]{1,64}").fullmatch


def lock_spool(path: Path) -> IO[str]:
    """Take the spool's lock file; the lock ends with the process, however it ends. Raises SpoolLocked."""
    handle = path.with_name(path.name + ".lock").open("w", encoding="ascii")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.close()
        raise SpoolLocked(
            "Another connector process works on this spool. Stop it, or give this one a SPOOL_DIR of its own."
        ) from None
    return handle


# What has a signature and no receipt that accepts it: the part up to the first dot says whose the signature is.
FIND_HEADS = """
    SELECT DISTINCT substr(jws, 1, instr(jws, '.')) FROM fact
    WHERE jws IS NOT NULL AND (state IN ('signed', 'sent') OR (state = 'refused' AND code = 'key_revoked'))"""
TAKE_BACK = """
    UPDATE fact SET state = 'waiting', jws = NULL, jws_proof = NULL, code = NULL, settled_at = NULL
    WHERE (state IN ('signed', 'sent') OR (state = 'refused' AND code = 'key_revoked')) AND substr(jws, 1, ?) = ?"""


def read_missing_receipts(db: sqlite3.Connection, sent_before: datetime) -> MissingReceipts:
    """Return how many of the oldest messages that wait for a receipt were first sent before that time."""
    found = db.execute(
        "SELECT count(*), min(sequence), min(first_sent_at) FROM (SELECT sequence, first_sent_at FROM fact"
        " WHERE state = 'sent' ORDER BY sequence LIMIT ?) WHERE first_sent_at < ?",
        (MISSING_LOOKED_AT_MAX, sent_before.timestamp()),
    ).fetchone()
    oldest = None if found[2] is None else datetime.fromtimestamp(found[2], UTC)
    return MissingReceipts(int(found[0]), found[1], oldest)


class SpoolFile:
    """The open file. Not safe for threads: `Spool` gives it one."""

    def __init__(self, path: Path, author: Author, bytes_max: int, clock: Clock) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = lock_spool(path)
        self._author = author
        self._bytes_max = bytes_max
        self._clock = clock
        try:
            self._db = self._open(path)
            self._bytes_held = self._measure()
        except BaseException:
            self._lock.close()
            raise

    def _open(self, path: Path) -> sqlite3.Connection:
        # The message bodies hold personal data, so nobody else on the machine may read the file.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=BUSY_TIMEOUT_MS / 1_000)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA fullfsync = ON")
            # Erased personal data must not linger in free pages.
            db.execute("PRAGMA secure_delete = ON")
            mode = db.execute("PRAGMA journal_mode").fetchone()[0]
            if mode != "wal" or db.execute("PRAGMA synchronous").fetchone()[0] != SYNCHRONOUS_FULL:
                raise SpoolUnusable("SQLite cannot keep this spool durable here (WAL, FULL): use a local disk.")
            prepare(db)
            db.execute("INSERT OR IGNORE INTO identity VALUES (1, ?, ?)", (FORMAT, self._author.source))
            if db.execute("SELECT format, source FROM identity").fetchone() != (FORMAT, self._author.source):
                raise SpoolUnusable("This spool is of another SOURCE_URI or version: use a SPOOL_DIR of its own.")
        except sqlite3.DatabaseError as error:
            db.close()
            raise SpoolUnusable(f"The spool's file cannot be used ({error}): restore it, or use a new one.") from error
        except BaseException:
            db.close()
            raise
        return db

    def close(self) -> None:
        """Close the file and give its lock back."""
        self._db.close()
        self._lock.close()

    @contextmanager
    def _transaction(self, point: str | None = None) -> Iterator[sqlite3.Connection]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield self._db
            if point:
                failpoint.reach(f"spool.before_{point}_commit")
            self._db.execute("COMMIT")
        except sqlite3.OperationalError as error:
            self._roll_back()
            if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
                raise SpoolFull("The spool's disk is full: free some space; nothing is lost meanwhile.") from error
            raise
        except BaseException:
            self._roll_back()
            raise
        if point:
            failpoint.reach(f"spool.after_{point}_commit")

    def _roll_back(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    # --- put ---------------------------------------------------------------------------------------------------------

    def put(self, requests: Sequence[PutRequest]) -> list[list[Put] | LinkFault]:
        """Store many callers' requests in one commit; each is stored whole, or not at all with its fault returned."""
        results: list[list[Put] | LinkFault] = []
        held_before = self._bytes_held
        try:
            with self._transaction("put") as db:
                for request in requests:
                    db.execute("SAVEPOINT request")
                    held = self._bytes_held
                    try:
                        results.append(self._put_one(request))
                    except LinkFault as fault:
                        db.execute("ROLLBACK TO request")
                        self._bytes_held = held
                        results.append(fault)
                    db.execute("RELEASE request")
        except BaseException:
            self._bytes_held = held_before
            raise
        return results

    def _put_one(self, request: PutRequest) -> list[Put]:
        now = self._clock()
        for name, value in request.claims.items():
            held = self.note(name)
            if held is not None and held != value:
                raise ClaimTaken(name, held)
            if held is None:
                self._write_note(name, value, now)
        for name, changed in request.notes.items():
            self._write_note(name, changed, now)
        for aside in request.aside:
            self._set_aside(aside, now)
        return [self._put_fact(event, now) for event in request.facts]

    def _put_fact(self, event: NewEvent, now: datetime) -> Put:
        stored = self._find_stored(event)
        if stored is not None and stored.outcome == "conflict":
            # Of a message that was refused and sent back, another content is the correction.
            corrected = spool_correction.follow(self._db, event, self._identify)
            if corrected is not event:
                event, stored = corrected, self._find_stored(corrected)
        if stored is None:
            return self._store(event, now)
        if stored.outcome == "conflict":
            self._set_aside(Aside(event.native_key, CODE_CONFLICT, stored.detail or "", event.subject), now)
        return stored

    def _identify(self, native_key: str) -> str:
        return event_id_of(self._author.source, native_key)

    def _find_stored(self, event: NewEvent) -> Put | None:
        """Return what is stored under a fact's native key: the same again, or another content; None if nothing is."""
        event_id = self._identify(event.native_key)
        query = "SELECT sequence, content_sha256 FROM fact WHERE event_id = ?"
        known = self._db.execute(query, (event_id,)).fetchone()
        if known is None:
            return None
        # Of what was accepted before this spool was made only the id is known, and that is enough.
        if known[1] in (content_digest(event), NOT_KNOWN):
            return Put(event_id, "again", sequence=known[0])
        detail = "another content stands under the same native key"
        return Put(event_id, "conflict", sequence=known[0], code=CODE_CONFLICT, detail=detail)

    def _store(self, event: NewEvent, now: datetime) -> Put:
        event_id, content, at = self._identify(event.native_key), content_digest(event), now.timestamp()
        if self._bytes_held >= self._bytes_max:
            raise SpoolFull(
                f"The spool holds its limit of {self._bytes_max} bytes (SPOOL_BYTES_MAX): the hub's receipts are"
                " missing, or the limit is too small; nothing is lost meanwhile."
            )
        sequence = self._last_sequence() + 1
        nonce = secrets.token_urlsafe(NONCE_BYTES)
        try:
            value, sha256 = compose(self._author, event, sequence=sequence, recorded=now, nonce=nonce)
        except Refusal as refusal:
            self._set_aside(Aside(event.native_key, str(refusal.code), refusal.detail, event.subject), now)
            return Put(event_id, "unfit", code=str(refusal.code), detail=refusal.detail)
        self._db.execute(
            "INSERT INTO fact"
            " (sequence, event_id, native_key, content_sha256, type, subject, sha256, value, put_at, state)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'waiting')",
            (sequence, event_id, event.native_key, content, event.type, event.subject, sha256, value, at),
        )
        if event.causationid is not None:
            spool_correction.note_corrected(self._db, event, event_id)
        self._bytes_held += len(value) + BESIDE_VALUE_BYTES
        return Put(event_id, "new", sequence=sequence)

    def _set_aside(self, aside: Aside, now: datetime) -> None:
        # What is malformed may be anything that somebody typed, a person's name or no text at all: it is not kept.
        subject = aside.subject if aside.subject is not None and _is_subject(aside.subject) else None
        self._db.execute(
            "INSERT OR IGNORE INTO aside (native_key, code, detail, at, subject) VALUES (?, ?, ?, ?, ?)",
            (aside.native_key, aside.code, aside.detail, now.timestamp(), subject),
        )

    def _last_sequence(self) -> int:
        return int(self._db.execute("SELECT coalesce(max(sequence), 0) FROM fact").fetchone()[0])

    # --- publish -----------------------------------------------------------------------------------------------------

    def waiting(self, limit: int) -> list[Unsigned]:
        """Return the oldest messages that have no signature, in sequence."""
        rows = self._db.execute(
            "SELECT sequence, value FROM fact WHERE state = 'waiting' ORDER BY sequence LIMIT ?", (limit,)
        )
        return [Unsigned(sequence, value) for sequence, value in rows]

    def store_signatures(self, rows: Iterable[tuple[int, str, str | None]], chain: str | None) -> None:
        """Keep (sequence, jws, jws-proof) before the first send, and `chain`, the `prev` of the next batch."""
        with self._transaction("sign") as db:
            db.executemany(
                "UPDATE fact SET jws = ?2, jws_proof = ?3, state = 'signed' WHERE sequence = ?1 AND state = 'waiting'",
                rows,
            )
            if chain is not None:
                self._write_note("link/chain", chain, self._clock())

    def take_back(self, kids: frozenset[str]) -> int:
        """Make unsigned again what these keys signed and no receipt accepts: sent or not, or refused for the key."""
        heads = self._db.execute(FIND_HEADS)
        wanted = [head for (head,) in heads if _read_kid(head) in kids]
        with self._transaction() as db:
            return sum(db.execute(TAKE_BACK, (len(head), head)).rowcount for head in wanted)

    def unsent(self, limit: int) -> list[Signed]:
        """Return the oldest signed messages that no broker has taken yet."""
        rows = self._db.execute(
            "SELECT sequence, subject, value, jws, jws_proof FROM fact"
            " WHERE state = 'signed' ORDER BY sequence LIMIT ?",
            (limit,),
        )
        return [Signed(*row) for row in rows]

    def overdue(self, sent_before: datetime, limit: int) -> list[Signed]:
        """Return messages sent before that time which have no receipt yet."""
        rows = self._db.execute(
            "SELECT sequence, subject, value, jws, jws_proof FROM fact"
            " WHERE state = 'sent' AND sent_at < ? ORDER BY sequence LIMIT ?",
            (sent_before.timestamp(), limit),
        )
        return [Signed(*row) for row in rows]

    def mark_sent(self, sequences: Iterable[int]) -> None:
        """Note that the broker holds these messages, as of now."""
        now = self._clock().timestamp()
        with self._transaction("sent") as db:
            db.executemany(
                "UPDATE fact SET state = 'sent', sent_at = ?1, first_sent_at = coalesce(first_sent_at, ?1)"
                " WHERE sequence = ?2 AND state IN ('signed', 'sent')",
                [(now, sequence) for sequence in sequences],
            )

    # --- receipts ----------------------------------------------------------------------------------------------------

    def settle(self, entries: Iterable[ReceiptEntry]) -> Settlement:
        """Apply a receipt; an entry whose SHA-256 is not that of the stored bytes changes nothing and is counted."""
        counts = {"accepted": 0, "refused": 0, "again": 0, "unknown": 0, "foreign": 0}
        strange: list[int] = []
        with self._transaction("settle"):
            erased = 0
            for entry in entries:
                outcome = self._settle_one(entry)
                counts[outcome] += 1
                # A rebuilt spool took over all that was accepted, and nothing of what had been refused.
                if outcome == "foreign" or (outcome == "unknown" and entry.code is None):
                    strange.append(entry.log_index)
            if counts["accepted"] or counts["refused"]:
                erased = self._db.execute(ERASE_DOOMED, (NOT_KNOWN,)).rowcount
        if erased:
            self._bytes_held = self._measure()
            empty_log(self._db)
        return Settlement(**counts, strange=len(strange), strange_index=strange[0] if strange else None)

    def _settle_one(self, entry: ReceiptEntry) -> Literal["accepted", "refused", "again", "unknown", "foreign"]:
        known = self._find_receipted(entry)
        if known is None:
            # A refusal whose message could not be read names no id, and may be of bytes that were settled before.
            return "again" if entry.event_id is None else "unknown"
        sequence, sha256, before = known
        if sha256 != entry.sha256:
            return "foreign"
        state: Literal["accepted", "refused"] = "accepted" if entry.code is None else "refused"
        if before in ("accepted", state):
            return "again"
        if entry.code is not None:
            self._db.execute("INSERT OR IGNORE INTO refusal VALUES (?, ?, ?)", (sequence, entry.code, entry.log_index))
        self._db.execute(
            "UPDATE fact SET state = ?, code = ?, log_index = ?, settled_at = ? WHERE sequence = ?",
            (state, entry.code, entry.log_index, self._clock().timestamp(), sequence),
        )
        return state

    def _find_receipted(self, entry: ReceiptEntry) -> tuple[int, bytes, str] | None:
        """Return (sequence, SHA-256, state) of the message that a receipt speaks of: by its id, or else its bytes."""
        query, value = "event_id = ?", entry.event_id or entry.sha256
        if entry.event_id is None:
            query = "sha256 = ? AND state IN ('waiting', 'signed', 'sent')"
        found: tuple[int, bytes, str] | None = self._db.execute(
            f"SELECT sequence, sha256, state FROM fact WHERE {query}",  # noqa: S608  # Two constants.
            (value,),
        ).fetchone()
        return found

    def missing_receipts(self, sent_before: datetime) -> MissingReceipts:
        """Return how many of the oldest messages that wait for a receipt were first sent before that time."""
        return read_missing_receipts(self._db, sent_before)

    def count(self, first_index: int, log_size: int) -> Count:
        """Count what the hub's receipts say of a stretch of its log; contents that are erased count all the same."""
        tally = Tally()
        accepted = self._db.execute(
            "SELECT sequence, event_id, sha256 FROM fact"
            " WHERE state = 'accepted' AND log_index >= ? AND log_index < ? ORDER BY sequence",
            (first_index, log_size),
        )
        for row in accepted:
            tally.add(*row)
        refused = self._db.execute(
            "SELECT code, count(*) FROM refusal WHERE log_index >= ? AND log_index < ? GROUP BY code",
            (first_index, log_size),
        )
        return tally.close(dict(refused.fetchall()))

    def rebuilt_at(self) -> datetime | None:
        """Return when this spool took over what the hub had of its source; None if it knows all of it itself."""
        row = self._db.execute("SELECT at FROM note WHERE name = ? AND value <> '0'", (BEGUN_NOTE,)).fetchone()
        return None if row is None else datetime.fromtimestamp(row[0], UTC)

    def erase_settled(self, before: datetime) -> int:
        """Erase content and signature of what was settled before that time; its identity stays for deduplication."""
        with self._transaction() as db:
            rows = db.execute(
                "SELECT sequence, length(value) FROM fact"
                " WHERE value IS NOT NULL AND settled_at IS NOT NULL AND settled_at < ? LIMIT ?",
                (before.timestamp(), ERASE_ROWS_MAX),
            ).fetchall()
            db.executemany(
                "UPDATE fact SET value = NULL, jws = NULL, jws_proof = NULL WHERE sequence = ?",
                [(sequence,) for sequence, _ in rows],
            )
        self._bytes_held -= sum(length + BESIDE_VALUE_BYTES for _, length in rows)
        return len(rows)

    def erase(self, erasure: Erasure) -> int:
        """Erase what an order names, or doom what still waits to be taken; return how much went now."""
        with self._transaction("erase") as db:
            erased = erase_facts(db, self._author.source, erasure, NOT_KNOWN)
        self._bytes_held = self._measure()
        # Also if nothing went: whoever was killed after the commit had not come to it.
        empty_log(self._db)
        return erased

    # --- notes, streams, things set aside ----------------------------------------------------------------------------

    def note(self, name: str) -> str | None:
        """Return the named value, or None."""
        row = self._db.execute("SELECT value FROM note WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def notes(self, prefix: str) -> dict[str, str]:
        """Return every named value whose name starts with `prefix`."""
        rows = self._db.execute(
            "SELECT name, value FROM note WHERE name >= ?1 AND name < ?1 || char(0x10FFFF) ORDER BY name", (prefix,)
        )
        return {str(name): str(value) for name, value in rows}

    def forget_notes(self, prefix: str, before: datetime) -> int:
        """Delete notes under `prefix` written before that time; return how many."""
        with self._transaction() as db:
            return db.execute(
                "DELETE FROM note WHERE name >= ?1 AND name < ?1 || char(0x10FFFF) AND at < ?2",
                (prefix, before.timestamp()),
            ).rowcount

    def _write_note(self, name: str, value: str | None, now: datetime) -> None:
        if value is None:
            self._db.execute("DELETE FROM note WHERE name = ?", (name,))
        else:
            self._db.execute("INSERT OR REPLACE INTO note VALUES (?, ?, ?)", (name, value, now.timestamp()))

    def position(self, topic: str, partition: int) -> tuple[int, int]:
        """Return the last handled hub-seq of a stream and the Kafka offset to read from; (0, 0) at first."""
        row = self._db.execute(
            "SELECT seq, next_offset FROM stream WHERE topic = ? AND partition = ?", (topic, partition)
        ).fetchone()
        return (0, 0) if row is None else (int(row[0]), int(row[1]))

    def note_position(self, topic: str, partition: int, seq: int, next_offset: int) -> None:
        """Keep how far a stream was handled."""
        with self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO stream VALUES (?, ?, ?, ?)", (topic, partition, seq, next_offset))

    def unreported(self, limit: int) -> list[Aside]:
        """Return things set aside that the agency has not been told of."""
        rows = self._db.execute(
            "SELECT native_key, code, detail, subject FROM aside WHERE reported_at IS NULL ORDER BY number LIMIT ?",
            (limit,),
        )
        return [Aside(*row) for row in rows]

    def mark_reported(self, asides: Iterable[Aside]) -> None:
        """Note that the agency has been told of these."""
        now = self._clock().timestamp()
        with self._transaction() as db:
            db.executemany(
                "UPDATE aside SET reported_at = ? WHERE native_key = ? AND code = ?",
                [(now, aside.native_key, aside.code) for aside in asides],
            )

    def fact(self, event_id: str) -> SpooledFact | None:
        """Return what is known of one message, without its content."""
        row = self._db.execute(
            "SELECT event_id, native_key, sequence, type, state, code, log_index FROM fact WHERE event_id = ?",
            (event_id,),
        ).fetchone()
        return None if row is None else SpooledFact(*row)

    def fact_by_key(self, native_key: str) -> SpooledFact | None:
        """Return what is known of the message of one native fact."""
        return self.fact(self._identify(native_key))

    def refusals(self) -> dict[str, int]:
        """Return how many messages the hub refused, and how many items were set aside, by code."""
        rows = self._db.execute(
            "SELECT code, count(*) FROM (SELECT code FROM fact WHERE state = 'refused'"
            " UNION ALL SELECT code FROM aside) GROUP BY code ORDER BY code"
        )
        return {str(code): int(count) for code, count in rows}

    def ask_correction(self, event_id: str, code: str, note: str, log_index: int) -> None:
        """Keep that the hub asks to correct a refused message."""
        with self._transaction() as db:
            spool_correction.ask(db, event_id, code, note, log_index, self._clock())

    def corrections(self, limit: int) -> list[spool_correction.Asked]:
        """Return what is still to be corrected."""
        return spool_correction.list_open(self._db, limit)

    # --- a new spool -------------------------------------------------------------------------------------------------

    def is_new(self) -> bool:
        """Whether nothing was ever put here, or the rebuilding was not finished."""
        if self.note(BEGUN_NOTE) is not None:
            return False
        return self.note(REBUILDING_NOTE) is not None or self._last_sequence() == 0

    def last_sequence(self) -> int:
        """Return the last sequence number that was given out; 0 at first."""
        return self._last_sequence()

    def adopt(self, accepted: Sequence[AcceptedBefore]) -> None:
        """Keep what the hub has accepted of this source: it is never put again, nor are its numbers used again."""
        now = self._clock()
        with self._transaction("adopt") as db:
            self._write_note(REBUILDING_NOTE, "1", now)
            db.executemany(
                "INSERT OR IGNORE INTO fact (sequence, event_id, native_key, content_sha256, type, subject, sha256,"
                " state, put_at, settled_at, log_index) VALUES (?, ?, '', ?, '', '', ?, 'accepted', ?, ?, ?)",
                [
                    (one.sequence, one.event_id, NOT_KNOWN, one.sha256, now.timestamp(), now.timestamp(), one.log_index)
                    for one in accepted
                ],
            )

    def begin(self) -> None:
        """Note that this spool knows all that the hub has of its source, and that facts may be put."""
        missing = self._db.execute("SELECT coalesce(max(sequence), 0) - count(*) FROM fact").fetchone()[0]
        with self._transaction("begin"):
            now = self._clock()
            self._write_note(BEGUN_NOTE, str(self._last_sequence()), now)
            self._write_note(MISSING_NOTE, str(missing), now)
            self._write_note(REBUILDING_NOTE, None, now)

    def rewind(self, topic: str) -> None:
        """Forget how far a topic's streams were handled, so that they are read again from their beginning."""
        with self._transaction() as db:
            db.execute("DELETE FROM stream WHERE topic = ?", (topic,))

    # --- counts ------------------------------------------------------------------------------------------------------

    def status(self) -> SpoolStatus:
        """Return the counts that status and metrics show."""
        one = self._db.execute
        by_state: dict[str, int] = dict(
            one(
                "SELECT state, count(*) FROM fact WHERE state IN ('waiting', 'signed', 'sent') GROUP BY state"
            ).fetchall()
        )
        refused = int(one("SELECT count(*) FROM fact WHERE state = 'refused'").fetchone()[0])
        last = self._last_sequence()
        unsent = one("SELECT min(put_at) FROM fact WHERE state IN ('waiting', 'signed')").fetchone()[0]
        oldest = one("SELECT min(put_at) FROM fact WHERE state IN ('waiting', 'signed', 'sent')").fetchone()[0]
        synchronous = int(one("PRAGMA synchronous").fetchone()[0])
        return SpoolStatus(
            waiting=by_state.get("waiting", 0),
            signed=by_state.get("signed", 0),
            sent=by_state.get("sent", 0),
            # Sequence numbers have no gap but those that a rebuilt spool knows of; so the rest was accepted.
            accepted=last - sum(by_state.values()) - refused - int(self.note(MISSING_NOTE) or 0),
            refused=refused,
            aside=int(one("SELECT count(*) FROM aside").fetchone()[0]),
            last_sequence=last,
            bytes_used=self._bytes_held,
            bytes_max=self._bytes_max,
            oldest_unsent=None if unsent is None else datetime.fromtimestamp(unsent, UTC),
            oldest_unreceipted=None if oldest is None else datetime.fromtimestamp(oldest, UTC),
            journal_mode=str(one("PRAGMA journal_mode").fetchone()[0]),
            synchronous="FULL" if synchronous == SYNCHRONOUS_FULL else str(synchronous),
        )

    def _measure(self) -> int:
        """Return the bytes of the messages whose content is held, signatures included; erased ones hold none."""
        total = self._db.execute(
            "SELECT coalesce(sum(length(value) + ?), 0) FROM fact WHERE value IS NOT NULL", (BESIDE_VALUE_BYTES,)
        )
        return int(total.fetchone()[0])


def _read_kid(head: str) -> str | None:
    """Return whose signature a jws is, by its protected header."""
    raw = base64url.decode(head.rstrip(".").encode("ascii", "replace"))
    return None if raw is None else str(json.loads(raw).get("kid"))
