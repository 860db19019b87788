"""What one source said in one day, counted so that its sender and the hub come to the same. Pure.

A day's count is about a stretch of the evidence log, from `first_index` up to `log_size` (exclusive). It is final: what
comes later stands behind that stretch and belongs to a later day, whenever it was meant for.

    accepted   messages whose entry stands in the stretch; `sha256` is over (sequence, id, digest) of each, in sequence
    refused    messages of which a refusal in the stretch is the first that the log says of these bytes, by code
    ranges     the sequences of what was accepted, so that two sides that differ can name what is missing
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final, NamedTuple

from contracts.events.count import RANGES_MAX
from contracts.wire import base64url

#: So many stretches of missing sequences are named.
MISSING_MAX: Final = 64


class Range(NamedTuple):
    """Sequences from `first` to `last`, both included."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Count:
    """What one source said in one stretch of the log. `ranges` end early where there are more than RANGES_MAX."""

    accepted: int
    refused: Mapping[str, int]
    first: int | None
    last: int | None
    ranges: tuple[Range, ...]
    sha256: str

    @property
    def named_up_to(self) -> int:
        """The sequence up to which `ranges` are everything that was accepted; 2**63 if they are all of it."""
        whole = sum(last - first + 1 for first, last in self.ranges) == self.accepted
        return 2**63 if whole or not self.ranges else self.ranges[-1].last

    def members(self) -> dict[str, Any]:
        """Return the count as the `data` of an event holds it."""
        return {
            "accepted": self.accepted,
            "refused": [{"code": code, "count": count} for code, count in sorted(self.refused.items())],
            "first": _write(self.first),
            "last": _write(self.last),
            "ranges": [{"first": _write(first), "last": _write(last)} for first, last in self.ranges],
            "sha256": self.sha256,
        }


def read_count(members: Mapping[str, Any]) -> Count:
    """Return the count that an event's `data`, which its contract has checked, holds."""
    return Count(
        members["accepted"],
        {one["code"]: one["count"] for one in members["refused"]},
        _read(members["first"]),
        _read(members["last"]),
        tuple(Range(int(one["first"]), int(one["last"])) for one in members["ranges"]),
        members["sha256"],
    )


def _write(sequence: int | None) -> str | None:
    """Spell a sequence as the envelope does, since JSON's numbers end below the highest one."""
    return None if sequence is None else f"{sequence:020d}"


def _read(text: str | None) -> int | None:
    return None if text is None else int(text)


class Tally:
    """Counts messages one by one, which are given in the order of their sequences, each once."""

    def __init__(self) -> None:
        self._digest = sha256()
        self._ranges: list[Range] = []
        self._first: int | None = None
        self._last: int | None = None
        self._accepted = 0

    def add(self, sequence: int, identity: str, digest: bytes) -> None:
        """Count an accepted message. Raises ValueError unless its sequence is higher than the one before."""
        if self._last is not None and sequence <= self._last:
            raise ValueError("messages are counted in the order of their sequences, each once")
        self._digest.update(f"{sequence:020d} {identity} {base64url.encode(digest)}\n".encode())
        self._accepted += 1
        if self._last is not None and self._ranges[-1].last == self._last == sequence - 1:
            self._ranges[-1] = Range(self._ranges[-1].first, sequence)
        elif len(self._ranges) < RANGES_MAX:
            self._ranges.append(Range(sequence, sequence))
        self._first = sequence if self._first is None else self._first
        self._last = sequence

    def close(self, refused: Mapping[str, int]) -> Count:
        """Return the count, with the refusals by code that were counted beside."""
        digest = base64url.encode(self._digest.digest())
        return Count(self._accepted, dict(refused), self._first, self._last, tuple(self._ranges), digest)


@dataclass(frozen=True, slots=True)
class Disagreement:
    """In what the two sides' counts of one stretch differ.

    `missing_at_hub` are sequences that the sender says were accepted and the hub does not have, `missing_at_sender`
    the other way round. `contents_differ`: the same sequences, other messages. `refused` is (hub, sender) by code.
    """

    missing_at_hub: tuple[Range, ...] = ()
    missing_at_sender: tuple[Range, ...] = ()
    contents_differ: bool = False
    refused: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Whether there is one."""
        return bool(self.missing_at_hub or self.missing_at_sender or self.contents_differ or self.refused)

    def members(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return {
            "missing_at_hub": [list(one) for one in self.missing_at_hub],
            "missing_at_sender": [list(one) for one in self.missing_at_sender],
            "contents_differ": self.contents_differ,
            "refused": {code: {"hub": hub, "sender": own} for code, (hub, own) in sorted(self.refused.items())},
        }

    def tell(self) -> str:
        """Return it in one line."""
        parts = [
            f"the hub lacks {_spell(self.missing_at_hub)}" if self.missing_at_hub else "",
            f"the sender lacks {_spell(self.missing_at_sender)}" if self.missing_at_sender else "",
            "the same sequences hold other messages" if self.contents_differ else "",
            *(f"{code} refused: hub {hub}, sender {own}" for code, (hub, own) in sorted(self.refused.items())),
        ]
        return "; ".join(filter(None, parts))


def compare(hub: Count, sender: Count, *, refusals_known: bool = True) -> Disagreement:
    """Compare two counts of the same stretch.

    A sender whose records were lost and rebuilt since knows what was accepted and not what was refused before:
    `refusals_known` is false for it.
    """
    refused: dict[str, tuple[int, int]] = {}
    if refusals_known:
        for code in hub.refused.keys() | sender.refused.keys():
            two = hub.refused.get(code, 0), sender.refused.get(code, 0)
            if two[0] != two[1]:
                refused[code] = two
    if hub.sha256 == sender.sha256:
        return Disagreement(refused=refused)
    known = min(hub.named_up_to, sender.named_up_to)
    at_hub, at_sender = _subtract(sender.ranges, hub.ranges, known), _subtract(hub.ranges, sender.ranges, known)
    return Disagreement(at_hub[:MISSING_MAX], at_sender[:MISSING_MAX], not at_hub and not at_sender, refused)


def _subtract(whole: Iterable[Range], part: tuple[Range, ...], limit: int) -> tuple[Range, ...]:
    """Return what is in `whole` and not in `part`, up to `limit`; both ascend."""
    left: list[Range] = []
    place = 0
    for first, last in whole:
        start, end = first, min(last, limit)
        while place < len(part) and part[place].last < start:
            place += 1
        look = place
        while look < len(part) and part[look].first <= end:
            if start < part[look].first:
                left.append(Range(start, part[look].first - 1))
            start = part[look].last + 1
            look += 1
        if start <= end:
            left.append(Range(start, end))
    return tuple(left)


def _spell(ranges: Iterable[Range]) -> str:
    return ", ".join(str(first) if first == last else f"{first} to {last}" for first, last in ranges)
