"""A log that took over from an earlier one whose newest entries were lost: what the new one must show of the old.

A log that was restored to an older point can never go on under its name: it would sign two pasts. It goes on under a
new origin and new keys, with the entries that were left as its beginning, and names the last checkpoint of the old log
that witnesses cosigned. Whoever holds the old log's entries sees from this which of them are lost.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from contracts.log.checkpoint import Checkpoint, Policy, open_checkpoint, read_checkpoint
from contracts.log.note import VerifierKey, read_note


@dataclass(frozen=True, slots=True)
class Predecessor:
    """An earlier log: whom one had to believe about it, and its last checkpoint that is known, with the signed note."""

    policy: Policy
    checkpoint: Checkpoint
    note: str


def read_predecessor(note: str, log_keys: Sequence[str], witnesses: Sequence[str], witness_quorum: int) -> Predecessor:
    """Read an earlier log's last checkpoint under its own keys; where it had witnesses, one must have cosigned.

    Raises Unproven; ValueError for keys that cannot be a log's or a witness's.
    """
    origin = read_checkpoint(read_note(note.encode()).text).origin
    policy = Policy(
        origin, tuple(map(VerifierKey.read, log_keys)), tuple(map(VerifierKey.read, witnesses)), witness_quorum
    )
    needed = Policy(origin, policy.log_keys, policy.witnesses, max(witness_quorum, min(1, len(witnesses))))
    return Predecessor(policy, open_checkpoint(note.encode(), needed).checkpoint, note)


def write_predecessor(note: str, policy: Policy) -> dict[str, Any]:
    """Write an earlier log as a member of the registry's `predecessors`. Raises Unproven if the checkpoint is not its.

    `policy` is whom the registry in force believes about the log that ends.
    """
    written: dict[str, Any] = {
        "checkpoint": note,
        "log_keys": [key.write() for key in policy.log_keys],
        "witnesses": [key.write() for key in policy.witnesses],
        "witness_quorum": policy.quorum,
    }
    read_predecessor(note, written["log_keys"], written["witnesses"], policy.quorum)
    return written


def find_breach(old: tuple[Policy, Sequence[Predecessor]], new: tuple[Policy, Sequence[Predecessor]]) -> str | None:
    """Say why the log of `new`, with its predecessors, may not follow that of `old`; None if it may.

    The same log keeps its keys; another one names the old as its predecessor, bears a name never used, and has keys of
    its own: the old log's key must never be of use again.
    """
    (log, before), (successor, named) = old, new
    used = {key.public for one in named for key in one.policy.log_keys}
    if successor.origin == log.origin:
        if list(named) != list(before):
            return "the log's predecessors are others"
        return "a key of a log that has ended" if any(key.public in used for key in successor.log_keys) else None
    if list(named[:-1]) != list(before) or not named or named[-1].policy != log:
        return "of another log, which does not name the old one's last checkpoint"
    if successor.origin in {one.policy.origin for one in named}:
        return "the name of a log that has ended"
    return "a key of a log that has ended" if any(key.public in used for key in successor.log_keys) else None
