"""The API for a connector that must know what the hub has of its source: how far, and which messages.

A connector asks at each start, so that an old copy of its folder is noticed, and after the loss of its folder, so that
what was accepted is not said again under other numbers. Identities and digests only: no content is given out.
"""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query

from contracts.registry import Participant
from contracts.wire import base64url
from hub.store import sources
from hub.store.database import Database
from hub.trust import RegistryInForce
from hub.web.access import Caller, Guard
from hub.web.problems import refuse
from hub.web.scopes import Scope

MESSAGES_MAX = 1_000
MESSAGES_DEFAULT = 500
SEQUENCE_MAX = 2**63 - 1
SOURCE_LENGTH_MAX = 256

Source = Annotated[str, Path(max_length=SOURCE_LENGTH_MAX)]


def create_router(database: Database, in_force: RegistryInForce, guard: Guard) -> APIRouter:
    """Return the sources' routes.

    A source is a URI: its slashes are escaped in the path.
    """
    router = APIRouter(prefix="/api/v1/sources")

    require = guard.require(Scope.SOURCES)

    async def find_owner(source: str, caller: Caller) -> Participant:
        """Return the caller, who must own the source. Raises Problem."""
        async with database.connection() as connection:
            registry = await in_force.refresh(connection)
        owner = registry.owner_of(source)
        if owner is None or caller.participant is None or owner.id != caller.participant.id:
            refuse(HTTPStatus.FORBIDDEN, "source-not-owned", "The registry does not give the caller this source.")
        return owner

    @router.get("/{source:path}/progress")
    async def read_progress(source: Source, caller: Annotated[Caller, require]) -> dict[str, Any]:
        """Give the highest accepted sequence, how far the participant's topic was read, and how many messages wait."""
        owner = await find_owner(source, caller)
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
        caller: Annotated[Caller, require],
        after: Annotated[int, Query(ge=0, le=SEQUENCE_MAX)] = 0,
        limit: Annotated[int, Query(ge=1, le=MESSAGES_MAX)] = MESSAGES_DEFAULT,
    ) -> dict[str, Any]:
        """Give the accepted messages with a sequence above `after`, in sequence: id, digest, place in the log."""
        await find_owner(source, caller)
        async with database.connection() as connection:
            found = await sources.read_accepted(connection, source, after, limit)
        messages = [
            {"sequence": one.sequence, "id": one.id, "sha256": base64url.encode(one.digest), "log_index": one.log_index}
            for one in found
        ]
        return {"source": source, "messages": messages}

    return router
