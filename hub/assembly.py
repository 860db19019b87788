"""Puts the hub together: one process runs one part or several, and ends as a whole.

A part that fails for good ends the others, gently; what it raised is what the process says. Outages are no failures:
every part waits them out by itself and says so in readiness.
"""

import asyncio
import gc
import signal
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from enum import StrEnum

import structlog
import uvloop
from fastapi import FastAPI

from hub import metrics, topics, tracing, trust
from hub.cluster import Cluster, find_cluster
from hub.deadlines import Deadlines
from hub.desk import Desk
from hub.health import Health
from hub.intake import Intake
from hub.logs import configure_logs
from hub.lookups import Register, read_oversight_key
from hub.relay import Relay
from hub.release import Signer
from hub.sequencer import LogSigner, Sequencer
from hub.settings import Settings, SettingsInvalid
from hub.spans import ExporterMissing
from hub.store import schema
from hub.store.database import Database
from hub.trust import RegistryInForce
from hub.web import log as log_door
from hub.web import machines, probes, server
from hub.witnesses import Witnesses

SHUTDOWN_S = 25.0
# A batch makes some hundred thousand objects, which all live until its transaction ends: to look through them every
# 700, as Python does by default, costs a quarter of the intake's time and finds nothing.
COLLECT_EVERY_OBJECTS = 100_000

log = structlog.get_logger(__name__)


class Part(StrEnum):
    """What the hub consists of."""

    INTAKE = "intake"
    RELAY = "relay"
    DEADLINES = "deadlines"
    SEQUENCER = "sequencer"
    API = "api"


WITHOUT_KAFKA = frozenset({Part.API, Part.SEQUENCER, Part.DEADLINES})


@dataclass(frozen=True, slots=True)
class Hub:
    """What the parts of one process share."""

    settings: Settings
    database: Database
    registry: RegistryInForce
    health: Health

    @property
    def cluster(self) -> Cluster:
        """Where Kafka is. Raises SettingsInvalid."""
        return find_cluster(self.settings)


Loop = Callable[[asyncio.Event], Awaitable[None]]


def run(parts: frozenset[Part], settings: Settings) -> None:
    """Run `parts` in this process until SIGTERM or SIGINT. Raises what made a part fail for good."""
    configure_logs()
    _relax_collector()
    try:
        tracing.begin(settings.traces_url, settings.traces_share, parts)
    except ExporterMissing:
        raise SettingsInvalid("TRACES_URL is set, but the wheel's extra `traces` is not installed.") from None
    try:
        uvloop.run(_run(parts, settings))
    finally:
        tracing.end()


