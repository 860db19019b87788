"""docs/reference/openapi.json and asyncapi.json: what the hub publishes of itself, for the exchange of the tests."""

import json
from typing import Any, cast

from contracts.asyncapi import describe
from contracts.registry import Registry
from hub.health import Health
from hub.lookups import Register
from hub.store.database import Database
from hub.trust import RegistryInForce
from hub.web import asyncapi, facts, inquiries, live, log, machines, probes, register, tokens
from hub.web.access import Guard
from hub.web.counter import Counter
from hub.web.pages.staff import Office
from hub.web.people import People
from tests.contracts.root_world import write_registry
from tests.hub.exchange import BANK_CODES, BANK_TYPES, HEARD, IMMIGRATION_TYPES, MINISTRY_TYPES
from tests.hub.world import World

URL = "https://hub.example"
SAID = {"ministry": MINISTRY_TYPES, "bri": BANK_TYPES, "mandiri": BANK_TYPES, "immigration": IMMIGRATION_TYPES}
KINDS = {"bri": "bank", "mandiri": "bank"}


def make_registry() -> Registry:
    """Return a registry of a ministry, two banks and Immigration; its keys stand in neither document."""
    world = World()
    hub = world.participants()[0]
    parties: list[dict[str, Any]] = [
        {"id": name, "kind": KINDS.get(name, name), "name": name, "bank_code": BANK_CODES.get(name), "keys": []}
        | {"sources": [f"https://{name}.example/tka"], "publishes": list(said)}
        | {"subscribes": [{"type": heard, "filter": {}} for heard in HEARD[name]]}
        for name, said in SAID.items()
    ]
    topics = {f"{way}.{name}": 1 for name in SAID for way in ("from", "to")} | {"recommendations": 1}
    document = world.document(participants=[hub, *parties], topics=topics)
    return Registry.read(write_registry(document, world.root), world.root.public)


def write_asyncapi() -> str:
    """Return the AsyncAPI document's text."""
    return _write(describe(make_registry(), asyncapi.read_schemas()))


def write_openapi() -> str:
    """Return the OpenAPI document's text: of the routes alone, so that no database is asked."""
    database = cast("Database", None)
    in_force = RegistryInForce(World().root.public)
    guard, people = Guard(database, in_force, URL, None), People(database, secure=True)
    app = probes.create_app(
        Health(),
        machines.create_router(database, in_force, guard),
        tokens.create_router(database, in_force, guard),
        log.create_router(database, in_force),
        facts.create_router(database, guard, Counter(database)),
        register.create_router(database, guard),
        inquiries.create_router(database, guard, Office(database, in_force), Register(database, None)),
        live.create_router(live.Gallery(Counter(database), people), people),
        asyncapi.create_router(database, in_force, ""),
    )
    return _write(app.openapi())


def _write(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"
