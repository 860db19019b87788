"""The OpenAPI document of the Ministry's HTTP door: one service, which takes a fact."""

from typing import Any

from tests.connectors.door_answers import PROBLEM, TAKEN
from tests.connectors.test_ministry import FILE
from tests.contracts.samples import APPLICATION

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
                    "200": TAKEN,
                    "202": TAKEN,
                    **{str(status): PROBLEM for status in (400, 401, 405, 413, 415, 422)},
                },
            }
        }
    },
}
