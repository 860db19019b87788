"""Differences: each kind by value, then the rule read by brute force, in every order; and the daily report."""

import json
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.fields import hundredths
from contracts.rules import clock
from contracts.rules.case import BOOKED, RECEIVED, TAKEN_BACK, Bill, Fact, fold, order_of
from contracts.rules.daily_report import Account, OpenDifference, Scope, span_of, write_report
from contracts.rules.payments import tally
from contracts.rules.reconciliation import Judged, explanations_of, judge, key_of
from tests.contracts.samples import CODE, START, fact

# START is Monday the 2nd of March 2026, 08:00 in Jakarta.
MONDAY, TUESDAY, WEDNESDAY = date(2026, 3, 2), date(2026, 3, 3), date(2026, 3, 4)
NAMES = {"n": "payment.received", "b": "payment.booked", "r": "payment.reversed"}


def paid(identity: str, hours: float = 1, bank: str = "bri", **members: Any) -> Fact:
    """A report of 1200.00 USD without references; the first letter of its id says what it reports."""
    return fact(NAMES[identity[0]], hours, bank, identity, **({"ntpn": None, "bank_reference": None} | members))


def bill(**members: Any) -> Bill:
    return fold([fact("billing.issued", 0, **members)]).bills[CODE]


def judged(reports: list[Fact], checked: date | None, against: Bill | None) -> Judged:
    return judge(CODE, reports, tally(against, reports), checked)


def kinds(reports: list[Fact], checked: date | None = MONDAY, *, billed: bool = True) -> dict[str, str]:
    """The kind of each difference by the id of the payment that shows it, the same in every order."""
    against = bill() if billed else None
    results = [judged(list(order), checked, against) for order in permutations(reports)]
    assert all(result == results[0] for result in results)
    return {one.payment.id: one.kind for one in results[0].differences}


def test_money_in_both_books_is_no_difference() -> None:
    assert kinds([paid("n"), paid("b", 20)]) == {}
    assert judged([paid("n"), paid("b", 20)], None, bill()).waiting == ()


def test_notified_and_not_booked_is_one_when_its_days_are_over() -> None:
    assert judged([paid("n")], None, bill()) == Judged((), (MONDAY,))
    assert kinds([paid("n")]) == {"n": "not_booked"}
    assert kinds([paid("n", 30)]) == {}
    assert judged([paid("n", 30)], MONDAY, bill()).waiting == (TUESDAY,)


def test_booked_and_never_notified_is_one_when_its_days_are_over() -> None:
    assert kinds([paid("b")], None) == {}
    assert kinds([paid("b")]) == {"b": "not_notified"}


@pytest.mark.parametrize("reference", ["ntpn", "bank_reference"])
def test_one_reference_with_two_amounts_is_one_difference(reference: str) -> None:
    named: dict[str, Any] = {reference: "A" * 16}
    both = [paid("n", **named), paid("b", 2, **(named | {"amount": "1100.00"}))]
    assert kinds(both) == {"n": "amount", "b": "excess"}
    assert kinds(both, None) == {"b": "excess"}


def test_one_reference_with_two_currencies_is_one_difference() -> None:
    both = [paid("n", ntpn="A" * 16), paid("b", 2, ntpn="a" * 16, currency="IDR")]
    assert kinds(both) == {"n": "currency", "b": "currency"}


def test_what_stays_short_of_its_bill_is_one_when_its_days_are_over() -> None:
    part = [paid("n", amount="700.00"), paid("b", 2, amount="700.00")]
    assert kinds(part, None) == {}
    assert kinds(part) == {"n": "amount"}
    assert kinds([*part, paid("n2", 3, amount="500.00"), paid("b2", 4, amount="500.00")]) == {}


def test_what_the_tally_calls_wrong_is_one_at_once() -> None:
    assert kinds([paid("n"), paid("n2", 2)], None) == {"n2": "excess"}
    assert kinds([paid("n", currency="IDR")], None) == {"n": "currency"}
    assert kinds([paid("n")], None, billed=False) == {"n": "unmatched"}
    assert kinds([paid("b", billing_code=None)], MONDAY, billed=False) == {"b": "unmatched"}
    assert kinds([paid("r")], None) == {"r": "reversal_of_nothing"}


