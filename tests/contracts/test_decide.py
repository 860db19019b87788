"""The decision: each gate of both rule sets by value, and that it depends on the set of facts alone."""

from collections.abc import Iterable
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.events import read_event
from contracts.rules import reasons
from contracts.rules.case import Fact, fold
from contracts.rules.decide import Decision, decide, foundation_lost, recommendation_data
from contracts.rules.rulebook import Rulebook
from tests.contracts.samples import BRI, CODE, MINISTRY, NUMBER, PERSON, RULE_SETS, RULEBOOK, START, fact
from tests.contracts.test_case import OTHER_CODE, facts

NOW = START + timedelta(days=5)
SUBMITTED = fact("permit.submitted", 0, identity="s")
OLD = fact("permit.submitted", 0, identity="s", application_date="2013-05-02")
APPROVED = fact("permit.approved", 48, identity="a")
BILLED = fact("billing.issued", 1, identity="b")
PAID = fact("payment.received", 24, "bri", "p")
SECOND_BILL = fact("billing.issued", 24 * 8, identity="b2", billing_code=OTHER_CODE, expires_at="2026-03-20T00:00:00Z")


def decided(*facts: Fact, rulebook: Rulebook = RULEBOOK) -> Decision:
    """The decision on these facts, the same in both directions."""
    decision = decide(fold(facts), rulebook, NOW)
    assert decide(fold(reversed(facts)), rulebook, NOW) == decision
    return decision


def roles_of(decision: Decision) -> list[tuple[str, str]]:
    """The basis by role and id."""
    assert decision.recommendation is not None
    return [(basis.role, basis.id) for basis in decision.recommendation.basis]


def test_2021_needs_the_approval_and_the_money() -> None:
    assert decided(SUBMITTED, BILLED, PAID).blocked_by == (reasons.PERMIT_NOT_APPROVED,)
    assert decided(SUBMITTED, BILLED, APPROVED).blocked_by == (reasons.PAYMENT_MISSING,)
    assert decided(SUBMITTED, PAID, APPROVED).blocked_by == (reasons.BILL_MISSING,)
    decision = decided(SUBMITTED, BILLED, PAID, APPROVED)
    assert decision.blocked_by == decision.work_permit_blocked_by == ()
    assert decision.rule_set is RULE_SETS["2021-2"]
    assert decision.outcomes == {(BRI, "p"): "matched"}
    assert decision.bills == {CODE: "paid"}
    assert roles_of(decision) == [("submission", "s"), ("approval", "a"), ("bill", "b"), ("payment", "p")]


def test_2012_needs_the_approval_alone() -> None:
    decision = decided(OLD, APPROVED, BILLED)
    assert decision.rule_set is RULE_SETS["2012-2"]
    assert decision.blocked_by == ()
    assert decision.work_permit_blocked_by == (reasons.PAYMENT_MISSING,)
    assert roles_of(decision) == [("submission", "s"), ("approval", "a")]
    paid = decided(OLD, APPROVED, BILLED, PAID)
    assert paid.work_permit_blocked_by == ()
    assert paid.recommendation == decision.recommendation
    assert decided(OLD, BILLED, PAID).blocked_by == (reasons.PERMIT_NOT_APPROVED,)


def test_without_the_application_there_is_no_rule_set() -> None:
    decision = decided(BILLED, PAID, APPROVED)
    assert (decision.rule_set, decision.recommendation) == (None, None)
    assert decision.blocked_by == decision.work_permit_blocked_by == (reasons.APPLICATION_UNKNOWN,)
    assert decision.outcomes == {(BRI, "p"): "matched"}
    ancient = fact("permit.submitted", 0, application_date="2009-01-01")
    assert decided(ancient, APPROVED).blocked_by == (reasons.RULE_SET_MISSING,)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("permit.revoked", reasons.PERMIT_REVOKED),
        ("permit.rejected", reasons.PERMIT_REJECTED),
        ("permit.expired", reasons.PERMIT_EXPIRED),
    ],
)
@pytest.mark.parametrize("submitted", [SUBMITTED, OLD])
def test_a_permit_that_ended_carries_nothing(name: str, reason: str, submitted: Fact) -> None:
    ended = fact(name, 72)
    assert decided(submitted, BILLED, PAID, APPROVED, ended).blocked_by == (reason,)
    again = fact("permit.approved", 96, identity="again")
    decision = decided(submitted, BILLED, PAID, APPROVED, ended, again)
    assert decision.recommendation is not None
    assert decision.recommendation.granted == (MINISTRY, "again")


