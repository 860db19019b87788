"""The evidence log's tree: its size, its tiles, and what the log and its witnesses signed of it.

Whole tiles are rows. A tile that is not whole is computed each time: of level 0 from the leaves, of a higher level from
the roots of the tiles below. So any width of any tile can be given, and no partial tile is ever stored.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from contracts import merkle
from contracts.log.note import Note, SignatureLine, read_note, read_signatures
from contracts.log.tile import ENTRIES, WIDTH, Edge, Tile, count, root_of_whole, write_bundle
from hub.store import outbox
from hub.store.database import Connection

if TYPE_CHECKING:
    import asyncpg

READ_SIZE = "SELECT size FROM tree"
COUNT_LEAVES = "SELECT next_index FROM log"
READ_LEAVES = "SELECT log_index, entry FROM leaves WHERE log_index >= $1 ORDER BY log_index LIMIT $2"
# One value instead of many rows: the sequencer reads every leaf there ever is, and needs nothing but its hash.
READ_HASHES = """
    SELECT count(*), min(log_index), max(log_index),
        string_agg(sha256('\\x00'::bytea || entry), ''::bytea ORDER BY log_index)
    FROM (SELECT log_index, entry FROM leaves WHERE log_index >= $1 ORDER BY log_index LIMIT $2) AS fresh"""
# `size = from` is the whole protection against a second sequencer, whatever either believes.
ADVANCE = """
    WITH moved AS (UPDATE tree SET size = $2 WHERE size = $1 RETURNING size),
         added AS (
            INSERT INTO tiles (level, index, root, hashes)
            SELECT u.* FROM moved, unnest($3::int[], $4::bigint[], $5::bytea[], $6::bytea[]) AS u)
    SELECT size FROM moved"""
READ_WHOLE = """
    SELECT t.level, t.index, t.hashes FROM unnest($1::int[], $2::bigint[]) AS wanted (level, index)
    JOIN tiles t USING (level, index)"""
READ_ONE = "SELECT root, hashes FROM tiles WHERE level = $1 AND index = $2"
COUNT_TILES = "SELECT count(*) FROM tiles"
READ_CHECKPOINTS = """
    SELECT size, note, ARRAY(SELECT line FROM cosignatures s WHERE s.size = c.size ORDER BY witness)
    FROM checkpoints c ORDER BY size"""
READ_ROOTS = "SELECT root FROM tiles WHERE level = $1 AND index >= $2 AND index < $3 ORDER BY index"
# A checkpoint of a size that has one already says the same: the signature is deterministic and the root is the tree's.
# The relay is woken with it, which may hold recommendations back for this.
ADD_CHECKPOINT = """
    WITH added AS (
        INSERT INTO checkpoints (size, signed_at, note) VALUES ($1, $2, $3) ON CONFLICT (size) DO NOTHING)
    SELECT pg_notify($4, $5)"""
ADD_COSIGNATURE = "INSERT INTO cosignatures (size, witness, line) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"
READ_CHECKPOINT = """
    SELECT size, signed_at, note,
           (SELECT string_agg(line, '' ORDER BY witness) FROM cosignatures s WHERE s.size = c.size) AS cosigned
    FROM checkpoints c WHERE size = $1"""
READ_NEWEST_SIZE = "SELECT max(size) FROM checkpoints"
# What may be shown and what is waited for, as of one moment.
READ_EVIDENCE = """
    WITH cosigned AS (
        SELECT size FROM cosignatures WHERE witness = ANY($1::text[])
        GROUP BY size HAVING count(*) >= $2 ORDER BY size DESC LIMIT 1)
    SELECT size, signed_at, note,
           (SELECT string_agg(line, '' ORDER BY witness) FROM cosignatures s WHERE s.size = c.size) AS cosigned,
           size = (SELECT size FROM cosigned) AS is_cosigned,
           (SELECT signed_at FROM checkpoints WHERE size > COALESCE((SELECT size FROM cosigned), 0)
            ORDER BY size LIMIT 1) AS waiting_since
    FROM checkpoints c WHERE size IN ((SELECT size FROM cosigned), (SELECT max(size) FROM checkpoints)) ORDER BY size"""


class Superseded(Exception):
    """Another sequencer has moved the tree on: what was computed here is behind it."""


class LeavesMissing(Exception):
    """The leaves are not contiguous: somebody took one out of the database."""


class StoredCheckpoint(NamedTuple):
    """A checkpoint as it was signed, with the cosignatures that there are."""

    size: int
    signed_at: datetime
    note: Note


class Evidence(NamedTuple):
    """What can be shown of the log: the newest checkpoint, and the newest that enough witnesses cosigned.

    `waiting_since`: when the first checkpoint was signed that waits for their cosignatures.
    """

    newest: StoredCheckpoint | None
    cosigned: StoredCheckpoint | None
    waiting_since: datetime | None


class KeptCheckpoint(NamedTuple):
    """A checkpoint and its cosignature lines as they are stored: nothing of it has been read yet."""

    size: int
    note: str
    cosigned: list[str]


async def read_size(connection: Connection) -> int:
    """Return how many leaves are in the tree."""
    return int(await connection.fetchval(READ_SIZE))


async def count_leaves(connection: Connection) -> int:
    """Return how many leaves there are, in the tree or not yet."""
    return int(await connection.fetchval(COUNT_LEAVES))


async def read_entries(connection: Connection, first: int, limit: int) -> list[bytes]:
    """Return at most `limit` entries from index `first` on. Raises LeavesMissing."""
    rows = await connection.fetch(READ_LEAVES, first, limit)
    if [row["log_index"] for row in rows] != list(range(first, first + len(rows))):
        raise LeavesMissing(f"The evidence log's leaves have a gap at or after index {first}.")
    return [row["entry"] for row in rows]


async def read_edge(connection: Connection, size: int) -> Edge:
    """Return the right edge of the tree of `size`. Raises LeavesMissing."""
    levels, level = [], 0
    while count(level, size):
        first = count(level, size) // WIDTH * WIDTH
        levels.append(await _read_hashes(connection, level, first, count(level, size)))
        level += 1
    return Edge(levels)


async def _read_hashes(connection: Connection, level: int, first: int, behind: int) -> list[bytes]:
    """Return a level's hashes at the positions [first, behind), which are less than a tile. Raises LeavesMissing."""
    if level == 0:
        hashes = await read_leaf_hashes(connection, first, behind - first)
    else:
        hashes = [row["root"] for row in await connection.fetch(READ_ROOTS, level - 1, first, behind)]
    if len(hashes) != behind - first:
        raise LeavesMissing(f"The evidence log lacks something at level {level}, between {first} and {behind}.")
    return hashes


