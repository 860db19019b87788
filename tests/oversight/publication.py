"""A log as it is published: its checkpoint and its bundles, in a folder that any web server can serve."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from contracts.log.tile import ENTRIES, tiles_between, write_bundle


def publish(folder: Path, entries: Sequence[bytes], checkpoint: bytes) -> None:
    """Write the whole log anew, as it is now."""
    for tile in tiles_between(ENTRIES, 0, len(entries)):
        path = folder / tile.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(write_bundle(entries[tile.first : tile.first + tile.width]))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "checkpoint").write_bytes(checkpoint)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Serve a folder over HTTP and give its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
