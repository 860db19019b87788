"""The frame of a connector's process: settings, trust, spool, publisher, subscriber, HTTP door, supervised tasks."""

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import httpx
import structlog
import uvicorn
from fastapi import APIRouter, FastAPI

from connectors.link import tracing
from connectors.link.broker import Broker
from connectors.link.clock import Clock, utc_now
from connectors.link.day_counts import DayCounts
from connectors.link.door import build_app
from connectors.link.erasing import Erase, Eraser, erase_nothing
from connectors.link.fact import Author
from connectors.link.fault import FatalFault, HubUnreachable, LinkFault, SettingsFault, TrustFault
from connectors.link.hub_client import HubClient
from connectors.link.key_ring import KeyRing
from connectors.link.lineage import Lineage
from connectors.link.log import configure_log
from connectors.link.metrics import LinkMetrics
from connectors.link.publisher import Publisher
from connectors.link.receipts import ReceiptWatch
from connectors.link.retry import keep_trying
from connectors.link.settings import ConnectorSettings
from connectors.link.spans import ExporterMissing
from connectors.link.spool import Spool
from connectors.link.status import Show, StatusBoard, show_nothing
from connectors.link.stream_reader import Handle, Surroundings
from connectors.link.subscriber import Subscriber
from connectors.link.tasks import end
from connectors.link.trust import Trust, read_private_key, read_root
from contracts.registry import Registry
from contracts.wire.key import Signer

STOP_TIMEOUT_S = 5
# The door, then the tasks, then what they hold open.
STOPS_IN_A_ROW = 3
SETTLED_KEPT = timedelta(days=7)
ERASE_EVERY_S = 600.0

_log = structlog.get_logger()

Task = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Link:
    """What the link lends to an agency's own code while the process runs."""

    settings: ConnectorSettings
    spool: Spool
    trust: Trust
    hub: HubClient
    broker: Broker
    metrics: LinkMetrics
    author: Author
    key: Signer
    keys: KeyRing
    api_keys: KeyRing
    lineage: Lineage
    http: httpx.AsyncClient
    clock: Clock
    counts: DayCounts


@dataclass(frozen=True, slots=True)
class Agency:
    """What an agency's own code adds to the link.

    `handle` must be idempotent: after a crash a record is delivered again. Receipts are settled before it sees them.
    A task of `tasks` that raises LinkFault ends the process with its sentence; after any other error it is started
    again after a pause. `topics`: besides `to.<participant>`. `protocol`: how the door reads HTTP, where the agency's
    own protocol wants its limits answered in its own form. `show`: what the probes and the status page show beside.
    `erase`: what an order of erasure takes out of the agency's own files beside the spool; it must be idempotent.
    """

    handle: Handle
    tasks: Mapping[str, Task] = field(default_factory=dict)
    routes: APIRouter | None = None
    topics: tuple[str, ...] = ()
    protocol: type[asyncio.Protocol] | None = None
    show: Show = show_nothing
    erase: Erase = erase_nothing


Join = Callable[[Link], AbstractAsyncContextManager[Agency]]


class _Server(uvicorn.Server):
    """A server that leaves the signals to the service."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def run_service(settings: ConnectorSettings, join: Join) -> int:
    """Run the connector until SIGTERM or SIGINT; return its exit code. `join` opens and closes the agency's things."""
    configure_log()
    try:
        _begin_traces(settings)
        asyncio.run(_run_until_signal(settings, join))
    except (LinkFault, BaseExceptionGroup) as error:
        fault = _first_fault(error)
        if fault is None:
            raise
        print(fault, file=sys.stderr)
        return fault.exit_code if isinstance(fault, FatalFault) else 1
    finally:
        tracing.end()
    return 0


def _begin_traces(settings: ConnectorSettings) -> None:
    try:
        tracing.begin(settings.traces_url, settings.traces_share, settings.participant)
    except ExporterMissing:
        raise SettingsFault("TRACES_URL is set, but the wheel's extra `traces` is not installed.") from None


def _first_fault(error: BaseException) -> LinkFault | None:
    if isinstance(error, BaseExceptionGroup):
        return next(filter(None, map(_first_fault, error.exceptions)), None)
    return error if isinstance(error, LinkFault) else None


