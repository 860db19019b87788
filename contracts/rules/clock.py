"""Working days by the Indonesian calendar, joint holidays (cuti bersama) included."""

from collections.abc import Set as AbstractSet
from datetime import date, timedelta

from contracts.reference.holidays import HOLIDAYS, YEARS

_SATURDAY = 5


class CalendarError(ValueError):
    """A day is outside the years whose holidays are decreed: no guess is made about it."""


def is_working_day(day: date, holidays: AbstractSet[str] = HOLIDAYS) -> bool:
    """Whether offices are open on this day. Raises CalendarError for a year without a decree."""
    if day.year not in YEARS:
        raise CalendarError(f"no decreed holidays for {day.year}")
    return day.weekday() < _SATURDAY and day.isoformat() not in holidays


def add_working_days(day: date, count: int, holidays: AbstractSet[str] = HOLIDAYS) -> date:
    """The `count`-th working day after a day: 3 after 2026-03-16 is 2026-03-26. Raises CalendarError."""
    while count > 0:
        day += timedelta(days=1)
        count -= is_working_day(day, holidays)
    return day
