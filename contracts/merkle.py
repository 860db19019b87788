"""The hash tree of RFC 9162 section 2.1, as batches and the evidence log use it.

A leaf and a node are hashed under different first bytes, so that a node can never pass for a value of 64 bytes.
"""

from collections.abc import Sequence
from hashlib import sha256

HASH_BYTES = 32
LEAF_PREFIX = b"\x00"
NODE_PREFIX = b"\x01"
EMPTY_ROOT = sha256(b"").digest()


def leaf_hash(entry: bytes) -> bytes:
    """SHA-256(0x00 || entry)."""
    return sha256(LEAF_PREFIX + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right)."""
    return sha256(NODE_PREFIX + left + right).digest()


def _split(size: int) -> int:
    """The largest power of two smaller than `size` (size >= 2): how many leaves the left half holds."""
    return 1 << ((size - 1).bit_length() - 1)


def root(leaves: Sequence[bytes]) -> bytes:
    """The root over leaf hashes, in order (RFC 9162 section 2.1.1). No leaves: the hash of nothing."""
    if not leaves:
        return EMPTY_ROOT
    level = list(leaves)
    while len(level) > 1:
        paired = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        # An odd last node is carried up unchanged, which is the same tree as the recursive definition.
        level = paired + level[len(paired) * 2 :]
    return level[0]


def levels(leaves: Sequence[bytes]) -> list[list[bytes]]:
    """All levels of the tree, leaves first, for taking many paths out of one tree."""
    tree = [list(leaves)]
    while len(tree[-1]) > 1:
        below = tree[-1]
        paired = [node_hash(below[i], below[i + 1]) for i in range(0, len(below) - 1, 2)]
        tree.append(paired + below[len(paired) * 2 :])
    return tree


def path_in(tree: Sequence[Sequence[bytes]], index: int) -> list[bytes]:
    """The inclusion path of leaf `index` out of `levels(...)`, lowest sibling first. Raises IndexError."""
    if not 0 <= index < len(tree[0]):
        raise IndexError(index)
    path = []
    for level in tree[:-1]:
        sibling = index ^ 1
        if sibling < len(level):
            path.append(level[sibling])
        index >>= 1
    return path


def inclusion_path(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The path that proves leaf `index` (RFC 9162 section 2.1.3.1). Raises IndexError."""
    return path_in(levels(leaves), index)


def root_of_path(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """The root that `path` leads to, or None if it is no path for `index` in a tree of `size`.

    Source: RFC 9162 section 2.1.3.2. Every node of the path is consumed and none may be left over, so a truncated or
    extended path gives None.
    """
    if not 0 <= index < size:
        return None
    position, last, digest = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return None
        if position & 1 or position == last:
            digest = sha256(NODE_PREFIX + sibling + digest).digest()
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            digest = sha256(NODE_PREFIX + digest + sibling).digest()
        position >>= 1
        last >>= 1
    return digest if last == 0 else None


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], expected_root: bytes) -> bool:
    """Whether the leaf hash stands at `index` in the tree of `size` leaves with this root."""
    return root_of_path(leaf, index, size, path) == expected_root


def consistency_path(leaves: Sequence[bytes], old_size: int) -> list[bytes]:
    """The proof that the tree of the first `old_size` leaves grew into this one (RFC 9162 section 2.1.4.1).

    Raises IndexError unless 0 < old_size <= len(leaves).
    """
    if not 0 < old_size <= len(leaves):
        raise IndexError(old_size)
    return _subproof(old_size, leaves, complete=True)


def _subproof(old_size: int, leaves: Sequence[bytes], complete: bool) -> list[bytes]:
    size = len(leaves)
    if old_size == size:
        return [] if complete else [root(leaves)]
    left = _split(size)
    if old_size <= left:
        return [*_subproof(old_size, leaves[:left], complete), root(leaves[left:])]
    return [*_subproof(old_size - left, leaves[left:], complete=False), root(leaves[:left])]


def verify_consistency(old_size: int, old_root: bytes, size: int, new_root: bytes, path: Sequence[bytes]) -> bool:
    """Whether the tree (size, new_root) is the tree (old_size, old_root) with leaves appended, and nothing else.

    Source: RFC 9162 section 2.1.4.2. An empty old tree proves nothing and gives False.
    """
    if not 0 < old_size <= size:
        return False
    if old_size == size:
        return not path and old_root == new_root
    if not path:
        return False
    nodes = list(path) if old_size & (old_size - 1) else [old_root, *path]
    position, last = old_size - 1, size - 1
    while position & 1:
        position >>= 1
        last >>= 1
    old_digest = new_digest = nodes[0]
    for sibling in nodes[1:]:
        if last == 0:
            return False
        if position & 1 or position == last:
            old_digest, new_digest = node_hash(sibling, old_digest), node_hash(sibling, new_digest)
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            new_digest = node_hash(new_digest, sibling)
        position >>= 1
        last >>= 1
    return last == 0 and old_digest == old_root and new_digest == new_root
