"""Accounts of people, their sessions, and every attempt to sign in."""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from hub.store.database import Connection

ADD = """
    INSERT INTO accounts (name, role, unit, participant, password_hash, person, openid_subject, created_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
    ON CONFLICT DO NOTHING RETURNING true"""
FIND = """
    SELECT name, role, unit, participant, password_hash, person, openid_subject FROM accounts
    WHERE name = $1 AND disabled_at IS NULL"""
FIND_SUBJECT = "SELECT name FROM accounts WHERE openid_subject = $1 AND disabled_at IS NULL"
LIST = """
    SELECT name, role, unit, participant, person, openid_subject IS NOT NULL AS openid, created_at, disabled_at
    FROM accounts ORDER BY name"""
DISABLE = "UPDATE accounts SET disabled_at = $2 WHERE name = $1 AND disabled_at IS NULL RETURNING true"
END_SESSIONS = "DELETE FROM sessions WHERE account = $1"
OPEN_SESSION = """
    INSERT INTO sessions (token_digest, account, application, created_at, seen_at, expires_at)
    VALUES ($1, $2, $3, $4, $4, $5)"""
# An account that was disabled ends its sessions at once, whatever page they are on.
FIND_SESSION = """
    SELECT s.account, s.application, a.role, a.unit, a.participant, s.seen_at
    FROM sessions s LEFT JOIN accounts a ON a.name = s.account
    WHERE s.token_digest = $1 AND s.expires_at > $2 AND s.seen_at > $3 AND a.disabled_at IS NULL"""
SEE_SESSION = "UPDATE sessions SET seen_at = $2 WHERE token_digest = $1"
CLOSE_SESSION = "DELETE FROM sessions WHERE token_digest = $1"
FORGET_SESSIONS = "DELETE FROM sessions WHERE expires_at < $1"
NOTE_ATTEMPT = """
    INSERT INTO attempts (at, door, outcome, subject, address, account) VALUES ($1, $2, $3, $4, $5, $6)"""
COUNT_FAILED = """
    SELECT (SELECT count(*) FROM attempts
            WHERE outcome = 'failed' AND door = $1 AND address = $2 AND at > $4) AS of_address,
        (SELECT count(*) FROM attempts
            WHERE outcome = 'failed' AND door = $1 AND subject = $3 AND at > $4) AS of_subject"""


class Account(NamedTuple):
    """Who may sign in: one role, and the unit or participant that it is narrowed to.

    `person` is given where somebody has several accounts: the name by which all of them are one person's.
    `openid_subject` is whom the OpenID provider calls so, if the account is for signing in there.
    """

    name: str
    role: str
    unit: str | None
    participant: str | None
    password_hash: str
    person: str | None = None
    openid_subject: str | None = None


class Session(NamedTuple):
    """Who is there: an account with its role, or an applicant with one application."""

    account: str | None
    application: str | None
    role: str | None
    unit: str | None
    participant: str | None
    seen_at: datetime


class Failures(NamedTuple):
    """How many attempts failed lately, from one address and on one name or number."""

    of_address: int
    of_subject: int


async def add(connection: "Connection", account: Account, now: datetime) -> bool:
    """Add an account; return False, and change nothing, if its name or its subject is taken."""
    return bool(await connection.fetchval(ADD, *account, now))


async def find(connection: "Connection", name: str) -> Account | None:
    """Return the account of this name that may sign in."""
    row = await connection.fetchrow(FIND, name)
    return None if row is None else Account(*row)


async def find_subject(connection: "Connection", subject: str) -> str | None:
    """Return the name of the account that a provider's subject may use."""
    name: str | None = await connection.fetchval(FIND_SUBJECT, subject)
    return name


async def list_all(connection: "Connection") -> list[dict[str, Any]]:
    """Return every account that ever was, without its password's hash."""
    return [dict(row) for row in await connection.fetch(LIST)]


async def disable(connection: "Connection", name: str, now: datetime) -> bool:
    """Keep an account from signing in and end its sessions; return False if there is none that may."""
    async with connection.transaction():
        disabled = bool(await connection.fetchval(DISABLE, name, now))
        await connection.execute(END_SESSIONS, name)
    return disabled


async def open_session(
    connection: "Connection",
    digest: bytes,
    account: str | None,
    application: str | None,
    span: tuple[datetime, datetime],
) -> None:
    """Keep a session by its token's SHA-256; `span` is from when until when it lives."""
    await connection.execute(OPEN_SESSION, digest, account, application, *span)


async def find_session(connection: "Connection", digest: bytes, now: datetime, seen_since: datetime) -> Session | None:
    """Return the session of a token, unless it is over or has not been used since `seen_since`."""
    row = await connection.fetchrow(FIND_SESSION, digest, now, seen_since)
    return None if row is None else Session(*row)


async def see_session(connection: "Connection", digest: bytes, now: datetime) -> None:
    """Note that a session was used."""
    await connection.execute(SEE_SESSION, digest, now)


async def close_session(connection: "Connection", digest: bytes) -> None:
    """End a session."""
    await connection.execute(CLOSE_SESSION, digest)


async def forget_sessions(connection: "Connection", now: datetime) -> None:
    """Forget the sessions that are over."""
    await connection.execute(FORGET_SESSIONS, now)


async def note_attempt(connection: "Connection", attempt: Mapping[str, Any]) -> None:
    """Keep an attempt, with its members `at`, `door`, `outcome`, `subject`, `address` and `account`."""
    members = ("at", "door", "outcome", "subject", "address", "account")
    await connection.execute(NOTE_ATTEMPT, *(attempt[name] for name in members))


async def count_failed(
    connection: "Connection", door: str, address: str, subject: bytes, since: datetime
) -> Failures:  # fmt: skip
    """Return how many attempts at a door failed since then."""
    row = await connection.fetchrow(COUNT_FAILED, door, address, subject, since)
    return Failures(0, 0) if row is None else Failures(row["of_address"], row["of_subject"])
