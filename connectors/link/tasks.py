"""Tasks that belong together: they run side by side, and end together."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any

# Longer than any task may take to close what it holds.
CANCEL_AGAIN_S = 15.0


async def run_together(*works: Coroutine[Any, Any, None]) -> None:
    """Run until all have returned or one has failed, then end the others; raises what the first one raised."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        await end(tasks)


async def end(tasks: Iterable["asyncio.Task[Any]"]) -> None:
    """Cancel tasks and wait until they have ended.

    Cancellation is repeated: until Python 3.12 `asyncio.wait_for`, which the Kafka client uses, may swallow one.
    """
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=CANCEL_AGAIN_S)
