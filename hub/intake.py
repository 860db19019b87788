"""The intake: Kafka's door. It polls records of `from.*` and hands them to the desk, a batch in a transaction.

A transaction takes a batch of one partition, or of each of several that have little between them: a group.

Where a partition stands is PostgreSQL's word alone; Kafka's committed offsets are for lag tools. On assignment the
partition is paused at once, its position read, sought, and resumed. What can go wrong with a batch:

    superseded        another owner moved the partition on: read the position again, seek, go on
    registry changed  judge the batch again
    infrastructure    again after a pause; whether an unknown COMMIT held is read off the position
    a group fails     each of its partitions is taken by itself, unless its position says that the group was taken
    a bug             the batch is halved until the poisonous record stands alone, and that one goes to quarantine
"""

import asyncio
import time
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from typing import Any, Final

import asyncpg
import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from contracts.errors import Code
from contracts.wire.record import Record
from hub import failpoint, metrics, topics, tracing
from hub.administration import KafkaForbidden, KafkaUnreachable
from hub.clock import Clock, utc_now
from hub.cluster import Cluster
from hub.desk import Batch, Desk, Taken, describe_bug
from hub.health import Health
from hub.intake_records import read_leniently
from hub.store import database, positions
from hub.store.log import RegistryChanged
from hub.store.positions import Superseded
from hub.topics import Topic, TopicChanged
from hub.transport import INPUT_PREFIX, INTAKE_GROUP
from hub.trust import RegistryAbsent

PART: Final = "intake"
POLL_MS = 500
BATCHES_PER_POLL = 2
# A fetch that waits for one partition keeps every other one of that broker waiting.
FETCH_WAIT_MS_MAX = 20
FETCH_BYTES_MAX = 8 * 1024 * 1024
PARTITION_FETCH_BYTES_MAX = 2 * 1024 * 1024
# The least that brokers allow by default: after a kill, the partitions move on when it has passed.
SESSION_TIMEOUT_MS = 6_000
HEARTBEAT_INTERVAL_MS = 2_000
REBALANCE_TIMEOUT_MS = 60_000
METADATA_MAX_AGE_MS = 30_000
REQUEST_TIMEOUT_MS = 15_000
# An outage of PostgreSQL may hold a batch for as long as it lasts; the group must not think that the owner has died.
POLL_INTERVAL_MS_MAX = 3_600_000
REGISTRY_CHECK_S = 2.0
TOPICS_CHECK_S = 20.0
OFFSETS_COMMIT_S = 2.0
STOP_TIMEOUT_S = 10.0
BACKOFF_S_MAX = 10.0
BACKOFF_S_FIRST = 0.05
LOG_APPEND_TIME = 1

TRANSIENT = (*database.TRANSIENT, KafkaError, KafkaUnreachable, KafkaForbidden, RegistryAbsent)

log = structlog.get_logger(__name__)


class IntakeFailed(Exception):
    """The intake cannot go on, and waiting would not help; the message says why in one sentence."""


