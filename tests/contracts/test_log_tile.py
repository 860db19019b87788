"""Tiles, bundles and proofs, against the plain tree of RFC 9162."""

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from contracts import merkle
from contracts.log.checkpoint import Checkpoint, Policy, sign_checkpoint
from contracts.log.fault import Fault, Unproven
from contracts.log.note import Kind, VerifierKey
from contracts.log.proof import Proof, check_growth, check_proof, read_proof
from contracts.log.tile import (
    ENTRIES,
    Edge,
    Hashes,
    Tile,
    consistency_stretches,
    holding,
    inclusion_stretches,
    new_tiles,
    read_bundle,
    read_tile,
    tiles_for,
    write_bundle,
)
from contracts.wire.key import PrivateKey

SIZE_MAX = 70_000
LEAVES = [sha256(b"%d" % number).digest() for number in range(SIZE_MAX)]
SIZES = st.one_of(st.integers(1, 1_500), st.integers(65_000, SIZE_MAX), st.sampled_from([1, 255, 256, 257, 65_536]))

ORIGIN = "hub.example/demo"
KEY = PrivateKey(Ed25519PrivateKey.from_private_bytes(bytes(32)))
POLICY = Policy(ORIGIN, (VerifierKey.of(ORIGIN, Kind.ED25519, KEY.public),))


def tiles_of(leaves: Sequence[bytes]) -> dict[Tile, bytes]:
    """Cut the whole tree over `leaves` into tiles, as the definition says and as plainly as can be."""
    tiles, level, hashes = {}, 0, list(leaves)
    while hashes:
        for index in range(0, len(hashes), 256):
            part = hashes[index : index + 256]
            tiles[Tile(level, index // 256, len(part))] = b"".join(part)
        hashes = [merkle.root(hashes[i : i + 256]) for i in range(0, len(hashes) - 255, 256)]
        level += 1
    return tiles


def test_the_specification_s_tree_of_70_000_has_its_tiles() -> None:
    tiles = tiles_of(LEAVES)
    assert sum(tile.level == 0 and tile.width == 256 for tile in tiles) == 273
    assert [tile for tile in tiles if tile.width < 256] == [Tile(0, 273, 112), Tile(1, 1, 17), Tile(2, 0, 1)]
    assert {tile for tile in new_tiles(0, SIZE_MAX) if tile.level != ENTRIES} == set(tiles)
    assert Hashes(SIZE_MAX, tiles).root() == merkle.root(LEAVES)


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 1_234_067), "tile/0/x001/x234/067"),
        (Tile(ENTRIES, 1_234_067, 5), "tile/entries/x001/x234/067.p/5"),
        (Tile(63, 0, 255), "tile/63/000.p/255"),
        (Tile(1, 999), "tile/1/999"),
        (Tile(1, 1_000), "tile/1/x001/000"),
    ],
)
def test_a_tile_has_one_address(tile: Tile, path: str) -> None:
    assert tile.path == path
    assert Tile.read(path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "tile/64/000",
        "tile/00/000",
        "tile/-1/000",
        "tile/0/0",
        "tile/0/x000/001",
        "tile/0/001/002",
        "tile/0/x001",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/",
        "tile/8/000/",
        "/tile/0/000",
        "tile/entries/..",
        "tile/0/\u0660\u0660\u0660",
        "tile/0/000\n",
    ],
)
def test_no_other_spelling_is_an_address(path: str) -> None:
    assert Tile.read(path) is None


