"""What can be seen from outside at one moment: the hub's tables, the topics under read_committed, the spools."""

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition

from devstack.demonstration.cast import AGENCIES, TOPICS, Cast
from hub import fsck
from hub.store.database import Database
from tests.faults.background import Background
from tests.faults.natives import open_spool

POLL_MS = 500
MOVES = "SELECT topic, partition, before, after FROM fault_moves"
EMPTY_POLLS_MAX = 40
LOOKS_MAX = 5
INPUTS = tuple(topic for topic in TOPICS if topic.startswith("from."))
OUTPUTS = tuple(topic for topic in TOPICS if not topic.startswith("from."))

Place = tuple[str, int, int]
Stream = tuple[str, int]


class InboxRow(NamedTuple):
    """An accepted message, and the place of the record that brought it."""

    source: str
    id: str
    type: str
    participant: str
    digest: bytes
    place: Place
    received_at: datetime
    log_index: int
    data: Mapping[str, Any]


class Parked(NamedTuple):
    """A refused record."""

    place: Place
    code: str
    source: str | None
    event_id: str | None


class Sent(NamedTuple):
    """A message of the outbox; `value` is what its recipients must get."""

    stream: Stream
    seq: int
    typ: str
    inbox_index: int | None
    leaf_index: int | None
    value: bytes


class Interval(NamedTuple):
    """A stretch of an input partition that one transaction consumed."""

    stream: Stream
    start: int
    end: int
    kind: str
    received_at: datetime


class Move(NamedTuple):
    """A step of an input partition's watermark, as PostgreSQL saw it."""

    stream: Stream
    before: int
    after: int

    @property
    def is_backwards(self) -> bool:
        """Whether it took something back, or took the same again: what only an owner that was superseded does."""
        return self.after <= self.before


class Spooled(NamedTuple):
    """A message in a connector's spool."""

    participant: str
    event_id: str
    digest: bytes
    state: str
    code: str | None

    @property
    def is_settled(self) -> bool:
        """Whether the hub has receipted it."""
        return self.state in ("accepted", "refused")


class Read(NamedTuple):
    """A record as a consumer under read_committed gets it."""

    seq: int | None
    value: bytes


@dataclass
class Observation:
    """Everything that was seen."""

    inbox: list[InboxRow] = field(default_factory=list)
    parked: list[Parked] = field(default_factory=list)
    intervals: list[Interval] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    watermarks: dict[Stream, int] = field(default_factory=dict)
    ends: dict[Stream, int] = field(default_factory=dict)
    heads: dict[Stream, int] = field(default_factory=dict)
    noted: dict[Stream, int] = field(default_factory=dict)
    outbox: list[Sent] = field(default_factory=list)
    records: dict[Stream, list[Read]] = field(default_factory=dict)
    spooled: list[Spooled] = field(default_factory=list)
    deferred: int = 0
    leaves: int = 0
    next_index: int = 0
    breaches: list[str] = field(default_factory=list)


class Lag(NamedTuple):
    """How much of each kind still has to happen."""

    untaken: int
    deferred: int
    unsent: int
    unreceipted: int


