"""SNAP's signatures, hashes and times as pure values."""

import base64
import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from connectors.bank import snap

VECTORS = json.loads((Path(__file__).parent / "data" / "snap_signatures.json").read_bytes())

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["id"])
def test_a_vector_comes_out_as_it_says(vector: dict[str, Any]) -> None:
    verdict = snap.judge_vector(vector)
    assert (verdict.id, verdict.verifies) == (vector["id"], vector["verifies"])
    assert verdict.reason


@pytest.mark.parametrize("kind", ["service_symmetric", "service_asymmetric", "token_asymmetric"])
def test_a_vector_that_lacks_a_field_does_not_verify(kind: str) -> None:
    whole = next(vector for vector in VECTORS if vector["kind"] == kind and vector["verifies"])
    for name in whole.keys() - {"id", "note", "kind", "verifies"}:
        verdict = snap.judge_vector({key: value for key, value in whole.items() if key != name})
        assert not verdict.verifies
        assert name in verdict.reason


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"kind": "service_unheard_of"}, "kind"),
        ({"signature": "!!"}, "base64"),
        ({"signature": VECTORS[6]["signature"] + "\n"}, "base64"),
        ({"signature": VECTORS[6]["signature"].rstrip("=")}, "base64"),
        ({"public_key_pem": "-----BEGIN NOTHING-----"}, "RSA"),
        ({"public_key_pem": 7}, "not a text"),
        ({"method": "PUT"}, "not one that the key makes"),
        ({"path": "/v1.0/transfer-va/payment?a=1"}, "not one that the key makes"),
        ({"timestamp": "2026-04-01T10:00:01+07:00"}, "not one that the key makes"),
        ({"body": "\ud800"}, "UTF-8"),
    ],
)
def test_a_changed_vector_does_not_verify(change: dict[str, Any], why: str) -> None:
    plain = next(vector for vector in VECTORS if vector["id"] == "asymmetric-plain")
    verdict = snap.judge_vector({**plain, **change})
    assert not verdict.verifies
    assert why in verdict.reason


def test_a_key_that_is_not_rsa_is_no_key() -> None:
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    pem = other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert snap.read_public_key(pem) is None
    assert isinstance(snap.read_public_key(VECTORS[6]["public_key_pem"]), rsa.RSAPublicKey)


@given(json_values, st.sampled_from([None, 1, 3, "\t", " \n"]))
def test_minifying_equals_writing_without_white_space(value: Any, indent: int | str | None) -> None:
    for ascii_only in (True, False):
        pretty = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
        lean = json.dumps(value, separators=(",", ":"), ensure_ascii=ascii_only)
        encoded = pretty.encode("utf-8", "surrogatepass")
        assert snap.minify(encoded) == lean.encode("utf-8", "surrogatepass")


@given(st.binary())
def test_minifying_any_bytes_only_removes_white_space_and_is_done_once(body: bytes) -> None:
    lean = snap.minify(body)
    blank = b" \t\r\n"
    assert bytes(byte for byte in lean if byte not in blank) == bytes(byte for byte in body if byte not in blank)
    assert snap.minify(lean) == lean


@pytest.mark.parametrize(
    ("body", "lean"),
    [
        (b'{ "a" : 1.0 }', b'{"a":1.0}'),
        (rb'{ "u" : "https:\/\/x.id" }', rb'{"u":"https:\/\/x.id"}'),
        (rb'[ "Ren\u00e9  S" ]', rb'["Ren\u00e9  S"]'),
        (rb'[ "a \" b", "c \\" , 1 ]', rb'["a \" b","c \\",1]'),
        (b"\xef\xbb\xbf{ }", b"\xef\xbb\xbf{}"),
        (b'[ "never closed ]  ', b'["never closed ]  '),
        (b"", b""),
        (b" \r\n\t", b""),
    ],
)
def test_values_escapes_and_strings_stay_as_written(body: bytes, lean: bytes) -> None:
    assert snap.minify(body) == lean


def test_the_hash_is_hexadecimal_unless_the_profile_deviates() -> None:
    digest = hashlib.sha256(b'{"a":1}').digest()
    assert snap.body_hash(b'{ "a": 1 }') == digest.hex()
    assert snap.body_hash(b'{ "a": 1 }', snap.HashForm(base64=True)) == base64.b64encode(digest).decode()
    assert snap.body_hash(b"") == hashlib.sha256(b"").hexdigest()
    assert snap.body_hash(b" ", snap.HashForm(empty_for_empty_body=True)) == ""


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("2026-04-01T10:00:00+07:00", datetime(2026, 4, 1, 3, tzinfo=UTC)),
        ("2026-04-01T10:00:00.250+07:00", datetime(2026, 4, 1, 3, 0, 0, 250_000, tzinfo=UTC)),
        ("2026-04-01T03:00:00Z", datetime(2026, 4, 1, 3, tzinfo=UTC)),
        ("20201231T235959Z", datetime(2020, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("20201231T235959+0700", datetime(2020, 12, 31, 16, 59, 59, tzinfo=UTC)),
        ("2026-04-01T10:00:00", None),
        ("2026-04-01 10:00:00+07:00", None),
        ("2026-0401T10:00:00Z", None),
        ("2026-02-30T10:00:00Z", None),
        ("2026-04-01T24:00:00Z", None),
        ("2026-04-01T10:00:00+07:60", None),
        ("2026-04-01T10:00:00+99:00", None),
        ("0001-01-01T00:00:00+07:00", None),
        ("\u0662026-04-01T10:00:00Z", None),
        ("", None),
    ],
)
def test_times(written: str, moment: datetime | None) -> None:
    assert snap.read_time(written) == moment


def test_the_day_is_jakartas() -> None:
    assert snap.jakarta_day(datetime(2026, 4, 1, 16, 59, 59, tzinfo=UTC)) == "2026-04-01"
    assert snap.jakarta_day(datetime(2026, 4, 1, 17, 0, 0, tzinfo=UTC)) == "2026-04-02"
