"""SPEC.md: its examples are byte-exact and its table of codes is the one in force."""

import json
import re
from pathlib import Path

import pytest

from contracts import merkle
from contracts.errors import EXPLANATIONS
from contracts.log import entry
from contracts.registry import Limits, Registry
from contracts.wire import base64url
from contracts.wire.envelope import OPTIONAL, REQUIRED, VALUE_BYTES_MAX, read_envelope
from contracts.wire.key import PublicKey
from contracts.wire.signature import (
    BATCH_SIZE_MAX,
    HEADERS_MAX,
    JWS_BYTES_MAX,
    TLOG_PROOF_BYTES_MAX,
    VerifiedRoots,
    headers_of,
    verify_signature,
)
from tests.contracts import vector_world as world
from tests.contracts.root_world import write_registry
from tests.contracts.vector_world import NOW, ROOT

SPEC = (Path(__file__).parents[2] / "contracts" / "SPEC.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(?:json)?\n(.*?)```", SPEC, flags=re.DOTALL)


def block(start: str) -> str:
    """Find the one code block that begins so."""
    [found] = [text for text in BLOCKS if text.startswith(start)]
    return str(found).rstrip("\n")


def the_key() -> PublicKey:
    """Read the key that signed the examples."""
    return PublicKey.from_jwk(json.loads(block('{"kty":"OKP"')))


def test_the_single_example_verifies_from_the_text_alone() -> None:
    value = block('{"specversion":"1.0"').encode()
    jws = next(text.strip() for text in BLOCKS if text.count(".") == 2 and ".." in text and text.startswith("eyJ"))
    key = the_key()
    signature = verify_signature(value, headers_of(jws, None), {key.kid: key}.get, VerifiedRoots())
    assert base64url.decode(jws.split(".")[0].encode()) == block('{"alg":"Ed25519"').encode()
    assert f"kid `{signature.kid}`" in SPEC
    assert f"{len(value)} bytes, on one line" in SPEC
    pretty = next(text for text in BLOCKS if text.startswith('{\n  "specversion"'))
    assert json.loads(pretty) == json.loads(value)


def test_the_batch_example_verifies_from_the_text_alone() -> None:
    first = block('{"specversion":"1.0"')
    values = [first]
    for number, nonce in (("2", "6InTC4VCHozIMNFfO1AIwQ"), ("3", "gBElE20ypih85CsmMPBtUw")):
        assert nonce in SPEC
        members = "id|subject|sequence|correlationid|billing_code|payment_request_id|ntpn|bank_reference"
        other = re.sub(rf'("(?:{members})":"[^"]*)1"', rf'\g<1>{number}"', first).replace(
            "ZU4sh9eCDL6xtbVQ9DFmVA", nonce
        )
        values.append(other)
    proofs = block("0.1X6v").splitlines()
    jws = next(text.strip() for text in BLOCKS if text.startswith("eyJ") and ".eyJ2ZHMi" in text)
    key = the_key()
    for value, proof in zip(values, proofs, strict=True):
        signature = verify_signature(value.encode(), headers_of(jws, proof), {key.kid: key}.get, VerifiedRoots())
        assert signature.statement is not None
    assert base64url.decode(jws.split(".")[1].encode()) == block('{"vds"').encode()
    leaves = [merkle.leaf_hash(value.encode()) for value in values]
    for digest in (*leaves, merkle.node_hash(leaves[0], leaves[1]), merkle.root(leaves)):
        assert digest.hex() in block("leaf 0")


def test_the_registry_example_is_one() -> None:
    text = next(text for text in BLOCKS if text.startswith('{\n  "format": "tkahub-registry/1"'))
    document = json.loads(text.replace("<64 hex digits>", "0" * 64))
    registry = Registry.read(write_registry(document, ROOT), ROOT.public)
    assert registry.message_key(the_key().kid) is not None
    assert set(document["limits"]) == set(Limits.model_fields)


def test_the_log_entry_example_is_one() -> None:
    envelope = read_envelope(block('{"specversion":"1.0"').encode())
    written = entry.accepted(
        source=envelope.source, id=envelope.id, type=envelope.type, digest=envelope.digest, kid=the_key().kid,
        sig="<last part of jws>", received_at=NOW.replace(second=1),
    )  # fmt: skip
    assert written.decode() == block('{"id":"e-1"')


def test_every_refusal_code_is_in_the_table() -> None:
    table = SPEC.split("## 10.")[1].split("## 11.")[0]
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (yes|no) \| (.*?) \| (.*?) \|$", table, flags=re.MULTILINE)
    assert rows == [
        (str(code), told.fault, "yes" if told.deferrable else "no", told.meaning_en, told.remedy_en)
        for code, told in EXPLANATIONS.items()
    ]


def test_every_attribute_is_in_the_table() -> None:
    table = SPEC.split("### 3.2")[1].split("### 3.3")[0]
    named = re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE)
    assert sorted(named) == sorted(REQUIRED + OPTIONAL)


@pytest.mark.parametrize(
    "stated",
    [
        f"at most {VALUE_BYTES_MAX:,} bytes",
        f"at most {JWS_BYTES_MAX:,} bytes",
        f"at most {TLOG_PROOF_BYTES_MAX:,} bytes",
        f"at most {HEADERS_MAX} headers",
        f"1 to {BATCH_SIZE_MAX}: how many messages",
        f"at most {entry.ENTRY_BYTES_MAX:,} bytes",
        world.CONTENT_TYPE,
    ],
)
def test_the_limits_are_stated(stated: str) -> None:
    assert stated in SPEC