@given(SIZES, st.data())
def test_inclusion_from_tiles_is_that_of_the_plain_tree(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    stretches = inclusion_stretches(index, size)
    path = Hashes(size, wanted(tiles_for(stretches, size))).path(stretches)
    assert merkle.verify_inclusion(LEAVES[index], index, size, path, edge_of(size).root())
    if size < 1_500:
        assert path == merkle.inclusion_path(LEAVES[:size], index)


@given(SIZES, st.data())
def test_consistency_from_tiles_is_that_of_the_plain_tree(size: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(1, size))
    stretches = consistency_stretches(old, size)
    path = Hashes(size, wanted(tiles_for(stretches, size))).path(stretches)
    assert merkle.verify_consistency(old, edge_of(old).root(), size, edge_of(size).root(), path)
    if size < 1_500:
        assert path == merkle.consistency_path(LEAVES[:size], old)


def wanted(tiles: set[Tile]) -> dict[Tile, bytes]:
    """Get so many tiles out of the whole tree: a partial one is the beginning of what it became."""
    found = {}
    for tile in tiles:
        whole = next(data for known, data in WHOLE.items() if (known.level, known.index) == (tile.level, tile.index))
        found[tile] = whole[: tile.width * 32]
    return found


WHOLE = tiles_of(LEAVES)


def edge_of(size: int) -> Edge:
    edge = Edge()
    edge.extend(LEAVES[:size])
    return edge


@given(st.lists(st.integers(0, 700), max_size=8))
def test_an_edge_grown_in_any_steps_gives_the_tree_s_whole_tiles_and_root(steps: list[int]) -> None:
    edge, given_up = Edge(), {}
    for step in steps:
        edge = Edge(edge.levels)
        for tile, data in edge.extend(LEAVES[edge.size : edge.size + step]):
            assert tile not in given_up
            given_up[tile] = data
    size = sum(steps)
    assert edge.size == size
    assert edge.root() == merkle.root(LEAVES[:size])
    assert given_up == {tile: data for tile, data in tiles_of(LEAVES[:size]).items() if tile.width == 256}


def test_an_edge_over_two_levels_keeps_its_size() -> None:
    edge = edge_of(65_536)
    assert edge.size == Edge(edge.levels).size == 65_536
    assert [len(level) for level in edge.levels] == [0, 0, 1]
    assert edge.root() == merkle.root(LEAVES[:65_536])
    with pytest.raises(ValueError, match="no edge"):
        Edge([LEAVES[:256]])


@given(st.integers(0, 2_000), st.integers(0, 2_000))
def test_what_is_new_is_what_the_greater_tree_has_and_the_smaller_has_not(old: int, more: int) -> None:
    size = old + more
    assert set(new_tiles(old, size)) == set(new_tiles(0, size)) - set(new_tiles(0, old))


def test_a_tile_that_is_not_there_or_not_whole_is_named() -> None:
    stretches = inclusion_stretches(0, 300)
    tiles = wanted(tiles_for(stretches, 300))
    for broken in ({}, dict.fromkeys(tiles, b"short")):
        with pytest.raises(Unproven) as caught:
            Hashes(300, broken).path(stretches)
        assert caught.value.fault in (Fault.TILE_MISSING, Fault.TILE_MALFORMED)
        assert caught.value.detail.startswith("tile/")
    for bad in (-1, 300):
        with pytest.raises(IndexError):
            inclusion_stretches(bad, 300)
        with pytest.raises(IndexError):
            holding(0, bad, 300)
    for bad in (0, 301):
        with pytest.raises(IndexError):
            consistency_stretches(bad, 300)
    assert Hashes(0, {}).root() == merkle.EMPTY_ROOT


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=256))
def test_a_bundle_gives_its_entries_back_and_nothing_shorter_or_longer_passes(entries: list[bytes]) -> None:
    tile, data = Tile(ENTRIES, 0, len(entries)), write_bundle(entries)
    assert read_bundle(tile, data) == entries
    for bad in (data[:-1], data + b"\0", data + b"\0\0", b""):
        with pytest.raises(Unproven, match="tile_malformed"):
            read_bundle(tile, bad)
    with pytest.raises(OverflowError):
        write_bundle([bytes(65_536)])


def test_hashes_of_a_tile_are_read_in_their_order() -> None:
    assert read_tile(Tile(0, 0, 3), b"".join(LEAVES[:3])) == LEAVES[:3]


ENTRY_LIST = [b"entry %d" % number for number in range(300)]
ENTRY_LEAVES = [merkle.leaf_hash(entry) for entry in ENTRY_LIST]
CHECKPOINT = Checkpoint(ORIGIN, 300, merkle.root(ENTRY_LEAVES))
SIGNED = sign_checkpoint(CHECKPOINT, KEY).write()


def proof_of(index: int) -> Proof:
    return Proof(index, tuple(merkle.inclusion_path(ENTRY_LEAVES, index)), SIGNED)


