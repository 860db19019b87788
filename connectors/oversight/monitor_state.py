"""The monitor's memory, in one SQLite file: how far it followed the log, what it saw there, what was shown, alarms."""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

from connectors.oversight.alarm import Alarm
from connectors.oversight.memory import transaction
from contracts.log.tile import Edge

BUSY_TIMEOUT_S = 10.0

SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS entries (
    idx INTEGER PRIMARY KEY, leaf BLOB NOT NULL, kind TEXT NOT NULL, source TEXT, shown INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS entries_by_source ON entries (source, idx) WHERE kind = 'accepted';
CREATE INDEX IF NOT EXISTS entries_to_show ON entries (idx) WHERE kind = 'accepted' AND shown = 0;
CREATE INDEX IF NOT EXISTS entries_refused ON entries (source) WHERE kind = 'refused';
CREATE TABLE IF NOT EXISTS sizes (size INTEGER PRIMARY KEY, seen_at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS known (idx INTEGER PRIMARY KEY, key TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS bills (code TEXT PRIMARY KEY, subject TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS subjects (subject TEXT PRIMARY KEY, size INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS included (subject TEXT, idx INTEGER, PRIMARY KEY (subject, idx)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS messages (digest BLOB PRIMARY KEY, idx INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS revisions (
    number TEXT PRIMARY KEY, revision INTEGER NOT NULL, state TEXT NOT NULL, idx INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS registries (
    version INTEGER PRIMARY KEY, idx INTEGER NOT NULL, sha256 TEXT NOT NULL, document TEXT, seen_at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS keys (kid TEXT PRIMARY KEY, added INTEGER NOT NULL, revoked INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS suspended (kid TEXT PRIMARY KEY, since INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS key_entries (idx INTEGER PRIMARY KEY, entry BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS waiting (idx INTEGER PRIMARY KEY, name TEXT NOT NULL, seen_at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS payments (
    source TEXT, id TEXT, number TEXT NOT NULL, idx INTEGER NOT NULL, PRIMARY KEY (source, id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sequences (
    source TEXT, sequence INTEGER, PRIMARY KEY (source, sequence)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS refused_numbers (
    source TEXT, sequence INTEGER, participant TEXT, PRIMARY KEY (source, sequence, participant)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS day_counts (
    source TEXT, day TEXT, first_index INTEGER NOT NULL, log_size INTEGER NOT NULL, accepted INTEGER NOT NULL,
    refused INTEGER NOT NULL, sha256 TEXT NOT NULL, idx INTEGER NOT NULL, PRIMARY KEY (source, day)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tops (
    source TEXT, top INTEGER, seen_at REAL NOT NULL, judged INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (source, top)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS packs (name TEXT PRIMARY KEY, sha256 TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS alarms (
    number INTEGER PRIMARY KEY, code TEXT NOT NULL, subject TEXT NOT NULL, detail TEXT NOT NULL, at TEXT NOT NULL,
    evidence TEXT NOT NULL, UNIQUE (code, subject));
CREATE TABLE IF NOT EXISTS acknowledgements (
    number INTEGER PRIMARY KEY REFERENCES alarms (number), at TEXT NOT NULL, by TEXT NOT NULL, reason TEXT NOT NULL);
"""
#: The numbers of a source up to a top that were shown, or that a refusal in the log names.
NUMBERS = """
    SELECT sequence FROM sequences WHERE source = :source AND sequence <= :top
    UNION SELECT sequence FROM refused_numbers
        WHERE source = :source AND sequence <= :top AND participant = :participant"""
COUNT_NUMBERS = f"SELECT count(*) FROM ({NUMBERS})"  # noqa: S608  # A constant.
FIND_GAPS = f"""
    SELECT before + 1, sequence - 1 FROM (
        SELECT sequence, lag(sequence, 1, 0) OVER (ORDER BY sequence) AS before FROM ({NUMBERS}))
    WHERE sequence > before + 1 ORDER BY sequence DESC LIMIT :limit"""  # noqa: S608  # A constant.


class Followed(NamedTuple):
    """How far the log was followed: its size, the tree's right edge, and the checkpoint that said so last."""

    size: int
    edge: Edge
    note: str


class KeptAlarm(NamedTuple):
    """An alarm as it is kept: its number, when it was raised, and who looked into it (at, by, reason), if anybody."""

    number: int
    alarm: Alarm
    at: str
    acknowledged: dict[str, str] | None

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return {"number": self.number, "at": self.at, "acknowledged": self.acknowledged} | self.alarm.to_json()


class MonitorState:
    """The memory. It is written in whole transactions, so that an end at any moment leaves one moment of the log."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.executescript(SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def transaction(self) -> AbstractContextManager[None]:
        """Write everything or nothing."""
        return transaction(self._connection)

    def _rows(self, query: str, *parameters: Any) -> list[Any]:
        named = parameters[0] if parameters and isinstance(parameters[0], dict) else parameters
        return self._connection.execute(query, named).fetchall()

    def _run(self, statement: str, *parameters: Any) -> int:
        return self._connection.execute(statement, parameters).rowcount

    def _run_all(self, statement: str, parameters: Iterable[tuple[Any, ...]]) -> None:
        self._connection.executemany(statement, parameters)

    def recall(self, name: str) -> str | None:
        """Return what was noted under a name."""
        found = self._rows("SELECT value FROM meta WHERE name = ?", name)
        return str(found[0][0]) if found else None

    def note(self, name: str, value: str) -> None:
        """Note something under a name."""
        self._run("INSERT INTO meta VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", name, value)

    def forget(self, name: str) -> None:
        """Forget what was noted under a name."""
        self._run("DELETE FROM meta WHERE name = ?", name)

    def followed(self) -> Followed:
        """Return how far the log was followed."""
        stored = json.loads(self.recall("followed") or '{"size":0,"edge":[],"note":""}')
        edge = Edge([[bytes.fromhex(digest) for digest in level] for level in stored["edge"]])
        return Followed(stored["size"], edge, stored["note"])

    def follow(self, followed: Followed) -> None:
        """Note how far the log was followed."""
        edge = [[digest.hex() for digest in level] for level in followed.edge.levels]
        self.note("followed", json.dumps({"size": followed.size, "edge": edge, "note": followed.note}))

    def keep_entries(self, entries: Iterable[tuple[int, bytes, str, str | None]]) -> None:
        """Keep (index, leaf hash, kind, whose it is) of each entry: a source, or of a refusal the participant."""
        self._run_all("INSERT INTO entries (idx, leaf, kind, source) VALUES (?, ?, ?, ?)", entries)

    def leaves(self, size: int) -> Iterator[bytes]:
        """Give the leaf hashes of the first `size` entries, in order."""
        for row in self._connection.execute("SELECT leaf FROM entries WHERE idx < ? ORDER BY idx", (size,)):
            yield bytes(row[0])

    def leaf_at(self, index: int) -> bytes | None:
        """Return the leaf hash that the log showed at an index."""
        found = self._rows("SELECT leaf FROM entries WHERE idx = ?", index)
        return bytes(found[0][0]) if found else None

    def count_kinds(self, start: int) -> dict[str, int]:
        """Return how many entries of each kind, of a message with its source, the log had from an index on."""
        query = "SELECT trim(kind || ' ' || coalesce(source, '')), count(*) FROM entries WHERE idx >= ? GROUP BY 1"
        return dict(self._rows(query, start))

    def keep_message(self, digest: bytes, index: int) -> int | None:
        """Keep a message's identity; return where the log had it before, if it had."""
        if self._run("INSERT INTO messages VALUES (?, ?) ON CONFLICT DO NOTHING", digest, index):
            return None
        return int(self._rows("SELECT idx FROM messages WHERE digest = ?", digest)[0][0])

    def count_accepted(self, source: str, first: int, size: int) -> int:
        """Return how many messages of a source the log holds from an index on, up to a size."""
        query = "SELECT count(*) FROM entries WHERE kind = 'accepted' AND source = ? AND idx >= ? AND idx < ?"
        return int(self._rows(query, source, first, size)[0][0])

    def keep_refused_number(self, source: str, sequence: int, participant: str) -> None:
        """Note that a refusal names the number that its author used for it."""
        self._run("INSERT OR IGNORE INTO refused_numbers VALUES (?, ?, ?)", source, sequence, participant)

    def last_count(self, source: str) -> tuple[str, int] | None:
        """Return the last day that the hub counted of a source, and the log index up to which."""
        query = "SELECT day, log_size FROM day_counts WHERE source = ? ORDER BY day DESC LIMIT 1"
        found = self._rows(query, source)
        return (found[0][0], found[0][1]) if found else None

    def keep_count(self, index: int, said: Mapping[str, Any]) -> None:
        """Keep what the hub counted of a source's day; the first word counts."""
        members = ("source", "day", "first_index", "log_size", "accepted", "refused", "sha256")
        values = [said[name] for name in members]
        self._run("INSERT OR IGNORE INTO day_counts VALUES (?, ?, ?, ?, ?, ?, ?, ?)", *values, index)

    def count_of(self, source: str, day: str) -> dict[str, Any] | None:
        """Return what the hub counted of a source's day."""
        query = (
            "SELECT first_index, log_size, accepted, refused, sha256, idx FROM day_counts WHERE source = ? AND day = ?"
        )
        found = self._rows(query, source, day)
        names = ("first_index", "log_size", "accepted", "refused", "sha256", "entry")
        return dict(zip(names, found[0], strict=True)) if found else None

    def counted_days(self) -> dict[str, str]:
        """Return the last day that was counted of each source."""
        return dict(self._rows("SELECT source, max(day) FROM day_counts GROUP BY source"))

    def keys(self) -> dict[str, int | None]:
        """Return every key that the log added, with where it was revoked."""
        return dict(self._rows("SELECT kid, revoked FROM keys"))

    def suspended(self) -> dict[str, int]:
        """Return every key that is suspended now, with where that stands."""
        return dict(self._rows("SELECT kid, since FROM suspended"))

    def keep_key(self, kind: str, kid: str, index: int, entry: bytes) -> None:
        """Keep an entry that changes what a key is good for, or a root document's; of each kind the first counts."""
        match kind:
            case "key_added":
                self._run("INSERT INTO keys VALUES (?, ?, NULL) ON CONFLICT DO NOTHING", kid, index)
            case "key_revoked":
                self._run("UPDATE keys SET revoked = ? WHERE kid = ? AND revoked IS NULL", index, kid)
            case "key_suspended":
                self._run("INSERT INTO suspended VALUES (?, ?) ON CONFLICT DO NOTHING", kid, index)
            case "suspension_lifted":
                self._run("DELETE FROM suspended WHERE kid = ?", kid)
        self._run("INSERT INTO key_entries VALUES (?, ?)", index, entry)

    def key_entries(self, version: int) -> set[bytes]:
        """Return the entries of keys behind a registry version and before the next one."""
        query = """
            SELECT entry FROM key_entries WHERE idx > (SELECT idx FROM registries WHERE version = :version)
            AND idx < coalesce((SELECT min(idx) FROM registries WHERE version > :version), 9223372036854775807)"""
        return {bytes(row[0]) for row in self._connection.execute(query, {"version": version})}

    def revision_of(self, number: str) -> tuple[int, str]:
        """Return the last revision of a recommendation and its state; before the first it is 0, withdrawn."""
        found = self._rows("SELECT revision, state FROM revisions WHERE number = ?", number)
        return (found[0][0], found[0][1]) if found else (0, "withdrawn")

    def keep_revision(self, number: str, revision: int, state: str, index: int, seen_at: float) -> None:
        """Keep a recommendation, whose foundation is waited for from now on."""
        self._run("INSERT OR REPLACE INTO revisions VALUES (?, ?, ?, ?)", number, revision, state, index)
        self._run("INSERT INTO waiting VALUES (?, ?, ?)", index, f"{number} revision {revision} {state}", seen_at)

    def overdue(self, before: float) -> list[tuple[int, str]]:
        """Return (index, name) of the recommendations seen before a time whose foundation was not shown."""
        return self._rows("SELECT idx, name FROM waiting WHERE seen_at < ? ORDER BY idx", before)

    def last_version(self) -> int:
        """Return the highest version of the registry in the log, 0 before the first."""
        return int(self._rows("SELECT coalesce(max(version), 0) FROM registries")[0][0])

    def keep_registry(self, version: int, index: int, digest: str, seen_at: float) -> None:
        """Keep that a registry version came into force; its document is waited for."""
        self._run("INSERT OR IGNORE INTO registries VALUES (?, ?, ?, NULL, ?)", version, index, digest, seen_at)

    def keep_document(self, index: int, digest: str, document: str) -> int | None:
        """Keep a registry's document if the log names it and it was not known; return its version then."""
        query = "UPDATE registries SET document = ? WHERE idx = ? AND sha256 = ? AND document IS NULL RETURNING version"
        found = self._rows(query, document, index, digest)
        return int(found[0][0]) if found else None

    def document(self, version: int) -> str | None:
        """Return the document of a registry version, if it was shown."""
        found = self._rows("SELECT document FROM registries WHERE version = ?", version)
        return found[0][0] if found else None

    def newest_document(self) -> str | None:
        """Return the newest registry document that was shown."""
        query = "SELECT document FROM registries WHERE document IS NOT NULL ORDER BY version DESC LIMIT 1"
        found = self._rows(query)
        return found[0][0] if found else None

    def overdue_registries(self, before: float) -> list[tuple[int, int]]:
        """Return (index, version) of the registry versions seen before a time whose document was not shown."""
        query = "SELECT idx, version FROM registries WHERE document IS NULL AND seen_at < ? ORDER BY idx"
        return self._rows(query, before)

    def knows_pack(self, name: str, digest: str) -> bool:
        """Whether this very pack was read."""
        return bool(self._rows("SELECT 1 FROM packs WHERE name = ? AND sha256 = ?", name, digest))

    def keep_pack(self, name: str, digest: str) -> None:
        """Note that a pack was read."""
        self._run("INSERT OR REPLACE INTO packs VALUES (?, ?)", name, digest)

    def count_packs(self) -> int:
        """Return how many packs were read."""
        return int(self._rows("SELECT count(*) FROM packs")[0][0])

    def show(self, indices: Iterable[int], sequences: Iterable[tuple[str, int]]) -> None:
        """Note that the originals at these indices were shown, and the sequences of their sources."""
        self._run_all("UPDATE entries SET shown = 1 WHERE idx = ?", ((index,) for index in indices))
        self._run_all("INSERT INTO sequences VALUES (?, ?) ON CONFLICT DO NOTHING", sequences)

    def show_recommendation(self, index: int) -> None:
        """Note that a recommendation's foundation was shown."""
        self._run("DELETE FROM waiting WHERE idx = ?", index)

    def claim_payment(self, payment: tuple[str, str], number: str, index: int) -> tuple[str, int]:
        """Note that a recommendation rests on a payment; return the first one that did, by number and index."""
        self._run("INSERT OR IGNORE INTO payments VALUES (?, ?, ?, ?)", *payment, number, index)
        found: tuple[str, int] = self._rows("SELECT number, idx FROM payments WHERE source = ? AND id = ?", *payment)[0]
        return found

    def sources_shown(self) -> set[str]:
        """Return the sources of which every accepted message was shown."""
        query = "SELECT source FROM entries WHERE kind = 'accepted' GROUP BY source HAVING sum(shown) = count(*)"
        return {row[0] for row in self._rows(query)}

    def keep_tops(self, seen_at: float) -> None:
        """Note the highest sequence that was shown of each source, and when."""
        query = "INSERT OR IGNORE INTO tops (source, top, seen_at) SELECT source, max(sequence), ? FROM sequences"
        self._run(f"{query} GROUP BY source", seen_at)

    def has_tops(self, before: float) -> bool:
        """Whether a highest sequence that was seen before a time waits to be judged."""
        return bool(self._rows("SELECT 1 FROM tops WHERE NOT judged AND seen_at <= ? LIMIT 1", before))

    def tops(self, before: float) -> dict[str, int]:
        """Return the highest sequence of each source as of a time."""
        return dict(self._rows("SELECT source, max(top) FROM tops WHERE seen_at <= ? GROUP BY source", before))

    def judge_top(self, source: str, top: int) -> None:
        """Note that a source's sequence was judged up to here; what was noted below is not needed any more."""
        self._run("DELETE FROM tops WHERE source = ? AND top < ?", source, top)
        self._run("UPDATE tops SET judged = 1 WHERE source = ? AND top = ?", source, top)

    def count_missing(self, source: str, top: int, owner: str | None) -> int:
        """Return how many numbers up to `top` were neither shown of a source nor named by a refusal."""
        named = {"source": source, "top": top, "participant": owner}
        return top - int(self._rows(COUNT_NUMBERS, named)[0][0])

    def gaps(self, source: str, top: int, owner: str | None, limit: int) -> list[tuple[int, int]]:
        """Return (first, last) of the newest gaps up to `top` in a source's sequence, the newest first."""
        return self._rows(FIND_GAPS, {"source": source, "top": top, "participant": owner, "limit": limit})

    def count_refused(self, participant: str) -> int:
        """Return how many refusals of a participant's messages the log holds."""
        return int(self._rows("SELECT count(*) FROM entries WHERE kind = 'refused' AND source = ?", participant)[0][0])

    def keep_size(self, size: int, seen_at: float) -> None:
        """Note when the log was seen to be so large."""
        self._run("INSERT OR IGNORE INTO sizes VALUES (?, ?)", size, seen_at)

    def not_shown(self, before: float) -> list[tuple[str, int, int]]:
        """Return (source, how many, first index) of the accepted messages seen before a time and never shown."""
        query = """
            SELECT source, count(*), min(idx) FROM entries WHERE kind = 'accepted' AND shown = 0
            AND idx < (SELECT coalesce(max(size), 0) FROM sizes WHERE seen_at < ?) GROUP BY source"""
        return self._rows(query, before)

    def include(self, subject: str, size: int, indices: Iterable[int]) -> None:
        """Note what the newest pack of a subject holds, under a log of `size`."""
        known = self._rows("SELECT size FROM subjects WHERE subject = ?", subject)
        if known and known[0][0] > size:
            return
        self._run("INSERT OR REPLACE INTO subjects VALUES (?, ?)", subject, size)
        self._run("DELETE FROM included WHERE subject = ?", subject)
        self._run_all("INSERT OR IGNORE INTO included VALUES (?, ?)", ((subject, index) for index in indices))

    def know(self, index: int, key: str, billed: str | None) -> None:
        """Note whose a message is: a case's or a billing code's; a bill (`billed`) gives its code to its case."""
        self._run("INSERT OR IGNORE INTO known VALUES (?, ?)", index, key)
        if billed is not None:
            self._run("INSERT OR REPLACE INTO bills VALUES (?, ?)", billed, key)

    def left_out(self) -> list[tuple[int, str]]:
        """Return (index, subject) of each message that the newest pack of its subject ought to hold and does not."""
        query = """
            SELECT k.idx, s.subject FROM known k LEFT JOIN bills b ON b.code = k.key
            JOIN subjects s ON s.subject = coalesce(b.subject, k.key)
            WHERE k.idx < s.size AND NOT EXISTS (
                SELECT 1 FROM included i WHERE i.subject = s.subject AND i.idx = k.idx) ORDER BY k.idx"""
        return self._rows(query)

    def raise_alarm(self, alarm: Alarm, at: str) -> bool:
        """Keep an alarm with its evidence; whether it is new."""
        return bool(
            self._run(
                "INSERT OR IGNORE INTO alarms (code, subject, detail, at, evidence) VALUES (?, ?, ?, ?, ?)",
                str(alarm.code),
                alarm.subject,
                alarm.detail,
                at,
                json.dumps(alarm.evidence, ensure_ascii=False),
            )
        )

    def alarms(self) -> list[Alarm]:
        """Return every alarm there ever was."""
        return [kept.alarm for kept in self.kept_alarms()]

    def kept_alarms(self) -> list[KeptAlarm]:
        """Return every alarm there ever was, by its number, and who acknowledged it."""
        rows = self._rows(
            "SELECT number, code, subject, detail, evidence, alarms.at, a.at, by, reason"
            " FROM alarms LEFT JOIN acknowledgements a USING (number) ORDER BY number"
        )
        return [
            KeptAlarm(
                row[0], Alarm(row[1], row[2], row[3], json.loads(row[4])), row[5],
                None if row[6] is None else {"at": row[6], "by": row[7], "reason": row[8]},
            )
            for row in rows
        ]  # fmt: skip

    def count_unacknowledged(self) -> int:
        """Return how many alarms nobody has acknowledged."""
        query = "SELECT count(*) FROM alarms WHERE number NOT IN (SELECT number FROM acknowledgements)"
        return int(self._rows(query)[0][0])

    def acknowledge(self, number: int, at: str, by: str, reason: str) -> bool:
        """Note who has looked into an alarm; False if there is none of this number, or if it was acknowledged."""
        query = (
            "INSERT INTO acknowledgements SELECT number, ?, ?, ? FROM alarms WHERE number = ? ON CONFLICT DO NOTHING"
        )
        return bool(self._run(query, at, by, reason, number))
