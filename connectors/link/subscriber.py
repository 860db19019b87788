"""Reads every stream of this participant, each by a reader of its own: a stopped stream holds no other back."""

import asyncio
from collections.abc import Mapping, Sequence

import structlog

from connectors.link.fault import StreamStopped
from connectors.link.stream_reader import Stream, StreamReader, Surroundings
from connectors.link.tasks import end
from contracts.registry import RECOMMENDATIONS

_log = structlog.get_logger()


class Subscriber:
    """Starts a reader for each partition of `topics` in the registry, also for those that a newer registry adds."""

    def __init__(self, topics: Sequence[str], around: Surroundings) -> None:
        self._topics = topics
        self._around = around
        self._readers: dict[Stream, asyncio.Task[None]] = {}
        self._stopped: dict[Stream, tuple[int, str]] = {}

    @property
    def stopped(self) -> Mapping[str, str]:
        """The streams that must not go on, each with the sentence that says why."""
        return {f"{stream.topic}/{stream.partition}": why for stream, (_, why) in self._stopped.items()}

    def streams(self) -> list[Stream]:
        """Return the streams that the registry has of these topics."""
        registry = self._around.trust.registry
        return [
            Stream(topic, partition, contiguous=topic != RECOMMENDATIONS)
            for topic in self._topics
            for partition in range(registry.partitions(topic) or 0)
        ]

    async def run(self) -> None:
        """Read for ever. Raises whatever a reader raises but StreamStopped, which stops that stream alone."""
        changed = self._around.trust.changed
        try:
            while True:
                changed.clear()
                self._start_readers()
                renewal = asyncio.create_task(_wait_for(changed))
                await asyncio.wait({*self._readers.values(), renewal}, return_when=asyncio.FIRST_COMPLETED)
                renewal.cancel()
                self._collect()
        finally:
            await end(self._readers.values())
            self._readers.clear()

    def _start_readers(self) -> None:
        version = self._around.trust.registry.version
        for stream in self.streams():
            held = self._stopped.get(stream)
            if stream in self._readers or (held is not None and held[0] == version):
                continue
            # A stopped stream is tried again under each newer registry, since an old one may have been the reason.
            self._stopped.pop(stream, None)
            self._around.metrics.stopped.labels(stream.topic, stream.partition).set(0)
            self._readers[stream] = asyncio.create_task(StreamReader(stream, self._around).run())

    def _collect(self) -> None:
        for stream, task in list(self._readers.items()):
            if not task.done():
                continue
            del self._readers[stream]
            error = task.exception()
            if not isinstance(error, StreamStopped):
                raise error or RuntimeError("a stream's reader ended by itself")
            self._stopped[stream] = (self._around.trust.registry.version, str(error))
            self._around.metrics.stopped.labels(stream.topic, stream.partition).set(1)
            _log.error("stream stopped", topic=stream.topic, partition=stream.partition, why=str(error))


async def _wait_for(changed: asyncio.Event) -> None:
    await changed.wait()
