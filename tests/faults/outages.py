"""What the tests of long outages share: clocks that are put on by three days, and records that retention deletes.

Kafka's own clock cannot be put on, so the test deletes what retention would have deleted by then. The hub judges
messages by Kafka's time; this exchange's limit for messages from the future is therefore wider than the outage.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import wait
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from math import ceil
from pathlib import Path

from kafka import TopicPartition

from devstack.demonstration.cast import TOPICS
from devstack.kafka import Kafka
from devstack.postgres import Postgres
from tests.faults.background import wait_until
from tests.faults.exchange import Exchange, open_exchange
from tests.faults.natives import TOLD_LIMIT_S, open_spool
from tests.faults.rig import CONNECTORS, EVERYTHING, LIMITS
from tests.faults.service_times import check_service_times
from tests.faults.waiting import BOOKING_DAYS, Waiting, begin_waiting

HOURS_MIN = 72
REPLACEMENTS = "tests.faults.replacements"
# The clock comes first: what is imported after it takes the replaced one.
CONNECTOR_AHEAD = (
    "connectors.link.clock:utc_now=tests.faults.clocks:read_ahead",
    f"connectors.link.publisher:OVERDUE_CHECK_S={REPLACEMENTS}:OFTEN_S",
)
HUB_AHEAD = ("hub.clock:utc_now=tests.faults.clocks:read_ahead",)
# Or its cosignatures were days old for the hub, which then holds back what no witness had seen before the outage.
WITNESS_AHEAD = ("connectors.oversight.witness_door:utc_now=tests.faults.clocks:read_ahead",)
AHEAD = dict.fromkeys(EVERYTHING, HUB_AHEAD) | dict.fromkeys(CONNECTORS, CONNECTOR_AHEAD) | {"witness": WITNESS_AHEAD}
OUTAGE_LIMITS = {**LIMITS, "clock_skew_s": 20 * 24 * 3600, "booking_days": BOOKING_DAYS}
# What the ministry tells may travel for less than the outage lasts: what reached Kafka in time counts all the same.
EXPIRY_DAYS = 2
SETTLE_LIMIT_S = 120.0


class Outage:
    """A running exchange whose clocks, the hub's and the connectors', can be put on."""

    def __init__(self, exchange: Exchange, kafka: Kafka) -> None:
        self.exchange = exchange
        self._kafka = kafka
        self._clock = exchange.rig.cast.folder / "clock"
        self._clock.write_text("0")
        for name in EVERYTHING:
            exchange.rig.extra[name] = {"FAULT_CLOCK": str(self._clock)}
        exchange.rig.extra["connector-ministry"]["EXPIRY_DAYS"] = str(EXPIRY_DAYS)
        exchange.begin(replacing=AHEAD)
        exchange.settle(exchange.load(1))
        self.waiting: Waiting = begin_waiting(exchange)
        self._ahead = timedelta()

    def start(self, *names: str) -> None:
        """Start processes again, and wait until they serve."""
        for name in names:
            self.exchange.rig.start(name, replacing=AHEAD[name])
        self.exchange.rig.wait_ready(*names)

    def pass_three_days(self) -> None:
        """Put all clocks on, by more where a banking day needs it to end. No agency's system follows: none may tell."""
        until_booked = self.waiting.booked_by - datetime.now(UTC)
        hours = max(HOURS_MIN, ceil(until_booked / timedelta(hours=1)) + 1)
        self._ahead = timedelta(hours=hours)
        part = self._clock.with_suffix(".part")
        part.write_text(str(hours))
        part.replace(self._clock)

    def tell(self, applications: int, *, statements: bool = True) -> None:
        """Tell so many applications through every channel, until the agencies have got rid of it."""
        natives = self.exchange.natives
        telling = natives.tell(natives.deal(applications), statements=statements)
        for future in wait(telling, timeout=TOLD_LIMIT_S).done:
            future.result()

    def wait_sent(self, *agencies: str) -> None:
        """Wait until Kafka has all that these connectors have spooled."""
        wait_until("all is sent", lambda: all(self._depth(agency) == 0 for agency in agencies), SETTLE_LIMIT_S)

    def wait_spooled(self, agency: str, least: int) -> None:
        """Wait until a connector holds at least so much that it cannot send."""
        wait_until(f"{agency} has spooled it", lambda: self._depth(agency) >= least, SETTLE_LIMIT_S)

    def _depth(self, agency: str) -> int:
        with open_spool(self.exchange.rig.cast, agency) as spool:
            query = "SELECT count(*) FROM fact WHERE state IN ('waiting', 'signed')"
            return int(spool.execute(query).fetchone()[0])

    def delete_records(self, *topics: str) -> int:
        """Delete every record of these topics, as retention does; return how many there were."""
        prefix = self.exchange.rig.cast.services.topic_prefix
        places = [TopicPartition(prefix + topic, one) for topic in topics for one in range(TOPICS[topic])]
        ends = self._ends(places)
        with self._kafka.admin() as admin:
            admin.delete_records(ends)
        return sum(ends.values())

    def _ends(self, places: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        async def read() -> dict[TopicPartition, int]:
            async with self.exchange.observer.consume() as consumer:
                found = await consumer.end_offsets(places)
                return {TopicPartition(place.topic, place.partition): end for place, end in found.items()}

        return self.exchange.background.run(read())

    def findings(self, *, lost: Sequence[str] = (), deleted: Sequence[str] = ()) -> list[str]:
        """Return what is wrong, but for stretches of `lost` topics, and `deleted` topics that cannot be read whole."""
        found = self.exchange.findings_in_the_end(limit_s=SETTLE_LIMIT_S)
        untimely = [f"time: {line}" for line in self.waiting.findings(self._ahead)]
        untimely += check_service_times(self.exchange, self._ahead)
        return untimely + [line for line in found if not _is_expected(line, lost, deleted)]


def _is_expected(line: str, lost: Sequence[str], deleted: Sequence[str]) -> bool:
    retention = any(f"2: ('{topic}'" in line and line.endswith(" is lost") for topic in lost)
    return retention or any(f"4: ('{topic}'" in line and "the topic" in line for topic in deleted)


@contextmanager
def open_outage(kafka: Kafka, postgres: Postgres, folder: Path) -> Iterator[Outage]:
    """Open an exchange in which somebody will be away for three days."""
    with open_exchange(kafka, postgres, folder, limits=OUTAGE_LIMITS) as exchange:
        yield Outage(exchange, kafka)