def test_a_reversal_that_finds_its_money_sets_everything_right() -> None:
    assert kinds([paid("n"), paid("r", 5)]) == {}
    assert kinds([paid("n"), paid("b"), paid("n2", 2), paid("r", 5)]) == {}


def test_a_difference_keeps_its_id_when_another_report_shows_it() -> None:
    alone = judged([paid("b"), paid("b2", 2)], None, bill()).differences
    known = judged([paid("b"), paid("b2", 2), paid("n", 3), paid("n2", 4)], None, bill()).differences
    assert [one.id for one in alone] == [one.id for one in known]
    assert (alone[0].payment.id, known[0].payment.id) == ("b2", "n2")
    assert key_of(alone[0].id) == CODE


def test_only_the_bank_itself_and_the_ministry_explain() -> None:
    def explained(source: str, identity: str, participant: str, code: str) -> Fact:
        made = fact("difference.explained", 3, participant, identity, difference_id=f"{CODE}:0123456789abcdef")
        return made._replace(
            type=f"id.tka.{source}.difference.explained.v1", data={**made.data, "explanation_code": code}
        )

    given = [
        explained("bank", "e1", "mandiri", "E1"), explained("ministry", "e2", "ministry", "E2"),
        explained("bank", "e3", "bri", "E3"), explained("bank", "e4", "bri", "E3"),
    ]  # fmt: skip
    asked = f"{CODE}:0123456789abcdef"
    assert explanations_of(asked, "bri", given) == [("bri", "E3"), ("ministry", "E2")]
    assert explanations_of(asked, "bri", given[::-1]) == explanations_of(asked, "bri", given)
    assert explanations_of(f"{CODE}:ffffffffffffffff", "bri", given) == []


REPORTS = st.lists(
    st.builds(
        lambda number, name, bank, amount, currency, hours, ntpn, reference: paid(
            f"{name}{number}", hours, bank, amount=amount, currency=currency, ntpn=ntpn, bank_reference=reference
        ),
        st.integers(0, 30),
        st.sampled_from("nnnbbbr"),
        st.sampled_from(["bri", "mandiri"]),
        st.sampled_from(["1200.00", "600.00", "100.00"]),
        st.sampled_from(["USD", "USD", "USD", "IDR"]),
        st.integers(1, 24 * 9),
        st.sampled_from([None, "A" * 16, "B" * 16]),
        st.sampled_from([None, "REF 1", "REF 2"]),
    ),
    max_size=10,
    unique_by=lambda report: (report.source, report.id),
)
CHECKED = st.one_of(st.none(), st.dates(date(2026, 3, 1), date(2026, 3, 12)))


def read_by_brute_force(reports: list[Fact], against: Bill | None, checked: date | None) -> Counter[tuple[str, ...]]:
    """DOMAIN's rule step by step: how many differences there are of each kind, bank, amount and currency."""
    standing: list[list[Fact]] = []
    found: set[tuple[str, Fact]] = set()
    groups = {(one.participant, one.data["amount"], one.data["currency"]) for one in reports}
    for group in groups:
        mine = sorted(
            (one for one in reports if (one.participant, one.data["amount"], one.data["currency"]) == group),
            key=order_of,
        )
        moneys = pair([one for one in mine if one.type == RECEIVED], [one for one in mine if one.type == BOOKED])
        for reversal in (one for one in mine if one.type == TAKEN_BACK):
            moneys.sort(key=lambda money: order_of(money[0]))
            before = [money for money in moneys if money[0].time <= reversal.time]
            if moneys:
                moneys.remove(before[-1] if before else moneys[0])
            else:
                found.add(("reversal_of_nothing", Frozen(reversal)))
        standing += moneys
    standing.sort(key=lambda money: order_of(money[0]))
    lonely = [money[0] for money in standing if len(money) == 1 and is_due(money[0], checked)]
    found |= {(kind, Frozen(one)) for one, kind in name_wrong(standing, against, checked)}
    for reference in ("ntpn", "bank_reference"):
        for one in [one for one in lonely if one.type == RECEIVED]:
            for other in [other for other in lonely if other.type == BOOKED and other.participant == one.participant]:
                if one in lonely and one.data.get(reference) and one.data.get(reference) == other.data.get(reference):
                    lonely = [left for left in lonely if left not in (one, other)]
                    same = one.data["currency"] == other.data["currency"]
                    found.add(("amount" if same else "currency", Frozen(one)))
    found |= {("not_booked" if one.type == RECEIVED else "not_notified", Frozen(one)) for one in lonely}
    return Counter((kind, one.participant, one.data["amount"], one.data["currency"]) for kind, one in found)


