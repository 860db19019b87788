"""How files were handled in a month, for overseers alone: pauses, exemptions, lost bases, Immigration's delay.

    Dossier --read_handling--> Handled per thing that happened --HandlingTally--> HandlingRow

Nothing is left out of it: it is not for the public.
"""

from collections import defaultdict
from collections.abc import Iterator
from datetime import date
from statistics import median
from typing import Any, Final, NamedTuple

from contracts.oversight.dossier import (
    DEFICIENT,
    GRANTED,
    ISSUED,
    VISA_APPROVED,
    VISA_REFUSED,
    WITHDRAWN,
    Dossier,
)
from contracts.oversight.group_findings import percentile
from contracts.rules.case import EXEMPTED
from contracts.rules.clock import jakarta_day

PAUSE: Final = "pause"
EXEMPTION: Final = "exemption"
WITHDRAWAL: Final = "withdrawal_after_visa"
VISA: Final = "visa"
_HOUR_S: Final = 3_600


class Handled(NamedTuple):
    """Something that happened in a file.

    `what` is one of the four above; `by` the unit, the exemption's class, the reason or the office; `of` the code of
    the deficiency, the unit or the application; `seconds` how long it took, None where it did not end or takes no time.
    """

    what: str
    day: date
    by: str
    of: str
    seconds: int | None

    def to_json(self) -> list[Any]:
        """The compact form in which it is stored."""
        return [self.what, self.day.isoformat(), self.by, self.of, self.seconds]

    @classmethod
    def from_json(cls, stored: list[Any]) -> "Handled":
        """What such an array says."""
        what, day, by, of, seconds = stored
        return cls(what, date.fromisoformat(day), by, of, seconds)


class HandlingRow(NamedTuple):
    """How often something happened in a month, and how long it took in hours, rounded down."""

    what: str
    by: str
    of: str
    number: int
    median_h: int | None
    p90_h: int | None


def read_handling(dossier: Dossier) -> list[Handled]:
    """Everything that happened in a file of which overseers are told by the month."""
    submitted = dossier.submitted
    if submitted is None:
        return []
    unit = submitted.data["unit"]
    found = [
        Handled(EXEMPTION, jakarta_day(fact.time), fact.data["class"], unit, None) for fact in dossier.of(EXEMPTED)
    ]
    return [*found, *_read_pauses(dossier, unit), *_read_visas(dossier)]


def _read_pauses(dossier: Dossier, unit: str) -> Iterator[Handled]:
    for since, until in dossier.pauses:
        notice = next(fact for fact in dossier.of(DEFICIENT) if fact.time == since)
        seconds = None if until is None else int((until - since).total_seconds())
        for code in sorted({one["code"] for one in notice.data["missing"]}):
            yield Handled(PAUSE, jakarta_day(since), unit, code, seconds)


def _read_visas(dossier: Dossier) -> Iterator[Handled]:
    granted = dossier.of(*GRANTED)
    office = str(granted[-1].data.get("kanim", "")) if granted else ""
    approved = dossier.first(VISA_APPROVED)
    issued, answered = dossier.first(ISSUED), dossier.first(VISA_APPROVED, VISA_REFUSED)
    if issued is not None and answered is not None:
        seconds = max(int((answered.time - issued.time).total_seconds()), 0)
        yield Handled(VISA, jakarta_day(answered.time), office, "", seconds)
    for fact in dossier.of(WITHDRAWN):
        if approved is not None and approved.time <= fact.time:
            yield Handled(WITHDRAWAL, jakarta_day(fact.time), str(fact.data.get("reason")), dossier.subject, None)


class HandlingTally:
    """Counts what happened in a month, `month` being its first day."""

    def __init__(self, month: date) -> None:
        self._month = month
        self._took: dict[tuple[str, str, str], list[int | None]] = defaultdict(list)

    def add(self, one: Handled) -> None:
        """Count something that happened."""
        if (one.day.year, one.day.month) == (self._month.year, self._month.month):
            self._took[one.what, one.by, one.of].append(one.seconds)

    def rows(self) -> list[HandlingRow]:
        """What happened in the month, in one order."""
        rows = []
        for (what, by, of), listed in sorted(self._took.items()):
            took = sorted(one for one in listed if one is not None)
            middle = int(median(took)) // _HOUR_S if took else None
            rows.append(
                HandlingRow(what, by, of, len(listed), middle, percentile(took, 90) // _HOUR_S if took else None)
            )
        return rows
