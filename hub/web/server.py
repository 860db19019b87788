"""An HTTP server that lives inside the hub's own process and ends when the hub does."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import structlog
import uvicorn
from fastapi import FastAPI

from hub.settings import SettingsInvalid

REQUEST_LINE_BYTES_MAX = 16_384
CONNECTIONS_MAX = 500
KEEP_ALIVE_S = 30
SHUTDOWN_S = 5
BACKLOG = 256

log = structlog.get_logger(__name__)


class _Server(uvicorn.Server):
    """Leaves the signals to the hub, which has more to end than this server."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens at once, so that a port in use is told before anything starts."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
        # asyncio sees to this only for sockets that say they are TCP's, which this one does not: without it each answer
        # over a kept connection waits some 40 ms for an acknowledgement.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except OSError as error:
        raise SettingsInvalid(f"The address {host}:{port} cannot be listened on: {error.strerror}.") from None


async def serve(app: FastAPI, listener: socket.socket, name: str, stop: asyncio.Event) -> None:
    """Serve `app` until `stop` is set, then let requests in hand finish."""
    config = uvicorn.Config(
        app,
        access_log=False,
        log_config=None,
        server_header=False,
        h11_max_incomplete_event_size=REQUEST_LINE_BYTES_MAX,
        limit_concurrency=CONNECTIONS_MAX,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=SHUTDOWN_S,
        lifespan="off",
    )
    server = _Server(config)
    # Answers that go on for long end by themselves.
    app.state.stop = stop
    log.info(f"{name}.listening", host=listener.getsockname()[0], port=listener.getsockname()[1])
    serving = asyncio.create_task(server.serve([listener]))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
        await serving
    finally:
        stopping.cancel()
        listener.close()