class Frozen(Fact):
    """A fact that can be put into a set: one by source and id."""

    def __new__(cls, one: Fact) -> "Frozen":
        return super().__new__(cls, *one)

    def __hash__(self) -> int:
        return hash((self.source, self.id))


def is_due(one: Fact, checked: date | None) -> bool:
    return checked is not None and (one.time + timedelta(hours=7)).date() <= checked


def pair(notified: list[Fact], booked: list[Fact]) -> list[list[Fact]]:
    """First by NTPN, then by reference, then whatever is left, one with one."""
    moneys = []
    for reference in ("ntpn", "bank_reference", None):
        for one in tuple(notified):
            for other in tuple(booked):
                if reference is None or (one.data.get(reference) and one.data[reference] == other.data.get(reference)):
                    moneys.append([one, other])
                    notified.remove(one)
                    booked.remove(other)
                    break
    return moneys + [[one] for one in notified + booked]


def name_wrong(standing: list[list[Fact]], against: Bill | None, checked: date | None) -> list[tuple[Fact, str]]:
    """What is wrong with money when it is held against its bill."""
    if against is None:
        return [(money[0], "unmatched") for money in standing]
    wrong, counted = [], []
    for first, *_ in standing:
        if first.data["currency"] != against.currency:
            wrong.append((first, "currency"))
            continue
        counted.append(first)
        if sum(hundredths(one.data["amount"]) for one in counted) > against.amount:
            wrong.append((first, "excess"))
    if sum(hundredths(one.data["amount"]) for one in counted) < against.amount:
        wrong += [(one, "amount") for one in counted if is_due(one, checked)]
    return wrong


