"""What the API's OpenAPI document says of every route: the headers that each answer has, and the one that saves it.

FastAPI knows the routes; what `frame` does around them all it cannot know.
"""

from typing import Any

from fastapi import FastAPI

from hub.web.frame import REQUEST_ID, VALIDATED

_HEADERS: dict[str, dict[str, Any]] = {
    REQUEST_ID: {
        "description": "The request's id: the caller's own, if it was a UUID.",
        "required": True,
        "schema": {"type": "string", "format": "uuid"},
    },
    "RateLimit": {
        "description": "What is left of the quota, where one is set.",
        "schema": {"type": "string", "pattern": r'^"[a-z]+";r=[0-9]+;t=[0-9]+$'},
    },
    "RateLimit-Policy": {
        "description": "The quota, where one is set.",
        "schema": {"type": "string", "pattern": r'^"[a-z]+";q=[0-9]+;w=[0-9]+$'},
    },
    "ETag": {
        "description": "Names this answer's content.",
        "required": True,
        "schema": {"type": "string", "pattern": '^"[0-9a-f]+"$'},
    },
}
_OF_EVERY_ANSWER = (REQUEST_ID, "RateLimit", "RateLimit-Policy")
_UNCHANGED = {"description": "The caller has this answer."}
_IF_NONE_MATCH = {
    "name": "if-none-match",
    "in": "header",
    "required": False,
    "description": "An ETag that the caller has: the same answer is 304 and empty.",
    "schema": {"type": "string", "maxLength": 200, "default": ""},
}


def install(app: FastAPI) -> None:
    """Make `app` publish the whole document."""
    describe_routes = app.openapi

    def describe() -> dict[str, Any]:
        if app.openapi_schema is None:
            complete(describe_routes())
        return app.openapi_schema or {}

    app.openapi = describe  # type: ignore[method-assign]


def complete(document: dict[str, Any]) -> None:
    """Add to a document what holds for every route."""
    components = document.setdefault("components", {})
    components["headers"] = _HEADERS
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            content = operation["responses"].get("200", {}).get("content", {})
            # A stream is never whole, and has no name for what it holds.
            validated = method == "get" and path.startswith(VALIDATED) and "text/event-stream" not in content
            if validated:
                _add_validator(operation)
            for status, answer in operation["responses"].items():
                names = [*_OF_EVERY_ANSWER, *(("ETag",) if validated and status in ("200", "304") else ())]
                # Some answers are one object for all routes.
                operation["responses"][status] = answer | {"headers": {name: _refer(name) for name in names}}


def _refer(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/headers/{name}"}


def _add_validator(operation: dict[str, Any]) -> None:
    parameters = [one for one in operation.get("parameters", []) if one["name"].lower() != _IF_NONE_MATCH["name"]]
    operation["parameters"] = [*parameters, _IF_NONE_MATCH]
    operation["responses"] = {"304": _UNCHANGED} | operation["responses"]
