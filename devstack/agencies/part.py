"""What every simulator does alike: read its settings, follow the chapters it is told to play, keep a book."""

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from queue import SimpleQueue
from typing import Any

from devstack.agencies.door import Answer, Door, Handler, Raw, Routes
from devstack.agencies.scenario import CHAPTERS, Day, write_day

END = "end"


@dataclass(frozen=True, slots=True)
class Casting:
    """The settings that every simulator gets from its environment."""

    day: Day
    door_port: int
    pace_per_s: float

    @staticmethod
    def read() -> "Casting":
        """Read SEED, APPLICATIONS, START (RFC 3339), DOOR_PORT and PACE_PER_S. Raises KeyError, ValueError."""
        start = datetime.fromisoformat(os.environ["START"])
        day = write_day(int(os.environ["SEED"]), int(os.environ["APPLICATIONS"]), start)
        return Casting(day, int(os.environ["DOOR_PORT"]), float(os.environ.get("PACE_PER_S", "60")))


class Book:
    """What the agency itself did and saw, with the wall clock's time in seconds. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pages: dict[str, dict[str, Any]] = {}
        self._played: list[str] = []

    def note(self, page: str, key: str, **details: Any) -> bool:
        """Note something once; False if it stands there already."""
        with self._lock:
            entries = self._pages.setdefault(page, {})
            if key in entries:
                return False
            entries[key] = {"at_s": time.time(), **details}
            return True

    def find(self, page: str, key: str) -> dict[str, Any] | None:
        """Return what was noted, or None."""
        with self._lock:
            entry: dict[str, Any] | None = self._pages.get(page, {}).get(key)
            return entry

    def count(self, page: str) -> int:
        """Return how many entries a page has."""
        with self._lock:
            return len(self._pages.get(page, {}))

    def close_chapter(self, chapter: str) -> None:
        """Note that a chapter has been played to its end."""
        with self._lock:
            self._played.append(chapter)

    def show(self) -> dict[str, Any]:
        """Return the whole book."""
        with self._lock:
            return {"played": list(self._played), "pages": {page: dict(held) for page, held in self._pages.items()}}


def play(casting: Casting, book: Book, perform: Callable[[str], None], extra: Routes) -> None:
    """Open the control door and perform chapters in the order they are asked for, until SIGTERM or SIGINT."""
    asked: SimpleQueue[str] = SimpleQueue()

    def ask(chapter: str, query: dict[str, str], body: Any) -> Answer:
        if chapter not in CHAPTERS:
            return 404, {"error": "there is no such chapter"}
        asked.put(chapter)
        return 202, {"chapter": chapter}

    def show(query: dict[str, str], body: Any) -> Answer:
        return 200, book.show()

    def show_entry(page: str, key: str, query: dict[str, str], body: Any) -> Answer:
        entry = book.find(page, key)
        return (404, {"error": "the book has no such entry"}) if entry is None else (200, entry)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: asked.put(END))
    routes: dict[tuple[str, str], Handler | Raw] = {
        ("POST", r"/chapters/(\w+)"): ask,
        ("GET", "/book"): show,
        ("GET", r"/book/(\w+)/(.+)"): show_entry,
    }
    door = Door(casting.door_port, {**routes, **extra})
    door.open()
    while (chapter := asked.get()) != END:
        perform(chapter)
        book.close_chapter(chapter)
    door.close()