@given(REPORTS, CHECKED, st.booleans(), st.randoms(use_true_random=False))
def test_differences_are_the_rule_in_every_order(
    reports: list[Fact], checked: date | None, billed: bool, random: Any
) -> None:
    against = bill() if billed else None
    result = judged(reports, checked, against)
    shuffled = [*reports, *random.sample(reports, len(reports) // 2)]
    random.shuffle(shuffled)
    assert judged(shuffled, checked, against) == result
    groups = [
        (one.kind, one.participant, one.payment.data["amount"], one.payment.data["currency"])
        for one in result.differences
    ]
    assert Counter(groups) == read_by_brute_force(reports, against, checked)
    assert len({one.id for one in result.differences}) == len(result.differences)
    assert all(checked is None or day > checked for day in result.waiting)


@given(REPORTS, st.booleans())
def test_nothing_waits_once_every_day_is_checked(reports: list[Fact], billed: bool) -> None:
    against = bill() if billed else None
    waiting = judged(reports, None, against).waiting
    assert judged(reports, date(2026, 12, 31), against).waiting == ()
    if waiting:
        assert judged(reports, waiting[-1], against).waiting == ()


def test_a_bank_s_day_is_a_day_in_jakarta() -> None:
    midnight = datetime(2026, 3, 2, 17, 0, tzinfo=UTC)
    assert clock.jakarta_day(midnight - timedelta(microseconds=1)) == MONDAY
    assert clock.jakarta_day(midnight) == TUESDAY
    assert clock.end_of_day(MONDAY) == midnight


def test_days_of_rest_belong_to_the_next_banking_day() -> None:
    friday, saturday, monday = date(2026, 3, 6), date(2026, 3, 7), date(2026, 3, 9)
    assert clock.banking_day_of(friday) == friday
    assert clock.banking_day_of(saturday) == monday
    assert clock.banking_day_before(monday) == friday
    assert span_of(monday) == (clock.end_of_day(friday), clock.end_of_day(monday))
    assert clock.add_banking_days(friday, 2) == clock.add_banking_days(saturday, 2) == date(2026, 3, 10)
    assert clock.count_banking_days(friday, date(2026, 3, 10)) == 2
    # Nyepi, then Idul Fitri with its joint holidays: the vector of the service times.
    assert clock.add_banking_days(date(2026, 3, 16), 3) == date(2026, 3, 26)
    # No decree yet: weekends alone.
    assert clock.add_banking_days(date(2037, 12, 31), 1) == date(2038, 1, 1)


SCOPE = Scope("demo", "hub.example/demo", "bri", TUESDAY, 1_000)


def report(facts: list[Fact], scope: Scope = SCOPE, *, billed: bool = True) -> dict[str, Any]:
    against = bill() if billed else None
    read: dict[str, Any] = json.loads(write_report(scope, [Account(CODE, against, tuple(facts))], []))
    return read


def sums(totals: dict[str, Any]) -> dict[str, tuple[int, str]]:
    return {name: (one["count"], one["amount"]) for name, one in totals.items() if name != "currency"}


def test_a_report_says_what_was_notified_booked_reversed_and_billed() -> None:
    facts = [paid("n", 26), paid("b", 27), paid("n2", 28, amount="0.01"), paid("r", 29, amount="0.01"), paid("n3", 60)]
    (dollars,) = report(facts)["totals"]
    assert sums(dollars) == {
        "notified": (2, "1200.01"), "booked": (1, "1200.00"), "reversed": (1, "0.01"), "paired": (1, "1200.00"),
        "billed": (1, "1200.00"),
    }  # fmt: skip


def test_a_report_knows_its_bank_its_day_and_its_log_alone() -> None:
    assert report([paid("n", 26, "mandiri")])["totals"] == []
    assert report([paid("n", 15.99)])["totals"] == []
    assert report([paid("n", 16)])["totals"] != []
    assert report([paid("n", 40)])["totals"] == []
    assert report([paid("n", 26)], SCOPE._replace(log_size=260))["totals"] == []
    (unbilled,) = report([paid("n", 26)], billed=False)["totals"]
    assert unbilled["billed"] == {"count": 0, "amount": "0.00"}


def test_a_report_lists_what_is_open_with_its_age_and_its_explanations() -> None:
    identity = f"{CODE}:0123456789abcdef"
    one = OpenDifference(identity, "excess", CODE, "1.00", "USD", date(2026, 2, 27), "2026-02-27T10:00:00Z")
    explained = fact("difference.explained", 3, "ministry", "e", difference_id=identity)
    accounts = [Account(CODE, None, (explained,))]
    (listed,) = json.loads(write_report(SCOPE, accounts, [one]))["differences"]
    assert (listed["id"], listed["age_banking_days"]) == (identity, 2)
    assert listed["explanations"] == [{"code": "E1", "participant": "ministry"}]


@given(st.lists(REPORTS, max_size=3), st.randoms(use_true_random=False))
def test_a_report_is_the_same_bytes_and_its_totals_are_exact(groups: list[list[Fact]], random: Any) -> None:
    def coded(number: int, one: Fact) -> Fact:
        return one._replace(id=f"{number}-{one.id}", data={**one.data, "billing_code": f"82026030200001{number}"})

    facts = [[coded(number, one) for one in group] for number, group in enumerate(groups)]
    accounts = [Account(f"82026030200001{number}", None, tuple(group)) for number, group in enumerate(facts)]
    written = write_report(SCOPE, accounts, [])
    shuffled = [one._replace(facts=tuple(random.sample(one.facts, len(one.facts)))) for one in accounts]
    random.shuffle(shuffled)
    assert write_report(SCOPE, shuffled, []) == written
    for column, event_type in (("notified", RECEIVED), ("booked", BOOKED), ("reversed", TAKEN_BACK)):
        told = {one["currency"]: (one[column]["count"], one[column]["amount"]) for one in json.loads(written)["totals"]}
        mine = [
            one for group in facts for one in group
            if one.participant == "bri" and one.type == event_type and 16 <= hours_of(one) < 40
        ]  # fmt: skip
        for currency in ("USD", "IDR"):
            amounts = [hundredths(one.data["amount"]) for one in mine if one.data["currency"] == currency]
            total = f"{sum(amounts) // 100}.{sum(amounts) % 100:02d}"
            assert told.get(currency, (0, "0.00")) == (len(amounts), total)


def hours_of(one: Fact) -> float:
    return (one.time - START) / timedelta(hours=1)