class Observer:
    """Looks at one exchange."""

    def __init__(self, cast: Cast, background: Background) -> None:
        self._cast = cast
        self._background = background

    def observe(self) -> Observation:
        """See everything, if possible between two messages: at a day's end each connector tells what it counted."""
        for _ in range(LOOKS_MAX):
            before = self._read_spools()
            seen = self._background.run(self._observe())
            seen.spooled = self._read_spools()
            if seen.spooled == before and all(row.is_settled for row in before):
                break
        return seen

    def _read_spools(self) -> list[Spooled]:
        return [row for agency in AGENCIES for row in self._read_spool(agency)]

    def read_lag(self) -> Lag:
        """See only how much is still to be done."""
        return self._background.run(self._read_lag())

    def fetch(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        """Return the rows of a query to the hub's database."""

        async def fetch() -> list[asyncpg.Record]:
            connection = await asyncpg.connect(self._cast.services.database_url, timeout=10)
            try:
                return list(await connection.fetch(query, *arguments))
            finally:
                await connection.close()

        return self._background.run(fetch())

    def read_moves(self) -> list[Move]:
        """Return every step of a watermark so far."""
        return [_read_move(row) for row in self.fetch(MOVES)]

    def execute(self, statement: str) -> None:
        """Run a statement in the hub's database."""
        self.fetch(statement)

    async def _read_lag(self) -> Lag:
        connection = await asyncpg.connect(self._cast.services.database_url, timeout=10)
        try:
            taken = await connection.fetch("SELECT topic, partition, next FROM watermark")
            deferred = await connection.fetchval("SELECT count(*) FROM deferred")
            unsent = await connection.fetchval(
                "SELECT coalesce(sum(s.next_seq - 1 - coalesce(p.seq, 0)), 0)::bigint FROM streams s"
                " LEFT JOIN relay_position p USING (topic, partition)"
            )
        finally:
            await connection.close()
        ends = await self._read_ends(INPUTS)
        watermarks = {(row[0], row[1]): row[2] for row in taken}
        untaken = sum(end - watermarks.get(stream, 0) for stream, end in ends.items())
        return Lag(untaken, deferred, unsent, self._count_unreceipted())

    def _count_unreceipted(self) -> int:
        total = 0
        for agency in AGENCIES:
            with open_spool(self._cast, agency) as spool:
                total += spool.execute(
                    "SELECT count(*) FROM fact WHERE state IN ('waiting', 'signed', 'sent')"
                ).fetchone()[0]
        return total

    async def _read_ends(self, topics: tuple[str, ...]) -> dict[Stream, int]:
        async with self.consume() as consumer:
            places = self._places(topics)
            return {self._stream(place): end for place, end in (await consumer.end_offsets(places)).items()}

    def consume(self) -> AIOKafkaConsumer:
        """Return a consumer of everything that is committed."""
        return AIOKafkaConsumer(
            bootstrap_servers=self._cast.services.bootstrap,
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )

    def _places(self, topics: tuple[str, ...]) -> list[TopicPartition]:
        prefix = self._cast.services.topic_prefix
        return [TopicPartition(prefix + topic, partition) for topic in topics for partition in range(TOPICS[topic])]

    def _stream(self, place: TopicPartition) -> Stream:
        return place.topic.removeprefix(self._cast.services.topic_prefix), place.partition

    async def _observe(self) -> Observation:
        seen = Observation()
        connection = await asyncpg.connect(self._cast.services.database_url, timeout=10)
        try:
            # One snapshot for all tables: the processes go on meanwhile.
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                await _read_input(connection, seen)
                await _read_output(connection, seen)
        finally:
            await connection.close()
        seen.breaches = await self._fold_again()
        async with self.consume() as consumer:
            places = self._places(INPUTS)
            seen.ends = {self._stream(place): end for place, end in (await consumer.end_offsets(places)).items()}
            seen.records = await self._read_topics(consumer)
        return seen

    async def _fold_again(self) -> list[str]:
        """Do what `hub fsck` does."""
        database = await Database.open(self._cast.services.database_url, size=1)
        try:
            return [str(finding) for finding in await fsck.check(database)]
        finally:
            await database.close()

    async def _read_topics(self, consumer: AIOKafkaConsumer) -> dict[Stream, list[Read]]:
        """Read every output topic from its beginning to the end that it has now."""
        places = self._places(OUTPUTS)
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        ends = await consumer.end_offsets(places)
        records: dict[Stream, list[Read]] = defaultdict(list)
        for _ in range(EMPTY_POLLS_MAX):
            while polled := await consumer.getmany(timeout_ms=POLL_MS if await _is_behind(consumer, ends) else 0):
                for place, some in polled.items():
                    records[self._stream(place)] += [Read(_seq_of(one.headers), one.value) for one in some]
            if not await _is_behind(consumer, ends):
                return {self._stream(place): records[self._stream(place)] for place in places}
        raise TimeoutError("the output topics could not be read to their end: a transaction is still open")

    def _read_spool(self, agency: str) -> list[Spooled]:
        with open_spool(self._cast, agency) as spool:
            rows = spool.execute("SELECT event_id, sha256, state, code FROM fact").fetchall()
        return [Spooled(agency, *row) for row in rows]


async def _is_behind(consumer: AIOKafkaConsumer, ends: Mapping[TopicPartition, int]) -> bool:
    return any([await consumer.position(place) < end for place, end in ends.items()])


def _seq_of(headers: tuple[tuple[str, bytes], ...]) -> int | None:
    return next((int(value) for name, value in headers if name == "hub-seq"), None)


def _read_move(row: asyncpg.Record) -> Move:
    return Move((row[0], row[1]), row[2], row[3])


async def _read_input(connection: "asyncpg.Connection[asyncpg.Record]", seen: Observation) -> None:
    topics = {row[0]: row[1] for row in await connection.fetch("SELECT DISTINCT topic_id, topic FROM watermark")}
    rows = await connection.fetch(
        'SELECT source, id, type, participant, digest, topic_id, partition, "offset", received_at, log_index, value'
        " FROM inbox ORDER BY log_index"
    )
    seen.inbox = [
        InboxRow(
            *(row[0], row[1], row[2], row[3], row[4]),
            *((topics[row[5]], row[6], row[7]), row[8], row[9], json.loads(row[10])["data"]),
        )
        for row in rows
    ]
    rows = await connection.fetch('SELECT topic, partition, "offset", code, source, event_id FROM quarantine')
    seen.parked = [Parked((row[0], row[1], row[2]), row[3], row[4], row[5]) for row in rows]
    rows = await connection.fetch(
        "SELECT topic_id, partition, from_offset, to_offset, kind, received_at FROM watermark_interval"
        " ORDER BY topic_id, partition, from_offset"
    )
    seen.intervals = [Interval((topics[row[0]], row[1]), *row[2:]) for row in rows]
    seen.moves = [_read_move(row) for row in await connection.fetch(MOVES)]
    rows = await connection.fetch("SELECT topic, partition, next FROM watermark")
    seen.watermarks = {(row[0], row[1]): row[2] for row in rows}
    seen.deferred = await connection.fetchval("SELECT count(*) FROM deferred")
    seen.leaves = await connection.fetchval("SELECT count(*) FROM leaves")
    seen.next_index = await connection.fetchval("SELECT next_index FROM log")


async def _read_output(connection: "asyncpg.Connection[asyncpg.Record]", seen: Observation) -> None:
    rows = await connection.fetch("SELECT topic, partition, next_seq - 1 FROM streams")
    seen.heads = {(row[0], row[1]): row[2] for row in rows}
    rows = await connection.fetch("SELECT topic, partition, seq FROM relay_position")
    seen.noted = {(row[0], row[1]): row[2] for row in rows}
    rows = await connection.fetch(
        "SELECT o.topic, o.partition, o.seq, o.typ, o.inbox_index, o.leaf_index, coalesce(o.value, i.value)"
        " FROM outbox o LEFT JOIN inbox i ON i.log_index = o.inbox_index ORDER BY o.topic, o.partition, o.seq"
    )
    seen.outbox = [Sent((row[0], row[1]), *row[2:]) for row in rows]
