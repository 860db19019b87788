"""How a file beside the spool, and the spool itself, lose what an order of erasure names."""

import json
import sqlite3
from typing import Final

from connectors.link.fault import PassingFault
from contracts.erasure import Erasure

_DUE = "settled_at IS NOT NULL AND NOT (state = 'refused' AND code = 'key_revoked')"
_GONE = "value = NULL, jws = NULL, jws_proof = NULL, content_sha256 = ?"
# What would be signed anew under another key is no more settled than what waits.
ERASE_DOOMED: Final = f"UPDATE fact SET {_GONE}, doomed = 0 WHERE doomed = 1 AND {_DUE}"  # noqa: S608  # Constants.
_DOOM = """
    UPDATE fact SET doomed = 1 WHERE subject IN (SELECT value FROM json_each(?))
        OR event_id IN (SELECT value FROM json_each(?))"""
_ERASE_ASIDE = "UPDATE aside SET detail = '' WHERE detail <> '' AND subject IN (SELECT value FROM json_each(?))"


class LogInUse(PassingFault):
    """Somebody reads the file, so that its log cannot be emptied now."""


def empty_log(db: sqlite3.Connection) -> None:
    """Let the write-ahead log hold nothing of what the file held before. Raises LogInUse."""
    if db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
        raise LogInUse("A file beside the spool is being read: what was erased stays in its log until that ends.")


def erase_facts(db: sqlite3.Connection, source: str, erasure: Erasure, no_content: bytes) -> int:
    """Erase, within a transaction, what an order names of the spool; return how many contents went now."""
    cases = json.dumps(sorted(erasure.cases))
    db.execute(_DOOM, (cases, json.dumps(sorted(name for author, name in erasure.messages if author == source))))
    db.execute(_ERASE_ASIDE, (cases,))
    return db.execute(ERASE_DOOMED, (no_content,)).rowcount
