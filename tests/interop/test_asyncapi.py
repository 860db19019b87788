"""The AsyncAPI project's own parser reads the document of the exchange, as its hub serves it."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.faults.exchange import Exchange
from tests.interop.jose import run_program

BROKEN: list[dict[str, Any]] = [{"asyncapi": "9.0.0"}, {"operations": {"x": {"action": "shout"}}}, {"channels": []}]


@pytest.fixture
def document(exchange: Exchange) -> dict[str, Any]:
    """Give the document that the running hub serves."""
    served: dict[str, Any] = httpx.get(f"{exchange.rig.url('hub-api')}/api/v1/asyncapi.json").raise_for_status().json()
    return served


@pytest.mark.needs("node")
def test_it_is_a_document_of_version_3(document: dict[str, Any], node_programs: Path) -> None:
    program = ["node", str(node_programs / "asyncapi.js")]
    assert run_program(program, document) == []
    assert all(run_program(program, document | broken) for broken in BROKEN)
