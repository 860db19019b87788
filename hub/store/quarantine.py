"""Records that have no effect: refused ones, for their sender and the operator, and deferred ones, for the registry."""

import base64
import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from contracts.admission import Refused
from contracts.errors import EXPLANATIONS, Code
from contracts.wire.instant import instant_of_ms
from contracts.wire.record import Headers, Record
from hub.store.database import Connection

PARKED_COLUMNS = (
    "code", "detail", "fault", "participant", "event_id", "source", "topic", "topic_id", "partition", "offset", "key",
    "value", "headers", "append_time", "received_at", "salt", "log_index", "traceback", "sequence",
)  # fmt: skip
DEFERRED_COLUMNS = (
    "topic_id", "partition", "offset", "topic", "key", "value", "headers", "append_time", "received_at", "code",
    "detail", "participant", "registry_version", "due_at",
)  # fmt: skip
RECORD_COLUMNS = ("topic_id", "partition", "offset", "topic", "key", "value", "headers", "append_time")
COUNT_DEFERRED = "SELECT topic, count(*) FROM deferred WHERE topic = ANY($1::text[]) GROUP BY topic"
# SKIP LOCKED lets two processes share the retries; the rows go in the transaction of their effect.
CLAIM_DEFERRED = """
    SELECT topic_id, partition, "offset", topic, key, value, headers, append_time, due_at FROM deferred
    WHERE due_at <= $1 OR registry_version < $2 ORDER BY topic_id, partition, "offset" LIMIT $3
    FOR UPDATE SKIP LOCKED"""
DROP_DEFERRED = """
    DELETE FROM deferred d USING unnest($1::text[], $2::int[], $3::bigint[]) AS u (topic_id, partition, "offset")
    WHERE d.topic_id = u.topic_id AND d.partition = u.partition AND d."offset" = u."offset\""""
KEEP_DEFERRED = """
    UPDATE deferred d SET registry_version = $4, due_at = CASE WHEN due_at <= $5 THEN $6 ELSE due_at END
    FROM unnest($1::text[], $2::int[], $3::bigint[]) AS u (topic_id, partition, "offset")
    WHERE d.topic_id = u.topic_id AND d.partition = u.partition AND d."offset" = u."offset\""""
LIST = """
    SELECT id, code, detail, fault, participant, event_id, source, topic, partition, "offset", append_time,
        received_at, log_index, resolved_at, resolution
    FROM quarantine WHERE ($1::text IS NULL OR code = $1) AND ($2::text IS NULL OR participant = $2)
        AND ($3 OR resolved_at IS NULL) AND id > $4 ORDER BY id LIMIT $5"""
METADATA = """
    q.id, q.code, q.detail, q.fault, q.participant, q.event_id, q.source, q.topic, q.partition, q."offset",
    q.append_time, q.received_at, q.log_index, q.resolved_at, q.resolution, s.at AS sent_back_at"""
READ_METADATA = f"""
    SELECT {METADATA} FROM quarantine q LEFT JOIN sent_back s ON s.parked_id = q.id WHERE q.id = $1"""  # noqa: S608
LIST_GROUP = f"""
    SELECT {METADATA} FROM quarantine q LEFT JOIN sent_back s ON s.parked_id = q.id
    WHERE q.code = $1 AND q.participant IS NOT DISTINCT FROM $2 AND q.resolved_at IS NULL
    ORDER BY q.id LIMIT $3"""  # noqa: S608
IS_PARKED = "SELECT EXISTS (SELECT FROM quarantine WHERE id = $1 AND erased_at IS NULL)"
SHOW = "SELECT * FROM quarantine WHERE id = $1"


class Parked(NamedTuple):
    """A refusal on its way into quarantine. `salt` has 16 bytes and keeps the logged digest from saying anything."""

    record: Record
    code: Code
    detail: str
    participant: str | None
    event_id: str | None
    source: str | None
    salt: bytes
    traceback: str | None
    sequence: int | None = None

    @classmethod
    def of(cls, refused: Refused, bug: str | None, salt: bytes) -> "Parked":
        """Prepare a refusal for quarantine; its number is named where the signature verified."""
        identity = source = sequence = None
        if (envelope := refused.envelope) is not None:
            identity, source = envelope.id, envelope.source
            sequence = None if refused.participant is None else envelope.sequence
        return cls(
            refused.record, refused.code, refused.detail, refused.participant, identity, source, salt, bug, sequence
        )


class Waiting(NamedTuple):
    """A deferred record as it is stored: `due_at` is when it is refused if the registry still does not know it."""

    topic_id: str
    record: Record
    due_at: datetime


