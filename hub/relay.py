"""The relay: outbox -> sign -> Kafka, each message once, in the order of its stream.

One transactional id and one leader per topic, elected by an advisory lock in PostgreSQL. The life of a message:

    1. read by cursor from the outbox; a forward's bytes and signature come from the inbox as they arrived
    2. the hub's own event is signed and the signature stored; a redo sends the stored one
    3. records and position (seq + 1 in group `hub-relay`, on the real partition) in one Kafka transaction
    4. the position is noted in PostgreSQL, so that a lost or rewound one is found at the next start

Leadership only saves work. What makes the output exact is that the newest producer fences the older ones, and that
position and records are committed together; so a leader that was frozen and wakes up changes nothing.
Any error but a clean end throws the producer away: aiokafka may otherwise publish what was aborted.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import structlog
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from contracts.registry import Registry
from hub import failpoint, metrics, tracing
from hub.cluster import Cluster
from hub.health import Health
from hub.release import Gate, Shelf, Signer, write_headers
from hub.store import outbox
from hub.store.database import Database
from hub.store.election import SESSION_ERRORS, Election, stand_until
from hub.store.outbox import OutboxRow
from hub.told import NotTold, fetch_positions, read_told
from hub.transport import RELAY_GROUP as GROUP
from hub.transport import is_output, name_transactional_id
from hub.trust import RegistryInForce

if TYPE_CHECKING:
    from aiokafka.producer.message_accumulator import BatchBuilder

Result = TypeVar("Result")

ROWS_MAX = 500
# Stays below the broker's usual message.max.bytes (1 MiB) even if nothing compresses.
BATCH_BYTES_MAX = 900_000
TRANSACTION_TIMEOUT_MS = 15_000
REQUEST_TIMEOUT_MS = 10_000
METADATA_MAX_AGE_MS = 30_000
# aiokafka may hang on coordinator trouble; a transaction that takes longer than the broker lets it live is lost anyway.
PUBLISH_TIMEOUT_S = 20.0
START_TIMEOUT_S = 30.0
DISCARD_TIMEOUT_S = 5.0
STOP_TIMEOUT_S = 10.0
POLL_S = 1.0
# One look at the streams' heads serves every notification that came meanwhile.
WAKE_PAUSE_S = 0.002
# What comes sooner after a transaction waits for company: a transaction costs the same for one message as for many.
PACE_S = 0.05
BACKOFF_S_MAX = 10.0
# So many of the last messages are compared with Kafka where its position is ahead of the note.
COMPARED_MAX = 500
RESTORED = "docs/how-to/backup-and-restore.md"

# AssertionError: fencing surfaces as one on later calls.
TRANSIENT = (KafkaError, AssertionError, *SESSION_ERRORS)

log = structlog.get_logger(__name__)


class RelayRefused(Exception):
    """Kafka's position of a stream contradicts the database: going on would lose or repeat messages."""


class TopicMissing(KafkaError):  # type: ignore[misc]  # aiokafka has no type hints.
    """The topic does not exist, or has fewer partitions than the registry says."""


class RelayStalled(KafkaError):  # type: ignore[misc]  # aiokafka has no type hints.
    """Kafka did not answer within the watchdog's time."""


@dataclass(frozen=True, slots=True)
class Shipment:
    """What goes out in one Kafka transaction, by partition, and the positions once it is committed."""

    rows: dict[int, list[OutboxRow]]
    reached: dict[int, int]

    def __len__(self) -> int:
        return sum(map(len, self.rows.values()))

    @property
    def is_full(self) -> bool:
        """Whether a partition has more to send at once."""
        return any(len(rows) >= ROWS_MAX for rows in self.rows.values())


