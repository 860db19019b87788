"""Streams taken over from Kafka, after the database was put back to an older point.

Participants have heard more than this database knows. What they heard keeps its places: it is copied from Kafka into
the outbox, so that the archive is whole, and the hub speaks on behind it. No place of a stream ever says two things.
What the hub then decides again from the messages that come again has the same names as before, so that it has no second
effect. This must come before the intake is started: what that says has its place in it.
"""

from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from contracts.errors import Refusal
from contracts.log import entry
from contracts.registry import Registry
from contracts.wire.signature import TYP_RECOMMENDATION, VerifiedRoots, verify_carried
from hub.desk import Desk, Plan
from hub.store import outbox
from hub.store.outbox import OutboxRow
from hub.told import Told, fetch_positions, read_told
from hub.transport import is_output

if TYPE_CHECKING:
    from hub.cluster import Cluster
    from hub.store.database import Connection

TAKE_OVER_STREAM: Final = "take_over_stream"


class StreamsDiverge(Exception):
    """The database says something else at a place that was told, or Kafka no longer has what was told."""


class Taken(NamedTuple):
    """A stretch of a stream that was taken over: hub-seq `first` to `last`."""

    topic: str
    partition: int
    first: int
    last: int


async def take_over(desk: Desk, cluster: "Cluster", actor: str, reason: str, now: datetime) -> list[Taken]:
    """Copy what was told beyond the outbox, and note it as told; safe to repeat. Raises StreamsDiverge, KafkaError.

    Each stretch is an operator's action in the evidence log. Intake, deadlines and relay must not run meanwhile.
    """
    judgement = await desk.judgement()
    registry = judgement.registry
    taken: list[Taken] = []
    for topic in sorted(registry.topics):
        if not is_output(topic):
            continue
        positions, _ = await fetch_positions(cluster, topic, registry.topics[topic])
        for partition, position in sorted(positions.items()):
            fresh = await _read_missing(desk, cluster, (topic, partition), position, registry)
            if not fresh:
                continue
            stretch = Taken(topic, partition, fresh[0].seq, position)
            subject = f"{topic}/{partition}/{stretch.first}-{position}"
            plan = Plan()
            plan.actions.append(
                entry.operator_action(action=TAKE_OVER_STREAM, subject=subject, actor=actor, reason=reason, at=now)
            )
            async with desk.database.transaction() as tx:
                await desk.seal(tx, judgement, plan, now, {})
                await _check_head(tx, stretch)
                await outbox.take_over(tx, topic, partition, fresh, now)
            taken.append(stretch)
    return taken


async def _read_missing(
    desk: Desk, cluster: "Cluster", stream: tuple[str, int], position: int, registry: Registry
) -> list[OutboxRow]:
    """Return what Kafka holds of a stream behind the outbox' end, once what both hold is found to be the same."""
    topic, partition = stream
    async with desk.database.connection() as connection:
        last = (await outbox.read_heads(connection)).get(stream, 0)
        noted = (await outbox.read_positions(connection, topic)).get(partition, 0)
        rows = await outbox.read_rows(connection, topic, partition, noted, max(0, last - noted))
    if position <= last:
        return []
    told = await read_told(cluster, topic, partition, min(noted, last), position)
    for row in rows:
        if row.value is not None and row.seq in told and told[row.seq].value != row.value:
            raise StreamsDiverge(
                f"Kafka holds another message at hub-seq {row.seq} of {topic}/{partition} than this database, which "
                "was used after it was put back. Restore it once more, and take over before anything is started."
            )
    missing = [seq for seq in range(last + 1, position + 1) if seq not in told]
    if missing:
        raise StreamsDiverge(
            f"Kafka no longer holds hub-seq {missing[0]} of {topic}/{partition}, nor does this database: restore a "
            "newer copy, or begin under a new TOPIC_PREFIX."
        )
    roots = VerifiedRoots()
    return [_row_of(told[seq], registry, roots) for seq in range(last + 1, position + 1)]


def _row_of(told: Told, registry: Registry, roots: VerifiedRoots) -> OutboxRow:
    """Verify a message and write it as the outbox keeps what was told before. Raises StreamsDiverge."""
    try:
        signature = verify_carried(told.value, told.carried, registry.message_key, roots)
    except Refusal as refusal:
        raise StreamsDiverge(
            f"What Kafka holds at hub-seq {told.seq} is signed by nobody known ({refusal.code})."
        ) from None
    owner = registry.key(signature.kid)
    typ = "forward"
    if owner is not None and owner[0].kind == "hub":
        typ = "recommendation" if signature.typ == TYP_RECOMMENDATION else "event"
    jws, proof = told.carried.jws.decode(), told.carried.proof
    return OutboxRow(
        told.seq, told.key.decode(), typ, True, told.value, jws, None if proof is None else proof.decode(), None,
        told.carried.tlog_proof,
    )  # fmt: skip


async def _check_head(connection: "Connection", stretch: Taken) -> None:
    """Under the log's lock: nobody has said anything meanwhile. Raises StreamsDiverge."""
    last = (await outbox.read_heads(connection)).get((stretch.topic, stretch.partition), 0)
    if last != stretch.first - 1:
        raise StreamsDiverge(
            f"Something was said on {stretch.topic}/{stretch.partition} meanwhile: stop the hub first."
        )
