"""Machines that have a secret, and the access tokens of all machines."""

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from hub.store.database import Connection

ADD = """
    INSERT INTO clients (id, role, unit, participant, scopes, secret_digest, created_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING RETURNING true"""
FIND = """
    SELECT id, role, unit, participant, scopes, secret_digest FROM clients WHERE id = $1 AND disabled_at IS NULL"""
LIST = "SELECT id, role, unit, participant, scopes, created_at, disabled_at FROM clients ORDER BY id"
DISABLE = "UPDATE clients SET disabled_at = $2 WHERE id = $1 AND disabled_at IS NULL RETURNING true"
KEEP_GRANT = """
    INSERT INTO access_tokens (token_digest, client, kid, scopes, expires_at) VALUES ($1, $2, $3, $4, $5)"""
FIND_GRANT = "SELECT client, kid, scopes FROM access_tokens WHERE token_digest = $1 AND expires_at > $2"
FORGET_GRANTS = "DELETE FROM access_tokens WHERE expires_at <= $1"


class Client(NamedTuple):
    """A machine with a secret: a role, narrowed to a unit or a participant, and what it may ask."""

    id: str
    role: str
    unit: str | None
    participant: str | None
    scopes: list[str]
    secret_digest: bytes


class Token(NamedTuple):
    """An access token: a client's, or that of the participant which owns the key `kid`."""

    client: str | None
    kid: str | None
    scopes: list[str]


async def add(connection: "Connection", client: Client, now: datetime) -> bool:
    """Add a client; return False, and change nothing, if its id is taken."""
    return bool(await connection.fetchval(ADD, *client, now))


async def find(connection: "Connection", identity: str) -> Client | None:
    """Return the client of this id, unless it is disabled."""
    row = await connection.fetchrow(FIND, identity)
    return None if row is None else Client(*row)


async def list_all(connection: "Connection") -> list[dict[str, Any]]:
    """Return every client that ever was, without its secret's digest."""
    return [dict(row) for row in await connection.fetch(LIST)]


async def disable(connection: "Connection", identity: str, now: datetime) -> bool:
    """Keep a client out, with the tokens that it has; return False if there is none that may come in."""
    return bool(await connection.fetchval(DISABLE, identity, now))


async def add_token(
    connection: "Connection",
    digest: bytes,
    owner: tuple[str | None, str | None],
    scopes: Iterable[str],
    expires_at: datetime,
) -> None:
    """Keep an access token by its SHA-256; `owner` is a client or a kid."""
    await connection.execute(KEEP_GRANT, digest, *owner, sorted(scopes), expires_at)


async def find_token(connection: "Connection", digest: bytes, now: datetime) -> Token | None:
    """Return what an access token stands for, unless it is over."""
    row = await connection.fetchrow(FIND_GRANT, digest, now)
    return None if row is None else Token(*row)


async def forget_expired(connection: "Connection", now: datetime) -> None:
    """Forget the tokens that are over."""
    await connection.execute(FORGET_GRANTS, now)