def check_position(stream: str, position: int, noted: int, last: int) -> None:
    """Raise RelayRefused unless Kafka's `position` (last seq it holds, 0: none) fits `noted` and the outbox' `last`."""
    if position < noted:
        raise RelayRefused(
            f"Kafka says that {stream} was relayed up to {position}, the database noted {noted}: the topic was created "
            f"anew, or the offsets of group {GROUP} were lost. Nothing was sent. "
            "See docs/operations.md, 'A position is lost'."
        )
    if position > last:
        raise RelayRefused(
            f"Kafka says that {stream} was relayed up to {position}, the outbox ends at {last}: this database is older "
            f"than this topic. Nothing was sent. See {RESTORED}."
        )


class TopicRelay:
    """Everything that one leader does for one output topic."""

    def __init__(
        self,
        database: Database,
        cluster: Cluster,
        election: Election,
        topic: str,
        signer: Signer,
        health: Health,
        discarded: "Discarded",
        shelf: Shelf,
    ) -> None:
        self.topic = topic
        self._discarded = discarded
        self._database = database
        self._cluster = cluster
        self._election = election
        self._signer = signer
        self._health = health
        self._news = asyncio.Event()
        self._stopping = False
        self._positions: dict[int, int] = {}
        self._heads: dict[int, int] = {}
        self._gate = Gate(topic, shelf)

    @property
    def part(self) -> str:
        """The name under which readiness speaks of this topic."""
        return f"relay {self.topic}"

    def fits(self, partitions: int) -> bool:
        """Whether this serves all of so many partitions; it does so for good once it has started."""
        return not self._positions or len(self._positions) == partitions

    def notice(self, heads: dict[tuple[str, int], int]) -> None:
        """Wake up if the outbox holds more than was sent; `heads` is the last seq by stream."""
        for partition, position in list(self._positions.items()):
            self._heads[partition] = heads.get((self.topic, partition), 0)
            lag = self._heads[partition] - position
            metrics.RELAY_LAG_MESSAGES.labels(self.topic, str(partition)).set(lag)
            if lag > 0:
                self._news.set()

    def stop(self) -> None:
        """Ask for an end after the transaction in hand."""
        self._stopping = True
        self._news.set()

    async def run(self) -> None:
        """Relay until asked to stop, through every outage. Raises RelayRefused."""
        metrics.RELAY_LEADING.labels(self.topic).set(1)
        try:
            while not self._stopping:
                async for attempt in AsyncRetrying(
                    retry=retry_if_exception_type(TRANSIENT),
                    wait=wait_random_exponential(multiplier=0.1, max=BACKOFF_S_MAX),
                    before_sleep=self._report,
                ):
                    with attempt:
                        await self._lead_term()
        finally:
            metrics.RELAY_LEADING.labels(self.topic).set(0)
            self._health.clear(self.part)

    def _report(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        metrics.RELAY_RECYCLED.labels(self.topic).inc()
        told = isinstance(error, TopicMissing | RelayStalled | NotTold)
        sentence = str(error) if told else f"Kafka or the database fails: {_name(error)}."
        if self._health.report(self.part, sentence):
            log.warning("relay.retrying", topic=self.topic, reason=sentence)

    async def _lead_term(self) -> None:
        """Work with one producer until asked to stop. An error after some success only ends the term: no back-off."""
        if self._stopping:
            return
        # A leader that lost its lock while it was frozen must not fence the one that took over.
        await self._election.confirm()
        sent = 0
        try:
            async with self._producer() as producer:
                self._positions = await self._read_positions()
                shipment = await self._prepare(self._positions)
                while not self._stopping:
                    if shipment:
                        published, shipment = shipment, await self._send_on(producer, shipment)
                        sent += len(published)
                    else:
                        await self._wait_for_news()
                        shipment = await self._prepare(self._positions)
        except TRANSIENT as error:
            if not sent:
                raise
            metrics.RELAY_RECYCLED.labels(self.topic).inc()
            log.warning("relay.producer_discarded", topic=self.topic, reason=_name(error))

    async def _send_on(self, producer: AIOKafkaProducer, shipment: Shipment) -> Shipment:
        """Publish a shipment, and return the next, which is read and signed while Kafka commits this one."""
        upcoming = asyncio.create_task(self._prepare_next(shipment))
        try:
            began_ns = time.time_ns()
            await self._publish_in_time(producer, shipment)
            tracing.show_relayed(self.topic, shipment.rows, began_ns)
            await self._settle(shipment)
            return await upcoming
        finally:
            upcoming.cancel()
            await asyncio.wait({upcoming})
            _heed(upcoming)

    async def _prepare_next(self, shipment: Shipment) -> Shipment:
        """Prepare what follows a shipment, after a rest unless that one was as full as can be."""
        if not shipment.is_full:
            await asyncio.sleep(PACE_S)
        return await self._prepare(shipment.reached)

    async def _wait_for_news(self) -> None:
        try:
            async with asyncio.timeout(POLL_S):
                await self._news.wait()
        except TimeoutError:
            return
        finally:
            self._news.clear()

    @asynccontextmanager
    async def _producer(self) -> AsyncIterator[AIOKafkaProducer]:
        """Give a started producer, which fences all earlier ones of this topic. Raises RelayStalled."""
        physical = self._cluster.physical(self.topic)
        producer = AIOKafkaProducer(
            **self._cluster.options,
            client_id=f"{physical}-relay",
            transactional_id=name_transactional_id(physical),
            transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            metadata_max_age_ms=METADATA_MAX_AGE_MS,
            max_batch_size=BATCH_BYTES_MAX,
            compression_type="zstd",
        )
        starting = asyncio.create_task(producer.start())
        try:
            await asyncio.wait({starting}, timeout=START_TIMEOUT_S)
            if not starting.done():
                raise RelayStalled("Kafka did not let the producer start in time.")
            starting.result()
            yield producer
        finally:
            await self._discarded.take(producer, starting)

    async def _read_positions(self) -> dict[int, int]:
        """Return the last seq that Kafka holds of each partition. Raises RelayRefused, TopicMissing."""
        wanted = self._signer.registry.topics[self.topic]
        offsets, found = await self._discarded.finish(fetch_positions(self._cluster, self.topic, wanted))
        if found < wanted:
            raise TopicMissing(f"Topic {self.topic} has {found} of its {wanted} partitions: run `hub kafka apply`.")
        async with self._database.connection() as connection:
            noted = await outbox.read_positions(connection, self.topic)
            heads = await outbox.read_heads(connection)
        positions = {}
        for partition in range(wanted):
            position = offsets.get(partition, 0)
            last = heads.get((self.topic, partition), 0)
            before = noted.get(partition, 0)
            check_position(f"{self.topic}/{partition}", position, before, last)
            await self._check_signed(partition, before, position)
            positions[partition] = position
            metrics.RELAY_POSITION.labels(self.topic, str(partition)).set(position)
        ahead = {partition: position for partition, position in positions.items() if position > noted.get(partition, 0)}
        if ahead:
            # The answer to a commit was lost. On a quiet stream no later shipment would note it for a long time.
            async with self._database.connection() as connection:
                await outbox.note_positions(connection, self.topic, ahead)
        return positions

    async def _check_signed(self, partition: int, noted: int, position: int) -> None:
        """Refuse a database that was restored and has said other things since. Raises RelayRefused."""
        if position > noted:
            async with self._database.connection() as connection:
                unsigned = await outbox.find_unsigned(connection, self.topic, partition, noted, position)
            if unsigned is not None:
                raise RelayRefused(
                    f"Kafka says that {self.topic}/{partition} was relayed up to {position}, but what the outbox holds "
                    f"at {unsigned} was never signed: this database is older than this topic. Nothing was sent. "
                    f"See {RESTORED}."
                )
            await self._check_told(partition, max(noted, position - COMPARED_MAX), position)

    async def _check_told(self, partition: int, after: int, until: int) -> None:
        """Refuse a database that holds other messages than Kafka at places that were told. Raises RelayRefused.

        A restored database that has taken messages in anew has forwards there, which bear no mark of the hub's own.
        """
        async with self._database.connection() as connection:
            rows = await outbox.read_rows(connection, self.topic, partition, after, until - after)
        # What was erased went out without its content, or as a tombstone: there is nothing to compare.
        last = max((row.seq for row in rows if row.value is not None), default=None)
        if last is None:
            return
        told = await self._discarded.finish(read_told(self._cluster, self.topic, partition, after, last))
        erased = {row.seq for row in rows if row.value is None}
        held = {row.seq: row.value for row in rows}
        other = [seq for seq, one in told.items() if seq not in erased and held.get(seq) != one.value]
        if other:
            raise RelayRefused(
                f"Kafka holds another message at hub-seq {min(other)} of {self.topic}/{partition} than the outbox: "
                f"this database is older than this topic. Nothing was sent. See {RESTORED}."
            )

    async def _prepare(self, positions: dict[int, int]) -> Shipment:
        """Read what comes after `positions` and sign what has no signature yet."""
        registry = self._signer.registry
        behind = {
            partition: position
            for partition, position in positions.items()
            if self._heads.get(partition, position + 1) > position
        }
        rows: dict[int, list[OutboxRow]] = {}
        held = None
        async with self._database.connection() as connection:
            if behind := await self._gate.leave_out_held(connection, behind):
                found = await outbox.read_streams(connection, self.topic, behind, ROWS_MAX)
                passed, held = await self._gate.pass_through(connection, registry, found)
                sending = {partition: some for partition, some in passed.items() if some}
                rows = await self._signer.sign_streams(connection, self.topic, sending)
        if held is None:
            self._health.clear(self.part)
        elif self._health.report(self.part, held):
            log.error("relay.held_back", topic=self.topic, reason=held)
        return Shipment(rows, positions | {partition: found[-1].seq for partition, found in rows.items()})

    async def _publish_in_time(self, producer: AIOKafkaProducer, shipment: Shipment) -> None:
        """Publish under the watchdog. A commit is never cancelled: on a stall it is left alone with its producer."""
        with metrics.RELAY_TRANSACTION_SECONDS.time():
            publishing = asyncio.create_task(self._publish(producer, shipment))
            await asyncio.wait({publishing}, timeout=PUBLISH_TIMEOUT_S)
            if not publishing.done():
                publishing.add_done_callback(_heed)
                raise RelayStalled(f"Kafka did not commit to {self.topic} in time.")
            publishing.result()

    async def _publish(self, producer: AIOKafkaProducer, shipment: Shipment) -> None:
        """Commit the records together with the positions behind them."""
        physical = self._cluster.physical(self.topic)
        failpoint.reach("relay.before_send")
        await producer.begin_transaction()
        sends = []
        for partition, rows in shipment.rows.items():
            for batch in fill_batches(producer.create_batch, rows, self.topic, partition):
                sends.append(await producer.send_batch(batch, physical, partition=partition))
        offsets = {TopicPartition(physical, p): rows[-1].seq + 1 for p, rows in shipment.rows.items()}
        # commit_transaction() ignores failed sends: every one of them is awaited first, also when another failed.
        outcomes = await asyncio.gather(
            producer.send_offsets_to_transaction(offsets, self._cluster.prefix + GROUP), *sends, return_exceptions=True
        )
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        failpoint.reach("relay.after_send")
        failpoint.reach("relay.before_kafka_commit")
        await producer.commit_transaction()
        failpoint.reach("relay.after_kafka_commit")

    async def _settle(self, shipment: Shipment) -> None:
        self._positions = shipment.reached
        metrics.RELAY_MESSAGES.labels(self.topic).inc(len(shipment))
        async with self._database.connection() as connection:
            await outbox.note_positions(connection, self.topic, {p: rows[-1].seq for p, rows in shipment.rows.items()})
        failpoint.reach("relay.after_position")
        for partition, position in shipment.reached.items():
            metrics.RELAY_POSITION.labels(self.topic, str(partition)).set(position)


def fill_batches(
    create: "Callable[[], BatchBuilder]", rows: list[OutboxRow], topic: str = "", partition: int = 0
) -> "list[BatchBuilder]":
    """Return closed batches that hold `rows` in order: batches cost aiokafka far less than messages do."""
    batch = create()
    batches = [batch]
    for row in rows:
        key, headers = row.key.encode(), write_headers(row) + tracing.write_trace_headers(topic, partition, row)
        if batch.append(timestamp=None, key=key, value=row.value, headers=headers) is None:
            batch = create()
            batches.append(batch)
            if batch.append(timestamp=None, key=key, value=row.value, headers=headers) is None:
                raise ValueError("A message is larger than a whole batch.")
    for batch in batches:
        batch.close()
    return batches


class Discarded:
    """What must not be cut off while it holds connections: producers that were given up, requests under way."""

    def __init__(self) -> None:
        self._endings: set[asyncio.Task[Any]] = set()

    async def take(self, producer: AIOKafkaProducer, starting: "asyncio.Task[None]") -> None:
        """Give a producer up, whatever state it is in. Goes on by itself if the caller is cancelled meanwhile."""
        await self.finish(self._end(producer, starting))

    async def finish(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Return what `work` gives; it goes on to its end if the caller is cancelled meanwhile."""
        ending = asyncio.create_task(work)
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)
        return await asyncio.shield(ending)

    async def settle(self) -> None:
        """Wait until all of them have ended."""
        if self._endings:
            await asyncio.wait(self._endings)

    async def _end(self, producer: AIOKafkaProducer, starting: "asyncio.Task[None]") -> None:
        # Cancelled while it connects, aiokafka forgets the connection; so a start is let finish if it can.
        await asyncio.wait({starting}, timeout=DISCARD_TIMEOUT_S)
        starting.cancel()
        await asyncio.wait({starting}, timeout=DISCARD_TIMEOUT_S)
        _heed(starting)
        stopping = asyncio.create_task(producer.stop())
        await asyncio.wait({stopping}, timeout=DISCARD_TIMEOUT_S)
        if not stopping.done():
            # stop() waits for batches that may never be delivered; without connections its tasks come to their end.
            await producer.client.close()
            await asyncio.wait({stopping}, timeout=DISCARD_TIMEOUT_S)
        stopping.add_done_callback(_heed)


def _heed(task: "asyncio.Task[Any]") -> None:
    """Take a task's error, so that it is told here and not by the collector of garbage."""
    if task.done() and not task.cancelled() and (error := task.exception()) is not None:
        log.info("relay.left_behind", reason=_name(error))


def _name(error: BaseException | None) -> str:
    return type(error).__name__


class Relay:
    """Shares the output topics with the other relays and runs a TopicRelay for each of its own."""

    def __init__(
        self, database: Database, dsn: str, cluster: Cluster, registry: RegistryInForce, signer: Signer, health: Health
    ) -> None:
        self._database = database
        self._dsn = dsn
        self._cluster = cluster
        self._registry = registry
        self._signer = signer
        self._health = health
        self._discarded = Discarded()
        self._shelf = Shelf()
        self._wake = asyncio.Event()
        self._running: dict[str, tuple[TopicRelay, asyncio.Task[None]]] = {}

    def leading(self) -> list[str]:
        """Return the topics that this process writes just now."""
        return sorted(self._running)

    async def run(self, stop: asyncio.Event) -> None:
        """Relay until `stop` is set. Raises RelayRefused, KeyNotOurs."""
        await stand_until(stop, self._stand, TRANSIENT, self._report)

    def _report(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if self._health.report("relay", f"The session that holds the relay's locks was lost: {_name(error)}."):
            log.warning("relay.session_lost", reason=_name(error))

    async def _stand(self, stop: asyncio.Event) -> None:
        """Take part in the election with one session, until `stop` is set or the session is lost (TRANSIENT)."""
        election = await Election.open(self._dsn, "relay")
        try:
            await election.listen(outbox.CHANNEL, self._wake.set)
            self._health.clear("relay")
            while not stop.is_set():
                await self._share_out(election)
                await self._pass_on_news(election, stop)
            await self._stop_topics(list(self._running), election)
        finally:
            # Without the locks, or after an error, the topics end at once; the next leader's producer fences them.
            await self._cut_off()
            await election.close()
            await self._discarded.settle()

    async def _share_out(self, election: Election) -> None:
        """Give back what exceeds this relay's share of the topics, take what is free up to it."""
        async with election.session() as connection:
            registry = await self._registry.refresh(connection)
        self._signer.use(registry)
        topics = output_topics(registry)
        share = math.ceil(len(topics) / max(1, await election.count_members()))
        unfit = [topic for topic, (relay, _) in self._running.items() if not relay.fits(registry.topics.get(topic, 0))]
        surplus = unfit + sorted(self._running)[share:]
        await self._stop_topics(surplus, election)
        for topic in topics:
            if len(self._running) >= share:
                break
            if topic not in self._running and await election.win(topic):
                self._start_topic(topic, election)

    def _start_topic(self, topic: str, election: Election) -> None:
        relay = TopicRelay(
            self._database, self._cluster, election, topic, self._signer, self._health, self._discarded, self._shelf
        )
        self._running[topic] = relay, asyncio.create_task(relay.run(), name=relay.part)
        log.info("relay.leading", topic=topic)

    async def _pass_on_news(self, election: Election, stop: asyncio.Event) -> None:
        """Tell the topics what is new, until it is time to look at the shares again."""
        loop = asyncio.get_running_loop()
        until = loop.time() + POLL_S
        while not stop.is_set() and loop.time() < until:
            for _, task in self._running.values():
                if task.done():
                    _end_of(task)
            async with election.session() as connection:
                heads = await outbox.read_heads(connection)
            for relay, _ in self._running.values():
                relay.notice(heads)
            await asyncio.sleep(WAKE_PAUSE_S)
            await self._wait_for_wake(until - loop.time(), stop)

    async def _wait_for_wake(self, timeout_s: float, stop: asyncio.Event) -> None:
        """Return at the next notification, when a topic ends, when `stop` is set, or after `timeout_s`."""
        waits = [asyncio.create_task(self._wake.wait()), asyncio.create_task(stop.wait())]
        tasks = [task for _, task in self._running.values()]
        try:
            await asyncio.wait([*waits, *tasks], timeout=max(0.0, timeout_s), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            self._wake.clear()

    async def _stop_topics(self, topics: list[str], election: Election) -> None:
        """Let the topics end their transaction in hand, then give their locks back."""
        leaving = [(topic, *self._running[topic]) for topic in dict.fromkeys(topics)]
        for _, relay, _ in leaving:
            relay.stop()
        if leaving:
            await asyncio.wait([task for _, _, task in leaving], timeout=STOP_TIMEOUT_S)
        for topic, _, task in leaving:
            if not task.done():
                task.cancel()
            await asyncio.wait({task})
            del self._running[topic]
            await election.yield_up(topic)
            log.info("relay.left", topic=topic)

    async def _cut_off(self) -> None:
        tasks = [task for _, task in self._running.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._running.clear()


def _end_of(task: "asyncio.Task[None]") -> NoReturn:
    task.result()
    raise RuntimeError(f"{task.get_name()} ended without being asked to.")


def output_topics(registry: Registry) -> list[str]:
    """Return the logical topics that only the hub writes."""
    return sorted(topic for topic in registry.topics if is_output(topic))
