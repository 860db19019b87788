"""The AsyncAPI 3.0 document of an exchange: every topic of its registry, and what travels on it. Pure.

It is written from what the hub itself goes by: topics, publishing rights and subscriptions of the registry in force,
the JSON Schemas of the contracts, the envelope's own list of attributes. Source: https://www.asyncapi.com/docs/reference/
specification/v3.0.0.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from contracts.registry import RECOMMENDATIONS, Registry
from contracts.wire.envelope import OPTIONAL, REQUIRED, SPEC_VERSION

VERSION: Final = "3.0.0"
MEDIA_TYPE: Final = "application/vnd.aai.asyncapi+json;version=3.0.0"
KAFKA_BINDING: Final = "0.5.0"
SCHEMA_FORMAT: Final = "application/schema+json;version=draft-07"
INPUT: Final = "from."
DESCRIPTION: Final = (
    "What this hub receives and sends through Kafka, by its registry of participants. The protocol is SPEC.md of the"
    " contracts."
)
#: What every participant is told on its own topic without a subscription.
UNASKED: Final = (
    "id.tka.hub.count.reported.v1",
    "id.tka.hub.erasure.ordered.v1",
    "id.tka.hub.heartbeat.v1",
    "id.tka.hub.receipt.v1",
)
RECOMMENDED: Final = ("id.tka.hub.recommendation.issued.v1", "id.tka.hub.recommendation.withdrawn.v1")
_INSTANTS = frozenset(("time", "recordedtime", "expirytime"))
_HEADERS: Final = {
    "content-type": "application/cloudevents+json, the value's form.",
    "jws": "The detached signature of the value, or of the batch that it belongs to (SPEC.md section 4).",
    "jws-proof": "Only in a signed batch: the value's place in it.",
    "hub-seq": "Only from the hub: the message's number on its partition, from 1 without a gap.",
    "tlog-proof": "Only on recommendations: the proof that the evidence log holds it (C2SP tlog-proof).",
    "traceparent": "Of no effect: for tracing (W3C Trace Context).",
}


def list_types(registry: Registry, topic: str) -> list[str]:
    """Return the event types that the registry lets travel on a topic, sorted. Raises KeyError for one it has not."""
    registry.topics[topic]
    if topic == RECOMMENDATIONS:
        return sorted(RECOMMENDED)
    direction, _, participant = topic.partition(".")
    party = registry.participants.get(participant)
    if party is None:
        return []
    if f"{direction}." == INPUT:
        return sorted(party.publishes)
    return sorted({grant.type for grant in party.subscribes} | set(UNASKED))


def describe(registry: Registry, schemas: Mapping[str, Mapping[str, Any]], prefix: str = "") -> dict[str, Any]:
    """Return the document of an exchange whose topics Kafka knows under `prefix`; `schemas` by event type."""
    # A type that the registry grants ahead of its contract cannot travel yet.
    types = {topic: [one for one in list_types(registry, topic) if one in schemas] for topic in sorted(registry.topics)}
    used = sorted({event_type for each in types.values() for event_type in each})
    channels = {topic: _channel(topic, prefix, registry.topics[topic], each) for topic, each in types.items()}
    return {
        "asyncapi": VERSION,
        "info": {
            "title": f"TKA Exchange, {registry.environment}",
            "version": f"{registry.version}.0.0",
            "description": DESCRIPTION,
        },
        "defaultContentType": "application/cloudevents+json",
        "channels": channels,
        "operations": {_name_operation(topic): _operation(topic, each) for topic, each in types.items()},
        "components": {
            "messages": {event_type: _message(event_type, schemas[event_type]) for event_type in used},
            "schemas": {event_type: _embed(schemas[event_type], event_type) for event_type in used},
        },
    }


def _channel(topic: str, prefix: str, partitions: int, types: Iterable[str]) -> dict[str, Any]:
    physical = prefix + topic
    return {
        "address": physical,
        "messages": {event_type: {"$ref": f"#/components/messages/{event_type}"} for event_type in types},
        "bindings": {"kafka": {"topic": physical, "partitions": partitions, "bindingVersion": KAFKA_BINDING}},
    }


def _name_operation(topic: str) -> str:
    return f"receive {topic}" if topic.startswith(INPUT) else f"send {topic}"


def _operation(topic: str, types: Iterable[str]) -> dict[str, Any]:
    return {
        # As the hub sees it, whose document this is.
        "action": "receive" if topic.startswith(INPUT) else "send",
        "channel": {"$ref": f"#/channels/{topic}"},
        "messages": [{"$ref": f"#/channels/{topic}/messages/{event_type}"} for event_type in types],
    }


def _message(event_type: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    properties: dict[str, Any] = {name: _attribute(name) for name in (*REQUIRED, *OPTIONAL) if name != "data"}
    properties |= {
        "specversion": {"const": SPEC_VERSION},
        "type": {"const": event_type},
        "data": {"$ref": f"#/components/schemas/{event_type}"},
    }
    payload = {"type": "object", "additionalProperties": False, "required": list(REQUIRED), "properties": properties}
    headers = {name: {"type": "string", "description": says} for name, says in _HEADERS.items()}
    return {
        "name": event_type,
        "title": event_type,
        "summary": str(schema.get("description", event_type)),
        "contentType": "application/cloudevents+json",
        "headers": {"type": "object", "required": ["content-type", "jws"], "properties": headers},
        "payload": {"schemaFormat": SCHEMA_FORMAT, "schema": payload},
    }


def _attribute(name: str) -> dict[str, Any]:
    return {"type": "string", "format": "date-time"} if name in _INSTANTS else {"type": "string"}


def _embed(schema: Mapping[str, Any], event_type: str) -> Any:
    """Return a contract's schema as a part of the document, where what it points to stands elsewhere."""
    own = {name: value for name, value in schema.items() if name not in ("$schema", "$id")}
    return _move(own, f"#/components/schemas/{event_type}/$defs/")


def _move(value: Any, place: str) -> Any:
    if isinstance(value, Mapping):
        return {
            name: each.replace("#/$defs/", place) if name == "$ref" else _move(each, place)
            for name, each in value.items()
        }
    return [_move(each, place) for each in value] if isinstance(value, list) else value
