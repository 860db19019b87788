"""Admission: who is credited with what, and that one changed byte is never admitted."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.admission import Admitted, Deferred, Refused, admit, refuse_deferred
from contracts.errors import Code
from contracts.registry import Registry
from contracts.wire import base64url
from contracts.wire.key import PrivateKey
from contracts.wire.record import Record
from contracts.wire.signature import VerifiedRoots, headers_of
from tests.contracts import vector_world as world
from tests.contracts.vector_world import KEYS, ROOT

REGISTRY = Registry.read(world.signed(world.document()).encode(), ROOT.public)


def record_of(content: bytes, jws: str, proof: str | None = None, topic: str = "from.bri") -> Record:
    """Make the record that a sender would have published."""
    made = world.record(content, jws, proof)
    key = base64url.decode(made["key"].encode())
    return Record(topic, 0, 0, key, content, headers_of(jws, proof), made["append_time_ms"])


def _single(key: PrivateKey) -> Record:
    bank = "bri" if key.alg == "Ed25519" else "mandiri"
    content = world.value(1) if bank == "bri" else world.mandiri_value(1)
    return record_of(content, world.single(content, key), topic=f"from.{bank}")


def _batched(index: int, size: int) -> Record:
    values = [world.value(number) for number in range(1, size + 1)]
    jws = world.batch_jws(world.compact(world.statement(values)), KEYS["bri-1"])
    return record_of(values[index], jws, world.proof(index, world.path(values, index)))


GOOD = {
    "Ed25519": _single(KEYS["bri-1"]),
    "ES256": _single(KEYS["mandiri-1"]),
    "batch of 1": _batched(0, 1),
    "batch of 5": _batched(2, 5),
    "batch of 64": _batched(63, 64),
}


@pytest.mark.parametrize("name", GOOD)
def test_good_records_are_admitted(name: str) -> None:
    roots = VerifiedRoots()
    for _ in range(2):
        verdict = admit(GOOD[name], REGISTRY, roots)
        assert isinstance(verdict, Admitted)
        assert f"from.{verdict.participant}" == GOOD[name].topic
        assert verdict.event.model_dump()["billing_code"] == verdict.envelope.subject


PARTS = ("key", "value", "jws", "jws-proof", "content-type", "topic", "header name")


def _flip(raw: bytes, place: int, change: int) -> bytes:
    place %= len(raw)
    return raw[:place] + bytes([raw[place] ^ change]) + raw[place + 1 :]


def _changed(record: Record, part: str, place: int, change: int) -> Record | None:
    """Change one byte of one part; None if this record has no such byte or the change is no text."""
    if part == "key" and record.key:
        return record._replace(key=_flip(record.key, place, change))
    if part == "value" and record.value:
        return record._replace(value=_flip(record.value, place, change))
    if part == "topic":
        return record._replace(topic=_flip(record.topic.encode(), place, change & 0x7F or 1).decode())
    headers: list[tuple[str, Any]] = list(record.headers)
    if part == "header name":
        at = place % len(headers)
        name, raw = headers[at]
        headers[at] = (_flip(name.encode(), place, change & 0x7F or 1).decode(), raw)
        return record._replace(headers=tuple(headers))
    for at, (name, raw) in enumerate(headers):
        if name == part:
            headers[at] = (name, _flip(raw, place, change))
            return record._replace(headers=tuple(headers))
    return None


@given(st.sampled_from(sorted(GOOD)), st.sampled_from(PARTS), st.integers(0, 5000), st.integers(1, 255))
@settings(max_examples=800)
def test_one_changed_byte_is_never_admitted(name: str, part: str, place: int, change: int) -> None:
    changed = _changed(GOOD[name], part, place, change)
    if changed is None:
        return
    fresh, warm = VerifiedRoots(), VerifiedRoots()
    assert isinstance(admit(GOOD[name], REGISTRY, warm), Admitted)
    for roots in (fresh, warm):
        assert not isinstance(admit(changed, REGISTRY, roots), Admitted)


@given(st.sampled_from(sorted(GOOD)), st.integers(0, 5000))
def test_a_truncated_value_is_never_admitted(name: str, length: int) -> None:
    value = GOOD[name].value or b""
    changed = GOOD[name]._replace(value=value[: length % len(value)])
    assert not isinstance(admit(changed, REGISTRY, VerifiedRoots()), Admitted)


def test_a_stranger_is_credited_with_nothing() -> None:
    content = world.value(1)
    forged = world.seal(world.protected(KEYS["bri-1"]), content, KEYS["stranger"])
    refused = admit(record_of(content, forged), REGISTRY, VerifiedRoots())
    assert isinstance(refused, Refused)
    assert (refused.code, refused.participant, refused.envelope) == (Code.SIGNATURE_INVALID, None, None)
    deferred = admit(record_of(content, world.single(content, KEYS["stranger"])), REGISTRY, VerifiedRoots())
    assert isinstance(deferred, Deferred)
    assert (deferred.code, deferred.participant) == (Code.KEY_UNKNOWN, None)
    late = refuse_deferred(deferred)
    assert (late.code, late.participant, late.record) == (Code.KEY_UNKNOWN, None, deferred.record)


def test_who_signed_is_told_with_as_much_as_could_be_read() -> None:
    for content, code, readable in (
        (world.value(1, audience="demo/from.mandiri"), Code.AUDIENCE_WRONG, True),
        (world.value(1, id="e 1"), Code.ATTRIBUTE_INVALID, False),
        (world.value(1, {}), Code.DATA_INVALID, True),
    ):
        refused = admit(record_of(content, world.single(content, KEYS["bri-1"])), REGISTRY, VerifiedRoots())
        assert isinstance(refused, Refused)
        assert (refused.code, refused.participant, refused.envelope is not None) == (code, "bri", readable)


def test_a_signer_of_an_unknown_contract_is_named() -> None:
    content = world.value(1, type="id.tka.bank.payment.received.v2")
    deferred = admit(record_of(content, world.single(content, KEYS["bri-1"])), REGISTRY, VerifiedRoots())
    assert isinstance(deferred, Deferred)
    assert (deferred.code, deferred.participant) == (Code.CONTRACT_UNKNOWN, "bri")


def test_the_detail_names_the_member_and_not_its_content() -> None:
    content = world.value(1, world.payment(1, currency="secret"))
    refused = admit(record_of(content, world.single(content, KEYS["bri-1"])), REGISTRY, VerifiedRoots())
    assert isinstance(refused, Refused)
    assert "currency" in refused.detail
    assert "secret" not in refused.detail


@given(st.lists(st.tuples(st.text(max_size=12), st.binary(max_size=30)), max_size=6), st.binary(max_size=40))
def test_garbage_gets_a_verdict_and_no_exception(headers: list[tuple[str, bytes]], value: bytes) -> None:
    record = Record("from.bri", 0, 0, None, value, tuple(headers), 0)
    assert isinstance(admit(record, REGISTRY, VerifiedRoots()), Refused)


@given(st.binary(max_size=60), st.none() | st.binary(max_size=30))
def test_garbage_in_the_signature_gets_a_verdict(jws: bytes, proof: bytes | None) -> None:
    good = GOOD["Ed25519"]
    headers: list[tuple[str, bytes | None]] = [good.headers[0], ("jws", jws), ("jws-proof", proof)]
    record = good._replace(headers=tuple(headers))
    assert isinstance(admit(record, REGISTRY, VerifiedRoots()), Refused)


def test_a_gateway_without_a_bank_code_speaks_for_banks_that_are_no_participants() -> None:
    document = world.document()
    world.party(document, "bri")["bank_code"] = None
    registry = Registry.read(world.signed(document).encode(), ROOT.public)
    for code, refused in (("014", None), ("002", None), ("008", Code.BANK_NOT_OWNED)):
        content = world.value(1, world.payment(1, bank_code=code))
        verdict = admit(record_of(content, world.single(content, KEYS["bri-1"])), registry, VerifiedRoots())
        assert (verdict.code if isinstance(verdict, Refused) else None) == refused
