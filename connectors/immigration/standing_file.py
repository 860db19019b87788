"""What Immigration's connector knows and still has to hand over, in a SQLite file beside the spool.

Tables: `revision`, every recommendation that the feed has brought, with the content of the newest; `delivery`, the
offices' queues; `beat` and `stretch`, how fresh the feed is and when it was stale; `question`, what the offices ask;
`decision`, the visas that rest on recommendations. Everything here can be had again from the hub's archive and the
offices; only acknowledgements of alarms cannot.

One connection writes, in a thread of its own; another one reads, so that a question waits for no disk.
"""

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from connectors.immigration.offices import UNROUTED, Offices
from connectors.immigration.validity import Beat, Decision, Standing, Stretch
from connectors.link import failpoint
from connectors.link.clock import Clock
from connectors.link.erasing import blank
from connectors.link.fault import PassingFault, SpoolUnusable
from connectors.link.spool_erasure import empty_log

FILE_NAME: Final = "immigration.sqlite"
BUSY_TIMEOUT_MS: Final = 5_000
# What a delivery takes beside its body: its names and the indexes.
BESIDE_BODY_BYTES: Final = 512
STRETCHES_KEPT: Final = 10_000
FED: Final = 1

_SCHEMA = """
CREATE TABLE IF NOT EXISTS revision (
    number TEXT NOT NULL, revision INTEGER NOT NULL, application TEXT NOT NULL, kanim TEXT NOT NULL,
    issued_at REAL, withdrawn_at REAL, body TEXT, PRIMARY KEY (number, revision)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS delivery (
    place INTEGER PRIMARY KEY, office TEXT NOT NULL, kanim TEXT NOT NULL, number TEXT NOT NULL, name TEXT NOT NULL,
    key TEXT NOT NULL, body TEXT, put_at REAL NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
    due_at REAL NOT NULL DEFAULT 0, done_at REAL, outcome TEXT, UNIQUE (name, office));
CREATE INDEX IF NOT EXISTS delivery_open ON delivery (office, place) WHERE done_at IS NULL;
CREATE INDEX IF NOT EXISTS delivery_turn ON delivery (office, number, place) WHERE done_at IS NULL;
CREATE INDEX IF NOT EXISTS delivery_number ON delivery (number);
CREATE TABLE IF NOT EXISTS beat (
    topic TEXT NOT NULL, partition INTEGER NOT NULL, at REAL NOT NULL, last_sequence INTEGER NOT NULL,
    seq INTEGER NOT NULL, fresh_until REAL, PRIMARY KEY (topic, partition));
CREATE TABLE IF NOT EXISTS stretch (number INTEGER PRIMARY KEY, began REAL NOT NULL, ended REAL NOT NULL);
CREATE TABLE IF NOT EXISTS question (
    query_id TEXT PRIMARY KEY, office TEXT NOT NULL, number TEXT NOT NULL, asked_at REAL NOT NULL, answered_at REAL);
CREATE INDEX IF NOT EXISTS question_open ON question (asked_at) WHERE answered_at IS NULL;
CREATE TABLE IF NOT EXISTS decision (
    key TEXT PRIMARY KEY, office TEXT NOT NULL, kind TEXT NOT NULL, number TEXT NOT NULL, revision INTEGER NOT NULL,
    at REAL NOT NULL, verdict TEXT, why TEXT, acknowledged_at REAL, acknowledged_by TEXT, reason TEXT);
CREATE INDEX IF NOT EXISTS decision_unjudged ON decision (key) WHERE verdict IS NULL;
CREATE INDEX IF NOT EXISTS decision_alarm ON decision (at)
    WHERE verdict IS NOT NULL AND verdict <> 'valid' AND acknowledged_at IS NULL;
CREATE VIEW IF NOT EXISTS unjudged AS
    SELECT key, office, kind, number, revision, at, verdict, why FROM decision WHERE verdict IS NULL;
CREATE VIEW IF NOT EXISTS alarm AS
    SELECT key, office, kind, number, revision, at, verdict, why FROM decision
    WHERE verdict IS NOT NULL AND verdict <> 'valid' AND acknowledged_at IS NULL;
"""
# The feed repeats itself after a crash; an office is told once.
QUEUE: Final = (
    "INSERT OR IGNORE INTO delivery (office, kanim, number, name, key, body, put_at) VALUES (?, ?, ?, ?, ?, ?, ?)"
)
# Of each recommendation only the oldest open delivery has its turn, so that order within it is kept.
_TURN = (
    "SELECT place, office, number, name, key, body, attempts FROM delivery d WHERE office = ? AND done_at IS NULL"
    " AND due_at <= ? AND NOT EXISTS (SELECT 1 FROM delivery e WHERE e.office = d.office AND e.number = d.number"
    " AND e.done_at IS NULL AND e.place < d.place) ORDER BY place"
)


