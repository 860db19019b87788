"""The hash tree, against the definition in RFC 9162 written out once more and against its published hashes."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import merkle

# The leaves and roots of Certificate Transparency's reference tests (RFC 6962, certificate-transparency merkletree).
ENTRIES = [bytes.fromhex(text) for text in (
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
)]  # fmt: skip
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAVES = [merkle.leaf_hash(entry) for entry in ENTRIES]


def root_as_defined(leaves: list[bytes]) -> bytes:
    """Compute MTH as RFC 9162 section 2.1.1 writes it."""
    if len(leaves) < 2:
        return leaves[0] if leaves else sha256(b"").digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return merkle.node_hash(root_as_defined(leaves[:split]), root_as_defined(leaves[split:]))


def some_leaves(size: int) -> list[bytes]:
    """Make so many different leaf hashes."""
    return [merkle.leaf_hash(str(number).encode()) for number in range(size)]


def test_roots_are_the_published_ones() -> None:
    assert merkle.root([]) == sha256(b"").digest()
    assert [merkle.root(LEAVES[: size + 1]).hex() for size in range(8)] == ROOTS


@pytest.mark.parametrize("size", range(1, 66))
def test_every_leaf_is_proved_and_only_at_its_place(size: int) -> None:
    leaves = some_leaves(size)
    root = merkle.root(leaves)
    assert root == root_as_defined(leaves)
    for index, leaf in enumerate(leaves):
        path = merkle.inclusion_path(leaves, index)
        assert merkle.verify_inclusion(leaf, index, size, path, root)
        assert merkle.root_of_path(leaf, index, size, [*path, bytes(32)]) is None
        assert not path or merkle.root_of_path(leaf, index, size, path[:-1]) is None
        assert not merkle.verify_inclusion(leaf, size, size, path, root)
        assert not merkle.verify_inclusion(leaf, -1, size, path, root)
        elsewhere = (index + 1) % size
        assert size == 1 or not merkle.verify_inclusion(leaf, elsewhere, size, path, root)


@given(st.integers(1, 200), st.data())
def test_growth_is_proved(size: int, data: st.DataObject) -> None:
    old_size = data.draw(st.integers(1, size))
    leaves = some_leaves(size)
    old_root, root = merkle.root(leaves[:old_size]), merkle.root(leaves)
    path = merkle.consistency_path(leaves, old_size)
    assert merkle.verify_consistency(old_size, old_root, size, root, path)
    other = merkle.leaf_hash(b"another tree")
    assert not merkle.verify_consistency(old_size, other, size, root, path)
    assert not merkle.verify_consistency(old_size, old_root, size, other, path)
    assert not merkle.verify_consistency(old_size, old_root, size, root, [*path, other])
    if path:
        assert not merkle.verify_consistency(old_size, old_root, size, root, path[:-1])


def test_a_changed_history_is_no_growth() -> None:
    leaves = some_leaves(20)
    changed = [merkle.leaf_hash(b"changed"), *leaves[1:]]
    path = merkle.consistency_path(changed, 11)
    assert not merkle.verify_consistency(11, merkle.root(leaves[:11]), 20, merkle.root(changed), path)
    assert not merkle.verify_consistency(0, merkle.EMPTY_ROOT, 20, merkle.root(leaves), [])
    assert not merkle.verify_consistency(21, merkle.root(leaves), 20, merkle.root(leaves), [])
    with pytest.raises(IndexError):
        merkle.consistency_path(leaves, 0)
    with pytest.raises(IndexError):
        merkle.inclusion_path(leaves, 20)


def test_a_node_is_no_leaf() -> None:
    left, right = LEAVES[:2]
    assert merkle.leaf_hash(left + right) != merkle.node_hash(left, right)
