"""The AsyncAPI document of the registry in force, for whoever builds a connector."""

import json
from functools import cache
from importlib.resources import files
from typing import Any

from fastapi import APIRouter, Response

from contracts.asyncapi import MEDIA_TYPE, describe
from hub.store.database import Database
from hub.trust import RegistryInForce
from hub.web.problems import describe as describe_answers

CACHE = "public, max-age=60"


@cache
def read_schemas() -> dict[str, Any]:
    """Return the JSON Schema of every event type that is packaged here."""
    folder = files("contracts").joinpath("schemas")
    found = (file for file in folder.iterdir() if file.name.endswith(".json"))
    return {file.name.removesuffix(".json"): json.loads(file.read_bytes()) for file in found}


def create_router(database: Database, in_force: RegistryInForce, topic_prefix: str) -> APIRouter:
    """Return the route. `topic_prefix` is what stands before every topic's name on the cluster."""
    router = APIRouter()

    @router.get("/api/v1/asyncapi.json", response_class=Response, responses=describe_answers(MEDIA_TYPE))
    async def read_topics() -> Response:
        """Give every topic with what travels on it, as AsyncAPI 3.0."""
        async with database.connection() as connection:
            registry = await in_force.refresh(connection)
        document = describe(registry, read_schemas(), topic_prefix)
        headers = {"Cache-Control": CACHE}
        return Response(json.dumps(document, ensure_ascii=False), media_type=MEDIA_TYPE, headers=headers)

    return router