async def read_leaf_hashes(connection: Connection, first: int, limit: int) -> list[bytes]:
    """Return the hashes of at most `limit` leaves from index `first` on. Raises LeavesMissing."""
    # All in one statement: a leaf that is committed between two would look like one behind a gap.
    [found] = await connection.fetch(READ_HASHES, first, limit)
    if not found["count"]:
        return []
    if (found["min"], found["max"]) != (first, first + found["count"] - 1):
        raise LeavesMissing(f"The evidence log's leaves have a gap at or after index {first}.")
    joined = found["string_agg"]
    return [joined[i : i + merkle.HASH_BYTES] for i in range(0, len(joined), merkle.HASH_BYTES)]


async def advance(connection: Connection, size: int, to: int, whole: Sequence[tuple[Tile, bytes]]) -> None:
    """Move the tree from `size` to `to`, with the tiles that became whole, as one step. Raises Superseded."""
    roots = [root_of_whole(data) for _, data in whole]
    levels, indices = [tile.level for tile, _ in whole], [tile.index for tile, _ in whole]
    hashes = [data for _, data in whole]
    if await connection.fetchval(ADVANCE, size, to, levels, indices, roots, hashes) is None:
        raise Superseded


async def read_tiles(connection: Connection, tiles: Collection[Tile]) -> dict[Tile, bytes]:
    """Return tiles of any width, and bundles, all of which the tree must have (`is_in`). Raises LeavesMissing."""
    hashed = [tile for tile in tiles if tile.level != ENTRIES]
    levels, indices = [tile.level for tile in hashed], [tile.index for tile in hashed]
    rows = await connection.fetch(READ_WHOLE, levels, indices)
    whole = {(row["level"], row["index"]): row["hashes"] for row in rows}
    found: dict[Tile, bytes] = {}
    for tile in tiles:
        data = whole.get((tile.level, tile.index))
        if data is not None:
            found[tile] = data[: tile.width * merkle.HASH_BYTES]
        elif tile.level == ENTRIES:
            found[tile] = write_bundle(await read_entries(connection, tile.first, tile.width))
        else:
            found[tile] = b"".join(await _read_hashes(connection, tile.level, tile.first, tile.first + tile.width))
    return found


