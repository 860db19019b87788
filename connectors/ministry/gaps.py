"""Reading a table by a rising number alone, without passing by a lower number that is committed later. Pure.

A number is drawn when a row is inserted and seen when its transaction commits, so numbers become visible out of order,
and one whose transaction was rolled back never does. The cursor therefore remembers each number that it did not see
below one that it saw, and looks for it again and again until
    it appears, or
    it cannot any more: `gap_wait_s` after it was missed the server's running transactions are noted, and all of those
        have ended since (whoever drew the number was one of them), and a look after that did not find it, or
    `blind_wait_s` have passed on a server that does not show its transactions: it is given up, counted and logged.
`gap_wait_s` covers what no server shows: the moment between drawing a number and starting to write with it.

Times are the server's own seconds. Transactions are numbers that rise: PostgreSQL's xid, InnoDB's trx_id.
"""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

#: So many missing stretches are remembered; beyond that no new rows are read until some are settled.
STRETCHES_MAX = 5_000

Stretch = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Activity:
    """The server's running transactions at one moment, taken before a look at the table.

    Every one that runs has a number of at least `oldest` (infinite: none runs) and below `horizon`.
    """

    oldest: float
    horizon: int


@dataclass(frozen=True, slots=True)
class Missed:
    """Stretches of numbers, both ends included, that were missed in one look."""

    since_s: float
    horizon: int | None
    stretches: tuple[Stretch, ...]


@dataclass(frozen=True, slots=True)
class GapCursor:
    """Every number up to `top` was read, but those in `missed`."""

    top: int = 0
    missed: tuple[Missed, ...] = ()

    @classmethod
    def read(cls, text: str | None) -> "GapCursor":
        """Read what `str` wrote; the beginning for None and for what another kind of cursor wrote."""
        if text is None or not text.startswith("{"):
            return cls()
        held = json.loads(text)
        missed = (Missed(s, h, tuple((low, high) for low, high in stretches)) for s, h, stretches in held["missed"])
        return cls(held["top"], tuple(missed))

    def __str__(self) -> str:
        missed = [(each.since_s, each.horizon, each.stretches) for each in self.missed]
        return json.dumps({"top": self.top, "missed": missed}, separators=(",", ":"))

    @property
    def stretches(self) -> list[Stretch]:
        """The missing stretches, in the order in which they were missed."""
        return [stretch for each in self.missed for stretch in each.stretches]

    @property
    def full(self) -> bool:
        """Whether no more stretches are remembered, so that nothing above `top` may be read now."""
        return len(self.stretches) >= STRETCHES_MAX

    def found(self, numbers: Iterable[int]) -> "GapCursor":
        """Return the cursor after missing numbers have appeared."""
        seen = sorted(numbers)
        if not seen:
            return self
        missed = (replace(each, stretches=tuple(_without(each.stretches, seen))) for each in self.missed)
        return replace(self, missed=tuple(each for each in missed if each.stretches))

    def settled(
        self, now_s: float, activity: Activity | None, gap_wait_s: float, blind_wait_s: float
    ) -> "tuple[GapCursor, int]":
        """Return the cursor without what cannot appear any more, and how many stretches were given up unseen.

        `activity`, None where the server does not show it, must be older than the look that `found` told of.
        """
        kept: list[Missed] = []
        given_up = 0
        for each in self.missed:
            age_s = now_s - each.since_s
            noted = each
            if activity is not None and each.horizon is None and age_s >= gap_wait_s:
                noted = replace(each, horizon=activity.horizon)
            if activity is not None and noted.horizon is not None and activity.oldest >= noted.horizon:
                continue
            if activity is None and age_s >= blind_wait_s:
                given_up += len(each.stretches)
                continue
            kept.append(noted)
        return replace(self, missed=tuple(kept)), given_up

    def advanced(self, numbers: Sequence[int], now_s: float) -> "GapCursor":
        """Return the cursor after rows above `top` were read; `numbers` rise."""
        if not numbers:
            return self
        before = (self.top, *numbers)
        stretches = tuple((low + 1, high - 1) for low, high in zip(before, numbers, strict=False) if high - low > 1)
        missed = (*self.missed, Missed(now_s, None, stretches)) if stretches else self.missed
        return GapCursor(numbers[-1], missed)


NO_TRANSACTION = math.inf


def _without(stretches: Iterable[Stretch], seen: Sequence[int]) -> Iterable[Stretch]:
    """Yield what is left of stretches when the numbers in `seen`, sorted, are taken out."""
    for low, high in stretches:
        for number in seen:
            if low <= number <= high:
                if low < number:
                    yield low, number - 1
                low = number + 1
        if low <= high:
            yield low, high
