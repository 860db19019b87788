"""Tiles: the log's hash tree cut into pieces that never change, its entries in bundles, and proofs taken out of both.

A tile of level L holds up to 256 hashes, each over 256**L entries; only the last of a level may hold fewer. Level -1
(`ENTRIES`) are the bundles of entries themselves. Nothing here reads anything: the caller is told which tiles a proof
needs, gets them from wherever they lie, and hands them back.

Source: https://c2sp.org/tlog-tiles.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

from contracts import merkle
from contracts.log.fault import Fault, Unproven

HEIGHT = 8
WIDTH = 1 << HEIGHT
TILE_BYTES = WIDTH * merkle.HASH_BYTES
LEVEL_MAX = 63
ENTRIES = -1
LENGTH_BYTES = 2
# 512 hashes each, so some ten megabytes.
TILES_REMEMBERED_MAX = 256
# As many as become whole in one step, or nearly.
TILES_ROOTED_MAX = 64

_PATH = re.compile(r"tile/(0|[1-9][0-9]?|entries)/((?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Tile:
    """One tile, or with level `ENTRIES` one bundle; `width` is 256, or fewer for the last of its level."""

    level: int
    index: int
    width: int = WIDTH

    @property
    def path(self) -> str:
        """Its address below the log's, as in `tile/0/x001/x234/067.p/5`."""
        digits = f"{self.index:03d}"
        digits = digits.zfill(-(-len(digits) // 3) * 3)
        groups = [digits[i : i + 3] for i in range(0, len(digits), 3)]
        name = "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])
        partial = "" if self.width == WIDTH else f".p/{self.width}"
        return f"tile/{'entries' if self.level == ENTRIES else self.level}/{name}{partial}"

    @property
    def first(self) -> int:
        """The index, in the tile's own level, of its first hash (or entry)."""
        return self.index * WIDTH

    @classmethod
    def read(cls, path: str) -> "Tile | None":
        """Read an address in its one spelling; None for anything else."""
        match = _PATH.fullmatch(path)
        if match is None:
            return None
        level = ENTRIES if match[1] == "entries" else int(match[1])
        tile = cls(level, int(match[2].replace("/", "").replace("x", "")), int(match[3] or WIDTH))
        return tile if level <= LEVEL_MAX and tile.width <= WIDTH and tile.path == path else None


def count(level: int, size: int) -> int:
    """Return how many hashes (or entries) the level has in a tree of `size`."""
    return size if level == ENTRIES else size >> (HEIGHT * level)


def holding(level: int, position: int, size: int) -> Tile:
    """Return the tile of a tree of `size` that holds the hash at `position` of the level. Raises IndexError."""
    held = count(level, size)
    if not 0 <= position < held:
        raise IndexError(position)
    index = position // WIDTH
    return Tile(level, index, min(WIDTH, held - index * WIDTH))


def tiles_between(level: int, old_size: int, size: int) -> Iterator[Tile]:
    """Give the tiles of one level that a tree of `size` has and one of `old_size` has not, in order."""
    had, held = count(level, old_size), count(level, size)
    for index in range(had // WIDTH, -(-held // WIDTH) if held > had else 0):
        yield Tile(level, index, min(WIDTH, held - index * WIDTH))


def new_tiles(old_size: int, size: int) -> Iterator[Tile]:
    """Give every tile and bundle that a tree of `size` has and one of `old_size` has not, lowest level first."""
    level = ENTRIES
    while level == ENTRIES or count(level, size):
        yield from tiles_between(level, old_size, size)
        level += 1


# What is hashed: stretches of leaves, as (first, behind the last).
Stretch = tuple[int, int]


def _split(size: int) -> int:
    return 1 << ((size - 1).bit_length() - 1)


def inclusion_stretches(index: int, size: int) -> list[Stretch]:
    """Return the stretches whose hashes prove leaf `index`, lowest first (RFC 9162, 2.1.3.1). Raises IndexError."""
    if not 0 <= index < size:
        raise IndexError(index)
    found: list[Stretch] = []
    low, high = 0, size
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            found.append((middle, high))
            high = middle
        else:
            found.append((low, middle))
            low = middle
    return found[::-1]


def consistency_stretches(old_size: int, size: int) -> list[Stretch]:
    """Return the stretches whose hashes prove that a tree grew (RFC 9162, 2.1.4.1). Raises IndexError."""
    if not 0 < old_size <= size:
        raise IndexError(old_size)
    found: list[Stretch] = []
    low, high = 0, size
    while old_size < high:
        middle = low + _split(high - low)
        if old_size <= middle:
            found.append((middle, high))
            high = middle
        else:
            found.append((low, middle))
            low = middle
    if low:
        found.append((low, high))
    return found[::-1]


class Node(NamedTuple):
    """The root of a whole subtree of 2**height leaves, the `place`th of its height."""

    height: int
    place: int


def _nodes(stretch: Stretch) -> Iterator[Node]:
    """Give the whole subtrees that make up a stretch, from left to right."""
    low, high = stretch
    while low < high:
        height = (high - low).bit_length() - 1
        yield Node(height, low >> height)
        low += 1 << height


def _home(node: Node, size: int) -> tuple[Tile, int, int]:
    """Return the tile that a node can be computed from, and the stretch of its hashes that does it."""
    level, depth = divmod(node.height, HEIGHT)
    position = node.place << depth
    tile = holding(level, position, size)
    return tile, position - tile.first, position - tile.first + (1 << depth)


def tiles_for(stretches: Iterable[Stretch], size: int) -> set[Tile]:
    """Return the tiles, in the widths that a tree of `size` has, out of which the stretches' hashes can be computed."""
    return {_home(node, size)[0] for stretch in stretches for node in _nodes(stretch)}


class Hashes:
    """The hashes of a tree of `size`, computed from tiles that the caller got somewhere."""

    def __init__(self, size: int, tiles: Mapping[Tile, bytes]) -> None:
        self._size = size
        self._tiles = tiles
        self._levels: dict[Tile, list[list[bytes]]] = {}
        # The proofs of neighbours have most of their stretches in common.
        self._known: dict[Stretch, bytes] = {}

    def of(self, stretch: Stretch) -> bytes:
        """Return a stretch's hash. Raises Unproven(tile_missing, tile_malformed)."""
        if stretch not in self._known:
            nodes = [self._node(node) for node in _nodes(stretch)]
            digest = nodes.pop()
            while nodes:
                digest = merkle.node_hash(nodes.pop(), digest)
            self._known[stretch] = digest
        return self._known[stretch]

    def path(self, stretches: Iterable[Stretch]) -> list[bytes]:
        """Return the hashes of several stretches. Raises Unproven(tile_missing, tile_malformed)."""
        return [self.of(stretch) for stretch in stretches]

    def root(self) -> bytes:
        """Return the tree's root. Raises Unproven(tile_missing, tile_malformed)."""
        return self.of((0, self._size)) if self._size else merkle.EMPTY_ROOT

    def _node(self, node: Node) -> bytes:
        tile, low, _ = _home(node, self._size)
        if tile not in self._levels:
            data = self._tiles.get(tile)
            if data is None:
                raise Unproven(Fault.TILE_MISSING, tile.path)
            if len(data) != tile.width * merkle.HASH_BYTES:
                raise Unproven(Fault.TILE_MALFORMED, f"{tile.path}: not {tile.width} hashes")
            self._levels[tile] = _levels_of(tile.width, data)
        depth = node.height % HEIGHT
        return self._levels[tile][depth][low >> depth]


@lru_cache(maxsize=TILES_REMEMBERED_MAX)
def _levels_of(width: int, data: bytes) -> list[list[bytes]]:
    """All levels inside a tile: whoever takes one proof out of it soon takes the next. Raises Unproven."""
    return merkle.levels(read_tile(Tile(0, 0, width), data))


@lru_cache(maxsize=TILES_ROOTED_MAX)
def root_of_whole(data: bytes) -> bytes:
    """Return the root of a whole tile: whoever appends needs it above, and again to keep it. Raises Unproven."""
    return merkle.root(read_tile(Tile(0, 0), data))


def read_tile(tile: Tile, data: bytes) -> list[bytes]:
    """Read a tile's hashes. Raises Unproven(tile_malformed)."""
    if len(data) != tile.width * merkle.HASH_BYTES:
        raise Unproven(Fault.TILE_MALFORMED, f"{tile.path}: not {tile.width} hashes")
    return [data[i : i + merkle.HASH_BYTES] for i in range(0, len(data), merkle.HASH_BYTES)]


def write_bundle(entries: Iterable[bytes]) -> bytes:
    """Write a bundle: each entry behind its length in two bytes. Raises OverflowError for an entry that is too long."""
    return b"".join(part for entry in entries for part in (len(entry).to_bytes(LENGTH_BYTES), entry))


def read_bundle(tile: Tile, data: bytes) -> list[bytes]:
    """Read a bundle's entries. Raises Unproven(tile_malformed)."""
    entries, place = [], 0
    while place < len(data):
        start = place + LENGTH_BYTES
        place = start + int.from_bytes(data[place:start])
        entries.append(data[start:place])
    if place != len(data) or len(entries) != tile.width:
        raise Unproven(Fault.TILE_MALFORMED, f"{tile.path}: not {tile.width} entries behind their lengths")
    return entries


class Edge:
    """The right edge of a growing tree: of each level, the hashes that fill no tile yet. All that appending needs."""

    def __init__(self, levels: Iterable[Sequence[bytes]] = ()) -> None:
        self._levels = [list(level) for level in levels]
        if any(len(level) >= WIDTH for level in self._levels):
            raise ValueError("a whole tile is no edge")
        self.size = sum(len(level) << (HEIGHT * height) for height, level in enumerate(self._levels))

    @property
    def levels(self) -> list[list[bytes]]:
        """The hashes of each level, lowest level first: what makes the same edge again. The size does not tell them."""
        return [list(level) for level in self._levels]

    def extend(self, leaves: Iterable[bytes]) -> list[tuple[Tile, bytes]]:
        """Append leaf hashes; return the tiles that became whole, each behind those it is made of."""
        whole: list[tuple[Tile, bytes]] = []
        coming = iter(leaves)
        while True:
            if not self._levels:
                self._levels.append([])
            taken = list(islice(coming, WIDTH - len(self._levels[0])))
            if not taken:
                return whole
            self._levels[0] += taken
            self.size += len(taken)
            if len(self._levels[0]) == WIDTH:
                whole += self._close()

    def _close(self) -> Iterator[tuple[Tile, bytes]]:
        """Move whole tiles out, and the root of each up."""
        for level, hashes in enumerate(self._levels):
            if len(hashes) < WIDTH:
                return
            data = b"".join(hashes)
            yield Tile(level, (self.size >> HEIGHT * (level + 1)) - 1), data
            if level + 1 == len(self._levels):
                self._levels.append([])
            self._levels[level + 1].append(root_of_whole(data))
            hashes.clear()

    def root(self) -> bytes:
        """Return the root over everything that was appended."""
        digest: bytes | None = None
        for level in self._levels:
            hashes = level if digest is None else [*level, digest]
            if hashes:
                digest = merkle.root(hashes)
        return merkle.EMPTY_ROOT if digest is None else digest
