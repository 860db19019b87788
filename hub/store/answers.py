"""What was answered to a request that changed something, by the caller's own key for it."""

from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from hub.store.database import Connection

# A second request with the key waits here until the first has ended.
CLAIM = """
    INSERT INTO answers (caller, key, fingerprint, expires_at) VALUES ($1, $2, $3, $4)
    ON CONFLICT (caller, key) DO UPDATE
        SET fingerprint = EXCLUDED.fingerprint, expires_at = EXCLUDED.expires_at, status = NULL, body = NULL
        WHERE answers.expires_at <= $5
    RETURNING true"""
READ = "SELECT fingerprint, status, body FROM answers WHERE caller = $1 AND key = $2"
KEEP = "UPDATE answers SET status = $3, body = $4 WHERE caller = $1 AND key = $2"
FORGET = "DELETE FROM answers WHERE expires_at <= $1"


class Kept(NamedTuple):
    """The request that a key was used for, by its digest, and what was answered."""

    fingerprint: bytes
    status: int
    body: str


async def claim(
    connection: "Connection", caller: str, key: str, fingerprint: bytes, span: tuple[datetime, datetime]
) -> Kept | None:
    """Take a key for the request in hand, in its transaction; return what was answered if it is taken already.

    `span`: now, and until when the answer is kept.
    """
    now, expires_at = span
    if await connection.fetchval(CLAIM, caller, key, fingerprint, expires_at, now):
        return None
    return Kept(*await connection.fetchrow(READ, caller, key))  # type: ignore[misc]


async def keep(connection: "Connection", caller: str, key: str, status: int, body: str) -> None:
    """Keep what is answered to the request that took the key."""
    await connection.execute(KEEP, caller, key, status, body)


async def forget_expired(connection: "Connection", now: datetime) -> None:
    """Forget the answers that need not be given again."""
    await connection.execute(FORGET, now)
