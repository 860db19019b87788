"""A trace is named by its message alone, and a header that says otherwise is not believed."""

import hashlib

import pytest

from contracts.wire.trace import Trace, name_trace, read_parent, read_traced, write_parent

TRACE = name_trace("e-1")
BILL = "id.tka.hub.bill.opened.v1"


def test_the_name_is_the_hash_of_the_id() -> None:
    digest = hashlib.sha256(b"tkahub-trace/1\ne-1").hexdigest()
    assert (f"{TRACE.number:032x}", f"{TRACE.first:016x}") == (digest[:32], digest[32:48])


def test_what_the_hub_says_belongs_to_what_it_follows_from() -> None:
    assert name_trace("h-9", BILL, "e-1") == TRACE
    assert name_trace("h-9", BILL, None) == name_trace("h-9")
    assert name_trace("e-1", "id.tka.ministry.query.answered.v1", "q-1") == TRACE


def test_a_parent_goes_and_comes() -> None:
    name, raw = write_parent(TRACE, 7)
    assert (name, raw[:3], raw[-20:]) == ("traceparent", b"00-", b"-0000000000000007-01")
    assert read_parent(((name, raw),), TRACE) == 7


@pytest.mark.parametrize(
    "raw",
    [
        write_parent(Trace(TRACE.number + 1, 1), 7)[1],
        write_parent(TRACE, 7)[1].replace(b"-01", b"-00"),
        write_parent(TRACE, 7)[1].replace(b"00-", b"ff-", 1),
        write_parent(TRACE, 7)[1] + b"-x",
        b"00-%032x-%016x-01" % (TRACE.number, 0),
        write_parent(TRACE, 7)[1].upper(),
        b"Siti Rahmawati",
        b"",
        None,
    ],
)
def test_another_header_is_not_looked_at(raw: bytes | None) -> None:
    assert read_parent((("traceparent", raw),), TRACE) == TRACE.first


@pytest.mark.parametrize(
    "value",
    [None, b"", b"\xff", b"[]", b"{}", b'{"id": 1, "type": "t", "recordedtime": "r"}',
     b'{"id": "e", "type": "t", "recordedtime": "r", "causationid": []}'],
)  # fmt: skip
def test_what_is_no_event_has_no_trace(value: bytes | None) -> None:
    assert read_traced(value) is None


def test_an_id_of_any_characters_has_a_name() -> None:
    assert name_trace("\ud800").number


def test_steps_have_names_of_their_own() -> None:
    assert TRACE.step("to.bri/0/1") not in (TRACE.first, TRACE.step("to.bri/0/2"), 0)
