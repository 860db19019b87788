"""Working days by the Indonesian calendar, joint holidays (cuti bersama) included, and the days of the banks.

A bank's day is a calendar day in Jakarta (UTC+7, no summer time). Money of a day on which banks rest belongs to the
next banking day.
"""

from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import Final

from contracts.reference.holidays import HOLIDAYS, YEARS

JAKARTA: Final = timezone(timedelta(hours=7), "WIB")

_SATURDAY = 5
_ONE_DAY = timedelta(days=1)


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


def jakarta_day(moment: datetime) -> date:
    """The day on which a moment falls in Jakarta: it begins at 17:00 UTC of the day before."""
    return moment.astimezone(JAKARTA).date()


def end_of_day(day: date) -> datetime:
    """The moment at which a day is over in Jakarta, in UTC."""
    return datetime.combine(day + _ONE_DAY, time.min, tzinfo=JAKARTA).astimezone(UTC)


def is_banking_day(day: date) -> bool:
    """Whether banks work on this day.

    A bank's deadline has to come in every year: where no holidays are decreed, weekends alone are kept.
    """
    return day.weekday() < _SATURDAY if day.year not in YEARS else is_working_day(day)


def banking_day_of(day: date) -> date:
    """The banking day to which the money of a day belongs: the day itself, or the first banking day after it."""
    while not is_banking_day(day):
        day += _ONE_DAY
    return day


def banking_day_before(day: date) -> date:
    """The last banking day before a day."""
    day -= _ONE_DAY
    while not is_banking_day(day):
        day -= _ONE_DAY
    return day


def add_banking_days(day: date, count: int) -> date:
    """The `count`-th banking day after a day."""
    while count > 0:
        day += _ONE_DAY
        count -= is_banking_day(day)
    return day


def count_banking_days(since: date, until: date) -> int:
    """How many banking days lie after `since`, `until` included."""
    days = (since + timedelta(days=number) for number in range(1, (until - since).days + 1))
    return sum(map(is_banking_day, days))
