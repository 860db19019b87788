"""The evidence log for anybody: its checkpoint, its tiles, its entries, under the addresses of C2SP tlog-tiles.

Nothing here needs an assertion: an entry holds no personal data, and what is given proves itself. Only what a stored
checkpoint covers is given, so that nobody sees a tile that the log has not signed for.
"""

import gzip
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Header, Path, Response

from contracts.log.tile import ENTRIES, WIDTH, Tile
from hub.release import read_published
from hub.store import tiles
from hub.store.database import Database
from hub.trust import RegistryInForce
from hub.web.problems import describe, refuse

CHECKPOINT_CACHE = "no-cache"
TILE_CACHE = "public, max-age=31536000, immutable"
PATH_CHARACTERS_MAX = 64


def create_router(database: Database, in_force: RegistryInForce) -> APIRouter:
    """Return the log's routes."""
    router = APIRouter()

    @router.get("/checkpoint", response_class=Response, responses=describe("text/plain"))
    async def read_checkpoint() -> Response:
        """Give the newest checkpoint, preferably one that witnesses have cosigned."""
        async with database.connection() as connection:
            published = await read_published(connection, await in_force.refresh(connection))
        if published is None:
            refuse(HTTPStatus.NOT_FOUND, "checkpoint-absent", "The log has signed no checkpoint yet.")
        return Response(
            published.note.write(),
            media_type="text/plain; charset=utf-8",
            headers={"Cache-Control": CHECKPOINT_CACHE},
        )

    @router.get("/tile/{place:path}", response_class=Response, responses=describe("application/octet-stream"))
    async def read_tile(
        place: Annotated[str, Path(max_length=PATH_CHARACTERS_MAX)],
        accept_encoding: Annotated[str, Header()] = "",
    ) -> Response:
        """Give a tile or a bundle of entries, whole or as wide as some checkpoint's tree has it."""
        tile = Tile.read(f"tile/{place}")
        if tile is None:
            refuse(HTTPStatus.NOT_FOUND, "tile-unknown", "This is not the address of a tile (C2SP tlog-tiles).")
        async with database.connection() as connection:
            newest = await tiles.read_newest(connection)
            if newest is None or not tiles.is_in(tile, newest.size):
                refuse(HTTPStatus.NOT_FOUND, "tile-absent", "The signed log does not reach this tile.")
            data = (await tiles.read_tiles(connection, [tile]))[tile]
        headers = {"Cache-Control": TILE_CACHE}
        if tile.level == ENTRIES:
            headers["Vary"] = "Accept-Encoding"
            if "gzip" in accept_encoding and tile.width == WIDTH:
                data = gzip.compress(data, compresslevel=1, mtime=0)
                headers["Content-Encoding"] = "gzip"
        return Response(data, media_type="application/octet-stream", headers=headers)

    return router
