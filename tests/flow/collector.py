"""A collector of traces: an HTTP server that reads OTLP by the published messages, and nothing of ours."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

PATH = "/v1/traces"


@dataclass(frozen=True)
class Span:
    """A span as it arrived; ids in hex, `parent` empty for the first of its trace."""

    service: str
    name: str
    trace: str
    id: str
    parent: str
    began_ns: int
    ended_ns: int
    said: dict[str, Any]


@dataclass
class Collector:
    """What has arrived so far, and where it is to be sent."""

    url: str = ""
    bodies: list[bytes] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, body: bytes) -> None:
        with self.lock:
            self.bodies.append(body)

    def spans(self) -> list[Span]:
        """Return every span that has arrived."""
        with self.lock:
            bodies = list(self.bodies)
        return [span for body in bodies for span in _read(body)]

    def trace(self, number: int) -> list[Span]:
        """Return the spans of one trace."""
        return [span for span in self.spans() if span.trace == f"{number:032x}"]


def _read(body: bytes) -> Iterator[Span]:
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        [service] = [one.value.string_value for one in resource.resource.attributes if one.key == "service.name"]
        for scope in resource.scope_spans:
            for one in scope.spans:
                said = {each.key: each.value.string_value or each.value.int_value for each in one.attributes}
                yield Span(
                    service, one.name, one.trace_id.hex(), one.span_id.hex(), one.parent_span_id.hex(),
                    one.start_time_unix_nano, one.end_time_unix_nano, said,
                )  # fmt: skip


@contextmanager
def open_collector() -> Iterator[Collector]:
    """Give a collector that listens on a free port."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # The library's name.
            body = self.rfile.read(int(self.headers["content-length"]))
            right = self.path == PATH and self.headers["content-type"] == "application/x-protobuf"
            if right:
                collector.take(body)
            self.send_response(200 if right else 400)
            self.send_header("content-type", "application/x-protobuf")
            self.end_headers()
            self.wfile.write(ExportTraceServiceResponse().SerializeToString())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector.url = f"http://127.0.0.1:{server.server_port}{PATH}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
