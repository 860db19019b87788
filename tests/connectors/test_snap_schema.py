"""Schemathesis against the bank's HTTP door in a process of its own: valid and broken calls, signed and unsigned."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from contracts.wire.key import PrivateKey
from tests.connectors.snap_caller import Caller, bank_key, public_pem
from tests.connectors.snap_schema import DOCUMENT

ROOT = Path(__file__).parents[2]
EXAMPLES = 40
ANSWER_S_MAX = 30
CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance, status_code_conformance]

schema = schemathesis.openapi.from_dict(DOCUMENT)
external_ids = count(1)


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the address of a door that believes bank number 1."""
    folder = tmp_path_factory.mktemp("door")
    (folder / "key.pem").write_bytes(public_pem(bank_key(1)))
    (folder / "connector.pem").write_bytes(PrivateKey.generate("Ed25519").to_pem())
    agreed = {"partner_id": "BRI-TKA", "bank_code": "002", "public_key_pem_file": "key.pem"}
    (folder / "profile.json").write_text(json.dumps(agreed))
    command = [sys.executable, "-m", "tests.connectors.snap_process", str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.terminate()


def sign(prepared: requests.PreparedRequest) -> None:
    """Sign a call as the bank does, over a body without white space outside its strings, where it is JSON."""
    body, at, path = prepared.body or b"", datetime.now(UTC), prepared.path_url
    raw = body if isinstance(body, bytes) else str(body).encode()
    with contextlib.suppress(ValueError):
        raw = json.dumps(json.loads(raw), separators=(",", ":")).encode()
    prepared.prepare_body(raw, None)
    if path.startswith("/v1.0/access-token"):
        signed = Caller().token_headers(at)
    else:
        signed = Caller().headers(raw, at, str(next(external_ids)), path)
    prepared.headers.update({name: value for name, value in signed.items() if name != "Content-Type"})


@pytest.mark.parametrize("signed", [True, False], ids=["signed", "unsigned"])
@schema.parametrize()
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
def test_every_answer_is_one_that_the_document_names(case: Any, door: str, signed: bool) -> None:
    prepared = requests.Request(**case.as_transport_kwargs(base_url=door)).prepare()
    if signed:
        sign(prepared)
    with requests.Session() as session:
        response = session.send(prepared, timeout=ANSWER_S_MAX, allow_redirects=False)
    case.validate_response(response, checks=CHECKS)
