"""An event loop in a thread of its own, for tests that are written as plain functions.

The tests are plain because a child process is tied to the thread that started it, and because a test that waits for a
process to die should read from top to bottom.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

CALL_LIMIT_S = 60.0
POLL_S = 0.05

T = TypeVar("T")


class NotReached(AssertionError):
    """A condition did not come true before its deadline."""


def wait_until(what: str, probe: Callable[[], bool], limit_s: float) -> float:
    """Wait until `probe` is true and return how long it took. Raises NotReached, which names `what`."""
    began_s = time.monotonic()
    polling = Retrying(
        retry=retry_if_result(lambda reached: not reached), stop=stop_after_delay(limit_s), wait=wait_fixed(POLL_S)
    )
    try:
        polling(probe)
    except RetryError:
        raise NotReached(f"It was waited for {limit_s:.0f} s, in vain, until {what}.") from None
    return time.monotonic() - began_s


class Background:
    """Runs coroutines from outside of any loop."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="background", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, T], limit_s: float = CALL_LIMIT_S) -> T:
        """Run `work` to its end and return what it returns. Raises TimeoutError."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(limit_s)
