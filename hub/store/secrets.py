"""The secret that the API's processes share: it marks what they give out as theirs."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hub.store.database import Connection

READ = "SELECT secret FROM api_secret"


async def read(connection: "Connection") -> bytes:
    """Return the secret, 32 bytes that the migration drew."""
    secret: bytes = await connection.fetchval(READ)
    return secret
