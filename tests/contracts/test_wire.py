"""The wire: one spelling for bytes and times, JSON that all read alike, keys, envelopes, signatures."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import EXPLANATIONS, Code, Refusal
from contracts.wire import base64url
from contracts.wire.envelope import read_envelope, write_envelope
from contracts.wire.instant import instant_of_ms, read_instant, write_instant
from contracts.wire.key import PrivateKey, PublicKey, thumbprint
from contracts.wire.signature import (
    BATCH_SIZE_MAX,
    NO_PREVIOUS_ROOT,
    TYP_BATCH,
    VerifiedRoots,
    headers_of,
    root_of,
    sign_batch,
    sign_single,
    verify_signature,
)
from contracts.wire.strict_json import holds_nul, read_object
from tests.contracts import vector_world as world
from tests.contracts.vector_world import KEYS, NOW

BRI, MANDIRI = KEYS["bri-1"], KEYS["mandiri-1"]
FIND = {key.kid: key.public for key in (BRI, MANDIRI)}.get


def code_of(refusing: object, *arguments: object) -> Code:
    """Call something that must refuse and give its code."""
    assert callable(refusing)
    with pytest.raises(Refusal) as caught:
        refusing(*arguments)
    return caught.value.code


def test_every_code_is_explained_in_both_languages() -> None:
    assert set(EXPLANATIONS) == set(Code)
    for explanation in EXPLANATIONS.values():
        assert explanation.meaning_en
        assert explanation.meaning_id
        assert explanation.remedy_en
        assert explanation.remedy_id
    deferrable = {code for code, explanation in EXPLANATIONS.items() if explanation.deferrable}
    assert deferrable == {Code.KEY_UNKNOWN, Code.KEY_SUSPENDED, Code.PARTICIPANT_UNKNOWN, Code.CONTRACT_UNKNOWN}


@given(st.binary(max_size=100))
def test_base64url_has_one_spelling(raw: bytes) -> None:
    text = base64url.encode(raw).encode()
    assert base64url.decode(text) == raw
    for other in (text + b"=", text + b"\n", b" " + text, text.replace(b"-", b"+"), text.replace(b"_", b"/")):
        assert other == text or base64url.decode(other) is None


@given(st.binary(max_size=8))
def test_base64url_reads_nothing_else(text: bytes) -> None:
    raw = base64url.decode(text)
    assert raw is None or base64url.encode(raw).encode() == text


@given(st.datetimes(min_value=datetime(2000, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001  # The zone is added.
def test_instants_survive_writing(moment: datetime) -> None:
    assert read_instant(write_instant(moment)) == moment


def test_instants_have_one_zone() -> None:
    jakarta = datetime(2026, 11, 24, 10, tzinfo=timezone(timedelta(hours=7)))
    assert write_instant(jakarta) == "2026-11-24T03:00:00Z"
    assert instant_of_ms(1795489200123) == datetime(2026, 11, 24, 3, 0, 0, 123000, UTC)
    with pytest.raises(ValueError, match="zone"):
        write_instant(datetime(2026, 11, 24))  # noqa: DTZ001
    with pytest.raises(ValueError, match="calendar"):
        write_instant(datetime.min.replace(tzinfo=timezone(timedelta(hours=7))))


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(-1e15, 1e15) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), JSON_VALUES, max_size=6), st.booleans())
def test_strict_json_reads_what_json_reads(document: dict[str, object], escaped: bool) -> None:
    text = json.dumps(document, ensure_ascii=escaped)
    try:
        value = text.encode()
    except UnicodeEncodeError:
        value = json.dumps(document).encode()
        assert code_of(read_object, value) == Code.JSON_INVALID
        return
    if any("\ud800" <= character <= "\udfff" for character in str(json.loads(text))):
        return
    assert read_object(value) == json.loads(text)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.integers(0, 5), st.booleans())
def test_a_key_twice_is_seen_at_any_depth_and_however_spelled(key: str, depth: int, escaped: bool) -> None:
    plain = json.dumps(key, ensure_ascii=False)
    units = key.encode("utf-16-be")
    other = '"' + "".join(f"\\u{units[at]:02x}{units[at + 1]:02X}" for at in range(0, len(units), 2)) + '"'
    text = f'{{"x":{"[" * depth}{{{plain}:1,"y":2,{other if escaped else plain}:1}}{"]" * depth}}}'
    assert code_of(read_object, text.encode()) == Code.JSON_DUPLICATE_KEY


@given(st.binary(max_size=60))
def test_strict_json_only_ever_refuses(value: bytes) -> None:
    try:
        document: object = read_object(value)
    except Refusal:
        document = None
    assert document is None or json.loads(value) == document


def test_nul_is_found_at_any_depth() -> None:
    assert holds_nul({"a": [{"b": "x\0"}]})
    assert holds_nul({"a": {"\0": 1}})
    assert not holds_nul({"a": ["\\u0000", 0, None]})
    backslash = world.value(1, correlationid="\\u0000 spelled out")
    assert read_envelope(backslash).correlationid == "\\u0000 spelled out"


def test_the_detail_of_a_refusal_never_quotes_the_value() -> None:
    with pytest.raises(Refusal) as caught:
        read_object(b'{"Siti Rahayu":1,"Siti Rahayu":2}')
    assert "Siti" not in str(caught.value)


def test_write_envelope_fills_in_what_never_varies() -> None:
    attributes = world.attributes(1)
    for name in ("specversion", "datacontenttype", "dataschema"):
        del attributes[name]
    attributes |= {"time": NOW, "sequence": 7, "causationid": None}
    envelope = read_envelope(write_envelope(attributes, {"name": "é"}))
    assert (envelope.time, envelope.sequence, envelope.causationid) == (NOW, 7, None)
    assert envelope.data == {"name": "é"}


def test_thumbprint_is_that_of_rfc_8037() -> None:
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    assert thumbprint(jwk) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    assert PublicKey.from_jwk(jwk | {"kid": thumbprint(jwk), "alg": "Ed25519", "use": "sig"}).jwk == jwk


@pytest.mark.parametrize("alg", ["Ed25519", "ES256"])
def test_keys_survive_writing_and_sign_alike_twice(alg: str) -> None:
    key = PrivateKey.generate(alg)
    again = PrivateKey.from_pem(key.to_pem())
    assert (again.kid, again.alg) == (key.kid, alg)
    assert again.sign(b"x") == key.sign(b"x")
    assert key.public.verify(key.sign(b"x"), b"x")
    assert not key.public.verify(key.sign(b"x"), b"y")
    assert code_of(PrivateKey.from_pem, b"-----BEGIN PRIVATE KEY-----\n") == Code.REGISTRY_KEY_INVALID


@pytest.mark.parametrize("size", range(1, BATCH_SIZE_MAX + 1))
def test_each_of_a_batch_verifies_and_no_other_does(size: int) -> None:
    values = [world.value(number) for number in range(1, size + 1)]
    jws, proofs = sign_batch(
        values, BRI, iss=world.BRI, aud="demo/from.bri", first=1, last=size, prev=NO_PREVIOUS_ROOT, iat=NOW
    )
    roots = VerifiedRoots()
    for index, (content, proof) in enumerate(zip(values, proofs, strict=True)):
        signature = verify_signature(content, headers_of(jws, proof), FIND, roots)
        assert (signature.typ, signature.proof, signature.jws) == (TYP_BATCH, proof, jws)
        assert signature.sig == jws.split(".")[2]
        neighbour = proofs[(index + 1) % size]
        if size > 1:
            code = code_of(verify_signature, content, headers_of(jws, neighbour), FIND, roots)
            assert code == Code.BATCH_PROOF_INVALID
    assert len(roots) == 1
    assert signature.statement is not None
    assert root_of(jws) == signature.statement.root


def test_a_batch_that_nobody_would_accept_is_not_signed() -> None:
    values = [world.value(number) for number in range(1, BATCH_SIZE_MAX + 2)]
    for taken, last, prev in (
        (0, 1, NO_PREVIOUS_ROOT),
        (65, 65, NO_PREVIOUS_ROOT),
        (3, 2, NO_PREVIOUS_ROOT),
        (1, 1, b""),
    ):
        with pytest.raises(ValueError, match="refused"):
            sign_batch(values[:taken], BRI, iss=world.BRI, aud="a", first=1, last=last, prev=prev, iat=NOW)


def test_the_memory_of_roots_is_bounded_and_drops_a_key() -> None:
    roots = VerifiedRoots(roots_max=3)
    for number in range(1, 6):
        for key in (BRI, MANDIRI):
            content = world.value(number)
            jws = world.batch_jws(world.compact(world.statement([content])), key)
            verify_signature(content, headers_of(jws, "0."), FIND, roots)
    assert len(roots) == 3
    roots.drop(MANDIRI.kid)
    assert len(roots) == 1
    roots.drop(BRI.kid)
    assert len(roots) == 0


def test_only_a_signature_that_verified_is_remembered() -> None:
    content = world.value(1)
    said = world.compact(world.statement([content]))
    forged = world.batch_jws(said, KEYS["stranger"], world.protected(BRI, TYP_BATCH))
    roots = VerifiedRoots()
    for _ in range(2):
        code = code_of(verify_signature, content, headers_of(forged, "0."), FIND, roots)
        assert code == Code.SIGNATURE_INVALID
    assert len(roots) == 0


def test_a_remembered_root_is_refused_once_its_key_is_unknown() -> None:
    content = world.value(1)
    headers = headers_of(world.batch_jws(world.compact(world.statement([content])), BRI), "0.")
    roots = VerifiedRoots()
    verify_signature(content, headers, FIND, roots)
    assert code_of(verify_signature, content, headers, {}.get, roots) == Code.KEY_UNKNOWN


def test_a_signature_is_the_same_each_time() -> None:
    content = world.value(1)
    for key in (BRI, MANDIRI):
        assert sign_single(content, key) == sign_single(content, key) == world.single(content, key)
