"""The inbox: every accepted message once, as its sender signed it."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from contracts.admission import Admitted
from contracts.wire.instant import instant_of_ms
from hub.step import Held
from hub.store.database import Connection

COLUMNS = (
    "log_index", "sequence", "time", "append_time", "received_at", "offset", "partition", "topic_id", "source", "id",
    "type", "participant", "kid", "subject", "digest", "value", "jws", "jws_proof",
)  # fmt: skip
RECALL = """
    SELECT i.source, i.id, i.digest, i.log_index
    FROM unnest($1::text[], $2::text[]) AS asked (source, id) JOIN inbox i USING (source, id)"""
RECALL_SEQUENCES = """
    SELECT i.source, i.sequence, i.id
    FROM unnest($1::text[], $2::bigint[]) AS asked (source, sequence) JOIN inbox i USING (source, sequence)"""


async def recall(connection: Connection, admitted: Sequence[Admitted], *, thorough: bool) -> Held:
    """Return what the inbox already holds of these messages' identities.

    Their sequences are looked up only when `thorough`: the unique key refuses a reused one, and then the batch is
    done again, thoroughly.
    """
    if not admitted:
        return Held({}, {})
    sources = [one.envelope.source for one in admitted]
    rows = await connection.fetch(RECALL, sources, [one.envelope.id for one in admitted])
    digests = {(source, identity): (digest, index) for source, identity, digest, index in rows}
    if not thorough:
        return Held(digests, {})
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
                envelope.digest,
                record.value,
                signature.jws,
                signature.proof,
            )
        )
    if rows:
        await connection.copy_records_to_table("inbox", records=rows, columns=COLUMNS)
