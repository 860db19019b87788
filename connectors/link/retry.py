"""Going on after trouble: bounded, jittered pauses that start small again after a steady run (tenacity)."""

import asyncio
import traceback
from collections.abc import Awaitable, Callable

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_random_exponential

from connectors.link.fault import LinkFault

PAUSE_FIRST_S = 0.2
PAUSE_S_MAX = 15.0
STEADY_S = 60.0

_log = structlog.get_logger()


def where(error: BaseException) -> str:
    """Return the type of an error and the line it came from.

    Its text is left out on purpose: a driver or a parser may quote a person's data in it.
    """
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {frames[-1].filename.rsplit('/', 1)[-1]}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}"


async def keep_trying(
    name: str,
    work: Callable[[], Awaitable[None]],
    on: tuple[type[Exception], ...],
    *,
    unless: tuple[type[Exception], ...] = (),
    told: Callable[[Exception], Awaitable[None]] | None = None,
    sentence: str = "",
) -> None:
    """Run `work` until it returns; after an error of the types `on`, pause and run it again, for ever.

    `told` hears of each such error before the pause. `sentence` tells the operator what is waited for. Other errors,
    and those of the types `unless`, end this. A run that lasted STEADY_S starts the pauses afresh.
    """
    loop = asyncio.get_running_loop()

    async def note(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        pause_s = round(state.next_action.sleep, 2) if state.next_action else 0.0
        if isinstance(error, Exception):
            why = sentence or own_words(error)
            _log.warning("trying again", task=name, error=where(error), pause_s=pause_s, why=why)
            if told is not None:
                await told(error)

    while True:
        attempts = AsyncRetrying(
            retry=retry_if_exception(lambda error: isinstance(error, on) and not isinstance(error, unless)),
            wait=wait_random_exponential(multiplier=PAUSE_FIRST_S, max=PAUSE_S_MAX),
            before_sleep=note,
            reraise=True,
        )
        async for attempt in attempts:
            started_s = loop.time()
            with attempt:
                try:
                    await work()
                    return
                except on as error:
                    if isinstance(error, unless) or loop.time() - started_s < STEADY_S:
                        raise
                    _log.warning("starting again", task=name, error=where(error))
                    if told is not None:
                        await told(error)
                    break


def own_words(error: Exception) -> str:
    """Return the text of an error if it is one of our own sentences, else nothing."""
    return str(error) if isinstance(error, LinkFault) else ""
