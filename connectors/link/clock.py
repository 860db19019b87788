"""The clock as a value: whoever needs the time is given a `Clock`, so that a test can give another."""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Return the time of this machine, aware UTC."""
    return datetime.now(UTC)
