"""Give a batch its final bytes under the log's lock: log indices, hub-seqs, the hub's own events, leaves. Pure.

What can be done before the lock is done before: `outline` counts the leaves and the places on each stream, the store
reserves them, and `Sealing` writes them out.
"""

import hashlib
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from contracts.errors import Code
from contracts.events.hub import RECEIPT_ENTRIES_MAX
from contracts.log import entry
from contracts.registry import Registry
from contracts.wire.envelope import write_envelope
from contracts.wire.instant import write_instant
from hub.routes import Routes, Stream
from hub.step import HEARTBEAT, ISSUED, PROVISIONAL, RECEIPT, WITHDRAWN, Event, name_log

MESSAGE_LIFE_DAYS = 90


class Forward(NamedTuple):
    """An accepted message, by its provisional index, on its way to a recipient as it came."""

    stream: Stream
    key: str
    log_index: int


class Letter(NamedTuple):
    """One of the hub's own events; the first stream is the one that its audience names."""

    event: Event
    streams: tuple[Stream, ...]


class OutboxRow(NamedTuple):
    """A row of the outbox, in the order of its columns."""

    seq: int
    created_at: datetime
    inbox_index: int | None
    leaf_index: int | None
    partition: int
    topic: str
    key: str
    typ: str
    value: bytes | None


@dataclass(slots=True)
class Outline:
    """What a batch sends, before it has places; recommendations get a leaf each, after all others."""

    forwards: list[Forward] = field(default_factory=list)
    letters: list[Letter] = field(default_factory=list)

    def places(self) -> dict[Stream, int]:
        """Return how many hub-seqs each stream needs."""
        counts = Counter(forward.stream for forward in self.forwards)
        for letter in self.letters:
            counts.update(letter.streams)
        return dict(sorted(counts.items()))

    def recommendations(self) -> int:
        """Return how many recommendations are among the letters."""
        return sum(1 for letter in self.letters if letter.event.type in (ISSUED, WITHDRAWN))


def address(routes: Routes, event: Event) -> list[Letter]:
    """Return the letters that one event becomes: one for all of a recommendation's streams, else one for each."""
    streams = routes.of_event(event)
    if event.type in (ISSUED, WITHDRAWN):
        return [Letter(event, tuple(streams))] if streams else []
    return [Letter(event, (stream,)) for stream in streams]


class Receipted(NamedTuple):
    """A message that its sender gets a receipt for: with a code it was refused. `log_index` may be provisional."""

    participant: str
    source: str
    id: str | None
    sha256: str
    code: Code | None
    log_index: int


def write_receipts(routes: Routes, messages: Iterable[Receipted]) -> list[Letter]:
    """Return receipts, one for each source as far as their size allows."""
    by_source: dict[tuple[str, str], list[Receipted]] = {}
    for message in messages:
        by_source.setdefault((message.participant, message.source), []).append(message)
    letters = []
    for (participant, source), entries in by_source.items():
        stream = routes.of_receipt(participant)
        for start in range(0, len(entries) if stream is not None else 0, RECEIPT_ENTRIES_MAX):
            data = _receipt_data(source, entries[start : start + RECEIPT_ENTRIES_MAX])
            subject = participant.upper()
            letters.append(Letter(Event(RECEIPT, subject, participant, None, "", data), (stream,)))  # type: ignore[arg-type]
    return letters


def _receipt_data(source: str, entries: Sequence[Receipted]) -> dict[str, Any]:
    return {
        "source": source,
        "accepted": [
            {"id": message.id, "sha256": message.sha256, "log_index": message.log_index}
            for message in entries
            if message.code is None
        ],
        "refused": [
            {"id": message.id, "sha256": message.sha256, "code": str(message.code), "log_index": message.log_index}
            for message in entries
            if message.code is not None
        ],
    }


def settle_index(index: int, base: int) -> int:
    """Return the real index of a provisional one, given the batch's first; a real one stays as it is."""
    return index if index < PROVISIONAL else index - PROVISIONAL + base


def settle_entries(entries: Iterable[Mapping[str, Any]], base: int) -> list[dict[str, Any]]:
    """Return entries that name messages of this batch with their real indices."""
    return [{**one, "log_index": settle_index(one["log_index"], base)} for one in entries]


