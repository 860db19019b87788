"""Kafka's record batches, with header names that are not UTF-8 read instead of failing the whole poll.

Brokers store any bytes as a header's name. aiokafka decodes names strictly and raises out of `getmany`, so that one
such record would stop every partition for good. Here its batch is read once more, with each byte that is no UTF-8
escaped (PEP 383): the record is then refused like any other.
"""

import struct
from collections.abc import Iterator
from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords

# What stands before a batch's body: base offset (8 bytes) and the length of what follows (4 bytes).
LENGTH_AT = 8
BODY_AT = 12


class _Bytes(bytearray):
    """Bytes whose slices decode to text whatever they are."""

    def __getitem__(self, place: Any) -> Any:
        part = super().__getitem__(place)
        return _Bytes(part) if isinstance(place, slice) else part

    def decode(self, encoding: str = "utf-8", errors: str = "surrogateescape") -> str:
        return bytes(self).decode(encoding, errors)


class _LenientBatch(_DefaultRecordBatchPy):  # type: ignore[misc]  # aiokafka marks it final and says no more of it.
    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        self._buffer: bytearray = _Bytes(self._buffer)


class _Batch:
    """A batch as the library reads it, and leniently only where that fails."""

    def __init__(self, batch: Any, raw: bytes) -> None:
        self._batch = batch
        self._raw = raw

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        try:
            return iter(list(self._batch))
        except UnicodeDecodeError:
            return iter(list(_LenientBatch(self._raw)))


class Records:
    """What a fetch brought of one partition: the library's own reader, each of its batches beside its bytes."""

    def __init__(self, raw: bytes) -> None:
        self._records = MemoryRecords(raw)
        self._raw = raw
        self._at = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._records, name)

    def next_batch(self) -> _Batch | None:
        """Return the next batch, or None."""
        batch = self._records.next_batch()
        if batch is None:
            return None
        (length,) = struct.unpack_from(">i", self._raw, self._at + LENGTH_AT)
        start, self._at = self._at, self._at + BODY_AT + length
        return _Batch(batch, self._raw[start : self._at])


def read_leniently() -> None:
    """Let every consumer of this process read its records so. There is no other way in: the library has no setting."""
    fetcher.MemoryRecords = Records
