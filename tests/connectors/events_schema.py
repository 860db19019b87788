"""The OpenAPI document of the Ministry's HTTP door: one service, which takes a fact."""

from typing import Any

from tests.connectors.test_ministry import FILE
from tests.contracts.samples import APPLICATION

_PROBLEM = {
    "description": "RFC 9457",
    "content": {
        "application/problem+json": {"schema": {"type": "object", "required": ["type", "title", "status", "detail"]}}
    },
}
_TAKEN = {
    "description": "the fact is on disk",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["event_id", "sequence", "repeated"],
                "properties": {
                    "event_id": {"type": "string"},
                    "sequence": {"type": "integer", "minimum": 1},
                    "repeated": {"type": "boolean"},
                },
            }
        }
    },
}
# Narrow, so that a good fact is among the calls; what else may stand in a body, test_ministry_events.py tries.
_EVENT = {
    "type": "object",
    "additionalProperties": False,
    "required": ["at", "kind", "application_number", "payload"],
    "properties": {
        "at": {"enum": ["2026-03-02T08:00:00+07:00", "yesterday"]},
        "kind": {"enum": ["LENGKAP", "LAIN"]},
        "application_number": {"const": APPLICATION},
        "payload": {"enum": [FILE, {}]},
    },
}

DOCUMENT: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "The Ministry's door", "version": "1"},
    "paths": {
        "/events": {
            "post": {
                "parameters": [
                    {
                        "name": "Idempotency-Key",
                        "in": "header",
                        "required": True,
                        "schema": {"type": "string", "pattern": "^K-[0-9]{1,3}$"},
                    }
                ],
                "requestBody": {"required": True, "content": {"application/json": {"schema": _EVENT}}},
                "responses": {
                    "200": _TAKEN,
                    "202": _TAKEN,
                    **{str(status): _PROBLEM for status in (400, 401, 405, 413, 415, 422)},
                },
            }
        }
    },
}
