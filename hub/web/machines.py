"""The API for the participants' machines: the registry, their sources, and a stream's archive for whoever was away.

The outbox is the archive, not Kafka. Only what the relay has released is given out, with the headers it was sent with.
"""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response

from contracts.registry import Filter, Participant
from contracts.wire import base64url
from hub.release import prove_rows, write_headers
from hub.store import outbox
from hub.store.database import Database
from hub.store.outbox import OutboxRow
from hub.trust import RegistryInForce
from hub.web import sources
from hub.web.access import Caller, Guard
from hub.web.problems import describe, refuse
from hub.web.scopes import Scope

JOSE_JSON = "application/jose+json"
RECORDS_MAX = 256
RECORDS_DEFAULT = 100
RECOMMENDATIONS = "recommendations"
RECOMMENDATION_ISSUED = "id.tka.hub.recommendation.issued.v1"
SEQ_MAX = 2**63 - 1


def may_read(participant: Participant | None, topic: str) -> bool:
    """Whether `participant` may read all of `topic`: its own feed, or recommendations granted without a filter."""
    if participant is None:
        return False
    if topic == f"to.{participant.id}":
        return True
    return topic == RECOMMENDATIONS and any(
        grant.type == RECOMMENDATION_ISSUED and grant.filter == Filter() for grant in participant.subscribes
    )


def write_record(row: OutboxRow) -> dict[str, Any]:
    """Return one record in the API's form: the bytes in base64url, the headers as they were sent."""
    return {
        "seq": row.seq,
        "key": row.key,
        "value": None if row.value is None else base64url.encode(row.value),
        "headers": [[name, value.decode()] for name, value in write_headers(row)],
    }


def create_router(database: Database, in_force: RegistryInForce, guard: Guard) -> APIRouter:
    """Return the machines' routes."""
    router = APIRouter()
    router.include_router(sources.create_router(database, in_force, guard))

    @router.get("/api/v1/registry", response_class=Response, responses=describe(JOSE_JSON))
    async def read_registry() -> Response:
        """Give the signed registry in force; whoever reads it checks it against the pinned root."""
        async with database.connection() as connection:
            current = await in_force.refresh_signed(connection)
        version = str(current.registry.version)
        return Response(current.signed, media_type=JOSE_JSON, headers={"Registry-Version": version})

    @router.get("/api/v1/streams/{topic}/{partition}")
    async def read_stream(
        caller: Annotated[Caller, guard.require(Scope.STREAMS)],
        topic: Annotated[str, Path(max_length=128)],
        partition: Annotated[int, Path(ge=0, le=10_000)],
        after: Annotated[int, Query(ge=0, le=SEQ_MAX - RECORDS_MAX)] = 0,
        limit: Annotated[int, Query(ge=1, le=RECORDS_MAX)] = RECORDS_DEFAULT,
    ) -> dict[str, Any]:
        """Give the records after `after` of a stream that the caller may read, and its last released seq."""
        if not may_read(caller.participant, topic):
            refuse(HTTPStatus.FORBIDDEN, "stream-not-granted", "The registry does not grant the caller this stream.")
        async with database.connection() as connection:
            registry = await in_force.refresh(connection)
        if partition >= (registry.partitions(topic) or 0):
            refuse(HTTPStatus.NOT_FOUND, "stream-unknown", "The topic has no such partition.")
        async with database.connection() as connection:
            last = (await outbox.read_positions(connection, topic)).get(partition, 0)
            rows = await outbox.read_rows(connection, topic, partition, after, min(limit, max(0, last - after)))
            rows = await prove_rows(connection, registry, rows)
        return {"topic": topic, "partition": partition, "last": last, "records": [write_record(row) for row in rows]}

    return router
