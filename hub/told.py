"""What Kafka holds of the hub's own streams: how far each was told, and what was told last.

A database that was put back to an older point does not know it. The relay compares before it sends anything, and an
operator takes over what is missing (hub.takeover). Every record says its place by itself, in the header `hub-seq`.
"""

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from contracts.errors import Refusal
from contracts.wire.signature import Carried, read_headers
from hub.transport import RELAY_GROUP

if TYPE_CHECKING:
    from hub.cluster import Cluster

REQUEST_TIMEOUT_MS = 10_000
START_TIMEOUT_S = 30.0
POLL_MS = 1_000
# A transaction's end takes an offset of its own, and so does what was aborted: more offsets than records.
SPARE_OFFSETS = 64
EMPTY_POLLS_MAX = 10


class NotTold(KafkaError):  # type: ignore[misc]  # aiokafka has no type hints.
    """Kafka does not hold what its position says, or cannot be read just now."""


class Told(NamedTuple):
    """One message of a stream as Kafka holds it."""

    seq: int
    key: bytes
    value: bytes
    carried: Carried


async def fetch_positions(cluster: "Cluster", topic: str, partitions: int) -> tuple[dict[int, int], int]:
    """Return the last seq that Kafka holds by partition, and how many partitions there are (0: no such topic)."""
    physical = cluster.physical(topic)
    admin = AIOKafkaAdminClient(**cluster.options, request_timeout_ms=REQUEST_TIMEOUT_MS, client_id=f"{physical}-relay")
    async with asyncio.timeout(START_TIMEOUT_S):
        try:
            await admin.start()
            described = await admin.describe_topics([physical])
            found = sum(len(one["partitions"]) for one in described if one["error_code"] == 0)
            if found < partitions:
                return {}, found
            places = [TopicPartition(physical, partition) for partition in range(partitions)]
            held = await admin.list_consumer_group_offsets(cluster.prefix + RELAY_GROUP, partitions=places)
        finally:
            await admin.close()
    return {place.partition: meta.offset - 1 for place, meta in held.items() if meta.offset > 0}, found


async def read_told(cluster: "Cluster", topic: str, partition: int, after: int, until: int) -> dict[int, Told]:
    """Return what a stream's partition holds with seq in (after, until]. Raises NotTold if the last is not there."""
    place = TopicPartition(cluster.physical(topic), partition)
    consumer = AIOKafkaConsumer(
        **cluster.options,
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="none",
        request_timeout_ms=REQUEST_TIMEOUT_MS,
    )
    async with asyncio.timeout(START_TIMEOUT_S):
        await consumer.start()
    try:
        consumer.assign([place])
        begin = (await consumer.beginning_offsets([place]))[place]
        end = (await consumer.end_offsets([place]))[place]
        back = 2 * (until - after) + SPARE_OFFSETS
        while True:
            start = max(begin, end - back)
            found = await _read_from(consumer, place, start, until)
            if start == begin or any(seq <= after + 1 for seq in found):
                break
            back *= 2
    finally:
        await consumer.stop()
    if until not in found:
        raise NotTold(f"Kafka does not show hub-seq {until} of {topic}/{partition}, which its position names.")
    return {seq: told for seq, told in found.items() if after < seq <= until}


async def _read_from(consumer: AIOKafkaConsumer, place: TopicPartition, start: int, until: int) -> dict[int, Told]:
    consumer.seek(place, start)
    found: dict[int, Told] = {}
    empty = 0
    while until not in found and empty < EMPTY_POLLS_MAX:
        records = (await consumer.getmany(place, timeout_ms=POLL_MS)).get(place, [])
        empty = 0 if records else empty + 1
        for record in records:
            if (told := _read_record(record)) is not None:
                found[told.seq] = told
    return found


def _read_record(record: "ConsumerRecord[bytes | None, bytes | None]") -> Told | None:
    if record.value is None or record.key is None:
        return None
    try:
        carried = read_headers(tuple(record.headers))
    except Refusal:
        return None
    return None if carried.hub_seq is None else Told(carried.hub_seq, record.key, record.value, carried)