def test_a_payment_taken_back_and_paid_again() -> None:
    taken = fact("payment.reversed", 60, "bri", "r")
    standing = decided(SUBMITTED, BILLED, PAID, APPROVED)
    reversed_ = decided(SUBMITTED, BILLED, PAID, APPROVED, taken)
    assert reversed_.blocked_by == (reasons.PAYMENT_REVERSED,)
    assert reversed_.outcomes == {(BRI, "p"): "reversed", (BRI, "r"): "reversed"}
    assert reversed_.bills == {CODE: "open"}
    again = decided(SUBMITTED, BILLED, PAID, APPROVED, taken, fact("payment.received", 80, "bri", "p2"))
    assert roles_of(again)[-1] == ("payment", "p2")
    assert standing.recommendation is not None
    basis = [(entry.source, entry.id) for entry in standing.recommendation.basis]
    assert foundation_lost(basis, standing) is None
    assert foundation_lost(basis, again) == reasons.PAYMENT_REVERSED


def test_a_second_report_of_the_money_changes_nothing() -> None:
    standing = decided(SUBMITTED, BILLED, PAID, APPROVED)
    both = decided(SUBMITTED, BILLED, PAID, APPROVED, fact("payment.booked", 60, "bri", "k"))
    assert both.recommendation == standing.recommendation
    assert both.outcomes == {(BRI, "p"): "matched", (BRI, "k"): "duplicate"}


def test_partial_and_wrong_and_late() -> None:
    part = fact("payment.received", 24, "bri", "p", amount="700.00")
    assert decided(SUBMITTED, BILLED, APPROVED, part).blocked_by == (reasons.PAYMENT_PARTIAL,)
    rest = fact("payment.received", 30, "mandiri", "p", amount="500.00")
    assert decided(SUBMITTED, BILLED, APPROVED, part, rest).blocked_by == ()
    foreign = fact("payment.received", 24, "bri", "p", currency="IDR", amount="19500000.00")
    assert decided(SUBMITTED, BILLED, APPROVED, foreign).blocked_by == (reasons.PAYMENT_MISSING,)
    late = fact("payment.received", 24 * 9, "bri", "p")
    decision = decided(SUBMITTED, BILLED, APPROVED, late, fact("billing.expired", 24 * 7 + 20))
    assert (decision.blocked_by, decision.outcomes, decision.bills) == ((), {(BRI, "p"): "late"}, {CODE: "paid"})


def test_an_exemption_of_the_rule_set_stands_for_the_money() -> None:
    decision = decided(SUBMITTED, APPROVED, fact("exemption.granted", 3, identity="e"))
    assert roles_of(decision) == [("submission", "s"), ("approval", "a"), ("exemption", "e")]
    unknown = fact("exemption.granted", 3, identity="e", class_="friends")
    assert decided(SUBMITTED, APPROVED, unknown).blocked_by == (reasons.EXEMPTION_UNKNOWN, reasons.BILL_MISSING)
    assert decided(SUBMITTED, APPROVED, unknown, BILLED, PAID).blocked_by == ()
    early = fact("permit.submitted", 0, application_date="2022-01-01")
    capital = fact("exemption.granted", 3, identity="e", class_="ikn")
    assert decided(early, APPROVED, capital).blocked_by == (reasons.EXEMPTION_UNKNOWN, reasons.BILL_MISSING)
    assert decided(SUBMITTED, APPROVED, capital).blocked_by == ()