def fault_of(proof: bytes, entry: bytes, index: int | None = None) -> Fault:
    with pytest.raises(Unproven) as caught:
        check_proof(proof, entry, POLICY, index=index)
    return caught.value.fault


@pytest.mark.parametrize("index", [0, 1, 255, 256, 299])
def test_a_proof_is_read_as_written_and_proves_its_entry_alone(index: int) -> None:
    written = proof_of(index).write()
    assert read_proof(written) == proof_of(index)
    assert check_proof(written, ENTRY_LIST[index], POLICY, index=index).checkpoint == CHECKPOINT
    assert fault_of(written, b"entry of somebody else") == Fault.INCLUSION_INVALID
    assert fault_of(written, ENTRY_LIST[index], index + 1) == Fault.INCLUSION_INVALID
    moved = replace(proof_of(index), index=(index + 1) % 300).write()
    assert fault_of(moved, ENTRY_LIST[index]) == Fault.INCLUSION_INVALID
    cut = replace(proof_of(index), path=proof_of(index).path[:-1]).write()
    assert fault_of(cut, ENTRY_LIST[index]) == Fault.INCLUSION_INVALID


def test_a_proof_of_a_log_of_one_entry_has_no_path() -> None:
    checkpoint = Checkpoint(ORIGIN, 1, ENTRY_LEAVES[0])
    written = Proof(0, (), sign_checkpoint(checkpoint, KEY).write(), b"more").write()
    assert read_proof(written).extra == b"more"
    assert check_proof(written, ENTRY_LIST[0], POLICY).checkpoint == checkpoint


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"c2sp.org/tlog-proof@v1\n",
        b"c2sp.org/tlog-proof@v1\n\n" + SIGNED,
        b"c2sp.org/tlog-proof@v2\nindex 0\n\n" + SIGNED,
        b"c2sp.org/tlog-proof@v1\nindex 00\n\n" + SIGNED,
        b"c2sp.org/tlog-proof@v1\nindex  0\n\n" + SIGNED,
        b"c2sp.org/tlog-proof@v1\nextra !\nindex 0\n\n" + SIGNED,
        b"c2sp.org/tlog-proof@v1\nindex 0\nshort\n\n" + SIGNED,
        b"c2sp.org/tlog-proof@v1\nindex 0\n\xc3\xa9\n\n" + SIGNED,
        b"c2sp.org/tlog-proof@v1\nindex 0\n" + b"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n" * 64 + b"\n" + SIGNED,
    ],
)
def test_what_is_not_exactly_a_proof_is_refused(broken: bytes) -> None:
    assert fault_of(broken, ENTRY_LIST[0]) == Fault.PROOF_MALFORMED


def test_growth_names_rollback_fork_and_rewriting() -> None:
    old = Checkpoint(ORIGIN, 200, merkle.root(ENTRY_LEAVES[:200]))
    path = merkle.consistency_path(ENTRY_LEAVES, 200)
    check_growth(old, CHECKPOINT, path)
    check_growth(old, old, [])
    check_growth(Checkpoint(ORIGIN, 0, merkle.EMPTY_ROOT), CHECKPOINT, [])
    other = [*ENTRY_LEAVES[:100], bytes(32), *ENTRY_LEAVES[101:]]
    for bad_old, bad_new, bad_path, fault in (
        (CHECKPOINT, old, path, Fault.ROLLBACK),
        (old, old._replace(root=bytes(32)), [], Fault.FORK),
        (old, CHECKPOINT, path[1:], Fault.CONSISTENCY_INVALID),
        (old, CHECKPOINT, [], Fault.CONSISTENCY_INVALID),
        (Checkpoint(ORIGIN, 0, merkle.EMPTY_ROOT), CHECKPOINT, path, Fault.CONSISTENCY_INVALID),
        (
            old,
            CHECKPOINT._replace(root=merkle.root(other)),
            merkle.consistency_path(other, 200),
            Fault.CONSISTENCY_INVALID,
        ),
        (old, CHECKPOINT._replace(origin="elsewhere"), path, Fault.ORIGIN_WRONG),
    ):
        with pytest.raises(Unproven) as caught:
            check_growth(bad_old, bad_new, bad_path)
        assert caught.value.fault == fault
