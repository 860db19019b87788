"""`python -m connectors.immigration run | check | rotate-key | make-keys | alarms`."""

import asyncio
import ipaddress
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

import httpx
import typer

from connectors.immigration import answers
from connectors.immigration.board import ALARMS_SHOWN_MAX, Board
from connectors.immigration.client import TIMEOUT_S, VisaSystem, VisaSystemFault
from connectors.immigration.courier import Courier
from connectors.immigration.desk import Desk
from connectors.immigration.folder import Folder
from connectors.immigration.offices import Office, Offices, read_offices
from connectors.immigration.routes import Access, create_router
from connectors.immigration.settings import ImmigrationSettings
from connectors.immigration.standing_file import FILE_NAME
from connectors.immigration.standings import Standings
from connectors.link.check import EXIT_SETTINGS, EXIT_WRONG, Finding
from connectors.link.clock import utc_now
from connectors.link.command import add_make_keys, make_command
from connectors.link.fault import LinkFault, SettingsFault
from connectors.link.service import Agency, Join, Link, Task
from contracts.erasure import Erasure


def join_immigration(settings: ImmigrationSettings) -> Join:
    """Return what joins Immigration's offices to the link."""

    @asynccontextmanager
    async def join(link: Link) -> AsyncIterator[Agency]:
        offices = read_offices(settings.offices_file, settings.visa_system_url)
        access = Access(_read_token(settings.pull_token_file), loopback=_is_loopback(settings.http_host))
        async with AsyncExitStack() as stack:
            opening = Standings.open(settings.spool_dir, offices, link.clock, settings.queue_bytes_max)
            standings = await stack.enter_async_context(opening)
            if standings.read.created:
                # The feed is told again from its beginning: what this file should know is in it.
                await link.spool.rewind(f"to.{settings.participant}")
                await standings.mark_fed()
            desk = Desk(
                link.spool, link.trust, standings, settings.participant, link.clock, link.metrics.collected,
                settings.freshness_limit_s,
            )  # fmt: skip
            tasks: dict[str, Task] = {"decisions": desk.judge_for_ever}
            couriers: dict[str, Courier] = {}
            folders: list[Folder] = []
            for office in offices.all:
                door = await _open_door(office, stack)
                if isinstance(door, Folder):
                    folders.append(door)
                if door is not None:
                    couriers[office.name] = Courier(office, door, standings, link.spool, link.clock)
                    tasks[f"courier {office.name}"] = couriers[office.name].run
                    tasks[f"answers {office.name}"] = _follow(office, door, desk, link, settings.answers_poll_s)
            yield Agency(
                handle=desk.handle,
                tasks=tasks,
                routes=create_router(desk, standings, offices, access, link.clock),
                show=Board(standings, offices, couriers, link.clock, link.metrics.collected).show,
                erase=partial(_erase, standings, folders),
            )

    return join


async def _erase(standings: Standings, folders: Sequence[Folder], erasure: Erasure) -> None:
    """Take everybody out of what waits for the offices; the folders too, since they were written from here."""
    numbers = await standings.erase(erasure.cases)
    for folder in folders:
        await folder.erase(numbers)


async def _open_door(office: Office, stack: AsyncExitStack) -> VisaSystem | Folder | None:
    if office.door == "push":
        return VisaSystem(await stack.enter_async_context(_open_http(office)))
    if office.folder is None:
        return None
    folder = Folder(office.folder)
    stack.callback(folder.close)
    return folder


def _follow(office: Office, door: VisaSystem | Folder, desk: Desk, link: Link, poll_s: float) -> Task:
    if isinstance(door, VisaSystem):
        take = partial(answers.take_page, office.name, door, desk, link.spool)
    else:
        take = partial(answers.take_files, office.name, door, desk)
    return partial(answers.follow, office.name, take, poll_s)