async def read_whole(connection: Connection, tile: Tile) -> tuple[bytes, bytes] | None:
    """Return a whole tile's root and hashes as they are stored."""
    row = await connection.fetchrow(READ_ONE, tile.level, tile.index)
    return None if row is None else (row["root"], row["hashes"])


async def count_tiles(connection: Connection) -> int:
    """Return how many whole tiles are stored."""
    return int(await connection.fetchval(COUNT_TILES))


async def read_checkpoints(connection: Connection) -> list[KeptCheckpoint]:
    """Return every checkpoint, the smallest first."""
    return [KeptCheckpoint(*row) for row in await connection.fetch(READ_CHECKPOINTS)]


def is_in(tile: Tile, size: int) -> bool:
    """Whether a tree of `size` has so much of the tile."""
    return tile.first + tile.width <= count(tile.level, size)


async def add_checkpoint(connection: Connection, size: int, note: Note, signed_at: datetime) -> None:
    """Keep a checkpoint and wake who waits for it; one of a size that is kept already changes nothing."""
    await connection.execute(ADD_CHECKPOINT, size, signed_at, note.write().decode(), outbox.CHANNEL, outbox.SIGNED)


async def add_cosignature(connection: Connection, size: int, witness: str, line: SignatureLine) -> None:
    """Keep a witness's cosignature, which was verified; its first of a size stays."""
    await connection.execute(ADD_COSIGNATURE, size, witness, line.write())


async def read_newest_size(connection: Connection) -> int:
    """Return the size of the newest checkpoint, 0 before the first."""
    return int(await connection.fetchval(READ_NEWEST_SIZE) or 0)


async def read_newest(connection: Connection) -> StoredCheckpoint | None:
    """Return the newest checkpoint."""
    return await _read_checkpoint(connection, await connection.fetchval(READ_NEWEST_SIZE))


async def read_evidence(connection: Connection, witnesses: Iterable[str], quorum: int) -> Evidence:
    """Return what can be shown if at least `quorum` of `witnesses` (by their keys' text) must have cosigned."""
    rows = await connection.fetch(READ_EVIDENCE, list(witnesses), quorum)
    cosigned = next((_write_checkpoint(row) for row in rows if row["is_cosigned"]), None)
    newest = _write_checkpoint(rows[-1]) if rows else None
    return Evidence(newest, cosigned, rows[-1]["waiting_since"] if rows else None)


async def read_cosigned(connection: Connection, witnesses: Iterable[str], quorum: int) -> StoredCheckpoint | None:
    """Return the newest checkpoint that at least `quorum` of `witnesses` (by their keys' text) cosigned."""
    return (await read_evidence(connection, witnesses, quorum)).cosigned


async def _read_checkpoint(connection: Connection, size: int | None) -> StoredCheckpoint | None:
    row = None if size is None else await connection.fetchrow(READ_CHECKPOINT, size)
    return None if row is None else _write_checkpoint(row)


def _write_checkpoint(row: "asyncpg.Record") -> StoredCheckpoint:
    note = read_note(row["note"].encode())
    if row["cosigned"] is not None:
        note = note.with_signatures(read_signatures(row["cosigned"]))
    return StoredCheckpoint(row["size"], row["signed_at"], note)
