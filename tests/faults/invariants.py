"""The nine invariants of the exchange, each a function that returns what it found wrong, in words.

1 every accepted message has one inbox row, and the senders' books agree      2 intervals tile each partition
3 one recommendation per revision, in PostgreSQL and under read_committed     4 each stream is 1..n in order
5 a refused record is in quarantine once and has no effect                    6 what `hub fsck` does finds nothing
7 no commit by a superseded owner                                             8 nothing is left to do
9 memory is bounded
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import psutil

from devstack.agencies.part import Book
from tests.faults.natives import Books
from tests.faults.observation import InboxRow, Observation, Place
from tests.faults.rig import Rig

RESIDENT_BYTES_MAX = 400 * 1024 * 1024
TYPES_OF_KINDS = {
    "PERMOHONAN_DIAJUKAN": "permit.submitted",
    "LENGKAP": "permit.completed",
    "KELAYAKAN": "permit.feasibility_assessed",
    "TKA_TERVERIFIKASI": "permit.worker_verified",
    "KODE_BAYAR": "billing.issued",
    "DISETUJUI": "permit.approved",
}
DEADLOCK = "DeadlockDetectedError"
RECEIVED, BOOKED = "id.tka.bank.payment.received.v1", "id.tka.bank.payment.booked.v1"


@dataclass(frozen=True, slots=True)
class Told:
    """What the agencies' books say."""

    books: Books
    visa_book: Book


def check_all(seen: Observation, told: Told, rig: Rig) -> list[str]:
    """Return everything that is wrong, each line with the number of its invariant."""
    checks: list[Iterable[str]] = [
        (f"1: {line}" for line in check_inbox(seen, told)),
        (f"2: {line}" for line in check_intervals(seen)),
        (f"3: {line}" for line in check_recommendations(seen, told)),
        (f"4: {line}" for line in check_streams(seen)),
        (f"5: {line}" for line in check_refused(seen, told.books)),
        (f"6: {line}" for line in seen.breaches),
        (f"7: {line}" for line in check_owners(seen, told.books.late)),
        (f"8: {line}" for line in check_lag(seen)),
        (f"8: {line}" for line in check_waits(rig)),
        (f"9: {line}" for line in check_memory(rig)),
    ]
    return [line for check in checks for line in check]


# --- 1 ---------------------------------------------------------------------------------------------------------------


def check_inbox(seen: Observation, told: Told) -> Iterator[str]:
    """Every message that a connector spooled is in the inbox once with the same bytes, and nothing else is."""
    rows = Counter((row.source, row.id) for row in seen.inbox)
    yield from (f"{identity} is in the inbox {count} times" for identity, count in rows.items() if count > 1)
    digests = {(row.participant, row.id): row.digest for row in seen.inbox}
    for spooled in seen.spooled:
        held = digests.pop((spooled.participant, spooled.event_id), None)
        if held is None:
            yield f"{spooled.participant}'s {spooled.event_id} ({spooled.state}, {spooled.code}) is not in the inbox"
        elif held != spooled.digest:
            yield f"{spooled.participant}'s {spooled.event_id} is in the inbox with other bytes"
    yield from (f"{participant}'s {identity} is in no spool" for participant, identity in digests)
    yield from _compare_books(seen.inbox, told)
    if seen.leaves != seen.next_index:
        yield f"the log has {seen.leaves} leaves and says {seen.next_index}"


