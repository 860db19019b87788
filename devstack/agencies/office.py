"""A regional office of the ministry: its system cannot offer a table, so it hands its facts in over HTTP.

Each fact goes to `POST /events` under an Idempotency-Key that names it for ever, until the answer says that it is
stored. Source: draft-ietf-httpapi-idempotency-key-header, RFC 9457 (problem details).
"""

import http.client
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from devstack.agencies.part import Book
from devstack.agencies.scenario import Row, write_instant

PATH = "/events"
STORED, KNOWN, UNFIT = 202, 200, 422
TIMEOUT_S = 5.0
RETRY_PAUSE_S = 0.25
RETRY_LIMIT_S = 90.0
# As often as a system that is not sure of an answer: one fact in so many is handed in once more.
REPEAT_EVERY = 7


class Office:
    """Hands facts in, one by one, in order."""

    def __init__(self, url: str, token: str, book: Book, pause_s: float) -> None:
        target = urlsplit(url)
        self._host, self._port = target.hostname or "", target.port or 80
        self._token = token
        self._book = book
        self._pause_s = pause_s

    @staticmethod
    def read(book: Book, pace_per_s: float) -> "Office | None":
        """Read EVENTS_URL and EVENTS_TOKEN_FILE; without them there is no such office."""
        url, file = os.environ.get("EVENTS_URL"), os.environ.get("EVENTS_TOKEN_FILE")
        return Office(url, Path(file).read_text().strip(), book, 1 / pace_per_s) if url and file else None

    def hand_in_all(self, rows: Sequence[Row]) -> None:
        """Hand in facts; some of them twice, and one key for another fact, which must be refused."""
        for place, row in enumerate(rows):
            status = self.hand_in(row)
            if status not in (STORED, KNOWN):
                self._book.note("turned away", row.key, status=status)
                continue
            self._book.note("written", row.key, kind=row.kind, sound=row.sound, by_office=True)
            if place % REPEAT_EVERY == 0:
                self._book.note("handed in again", row.key, wanted=KNOWN, status=self.hand_in(row))
                other = Row(row.key, row.chapter, row.at, "LENGKAP", f"{row.application}/LAIN", row.payload)
                self._book.note("key used again", row.key, wanted=UNFIT, status=self.hand_in(other))
            time.sleep(self._pause_s)

    def hand_in(self, row: Row) -> int:
        """Hand in one fact until there is an answer that is no server's fault; return its status, 0 without one."""
        deadline_s = time.time() + RETRY_LIMIT_S
        while time.time() < deadline_s:
            try:
                status = self._post(row)
            except (OSError, http.client.HTTPException):
                status = http.client.SERVICE_UNAVAILABLE
            if status < http.client.INTERNAL_SERVER_ERROR:
                return status
            time.sleep(RETRY_PAUSE_S)
        return 0

    def _post(self, row: Row) -> int:
        body = {
            "at": write_instant(row.at),
            "kind": row.kind,
            "application_number": row.application,
            "payload": row.payload,
        }
        headers = {
            "Content-Type": "application/json",
            "Authorization": f"Bearer {self._token}",
            "Idempotency-Key": row.key.replace("#", ":"),
        }
        connection = http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_S)
        try:
            connection.request("POST", PATH, json.dumps(body).encode(), headers)
            response = connection.getresponse()
            response.read()
            return response.status
        finally:
            connection.close()