def _relax_collector() -> None:
    """Let the collector of cyclic garbage pass over what was loaded for good, and look only after a batch's worth."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_EVERY_OBJECTS)


async def _run(parts: frozenset[Part], settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    root = trust.read_root(settings.trust_root_file)
    metrics.SCHEMA_VERSION.set(int(schema.newest_version()))
    async with AsyncExitStack() as stack:
        listeners = _listen(parts, settings, stack)
        # Not what an election's session is called: an operator may have to tell the two apart.
        name = f"hub-{'-'.join(sorted(parts))}-pool"
        database = await Database.open(settings.database_url, size=settings.database_pool_size, name=name)
        stack.push_async_callback(database.close)
        hub = Hub(settings, database, RegistryInForce(root), Health())
        async with database.connection() as connection:
            await hub.registry.refresh(connection)
        if parts - WITHOUT_KAFKA:
            # Told at once and plainly; once the hub runs, an outage of Kafka is waited out.
            await topics.describe(hub.cluster, ["recommendations"])
        loops = {part.value: _assemble(part, hub) for part in sorted(parts - {Part.API})}
        await _supervise(loops | _doors(hub, listeners), stop)


def _listen(parts: frozenset[Part], settings: Settings, stack: AsyncExitStack) -> Mapping[str, socket.socket]:
    """Bind the addresses that this process serves, by the name of the door."""
    addresses = {}
    if Part.API in parts:
        addresses["api"] = settings.hub_api_port
    if settings.metrics_port:
        addresses["metrics"] = settings.metrics_port
    listeners = {name: server.bind(settings.hub_api_host, port) for name, port in addresses.items()}
    for listener in listeners.values():
        stack.callback(listener.close)
    return listeners


def _doors(hub: Hub, listeners: Mapping[str, socket.socket]) -> dict[str, Loop]:
    return {name: _door(name, hub, listener, _create_app(name, hub)) for name, listener in listeners.items()}


def _create_app(name: str, hub: Hub) -> FastAPI:
    if name == "metrics":
        return probes.create_app(hub.health)
    # Imported late: templates and their languages take time to load, which only this part needs.
    from hub.openid import find_provider
    from hub.web import asyncapi, facts, inquiries, live, tokens
    from hub.web import register as register_door
    from hub.web.access import Guard
    from hub.web.counter import Counter
    from hub.web.limits import Limiter, Quota
    from hub.web.pages import door as pages_door
    from hub.web.pages.staff import Office

    url, settings = hub.settings.hub_api_url, hub.settings
    limiter = Limiter(Quota("address", settings.hub_api_address_quota))
    guard = Guard(
        hub.database, hub.registry, url, Limiter(Quota("credential", settings.hub_api_credential_quota))
    )  # fmt: skip
    pages = pages_door.create_pages(hub.database, url)
    counter = Counter(hub.database)
    register = Register(hub.database, read_oversight_key(settings.oversight_seal_key_file))
    app = probes.create_app(
        hub.health,
        machines.create_router(hub.database, hub.registry, guard),
        tokens.create_router(hub.database, hub.registry, guard),
        log_door.create_router(hub.database, hub.registry),
        facts.create_router(hub.database, guard, counter),
        register_door.create_router(hub.database, guard),
        inquiries.create_router(hub.database, guard, Office(hub.database, hub.registry), register),
        live.create_router(live.Gallery(counter, pages.people), pages.people),
        asyncapi.create_router(hub.database, hub.registry, settings.topic_prefix),
        *pages_door.create_routers(hub.database, hub.registry, register, counter, pages, find_provider(settings)),
        limiter=limiter,
    )
    pages_door.install(app, pages)
    return app


def _door(name: str, hub: Hub, listener: socket.socket, app: FastAPI) -> Loop:
    return lambda stop: server.serve(app, listener, name, stop)


def _assemble(part: Part, hub: Hub) -> Loop:
    """Return the loop of one part. Raises SettingsInvalid if a setting that it needs is missing."""
    settings = hub.settings
    hub.health.report(part.value, "It is starting.")
    if part is Part.SEQUENCER:
        return _assemble_sequencer(hub)
    if part is Part.RELAY:
        signer = Signer(trust.read_private_key(settings.hub_key_file, "HUB_KEY_FILE"))
        return Relay(hub.database, settings.database_url, hub.cluster, hub.registry, signer, hub.health).run
    desk = Desk(hub.database, hub.registry.root)
    if part is Part.DEADLINES:
        oversight_key = read_oversight_key(settings.oversight_seal_key_file)
        return Deadlines(desk, settings.database_url, hub.health, oversight_key).run
    intake = Intake(desk, hub.cluster, hub.health, batch_size=settings.intake_batch_size)
    return lambda stop: _until(stop, intake.run())


def _assemble_sequencer(hub: Hub) -> Loop:
    settings = hub.settings
    signer = LogSigner(trust.read_private_key(settings.log_key_file, "LOG_KEY_FILE"))
    urls = [url.strip() for url in settings.witness_urls.split(",") if url.strip()]
    return Sequencer(hub.database, settings.database_url, hub.registry, signer, Witnesses(urls), hub.health).run


async def _wait_for(stop: asyncio.Event) -> None:
    await stop.wait()


async def _until(stop: asyncio.Event, work: Awaitable[None]) -> None:
    """Do `work` until it ends or `stop` is set; then it is cancelled, and may end what it has in hand."""
    working, stopping = asyncio.ensure_future(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            working.cancel()
        await asyncio.wait({working})
        if not working.cancelled():
            working.result()
        if not stop.is_set():
            raise RuntimeError("A part of the hub ended without being asked to.")
    finally:
        working.cancel()
        stopping.cancel()


async def _supervise(loops: Mapping[str, Loop], stop: asyncio.Event) -> None:
    """Run all loops; when one ends, or `stop` is set, end the others. Raises what the first failure raised."""
    tasks = {asyncio.ensure_future(loop(stop)): name for name, loop in loops.items()}
    stopping = asyncio.ensure_future(_wait_for(stop))
    log.info("hub.started", parts=sorted(loops))
    try:
        ended, _ = await asyncio.wait({*tasks, stopping}, return_when=asyncio.FIRST_COMPLETED)
        failed = next((task for task in ended - {stopping} if task.exception() is not None), None)
        if failed is not None:
            log.error("hub.part_failed", part=tasks[failed], kind=type(failed.exception()).__name__)
        stop.set()
        _, late = await asyncio.wait(tasks, timeout=SHUTDOWN_S)
        for task in late:
            log.warning("hub.part_cut_off", part=tasks[task])
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        failures = [task.exception() for task in tasks if not task.cancelled() and task.exception() is not None]
    finally:
        stopping.cancel()
    first = failed.exception() if failed is not None else next(iter(failures), None)
    if first is not None:
        raise first
    log.info("hub.stopped")
