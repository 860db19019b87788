"""From a permit's last fact to the recommendation, readable by whoever reads committed records, at a given load.

Where the exchange keeps a log, a recommendation counts only with its proof.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from contracts.registry import RECOMMENDATIONS
from tests.bench.installation import BenchFailed, Installation
from tests.bench.traffic import APPROVED, Message

TICK_S = 0.01
ARRIVAL_TIMEOUT_S = 30.0
POLL_MS = 200


async def measure_latencies(installation: Installation, messages: Sequence[Message], per_second: float) -> list[float]:
    """Send messages at an even rate; return the seconds that each recommendation took. Raises BenchFailed."""
    expected = {message.subject for message in messages if message.type == APPROVED}
    sent: dict[str, float] = {}
    arrived: dict[str, float] = {}
    consumer = AIOKafkaConsumer(
        bootstrap_servers=installation.stack.kafka.bootstrap, isolation_level="read_committed", enable_auto_commit=False
    )
    await consumer.start()
    try:
        topic = installation.prefix + RECOMMENDATIONS
        count = installation.registry.topics[RECOMMENDATIONS]
        consumer.assign([TopicPartition(topic, partition) for partition in range(count)])
        await consumer.seek_to_end()
        listening = asyncio.create_task(_listen(consumer, expected, arrived, installation.keeps_log))
        try:
            await _send_evenly(installation, messages, per_second, sent)
            await asyncio.wait_for(listening, ARRIVAL_TIMEOUT_S)
        except TimeoutError:
            raise BenchFailed(f"{len(expected) - len(arrived)} recommendations did not arrive.") from None
        finally:
            listening.cancel()
    finally:
        await consumer.stop()
    return [arrived[application] - sent[application] for application in expected]


async def _listen(consumer: Any, expected: set[str], arrived: dict[str, float], proved: bool) -> None:
    """Note when each recommendation can be read, until all are there."""
    while len(arrived) < len(expected):
        for records in (await consumer.getmany(timeout_ms=POLL_MS)).values():
            now = time.perf_counter()
            for record in records:
                if proved and all(name != "tlog-proof" for name, _ in record.headers):
                    raise BenchFailed("A recommendation came without its proof.")
                arrived[record.key.decode()] = now


async def _send_evenly(
    installation: Installation, messages: Sequence[Message], per_second: float, sent: dict[str, float]
) -> None:
    began, done = time.perf_counter(), 0
    while done < len(messages):
        now = time.perf_counter()
        due = min(len(messages), int((now - began) * per_second) + 1)
        if due > done:
            part = messages[done:due]
            sent.update((message.subject, now) for message in part if message.type == APPROVED)
            await installation.send(installation.encode(part))
            done = due
        await asyncio.sleep(TICK_S)
