"""The evidence log as static files, at the addresses of C2SP tlog-tiles, for any web server or object store.

What a checkpoint needs is written before the checkpoint, and whole files appear at once: whoever reads the folder while
it is written, or after this was killed, finds a log that is complete.
"""

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from contracts.log.checkpoint import Checkpoint, read_checkpoint
from contracts.log.fault import Fault, Unproven
from contracts.log.note import read_note
from contracts.log.proof import check_growth
from contracts.log.tile import Hashes, consistency_stretches, new_tiles, tiles_for
from contracts.registry import Registry
from hub.release import read_published
from hub.store import tiles

if TYPE_CHECKING:
    from hub.store.database import Connection

CHECKPOINT_NAME = "checkpoint"
PART_SUFFIX = ".part"
TILES_AT_ONCE = 64


class NothingToPublish(Exception):
    """The log has signed no checkpoint yet."""


class FolderContradicts(Exception):
    """The folder holds another log, or more of this one than the database."""


class Published(NamedTuple):
    """The size that the folder has now, and how many files were written."""

    size: int
    files: int


async def publish(connection: "Connection", registry: Registry, folder: Path) -> Published:
    """Write what the folder lacks of the newest checkpoint. Safe to repeat.

    Raises NothingToPublish, FolderContradicts.
    """
    newest = await read_published(connection, registry)
    if newest is None:
        raise NothingToPublish("The log has signed no checkpoint yet: start `hub sequencer`.")
    checkpoint = read_checkpoint(newest.note.text)
    held = _read_held(folder)
    await _check_continues(connection, held, checkpoint)
    files = 0
    missing = (tile for tile in new_tiles(held.size if held else 0, newest.size) if not (folder / tile.path).exists())
    while batch := list(islice(missing, TILES_AT_ONCE)):
        for tile, data in (await tiles.read_tiles(connection, batch)).items():
            _write(folder / tile.path, data)
            files += 1
    _write(folder / CHECKPOINT_NAME, newest.note.write())
    return Published(newest.size, files)


def _read_held(folder: Path) -> Checkpoint | None:
    try:
        return read_checkpoint(read_note((folder / CHECKPOINT_NAME).read_bytes()).text)
    except FileNotFoundError:
        return None
    except Unproven as error:
        raise FolderContradicts(f"{folder / CHECKPOINT_NAME} is no checkpoint: {error}.") from None


async def _check_continues(connection: "Connection", held: Checkpoint | None, new: Checkpoint) -> None:
    if held is None:
        return
    try:
        path: list[bytes] = []
        if 0 < held.size < new.size:
            stretches = consistency_stretches(held.size, new.size)
            found = await tiles.read_tiles(connection, tiles_for(stretches, new.size))
            path = Hashes(new.size, found).path(stretches)
        check_growth(held, new, path)
    except Unproven as error:
        if error.fault == Fault.ROLLBACK:
            raise FolderContradicts(f"The folder is ahead of this database: {error.detail}.") from None
        raise FolderContradicts(f"The folder holds another log than this database: {error}.") from None


def _write(file: Path, data: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(file.name + PART_SUFFIX)
    part.write_bytes(data)
    part.replace(file)
