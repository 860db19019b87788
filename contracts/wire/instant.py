"""Points in time as the exchange spells them: RFC 3339 in UTC, `2026-11-24T03:00:00Z`, at most microseconds."""

import re
from datetime import UTC, datetime, timedelta

_SPELLING = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?Z"
).fullmatch
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: No fact of the exchange is older; what reckons with days before a fact never meets the calendar's beginning.
FIRST_YEAR = 2000


def read_instant(text: str) -> datetime:
    """Read one spelling and no other (no offset, no space, no leap second), from 2000 on. Raises ValueError."""
    if _SPELLING(text) is None:
        raise ValueError("not an RFC 3339 time in UTC")
    instant = datetime.fromisoformat(text)
    if instant.year < FIRST_YEAR:
        raise ValueError("a time before the year 2000")
    return instant


def write_instant(instant: datetime) -> str:
    """Spell a time zone-aware point in time; the fraction is left out when it is zero. Raises ValueError."""
    if instant.tzinfo is None:
        raise ValueError("a time without a zone is no point in time")
    try:
        return instant.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"
    except OverflowError:
        # A database's "zero date" in a zone east of Greenwich lies before the calendar's first day in UTC.
        raise ValueError("a time outside the calendar") from None


def instant_of_ms(epoch_ms: int) -> datetime:
    """The point in time so many milliseconds after the epoch, exactly."""
    return _EPOCH + timedelta(milliseconds=epoch_ms)