class Intake(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no type hints.
    """One consumer of the group. Several may run, in one process or many, and share the partitions."""

    def __init__(
        self,
        desk: Desk,
        cluster: Cluster,
        health: Health,
        *,
        batch_size: int = 500,
        clock: Clock = utc_now,
    ) -> None:
        self._desk = desk
        self._cluster = cluster
        self._prefix = cluster.prefix
        self.group = cluster.prefix + INTAKE_GROUP
        self._health = health
        self._batch_size = batch_size
        self._clock = clock
        self._consumer: Any = None
        self._topics: dict[str, Topic] = {}
        self._positions: dict[TopicPartition, int] = {}
        self._fault: BaseException | None = None
        self._checked = {"registry": 0.0, "topics": 0.0, "offsets": 0.0}

    async def run(self) -> None:
        """Take records in until cancelled.

        Raises TopicChanged, RegistryError or IntakeFailed when waiting would not help; an outage is waited out.
        """
        _show_refusals()
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(TRANSIENT),
            wait=wait_random_exponential(multiplier=BACKOFF_S_FIRST, max=BACKOFF_S_MAX),
            before_sleep=self._note_outage,
            reraise=True,
        )
        async for attempt in retrying:
            with attempt:
                await self._consume()

    def _note_outage(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome is not None else None
        problem = (
            str(error)
            if isinstance(error, KafkaUnreachable | KafkaForbidden | RegistryAbsent)
            else type(error).__name__
        )
        if self._health.report(PART, f"The intake waits and tries again: {problem}"):
            log.warning("intake_waits", error=type(error).__name__, attempt=state.attempt_number)

    async def _consume(self) -> None:
        """Consume with one consumer until it fails; it is never used again after that."""
        self._fault, self._positions = None, {}
        await self._find_topics()
        read_leniently()
        self._consumer = AIOKafkaConsumer(
            **self._cluster.options,
            client_id=INTAKE_GROUP,
            group_id=self.group,
            isolation_level="read_committed",
            auto_offset_reset="none",
            enable_auto_commit=False,
            partition_assignment_strategy=(RoundRobinPartitionAssignor,),
            fetch_max_wait_ms=FETCH_WAIT_MS_MAX,
            fetch_max_bytes=FETCH_BYTES_MAX,
            max_partition_fetch_bytes=PARTITION_FETCH_BYTES_MAX,
            session_timeout_ms=SESSION_TIMEOUT_MS,
            heartbeat_interval_ms=HEARTBEAT_INTERVAL_MS,
            rebalance_timeout_ms=REBALANCE_TIMEOUT_MS,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            metadata_max_age_ms=METADATA_MAX_AGE_MS,
            max_poll_interval_ms=POLL_INTERVAL_MS_MAX,
        )
        await self._consumer.start()
        try:
            self._subscribe()
            while True:
                await self._poll()
        finally:
            await self._discard()

    async def _discard(self) -> None:
        consumer, self._consumer, self._positions = self._consumer, None, {}
        # In a task of its own: when the coordinator is lost, aiokafka ends stop() with a CancelledError that nobody
        # asked for, and here that would end the intake as if it had been told to stop.
        stopping = asyncio.create_task(consumer.stop())
        await asyncio.wait({stopping}, timeout=STOP_TIMEOUT_S)
        stopping.cancel()
        outcomes: list[BaseException | None] = await asyncio.gather(stopping, return_exceptions=True)
        for outcome in filter(None, outcomes):
            log.warning("intake_consumer_not_stopped", error=type(outcome).__name__)

    async def _find_topics(self) -> None:
        """Look up the input topics of the registry in force. Raises TopicChanged if one is not what it was."""
        registry = (await self._desk.judgement()).registry
        wanted = {name: count for name, count in registry.topics.items() if name.startswith(INPUT_PREFIX)}
        found = await topics.describe(self._cluster, sorted(wanted))
        topics.check_partitions(found, wanted)
        async with self._desk.database.connection() as connection:
            for topic in found.values():
                topics.check_identity(topic, await positions.read_topic_ids(connection, topic.name))
        for name, topic in self._topics.items():
            if name in found:
                topics.check_identity(found[name], [topic.id])
        missing = sorted(wanted.keys() - found.keys())
        if missing:
            self._health.report(PART, f"These topics do not exist, run `hub kafka apply`: {', '.join(missing)}")
            log.warning("intake_topics_missing", topics=missing)
        else:
            self._health.clear(PART)
        self._topics = found

    def _subscribe(self) -> None:
        if self._topics:
            names = sorted(self._prefix + name for name in self._topics)
            self._consumer.subscribe(names, listener=self)

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Forget where these partitions stand; a batch under way ends by itself, and counts only if it still may."""
        for place in revoked:
            self._positions.pop(place, None)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Go to where PostgreSQL says that each partition stands. What fails here is raised by the next poll."""
        places = sorted(assigned)
        # At once and before anything is awaited: otherwise records from Kafka's own idea of a position come through.
        self._consumer.pause(*places)
        try:
            await self._open(places)
        except (*TRANSIENT, TopicChanged, asyncpg.PostgresError) as error:
            # aiokafka logs what a listener raises, and goes on as if nothing had happened.
            self._fault = error

    async def _open(self, places: Sequence[TopicPartition]) -> None:
        """Read, check and seek the positions of these partitions."""
        if not places:
            return
        consumer = self._consumer
        begins, ends = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
        for place in places:
            topic = self._topics[place.topic.removeprefix(self._prefix)]
            async with self._desk.database.connection() as connection:
                position = await positions.open_partition(connection, topic.id, place.partition, topic.name)
            if position > ends[place]:
                raise TopicChanged(
                    f"Partition {place.partition} of topic {topic.name} ends at {ends[place]}, but was consumed up to "
                    f"{position}: records are gone that were read, so the topic is not the one that it was."
                )
            if position < begins[place]:
                position = await self._lose(topic, place.partition, position, begins[place])
            if place in consumer.assignment():
                consumer.seek(place, position)
                self._positions[place] = position
                consumer.resume(place)

    async def _lose(self, topic: Topic, partition: int, start: int, end: int) -> int:
        """Note a stretch that the topic no longer holds; the senders send again what has no receipt."""
        async with self._desk.database.transaction() as tx:
            await positions.move(tx, topic.id, partition, start, end, "lost", self._clock())
        metrics.INTAKE_LOST.labels(topic.name).inc(end - start)
        log.error("intake_records_lost_to_retention", topic=topic.name, partition=partition, start=start, end=end)
        return end

    async def _poll(self) -> None:
        """Take in what has come since the last time."""
        if self._fault is not None:
            raise self._fault
        await self._look_around()
        if not self._topics:
            await asyncio.sleep(POLL_MS / 1_000)
            return
        limit = self._batch_size * BATCHES_PER_POLL
        try:
            polled = await self._consumer.getmany(timeout_ms=POLL_MS, max_records=limit)
        except NoOffsetForPartitionError:
            # Kafka was asked for a position between the assignment and our seek, which has the last word.
            return
        except OffsetOutOfRangeError:
            log.warning("intake_position_out_of_range")
            await self._reopen(list(self._positions))
            return
        await _all_of(self._take_group(group) for group in pack(polled, self._batch_size))

    async def _look_around(self) -> None:
        """Now and then, see whether the registry and the topics are still the same, and tell lag tools where we are."""
        if self._is_time("registry", REGISTRY_CHECK_S):
            registry = (await self._desk.judgement()).registry
            wanted = {name for name in registry.topics if name.startswith(INPUT_PREFIX)}
            if wanted != self._topics.keys() or self._is_time("topics", TOPICS_CHECK_S):
                before = self._topics.keys()
                await self._find_topics()
                if self._topics.keys() != before:
                    self._subscribe()
        if self._is_time("offsets", OFFSETS_COMMIT_S):
            await self._show_offsets()

    def _is_time(self, what: str, every_s: float) -> bool:
        now = time.monotonic()
        if now - self._checked[what] < every_s:
            return False
        self._checked[what] = now
        return True

    async def _show_offsets(self) -> None:
        """Commit offsets, which nothing here ever reads, and show the lag."""
        assigned = self._consumer.assignment()
        reached = {place: position for place, position in self._positions.items() if place in assigned}
        for place, position in reached.items():
            highwater = self._consumer.highwater(place)
            if highwater is not None:
                lag = metrics.INTAKE_LAG_MESSAGES.labels(place.topic.removeprefix(self._prefix), place.partition)
                lag.set(max(0, highwater - position))
        failpoint.reach("intake.before_offsets")
        if reached:
            try:
                await self._consumer.commit(reached)
            except KafkaError as error:
                # A rebalance is under way; the next commit says the same and more.
                log.info("intake_offsets_not_committed", error=type(error).__name__)
        failpoint.reach("intake.after_offsets")

    async def _take_group(self, group: "Mapping[TopicPartition, Sequence[Any]]") -> None:
        """Take what several partitions have little of in one transaction; should that fail, each by itself."""
        batches = {
            place: batch for place, found in group.items() if (batch := self._batch_of(place, found)) is not None
        }
        waiting = {place: batch for place, batch in batches.items() if batch.records}
        if len(waiting) < 2 or any(len(found) > self._batch_size for found in group.values()):
            await _all_of(self._take_partition(place, found) for place, found in group.items())
            return
        try:
            await self._receive(list(waiting.values()), None)
        except Exception as error:  # noqa: BLE001  # Whatever it is, it shows again at the partition that it is about.
            log.info("intake_parts_group", partitions=len(waiting), error=type(error).__name__)
            await _all_of(self._take_partition(place, found, tried=True) for place, found in group.items())
            return
        for place, batch in batches.items():
            self._go_on(place, batch)
        self._health.clear(PART)

    def _batch_of(self, place: TopicPartition, found: Sequence[Any]) -> Batch | None:
        """Return the batch that polled records are, from where their partition stands; None if it was taken away."""
        name = place.topic.removeprefix(self._prefix)
        start = self._positions.get(place)
        if start is None:
            return None
        if found[0].timestamp_type != LOG_APPEND_TIME:
            raise IntakeFailed(
                f"Topic {name} lets senders choose a record's time: set message.timestamp.type=LogAppendTime on it."
            )
        records = [
            Record(name, place.partition, one.offset, one.key, one.value, one.headers, one.timestamp)
            for one in found
            if one.offset >= start
        ]
        return Batch(name, self._topics[name].id, place.partition, start, max(start, found[-1].offset + 1), records)

    async def _take_partition(self, place: TopicPartition, found: Sequence[Any], *, tried: bool = False) -> None:
        """Take the polled records of one partition in, in batches; `tried`: it may be that the first was taken."""
        for first in range(0, len(found), self._batch_size):
            batch = self._batch_of(place, found[first : first + self._batch_size])
            if batch is None:
                return
            try:
                if batch.records:
                    await self._deliver(batch, tried=tried)
            except Superseded:
                metrics.INTAKE_SUPERSEDED.inc()
                log.info("intake_superseded", topic=batch.topic, partition=place.partition, start=batch.start)
                await self._reopen([place])
                return
            self._go_on(place, batch)

    def _go_on(self, place: TopicPartition, batch: Batch) -> None:
        """Note where a partition stands once a batch of it was taken, unless it was taken away meanwhile."""
        if self._positions.get(place) == batch.start:
            self._positions[place] = batch.end

    async def _reopen(self, places: Sequence[TopicPartition]) -> None:
        """Read again where these partitions stand, and seek there."""
        for place in places:
            self._positions.pop(place, None)
        held = [place for place in places if place in self._consumer.assignment()]
        self._consumer.pause(*held)
        await self._open(held)

    async def _deliver(self, batch: Batch, *, tried: bool = False) -> None:
        """Get a batch taken, whatever it takes; `tried`: it may have been. Raises Superseded; IntakeFailed."""
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(database.TRANSIENT),
            wait=wait_random_exponential(multiplier=BACKOFF_S_FIRST, max=BACKOFF_S_MAX),
            before_sleep=self._note_outage,
            reraise=True,
        )
        async for attempt in retrying:
            with attempt:
                if (tried or attempt.retry_state.attempt_number > 1) and await self._is_taken(batch):
                    break
                await self._take(batch)
        self._health.clear(PART)

    async def _is_taken(self, batch: Batch) -> bool:
        """Settle an unknown COMMIT by what the partition's position says. Raises Superseded."""
        async with self._desk.database.connection() as connection:
            position = await positions.read(connection, batch.topic_id, batch.partition)
        if position not in (batch.start, batch.end):
            raise Superseded(f"partition {batch.partition} stands at {position}")
        return position == batch.end

    async def _take(self, batch: Batch) -> None:
        """Let the desk take a batch; what cannot be explained by anything outside of it is looked for in halves."""
        try:
            await self._receive([batch], None)
        except (Superseded, IntakeFailed, *database.BROKEN, *database.TRANSIENT) as error:
            if isinstance(error, database.BROKEN):
                raise IntakeFailed(
                    f"The database or this process is not fit for work: {type(error).__name__}."
                ) from error
            raise
        except Exception as error:  # noqa: BLE001  # Whatever else it is, it must not block the partition.
            await self._isolate(batch, error)

    async def _receive(self, batches: Sequence[Batch], bug: str | None) -> None:
        """Hand batches to the desk: again when the registry has changed, thoroughly when a unique key was hit."""
        began, began_ns, thorough = time.monotonic(), time.time_ns(), False
        while True:
            try:
                taken = await self._desk.receive_together(batches, self._clock(), thorough=thorough, bug=bug)
                break
            except RegistryChanged:
                await self._desk.judgement()
            except asyncpg.UniqueViolationError:
                if thorough:
                    raise
                thorough = True
        metrics.INTAKE_TRANSACTION_SECONDS.observe(time.monotonic() - began)
        metrics.INTAKE_BATCH_MESSAGES.observe(sum(len(batch.records) for batch in batches))
        _count(taken)
        if tracing.is_on():
            tracing.show_taken((one for batch in batches for one in batch.records), began_ns, taken.stepped_ns)

    async def _isolate(self, batch: Batch, error: Exception) -> None:
        """Halve a batch that a bug chokes on; alone, the poisonous record goes to quarantine with the traceback."""
        if len(batch.records) > 1:
            middle = len(batch.records) // 2
            cut = batch.records[middle].offset
            await self._deliver(batch._replace(end=cut, records=batch.records[:middle]))
            await self._deliver(batch._replace(start=cut, records=batch.records[middle:]))
            return
        log.error(
            "intake_poison", topic=batch.topic, partition=batch.partition, offset=batch.records[0].offset,
            error=type(error).__name__,
        )  # fmt: skip
        try:
            await self._receive([batch], describe_bug(error))
        except (Superseded, *database.TRANSIENT):
            raise
        except Exception as second:
            raise IntakeFailed(
                f"A record of {batch.topic} can neither be taken nor put into quarantine ({type(second).__name__})."
            ) from second


