"""The spool's tables, and what a spool of an earlier version lacks of them."""

import sqlite3

from connectors.link import spool_correction

SCHEMA = """
CREATE TABLE IF NOT EXISTS identity (
    one INTEGER PRIMARY KEY CHECK (one = 1), format TEXT NOT NULL, source TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS fact (
    sequence INTEGER PRIMARY KEY CHECK (sequence > 0),
    event_id TEXT NOT NULL UNIQUE,
    native_key TEXT NOT NULL,
    content_sha256 BLOB NOT NULL,
    type TEXT NOT NULL,
    subject TEXT NOT NULL,
    sha256 BLOB NOT NULL,
    value BLOB,
    jws TEXT,
    jws_proof TEXT,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'signed', 'sent', 'accepted', 'refused')),
    put_at REAL NOT NULL,
    sent_at REAL,
    settled_at REAL,
    code TEXT,
    log_index INTEGER,
    first_sent_at REAL,
    doomed INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS fact_unsettled ON fact (state, sequence) WHERE state IN ('waiting', 'signed', 'sent');
CREATE INDEX IF NOT EXISTS fact_refused ON fact (sequence) WHERE state = 'refused';
CREATE INDEX IF NOT EXISTS fact_erasable ON fact (settled_at) WHERE value IS NOT NULL AND settled_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS fact_logged ON fact (log_index) WHERE state = 'accepted';
CREATE INDEX IF NOT EXISTS fact_unsettled_digest ON fact (sha256) WHERE state IN ('waiting', 'signed', 'sent');
CREATE TABLE IF NOT EXISTS refusal (sequence INTEGER PRIMARY KEY, code TEXT NOT NULL, log_index INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS refusal_logged ON refusal (log_index);
CREATE TABLE IF NOT EXISTS aside (
    number INTEGER PRIMARY KEY, native_key TEXT NOT NULL, code TEXT NOT NULL, detail TEXT NOT NULL, at REAL NOT NULL,
    reported_at REAL, subject TEXT, UNIQUE (native_key, code));
CREATE TABLE IF NOT EXISTS note (name TEXT PRIMARY KEY, value TEXT NOT NULL, at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS stream (
    topic TEXT NOT NULL, partition INTEGER NOT NULL, seq INTEGER NOT NULL, next_offset INTEGER NOT NULL,
    PRIMARY KEY (topic, partition));
"""


def prepare(db: sqlite3.Connection) -> None:
    """Make the tables that are missing, and bring those of an earlier version to this one."""
    db.executescript(SCHEMA + spool_correction.SCHEMA)
    if not _has_column(db, "aside", "subject"):
        # A spool from before things set aside said what they are about.
        db.execute("ALTER TABLE aside ADD COLUMN subject TEXT")
    if not _has_column(db, "fact", "first_sent_at"):
        # A spool from before receipts were waited for from the first send on, and refusals were counted by day.
        db.execute("ALTER TABLE fact ADD COLUMN first_sent_at REAL")
        db.execute("UPDATE fact SET first_sent_at = sent_at WHERE state = 'sent'")
        db.execute("INSERT OR IGNORE INTO refusal SELECT sequence, code, log_index FROM fact WHERE state = 'refused'")
    if not _has_column(db, "fact", "doomed"):
        # A spool from before orders of erasure reached it.
        db.execute("ALTER TABLE fact ADD COLUMN doomed INTEGER NOT NULL DEFAULT 0")


def _has_column(db: sqlite3.Connection, table: str, column: str) -> bool:
    query = "SELECT 1 FROM pragma_table_info(?) WHERE name = ?"
    return db.execute(query, (table, column)).fetchone() is not None
