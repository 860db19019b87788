"""The tally: each outcome by value, then DOMAIN's rule read by brute force, in every order."""

from collections import Counter
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.fields import hundredths
from contracts.rules.case import BOOKED, RECEIVED, Bill, Fact, fold
from contracts.rules.payments import tally
from tests.contracts.samples import CODE, fact

RECEIVED_NAME, BOOKED_NAME, REVERSED_NAME = "payment.received", "payment.booked", "payment.reversed"


def bill(**members: Any) -> Bill:
    """A bill of 1200.00 USD that expires 7 days after START."""
    issued = fact("billing.issued", 1, **members)
    return fold([issued]).bills[CODE]


def paid(identity: str, name: str = RECEIVED_NAME, hours: float = 10, bank: str = "bri", **members: Any) -> Fact:
    """A report of 1200.00 USD without references."""
    return fact(name, hours, bank, identity, **({"ntpn": None, "bank_reference": None} | members))


def outcomes_of(facts: list[Fact], against: Bill | None, late_settles: bool = True) -> dict[str, str]:
    """The outcome of each report by id, the same in every order and with repeats."""
    results = [
        tally(against, [*order, order[0]], late_settles)
        for order in (permutations(facts) if len(facts) < 5 else (facts, facts[::-1]))
    ]
    assert all(result == results[0] for result in results)
    return {identity: outcome for (_, identity), outcome in results[0].outcomes.items()}


def test_matched() -> None:
    counted = tally(bill(), [paid("a")])
    assert (counted.outcomes, counted.settled, counted.complete) == (
        {("https://bri.example/tka", "a"): "matched"},
        120000,
        True,
    )


def test_partial_then_matched_then_excess() -> None:
    parts = [
        paid("a", amount="700.00", hours=3),
        paid("b", amount="500.00", hours=4),
        paid("c", amount="0.01", hours=5),
    ]
    assert outcomes_of(parts, bill()) == {"a": "partial", "b": "matched", "c": "excess"}
    assert [report.id for report in tally(bill(), parts).settling] == ["a", "b"]


def test_too_much_at_once_is_excess_and_settles() -> None:
    counted = tally(bill(), [paid("a", amount="1300.00")])
    assert list(counted.outcomes.values()) == ["excess"]
    assert counted.complete


def test_wrong_currency_never_settles() -> None:
    counted = tally(bill(), [paid("a", currency="IDR", amount="19500000.00")])
    assert (list(counted.outcomes.values()), counted.settled) == (["wrong_currency"], 0)


def test_late_settles_if_the_rule_set_says_so() -> None:
    late = [paid("a", hours=24 * 8)]
    assert outcomes_of(late, bill()) == outcomes_of(late, bill(), False) == {"a": "late"}
    assert tally(bill(), late).complete
    assert tally(bill(), late, False).settled == 0


def test_late_money_that_is_too_much_is_excess() -> None:
    both = [paid("a"), paid("b", hours=24 * 8)]
    assert outcomes_of(both, bill()) == {"a": "matched", "b": "excess"}
    assert outcomes_of(both, bill(), False) == {"a": "matched", "b": "late"}


def test_money_of_an_unknown_or_cancelled_bill_is_unmatched() -> None:
    assert outcomes_of([paid("a")], None) == {"a": "unmatched"}
    cancelled = fold([fact("billing.issued", 1), fact("billing.cancelled", 2)]).bills[CODE]
    assert outcomes_of([paid("a"), paid("b", BOOKED_NAME)], cancelled) == {"a": "unmatched", "b": "duplicate"}


def test_the_same_money_by_both_channels_counts_once() -> None:
    reports = [paid("n"), paid("b", BOOKED_NAME, hours=30)]
    assert outcomes_of(reports, bill()) == {"n": "matched", "b": "duplicate"}
    assert outcomes_of([paid("n", hours=30), paid("b", BOOKED_NAME, hours=10)], bill()) == {
        "n": "matched",
        "b": "duplicate",
    }


def test_one_bill_paid_at_both_banks() -> None:
    reports = [paid("a", hours=3), paid("b", hours=4, bank="mandiri"), paid("c", BOOKED_NAME, hours=5, bank="mandiri")]
    assert outcomes_of(reports, bill()) == {"a": "matched", "b": "excess", "c": "duplicate"}


def test_two_payments_in_one_channel_are_two() -> None:
    shared = {"ntpn": "0A1B2C3D4E5F6G7H", "bank_reference": "REF 1"}
    assert outcomes_of([paid("a", hours=3, **shared), paid("b", hours=4, **shared)], bill()) == {
        "a": "matched",
        "b": "excess",
    }


def test_pairs_follow_ntpn_then_reference() -> None:
    reports = [
        paid("n1", hours=3, ntpn="AAAAAAAAAAAAAAAA"), paid("n2", hours=4, bank_reference="R2"),
        paid("b1", BOOKED_NAME, hours=30, bank_reference="R2"),
        paid("b2", BOOKED_NAME, hours=31, ntpn="aaaaaaaaaaaaaaaa"),
    ]  # fmt: skip
    counted = outcomes_of([*reports, paid("r", REVERSED_NAME, hours=3.5)], bill())
    assert counted == {"n1": "reversed", "b2": "reversed", "n2": "matched", "b1": "duplicate", "r": "reversed"}


def test_other_amounts_are_other_money() -> None:
    reports = [
        paid("n", amount="700.00", ntpn="A" * 16),
        paid("b", BOOKED_NAME, hours=11, amount="500.00", ntpn="A" * 16),
    ]
    assert outcomes_of(reports, bill()) == {"n": "partial", "b": "matched"}