class QueueFull(PassingFault):
    """So much waits for the offices that the hub's stream has to wait."""


@dataclass(frozen=True, slots=True)
class News:
    """A recommendation as one event tells it, and the bytes of its content as the offices get them."""

    number: str
    revision: int
    state: Literal["issued", "withdrawn"]
    application: str
    kanim: str
    at: datetime
    key: str
    body: str

    @property
    def name(self) -> str:
        """What the offices know it by."""
        return f"{self.number}/{self.revision}/{self.state}"


@dataclass(frozen=True, slots=True)
class Reply:
    """The Ministry's answer to a question, for the office that asked."""

    query_id: str
    number: str
    at: datetime
    key: str
    body: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """One thing that an office is to be told: `name` is NUMBER/REVISION/STATE, or `query-answer/QUERY_ID`."""

    place: int
    office: str
    number: str
    name: str
    key: str
    body: str
    attempts: int


@dataclass(frozen=True, slots=True)
class Question:
    """What an office asked about a recommendation."""

    query_id: str
    number: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Kept:
    """A visa decision as it is kept, and what was found of it."""

    key: str
    office: str
    kind: str
    decision: Decision
    verdict: str | None = None
    why: str | None = None


@dataclass(frozen=True, slots=True)
class QueueState:
    """One office's queue: how much waits, since when, and how often the oldest was put off."""

    waiting: int
    oldest: datetime | None
    attempts: int


