"""A program of 60 lines in another language, written only from SPEC.md, judges batch signatures as we do."""

import json
from pathlib import Path
from typing import Any

import pytest

from contracts.wire import base64url
from contracts.wire.signature import TYP_BATCH
from tests.interop.jose import run_program
from tests.interop.toolchains import FOLDER

PROGRAM = FOLDER / "node" / "batch.js"
LINES_MAX = 60
VECTORS = Path(__file__).parents[2] / "contracts" / "vectors" / "signature.json"


def batches() -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return every vector signed as a batch, with the program's question."""
    found = []
    for vector in json.loads(VECTORS.read_text()):
        headers = dict(reversed(vector["headers"]))
        protected = base64url.decode(str(headers.get("jws")).split(".")[0].encode()) or b""
        if f'"{TYP_BATCH}"'.encode() in protected:
            question = {"jwk": vector["jwk"], "value": vector["value"], "jws": headers["jws"]}
            found.append((vector, question | {"proof": headers.get("jws-proof")}))
    return found


def test_the_program_is_short() -> None:
    assert len(PROGRAM.read_text().splitlines()) <= LINES_MAX


@pytest.mark.needs("node")
def test_it_judges_every_batch_as_the_vectors_do() -> None:
    asked = batches()
    judged = run_program(["node", str(PROGRAM)], [question for _, question in asked])
    expected = {vector["name"]: vector["expect"] == "accept" for vector, _ in asked}
    assert dict(zip(expected, judged, strict=True)) == expected
    assert {True, False} <= set(judged)
