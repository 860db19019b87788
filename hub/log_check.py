"""fsck's part in the evidence log's tree: made again from the leaves, and compared with what was stored and signed."""

from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import NamedTuple

from contracts import merkle
from contracts.log.checkpoint import Checkpoint, Policy, open_checkpoint
from contracts.log.fault import Unproven
from contracts.log.note import read_signatures, verified_by
from contracts.log.tile import Edge, Tile, read_tile
from hub.provenance import Finding
from hub.store import tiles
from hub.store.database import Connection
from hub.store.tiles import KeptCheckpoint

LEAVES_AT_ONCE = 256


class _Signed(NamedTuple):
    """What the tree itself is at a size that was signed."""

    size: int
    root: bytes


async def check_tree(connection: Connection, policies: Sequence[Policy]) -> AsyncIterator[Finding]:
    """Yield what does not hold of tree, tiles, checkpoints and cosignatures. `policies`: whose count, log by log."""
    size = await tiles.read_size(connection)
    kept = deque(await tiles.read_checkpoints(connection))
    edge, tile_count = Edge(), 0
    while edge.size < size:
        # Never past a size that was signed, nor past the end of a tile.
        until = min(size, (edge.size // LEAVES_AT_ONCE + 1) * LEAVES_AT_ONCE, kept[0].size if kept else size)
        try:
            entries = await tiles.read_entries(connection, edge.size, until - edge.size)
        except tiles.LeavesMissing:
            entries = []
        if not entries:
            yield Finding("tree_ahead", "tree", f"it has {size} leaves, of which only {edge.size} are there")
            return
        for tile, data in edge.extend(map(merkle.leaf_hash, entries)):
            tile_count += 1
            for finding in await _check_tile(connection, tile, data):
                yield finding
        if kept and kept[0].size == edge.size:
            for finding in _check_checkpoint(kept.popleft(), _Signed(edge.size, edge.root()), policies):
                yield finding
    for row in kept:
        yield Finding("checkpoint_ahead", f"checkpoint/{row.size}", f"the tree has {size} leaves")
    stored = await tiles.count_tiles(connection)
    if stored != tile_count:
        yield Finding("tiles_wrong", "tiles", f"{stored} are stored, {tile_count} are whole")


async def _check_tile(connection: Connection, tile: Tile, data: bytes) -> list[Finding]:
    stored = await tiles.read_whole(connection, tile)
    if stored != (merkle.root(read_tile(tile, data)), data):
        return [Finding("tile_wrong", tile.path, "it is not that of the leaves" if stored else "it is missing")]
    return []


def _check_checkpoint(row: KeptCheckpoint, tree: _Signed, policies: Sequence[Policy]) -> Iterator[Finding]:
    subject = f"checkpoint/{row.size}"
    if not policies:
        return
    origin = row.note.partition("\n")[0]
    policy = next((one for one in policies if one.origin == origin), policies[-1])
    try:
        opened = open_checkpoint(row.note.encode(), Policy(policy.origin, policy.log_keys))
    except Unproven as error:
        yield Finding("checkpoint_wrong", subject, str(error))
        return
    if opened.checkpoint != Checkpoint(policy.origin, tree.size, tree.root):
        yield Finding("checkpoint_wrong", subject, "its root or size is not the tree's")
    for line in row.cosigned:
        try:
            verified_by(opened.note._replace(signatures=read_signatures(line)), policy.witnesses)
        except Unproven as error:
            yield Finding("cosignature_wrong", subject, str(error))
