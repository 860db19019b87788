"""The witness's HTTP door, on the standard library alone.

POST /add-checkpoint               cosign a checkpoint (C2SP tlog-witness)
GET  /<origin hash>/checkpoint     what was cosigned last of a log
GET  /readyz                       whether it works, and of how many forks it keeps the proof
"""

import hashlib
import json
import sqlite3
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from connectors.oversight.witness import (
    REQUEST_BYTES_MAX,
    TEXT,
    Answer,
    Refused,
    Witness,
    check_consistency,
    check_signature,
    read_request,
)
from connectors.oversight.witness_state import WitnessState, checkpoint_of
from contracts.log.fault import Fault

IDLE_TIMEOUT_S = 30.0
LENGTH_DIGITS_MAX = 9


class Desk:
    """A witness with its memory: one request at a time."""

    def __init__(self, witness: Witness, state: WitnessState, clock: Callable[[], datetime]) -> None:
        self._witness = witness
        self._state = state
        self._clock = clock
        self._turn = threading.Lock()
        self._origins = {hashlib.sha256(origin.encode()).hexdigest(): origin for origin in witness.logs}

    def add_checkpoint(self, body: bytes) -> Answer:
        """Check a checkpoint and cosign it, or say why not."""
        try:
            shown = read_request(body)
            check_signature(shown, self._witness)
        except Refused as refused:
            return refused.answer
        origin, now = shown.checkpoint.origin, self._clock()
        with self._turn, self._state.transaction():
            held = self._state.newest(origin)
            try:
                check_consistency(
                    shown, checkpoint_of(held), lambda size: checkpoint_of(self._state.recall(origin, size))
                )
            except Refused as refused:
                if refused.contradiction is not None:
                    against = self._state.recall(origin, shown.checkpoint.size) or held
                    self._state.accuse(now, refused.contradiction, against, shown.note)
                return refused.answer
            line = self._witness.cosign(shown.note, int(now.timestamp()))
            self._state.remember(shown.checkpoint, shown.note.with_signatures([line]))
        return Answer(HTTPStatus.OK, line.write())

    def newest(self, origin_hash: str) -> Answer:
        """Give what was cosigned last of a log."""
        origin = self._origins.get(origin_hash)
        with self._turn:
            note = None if origin is None else self._state.newest(origin)
        if note is None:
            return Answer(HTTPStatus.NOT_FOUND, "No checkpoint of this log was cosigned here.\n")
        return Answer(HTTPStatus.OK, note.write().decode())

    def ready(self) -> Answer:
        """Say that it works, and how many forks it has proof of."""
        with self._turn:
            forks = sum(evidence.fault == Fault.FORK for evidence in self._state.evidence())
        return Answer(HTTPStatus.OK, json.dumps({"status": "ok", "forks": forks}) + "\n", "application/json")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = IDLE_TIMEOUT_S
    # Without it an answer over a kept connection waits for the other side's acknowledgement.
    disable_nagle_algorithm = True

    def __init__(self, desk: Desk, *args: object) -> None:
        self._desk = desk
        super().__init__(*args)  # type: ignore[arg-type]

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit() or len(length) > LENGTH_DIGITS_MAX:
            self.close_connection = True
            return self._give(Answer(HTTPStatus.LENGTH_REQUIRED, "Say how long the request is.\n"))
        if int(length) > REQUEST_BYTES_MAX:
            self.close_connection = True
            return self._give(Answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The request is too large.\n"))
        body = self.rfile.read(int(length))
        if self.path != "/add-checkpoint":
            return self._give(Answer(HTTPStatus.NOT_FOUND, "There is nothing here.\n"))
        try:
            answer = self._desk.add_checkpoint(body)
        except sqlite3.Error:
            # Nothing was stored, so nothing may be said.
            answer = Answer(HTTPStatus.SERVICE_UNAVAILABLE, "The witness's memory does not work just now.\n")
        return self._give(answer)

    def do_GET(self) -> None:
        if self.path == "/readyz":
            return self._give(self._desk.ready())
        origin_hash, _, rest = self.path.removeprefix("/").partition("/")
        if rest != "checkpoint":
            return self._give(Answer(HTTPStatus.NOT_FOUND, "There is nothing here.\n", TEXT))
        return self._give(self._desk.newest(origin_hash))

    def _give(self, answer: Answer) -> None:
        body = answer.body.encode()
        self.send_response(answer.status)
        for name, value in (
            ("Content-Type", answer.media_type),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
        ):
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        try:
            self.end_headers()
            self.wfile.write(body)
        except ConnectionError:
            # What was cosigned is stored: a caller that has hung up asks again and gets the same.
            self.close_connection = True

    def version_string(self) -> str:
        """Say nothing of the program behind."""
        return "witness"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing: what matters is in the state file."""


class WitnessServer(ThreadingHTTPServer):
    """Serves one desk."""

    daemon_threads = True

    def __init__(self, host: str, port: int, desk: Desk) -> None:
        """Bind at once. Raises OSError."""
        super().__init__((host, port), partial(_Handler, desk))


def utc_now() -> datetime:
    """Return the time of this machine."""
    return datetime.now(UTC)
