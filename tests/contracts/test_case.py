"""The fold: what each set of facts says, whatever the order, the repeats and the batches it came in."""

import json
from itertools import pairwise, permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.events import EVENTS
from contracts.rules.case import Fact, Keys, fold, keys_of
from tests.contracts.samples import APPLICATION, CODE, SAMPLES, fact, full_type

OTHER_CODE = "820260302000025"


def test_keys() -> None:
    approved, received, booked = (full_type(name) for name in ("permit.approved", "payment.received", "payment.booked"))
    assert keys_of(approved, APPLICATION, SAMPLES[approved]) == Keys(APPLICATION, None)
    assert keys_of(received, CODE, SAMPLES[received]) == Keys(None, CODE)
    assert keys_of(booked, "X-0A", SAMPLES[booked] | {"billing_code": None}) == Keys(None, "X-0A")
    for name in ("billing.issued", "billing.expired", "billing.cancelled"):
        assert keys_of(full_type(name), APPLICATION, SAMPLES[full_type(name)]) == Keys(APPLICATION, CODE)
    visa, explained = full_type("visa.approved"), "id.tka.bank.difference.explained.v1"
    assert keys_of(visa, APPLICATION, SAMPLES[visa]) == Keys(APPLICATION, None)
    assert keys_of(explained, CODE, SAMPLES[explained]) == Keys(None, CODE)


@pytest.mark.parametrize("event_type", [name for name in EVENTS if ".hub." not in name])
def test_a_stored_fact_is_the_same_fact(event_type: str) -> None:
    sender = event_type.split(".")[2]
    kept = fact(event_type.split(".", 3)[3].removesuffix(".v1"), 1.5, sender)
    assert Fact.from_json(json.loads(json.dumps(kept.to_json()))) == kept


def decided(*names: str) -> tuple[str | None, str | None, str | None]:
    """The names of the approval in force, of the words that count and of the end; one decision an hour."""
    facts = [fact(name, hours, identity=f"{name}-{hours}") for hours, name in enumerate(names)]
    states = [fold(order) for order in permutations(facts)]
    assert all(state == states[0] for state in states)
    state = states[0]
    return tuple(None if found is None else found.id for found in (state.approved, state.granted, state.ended))  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["permit.approved"], ("permit.approved-0", "permit.approved-0", None)),
        (["permit.approved", "permit.amended"], ("permit.approved-0", "permit.amended-1", None)),
        (["permit.approved", "permit.amended", "permit.amended"], ("permit.approved-0", "permit.amended-2", None)),
        (["permit.amended"], (None, None, None)),
        (["permit.amended", "permit.approved"], ("permit.approved-1", "permit.approved-1", None)),
        (["permit.approved", "permit.revoked"], ("permit.approved-0", "permit.approved-0", "permit.revoked-1")),
        (["permit.approved", "permit.revoked", "permit.amended"],
         ("permit.approved-0", "permit.approved-0", "permit.revoked-1")),
        (["permit.approved", "permit.revoked", "permit.approved"], ("permit.approved-2", "permit.approved-2", None)),
        (["permit.rejected"], (None, None, "permit.rejected-0")),
        (["permit.rejected", "permit.approved"], ("permit.approved-1", "permit.approved-1", None)),
        (["permit.approved", "permit.expired"], ("permit.approved-0", "permit.approved-0", "permit.expired-1")),
    ],
)  # fmt: skip
def test_the_latest_decision_counts(names: list[str], expected: tuple[str | None, ...]) -> None:
    assert decided(*names) == expected


def test_at_the_same_moment_the_id_decides() -> None:
    pair = [fact("permit.approved", 1, identity="a", kanim="X"), fact("permit.approved", 1, identity="b", kanim="Y")]
    for order in (pair, pair[::-1]):
        state = fold(order)
        assert state.granted is not None
        assert state.granted.data["kanim"] == "Y"


def test_bills() -> None:
    state = fold([
        fact("billing.issued", 1), fact("billing.issued", 2, amount="1300.00", usd_amount="1300.00"),
        fact("billing.issued", 3, billing_code=OTHER_CODE), fact("billing.expired", 1),
        fact("billing.cancelled", 1, billing_code=OTHER_CODE), fact("billing.cancelled", 9, billing_code="8" * 15),
    ])  # fmt: skip
    assert {code: (bill.amount, bill.expired, bill.cancelled) for code, bill in state.bills.items()} == {
        CODE: (130000, True, False),
        OTHER_CODE: (120000, False, True),
    }


def test_payments_alone_are_a_bare_case() -> None:
    state = fold([fact("payment.received", 2, "bri"), fact("payment.booked", 1, "bri", billing_code=None)])
    assert (state.application, state.submitted, state.bills) == (None, None, {})
    assert {code: len(paid) for code, paid in state.payments.items()} == {CODE: 1, None: 1}


NAMES = [
    "permit.submitted", "permit.deficiency_notified", "permit.resubmitted", "permit.completed", "permit.approved",
    "permit.amended", "permit.rejected", "permit.revoked", "permit.expired", "exemption.granted", "employment.ended",
    "billing.issued", "billing.expired", "billing.cancelled", "visa.approved",
]  # fmt: skip
PAYMENT_NAMES = ["payment.received", "payment.booked", "payment.reversed"]


@st.composite
def facts(draw: Any) -> list[Fact]:
    """Facts of one case, as senders could have published them in any order."""
    drawn = []
    for number in range(draw(st.integers(0, 14))):
        hours = draw(st.integers(0, 300))
        if draw(st.booleans()):
            members = {"amount": draw(st.sampled_from(["1200.00", "600.00"]))}
            bank = draw(st.sampled_from(["bri", "mandiri"]))
            name = draw(st.sampled_from(PAYMENT_NAMES))
            drawn.append(
                fact(name, hours, bank, f"f{number}", **members, billing_code=draw(st.sampled_from([CODE, OTHER_CODE])))
            )
        else:
            name = draw(st.sampled_from(NAMES))
            members = {"billing_code": draw(st.sampled_from([CODE, OTHER_CODE]))} if name.startswith("billing") else {}
            drawn.append(fact(name, hours, identity=f"f{number}", **members))
    return drawn


@given(facts(), st.randoms(use_true_random=False))
def test_order_and_repeats_do_not_matter(drawn: list[Fact], random: Any) -> None:
    shuffled = drawn + random.sample(drawn, len(drawn) // 2)
    random.shuffle(shuffled)
    assert fold(shuffled) == fold(drawn)
    assert list(fold(shuffled).payments) == list(fold(drawn).payments)


@given(facts(), st.lists(st.integers(0, 14), max_size=4))
def test_batches_do_not_matter(drawn: list[Fact], cuts: list[int]) -> None:
    """A case stores its facts between batches and folds all of them again."""
    stored = "[]"
    bounds = [0, *sorted(cuts), len(drawn)]
    for begin, end in pairwise(bounds):
        kept = [Fact.from_json(entry) for entry in json.loads(stored)] + drawn[begin:end]
        stored = json.dumps([entry.to_json() for entry in kept])
    assert fold(Fact.from_json(entry) for entry in json.loads(stored)) == fold(drawn)
