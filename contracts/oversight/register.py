"""The register of foreign workers (TKA): who works where, for whom, in which post, until when.

    Dossier --enter--> Registered --grant--> what an office may see; --compare--> where two agencies do not agree

People are pseudonymous references that only the Ministry can resolve. An entry is a fold of permit, amendment,
revocation, expiry, employment ended, visa, stay permit, entry and exit: a function of the set of facts and of a day.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date, timedelta
from typing import Any, Final, Literal, NamedTuple

from contracts.oversight.dossier import (
    EMPLOYMENT_ENDED,
    ENTERED,
    GRANTED,
    LEFT,
    STAY_PERMIT,
    VISA_APPROVED,
    VISA_REFUSED,
    VISA_REVOKED,
    Dossier,
)
from contracts.rules.case import APPROVED
from contracts.rules.clock import jakarta_day

#: How soon an office is told that a permit ends (days).
EXPIRING_DAYS: Final = (30, 60, 90)
#: How long after its end somebody may still be on the way out before two books do not agree.
DEPARTURE_GRACE_DAYS: Final = 14
#: How long somebody may be abroad before an employment that goes on does not agree with it.
ABSENCE_DAYS_MAX: Final = 90

#: What Immigration says of a worker: nothing that a labour office needs to know who works in its regency.
BORDER_MEMBERS: Final = ("visa_until", "stay_until", "present", "crossed_on")
_DATES: Final = ("from_", "until", "ended_on", "visa_until", "stay_until", "crossed_on")

Status = Literal["to_come", "in_force", "ended"]
DisagreementKind = Literal["overstay", "left_while_employed", "visa_beyond_permit"]


class Registered(NamedTuple):
    """One worker in one post. `until` is the permit's own end, `ended_on` the day on which it ended before that.

    `visa_until` and `stay_until` are Immigration's, None where there is none or it was taken back; `present` says
    whether the last crossing was an entry, `crossed_on` its day. `unit` handled the permit. `log_indices` are of the
    Ministry's facts, `border_indices` of Immigration's.
    """

    application: str
    worker: str
    employer: str
    position: str
    regencies: tuple[str, ...]
    from_: date
    until: date
    ended_on: date | None
    visa_until: date | None
    stay_until: date | None
    present: bool
    crossed_on: date | None
    log_indices: tuple[int, ...]
    kanim: str
    unit: str
    border_indices: tuple[int, ...]

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> "Registered":
        """Read an entry from what `to_json` wrote."""
        members = dict(written)
        members["from_"] = members.pop("from")
        for name in _DATES:
            members[name] = None if members[name] is None else date.fromisoformat(members[name])
        for name in ("regencies", "log_indices", "border_indices"):
            members[name] = tuple(members[name])
        return cls(**members)

    @property
    def last_day(self) -> date:
        """The day on which the employment ends or ended."""
        return self.until if self.ended_on is None else min(self.until, self.ended_on)

    def status(self, day: date) -> Status:
        """Whether the permit is in force on a day."""
        if day < self.from_:
            return "to_come"
        return "in_force" if day < self.last_day else "ended"

    def is_open_to(self, regencies: frozenset[str] | None, kanims: frozenset[str] | None) -> bool:
        """Whether a grant of these regencies and immigration offices reaches it; None grants all of them."""
        if kanims is not None and self.kanim not in kanims:
            return False
        return regencies is None or not regencies.isdisjoint(self.regencies)

    @property
    def differs_from(self) -> date | None:
        """The first day on which `compare` may find something in these facts, or None."""
        late = self.last_day + timedelta(days=DEPARTURE_GRACE_DAYS + 1)
        days = [late] if self.present or (self.ended_on is not None and self.visa_until is not None) else []
        if not self.present and self.crossed_on is not None:
            days.append(self.crossed_on + timedelta(days=ABSENCE_DAYS_MAX + 1))
        return min(days, default=None)

    def to_json(self) -> dict[str, Any]:
        """The entry as JSON holds it."""
        dates = {name: None if (day := getattr(self, name)) is None else day.isoformat() for name in _DATES}
        written = self._asdict() | dates
        written["from"] = written.pop("from_")
        lists = {name: list(getattr(self, name)) for name in ("regencies", "log_indices", "border_indices")}
        return written | lists

    def share(self, *, border: bool) -> dict[str, Any]:
        """What a grantee is told: where, for whom, in which post, until when; with `border` what Immigration says too.

        Which unit handled the permit is the Ministry's own business.
        """
        written = self.to_json()
        del written["unit"], written["border_indices"]
        if border:
            indices = sorted({*self.log_indices, *self.border_indices})
            return written | {"log_indices": indices}
        return written | dict.fromkeys(BORDER_MEMBERS)


class Disagreement(NamedTuple):
    """Two agencies' books do not agree about a worker since a day; both are shown it."""

    kind: DisagreementKind
    application: str
    worker: str
    since: date
    log_indices: tuple[int, ...]