def write_headers(headers: Headers) -> str:
    """Spell a record's headers as JSON: pairs of name and base64 (null for a header without a value)."""
    return json.dumps([[name, None if raw is None else base64.b64encode(raw).decode("ascii")] for name, raw in headers])


def read_headers(text: str) -> Headers:
    """Read what `write_headers` wrote."""
    return tuple((name, None if raw is None else base64.b64decode(raw)) for name, raw in json.loads(text))


def _text(untrusted: str) -> str:
    """PostgreSQL's text holds no NUL, and a header's name may be anything."""
    return untrusted.replace("\x00", "\ufffd")


async def park(
    connection: Connection, parked: Iterable[Parked], base: int, now: datetime, topic_ids: dict[str, str]
) -> None:
    """Store refused records whose leaves stand from `base` on."""
    rows = [
        (
            str(one.code),
            _text(one.detail),
            EXPLANATIONS[one.code].fault,
            one.participant,
            one.event_id,
            one.source,
            one.record.topic,
            topic_ids[one.record.topic],
            one.record.partition,
            one.record.offset,
            one.record.key,
            one.record.value,
            write_headers(one.record.headers),
            instant_of_ms(one.record.append_time_ms),
            now,
            one.salt,
            index,
            None if one.traceback is None else _text(one.traceback),
            one.sequence,
        )
        for index, one in enumerate(parked, base)
    ]
    if rows:
        await connection.copy_records_to_table("quarantine", records=rows, columns=PARKED_COLUMNS)


async def count_deferred(connection: Connection, topics: Sequence[str]) -> dict[str, int]:
    """Return how many records of each of these topics wait."""
    return {row["topic"]: row["count"] for row in await connection.fetch(COUNT_DEFERRED, topics)}


async def defer(connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    """Store records that wait for the registry, as rows of DEFERRED_COLUMNS."""
    if rows:
        await connection.copy_records_to_table("deferred", records=rows, columns=DEFERRED_COLUMNS)


def record_of(row: Any) -> Record:
    """Return a record from a row with RECORD_COLUMNS."""
    append_ms = round(row["append_time"].timestamp() * 1_000)
    headers = read_headers(row["headers"])
    return Record(row["topic"], row["partition"], row["offset"], row["key"], row["value"], headers, append_ms)


async def claim_deferred(connection: Connection, now: datetime, registry_version: int, limit: int) -> list[Waiting]:
    """Lock up to `limit` deferred records that are due, or that were last judged by an older registry."""
    rows = await connection.fetch(CLAIM_DEFERRED, now, registry_version, limit)
    return [Waiting(row["topic_id"], record_of(row), row["due_at"]) for row in rows]


def _places(waiting: Sequence[Waiting]) -> tuple[list[str], list[int], list[int]]:
    return (
        [one.topic_id for one in waiting],
        [one.record.partition for one in waiting],
        [one.record.offset for one in waiting],
    )


async def drop_deferred(connection: Connection, waiting: Sequence[Waiting]) -> None:
    """Remove deferred records that have got their disposition."""
    if waiting:
        await connection.execute(DROP_DEFERRED, *_places(waiting))


async def keep_deferred(
    connection: Connection, waiting: Sequence[Waiting], registry_version: int, now: datetime, again_at: datetime
) -> None:
    """Note that these records wait on by this registry; those that were due are looked at again at `again_at`."""
    if waiting:
        await connection.execute(KEEP_DEFERRED, *_places(waiting), registry_version, now, again_at)


async def list_parked(
    connection: Connection,
    *,
    code: str | None = None,
    participant: str | None = None,
    resolved: bool = False,
    after: int = 0,
    limit: int = 100,
) -> list[dict[str, Any]]:
    """Return quarantined records in order, without their bytes."""
    return [dict(row) for row in await connection.fetch(LIST, code, participant, resolved, after, limit)]


async def show_parked(connection: Connection, parked_id: int) -> dict[str, Any] | None:
    """Return everything that is stored of one quarantined record, its bytes included."""
    row = await connection.fetchrow(SHOW, parked_id)
    return None if row is None else dict(row)


async def is_parked(connection: Connection, parked_id: int) -> bool:
    """Whether quarantine holds the bytes of this record."""
    return bool(await connection.fetchval(IS_PARKED, parked_id))


async def read_metadata(connection: Connection, parked_id: int) -> dict[str, Any] | None:
    """Return what is known of a quarantined record, all but its bytes and what they say."""
    row = await connection.fetchrow(READ_METADATA, parked_id)
    return None if row is None else dict(row)


async def list_group(connection: Connection, code: str, participant: str | None, limit: int) -> list[dict[str, Any]]:
    """Return the same of the oldest unresolved records with a code, of a participant (None: nobody known)."""
    return [dict(row) for row in await connection.fetch(LIST_GROUP, code, participant, limit)]