def test_bills_that_are_gone() -> None:
    cancelled, expired = fact("billing.cancelled", 90), fact("billing.expired", 90)
    assert decided(SUBMITTED, BILLED, APPROVED, cancelled).blocked_by == (reasons.BILL_CANCELLED,)
    assert decided(SUBMITTED, BILLED, APPROVED, expired).blocked_by == (reasons.BILL_EXPIRED,)
    standing = decided(SUBMITTED, BILLED, PAID, APPROVED)
    decision = decided(SUBMITTED, BILLED, PAID, APPROVED, cancelled)
    assert (decision.blocked_by, decision.outcomes) == ((reasons.BILL_CANCELLED,), {(BRI, "p"): "unmatched"})
    assert decision.bills == {CODE: "cancelled"}
    assert standing.recommendation is not None
    assert foundation_lost([(BRI, "p")], decision) == reasons.BILL_CANCELLED


def test_a_new_bill_replaces_one_that_ran_out() -> None:
    second = fact("payment.received", 24 * 8 + 1, "bri", "p2", billing_code=OTHER_CODE)
    decision = decided(SUBMITTED, BILLED, APPROVED, SECOND_BILL, second)
    assert roles_of(decision)[2:] == [("bill", "b2"), ("payment", "p2")]
    early = fact("billing.issued", 24, identity="b2", billing_code=OTHER_CODE)
    both_due = decided(SUBMITTED, BILLED, APPROVED, early, second)
    assert both_due.blocked_by == (reasons.PAYMENT_MISSING,)


def test_bills_must_reach_what_is_owed() -> None:
    small = fact("billing.issued", 1, identity="b", amount="1100.00", usd_amount="1100.00")
    part = fact("payment.received", 24, "bri", "p", amount="1100.00")
    assert decided(SUBMITTED, small, part, APPROVED).blocked_by == (reasons.BILL_BELOW_DUE,)
    rest = fact("billing.issued", 1, identity="b2", billing_code=OTHER_CODE, amount="100.00", usd_amount="100.00")
    paid = fact("payment.received", 24, "bri", "p2", billing_code=OTHER_CODE, amount="100.00")
    assert decided(SUBMITTED, small, part, APPROVED, rest, paid).blocked_by == ()


def test_a_bill_in_rupiah_counts_by_its_dollars() -> None:
    billed = fact(
        "billing.issued", 1, identity="b", currency="IDR", amount="19500000.00", fx_rate="16250.0", fx_date="2026-03-02"
    )
    paid = fact("payment.received", 24, "bri", "p", currency="IDR", amount="19500000.00")
    assert decided(SUBMITTED, billed, paid, APPROVED).blocked_by == ()


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"position": {"kbji": "1212", "title": "HR Manager"}}, (reasons.POST_PROHIBITED,)),
        ({"until": "2028-04-02"}, (reasons.DURATION_OVER_LIMIT,)),
        ({"until": "2028-04-01"}, ()),
        ({"until": "2028-04-02", "special_zone": "KEK-GALANG"}, ()),
        ({"until": "2031-04-02", "special_zone": "KEK-GALANG"}, (reasons.DURATION_OVER_LIMIT,)),
        ({"permit_kind": "temporary", "until": "2026-10-01"}, ()),
        ({"permit_kind": "temporary", "until": "2026-10-02"}, (reasons.DURATION_OVER_LIMIT,)),
        ({"position": {"kbji": "2423", "title": "HR"}, "until": "2030-01-01"},
         (reasons.POST_PROHIBITED, reasons.DURATION_OVER_LIMIT)),
    ],
)  # fmt: skip
def test_what_no_approval_can_allow(members: dict[str, Any], expected: tuple[str, ...]) -> None:
    approved = fact("permit.approved", 48, identity="a", **members)
    assert decided(SUBMITTED, fact("exemption.granted", 3), approved).blocked_by == expected


