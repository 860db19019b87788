"""Fetches what the offices answer: by asking their systems, or by looking into their folders."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from connectors.immigration.client import VisaSystem, VisaSystemFault
from connectors.immigration.desk import Desk
from connectors.immigration.folder import Folder
from connectors.immigration.offices import SOLE
from connectors.link import failpoint
from connectors.link.fault import SpoolFull
from connectors.link.spool import Spool

AWAY_PAUSE_S = 1.0
FULL_PAUSE_S = 15.0

_log = structlog.get_logger()


def cursor_note(office: str) -> str:
    """Return the name under which it is kept how far an office's answers were read."""
    return "answers/read" if office == SOLE else f"answers/read/{office}"


async def take_page(office: str, visa_system: VisaSystem, desk: Desk, spool: Spool) -> int:
    """Take one page of an office's answers into the spool, together with how far they were read; return how many."""
    note = cursor_note(office)
    answers = await visa_system.answers(int(await spool.note(note) or 0))
    failpoint.reach("answers.after_read")
    if not answers:
        return 0
    return (await desk.take(office, answers, {note: str(answers[-1]["id"])})).count


async def take_files(office: str, folder: Folder, desk: Desk) -> int:
    """Take the files that an office has put into its folder; return how many."""
    files = await folder.look()
    for file in files:
        if file.refusal is not None:
            refusals = [file.refusal]
        else:
            taken = await desk.take(office, file.answers)
            refusals = [f"{key}: {why}" for key, why in taken.refusals]
        failpoint.reach("answers.before_put_away")
        await folder.put_away(file, refusals)
        failpoint.reach("answers.after_put_away")
        if refusals:
            _log.error("a file of answers was refused, at least in part", office=office, refusals=len(refusals))
    return len(files)


async def follow(office: str, take: Callable[[], Awaitable[int]], poll_s: float) -> None:
    """Take an office's answers until cancelled, waiting out its troubles."""
    while True:
        try:
            if not await take():
                await asyncio.sleep(poll_s)
        except VisaSystemFault as fault:
            _log.warning("the answers wait", office=office, why=str(fault))
            await asyncio.sleep(AWAY_PAUSE_S)
        except SpoolFull as fault:
            _log.warning("the answers wait", office=office, why=str(fault))
            await asyncio.sleep(FULL_PAUSE_S)
