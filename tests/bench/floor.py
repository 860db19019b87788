"""The floor: what the same bytes and rows cost with nothing decided.

Bare aiokafka consume, bare verification of the signatures, the same rows by bare COPY, bare aiokafka produce. Nothing
is checked, looked up, locked, folded, decided, rendered or signed, so no exchange on these parts can cost less.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from contracts import merkle
from contracts.registry import Registry
from contracts.wire import base64url
from contracts.wire.key import PublicKey
from contracts.wire.strict_json import read_object
from hub.relay import BATCH_BYTES_MAX, fill_batches
from hub.store import outbox
from hub.store.outbox import OutboxRow
from hub.store.schema import migrate
from tests.bench.figures import Span, Stopwatch
from tests.bench.installation import BenchFailed, Installation
from tests.bench.traffic import Message

ROWS_A_TRANSACTION = 500
POLL_MS = 500
POLLS_MAX = 1_000
# Of each table, how its rows since the mark are found; rows that were changed count once, as they came to be.
SINCE = {
    "inbox": "log_index >= $1",
    "leaves": "log_index >= $1",
    "outbox": "created_at >= $2",
    "outbox_signature": "(topic, partition, seq) IN (SELECT topic, partition, seq FROM outbox WHERE created_at >= $2)",
    "cases": "decided_at >= $2",
    "billing_codes": "decided_at >= $2",
}


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment in a hub's database: the next log index, its clock, the last seq of each stream."""

    log_index: int
    at: datetime
    heads: Mapping[tuple[str, int], int]


async def set_mark(installation: Installation) -> Mark:
    """Note where the database stands."""
    async with installation.database.connection() as connection:
        log_index, at = (await connection.fetch("SELECT next_index, clock_timestamp() FROM log"))[0]
        return Mark(log_index, at, await outbox.read_heads(connection))


@dataclass(slots=True)
class Work:
    """What the floor has to do: rows by table, and the outgoing rows by topic and partition."""

    columns: dict[str, tuple[str, ...]] = field(default_factory=dict)
    rows: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)
    outgoing: dict[tuple[str, int], list[OutboxRow]] = field(default_factory=dict)


async def collect(installation: Installation, mark: Mark) -> Work:
    """Read what the hub wrote since the mark."""
    work = Work()
    async with installation.database.snapshot() as connection:
        for table, condition in SINCE.items():
            found = await connection.fetch(
                f"SELECT * FROM {table} WHERE {condition} AND ($1::bigint, $2::timestamptz) IS NOT NULL",
                mark.log_index,
                mark.at,
            )
            work.columns[table] = tuple(found[0].keys()) if found else ()
            work.rows[table] = [tuple(row) for row in found]
        for stream, head in (await outbox.read_heads(connection)).items():
            before = mark.heads.get(stream, 0)
            work.outgoing[stream] = await outbox.read_rows(connection, *stream, before, head - before)
    return work