async def _run_until_signal(settings: ConnectorSettings, join: Join) -> None:
    stop, started = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    work = asyncio.create_task(_serve(settings, join, stop, started))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not work.done():
        _log.info("stopping")
        # What has started closes its door in order; a start that still waits for the hub has nothing to close.
        if started.is_set():
            await asyncio.wait({work}, timeout=STOP_TIMEOUT_S * STOPS_IN_A_ROW)
        await end({work})
    if not work.cancelled():
        work.result()


async def _serve(settings: ConnectorSettings, join: Join, stop: asyncio.Event, started: asyncio.Event) -> None:
    async with open_link(settings) as link, join(link) as agency:
        subscriber = subscriber_of(link, agency)
        listening = _listen(settings)
        board = StatusBoard(
            settings.participant, link.spool, link.trust, link.metrics, subscriber, link.clock, agency.show, link.counts
        )
        app = build_app(board, link.metrics, agency.routes)
        server = _Server(_configure_server(app, agency.protocol))
        tasks = {**link_tasks(link, subscriber), **agency.tasks}
        _log.info("started", participant=settings.participant, port=listening.getsockname()[1])
        started.set()
        door = asyncio.create_task(server.serve(sockets=[listening]))
        watch = [asyncio.create_task(_supervise(name, task, link.metrics)) for name, task in tasks.items()]
        await _run_until_closed(door, watch, stop, server)


def _configure_server(app: FastAPI, protocol: type[asyncio.Protocol] | None) -> uvicorn.Config:
    """Return how the door is served; nobody's X-Forwarded-For is believed but where the agency's own code does."""
    return uvicorn.Config(
        app,
        http=protocol or "auto",
        log_config=None,
        access_log=False,
        lifespan="off",
        proxy_headers=False,
        timeout_graceful_shutdown=STOP_TIMEOUT_S,
    )


async def _run_until_closed(
    door: "asyncio.Task[None]", watch: "list[asyncio.Task[None]]", stop: asyncio.Event, server: uvicorn.Server
) -> None:
    """Run until the door has closed, which `stop` asks for, or a task has failed for good; raises what it raised."""
    closing = asyncio.create_task(_close_at(stop, server))
    pending = {door, *watch}
    try:
        while door in pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
    finally:
        await end({closing, door, *watch})


async def _close_at(stop: asyncio.Event, server: uvicorn.Server) -> None:
    await stop.wait()
    server.should_exit = True


def _listen(settings: ConnectorSettings) -> socket.socket:
    try:
        listening = socket.create_server((settings.http_host, settings.http_port))
        # asyncio sees to this only for sockets that say they are TCP's, which this one does not: without it each answer
        # over a kept connection waits some 40 ms for an acknowledgement.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listening
    except OSError as error:
        raise SettingsFault(
            f"HTTP_HOST and HTTP_PORT cannot be listened on ({error.strerror}): choose a free port of this machine."
        ) from None


async def _supervise(name: str, task: Task, metrics: LinkMetrics) -> None:
    async def count(_: Exception) -> None:
        metrics.task_failures.labels(name).inc()

    await keep_trying(name, task, (Exception,), unless=(FatalFault,), told=count)


# --- what every connector runs ---------------------------------------------------------------------------------------


@asynccontextmanager
async def open_link(settings: ConnectorSettings, clock: Clock = utc_now) -> AsyncIterator[Link]:
    """Open everything that an agency's code needs; waits for the first registry. Raises LinkFault."""
    root = read_root(settings.trust_root_file)
    broker = Broker.of(settings, f"connector-{settings.participant}")
    metrics = LinkMetrics()
    async with httpx.AsyncClient() as http:
        trust = Trust(settings.registry_file, root, lambda: hub.registry())
        keys, api_keys = key_rings(settings, trust, clock)
        hub = HubClient(http, settings.hub_api_url, settings.participant, api_keys.current, clock, metrics)
        await _await_registry(trust)
        author = author_of(settings, trust.registry)
        async with Spool.open(settings.spool_file, author, bytes_max=settings.spool_bytes_max, clock=clock) as spool:
            lineage = Lineage(spool, hub, broker, author, lambda: trust.registry, metrics)
            await lineage.start()
            key = read_private_key(settings.key_file, "KEY_FILE")
            counts = DayCounts(spool, author, lambda: trust.registry, metrics, clock)
            yield Link(
                settings, spool, trust, hub, broker, metrics, author, key, keys, api_keys, lineage, http, clock, counts
            )  # fmt: skip