def enter(dossier: Dossier) -> Registered | None:
    """The entry of an application that was approved at some time; None for any other."""
    if dossier.first(APPROVED) is None:
        return None
    words = dossier.of(*GRANTED)[-1]
    data, ended = words.data, dossier.state.ended
    ends = [date.fromisoformat(fact.data["ended_on"]) for fact in dossier.of(EMPLOYMENT_ENDED)]
    if ended is not None:
        ends.append(jakarta_day(ended.time))
    visas, stays = dossier.of(VISA_APPROVED, VISA_REFUSED, VISA_REVOKED), dossier.of(STAY_PERMIT)
    crossings = dossier.of(ENTERED, LEFT)
    read = [words, *([] if ended is None else [ended]), *dossier.of(EMPLOYMENT_ENDED)]
    visa = visas[-1] if visas and visas[-1].type == VISA_APPROVED else None
    return Registered(
        application=dossier.subject,
        worker=data["worker"],
        employer=data["employer"]["nib"],
        position=data["position"]["kbji"],
        regencies=tuple(sorted({data["regency"], *(place["regency"] for place in data["places"])})),
        from_=date.fromisoformat(data["from"]),
        until=date.fromisoformat(data["until"]),
        ended_on=min(ends, default=None),
        visa_until=None if visa is None else date.fromisoformat(visa.data["valid_until"]),
        stay_until=date.fromisoformat(stays[-1].data["valid_until"]) if stays and visa is not None else None,
        present=bool(crossings) and crossings[-1].type == ENTERED,
        crossed_on=jakarta_day(crossings[-1].time) if crossings else None,
        log_indices=tuple(sorted({fact.log_index for fact in read})),
        kanim=data["kanim"],
        unit=data["unit"],
        border_indices=tuple(sorted({fact.log_index for fact in (*visas, *stays, *crossings)})),
    )


def grant(entries: Iterable[Registered], day: date, regencies: frozenset[str] | None = None) -> Iterator[Registered]:
    """What an office may see: all that is in force on a day, or that of its own regencies alone."""
    for entry in entries:
        if entry.status(day) == "in_force" and entry.is_open_to(regencies, None):
            yield entry


def list_expiring(entries: Iterable[Registered], day: date, days: int) -> list[Registered]:
    """The entries in force on a day that end within so many days, the soonest first."""
    limit = day + timedelta(days=days)
    soon = [entry for entry in grant(entries, day) if entry.last_day <= limit]
    return sorted(soon, key=lambda entry: (entry.last_day, entry.application))


def compare(entry: Registered, day: date) -> list[Disagreement]:
    """Where the Ministry's word and Immigration's do not agree about a worker on a day."""
    found: list[tuple[DisagreementKind, date]] = []
    out_by = entry.last_day + timedelta(days=DEPARTURE_GRACE_DAYS)
    if entry.present and day > out_by:
        found.append(("overstay", out_by))
    if not entry.present and entry.crossed_on is not None and entry.status(day) == "in_force":
        back_by = entry.crossed_on + timedelta(days=ABSENCE_DAYS_MAX)
        if day > back_by:
            found.append(("left_while_employed", back_by))
    if entry.ended_on is not None and entry.visa_until is not None and entry.visa_until > out_by and day > out_by:
        found.append(("visa_beyond_permit", out_by))
    indices = tuple(sorted({*entry.log_indices, *entry.border_indices}))
    return [Disagreement(kind, entry.application, entry.worker, since, indices) for kind, since in found]