class StandingFile:
    """The open file. What writes is not safe for threads: `Standings` gives it one; what reads is for the loop."""

    def __init__(self, file: Path, offices: Offices, clock: Clock, bytes_max: int) -> None:
        self._offices = offices
        self._clock = clock
        self._bytes_max = bytes_max
        # The bodies hold personal data, so nobody else on the machine may read the file.
        os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))
        self._db = _connect(file)
        self._reader: sqlite3.Connection | None = None
        try:
            for pragma in ("journal_mode = WAL", "synchronous = FULL", "fullfsync = ON", "secure_delete = ON"):
                self._db.execute(f"PRAGMA {pragma}")
            self._db.executescript(_SCHEMA)
            #: Whether the feed still has to be read again from its beginning, since this file is new.
            self.created = self._db.execute("PRAGMA user_version").fetchone()[0] != FED
            self._reader = _connect(file)
            self._route_anew()
            self._bytes_held = self._measure()
        except sqlite3.DatabaseError as error:
            self.close()
            raise SpoolUnusable(f"{FILE_NAME} beside the spool cannot be used ({error}): delete it.") from error

    def close(self) -> None:
        """Close both connections."""
        for connection in (self._reader, self._db):
            if connection is not None:
                connection.close()

    def mark_fed(self) -> None:
        """Note that the feed is read from its beginning, or was."""
        self._db.execute(f"PRAGMA user_version = {FED}")
        self.created = False

    def _route_anew(self) -> None:
        """Give what waits to whom OFFICES_FILE says now: an office may have been added, or closed."""
        with self._transaction():
            waiting = self._db.execute("SELECT DISTINCT office, kanim FROM delivery WHERE done_at IS NULL").fetchall()
            for office, kanim in waiting:
                now = self._offices.in_charge(kanim)
                if self._offices.named(office) is None and now != office:
                    self._db.execute(
                        "UPDATE OR IGNORE delivery SET office = ? WHERE office = ? AND kanim = ? AND done_at IS NULL",
                        (now, office, kanim),
                    )

    def _measure(self) -> int:
        query = "SELECT coalesce(sum(length(body) + ?), 0) FROM delivery WHERE done_at IS NULL"
        return int(self._db.execute(query, (BESIDE_BODY_BYTES,)).fetchone()[0])

    @contextmanager
    def _transaction(self, point: str | None = None) -> Iterator[sqlite3.Connection]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield self._db
            if point:
                failpoint.reach(f"offices.before_{point}")
            self._db.execute("COMMIT")
        except BaseException as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            if isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode == sqlite3.SQLITE_FULL:
                raise QueueFull("The disk of SPOOL_DIR is full: free some space; nothing is lost meanwhile.") from error
            raise
        if point:
            failpoint.reach(f"offices.after_{point}")

    # --- from the feed -----------------------------------------------------------------------------------------------

    def take_news(self, news: News) -> set[str]:
        """Keep a recommendation's news and queue it; return the offices whose queues grew. Raises QueueFull."""
        self._check_room()
        with self._transaction("queue") as db:
            self._keep_revision(news)
            # An office that was given an earlier revision must hear of the later one, whoever is in charge now.
            query = "SELECT DISTINCT office FROM delivery WHERE number = ? AND office <> ?"
            told = db.execute(query, (news.number, UNROUTED)).fetchall()
            offices = {self._offices.in_charge(news.kanim), *(office for (office,) in told)}
            return self._queue(offices, news.kanim, news.number, news.name, news.key, news.body)

    def _check_room(self) -> None:
        if self._bytes_held >= self._bytes_max:
            raise QueueFull(
                f"{self._bytes_max} bytes wait for the offices (QUEUE_BYTES_MAX): see which office takes nothing;"
                " nothing is lost meanwhile."
            )

    def _keep_revision(self, news: News) -> None:
        issued = news.at.timestamp() if news.state == "issued" else None
        withdrawn = news.at.timestamp() if news.state == "withdrawn" else None
        self._db.execute(
            "INSERT INTO revision VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (number, revision) DO UPDATE SET"
            " issued_at = coalesce(issued_at, excluded.issued_at),"
            " withdrawn_at = coalesce(withdrawn_at, excluded.withdrawn_at),"
            " body = CASE WHEN excluded.withdrawn_at IS NOT NULL OR withdrawn_at IS NULL"
            " THEN excluded.body ELSE body END",
            (news.number, news.revision, news.application, news.kanim, issued, withdrawn, news.body),
        )
        # Of an older revision nothing personal is kept.
        self._db.execute(
            "UPDATE revision SET body = NULL WHERE number = ?1 AND body IS NOT NULL"
            " AND revision < (SELECT max(revision) FROM revision WHERE number = ?1)",
            (news.number,),
        )

    def take_reply(self, reply: Reply) -> set[str]:
        """Queue the answer to a question for the office that asked; return the offices whose queues grew."""
        self._check_room()
        with self._transaction("queue") as db:
            db.execute(
                "UPDATE question SET answered_at = ? WHERE query_id = ? AND answered_at IS NULL",
                (reply.at.timestamp(), reply.query_id),
            )
            asked = db.execute("SELECT office FROM question WHERE query_id = ?", (reply.query_id,)).fetchone()
            newest = db.execute(
                "SELECT kanim FROM revision WHERE number = ? ORDER BY revision DESC LIMIT 1", (reply.number,)
            ).fetchone()
            kanim = "" if newest is None else newest[0]
            office = self._offices.in_charge(kanim) if asked is None else asked[0]
            name = f"query-answer/{reply.query_id}"
            return self._queue({office}, kanim, reply.number, name, reply.key, reply.body)

    def _queue(self, offices: set[str], kanim: str, number: str, name: str, key: str, body: str) -> set[str]:
        grew = set()
        for office in sorted(offices):
            found = self._offices.named(office)
            if found is not None and found.door == "pull":
                continue
            added = self._db.execute(
                QUEUE,
                (office, kanim, number, name, key, body, self._clock().timestamp()),
            ).rowcount
            if added:
                self._bytes_held += len(body) + BESIDE_BODY_BYTES
                grew.add(office)
        return grew

    def keep_beat(self, topic: str, partition: int, beat: Beat, ended: Stretch | None) -> None:
        """Keep a stream's heartbeat, and the stale stretch that it ended."""
        until = None if beat.fresh_until is None else beat.fresh_until.timestamp()
        with self._transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO beat VALUES (?, ?, ?, ?, ?, ?)",
                (topic, partition, beat.at.timestamp(), beat.last_sequence, beat.seq, until),
            )
            if ended is not None:
                query = "INSERT INTO stretch (began, ended) VALUES (?, ?)"
                db.execute(query, (ended.began.timestamp(), ended.ended.timestamp()))
                query = "DELETE FROM stretch WHERE number <= (SELECT max(number) FROM stretch) - ?"
                db.execute(query, (STRETCHES_KEPT,))

    # --- to the offices ----------------------------------------------------------------------------------------------

    def turn(self, office: str, limit: int) -> list[Delivery]:
        """Return what an office is to be told next: half the oldest, half the newest, one of each recommendation.

        So what is fresh does not wait behind what a long outage has left.
        """
        now_s, half = self._clock().timestamp(), limit // 2
        oldest = self._db.execute(f"{_TURN} LIMIT ?", (office, now_s, limit)).fetchall()
        if len(oldest) < limit:
            return [Delivery(*row) for row in oldest]
        newest = self._db.execute(f"{_TURN} DESC LIMIT ?", (office, now_s, half)).fetchall()
        chosen = {row[0]: row for row in (*oldest[: limit - half], *newest)}
        return [Delivery(*chosen[place]) for place in sorted(chosen)]

    def next_due(self, office: str) -> datetime | None:
        """Return when the next postponed delivery of an office is due, None where none waits."""
        query = "SELECT min(due_at) FROM delivery WHERE office = ? AND done_at IS NULL"
        found = self._db.execute(query, (office,)).fetchone()[0]
        return None if found is None else _time(found)

    def finish(self, deliveries: Iterable[tuple[Delivery, str]]) -> None:
        """Note deliveries as over, each with its outcome (`taken`, or why not), and forget their content."""
        now_s = self._clock().timestamp()
        rows = list(deliveries)
        with self._transaction("done") as db:
            db.executemany(
                "UPDATE delivery SET done_at = ?, outcome = ?, body = NULL WHERE place = ?",
                [(now_s, outcome, delivery.place) for delivery, outcome in rows],
            )
        self._bytes_held -= sum(len(delivery.body) + BESIDE_BODY_BYTES for delivery, _ in rows)

    def postpone(self, deliveries: Iterable[Delivery], until: Sequence[datetime]) -> None:
        """Try deliveries again later."""
        rows = [(due.timestamp(), delivery.place) for delivery, due in zip(deliveries, until, strict=True)]
        with self._transaction() as db:
            db.executemany("UPDATE delivery SET attempts = attempts + 1, due_at = ? WHERE place = ?", rows)

    def erase(self, cases: Iterable[str]) -> frozenset[str]:
        """Take everybody out of what is kept and queued of these applications; return their recommendations' numbers.

        What waits is told all the same, and says of nobody whom it was about.
        """
        query = "SELECT DISTINCT number FROM revision WHERE application IN (SELECT value FROM json_each(?))"
        numbers = frozenset(row[0] for row in self._db.execute(query, (json.dumps(sorted(cases)),)).fetchall())
        named = (json.dumps(sorted(numbers)),)
        where = "body IS NOT NULL AND number IN (SELECT value FROM json_each(?))"
        with self._transaction() as db:
            revisions = db.execute(f"SELECT number, revision, body FROM revision WHERE {where}", named).fetchall()  # noqa: S608
            rows = [(_blank(body), number, revision) for number, revision, body in revisions]
            db.executemany("UPDATE revision SET body = ? WHERE number = ? AND revision = ?", rows)
            deliveries = db.execute(f"SELECT place, body FROM delivery WHERE {where}", named).fetchall()  # noqa: S608
            query = "UPDATE delivery SET body = ? WHERE place = ?"
            db.executemany(query, [(_blank(body), place) for place, body in deliveries])
        self._bytes_held = self._measure()
        empty_log(self._db)
        return numbers

    # --- from the offices --------------------------------------------------------------------------------------------

    def note_answers(self, office: str, questions: Iterable[Question], decisions: Iterable[Kept]) -> None:
        """Keep what an office asks and decides; what is known already stays as it is."""
        with self._transaction() as db:
            db.executemany(
                "INSERT OR IGNORE INTO question VALUES (?, ?, ?, ?, NULL)",
                [(each.query_id, office, each.number, each.at.timestamp()) for each in questions],
            )
            db.executemany(
                "INSERT OR IGNORE INTO decision (key, office, kind, number, revision, at) VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (
                        *(each.key, each.office, each.kind, each.decision.number, each.decision.revision),
                        each.decision.at.timestamp(),
                    )
                    for each in decisions
                ],
            )

    def keep_verdicts(self, judged: Iterable[Kept]) -> None:
        """Keep what was found of decisions."""
        with self._transaction("verdict") as db:
            db.executemany(
                "UPDATE decision SET verdict = ?, why = ? WHERE key = ? AND verdict IS NULL",
                [(each.verdict, each.why, each.key) for each in judged],
            )

    def acknowledge(self, key: str, actor: str, reason: str) -> bool:
        """Note who has seen an alarm and why it is over; False where there is no such open alarm."""
        query = (
            "UPDATE decision SET acknowledged_at = ?, acknowledged_by = ?, reason = ?"
            " WHERE key = (SELECT key FROM alarm WHERE key = ?)"
        )
        with self._transaction() as db:
            return db.execute(query, (self._clock().timestamp(), actor, reason, key)).rowcount == 1

    # --- questions, answered in the event loop -----------------------------------------------------------------------

    @property
    def _read(self) -> sqlite3.Connection:
        if self._reader is None:
            raise SpoolUnusable(f"{FILE_NAME} is closed.")
        return self._reader

    def newest(self, number: str) -> Standing | None:
        """Return the newest revision of a recommendation."""
        query = "SELECT revision, issued_at, withdrawn_at FROM revision WHERE number = ? ORDER BY revision DESC LIMIT 1"
        row = self._read.execute(query, (number,)).fetchone()
        return None if row is None else _standing(row)

    def standings(self, number: str) -> list[Standing]:
        """Return every revision of a recommendation."""
        query = "SELECT revision, issued_at, withdrawn_at FROM revision WHERE number = ? ORDER BY revision"
        return [_standing(row) for row in self._read.execute(query, (number,))]

    def content(self, number: str) -> tuple[int, str] | None:
        """Return the newest revision's number and content, as JSON."""
        query = "SELECT revision, body FROM revision WHERE number = ? ORDER BY revision DESC LIMIT 1"
        row = self._read.execute(query, (number,)).fetchone()
        return None if row is None else (int(row[0]), str(row[1]))

    def beat(self, topic: str, partition: int) -> Beat | None:
        """Return the last heartbeat of a stream."""
        query = "SELECT at, last_sequence, seq, fresh_until FROM beat WHERE topic = ? AND partition = ?"
        row = self._read.execute(query, (topic, partition)).fetchone()
        return None if row is None else Beat(_time(row[0]), row[1], row[2], None if row[3] is None else _time(row[3]))

    def stretches(self) -> list[Stretch]:
        """Return when the feed was stale."""
        return [Stretch(_time(row[0]), _time(row[1])) for row in self._read.execute("SELECT began, ended FROM stretch")]

    def unjudged(self, limit: int) -> list[Kept]:
        """Return decisions that are still to be judged."""
        return self._kept("SELECT * FROM unjudged ORDER BY key LIMIT ?", limit)

    def alarms(self, limit: int) -> list[Kept]:
        """Return the alarms that nobody has acknowledged, the newest decision first."""
        return self._kept("SELECT * FROM alarm ORDER BY at DESC LIMIT ?", limit)

    def _kept(self, query: str, limit: int) -> list[Kept]:
        return [
            Kept(row[0], row[1], row[2], Decision(row[3], row[4], _time(row[5])), row[6], row[7])
            for row in self._read.execute(query, (limit,))
        ]

    def count_alarms(self) -> dict[str, int]:
        """Return how many alarms are open, by verdict."""
        query = "SELECT verdict, count(*) FROM alarm GROUP BY verdict"
        return {str(verdict): int(count) for verdict, count in self._read.execute(query)}

    def questions(self) -> tuple[int, datetime | None]:
        """Return how many questions have no answer yet, and when the oldest was asked."""
        query = "SELECT count(*), min(asked_at) FROM question WHERE answered_at IS NULL"
        count, oldest = self._read.execute(query).fetchone()
        return int(count), None if oldest is None else _time(oldest)

    def queue_state(self, office: str) -> QueueState:
        """Return how an office's queue stands."""
        one = self._read.execute
        waiting = one("SELECT count(*) FROM delivery WHERE office = ? AND done_at IS NULL", (office,)).fetchone()[0]
        query = "SELECT put_at, attempts FROM delivery WHERE office = ? AND done_at IS NULL ORDER BY place LIMIT 1"
        oldest = one(query, (office,)).fetchone()
        return QueueState(
            waiting=int(waiting),
            oldest=None if oldest is None else _time(oldest[0]),
            attempts=0 if oldest is None else int(oldest[1]),
        )


def _blank(body: str) -> str:
    return json.dumps(blank(json.loads(body)))


def _connect(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(file, isolation_level=None, check_same_thread=False, timeout=BUSY_TIMEOUT_MS / 1_000)


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _standing(row: Sequence[float | None]) -> Standing:
    revision, issued, withdrawn = row
    return Standing(
        int(revision or 0),
        None if issued is None else _time(issued),
        None if withdrawn is None else _time(withdrawn),
    )
