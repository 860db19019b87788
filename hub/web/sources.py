"""The API for a connector that must know what the hub has of its source: how far, and which messages.

A connector asks at each start, so that an old copy of its folder is noticed, and after the loss of its folder, so that
what was accepted is not said again under other numbers. Identities and digests only: no content is given out.
"""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query

from contracts.registry import Participant
from contracts.wire import base64url
from hub.clock import utc_now
from hub.store import sources
from hub.store.database import Database
from hub.trust import RegistryInForce
from hub.web import access
from hub.web.problems import refuse, unauthenticated

MESSAGES_MAX = 1_000
MESSAGES_DEFAULT = 500
SEQUENCE_MAX = 2**63 - 1
SOURCE_LENGTH_MAX = 256

Source = Annotated[str, Path(max_length=SOURCE_LENGTH_MAX)]
Authorization = Annotated[str | None, Header()]


def create_router(database: Database, in_force: RegistryInForce, api_url: str) -> APIRouter:
    """Return the sources' routes. `api_url` is the audience that assertions must name.

    A source is a URI: its slashes are escaped in the path.
    """
    router = APIRouter(prefix="/api/v1/sources")

    async def find_owner(source: str, authorization: str | None) -> Participant:
        """Return the caller, who must own the source. Raises Problem."""
        if authorization is None:
            raise unauthenticated("assertion-missing", "Send a client assertion (RFC 7523) as a bearer token.")
        async with database.connection() as connection:
            registry = await in_force.refresh(connection)
        caller = access.read_assertion(authorization, registry, api_url, utc_now())
        await access.spend(database, caller)
        owner = registry.owner_of(source)
        if owner is None or owner.id != caller.participant.id:
            refuse(HTTPStatus.FORBIDDEN, "source-not-owned", "The registry does not give the caller this source.")
        return owner

    @router.get("/{source:path}/progress")
    async def read_progress(source: Source, authorization: Authorization = None) -> dict[str, Any]:
        """Give the highest accepted sequence, how far the participant's topic was read, and how many messages wait."""
        owner = await find_owner(source, authorization)
        topic = f"from.{owner.id}"
        async with database.connection() as connection:
            found = await sources.read_progress(connection, source, topic)
        taken = [{"partition": partition, "next": following} for partition, following in found.taken.items()]
        return {
            "source": source,
            "topic": topic,
            "last_sequence": found.last_sequence,
            "taken": taken,
            "deferred": found.deferred,
        }

    @router.get("/{source:path}/accepted")
    async def read_accepted(
        source: Source,
        authorization: Authorization = None,
        after: Annotated[int, Query(ge=0, le=SEQUENCE_MAX)] = 0,
        limit: Annotated[int, Query(ge=1, le=MESSAGES_MAX)] = MESSAGES_DEFAULT,
    ) -> dict[str, Any]:
        """Give the accepted messages with a sequence above `after`, in sequence: id, digest, place in the log."""
        await find_owner(source, authorization)
        async with database.connection() as connection:
            found = await sources.read_accepted(connection, source, after, limit)
        messages = [
            {"sequence": one.sequence, "id": one.id, "sha256": base64url.encode(one.digest), "log_index": one.log_index}
            for one in found
        ]
        return {"source": source, "messages": messages}

    return router