def derive_id(name_space: uuid.UUID, name: str) -> str:
    """Return the text of `uuid.uuid5(name_space, name)` (RFC 9562 section 5.5), in a fifth of the time."""
    digest = bytearray(hashlib.sha1(name_space.bytes + name.encode(), usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    text = digest.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


class Sealing:
    """The places that the store reserved for one batch, and the writing of what goes there.

    `base` is the batch's first log index, `seqs` the first hub-seq on each stream, `leaf` the log index of the first
    recommendation. `nonces` gives a fresh 128-bit nonce in base64url each time.
    """

    def __init__(
        self, registry: Registry, base: int, seqs: Mapping[Stream, int], leaf: int, now: datetime,
        nonces: Callable[[], str],
    ) -> None:  # fmt: skip
        hub = registry.hub()
        if hub is None or not hub.sources:
            raise ValueError("The registry names no participant of kind hub with a source.")
        self._registry = registry
        self._source = min(hub.sources)
        self._log_name = name_log(registry.first_origin())
        self._base = base
        self._seqs = dict(seqs)
        self._leaf = leaf
        self._now = now
        self._nonces = nonces
        life = timedelta(days=min(MESSAGE_LIFE_DAYS, registry.limits.expiry_days_max))
        self._now_text, self._expiry_text = write_instant(now), write_instant(now + life)
        self.leaves: list[bytes] = []
        self.rows: list[OutboxRow] = []

    def _next_seq(self, stream: Stream) -> int:
        seq = self._seqs[stream]
        self._seqs[stream] = seq + 1
        return seq

    def forward(self, forward: Forward) -> None:
        """Place an accepted message; its bytes stay in the inbox."""
        stream, index = forward.stream, settle_index(forward.log_index, self._base)
        seq = self._next_seq(stream)
        self.rows.append(
            OutboxRow(seq, self._now, index, None, stream.partition, stream.topic, forward.key, "event", None)
        )

    def place(self, letter: Letter) -> None:
        """Write one of the hub's own events and place it on its streams."""
        event, home = letter.event, letter.streams[0]
        seqs = [self._next_seq(stream) for stream in letter.streams]
        recommended = event.type in (ISSUED, WITHDRAWN)
        identity = self._identify(event, home, seqs[0])
        value = self._write(event, identity, home, seqs[0])
        leaf = self._prove(event, identity, value) if recommended else None
        typ = "recommendation" if recommended else "event"
        for stream, seq in zip(letter.streams, seqs, strict=True):
            self.rows.append(
                OutboxRow(seq, self._now, None, leaf, stream.partition, stream.topic, event.subject, typ, value)
            )

    def _identify(self, event: Event, home: Stream, seq: int) -> str:
        """Derive an event's id from what it follows from, so that a redo says the same under the same id."""
        cause = event.digest or str(seq)
        # Several payments or differences of one subject may follow from the same facts.
        named = [*event.data.get("payment", {}).values(), *filter(None, (event.data.get("difference_id"),))]
        parts = (event.type, home.topic, str(home.partition), event.subject, cause, *map(str, named))
        return derive_id(self._log_name, "|".join(parts))

    def _write(self, event: Event, identity: str, home: Stream, seq: int) -> bytes:
        attributes: dict[str, str | int | datetime] = {
            "id": identity,
            "source": self._source,
            "type": event.type,
            "time": self._now_text,
            "recordedtime": self._now_text,
            "subject": event.subject,
            "audience": f"{self._registry.environment}/{home.topic}/{home.partition}",
            "sequence": seq,
            "expirytime": self._expiry_text,
            "correlationid": event.correlation,
            "nonce": self._nonces(),
        }
        if event.cause is not None:
            attributes["causationid"] = event.cause
        return write_envelope(attributes, self._settle(event, home, seq))

    def _settle(self, event: Event, home: Stream, seq: int) -> dict[str, Any]:
        """Return an event's data with real indices and seqs."""
        data = event.data
        if event.type == RECEIPT:
            return {
                **data,
                "accepted": settle_entries(data["accepted"], self._base),
                "refused": settle_entries(data["refused"], self._base),
            }
        if event.type in (ISSUED, WITHDRAWN):
            return {**data, "basis": settle_entries(data["basis"], self._base)}
        if event.type == HEARTBEAT:
            return {
                "topic": home.topic,
                "partition": home.partition,
                "last_sequence": seq - 1,
                "registry_version": self._registry.version,
            }
        return data

    def _prove(self, event: Event, identity: str, value: bytes) -> int:
        """Write a recommendation's leaf and return its log index."""
        index = self._leaf + len(self.leaves)
        data = event.data
        self.leaves.append(
            entry.recommendation(
                id=identity,
                case=event.subject,
                number=data["number"],
                revision=data["revision"],
                state=data["state"],
                digest=hashlib.sha256(value).digest(),
            )
        )
        return index