def _compare_books(inbox: list[InboxRow], told: Told) -> Iterator[str]:
    books = told.books
    # A clock that was moved on ends days, and each connector then says what it counted: no agency told it that.
    inbox = [row for row in inbox if not row.type.endswith(".count.stated.v1")]
    register: Counter[tuple[str, ...]] = Counter(
        (number, f"id.tka.ministry.{TYPES_OF_KINDS[kind]}.v1") for number, kind in books.rows.values()
    )
    said: Counter[tuple[str, ...]] = Counter(
        (str(row.data["application"]), row.type) for row in inbox if row.participant == "ministry"
    )
    yield from _differ("the register", register, said)
    # A bank may tell a payment again and again: it is one all the same.
    notified: Counter[tuple[str, ...]] = Counter((key,) for key in books.notified)
    received: Counter[tuple[str, ...]] = Counter(
        (str(row.data["payment_request_id"]),) for row in inbox if row.type == RECEIVED
    )
    yield from _differ("the banks' notifications", notified, received)
    booked: Counter[tuple[str, ...]] = Counter(
        (str(row.data["bank_reference"]),) for row in inbox if row.type == BOOKED
    )
    stated: Counter[tuple[str, ...]] = Counter((key,) for key in books.booked)
    yield from _differ("the banks' statements", stated, booked)
    answered = told.visa_book.count("answers")
    heard = sum(1 for row in inbox if row.participant == "immigration")
    if answered != heard:
        yield f"Immigration gave {answered} answers, {heard} were accepted"


def _differ(what: str, told: Mapping[tuple[str, ...], int], held: Mapping[tuple[str, ...], int]) -> Iterator[str]:
    for key in told.keys() | held.keys():
        if told.get(key, 0) != held.get(key, 0):
            yield f"{what} told {key} {told.get(key, 0)} times, the inbox has it {held.get(key, 0)} times"


# --- 2, 7, 8 ---------------------------------------------------------------------------------------------------------


def check_intervals(seen: Observation) -> Iterator[str]:
    """The stretches of each input partition follow each other from 0 to its watermark."""
    reached = dict.fromkeys(seen.watermarks, 0)
    for one in seen.intervals:
        if one.start != reached[one.stream]:
            yield f"{one.stream}: an interval begins at {one.start}, the one before ended at {reached[one.stream]}"
        if one.kind != "consumed":
            yield f"{one.stream}: {one.start} to {one.end} is {one.kind}"
        reached[one.stream] = one.end
    for stream, mark in seen.watermarks.items():
        if reached[stream] != mark:
            yield f"{stream}: the intervals end at {reached[stream]}, the watermark is {mark}"


def check_owners(seen: Observation, late: set[Place]) -> Iterator[str]:
    """Whatever a record came to was committed in the transaction that consumed its offset, and in the order of time."""
    for move in seen.moves:
        if move.is_backwards:
            yield f"{move.stream}: the watermark was moved from {move.before} to {move.after}"
    moments = {}
    for before, after in pairwise(seen.intervals):
        if before.stream == after.stream and after.received_at < before.received_at:
            yield f"{after.stream}: {after.start} was consumed before {before.start}"
    for one in seen.intervals:
        moments.update({(*one.stream, offset): one.received_at for offset in range(one.start, one.end)})
    for row in seen.inbox:
        if row.place not in late and moments.get(row.place) != row.received_at:
            yield f"the record at {row.place} was accepted outside of the transaction that consumed it"


def check_lag(seen: Observation) -> Iterator[str]:
    """Everything that came in is taken, everything to go out is out, and every sender has its receipt."""
    for stream, end in seen.ends.items():
        if seen.watermarks.get(stream, 0) != end:
            yield f"{stream}: taken up to {seen.watermarks.get(stream, 0)} of {end}"
    if seen.deferred:
        yield f"{seen.deferred} records still wait"
    yield from (f"{row.participant}'s {row.event_id} is {row.state}" for row in seen.spooled if not row.is_settled)


def check_waits(rig: Rig) -> Iterator[str]:
    """Nobody waited for each other in a circle, which PostgreSQL breaks only after a second, again and again."""
    for name, log in rig.read_logs().items():
        if DEADLOCK in log:
            yield f"{name} tells of a deadlock"


# --- 3, 4 ------------------------------------------------------------------------------------------------------------