def pack(found: "Mapping[TopicPartition, Sequence[Any]]", size: int) -> "list[dict[TopicPartition, Sequence[Any]]]":
    """Put partitions together, in order, that have at most `size` records between them; one that has more is alone."""
    groups: list[dict[TopicPartition, Sequence[Any]]] = []
    room = 0
    for place in sorted(found):
        records = found[place]
        if not groups or len(records) > room:
            groups.append({})
            room = size
        groups[-1][place] = records
        room -= len(records)
    return groups


async def _all_of(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do all of `works` to their end, then raise what the first that failed raised."""
    for outcome in await asyncio.gather(*works, return_exceptions=True):
        if outcome is not None:
            raise outcome


def _show_refusals() -> None:
    """Show each code's count from 0 on: of a figure that begins at 1 Prometheus sees no increase."""
    for code in Code:
        metrics.INTAKE_REFUSALS.labels(str(code))


def _count(taken: Taken) -> None:
    for (topic, partition, disposition, code), count in taken.places.items():
        metrics.INTAKE_MESSAGES.labels(topic, disposition).inc(count)
        if code is not None:
            metrics.INTAKE_REFUSALS.labels(str(code)).inc(count)
            log.warning("intake_refused", topic=topic, partition=partition, code=str(code), count=count)
