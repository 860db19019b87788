"""The AsyncAPI document says what really runs: the topics that are made, and every message that goes in or out."""

import json
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from jsonschema import Draft202012Validator

from contracts.asyncapi import MEDIA_TYPE, UNASKED, VERSION, describe, list_types
from contracts.registry import Registry
from hub import trust
from hub.transport import write_wanted
from hub.trust import RegistryInForce
from hub.web import asyncapi
from tests.hub.exchange import Exchange

PREFIX = "trial-"
Json = dict[str, Any]


def payload_of(document: Json, event_type: str) -> Draft202012Validator:
    """Return what judges a value of this type, with the document's other parts in reach."""
    payload = document["components"]["messages"][event_type]["payload"]["schema"]
    return Draft202012Validator(payload | {"components": document["components"]})


async def in_force(exchange: Exchange) -> Registry:
    async with exchange.database.connection() as connection:
        return (await trust.load(connection, exchange.root.public)).registry


@pytest.fixture
async def exchange(database: str) -> Any:
    """Give an exchange through which a case has gone."""
    exchange = await Exchange.open(database)
    ministry, bri = exchange.ministry, exchange.bri
    await exchange.take(*ministry.sign_all([ministry.submitted(), ministry.billed(), ministry.approved()]))
    await exchange.take(bri.sign(bri.paid()), bri.sign(bri.booked()))
    await exchange.desk.heartbeat(datetime.now(UTC))
    yield exchange
    await exchange.database.close()


async def test_its_channels_are_the_topics_that_are_made(exchange: Exchange) -> None:
    registry = await in_force(exchange)
    document = describe(registry, asyncapi.read_schemas(), PREFIX)
    bound = {channel["bindings"]["kafka"]["topic"]: channel for channel in document["channels"].values()}
    assert {name: one["bindings"]["kafka"]["partitions"] for name, one in bound.items()} == dict(
        write_wanted(registry, PREFIX).topics
    )
    assert all(name == channel["address"] for name, channel in bound.items())
    # Each channel has its operation, and no message is named that the document does not hold.
    assert {one["channel"]["$ref"].removeprefix("#/channels/") for one in document["operations"].values()} == set(
        document["channels"]
    )
    named = {event_type for channel in document["channels"].values() for event_type in channel["messages"]}
    assert named == set(document["components"]["messages"]) == set(document["components"]["schemas"])


async def test_whatever_went_in_or_out_is_as_it_says(exchange: Exchange) -> None:
    document = describe(await in_force(exchange), asyncapi.read_schemas())
    async with exchange.database.connection() as connection:
        rows = await connection.fetch(
            "SELECT 'from.' || participant AS topic, value FROM inbox UNION ALL"
            " SELECT o.topic, coalesce(o.value, i.value) FROM outbox o LEFT JOIN inbox i ON i.log_index = o.inbox_index"
        )
    seen = set()
    for row in rows:
        value = json.loads(row["value"])
        assert value["type"] in document["channels"][row["topic"]]["messages"], row["topic"]
        payload_of(document, value["type"]).validate(value)
        seen.add(row["topic"].partition(".")[0])
    assert seen == {"from", "to", "recommendations"}
    assert len(rows) > 10


async def test_what_does_not_fit_is_refused_by_it(exchange: Exchange) -> None:
    document = describe(await in_force(exchange), asyncapi.read_schemas())
    async with exchange.database.connection() as connection:
        value = json.loads(await connection.fetchval("SELECT value FROM inbox WHERE type LIKE '%payment.received.v1'"))
    judge = payload_of(document, value["type"])
    assert judge.is_valid(value)
    others = [value | {"data": value["data"] | {"amount": "1,200"}}, value | {"extra": "x"}, value | {"type": "other"}]
    assert not any(map(judge.is_valid, others))


async def test_it_is_served_without_anybodys_leave(exchange: Exchange) -> None:
    app = FastAPI()
    held = RegistryInForce(exchange.root.public)
    app.include_router(asyncapi.create_router(exchange.database, held, PREFIX))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://hub.example") as caller:
        answer = await caller.get("/api/v1/asyncapi.json")
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert answer.json() == json.loads(json.dumps(describe(await in_force(exchange), asyncapi.read_schemas(), PREFIX)))
    assert answer.json()["asyncapi"] == VERSION


async def test_a_participant_that_publishes_nothing_is_told_what_everybody_is(exchange: Exchange) -> None:
    registry = await in_force(exchange)
    assert set(UNASKED) <= set(list_types(registry, "to.bri"))
    with pytest.raises(KeyError):
        list_types(registry, "to.nobody")