def check_recommendations(seen: Observation, told: Told) -> Iterator[str]:
    """Each application that was told in full has its recommendation once: stored, published, and at Immigration."""
    home = Counter(_name_of(sent.value) for sent in seen.outbox if sent.stream[0] == "recommendations")
    published = Counter(
        _name_of(read.value)
        for stream, records in seen.records.items()
        for read in records
        if stream[0] == "recommendations"
    )
    yield from (f"{name} was decided {count} times" for name, count in home.items() if count > 1)
    yield from (f"{name} was published {count} times" for name, count in published.items() if count > 1)
    yield from (f"{name} is in only one of PostgreSQL and Kafka" for name in home.keys() ^ published.keys())
    pages = told.visa_book.show()["pages"].get("recommendations", {}).values()
    delivered = Counter(page["application"] for page in pages)
    applications = Counter(name[0] for name in home)
    for number in told.books.applications:
        if applications[number] != 1 or delivered[number] != 1:
            yield f"{number}: {applications[number]} recommendations, {delivered[number]} at Immigration"


def _name_of(value: bytes) -> tuple[str, int, str]:
    event = json.loads(value)
    return event["subject"], event["data"]["revision"], event["data"]["state"]


def check_streams(seen: Observation) -> Iterator[str]:
    """Each stream is 1..n in order, the same in the outbox and under read_committed, byte for byte."""
    stored: dict[tuple[str, int], list[tuple[int, bytes]]] = {stream: [] for stream in seen.heads}
    for sent in seen.outbox:
        stored[sent.stream].append((sent.seq, sent.value))
    forwards = Counter((sent.stream, sent.inbox_index) for sent in seen.outbox if sent.inbox_index is not None)
    yield from (f"{key} was forwarded {count} times" for key, count in forwards.items() if count > 1)
    for stream, rows in stored.items():
        if [seq for seq, _ in rows] != list(range(1, seen.heads[stream] + 1)):
            yield f"{stream}: the outbox is not 1 to {seen.heads[stream]}"
        read = seen.records.get(stream, [])
        seqs = [one.seq for one in read]
        if seqs != list(range(1, len(seqs) + 1)):
            yield f"{stream}: the topic is not 1 to {len(seqs)} in order: {_show_disorder(seqs)}"
        elif [one.value for one in read[: len(rows)]] != [value for _, value in rows[: len(read)]]:
            yield f"{stream}: the topic's bytes are not the outbox'"
        elif len(read) < seen.noted.get(stream, 0):
            yield f"{stream}: {seen.noted[stream]} were noted as sent, the topic holds {len(read)}"


def _show_disorder(seqs: list[int | None]) -> str:
    place = next((place for place, seq in enumerate(seqs) if seq != place + 1), 0)
    return f"... {seqs[max(0, place - 2) : place + 5]} ..."


# --- 5, 9 ------------------------------------------------------------------------------------------------------------


def check_refused(seen: Observation, books: Books) -> Iterator[str]:
    """What must be refused is in quarantine once under its code, nothing else is, and none of it is in the inbox."""
    parked = Counter(one.place for one in seen.parked)
    yield from (f"the record at {place} is in quarantine {count} times" for place, count in parked.items() if count > 1)
    codes = {one.place: one.code for one in seen.parked}
    for place in codes.keys() | books.refused.keys():
        if codes.get(place) != books.refused.get(place):
            yield f"the record at {place} was to be {books.refused.get(place)}, it is {codes.get(place)}"
    accepted = {row.place for row in seen.inbox}
    yield from (f"the refused record at {place} is in the inbox" for place in accepted & codes.keys())
    yield from (
        f"{row.participant}'s own {row.event_id} was refused ({row.code})"
        for row in seen.spooled
        if row.state == "refused"
    )


def check_memory(rig: Rig) -> Iterator[str]:
    """No process of ours is larger than a bound that it would only pass by hoarding."""
    for name, child in rig.running.items():
        if child.is_alive() and (size := psutil.Process(child.pid).memory_info().rss) > RESIDENT_BYTES_MAX:
            yield f"{name} holds {size // 1024**2} MiB"
