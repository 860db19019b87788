"""How SNAP calls come over the wire: HTTP with limits whose errors are SNAP's too, and mutual TLS for each partner.

uvicorn shows no peer certificate to the application, so a partner that is to prove itself by one has a listener of its
own. Only its own certificates are trusted there, each as an anchor of its own: another bank's certificate does not get
through the handshake, not even one of the same authority.
"""

import asyncio
import contextlib
import json
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any, Final

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from connectors.bank.notifications import NotificationDoor
from connectors.bank.profile import Listener, Partner
from connectors.bank.snap_answer import BAD_REQUEST, HEADERS_BYTES_MAX, NO_SERVICE, SLOW_REQUEST, Case
from connectors.link.fault import SettingsFault

HEAD_S_MAX: Final = 10.0
STOP_TIMEOUT_S: Final = 5


class SnapProtocol(H11Protocol):
    """HTTP/1.1 whose limits are answered in SNAP's form: the size of the headers, and the time they may take."""

    _head_timer: asyncio.TimerHandle | None = None

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.conn = h11.Connection(h11.SERVER, HEADERS_BYTES_MAX)

    def data_received(self, data: bytes) -> None:
        """Read what came; the headers of a call must be whole within HEAD_S_MAX of its first byte."""
        if self._head_timer is None and self.conn.their_state is h11.IDLE:
            self._head_timer = self.loop.call_later(HEAD_S_MAX, self._head_too_slow)
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the call."""
        self._stop_head_timer()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, or has larger headers than HEADERS_BYTES_MAX."""
        larger = len(self.conn.trailing_data[0]) > HEADERS_BYTES_MAX
        why = f"[the headers are larger than {HEADERS_BYTES_MAX} bytes]" if larger else "[the call is no HTTP/1.1]"
        self._refuse(BAD_REQUEST, why)

    def _head_too_slow(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self._refuse(SLOW_REQUEST, "[the headers took too long]")

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, case: Case, why: str) -> None:
        self._stop_head_timer()
        code = case.code(NO_SERVICE)
        body = json.dumps({"responseCode": code, "responseMessage": f"{case.message} {why}"}).encode("ascii")
        head = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode("ascii")),
            (b"connection", b"close"),
        ]
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            for event in (h11.Response(status_code=case.status, headers=head), h11.Data(body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


class _Server(uvicorn.Server):
    """A server that leaves the signals to the service."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def server_config(app: FastAPI, context: Callable[[], ssl.SSLContext] | None = None) -> uvicorn.Config:
    """Return how the SNAP door is served: with SNAP's limits, and without believing anybody's X-Forwarded-For."""
    return uvicorn.Config(
        app,
        http=SnapProtocol,
        ws="none",
        log_config=None,
        access_log=False,
        lifespan="off",
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=STOP_TIMEOUT_S,
        ssl_context_factory=None if context is None else lambda config, default: context(),
    )


def tls_context(listener: Listener) -> ssl.SSLContext:
    """Return a context in which only this partner's own certificates are believed. Raises SettingsFault."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    # A leaf certificate is its own anchor, so that what its authority signs besides is worth nothing here.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_cert_chain(listener.certificate_pem_file, listener.private_key_pem_file)
        context.load_verify_locations(listener.client_certificates_pem_file)
    except (OSError, ssl.SSLError) as error:
        why = error.strerror or getattr(error, "reason", None) or type(error).__name__
        where = f"the listener on {listener.host}:{listener.port}"
        raise SettingsFault(f"The certificates of {where} cannot be used: {why}.") from None
    return context


class PartnerListener:
    """The listener of one partner; opened at once, so that a port that is taken stops the start."""

    def __init__(self, partner: Partner, listener: Listener, door: NotificationDoor) -> None:
        context = tls_context(listener)
        app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
        app.include_router(door.routes(partner.profile.partner_id))
        try:
            self._socket = socket.create_server((listener.host, listener.port))
            # As at the door that is open to all: asyncio sees to this only for sockets that say they are TCP's, and
            # without it each answer over a kept connection waits some 40 ms for an acknowledgement.
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            raise SettingsFault(
                f"The listener of {partner.profile.partner_id} cannot listen on {listener.host}:{listener.port}"
                f" ({error.strerror}): choose a free port of this machine."
            ) from None
        self._server = _Server(server_config(app, lambda: context))

    @property
    def port(self) -> int:
        """The port on which it listens."""
        return int(self._socket.getsockname()[1])

    async def run(self) -> None:
        """Serve until cancelled."""
        serving = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        try:
            await asyncio.shield(serving)
        finally:
            self._server.should_exit = True
            await asyncio.wait({serving}, timeout=STOP_TIMEOUT_S)

    def close(self) -> None:
        """Give the port back, if it was never served."""
        self._socket.close()


def open_listeners(partners: tuple[Partner, ...], door: NotificationDoor) -> list[PartnerListener]:
    """Open the listener of every partner that has one. Raises SettingsFault."""
    opened: list[PartnerListener] = []
    try:
        for partner in partners:
            if partner.profile.listener is not None:
                opened.append(PartnerListener(partner, partner.profile.listener, door))
    except SettingsFault:
        for listener in opened:
            listener.close()
        raise
    return opened
