"""Answers that the OpenAPI documents of several doors promise: a problem, and a fact that was stored."""

PROBLEM = {
    "description": "RFC 9457",
    "content": {
        "application/problem+json": {"schema": {"type": "object", "required": ["type", "title", "status", "detail"]}}
    },
}
TAKEN = {
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
