"""The OpenAPI document of every connector's own door: whether it lives, is ready, and what it counts and shows."""

from typing import Any

_READINESS = {
    "type": "object",
    "required": [
        "ready", "notes", "registry_version", "spool", "streams", "stopped_streams", "refusals", "clock_offset_s",
        "last_seen",
    ],
    "properties": {
        "ready": {"type": "boolean"},
        "notes": {"type": "array", "items": {"type": "string", "minLength": 1}},
        "registry_version": {"type": "integer", "minimum": 1},
        "spool": {"type": "object", "required": ["waiting", "signed", "sent", "bytes_used", "bytes_max"]},
        "streams": {"type": "object", "additionalProperties": {"type": "integer", "minimum": 0}},
        "stopped_streams": {"type": "object", "additionalProperties": {"type": "string"}},
        "refusals": {"type": "object", "additionalProperties": {"type": "integer", "minimum": 1}},
        "clock_offset_s": {"type": ["number", "null"]},
        "last_seen": {"type": "object", "additionalProperties": {"type": "string", "format": "date-time"}},
    },
}  # fmt: skip
_ALIVE = {"type": "object", "required": ["status"], "properties": {"status": {"const": "alive"}}}


def _question(media_type: str, schema: dict[str, Any]) -> dict[str, Any]:
    found = {"description": "what was asked for", "content": {media_type: {"schema": schema}}}
    return {"get": {"responses": {"200": found}}}


DOCUMENT: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "A connector's own door", "version": "1"},
    "paths": {
        "/healthz": _question("application/json", _ALIVE),
        "/readyz": _question("application/json", _READINESS),
        "/status": _question("text/html", {}),
        "/metrics": _question("text/plain", {}),
    },
}
