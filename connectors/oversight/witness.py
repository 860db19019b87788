"""What a witness says to a checkpoint that it is shown: the rules of C2SP tlog-witness, pure.

    POST /add-checkpoint
    old <size of the checkpoint cosigned before>
    <consistency proof, one hash a line>
    <empty line>
    <signed checkpoint>

Source: https://c2sp.org/tlog-witness.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import NamedTuple

from contracts import merkle
from contracts.log.checkpoint import Checkpoint, Policy, open_checkpoint, read_checkpoint, read_size
from contracts.log.fault import Fault, Unproven
from contracts.log.note import Note, SignatureLine, cosign_text, read_note
from contracts.log.proof import check_growth, read_path
from contracts.wire.key import Signer

REQUEST_BYTES_MAX = 262_144
TEXT = "text/plain; charset=utf-8"
SIZE = "text/x.tlog.size"


@dataclass(frozen=True, slots=True)
class Witness:
    """A witness: its name, its key, and the logs that it watches, each under its own keys."""

    name: str
    key: Signer
    logs: Mapping[str, Policy]

    def cosign(self, note: Note, now_s: int) -> SignatureLine:
        """Cosign a checkpoint's text at `now_s`, in POSIX seconds."""
        return cosign_text(note.text, self.name, self.key, now_s)


class Shown(NamedTuple):
    """A request as it was read: the size that the log believes was cosigned last, the proof, the checkpoint."""

    old_size: int
    path: tuple[bytes, ...]
    note: Note
    checkpoint: Checkpoint


class Answer(NamedTuple):
    """What is said back."""

    status: HTTPStatus
    body: str
    media_type: str = TEXT


class Refused(Exception):
    """A checkpoint that is not cosigned. `contradiction` says so if both checkpoints are to be kept as proof."""

    def __init__(self, answer: Answer, contradiction: Fault | None = None) -> None:
        super().__init__(answer.body)
        self.answer = answer
        self.contradiction = contradiction


# The checkpoint that was cosigned with exactly this size, if it is still kept.
Recall = Callable[[int], Checkpoint | None]


def _refuse(status: HTTPStatus, sentence: str, contradiction: Fault | None = None) -> Refused:
    return Refused(Answer(status, f"{sentence}\n"), contradiction)


def read_request(body: bytes) -> Shown:
    """Read a request. Raises Refused (400)."""
    above, separator, signed = body.partition(b"\n\n")
    label, _, number = above.partition(b"\n")[0].decode("ascii", "replace").partition(" ")
    old_size = read_size(number)
    if not separator or label != "old" or old_size is None:
        raise _refuse(HTTPStatus.BAD_REQUEST, "The request does not begin with the old size and a proof.")
    try:
        path = read_path(above.decode("ascii", "replace").split("\n")[1:])
        note = read_note(signed)
        return Shown(old_size, path, note, read_checkpoint(note.text))
    except Unproven as error:
        raise _refuse(HTTPStatus.BAD_REQUEST, f"The request cannot be read: {error}.") from None


def check_signature(shown: Shown, witness: Witness) -> None:
    """Check that a log that is watched signed the checkpoint. Raises Refused (404, 403)."""
    policy = witness.logs.get(shown.checkpoint.origin)
    if policy is None:
        raise _refuse(HTTPStatus.NOT_FOUND, "This log is not watched here.")
    try:
        open_checkpoint(shown.note, policy)
    except Unproven as error:
        raise _refuse(HTTPStatus.FORBIDDEN, f"The log did not sign this: {error}.") from None


def check_consistency(shown: Shown, held: Checkpoint | None, recall: Recall) -> None:
    """Check that the log only grew since `held`, which was cosigned last. Raises Refused (400, 409, 422)."""
    new = shown.checkpoint
    before = recall(new.size)
    if before is not None and before.root != new.root:
        # Both are signed by the log, so this proves by itself that the log forked, whatever else the request says.
        raise _refuse(
            HTTPStatus.UNPROCESSABLE_ENTITY, f"The log signed two roots of size {new.size}: a fork.", Fault.FORK
        )
    if shown.old_size > new.size:
        raise _refuse(HTTPStatus.BAD_REQUEST, "The old size is above the checkpoint's.")
    held_size = 0 if held is None else held.size
    if shown.old_size != held_size:
        raise Refused(Answer(HTTPStatus.CONFLICT, f"{held_size}\n", SIZE))
    if new.size == 0 and new.root != merkle.EMPTY_ROOT:
        raise _refuse(HTTPStatus.UNPROCESSABLE_ENTITY, "The root of the empty log is another.")
    try:
        check_growth(held or Checkpoint(new.origin, 0, merkle.EMPTY_ROOT), new, shown.path)
    except Unproven as error:
        raise _refuse(HTTPStatus.UNPROCESSABLE_ENTITY, f"Not cosigned: {error}.", error.fault) from None
