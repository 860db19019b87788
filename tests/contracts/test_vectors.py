"""The vectors: all come out as they say, they cover the codes, and the generator makes the same file."""

import ast
import json
from collections import Counter
from pathlib import Path

import pytest

from contracts.errors import Code
from contracts.vectors.run import judge, judge_records, read_vectors
from tests.contracts import make_vectors

FOLDER = Path(__file__).parents[2] / "contracts" / "vectors"
SIGNATURE = read_vectors((FOLDER / "signature.json").read_bytes())
EXCHANGE = read_vectors((FOLDER / "exchange.json").read_bytes())
# What needs a database or a fold to come about; the hub's own tests have it.
ONLY_IN_THE_HUB = {Code.BILL_CONFLICT, Code.FACTS_LIMIT, Code.DEFERRAL_LIMIT, Code.POISON}


@pytest.mark.parametrize("vector", SIGNATURE, ids=lambda vector: vector["name"])
def test_signature_vectors_come_out_as_they_say(vector: dict[str, str]) -> None:
    assert judge(vector).verdict == vector["expect"]


@pytest.mark.parametrize("vector", EXCHANGE, ids=lambda vector: ascii(vector["name"]))
def test_exchange_vectors_come_out_as_they_say(vector: dict[str, object]) -> None:
    judgement = judge(vector)
    assert (judgement.verdict, judgement.code) == (vector["expect"], vector["code"])
    if "records" in vector:
        said = [(record["expect"], record["code"], record["disposition"]) for record in vector["records"]]  # type: ignore[attr-defined]
        assert [(found.verdict, found.code, found.disposition) for found in judge_records(vector)] == said


def test_there_are_enough_and_each_has_a_name_of_its_own() -> None:
    assert len(SIGNATURE) == 96
    assert len(SIGNATURE) + len(EXCHANGE) >= 220
    names = Counter(vector["name"] for vector in EXCHANGE)
    assert [name for name, count in names.items() if count > 1] == []


def test_every_code_has_a_vector() -> None:
    covered = {vector["code"] for vector in EXCHANGE}
    assert {str(code) for code in set(Code) - ONLY_IN_THE_HUB} <= covered


def test_every_code_that_the_wire_can_raise_has_a_vector() -> None:
    contracts = FOLDER.parent
    raised = set()
    for source in (*(contracts / "wire").glob("*.py"), contracts / "admission.py", contracts / "registry.py"):
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Code":
                raised.add(Code[node.attr].value)
    assert raised <= {vector["code"] for vector in EXCHANGE}


def test_the_generator_makes_the_same_file() -> None:
    assert make_vectors.text() == make_vectors.VECTORS.read_text(encoding="ascii")


def test_another_file_is_not_taken_for_vectors() -> None:
    for text in (b"{}", b'{"format":"tkahub-vectors/2"}', b"1"):
        with pytest.raises(ValueError, match="vectors"):
            read_vectors(text)
    vector = dict(SIGNATURE[0]) | {"value": "e30="}
    with pytest.raises(ValueError, match="base64url"):
        judge(vector)


def test_a_key_or_value_that_is_none_is_refused() -> None:
    assert judge(dict(SIGNATURE[0]) | {"value": None}).code == Code.RECORD_TOMBSTONE
    small = {"kty": "OKP", "crv": "Ed25519", "x": "AQ" + "A" * 41}
    assert judge(dict(SIGNATURE[0]) | {"jwk": small}).code == Code.REGISTRY_KEY_INVALID


def test_vectors_survive_a_round_trip_through_json() -> None:
    assert [judge(json.loads(json.dumps(vector))) for vector in SIGNATURE[:3]] == [judge(v) for v in SIGNATURE[:3]]
