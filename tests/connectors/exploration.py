"""Schemathesis against a door that is served: every call of a document, well and badly made, and what it answers."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

EXAMPLES = 40
ANSWER_S_MAX = 30
CHECKS = [
    not_a_server_error,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
]
MakeHeaders = Callable[[], Mapping[str, str]]


async def explore(address: str, document: dict[str, Any], make_headers: MakeHeaders = dict) -> int:
    """Compare the answers of a door that this loop serves with its document; return how many calls were made.

    Every call gets headers made for it alone, since some hold what may be used once.
    """
    try:
        return await asyncio.to_thread(_explore, address.rstrip("/"), document, make_headers)
    except FailureGroup as found:
        # A group that is no Exception would end the event loop's runner, and the fixtures with it.
        raise AssertionError("\n".join(map(str, found.exceptions))) from None


def _explore(address: str, document: dict[str, Any], make_headers: MakeHeaders) -> int:
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
                prepared.headers.update(make_headers())
                response = session.send(prepared, timeout=ANSWER_S_MAX, allow_redirects=False)
                case.validate_response(response, checks=CHECKS)

            ask()
    return calls
