"""Checkpoints: what a log says of itself at one size, signed by the log and cosigned by witnesses.

    <origin>
    <size>
    <base64 of the root>

Source: https://c2sp.org/tlog-checkpoint, https://c2sp.org/tlog-cosignature.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from contracts import merkle
from contracts.log.fault import Fault, Unproven
from contracts.log.note import (
    Kind,
    Note,
    VerifierKey,
    decode_base64,
    encode_base64,
    read_note,
    sign_text,
    signatures_of,
    timestamp_of,
    verified_by,
)
from contracts.wire.key import Signer

SIZE_MAX = 2**63 - 1
SIZE_DIGITS_MAX = 19
# How far the clocks of two parties may differ.
CLOCK_SKEW_S = 300


class Checkpoint(NamedTuple):
    """A log's origin, its number of entries and the root over them. `extensions` are lines that nobody can audit."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def write(self) -> str:
        """Write the text that is signed."""
        return "".join(
            f"{line}\n" for line in (self.origin, str(self.size), encode_base64(self.root), *self.extensions)
        )


@dataclass(frozen=True, slots=True)
class Policy:
    """Whom to believe about a log: its keys, its witnesses, and how many of these must have cosigned."""

    origin: str
    log_keys: tuple[VerifierKey, ...]
    witnesses: tuple[VerifierKey, ...] = ()
    quorum: int = 0

    def __post_init__(self) -> None:
        if any(key.kind is not Kind.ED25519 for key in self.log_keys):
            raise ValueError("a log signs with type 0x01")
        if any(key.kind is not Kind.COSIGNATURE_V1 for key in self.witnesses):
            raise ValueError("a witness cosigns with type 0x04")
        # One witness is one key: under two names it would count twice.
        if len({key.public for key in self.witnesses}) != len(self.witnesses):
            raise ValueError("a witness stands twice")
        # Else the log would be its own witness.
        if {key.public for key in self.witnesses} & {key.public for key in self.log_keys}:
            raise ValueError("a key of the log is a witness's too")
        if not 0 <= self.quorum <= len(self.witnesses):
            raise ValueError("there are fewer witnesses than must cosign")


class Opened(NamedTuple):
    """A checkpoint whose signatures a policy has verified; `cosigned` is when each witness says that it cosigned."""

    checkpoint: Checkpoint
    note: Note
    cosigned: Mapping[str, int]


def read_size(text: str) -> int | None:
    """Read a tree's size or an index: decimal, no sign, no leading zero, below 2**63. None for anything else."""
    if not text.isascii() or not text.isdigit() or len(text) > SIZE_DIGITS_MAX or (text[0] == "0" and text != "0"):
        return None
    return int(text) if int(text) <= SIZE_MAX else None


def read_hash(text: str) -> bytes | None:
    """Read one hash in base64, or None."""
    raw = decode_base64(text)
    return raw if raw is not None and len(raw) == merkle.HASH_BYTES else None


def read_checkpoint(text: str) -> Checkpoint:
    """Read a checkpoint's text. Raises Unproven(checkpoint_malformed)."""
    lines = text.split("\n")
    if len(lines) < 4 or lines.pop() or not all(lines):
        raise Unproven(Fault.CHECKPOINT_MALFORMED, "not origin, size and root on a line each")
    size, root = read_size(lines[1]), read_hash(lines[2])
    if size is None:
        raise Unproven(Fault.CHECKPOINT_MALFORMED, "the size is not a canonical number")
    if root is None or (size == 0 and root != merkle.EMPTY_ROOT):
        raise Unproven(Fault.CHECKPOINT_MALFORMED, "the root is not a canonical hash of that size")
    return Checkpoint(lines[0], size, root, tuple(lines[3:]))


def sign_checkpoint(checkpoint: Checkpoint, key: Signer) -> Note:
    """Sign a checkpoint as the log: the key's name is the log's origin."""
    text = checkpoint.write()
    return Note(text, (sign_text(text, checkpoint.origin, key),))


def open_checkpoint(
    signed: bytes | Note, policy: Policy, *, now: datetime | None = None, age_s_max: int | None = None
) -> Opened:
    """Verify a signed checkpoint: origin, the log's signature, every cosignature of a known witness, their number.

    With `now`, a cosignature from the future is refused; with `age_s_max`, one older than that does not count.
    Raises Unproven.
    """
    note = read_note(signed) if isinstance(signed, bytes) else signed
    checkpoint = read_checkpoint(note.text)
    if checkpoint.origin != policy.origin:
        raise Unproven(Fault.ORIGIN_WRONG, f"the checkpoint is of {checkpoint.origin}, expected {policy.origin}")
    if not verified_by(note, policy.log_keys):
        raise Unproven(Fault.LOG_SIGNATURE_MISSING, f"no key of {policy.origin} signed the checkpoint")
    cosigned = {}
    for witness in policy.witnesses:
        if times := [timestamp_of(signature) for signature in signatures_of(note, witness)]:
            cosigned[witness.name, witness.key_id] = max(times)
    if now is not None:
        cosigned = _current(cosigned, now.timestamp(), age_s_max)
    if len(cosigned) < policy.quorum:
        fault = Fault.QUORUM_MISSING
        raise Unproven(fault, f"{len(cosigned)} of the witnesses cosigned the checkpoint, {policy.quorum} must")
    return Opened(checkpoint, note, {name: time for (name, _), time in cosigned.items()})


def _current(
    cosigned: dict[tuple[str, bytes], int], now_s: float, age_s_max: int | None
) -> dict[tuple[str, bytes], int]:
    for (name, _), time in cosigned.items():
        if time > now_s + CLOCK_SKEW_S:
            raise Unproven(Fault.COSIGNATURE_FROM_FUTURE, f"of {name}")
        if age_s_max is not None and time < now_s - age_s_max - CLOCK_SKEW_S:
            raise Unproven(Fault.COSIGNATURE_STALE, f"of {name}")
    return cosigned
