"""The proof that travels with an entry: its index, its path, and a checkpoint that covers it; checked offline.

    c2sp.org/tlog-proof@v1
    index <index>
    <base64 of each hash of the path, one a line>
    <empty line>
    <signed checkpoint>

Source: https://c2sp.org/tlog-proof.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from contracts import merkle
from contracts.log.checkpoint import Checkpoint, Opened, Policy, open_checkpoint, read_hash, read_size
from contracts.log.fault import Fault, Unproven
from contracts.log.note import decode_base64, encode_base64

HEADER = "c2sp.org/tlog-proof@v1"
PATH_MAX = 63


@dataclass(frozen=True, slots=True)
class Proof:
    """A proof as it was read; `checkpoint` are the bytes of the signed note. `extra` is signed by nobody."""

    index: int
    path: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes | None = None

    @property
    def origin(self) -> str:
        """The log that this says it is of, by the first line of its checkpoint, which nobody has verified yet."""
        return self.checkpoint.partition(b"\n")[0].decode(errors="replace")

    def write(self) -> bytes:
        """Write the proof."""
        extra = [] if self.extra is None else [f"extra {encode_base64(self.extra)}"]
        lines = [HEADER, *extra, f"index {self.index}", *map(encode_base64, self.path)]
        return "".join(f"{line}\n" for line in lines).encode() + b"\n" + self.checkpoint


def _malformed(detail: str) -> Unproven:
    return Unproven(Fault.PROOF_MALFORMED, detail)


def read_proof(raw: bytes) -> Proof:
    """Read a proof. The checkpoint in it is read when the proof is checked. Raises Unproven(proof_malformed)."""
    above, separator, checkpoint = raw.partition(b"\n\n")
    try:
        lines = above.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise _malformed("not ASCII above the checkpoint") from None
    if not separator or lines.pop(0) != HEADER:
        raise _malformed(f"not {HEADER}")
    extra = None
    if lines and lines[0].startswith("extra "):
        extra = decode_base64(lines.pop(0).removeprefix("extra "))
        if extra is None:
            raise _malformed("the extra line is not base64")
    label, _, number = (lines.pop(0) if lines else "").partition(" ")
    index = read_size(number)
    if label != "index" or index is None:
        raise _malformed("no index line")
    return Proof(index, read_path(lines), checkpoint, extra)


def read_path(lines: Sequence[str]) -> tuple[bytes, ...]:
    """Read hashes, one a line. Raises Unproven(proof_malformed)."""
    if len(lines) > PATH_MAX:
        raise _malformed(f"more than {PATH_MAX} hashes")
    path = tuple(digest for digest in map(read_hash, lines) if digest is not None)
    if len(path) != len(lines):
        raise _malformed("a line is not a hash in base64")
    return path


def check_proof(
    raw: bytes, entry: bytes, policy: Policy, *, now: datetime | None = None, index: int | None = None
) -> Opened:
    """Verify that `entry` is in the log of `policy`, and at `index` if that is known elsewhere. Raises Unproven."""
    proof = read_proof(raw)
    opened = open_checkpoint(proof.checkpoint, policy, now=now)
    if index is not None and proof.index != index:
        raise Unproven(Fault.INCLUSION_INVALID, f"the proof is of index {proof.index}, expected {index}")
    checkpoint = opened.checkpoint
    leaf = merkle.leaf_hash(entry)
    if not merkle.verify_inclusion(leaf, proof.index, checkpoint.size, proof.path, checkpoint.root):
        raise Unproven(
            Fault.INCLUSION_INVALID,
            f"the path does not lead from this entry at index {proof.index} to the root of size {checkpoint.size}",
        )
    return opened


def check_growth(old: Checkpoint, new: Checkpoint, path: Sequence[bytes]) -> None:
    """Verify that the log of `new` is that of `old` with entries appended and nothing else (RFC 9162 section 2.1.4.2).

    Raises Unproven: rollback (it became shorter), fork (two roots of one size), consistency_invalid.
    """
    if old.origin != new.origin:
        raise Unproven(Fault.ORIGIN_WRONG, f"the checkpoint is of {new.origin}, expected {old.origin}")
    if new.size < old.size:
        raise Unproven(Fault.ROLLBACK, f"the log had {old.size} entries and is now of {new.size}")
    if new.size == old.size and new.root != old.root:
        raise Unproven(Fault.FORK, f"two roots of size {old.size}")
    grown = not path if old.size == 0 else merkle.verify_consistency(old.size, old.root, new.size, new.root, path)
    if not grown:
        raise Unproven(
            Fault.CONSISTENCY_INVALID,
            f"nothing proves that the log of size {new.size} contains that of size {old.size}",
        )