def test_a_reversal_takes_one_payment_away() -> None:
    assert outcomes_of([paid("a"), paid("r", REVERSED_NAME, hours=20)], bill()) == {"a": "reversed", "r": "reversed"}
    again = [paid("a", hours=3), paid("r", REVERSED_NAME, hours=20), paid("b", hours=30)]
    assert outcomes_of(again, bill()) == {"a": "reversed", "r": "reversed", "b": "matched"}
    assert [report.id for report in tally(bill(), again).taken_back] == ["r"]


def test_a_reversal_of_nothing_is_a_difference() -> None:
    reports = [
        paid("a"),
        paid("r", REVERSED_NAME, hours=20, amount="1100.00"),
        paid("s", REVERSED_NAME, bank="mandiri"),
    ]
    assert outcomes_of(reports, bill()) == {"a": "matched", "r": "unmatched", "s": "unmatched"}


def test_a_reversal_dated_before_its_payment_finds_it() -> None:
    assert outcomes_of([paid("a", hours=20), paid("r", REVERSED_NAME, hours=3)], bill()) == {
        "a": "reversed",
        "r": "reversed",
    }


REPORTS = st.lists(
    st.builds(
        lambda number, name, bank, amount, currency, hours, ntpn, reference: paid(
            f"p{number}", name, hours, bank, amount=amount, currency=currency, ntpn=ntpn, bank_reference=reference
        ),
        st.integers(0, 30),
        st.sampled_from([RECEIVED_NAME, RECEIVED_NAME, BOOKED_NAME, BOOKED_NAME, REVERSED_NAME]),
        st.sampled_from(["bri", "mandiri"]),
        st.sampled_from(["1200.00", "600.00", "100.00"]),
        st.sampled_from(["USD", "USD", "USD", "IDR"]),
        st.integers(2, 24 * 9),
        st.sampled_from([None, "A" * 16, "B" * 16]),
        st.sampled_from([None, "REF 1", "REF 2"]),
    ),
    max_size=12,
    unique_by=lambda report: (report.source, report.id),
)


def money_by_the_rule(reports: list[Fact]) -> Counter[tuple[str, str]]:
    """DOMAIN, word for word: per bank, amount and currency the larger of notified and booked, less the reversals."""
    notified: Counter[tuple[str, str, str]] = Counter()
    booked: Counter[tuple[str, str, str]] = Counter()
    taken: Counter[tuple[str, str, str]] = Counter()
    for report in reports:
        group = (report.participant, report.data["amount"], report.data["currency"])
        {RECEIVED: notified, BOOKED: booked}.get(report.type, taken)[group] += 1
    left: Counter[tuple[str, str]] = Counter()
    for (_, amount, currency), count in ((notified | booked) - taken).items():
        left[amount, currency] += count
    return left


@given(REPORTS, st.randoms(use_true_random=False), st.booleans())
def test_the_tally_is_the_rule_in_every_order(reports: list[Fact], random: Any, late_settles: bool) -> None:
    against = bill()
    counted = tally(against, reports, late_settles)
    shuffled = [*reports, *random.sample(reports, len(reports) // 2)]
    random.shuffle(shuffled)
    assert tally(against, shuffled, late_settles) == counted

    by_id = {(report.source, report.id): report for report in reports}
    assert set(counted.outcomes) == set(by_id)
    standing = Counter(
        (by_id[key].data["amount"], by_id[key].data["currency"])
        for key, outcome in counted.outcomes.items()
        if outcome not in {"duplicate", "reversed"} and by_id[key].type in {RECEIVED, BOOKED}
    )
    assert standing == money_by_the_rule(reports)
    if late_settles:
        assert counted.settled == sum(
            hundredths(amount) * count for (amount, currency), count in standing.items() if currency == "USD"
        )
    assert counted.complete == (counted.settled >= against.amount)
    _check_reversals(counted.outcomes, by_id)


def _check_reversals(outcomes: Any, by_id: dict[tuple[str, str], Fact]) -> None:
    """A reversal that found money is one that took it; without a bill the same money stands."""
    finding = [
        key for key, outcome in outcomes.items() if outcome == "reversed" and by_id[key].type not in {RECEIVED, BOOKED}
    ]
    reversed_reports = [key for key, outcome in outcomes.items() if outcome == "reversed" and key not in finding]
    assert len(finding) <= len(reversed_reports) <= 2 * len(finding)
    unbilled = tally(None, by_id.values()).outcomes
    for key, outcome in outcomes.items():
        if outcome in {"duplicate", "reversed"} or key in finding:
            assert unbilled[key] == outcome
        else:
            assert unbilled[key] == "unmatched"


@pytest.mark.parametrize("amount", ["0.01", "0.10", "0.30", "9999999999999999.99"])
def test_sums_are_exact(amount: str) -> None:
    against = bill(amount=amount, usd_amount=amount)
    third = hundredths(amount) // 3
    parts = [third, third, hundredths(amount) - 2 * third]
    reports = [
        paid(f"p{number}", hours=number + 2, amount=f"{part // 100}.{part % 100:02d}")
        for number, part in enumerate(parts)
        if part
    ]
    counted = tally(against, reports)
    assert counted.settled == against.amount
    assert counted.outcomes[reports[-1].source, reports[-1].id] == "matched"


def test_the_clock_of_a_bill_is_the_payment_s_own_time() -> None:
    against = bill()
    at_the_end = paid("a", hours=0)
    moved = at_the_end._replace(time=against.expires_at)
    assert tally(against, [moved]).outcomes[moved.source, moved.id] == "matched"
    after = at_the_end._replace(time=against.expires_at + timedelta(microseconds=1))
    assert tally(against, [after]).outcomes[after.source, after.id] == "late"
