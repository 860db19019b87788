"""The signed registry, the rule sets and the contracts in force, and their leaves in the evidence log."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from hub.store.database import Connection

# One statement, which sees one moment: what is in force never stands beside suspensions of another time.
READ_IN_FORCE = """
    SELECT l.registry_version, l.suspensions, r.version, r.document,
        ARRAY(SELECT act FROM suspensions ORDER BY log_index) AS acts
    FROM log l LEFT JOIN LATERAL (SELECT version, document FROM registry ORDER BY version DESC LIMIT 1) r ON true"""
READ_STAND = "SELECT registry_version, suspensions FROM log"
READ_RULE_SETS = "SELECT id, version, sha256, document FROM rule_sets ORDER BY id, version"
READ_CONTRACTS = "SELECT type, sha256 FROM contracts"
# The last lock of every transaction: with it held, no message gets an index on the wrong side of this change.
LOCK_LOG = "SELECT origin, next_index, registry_version FROM log WHERE id = 1 FOR UPDATE"
ADVANCE_LOG = "UPDATE log SET origin = $1, next_index = $2, registry_version = $3 WHERE id = 1"
ADD_LEAVES = "INSERT INTO leaves (log_index, entry) SELECT * FROM unnest($1::bigint[], $2::bytea[])"
ADD_REGISTRY = "INSERT INTO registry (version, document, log_index, applied_at) VALUES ($1, $2, $3, $4)"
ADD_SUSPENSION = "INSERT INTO suspensions (sha256, act, log_index, applied_at) VALUES ($1, $2, $3, $4)"
COUNT_SUSPENSION = "UPDATE log SET suspensions = suspensions + 1 WHERE id = 1"
ADD_RULE_SET = "INSERT INTO rule_sets (id, version, sha256, document, log_index) VALUES ($1, $2, $3, $4, $5)"
ADD_CONTRACT = "INSERT INTO contracts (type, sha256, log_index) VALUES ($1, $2, $3)"


class Stand(NamedTuple):
    """What was decided of keys until now: the registry's version, and how many suspensions were ever taken."""

    version: int
    suspensions: int


class Stored(NamedTuple):
    """The newest registry and every suspension as they are stored, beside the stand that the log notes."""

    stand: Stand
    version: int
    document: str
    suspensions: tuple[str, ...]


class LogHead(NamedTuple):
    """The one row of the log, as its lock showed it."""

    origin: str
    next_index: int
    registry_version: int


class RuleSetRow(NamedTuple):
    """One rule set as it was registered; `document` is its TOML text."""

    id: str
    version: int
    sha256: str
    document: str


async def read_in_force(connection: "Connection") -> Stored | None:
    """Return what is stored as in force, of one moment and unverified, or None before the first registry."""
    row = await connection.fetchrow(READ_IN_FORCE)
    if row is None or row["document"] is None:
        return None
    stand = Stand(row["registry_version"], row["suspensions"])
    return Stored(stand, row["version"], row["document"], tuple(row["acts"]))


async def read_stand(connection: "Connection") -> Stand:
    """Return what is in force now, by number; version 0 before the first."""
    row = await connection.fetchrow(READ_STAND)
    return Stand(0, 0) if row is None else Stand(row["registry_version"], row["suspensions"])


async def read_rule_sets(connection: "Connection") -> list[RuleSetRow]:
    """Return every rule set that was ever registered."""
    return [RuleSetRow(*row) for row in await connection.fetch(READ_RULE_SETS)]


async def read_contracts(connection: "Connection") -> set[tuple[str, str]]:
    """Return every contract that was ever registered, as (type, SHA-256 in hex)."""
    return {(row["type"], row["sha256"]) for row in await connection.fetch(READ_CONTRACTS)}


async def lock_log(connection: "Connection") -> LogHead:
    """Take the lock of the log for the rest of the transaction."""
    row = await connection.fetchrow(LOCK_LOG)
    if row is None:
        raise RuntimeError("The log has no row: the schema is damaged.")
    return LogHead(*row)


async def append_leaves(connection: "Connection", head: LogHead, entries: Sequence[bytes], version: int) -> None:
    """Add `entries` from `head.next_index` on and set the registry version. The log must be locked."""
    indices = range(head.next_index, head.next_index + len(entries))
    await connection.execute(ADD_LEAVES, list(indices), list(entries))
    await connection.execute(ADVANCE_LOG, head.origin, indices.stop, version)


async def add_registry(
    connection: "Connection", version: int, document: str, log_index: int, applied_at: datetime
) -> None:
    """Put a registry version in force."""
    await connection.execute(ADD_REGISTRY, version, document, log_index, applied_at)


async def add_suspension(connection: "Connection", sha256: str, act: str, log_index: int, applied_at: datetime) -> None:
    """Put a suspension in force."""
    await connection.execute(ADD_SUSPENSION, sha256, act, log_index, applied_at)
    await connection.execute(COUNT_SUSPENSION)


async def add_rule_set(connection: "Connection", rule_set: RuleSetRow, log_index: int) -> None:
    """Register a rule set under its leaf."""
    await connection.execute(ADD_RULE_SET, *rule_set, log_index)


async def add_contract(connection: "Connection", event_type: str, sha256: str, log_index: int) -> None:
    """Register a contract under its leaf."""
    await connection.execute(ADD_CONTRACT, event_type, sha256, log_index)