class BareVerifier:
    """Verifies signatures and nothing else; a batch's once."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._roots: dict[bytes, tuple[bytes, int]] = {}

    def verify(self, value: bytes, headers: Mapping[str, bytes]) -> bool:
        """Return whether the signature is good."""
        jws = headers["jws"]
        if "jws-proof" not in headers:
            protected, _, signature = jws.split(b".")
            return self._verify_jws(protected, base64url.encode(value).encode(), signature)
        if jws not in self._roots:
            protected, payload, signature = jws.split(b".")
            if not self._verify_jws(protected, payload, signature):
                return False
            statement = read_object(base64url.decode(payload) or b"")
            self._roots[jws] = base64url.decode(statement["root"].encode()) or b"", statement["size"]
        root, size = self._roots[jws]
        index, _, path = headers["jws-proof"].partition(b".")
        nodes = base64url.decode(path) or b""
        siblings = [nodes[at : at + merkle.HASH_BYTES] for at in range(0, len(nodes), merkle.HASH_BYTES)]
        return merkle.verify_inclusion(merkle.leaf_hash(value), int(index), size, siblings, root)

    def _verify_jws(self, protected: bytes, payload: bytes, signature: bytes) -> bool:
        key = self._find_key(protected)
        return key.verify(base64url.decode(signature) or b"", protected + b"." + payload)

    def _find_key(self, protected: bytes) -> PublicKey:
        key = self._registry.message_key(read_object(base64url.decode(protected) or b"")["kid"])
        if key is None:
            raise BenchFailed("The floor met a key that the registry does not know.")
        return key


def _cut(rows: Sequence[Any], pieces: int) -> Iterator[Sequence[Any]]:
    """Cut rows into so many pieces of about the same length."""
    for piece in range(pieces):
        yield rows[len(rows) * piece // pieces : len(rows) * (piece + 1) // pieces]


class Floor:
    """One run over the same messages, in this process, on topics and a database of its own."""

    def __init__(self, installation: Installation, messages: Sequence[Message], work: Work) -> None:
        self._stack = installation.stack
        self._prefix = f"{installation.prefix}floor-"
        self._installation = installation
        self._messages = messages
        self._work = work
        self._verifier = BareVerifier(installation.registry)
        self._outputs = sorted({topic for topic, _ in work.outgoing})

    async def run(self) -> Span:
        """Do the work and return what it took. Raises BenchFailed if a signature is not good."""
        topics = dict(self._installation.registry.topics)
        self._stack.kafka.create_topics({self._prefix + name: count for name, count in topics.items()})
        dsn = self._stack.postgres.create_database()
        await migrate(dsn)
        await self._produce_input()
        connection = await asyncpg.connect(dsn)
        consumer = AIOKafkaConsumer(bootstrap_servers=self._stack.kafka.bootstrap, auto_offset_reset="earliest")
        producer = AIOKafkaProducer(
            bootstrap_servers=self._stack.kafka.bootstrap,
            enable_idempotence=True,
            compression_type="zstd",
            max_batch_size=BATCH_BYTES_MAX,
        )
        await consumer.start()
        await producer.start()
        try:
            inputs = {name: count for name, count in topics.items() if name.startswith("from.")}
            consumer.assign(
                [
                    TopicPartition(self._prefix + name, number)
                    for name, count in inputs.items()
                    for number in range(count)
                ]
            )
            return await self._measure(consumer, producer, connection)
        finally:
            await producer.stop()
            await consumer.stop()
            await connection.close()
            self._stack.postgres.drop_database(dsn)
            self._stack.kafka.delete_topics(self._prefix)

    async def _produce_input(self) -> None:
        renamed = [message._replace(topic=f"floor-{message.topic}") for message in self._messages]
        encoded = self._installation.encode(renamed)
        sends = [
            await self._installation.producer.send_batch(batch, topic, partition=partition)
            for topic, partition, batch in encoded.batches
        ]
        for sent in sends:
            await sent

    async def _measure(
        self, consumer: AIOKafkaConsumer, producer: AIOKafkaProducer, connection: "asyncpg.Connection[Any]"
    ) -> Span:
        meter = self._installation.meter.choose("broker", "postgresql")
        meter.add("floor", os.getpid(), with_children=False)
        pieces = max(1, len(self._messages) // ROWS_A_TRANSACTION)
        tables = {table: list(_cut(rows, pieces)) for table, rows in self._work.rows.items()}
        outgoing = {stream: list(_cut(rows, pieces)) for stream, rows in self._work.outgoing.items()}
        verified = done = 0
        watch = Stopwatch(meter.cpu_s())
        for _ in range(POLLS_MAX):
            polled = await consumer.getmany(timeout_ms=POLL_MS, max_records=ROWS_A_TRANSACTION)
            for records in polled.values():
                for record in records:
                    if not self._verifier.verify(record.value, dict(record.headers)):
                        raise BenchFailed("The floor met a signature that is not good.")
                verified += len(records)
            while done < pieces and done < verified * pieces // len(self._messages):
                await self._copy(connection, {table: cut[done] for table, cut in tables.items()})
                await self._produce(producer, {stream: cut[done] for stream, cut in outgoing.items()})
                done += 1
            if verified == len(self._messages) and done == pieces:
                return watch.stop(verified, meter.cpu_s())
        raise BenchFailed(f"The floor got {verified} of {len(self._messages)} messages.")

    async def _copy(self, connection: "asyncpg.Connection[Any]", tables: Mapping[str, Sequence[Any]]) -> None:
        async with connection.transaction():
            for table, rows in tables.items():
                if rows:
                    columns = self._work.columns[table]
                    await connection.copy_records_to_table(table, records=rows, columns=columns)

    async def _produce(self, producer: AIOKafkaProducer, streams: Mapping[tuple[str, int], Sequence[Any]]) -> None:
        sends = []
        for (topic, partition), rows in streams.items():
            if rows:
                for batch in fill_batches(producer.create_batch, list(rows)):
                    sends.append(await producer.send_batch(batch, self._prefix + topic, partition=partition))
        for sent in sends:
            await sent
