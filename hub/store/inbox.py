"""The inbox: every accepted message once, as its sender signed it."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from hashlib import sha256

from contracts.admission import Admitted
from contracts.wire.instant import instant_of_ms
from hub.step import Held
from hub.store.database import Connection

COLUMNS = (
    "log_index", "sequence", "time", "append_time", "received_at", "offset", "partition", "topic_id", "source", "id",
    "type", "participant", "kid", "subject", "identity", "digest", "value", "jws", "jws_proof",
)  # fmt: skip
CAUSE_COLUMNS = ("log_index", "participant", "source", "cause")
IDENTITY_BYTES = 16
RECALL = "SELECT identity, digest, log_index FROM inbox WHERE identity = ANY($1::bytea[])"
RECALL_SEQUENCES = """
    SELECT i.source, i.sequence, i.id
    FROM unnest($1::text[], $2::bigint[]) AS asked (source, sequence) JOIN inbox i USING (source, sequence)"""


def name_message(source: str, identity: str) -> bytes:
    """Return the key of a message; a source holds no space, so no two messages share one."""
    return sha256(f"{source} {identity}".encode()).digest()[:IDENTITY_BYTES]


async def recall(connection: Connection, admitted: Sequence[Admitted], *, thorough: bool) -> Held:
    """Return what the inbox already holds of these messages' identities.

    Their sequences are looked up only when `thorough`: the unique key refuses a reused one, and then the batch is
    done again, thoroughly.
    """
    if not admitted:
        return Held({}, {})
    asked = {name_message(one.envelope.source, one.envelope.id): one.envelope for one in admitted}
    digests = {}
    for identity, digest, index in await connection.fetch(RECALL, list(asked)):
        envelope = asked[identity]
        digests[envelope.source, envelope.id] = (digest, index)
    if not thorough:
        return Held(digests, {})
    sources = [one.envelope.source for one in admitted]
    rows = await connection.fetch(RECALL_SEQUENCES, sources, [one.envelope.sequence for one in admitted])
    return Held(digests, {(source, sequence): identity for source, sequence, identity in rows})


async def remember(
    connection: Connection, fresh: Iterable[Admitted], base: int, now: datetime, topic_ids: Mapping[str, str]
) -> None:
    """Store accepted messages under the log indices from `base` on.

    This comes under the log's lock, where the indices are known: whoever stored the same identity first has committed,
    and the unique key raises asyncpg.UniqueViolationError at once, without waiting.
    """
    rows = []
    for index, admitted in enumerate(fresh, base):
        envelope, record, signature = admitted.envelope, admitted.record, admitted.signature
        rows.append(
            (
                index,
                envelope.sequence,
                envelope.time,
                instant_of_ms(record.append_time_ms),
                now,
                record.offset,
                record.partition,
                topic_ids[record.topic],
                envelope.source,
                envelope.id,
                envelope.type,
                admitted.participant,
                signature.kid,
                envelope.subject,
                name_message(envelope.source, envelope.id),
                envelope.digest,
                record.value,
                signature.jws,
                signature.proof,
            )
        )
    if rows:
        await connection.copy_records_to_table("inbox", records=rows, columns=COLUMNS)


async def note_causes(connection: Connection, fresh: Iterable[Admitted], base: int) -> None:
    """Note which of these messages name another one as their cause: that may have been refused, and is corrected."""
    rows = [
        (index, one.participant, one.envelope.source, one.envelope.causationid)
        for index, one in enumerate(fresh, base)
        if one.envelope.causationid is not None
    ]
    if rows:
        await connection.copy_records_to_table("corrections", records=rows, columns=CAUSE_COLUMNS)
