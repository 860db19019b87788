"""The models: what they take, what they refuse, and what they give away."""

import json
from copy import deepcopy
from typing import Any

import pytest

from contracts.errors import Code, Refusal
from contracts.events import EVENTS, dataschema_of, read_event
from tests.contracts.samples import APPLICATION, BLOCK, CODE, PERSON, SAMPLES, full_type

CANARY = "CANARY-7141"


def changed(event_type: str, **members: Any) -> dict[str, Any]:
    """The sample with other members."""
    return deepcopy(SAMPLES[event_type]) | {name.removesuffix("_"): value for name, value in members.items()}


def refused(event_type: str, data: dict[str, Any]) -> Refusal:
    """The refusal of this data."""
    with pytest.raises(Refusal) as caught:
        read_event(event_type, data)
    return caught.value


def test_every_event_has_a_sample() -> None:
    assert not set(EVENTS) ^ set(SAMPLES)
    assert all(event_type == EVENTS[event_type].TYPE for event_type in EVENTS)


@pytest.mark.parametrize("event_type", SAMPLES)
def test_a_sample_is_read_and_written_back(event_type: str) -> None:
    event = read_event(event_type, SAMPLES[event_type])
    written = event.model_dump(by_alias=True)
    assert {name: value for name, value in written.items() if value is not None} == {
        name: value for name, value in SAMPLES[event_type].items() if value is not None
    }


@pytest.mark.parametrize("event_type", SAMPLES)
def test_no_member_may_be_added(event_type: str) -> None:
    refusal = refused(event_type, changed(event_type) | {CANARY: 1})
    assert (refusal.code, refusal.detail) == (Code.DATA_INVALID, "data: extra_forbidden")


@pytest.mark.parametrize(
    ("event_type", "member"),
    [(event_type, name) for event_type in SAMPLES for name in EVENTS[event_type].model_json_schema()["required"]],
)
def test_no_member_may_be_missing(event_type: str, member: str) -> None:
    data = changed(event_type)
    del data[member]
    refusal = refused(event_type, data)
    assert (refusal.code, refusal.detail) == (Code.DATA_INVALID, f"{member}: missing")


@pytest.mark.parametrize("event_type", SAMPLES)
def test_no_value_stands_in_a_refusal(event_type: str) -> None:
    for member in SAMPLES[event_type]:
        data = changed(event_type)
        data[member] = {CANARY: [CANARY]}
        refusal = refused(event_type, data)
        assert CANARY not in f"{refusal} {refusal.detail}"
        assert refusal.__cause__ is None
        assert refusal.__suppress_context__


@pytest.mark.parametrize(
    "event_type", [name for name in SAMPLES if ".ministry." in name and "application" in SAMPLES[name]]
)
def test_the_statistical_members_are_never_missing(event_type: str) -> None:
    if "billing" not in event_type:
        assert set(BLOCK) <= set(EVENTS[event_type].model_json_schema()["required"])


@pytest.mark.parametrize(
    ("name", "members"),
    [
        ("permit.approved", {"regency": "3271"}),
        ("permit.approved", {"places": []}),
        ("permit.approved", {"places": [{"province": "31", "regency": "3271"}]}),
        ("permit.approved", {"until": "2026-04-01"}),
        ("permit.approved", {"nationality": "KOR"}),
        ("permit.approved", {"person": PERSON | {"passport": "L898902C37"}}),
        ("permit.approved", {"person": PERSON | {"birth_date": "1981-02-29"}}),
        ("permit.submitted", {"documents": []}),
        ("permit.submitted", {"permit_kind": "visitor"}),
        ("billing.issued", {"amount": "1200"}),
        ("billing.issued", {"amount": 1200.0}),
        ("billing.issued", {"amount": "1100.00"}),
        ("billing.issued", {"fx_rate": "1.0"}),
        ("billing.issued", {"fx_rate": "1.0", "fx_date": "2026-03-01"}),
        ("billing.issued", {"currency": "IDR", "amount": "19500000.00"}),
        ("billing.issued", {"currency": "IDR", "amount": "19500001.01", "fx_rate": "16250.0", "fx_date": "2026-03-01"}),
        ("payment.received", {"currency": "XYZ"}),
        ("payment.received", {"billing_code": None}),
        ("payment.booked", {"entry": True}),
        ("payment.booked", {"entry": 1.0}),
        ("payment.outcome", {"outcome": "lost"}),
        ("recommendation.issued", {"state": "withdrawn"}),
        ("recommendation.withdrawn", {"state": "issued"}),
    ],
)
def test_refused(name: str, members: dict[str, Any]) -> None:
    event_type = full_type(name)
    assert refused(event_type, changed(event_type, **members)).code is Code.DATA_INVALID


def test_a_bill_in_rupiah_keeps_its_rate() -> None:
    members = {"currency": "IDR", "amount": "19500000.00", "fx_rate": "16250.0", "fx_date": "2026-03-01"}
    read_event(full_type("billing.issued"), changed(full_type("billing.issued"), **members))


def test_an_unknown_type_is_another_matter() -> None:
    assert refused("id.tka.ministry.permit.approved.v2", {}).code is Code.CONTRACT_UNKNOWN


def test_the_subject_is_what_the_data_demands() -> None:
    approved, received = full_type("permit.approved"), full_type("payment.received")
    read_event(approved, SAMPLES[approved], APPLICATION)
    read_event(received, SAMPLES[received], CODE)
    read_event(full_type("payment.booked"), changed(full_type("payment.booked"), billing_code=None), "X-0A")
    explained = "id.tka.bank.difference.explained.v1"
    read_event(explained, SAMPLES[explained], CODE)
    for event_type, subject in ((approved, CODE), (received, APPLICATION), (explained, "X-0A")):
        with pytest.raises(Refusal) as caught:
            read_event(event_type, SAMPLES[event_type], subject)
        assert caught.value.code is Code.DATA_INVALID


@pytest.mark.parametrize("subject", [CODE, "X-", "X-0A.B", "X-" + "0" * 41, "Y-0A"])
def test_a_payment_without_a_code_cannot_pass_for_one_with_a_code(subject: str) -> None:
    uncoded = changed(full_type("payment.booked"), billing_code=None)
    with pytest.raises(Refusal):
        read_event(full_type("payment.booked"), uncoded, subject)


@pytest.mark.parametrize("event_type", SAMPLES)
def test_a_fact_holds_no_personal_data(event_type: str) -> None:
    if ".hub." in event_type:
        return
    event = read_event(event_type, SAMPLES[event_type])
    kept = json.dumps(event.decision_facts())
    for value in (PERSON["name"], PERSON["passport"], PERSON["birth_date"], "Sudah diperiksa.", "Nama berbeda?", "V-1"):
        assert value not in kept
    assert "person" not in event.decision_facts()


def test_only_a_decision_gives_personal_data() -> None:
    giving = {event_type for event_type in SAMPLES if read_event(event_type, SAMPLES[event_type]).personal()}
    assert giving == {full_type("permit.approved"), full_type("permit.amended")}
    assert read_event(full_type("permit.approved"), SAMPLES[full_type("permit.approved")]).personal() == PERSON


def test_an_event_is_frozen() -> None:
    event = read_event(full_type("payment.received"), SAMPLES[full_type("payment.received")])
    with pytest.raises(ValueError, match="frozen"):
        event.amount = "1.00"  # type: ignore[attr-defined]


def test_dataschema() -> None:
    assert dataschema_of("a.v1") == "https://contracts.tkahub.example/a.v1.json"
