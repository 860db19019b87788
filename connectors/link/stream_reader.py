"""One stream, read in order: from Kafka, and from the hub's archive where Kafka has a gap or keeps it no longer.

Life of a record: its place is read (hub-seq) -> a repeat is dropped -> a gap before it is filled from the archive ->
verified -> a receipt settles the spool -> handled -> the stream's position is kept in the spool. A crash before the
last step repeats the handling, which is idempotent.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from connectors.link import failpoint, tracing
from connectors.link.broker import Broker
from connectors.link.clock import Clock
from connectors.link.day_counts import DayCounts
from connectors.link.delivery import Delivered, Outdated, StreamItem, verify, verify_admitted
from connectors.link.erasing import Eraser
from connectors.link.fact import ReceiptEntry
from connectors.link.fault import FatalFault, HubUnreachable, StreamStopped, TrustFault
from connectors.link.hub_client import HubClient, StreamRecord
from connectors.link.metrics import RECEIPT_OUTCOMES, LinkMetrics
from connectors.link.receipts import STRANGE_NOTE
from connectors.link.retry import keep_trying, where
from connectors.link.spool import Spool
from connectors.link.trust import Trust
from contracts.errors import Code, Refusal
from contracts.events.hub import CorrectionRequested, CountReported, ErasureOrdered, Heartbeat, Receipt
from contracts.wire import base64url
from contracts.wire.instant import write_instant
from contracts.wire.signature import read_headers

POLL_MS = 500
RECORDS_IN_ONE_POLL_MAX = 500
STOP_TIMEOUT_S = 10.0

Handle = Callable[[Delivered], Awaitable[None]]

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Stream:
    """A partition of a logical topic. `contiguous` is false for the compacted topic, whose old records vanish."""

    topic: str
    partition: int
    contiguous: bool = True


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every stream reader of one connector shares."""

    spool: Spool
    trust: Trust
    hub: HubClient
    broker: Broker
    handle: Handle
    metrics: LinkMetrics
    source: str
    clock: Clock
    counts: DayCounts | None = None
    eraser: Eraser | None = None


