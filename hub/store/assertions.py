"""Client assertions that were seen, so that each is good for one request."""

from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hub.store.database import Connection

SPEND = "INSERT INTO assertions (jti, expires_at) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING true"
FORGET = "DELETE FROM assertions WHERE expires_at < $1"


async def spend(connection: "Connection", jti: str, expires_at: datetime) -> bool:
    """Mark `jti` as used until `expires_at`; return False if it was used before."""
    return bool(await connection.fetchval(SPEND, jti, expires_at))


async def forget_expired(connection: "Connection", now: datetime) -> None:
    """Forget the assertions that their own expiry refuses by now."""
    await connection.execute(FORGET, now)
