"""What can be seen from outside: the topics under read_committed, and the database in read-only transactions."""

import asyncio
import contextlib
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition

from devstack.demonstration.cast import TOPICS, Cast
from devstack.postgres import DURABLE

if TYPE_CHECKING:
    Pool = asyncpg.Pool[asyncpg.Record]

POLL_MS = 200
FETCH_BYTES_MAX = 8 * 1024 * 1024


@dataclass(frozen=True)
class SeenRecord:
    """One record as a consumer under read_committed sees it. `topic`: the logical name."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    timestamp_ms: int

    @property
    def place(self) -> tuple[str, int, int]:
        """Where it stands."""
        return self.topic, self.partition, self.offset

    @cached_property
    def event(self) -> dict[str, Any]:
        """The event in it; empty for anything that is not a JSON object."""
        try:
            content = json.loads(self.value or b"null")
        except ValueError:
            return {}
        return content if isinstance(content, dict) else {}

    def header(self, name: str) -> bytes | None:
        """Return a header's value."""
        return next((value for key, value in self.headers if key == name), None)


class Watcher:
    """Reads every topic of the exchange from its beginning, all the time."""

    def __init__(self, cast: Cast) -> None:
        self._cast = cast
        self._records: dict[str, list[SeenRecord]] = defaultdict(list)
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._consumer = AIOKafkaConsumer(
            **self._cast.services.kafka_options(),
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_bytes=FETCH_BYTES_MAX,
        )
        await self._consumer.start()
        places = [
            TopicPartition(self._cast.services.topic_prefix + topic, partition)
            for topic, partitions in TOPICS.items()
            for partition in range(partitions)
        ]
        self._consumer.assign(places)
        self._task = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self._consumer.stop()

    async def _read(self) -> None:
        while True:
            for place, records in (await self._consumer.getmany(timeout_ms=POLL_MS)).items():
                topic = place.topic.removeprefix(self._cast.services.topic_prefix)
                self._records[topic].extend(
                    SeenRecord(
                        topic,
                        record.partition,
                        record.offset,
                        record.key,
                        record.value,
                        record.headers,
                        record.timestamp,
                    )
                    for record in records
                )

    def check(self) -> None:
        """Raise what ended the reading, if something did."""
        if self._task is not None and self._task.done():
            self._task.result()

    def records(self, topic: str) -> list[SeenRecord]:
        """Return what was read of a topic so far, in order within each partition."""
        return self._records[topic]

    def events(self, topic: str, *types: str) -> Iterator[SeenRecord]:
        """Yield a topic's records of these event types."""
        return (record for record in self._records[topic] if record.event.get("type") in types)


@dataclass(frozen=True, slots=True)
class Counts:
    """A cheap look at the hub's tables, for progress."""

    accepted: int
    refused: int
    deferred: int
    cases: int


class Tables:
    """The hub's database and the ministry's register, read only."""

    def __init__(self, exchange: "Pool", register: "Pool") -> None:
        self._exchange = exchange
        self._register = register

    @staticmethod
    @contextlib.asynccontextmanager
    async def open(cast: Cast) -> "AsyncIterator[Tables]":
        """Open both; every transaction on them is read-only."""
        read_only = {"default_transaction_read_only": "on"}
        async with (
            asyncpg.create_pool(
                cast.services.database_url, min_size=1, max_size=2, server_settings=read_only
            ) as exchange,
            asyncpg.create_pool(
                cast.services.register_owner_url, min_size=1, max_size=2, server_settings=read_only
            ) as register,
        ):
            yield Tables(exchange, register)

    async def count(self) -> Counts:
        """Count messages by what became of them."""
        row = await self._exchange.fetchrow(
            "SELECT (SELECT count(*) FROM inbox), (SELECT count(*) FROM quarantine),"
            " (SELECT count(*) FROM deferred), (SELECT count(*) FROM cases)"
        )
        return Counts(*row) if row is not None else Counts(0, 0, 0, 0)

    async def count_durable_settings(self) -> int:
        """Count which of the settings that make a commit survive a power cut are on, as the hub's own role sees it."""
        value = await self._exchange.fetchval(
            "SELECT count(*) FROM pg_settings WHERE name = ANY($1) AND setting = 'on'", list(DURABLE)
        )
        return int(value)

    async def accepted_by_source(self) -> dict[str, int]:
        """Count accepted messages of each source."""
        rows = await self._exchange.fetch("SELECT source, count(*) FROM inbox GROUP BY source")
        return {row[0]: row[1] for row in rows}

    async def accepted_places(self) -> dict[tuple[str, int, int], tuple[str, str]]:
        """Return (source, id) of every accepted message by the place of its first record."""
        rows = await self._exchange.fetch(
            'SELECT watermark.topic, inbox.partition, inbox."offset", source, id FROM inbox'
            " JOIN watermark USING (topic_id, partition)"
        )
        return {(row[0], row[1], row[2]): (row[3], row[4]) for row in rows}

    async def refused_places(self) -> dict[tuple[str, int, int], str]:
        """Return the refusal code of every quarantined record by its place."""
        rows = await self._exchange.fetch('SELECT topic, partition, "offset", code FROM quarantine')
        return {(row[0], row[1], row[2]): row[3] for row in rows}

    async def watermarks(self) -> dict[tuple[str, int], int]:
        """Return the next offset of every input partition."""
        rows = await self._exchange.fetch("SELECT topic, partition, next FROM watermark")
        return {(row[0], row[1]): row[2] for row in rows}

    async def unsent(self) -> int:
        """Count outbox rows that the relay has not noted as sent."""
        value = await self._exchange.fetchval(
            "SELECT count(*) FROM outbox LEFT JOIN relay_position USING (topic, partition)"
            " WHERE outbox.seq > coalesce(relay_position.seq, 0)"
        )
        return int(value)

    async def follow(self, application: str) -> list[asyncpg.Record]:
        """Return an application's accepted messages, and those of its billing codes, in the order of the log."""
        rows: list[asyncpg.Record] = await self._exchange.fetch(
            "SELECT participant, type, id, subject, time, received_at, log_index FROM inbox WHERE subject = $1"
            " OR subject IN (SELECT code FROM billing_codes WHERE case_id = $1) ORDER BY log_index",
            application,
        )
        return rows

    async def outcomes(self) -> list[asyncpg.Record]:
        """Return the register's outcome rows: kind, application, billing code, payload, at."""
        rows: list[asyncpg.Record] = await self._register.fetch(
            "SELECT event_id, kind, application_number, billing_code, payload, at FROM register.outcome ORDER BY at"
        )
        return rows