def _open_http(office: Office) -> httpx.AsyncClient:
    token = _read_token(office.token_file)
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return httpx.AsyncClient(base_url=office.url or "", timeout=TIMEOUT_S, headers=headers)


def _read_token(file: Path | None) -> str | None:
    if file is None:
        return None
    try:
        token = file.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        raise SettingsFault("A token's file cannot be read: look at PULL_TOKEN_FILE and token_file.") from None
    if not token:
        raise SettingsFault("A token's file is empty: look at PULL_TOKEN_FILE and token_file.")
    return token


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def check_immigration(settings: ImmigrationSettings) -> AsyncIterator[Finding]:
    """Ask each office's system for a page of answers, and look into each folder; nothing is changed there."""
    try:
        offices = read_offices(settings.offices_file, settings.visa_system_url)
        _read_token(settings.pull_token_file)
        for office in offices.all:
            yield await _check_office(office)
    except SettingsFault as fault:
        yield Finding("offices", "settings", str(fault))


async def _check_office(office: Office) -> Finding:
    title = f"office {office.name}"
    if office.door == "pull":
        return Finding(title, "ok", "It asks this connector itself.")
    if office.folder is not None:
        there = office.folder.is_dir()
        says = "Its folder is there." if there else "Its folder is not there: make it, or correct OFFICES_FILE."
        return Finding(title, "ok" if there else "settings", says)
    async with _open_http(office) as http:
        try:
            await VisaSystem(http).answers(0)
        except VisaSystemFault as fault:
            says = f"{str(fault).capitalize()}: check VISA_SYSTEM_URL, or the url in OFFICES_FILE."
            return Finding(title, "unreachable", says)
    return Finding(title, "ok", "Its visa system answers.")


app = make_command("Immigration", ImmigrationSettings.read, join_immigration, check_immigration)
add_make_keys(app)


@app.command()
def alarms(
    acknowledge: Annotated[str | None, typer.Option(help="The key of the alarm that is over.")] = None,
    by: Annotated[str, typer.Option(help="Who acknowledges it.")] = "",
    reason: Annotated[str, typer.Option(help="Why it is over.")] = "",
) -> None:
    """List visas that were decided on what did not stand, one JSON object a line, or acknowledge one of them.

    Exit codes: 0 none is open or it is acknowledged, 1 some are open or there is no such alarm, 2 wrong use.
    Example: python -m connectors.immigration alarms --acknowledge '["answer", 17]' --by rina --reason 'visa revoked'
    """
    try:
        settings = ImmigrationSettings.read()
        if acknowledge is not None and not (by.strip() and reason.strip()):
            raise SettingsFault("Say who acknowledges the alarm (--by) and why it is over (--reason).")
        code = asyncio.run(_run_alarms(settings, acknowledge, by, reason))
    except LinkFault as fault:
        print(fault, file=sys.stderr)
        raise typer.Exit(EXIT_SETTINGS) from None
    raise typer.Exit(code)


async def _run_alarms(settings: ImmigrationSettings, acknowledge: str | None, by: str, reason: str) -> int:
    if not (settings.spool_dir / FILE_NAME).exists():
        return 0 if acknowledge is None else EXIT_WRONG
    offices = Offices(read_offices(settings.offices_file, settings.visa_system_url).all)
    async with Standings.open(settings.spool_dir, offices, utc_now, settings.queue_bytes_max) as standings:
        if acknowledge is not None:
            return 0 if await standings.acknowledge(acknowledge, by, reason) else EXIT_WRONG
        open_alarms = standings.read.alarms(ALARMS_SHOWN_MAX)
        for one in open_alarms:
            told = {"key": one.key, "office": one.office, "kind": one.kind, "number": one.decision.number,
                    "revision": one.decision.revision, "at": one.decision.at.isoformat(), "found": one.verdict,
                    "why": one.why}  # fmt: skip
            print(json.dumps(told))
        return EXIT_WRONG if open_alarms else 0


if __name__ == "__main__":
    app()
