"""`python -m connectors.immigration run | check`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from connectors.immigration.client import TIMEOUT_S, VisaSystem, VisaSystemFault
from connectors.immigration.desk import Desk
from connectors.immigration.settings import ImmigrationSettings
from connectors.link.check import Finding
from connectors.link.command import make_command
from connectors.link.service import Agency, Join, Link


def join_immigration(settings: ImmigrationSettings) -> Join:
    """Return what joins the visa system to the link."""

    @asynccontextmanager
    async def join(link: Link) -> AsyncIterator[Agency]:
        async with _open_http(settings) as http:
            desk = Desk(
                link.spool, link.trust, VisaSystem(http), settings.participant, link.clock, link.metrics.collected
            )
            yield Agency(
                handle=desk.handle,
                tasks={"answers": lambda: desk.follow_answers(settings.answers_poll_s)},
                routes=desk.routes(settings.freshness_limit_s),
            )

    return join


def _open_http(settings: ImmigrationSettings) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=settings.visa_system_url, timeout=TIMEOUT_S)


async def check_immigration(settings: ImmigrationSettings) -> AsyncIterator[Finding]:
    """Ask the visa system for a page of answers, which changes nothing there."""
    async with _open_http(settings) as http:
        try:
            await VisaSystem(http).answers(0)
        except VisaSystemFault as fault:
            yield Finding("visa system", "unreachable", f"{str(fault).capitalize()}: check VISA_SYSTEM_URL.")
            return
    yield Finding("visa system", "ok", "The visa system answers.")


app = make_command("Immigration", ImmigrationSettings.read, join_immigration, check_immigration)

if __name__ == "__main__":
    app()
