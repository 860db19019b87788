"""Cursors: where a page of a list ended, written so that nobody but the exchange can make or change one.

A cursor is good for one route and one caller. It is no permission, only a place: what a caller may see is asked anew.
"""

import hashlib
import hmac
from http import HTTPStatus
from typing import NoReturn

from contracts.wire import base64url
from hub.store import secrets
from hub.store.database import Database
from hub.web.problems import refuse

TAG_BYTES = 16
PLACE_BYTES_MAX = 96
#: base64url of place and tag.
CURSOR_CHARACTERS_MAX = (PLACE_BYTES_MAX + TAG_BYTES) * 4 // 3 + 1


def write_cursor(secret: bytes, route: str, caller: str, place: str) -> str:
    """Return the cursor that leads a caller on behind `place` of a route's list."""
    packed = place.encode()
    return base64url.encode(packed + _tag(secret, route, caller, packed))


def read_cursor(secret: bytes, route: str, caller: str, cursor: str) -> str:
    """Return the place that a cursor names. Raises Problem (400)."""
    raw = base64url.decode(cursor.encode("ascii", "replace"))
    if raw is None or len(raw) < TAG_BYTES:
        _refuse()
    packed, tag = raw[:-TAG_BYTES], raw[-TAG_BYTES:]
    if not hmac.compare_digest(tag, _tag(secret, route, caller, packed)):
        _refuse()
    return packed.decode()


def _refuse() -> NoReturn:
    refuse(HTTPStatus.BAD_REQUEST, "cursor-invalid", "This cursor is none that the exchange gave this caller here.")


def _tag(secret: bytes, route: str, caller: str, packed: bytes) -> bytes:
    # Lengths before texts, so that no two pairs of route and caller read alike.
    named = b"".join(len(one.encode()).to_bytes(4, "big") + one.encode() for one in (route, caller))
    return hmac.digest(secret, b"cursor\0" + named + packed, hashlib.sha256)[:TAG_BYTES]


class Cursors:
    """Writes and reads cursors under the secret that the exchange's processes share."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._secret: bytes | None = None

    async def _read_secret(self) -> bytes:
        if self._secret is None:
            async with self._database.connection() as connection:
                self._secret = await secrets.read(connection)
        return self._secret

    async def write(self, route: str, caller: str, place: str | None) -> str | None:
        """Return the cursor behind `place`, or None where the list ends."""
        return None if place is None else write_cursor(await self._read_secret(), route, caller, place)

    async def read(self, route: str, caller: str, cursor: str) -> str:
        """Return the place that a cursor names; an empty one is the beginning. Raises Problem (400)."""
        return "" if not cursor else read_cursor(await self._read_secret(), route, caller, cursor)
