"""The ministry's connector: `python -m connectors.ministry run | check | make-keys FOLDER`."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import APIRouter

from connectors.link.command import add_make_keys, make_command
from connectors.link.fault import SettingsFault
from connectors.link.problem import read_tokens
from connectors.link.service import Agency, Join, Link, Task
from connectors.ministry.check import check_ministry
from connectors.ministry.events_door import EventsDoor
from connectors.ministry.events_folder import EventsFolder
from connectors.ministry.exchange import Desk, OutboxReader
from connectors.ministry.mapping import Mapping
from connectors.ministry.outcome_queue import OutcomeQueue
from connectors.ministry.register import Register, open_register
from connectors.ministry.settings import MinistrySettings
from connectors.ministry.telling import FileReceiver, Receiver, Teller
from connectors.ministry.webhook import WebhookReceiver, read_signers

__all__ = ["MinistrySettings", "app"]


def join_ministry(settings: MinistrySettings) -> Join:
    """Return what joins the ministry's systems to the link; raise SettingsFault when a way in or out cannot be used."""

    @asynccontextmanager
    async def join(link: Link) -> AsyncIterator[Agency]:
        settings.check_ways()
        mapping = settings.read_mapping()
        metrics = link.metrics.collected
        async with AsyncExitStack() as stack:
            queue = await stack.enter_async_context(OutcomeQueue.open(settings.spool_dir, link.clock))
            register = await _open_register(settings, mapping, stack)
            desk = Desk(link.spool, queue)
            teller = Teller(queue, _receiver_of(settings, link, register), link.clock, metrics)
            tasks: dict[str, Task] = {"outcomes": teller.tell_for_ever, "reports": desk.report_for_ever}
            if register is not None:
                tasks["register"] = OutboxReader(register, link.spool).read_for_ever
            if settings.events_dir is not None:
                opening = EventsFolder.open(settings.events_dir, link.spool, mapping.csv, metrics)
                tasks["folder"] = (await stack.enter_async_context(opening)).run
            yield Agency(handle=desk.handle, tasks=tasks, routes=_routes_of(settings, link), erase=queue.erase)

    return join


async def _open_register(settings: MinistrySettings, mapping: Mapping, stack: AsyncExitStack) -> Register | None:
    if settings.register_url is None:
        return None
    return await stack.enter_async_context(open_register(settings.register_url, mapping))


def _receiver_of(settings: MinistrySettings, link: Link, register: Register | None) -> Receiver:
    """Return where outcomes go: to the webhook, else into the register, else into the folder."""
    if settings.webhook_url is not None and settings.webhook_secret_file is not None:
        return WebhookReceiver(link.http, settings.webhook_url, read_signers(settings.webhook_secret_file), link.clock)
    if register is not None:
        return register
    if settings.events_dir is None:
        raise SettingsFault("Outcomes have no way out.")
    return FileReceiver(settings.events_dir)


def _routes_of(settings: MinistrySettings, link: Link) -> APIRouter | None:
    if settings.events_token_file is None:
        return None
    tokens = read_tokens(settings.events_token_file, "EVENTS_TOKEN_FILE")
    return EventsDoor(link.spool, link.author, tokens, link.metrics.collected).routes()


app = make_command("the ministry", MinistrySettings.read, join_ministry, check_ministry)
add_make_keys(app)

if __name__ == "__main__":
    app()
