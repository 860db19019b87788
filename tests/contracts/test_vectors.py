"""The vectors: all come out as they say, they cover the codes, and the generator makes the same file."""

import ast
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import Code
from contracts.vectors.run import VECTOR_MALFORMED, judge, judge_each, judge_records, read_vectors
from contracts.wire import base64url
from tests.contracts import make_vectors
from tests.contracts import vector_world as world

FOLDER = Path(__file__).parents[2] / "contracts" / "vectors"
SIGNATURE = read_vectors((FOLDER / "signature.json").read_bytes())
EXCHANGE = read_vectors((FOLDER / "exchange.json").read_bytes())
JUDGED = ("admission.py", "registry.py", "root.py", "persons.py")
# What needs a database or a fold to come about; the hub's own tests have it.
ONLY_IN_THE_HUB = {
    *(Code.BILL_CONFLICT, Code.FACTS_LIMIT, Code.DEFERRAL_LIMIT, Code.POISON),
    *(Code.KEY_SUSPENDED, Code.PERSON_MAY_NOT, Code.SUSPENSION_NEEDLESS, Code.PROPOSAL_OUTDATED),
}


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
    for source in (*(contracts / "wire").glob("*.py"), *map(contracts.joinpath, JUDGED)):
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Code":
                raised.add(Code[node.attr].value)
    assert raised - ONLY_IN_THE_HUB <= {vector["code"] for vector in EXCHANGE}


def test_the_generator_makes_the_same_file() -> None:
    assert make_vectors.text() == make_vectors.VECTORS.read_text(encoding="ascii")


def test_another_file_is_not_taken_for_vectors() -> None:
    deep = b"[" * 100_000 + b"]" * 100_000
    for text in (b"{}", b'{"format":"tkahub-vectors/2"}', b'{"format":"tkahub-vectors/1"}', b"1", deep):
        with pytest.raises(ValueError, match="vector"):
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


GOOD: dict[str, Any] = dict(SIGNATURE[0])
SEALED = GOOD["headers"]


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ([SEALED[0], ["jws", 1]], Code.HEADER_INVALID),
        ([SEALED[0], ["jws", SEALED[1][1] + "\ud800"]], Code.HEADER_INVALID),
        ([*SEALED, ["x-trace", "\udc80"]], Code.HEADER_INVALID),
        ([*SEALED, ["x-\ud800", ""]], Code.HEADER_INVALID),
        ([*SEALED, [1, ""]], Code.HEADER_INVALID),
        ([*SEALED, ["x-trace", ["a"]]], Code.HEADER_INVALID),
        ([SEALED[0], ["jws", None]], Code.HEADER_MISSING),
        ([*SEALED, ["x-trace", None]], None),
        ([*SEALED, ["a", "b", "c"]], VECTOR_MALFORMED),
        (None, VECTOR_MALFORMED),
        ("jws", VECTOR_MALFORMED),
    ],
)
def test_headers_that_are_no_text_refuse_their_vector_alone(headers: object, code: str | None) -> None:
    first, second = judge_each([GOOD | {"headers": headers}, GOOD])
    assert (first.name, first.code) == (GOOD["name"], code)
    assert second.verdict == "accept"


@pytest.mark.parametrize(
    ("vector", "name", "code"),
    [
        (None, "vector 1", VECTOR_MALFORMED),
        ([], "vector 1", VECTOR_MALFORMED),
        ({"name": "bare"}, "bare", VECTOR_MALFORMED),
        ({key: GOOD[key] for key in GOOD if key != "name"}, "vector 1", VECTOR_MALFORMED),
        (GOOD | {"name": 5}, "vector 1", VECTOR_MALFORMED),
        (GOOD | {"value": 5}, GOOD["name"], VECTOR_MALFORMED),
        (GOOD | {"value": "\ud800"}, GOOD["name"], VECTOR_MALFORMED),
        (GOOD | {"jwk": None}, GOOD["name"], VECTOR_MALFORMED),
        (GOOD | {"jwk": {**GOOD["jwk"], "x": "\ud800" * 43}}, GOOD["name"], Code.REGISTRY_KEY_INVALID),
        (GOOD | {"jwk": {**GOOD["jwk"], "kty": ["OKP"]}}, GOOD["name"], Code.REGISTRY_KEY_INVALID),
        (GOOD | {"records": []}, GOOD["name"], VECTOR_MALFORMED),
        (GOOD | {"records": [1]}, GOOD["name"], VECTOR_MALFORMED),
        (GOOD | {"documents": ["\ud800"]}, GOOD["name"], VECTOR_MALFORMED),
    ],
)
def test_what_is_no_vector_is_refused_and_the_next_is_judged(vector: Any, name: str, code: str) -> None:
    first, second = judge_each([vector, GOOD])
    assert (first.name, first.verdict, first.code) == (name, "refuse", code)
    assert second.verdict == "accept"


@pytest.mark.parametrize(
    ("member", "code"),
    [
        ("", None),
        (',"sequence":"00000000000000000003"', None),
        (',"source":"https://bri.example/tka","audience":"demo/from.bri"', None),
        (',"source":null', Code.BATCH_STATEMENT_INVALID),
        (',"source":["https://bri.example/tka"]', Code.BATCH_STATEMENT_INVALID),
        (',"source":"https://mandiri.example/tka"', Code.BATCH_STATEMENT_INVALID),
        (',"audience":null', Code.BATCH_STATEMENT_INVALID),
        (',"audience":""', Code.BATCH_STATEMENT_INVALID),
        (',"sequence":null', Code.BATCH_STATEMENT_INVALID),
        (',"sequence":3', Code.BATCH_STATEMENT_INVALID),
        (',"sequence":"3"', Code.BATCH_STATEMENT_INVALID),
        (',"sequence":"0000000000000000000\u0663"', Code.BATCH_STATEMENT_INVALID),
        (',"sequence":"00000000000000000002"', Code.BATCH_STATEMENT_INVALID),
        (',"sequence":"00000000000000000004"', Code.BATCH_STATEMENT_INVALID),
    ],
)
def test_a_batch_statement_is_compared_with_what_the_value_has(member: str, code: str | None) -> None:
    content = f'{{"id":"e-1"{member}}}'.encode()
    said = world.statement([content], first="00000000000000000003", last="00000000000000000003")
    jws = world.batch_jws(world.compact(said), world.KEYS["bri-1"])
    headers = [SEALED[0], ["jws", jws], ["jws-proof", "0."]]
    jwk, value = world.KEYS["bri-1"].public.jwk, base64url.encode(content)
    judged = judge({"name": "batch", "jwk": jwk, "value": value, "headers": headers})
    assert judged.code == code