def test_an_amendment_gives_the_words() -> None:
    amended = fact("permit.amended", 72, identity="m", kanim="JKT-PUSAT")
    before, after = decided(SUBMITTED, BILLED, PAID, APPROVED), decided(SUBMITTED, BILLED, PAID, APPROVED, amended)
    assert before.recommendation is not None
    assert after.recommendation is not None
    assert after.recommendation.content["kanim"] == "JKT-PUSAT"
    assert after.recommendation.granted == (MINISTRY, "m")
    assert ("amendment", "m") in roles_of(after)
    assert before.recommendation.fingerprint != after.recommendation.fingerprint


def test_only_the_state_of_a_bill_depends_on_the_clock() -> None:
    state = fold([SUBMITTED, BILLED, APPROVED])
    early, late = decide(state, RULEBOOK, NOW), decide(state, RULEBOOK, NOW + timedelta(days=30))
    assert (early.bills, late.bills) == ({CODE: "open"}, {CODE: "expired"})
    assert (early.blocked_by, early.outcomes) == (late.blocked_by, late.outcomes)


def test_the_data_of_a_recommendation_keeps_its_contract() -> None:
    wanted = decided(SUBMITTED, BILLED, PAID, APPROVED).recommendation
    assert wanted is not None
    issued = recommendation_data(wanted, PERSON, NUMBER, 1, "issued")
    read_event("id.tka.hub.recommendation.issued.v1", issued)
    withdrawn = recommendation_data(wanted, PERSON, NUMBER, 1, "withdrawn", reasons.PERMIT_REVOKED)
    read_event("id.tka.hub.recommendation.withdrawn.v1", withdrawn)
    assert {name: value for name, value in withdrawn.items() if issued.get(name) != value} == {
        "state": "withdrawn", "reason": reasons.PERMIT_REVOKED,
    }  # fmt: skip


def test_every_order_of_a_whole_case() -> None:
    whole = [
        SUBMITTED,
        BILLED,
        PAID,
        APPROVED,
        fact("payment.booked", 50, "bri", "k"),
        fact("permit.amended", 72, identity="m"),
    ]
    decisions = [decide(fold(order), RULEBOOK, NOW) for order in permutations(whole)]
    assert all(decision == decisions[0] for decision in decisions)


@given(facts(), st.randoms(use_true_random=False), st.sampled_from([SUBMITTED, OLD]))
def test_a_decision_depends_on_the_set_alone(drawn: list[Fact], random: Any, submitted: Fact) -> None:
    whole = [*drawn, submitted, APPROVED]
    decision = decide(fold(whole), RULEBOOK, NOW)
    shuffled = whole + random.sample(whole, len(whole) // 2)
    random.shuffle(shuffled)
    again = decide(fold(shuffled), RULEBOOK, NOW)
    assert again == decision
    assert list(again.bills) == list(decision.bills)
    _check_sound(decision, shuffled)


def _check_sound(decision: Decision, facts: Iterable[Fact]) -> None:
    """Wanted exactly when nothing blocks; each reason has its text; the basis is of these facts and of live money."""
    assert (decision.recommendation is None) == bool(decision.blocked_by)
    assert set(decision.blocked_by) | set(decision.work_permit_blocked_by) <= set(reasons.REASONS)
    if decision.recommendation is None:
        return
    known = {(fact.source, fact.id): fact for fact in facts}
    for entry in decision.recommendation.basis:
        fact = known[entry.source, entry.id]
        assert (entry.type, entry.sha256, entry.log_index) == (fact.type, fact.sha256, fact.log_index)
        if entry.role == "payment":
            assert decision.outcomes[entry.source, entry.id] in {"matched", "partial", "late", "excess"}