def key_rings(settings: ConnectorSettings, trust: Trust, clock: Clock) -> tuple[KeyRing, KeyRing]:
    """Return the rings of the key for messages and of the one for the hub's API. Raises SettingsFault."""

    def registry() -> Registry | None:
        return trust.registry if trust.known else None

    return (
        KeyRing(settings.key_file, "message", settings.participant, registry, clock),
        KeyRing(settings.api_key_file, "api", settings.participant, registry, clock),
    )


async def _await_registry(trust: Trust) -> None:
    """Take the newest registry; without the hub's API the one kept here will do, if there is one."""

    async def refresh() -> None:
        try:
            await trust.refresh()
        except HubUnreachable:
            if not trust.known:
                raise

    await keep_trying("registry", refresh, (HubUnreachable,))


def author_of(settings: ConnectorSettings, registry: Registry) -> Author:
    """Return whose facts these are. Raises SettingsFault where the registry gives SOURCE_URI to somebody else."""
    owner = registry.owner_of(settings.source_uri)
    if owner is not None and owner.id != settings.participant:
        raise SettingsFault("The registry gives SOURCE_URI to another participant: check PARTICIPANT and SOURCE_URI.")
    if owner is None:
        _log.warning("the registry does not know this participant's source yet: nothing is sent until it does")
    days = min(settings.expiry_days, registry.limits.expiry_days_max)
    return Author(settings.participant, settings.source_uri, registry.environment, days)


def may_sign(link: Link) -> bool:
    """Whether the registry holds this key for this source: what was sent before that would end up refused."""
    owner = link.trust.registry.owner_of(link.author.source)
    return owner is not None and owner.id == link.author.participant and link.keys.may_sign()


def subscriber_of(link: Link, agency: Agency) -> Subscriber:
    """Return the subscriber of this participant's own topic and of those that the agency asks for."""
    around = Surroundings(
        spool=link.spool,
        trust=link.trust,
        hub=link.hub,
        broker=link.broker,
        handle=agency.handle,
        metrics=link.metrics,
        source=link.author.source,
        clock=link.clock,
        counts=link.counts,
        eraser=Eraser(link.trust, (link.spool.erase, agency.erase), link.metrics),
    )
    return Subscriber((f"to.{link.author.participant}", *agency.topics), around)


def link_tasks(link: Link, subscriber: Subscriber) -> dict[str, Task]:
    """Return the tasks that every connector runs."""
    publisher = Publisher(
        link.spool,
        link.author,
        link.keys.current,
        link.broker,
        link.metrics,
        may_sign=lambda: link.lineage.settled and may_sign(link),
        revoked=link.keys.revoked,
        clock=link.clock,
    )
    return {
        "publisher": publisher.run,
        "subscriber": subscriber.run,
        "lineage": link.lineage.settle,
        "registry": lambda: _follow_registry(link),
        "receipts": ReceiptWatch(link.spool, link.metrics, link.settings.receipt_within_s, link.clock).run,
        "counts": link.counts.run,
        "erasure": lambda: _erase_settled(link),
    }


async def _follow_registry(link: Link) -> None:
    while True:
        link.metrics.registry_version.set(link.trust.registry.version)
        await asyncio.sleep(link.settings.registry_refresh_s)
        try:
            await link.trust.refresh()
        except TrustFault as fault:
            link.metrics.registry_refused.inc()
            _log.error("registry refused", why=str(fault))
        # A rotation that another process began or finished is seen here.
        link.keys.reload()
        link.api_keys.reload()


async def _erase_settled(link: Link) -> None:
    """Personal data stays in the spool only as long as it may be needed after the receipt."""
    while True:
        while await link.spool.erase_settled(link.clock() - SETTLED_KEPT):
            pass
        await asyncio.sleep(ERASE_EVERY_S)
