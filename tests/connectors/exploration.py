"""Schemathesis against a door that is served: every call of a document, well and badly made, and what it answers."""

import asyncio
from collections.abc import Mapping
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

EXAMPLES = 40
ANSWER_S_MAX = 30
CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance, status_code_conformance]
NO_HEADERS: Mapping[str, str] = {}


async def explore(address: str, document: dict[str, Any], headers: Mapping[str, str] = NO_HEADERS) -> int:
    """Compare the answers of a door that this loop serves with its document; return how many calls were made."""
    return await asyncio.to_thread(_explore, address.rstrip("/"), document, headers)


def _explore(address: str, document: dict[str, Any], headers: Mapping[str, str]) -> int:
    calls = 0
    with requests.Session() as session:
        for found in schemathesis.openapi.from_dict(document).get_all_operations():
            operation: Any = found

            @given(case=operation.ok().as_strategy())
            @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
            def ask(case: Any) -> None:
                nonlocal calls
                calls += 1
                prepared = requests.Request(**case.as_transport_kwargs(base_url=address)).prepare()
                prepared.headers.update(headers)
                response = session.send(prepared, timeout=ANSWER_S_MAX, allow_redirects=False)
                case.validate_response(response, checks=CHECKS)

            ask()
    return calls