class StreamReader:
    """Reads one stream until it is cancelled. Raises StreamStopped when the stream must not go on."""

    def __init__(self, stream: Stream, around: Surroundings) -> None:
        self._stream = stream
        self._around = around
        self._name = f"{stream.topic}/{stream.partition}"
        self._last = 0
        self._next_offset = 0
        self._noted = (0, 0)

    async def run(self) -> None:
        """Read for ever, connecting again after the broker's troubles."""
        self._last, self._next_offset = await self._around.spool.place(self._stream.topic, self._stream.partition)
        self._noted = (self._last, self._next_offset)
        self._show_position()
        await keep_trying(
            f"stream {self._name}",
            self._read_connected,
            (KafkaError, OSError),
            sentence="the broker cannot be read: check KAFKA_BOOTSTRAP, TOPIC_PREFIX and the topic's rights",
        )

    async def _read_connected(self) -> None:
        consumer = self._around.broker.consumer()
        try:
            await consumer.start()
            await self._seek(consumer)
            while True:
                polled = await consumer.getmany(timeout_ms=POLL_MS, max_records=RECORDS_IN_ONE_POLL_MAX)
                for records in polled.values():
                    await self._take(records)
        finally:
            await self._close(consumer)

    async def _close(self, consumer: AIOKafkaConsumer) -> None:
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await consumer.stop()
        except (TimeoutError, KafkaError, OSError) as error:
            _log.warning("the old consumer did not close", stream=self._name, error=where(error))

    async def _seek(self, consumer: AIOKafkaConsumer) -> None:
        """Go on at the kept offset; where Kafka no longer has it, fill in from the archive and begin at its start."""
        place = TopicPartition(self._around.broker.physical(self._stream.topic), self._stream.partition)
        consumer.assign([place])
        begin = (await consumer.beginning_offsets([place]))[place]
        end = (await consumer.end_offsets([place]))[place]
        if begin <= self._next_offset <= end:
            consumer.seek(place, self._next_offset)
            return
        _log.warning(
            "the topic begins after, or ends before, what was read here",
            stream=self._name, kept=self._next_offset, begin=begin, end=end,
        )  # fmt: skip
        if self._stream.contiguous:
            await self._catch_up(None)
        self._next_offset = begin
        consumer.seek(place, begin)

    # --- one poll ----------------------------------------------------------------------------------------------------

    async def _take(self, records: Sequence[ConsumerRecord[bytes | None, bytes | None]]) -> None:
        try:
            for record in records:
                item = self._item_of(record)
                if item is not None and not is_repeat(item.seq, self._last):
                    if self._stream.contiguous and item.seq > self._last + 1:
                        await self._catch_up(item.seq - 1)
                    await self._deliver(item, await self._verify(item))
                elif item is None:
                    self._skip_tombstone(record)
                self._next_offset = record.offset + 1
        finally:
            await self._note()

    def _item_of(self, record: ConsumerRecord[bytes | None, bytes | None]) -> StreamItem | None:
        """Read the record's place; None for a tombstone. Raises StreamStopped."""
        if record.value is None:
            return None
        headers = tuple((name, raw) for name, raw in record.headers)
        try:
            seq = read_headers(headers).hub_seq
        except Refusal as refusal:
            raise self._stop(f"offset {record.offset} has unusable headers ({refusal.code})") from None
        if seq is None:
            raise self._stop(f"offset {record.offset} has no hub-seq")
        return StreamItem(
            self._stream.topic, self._stream.partition, seq, record.key, record.value, headers, record.offset
        )

    def _skip_tombstone(self, record: ConsumerRecord[bytes | None, bytes | None]) -> None:
        """A tombstone erases what was delivered; if it stands for a seq of its own, that place is passed."""
        for name, raw in record.headers:
            if name == "hub-seq" and raw is not None and raw.isdigit() and int(raw) == self._last + 1:
                self._last += 1

    async def _note(self) -> None:
        if (self._last, self._next_offset) == self._noted:
            return
        failpoint.reach("deliver.before_note")
        await self._around.spool.note_position(
            self._stream.topic, self._stream.partition, self._last, self._next_offset
        )
        failpoint.reach("deliver.after_note")
        self._noted = (self._last, self._next_offset)
        self._show_position()

    def _show_position(self) -> None:
        self._around.metrics.position.labels(self._stream.topic, self._stream.partition).set(self._last)

    # --- the archive -------------------------------------------------------------------------------------------------

    async def _catch_up(self, until: int | None) -> None:
        """Deliver from the archive what follows the last handled seq, up to `until` (None: all there is)."""
        _log.info("catching up from the hub's archive", stream=self._name, after=self._last, until=until)

        async def read() -> None:
            while until is None or self._last < until:
                page = await self._around.hub.stream(self._stream.topic, self._stream.partition, self._last)
                if page.last < self._last:
                    raise self._stop(f"the hub's archive ends at {page.last}, before the {self._last} handled here")
                wanted = [record for record in page.records if until is None or record.seq <= until]
                for record in wanted:
                    await self._take_archived(record)
                await self._note()
                if not wanted and until is None:
                    return
                if not wanted and until is not None and page.last < until:
                    # The relay notes what it has released a moment after the topic has it.
                    raise HubUnreachable(f"The hub's archive does not reach {until} yet.")
                if not wanted:
                    raise self._stop(f"the hub's archive has nothing after {self._last}, but the topic does")

        await keep_trying(
            f"archive of {self._name}", read, (HubUnreachable,), sentence="the stream waits for the hub's API"
        )

    async def _take_archived(self, record: StreamRecord) -> None:
        if record.seq != self._last + 1:
            raise self._stop(f"the hub's archive goes from {self._last} to {record.seq}")
        self._around.metrics.caught_up.inc()
        if record.value is None:
            self._last = record.seq
            return
        topic, partition, key = self._stream.topic, self._stream.partition, record.key.encode()
        item = StreamItem(topic, partition, record.seq, key, record.value, record.headers, offset=None)
        await self._deliver(item, await self._verify(item))

    # --- one record --------------------------------------------------------------------------------------------------

    async def _verify(self, item: StreamItem) -> Delivered:
        """Verify; if that fails, once more under a fresh registry. Raises StreamStopped: forgery is never passed on."""
        try:
            return await self._verified(item)
        except Refusal as refusal:
            _log.warning("a record is refused", stream=self._name, seq=item.seq, code=refusal.code)
        try:
            await self._around.trust.refresh()
        except (HubUnreachable, TrustFault) as fault:
            _log.warning("the registry could not be renewed", why=str(fault))
        try:
            return await self._verified(item)
        except Refusal as refusal:
            what = f"seq {item.seq} cannot be verified ({refusal.code}: {refusal.detail})"
            remedy = (
                "this connector is older than the contract: upgrade it"
                if refusal.code == Code.CONTRACT_UNKNOWN
                else "a forgery, or a registry that does not know the signer: ask the hub's operator"
            )
            raise self._stop(f"{what}; {remedy}") from None

    async def _verified(self, item: StreamItem) -> Delivered:
        registry, roots = self._around.trust.registry, self._around.trust.roots
        if item.offset is None:
            return verify_admitted(item, registry, roots)
        try:
            return verify(item, registry, roots, self._around.clock())
        except Outdated:
            if not await self._archive_holds(item):
                raise
            return verify_admitted(item, registry, roots)

    async def _archive_holds(self, item: StreamItem) -> bool:
        """Whether the hub's archive has these bytes at this place: then the signer was good when the hub took them."""
        held: list[bool] = []

        async def ask() -> None:
            page = await self._around.hub.stream(item.topic, item.partition, item.seq - 1, 1)
            if page.last < item.seq:
                raise HubUnreachable(f"The hub's archive does not reach {item.seq} yet.")
            held.append(any(record.seq == item.seq and record.value == item.value for record in page.records))

        await keep_trying(f"archive of {self._name}", ask, (HubUnreachable,))
        return held[-1]

    async def _deliver(self, item: StreamItem, delivered: Delivered) -> None:
        if isinstance(delivered.event, Receipt):
            await self._settle(delivered.event)
        if isinstance(delivered.event, CorrectionRequested):
            await self._keep_correction(delivered.event)
        if isinstance(delivered.event, CountReported) and self._around.counts is not None:
            await self._around.counts.keep(delivered.event)
        if isinstance(delivered.event, Heartbeat):
            await self._follow_registry(delivered.event)

        async def handle() -> None:
            failpoint.reach("deliver.before_handle")
            if isinstance(delivered.event, ErasureOrdered) and self._around.eraser is not None:
                await self._around.eraser.obey(delivered, delivered.event)
            await self._around.handle(delivered)
            failpoint.reach("deliver.after_handle")

        began_ns = tracing.now_ns()
        await keep_trying(f"deliver {self._name}", handle, (Exception,), unless=(FatalFault,), told=self._note_trouble)
        tracing.show_delivered(delivered, began_ns)
        self._around.metrics.delivered.labels(delivered.envelope.type).inc()
        self._around.metrics.see(f"stream {self._name}", self._around.clock())
        self._last = item.seq

    async def _note_trouble(self, _: Exception) -> None:
        """Before a wait for the agency's own system, keep what was handled up to here."""
        self._around.metrics.handle_failures.inc()
        await self._note()

    async def _settle(self, receipt: Receipt) -> None:
        if receipt.source != self._around.source:
            return
        entries = [
            *(ReceiptEntry(each.id, _digest(each.sha256), each.log_index) for each in receipt.accepted),
            *(ReceiptEntry(each.id, _digest(each.sha256), each.log_index, each.code) for each in receipt.refused),
        ]
        settlement = await self._around.spool.settle(entries)
        for outcome in RECEIPT_OUTCOMES:
            self._around.metrics.receipts.labels(outcome).inc(getattr(settlement, outcome))
        if settlement.refused or settlement.foreign:
            _log.error("the hub refused messages", refused=settlement.refused, other_bytes=settlement.foreign)
        if settlement.strange_index is not None:
            await self._suspect(settlement.strange_index, settlement.strange)

    async def _keep_correction(self, asked: CorrectionRequested) -> None:
        """Keep what is to be corrected; of a message that could not be read, its place in the log alone is told."""
        if asked.source == self._around.source and asked.id is not None:
            await self._around.spool.ask_correction(asked.id, asked.code, asked.note, asked.log_index)
        _log.error("the hub asks to correct a message", event_id=asked.id, code=asked.code, log_index=asked.log_index)

    async def _suspect(self, log_index: int, how_many: int) -> None:
        """Remember a receipt of what this spool never held, or holds otherwise: somebody may speak in its name."""
        said = {"log_index": log_index, "at": write_instant(self._around.clock())}
        await self._around.spool.put(notes={STRANGE_NOTE: json.dumps(said)})
        _log.error("a receipt speaks of messages that this spool does not hold", messages=how_many, **said)

    async def _follow_registry(self, heartbeat: Heartbeat) -> None:
        """A heartbeat that names a newer registry is the sign to fetch it: a revocation must not wait for a timer."""
        if heartbeat.registry_version <= self._around.trust.registry.version:
            return
        try:
            await self._around.trust.refresh()
        except (HubUnreachable, TrustFault) as fault:
            _log.warning("the newer registry could not be had", version=heartbeat.registry_version, why=str(fault))

    def _stop(self, why: str) -> StreamStopped:
        return StreamStopped(f"The stream {self._name} is stopped: {why}.")


def is_repeat(seq: int, last: int) -> bool:
    """Whether this place of the stream was handled before."""
    return seq <= last


def _digest(text: str) -> bytes:
    """Return the digest that a receipt names; its contract has checked the spelling."""
    return base64url.decode(text.encode()) or b""
