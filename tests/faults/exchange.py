"""An exchange under test: its processes, the agencies that use it, and what is seen of it, in one hand."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from devstack.kafka import Kafka
from devstack.postgres import Postgres
from tests.faults.background import Background, NotReached, wait_until
from tests.faults.invariants import Told, check_all
from tests.faults.natives import TOLD_LIMIT_S, Natives, play_natives
from tests.faults.observation import Observer
from tests.faults.rig import EVERYTHING, LIMITS, Rig, create_register, open_rig

SETTLE_LIMIT_S = 60.0
NOTHING: Mapping[str, Sequence[str]] = {}


@dataclass
class Exchange:
    """Everything of one exchange that a test works with."""

    rig: Rig
    natives: Natives
    observer: Observer
    background: Background

    def begin(self, *, replacing: Mapping[str, Sequence[str]] = NOTHING) -> None:
        """Start every process and wait until they serve. `replacing`: rules of FAULT_REPLACE by process."""
        for name in EVERYTHING:
            self.rig.start(name, replacing=replacing.get(name, ()))
        self.rig.wait_ready(*EVERYTHING)

    def load(self, applications: int) -> "list[Future[None]]":
        """Begin to tell so many new applications, beside repeats and what must be refused."""
        telling = self.natives.tell(self.natives.deal(applications))
        self.natives.make_trouble()
        return telling

    def settle(self, telling: "Sequence[Future[None]]" = (), limit_s: float = SETTLE_LIMIT_S) -> float:
        """Wait until all that was told has come to rest; return how long it took. Raises NotReached."""
        done = wait(telling, timeout=TOLD_LIMIT_S)
        for future in done.done:
            future.result()
        if done.not_done:
            raise NotReached("the agencies could not tell what they had to tell")
        try:
            return wait_until("everything came to rest", lambda: not self.read_unrest(), limit_s)
        except NotReached as fault:
            raise NotReached(f"{fault} Left: {', '.join(self.read_unrest()) or 'nothing any more'}.") from None

    def read_unrest(self) -> list[str]:
        """Return what is left to do, as far as the agencies' books and the lag say. Raises NotReached."""
        dead = self.rig.check_alive()
        if dead:
            raise NotReached("; ".join(dead))
        book = self.natives.visa_book
        undelivered = len(self.natives.books.applications) - book.count("recommendations")
        statements = self.natives.statements_left()
        lag = self.observer.read_lag()
        # What the connector counts of a day is no answer of an office.
        heard = self.observer.fetch(
            "SELECT count(*) FROM inbox WHERE participant = 'immigration' AND type NOT LIKE '%.count.stated.%'"
        )[0][0]
        unheard = book.count("answers") - heard
        left = {"undelivered": max(undelivered, 0), "statements": statements, **lag._asdict(), "unheard": unheard}
        return [f"{count} {name}" for name, count in left.items() if count]

    def findings(self) -> list[str]:
        """Return what is wrong now, by all invariants."""
        told = Told(self.natives.books, self.natives.visa_book)
        return check_all(self.observer.observe(), told, self.rig)

    def findings_in_the_end(self, telling: "Sequence[Future[None]]" = (), limit_s: float = SETTLE_LIMIT_S) -> list[str]:
        """Wait for rest, and return what is wrong; that it never came to rest is part of it."""
        try:
            self.settle(telling, limit_s)
        except NotReached as fault:
            return [f"8: {fault}", *self.findings()]
        return self.findings()


@contextmanager
def open_exchange(
    kafka: Kafka,
    postgres: Postgres,
    folder: Path,
    *,
    limits: Mapping[str, int] = LIMITS,
    bootstrap: str = "",
) -> Iterator[Exchange]:
    """Set up an exchange of its own, with its agencies; no process is started."""
    with Background() as background, open_rig(kafka, postgres, folder, limits=limits, bootstrap=bootstrap) as rig:
        background.run(create_register(rig.cast.services))
        with play_natives(rig.cast, background) as natives:
            yield Exchange(rig, natives, Observer(rig.cast, background), background)
