"""The OpenAPI document of Immigration's pull door: what an office may ask, and what it tells."""

from typing import Any

from tests.connectors.door_answers import PROBLEM
from tests.contracts.samples import NUMBER

_UNREADABLE = {
    "description": "a parameter of no use",
    "content": {"application/json": {"schema": {"type": "object", "required": ["detail"]}}},
}
_VERDICT = {
    "type": "object",
    "required": ["number", "revision", "status", "why", "as_of"],
    "properties": {"status": {"enum": ["valid", "withdrawn", "superseded", "unknown", "stale"]}},
}
_TAKEN = {
    "type": "object",
    "required": ["taken", "refused"],
    "properties": {"taken": {"type": "integer", "minimum": 0}, "refused": {"type": "array"}},
}
_ANSWER = {
    "type": "object",
    "properties": {
        "id": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
        "kind": {"enum": ["acknowledged", "queried", "visa_approved", "visa_refused", "entry", "nothing"]},
        "number": {"enum": [NUMBER, "TKA-000000000000"]},
        "revision": {"type": "integer"},
        "at": {"type": "string"},
    },
}


def _answered(schema: dict[str, Any], *problems: int) -> dict[str, Any]:
    found = {"description": "JSON", "content": {"application/json": {"schema": schema}}}
    return {"200": found, "422": _UNREADABLE} | {str(status): PROBLEM for status in problems}


def _in_path(name: str, *known: str) -> dict[str, Any]:
    schema = {"anyOf": [{"enum": list(known)}, {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,40}$"}]}
    return {"name": name, "in": "path", "required": True, "schema": schema}


DOCUMENT: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "Immigration's pull door", "version": "1"},
    "paths": {
        "/valid": {
            "get": {
                "parameters": [
                    {"name": "number", "in": "query", "required": True, "schema": {"type": "string"}},
                    {"name": "revision", "in": "query", "schema": {"type": "integer"}},
                ],
                "responses": _answered(_VERDICT),
            }
        },
        "/recommendations/{number}": {
            "get": {"parameters": [_in_path("number", NUMBER)], "responses": _answered({"type": "object"}, 404)}
        },
        "/offices/{name}/answers": {
            "post": {
                "parameters": [_in_path("name", "directorate", "jakarta")],
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {
                            "schema": {
                                "type": "object",
                                "required": ["answers"],
                                "properties": {"answers": {"type": "array", "maxItems": 4, "items": _ANSWER}},
                            }
                        }
                    },
                },
                "responses": _answered(_TAKEN, 400, 404),
            }
        },
    },
}
