"""Service times (SOP clocks): when each stage of a file began, is due, warns and is breached, and who holds it.

    Dossier, RuleSet --read_clocks--> ServiceTimeReading per clock and round

Days are days in Jakarta. The day on which a clock starts does not count. A working day counts only if the applicant
owed nothing at any moment of it: a notice of a deficiency pauses the clock, and the day of the answer is like a first
day. A clock is due at the end of its last day and warns at the beginning of that day.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Final, NamedTuple

from contracts.oversight.dossier import Dossier
from contracts.rules.case import Fact
from contracts.rules.clock import CalendarError, end_of_day, is_working_day, jakarta_day
from contracts.rules.rulebook import RuleSet, ServiceClock, ServiceTime

#: A clock that is paused for longer than this is not looked at any further: its file is dead.
DAYS_MAX: Final = 1_000
_ONE_DAY = timedelta(days=1)

Pauses = Sequence[tuple[datetime, datetime | None]]


class ServiceTimeReading(NamedTuple):
    """One round of one clock.

    `due_on`, `warns_at` and `breached_at` are None while the applicant owes something, and where no holidays are
    decreed for the year, since no guess is made. `ended_at` is when the stage was over.
    """

    clock: str
    application: str
    holder: str
    unit: str | None
    started_at: datetime
    started_by: Fact
    due_on: date | None
    warns_at: datetime | None
    breached_at: datetime | None
    ended_at: datetime | None
    paused: bool

    @property
    def name(self) -> str:
        """What tells this round from every other."""
        return f"{self.application}@{self.clock}@{self.started_by.id}"

    def state(self, now: datetime) -> str:
        """`paused`, `running`, `warned`, `met` or `breached`, as of a moment."""
        if self.breached_at is not None and self.breached_at < min(now, self.ended_at or now):
            return "breached"
        if self.ended_at is not None and self.ended_at <= now:
            return "met"
        if self.paused or self.warns_at is None:
            return "paused" if self.paused else "running"
        return "warned" if self.warns_at <= now else "running"

    def warned(self, now: datetime) -> bool:
        """Whether a warning was due: the clock still ran when its last day began."""
        return self.warns_at is not None and self.warns_at < min(now, self.ended_at or now)


def read_clocks(dossier: Dossier, rule_set: RuleSet) -> list[ServiceTimeReading]:
    """Every round of every clock of an application, by its rule set."""
    return [
        reading
        for name, service_time in rule_set.service_times.items()
        if service_time.clock is not None
        for reading in _read(dossier, name, service_time, service_time.clock)
    ]


def _read(dossier: Dossier, name: str, service_time: ServiceTime, clock: ServiceClock) -> Iterator[ServiceTimeReading]:
    submitted = dossier.submitted
    if submitted is None or submitted.data["permit_kind"] not in clock.permit_kinds:
        return
    pauses = dossier.pauses if clock.pauses else ()
    for start, end in _rounds(dossier, clock):
        ended_at = None if end is None else end.time
        due_on, paused = find_due(start.time, service_time, pauses)
        yield ServiceTimeReading(
            clock=name,
            application=dossier.subject,
            holder=clock.holder,
            unit=start.data.get("unit") or _unit_of(dossier, clock),
            started_at=start.time,
            started_by=start,
            due_on=due_on,
            warns_at=None if due_on is None else end_of_day(due_on - _ONE_DAY),
            breached_at=None if due_on is None else end_of_day(due_on),
            ended_at=ended_at,
            paused=paused and ended_at is None,
        )


def _unit_of(dossier: Dossier, clock: ServiceClock) -> str | None:
    """The Ministry's unit whose file it is, where the Ministry holds it."""
    submitted = dossier.submitted
    return submitted.data["unit"] if clock.holder == "ministry" and submitted is not None else None


def _rounds(dossier: Dossier, clock: ServiceClock) -> Iterator[tuple[Fact, Fact | None]]:
    """The facts that started the clock and the fact that ended each round; a start under a running clock is none."""
    starts = {f"id.tka.{name}.v1" for name in clock.starts}
    ends = {f"id.tka.{name}.v1" for name in clock.ends}
    running: Fact | None = None
    for fact in dossier.of(*starts, *ends):
        if running is not None and fact.type in ends:
            yield running, fact
            running = None
        elif running is None and fact.type in starts:
            running = fact
    if running is not None:
        yield running, None


def find_due(started_at: datetime, service_time: ServiceTime, pauses: Pauses = ()) -> tuple[date | None, bool]:
    """The day on which a clock is due, and whether it rests now; no day while it rests or no holidays are decreed."""
    day = jakarta_day(started_at)
    touched = [(jakarta_day(since), None if until is None else jakarta_day(until)) for since, until in pauses]
    left = service_time.days
    for _ in range(DAYS_MAX):
        day += _ONE_DAY
        resting = [until for since, until in touched if since <= day and (until is None or day <= until)]
        if None in resting:
            return None, True
        try:
            counts = service_time.kind == "calendar" or is_working_day(day)
        except CalendarError:
            return None, False
        left -= counts and not resting
        if left == 0:
            return day, False
    return None, True


def describe(reading: ServiceTimeReading, now: datetime) -> Mapping[str, object]:
    """A reading as people and programs are shown it."""
    return {
        "application": reading.application,
        "clock": reading.clock,
        "holder": reading.holder,
        "unit": reading.unit,
        "started_at": reading.started_at,
        "due_on": reading.due_on,
        "ended_at": reading.ended_at,
        "state": reading.state(now),
    }
