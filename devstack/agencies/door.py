"""A small HTTP door, opened and closed at will, with the standard library alone.

It is on 127.0.0.1 unless the environment's DOOR_HOST says otherwise, as it does in a container.
"""

import json
import os
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

BODY_BYTES_MAX = 1 << 20
LOCALHOST = "127.0.0.1"

Answer = tuple[int, Any]
Handler = Callable[..., Answer]


@dataclass(frozen=True, slots=True)
class Incoming:
    """A call as it came, for a handler that judges more than its JSON."""

    headers: Mapping[str, str]
    body: bytes

    def header(self, name: str) -> str:
        """Return a header's value, empty where there is none."""
        return self.headers.get(name.lower(), "")


@dataclass(frozen=True, slots=True)
class Raw:
    """A handler that is given the call itself."""

    handle: Callable[[Incoming], Answer]


Routes = Mapping[tuple[str, str], Handler | Raw]


class _Server(ThreadingHTTPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64
    routes: Routes


class Door:
    """Answers JSON requests. `routes`: (method, path pattern) to a function of the groups, `query` and `body`."""

    def __init__(self, port: int, routes: Routes) -> None:
        self._port = port
        self._routes = routes
        self._server: _Server | None = None

    @property
    def port(self) -> int:
        """The port on which the door is open."""
        return self._server.server_address[1] if self._server is not None else self._port

    def open(self) -> None:
        """Listen, in a thread of its own."""
        self._server = _Server((os.environ.get("DOOR_HOST", LOCALHOST), self._port), _Request)
        self._server.routes = self._routes
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        """Stop listening: a caller is refused the connection, as when a system is down."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


class _Request(BaseHTTPRequestHandler):
    server: _Server
    timeout = 10

    def _serve(self) -> None:
        target = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        if length > BODY_BYTES_MAX:
            return self._answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"error": "the body is too large"})
        raw = self.rfile.read(length)
        for (method, pattern), handler in self.server.routes.items():
            match = re.fullmatch(pattern, target.path)
            if method != self.command or not match:
                continue
            if isinstance(handler, Raw):
                headers = {name.lower(): value for name, value in self.headers.items()}
                return self._answer(*handler.handle(Incoming(headers, raw)))
            groups = [unquote(group) for group in match.groups()]
            query = dict(parse_qsl(target.query))
            return self._answer(*handler(*groups, query=query, body=json.loads(raw) if raw else None))
        return self._answer(HTTPStatus.NOT_FOUND, {"error": "there is nothing here"})

    def _answer(self, status: int, content: Any) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = _serve  # noqa: N815 (the names that http.server looks for)

    def log_message(self, *args: Any) -> None:
        """Stay silent: a path may name an application, and the demo's logs are to be searched for such things."""
