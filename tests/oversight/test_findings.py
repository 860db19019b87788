"""Each threshold of the findings at its edge: what just is one, and what just is none."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from contracts.oversight.case_findings import judge_case
from contracts.oversight.dossier import ISSUED, WITHDRAWN, Dossier
from contracts.oversight.extract import Extract
from contracts.oversight.group_findings import (
    USUAL_DECISIONS_MIN,
    judge_exemptions,
    judge_intermediary,
    judge_queue,
    judge_worker,
    working_seconds,
)
from contracts.oversight.lead import Lead
from contracts.rules.case import Fact
from tests.contracts.samples import START, fact
from tests.oversight.year import RULES

LATER = START + timedelta(days=120)
HOUR = timedelta(hours=1)
DAY_S = 86_400
MONDAY = datetime(2026, 3, 2, 1, tzinfo=UTC)


def leads_of(*facts: Fact, now: datetime = LATER) -> list[Lead]:
    return judge_case(Dossier("A", facts), RULES, now).leads


def names_of(*facts: Fact, now: datetime = LATER) -> list[str]:
    return [lead.finding for lead in leads_of(*facts, now=now)]


SUBMITTED = fact("permit.submitted", 0)
COMPLETED = fact("permit.completed", 1)
BILLED, PAID, BOOKED = fact("billing.issued", 2), fact("payment.received", 26, "bri"), fact("payment.booked", 30, "bri")
APPROVED = fact("permit.approved", 49)
FILE = (SUBMITTED, COMPLETED, BILLED, PAID, BOOKED, APPROVED)


def recommended(hours: float, state: str = "issued", basis: tuple[Fact, ...] = (PAID,), revision: int = 1) -> Fact:
    """The hub's own word as a dossier keeps it."""
    entries = [{"role": "payment", "source": one.source, "id": one.id, "log_index": one.log_index} for one in basis]
    data: dict[str, Any] = {"number": "TKA-0123456789AB", "revision": revision, "state": state, "basis": entries}
    kind = ISSUED if state == "issued" else WITHDRAWN
    at = START + timedelta(hours=hours)
    return Fact("https://hub.example/tka", f"{state}-{revision}", "hub", kind, at, "A" * 43, int(hours * 10), data)


def test_an_honest_file_shows_nothing() -> None:
    assert names_of(*FILE, recommended(50)) == []


def test_what_is_unfounded_is_what_the_facts_before_it_do_not_carry() -> None:
    assert names_of(*FILE, recommended(48)) == ["unfounded_recommendation"]
    # An unpaid recommendation entails an unpaid approval, which is not told beside it.
    unpaid = (SUBMITTED, COMPLETED, BILLED, APPROVED, recommended(50, basis=()))
    assert names_of(*unpaid) == ["unfounded_recommendation"]
    assert names_of(*unpaid[:-1]) == ["approved_unpaid"]


def test_a_notification_has_two_banking_days_to_be_booked() -> None:
    notified = (*FILE[:4], APPROVED, recommended(50))
    # Paid on Tuesday the 3rd: the books of Thursday the 5th are the last that may show it.
    deadline = datetime(2026, 3, 5, 17, tzinfo=UTC)
    assert names_of(*notified, now=deadline) == []
    assert names_of(*notified, now=deadline + timedelta(seconds=1)) == ["phantom_payment"]


@pytest.mark.parametrize(("minutes", "found"), [(59, []), (60, ["phantom_payment"])])
def test_money_taken_back_counts_once_the_recommendation_has_stood_for_an_hour(minutes: int, found: list[str]) -> None:
    gone = fact("payment.reversed", 50 + minutes / 60, "bri")
    withdrawn = recommended(50 + (minutes + 1) / 60, "withdrawn")
    assert names_of(*FILE, recommended(50), gone, withdrawn) == found


@pytest.mark.parametrize(("days", "found"), [(7, []), (8, ["silent_file"])])
def test_five_working_days_without_a_word_are_silence(days: int, found: list[str]) -> None:
    # Submitted on Monday the 2nd: Monday the 9th is the fifth working day.
    assert names_of(SUBMITTED, fact("permit.rejected", 24 * days)) == found


def test_a_document_that_was_handed_in_anew_may_be_cited_again() -> None:
    first = fact("permit.deficiency_notified", 2)
    answered = fact("permit.resubmitted", 30, documents=[{"code": "IJAZAH", "sha256": "1e" * 32}])
    again = fact("permit.deficiency_notified", 31)
    done = fact("permit.rejected", 40)
    assert names_of(SUBMITTED, first, answered, again, done) == []
    assert names_of(SUBMITTED, first, again, done) == ["serial_deficiencies"]


def test_a_visa_needs_a_revision_in_force_at_its_moment() -> None:
    issued, withdrawn = recommended(50), recommended(60, "withdrawn")
    visas = [fact("visa.approved", hours, "immigration") for hours in (49.9, 55, 60)]
    facts = (*FILE, issued, withdrawn, fact("recommendation.acknowledged", 61, "immigration"))
    revoked = fact("visa.revoked", 70, "immigration")
    assert [names_of(*facts, visa, revoked) for visa in visas] == [["visa_unsupported"], [], ["visa_unsupported"]]


def test_a_withdrawal_under_a_live_visa_is_answered_in_time_or_the_recommendation_comes_back() -> None:
    facts = (*FILE, recommended(50), fact("visa.approved", 60, "immigration"), recommended(70, "withdrawn"))
    heard, revoked = fact("recommendation.acknowledged", 71, "immigration"), fact("visa.revoked", 100, "immigration")
    assert names_of(*facts, heard, revoked) == []
    assert [lead.detail for lead in leads_of(*facts, revoked)] == []
    assert [lead.detail for lead in leads_of(*facts, heard)] == ["decision"]
    assert [lead.detail for lead in leads_of(*facts)] == ["acknowledgement"]
    assert names_of(*facts, recommended(71, revision=2)) == []


def test_a_class_that_no_rule_knows_is_an_anomaly_and_entails_the_unpaid_approval() -> None:
    facts = (SUBMITTED, COMPLETED, APPROVED)
    assert names_of(*facts, fact("exemption.granted", 10, class_="religious_institution")) == []
    granted = fact("exemption.granted", 10)
    odd = granted._replace(data={**granted.data, "class": "cousin"})
    assert names_of(*facts, odd) == ["exemption_anomaly"]


def file_of(number: int, **others: Any) -> Extract:
    """A file that its unit had for one working day."""
    submitted = MONDAY + number * HOUR
    base = Extract(
        case=f"F{number:04d}", rule_set="2021/2", unit="unit-1", kind="new", official="o-1", intermediary=None,
        submitted_at=submitted, completed_at=submitted, decided_at=submitted + timedelta(days=1), approved=True,
        exempted_by=None, worker=f"w-{number}", employer="1234567890123", position="2511", from_=date(2026, 4, 1),
        until=date(2026, 10, 1), ended_on=None, moneys=(), pauses=(), log_indices=(number,),
    )  # fmt: skip
    return base._replace(**others)


BEFORE = MONDAY - timedelta(days=40)
USUAL = [
    file_of(number, submitted_at=BEFORE, completed_at=BEFORE, decided_at=BEFORE + timedelta(days=1))
    for number in range(100, 100 + USUAL_DECISIONS_MIN)
]


@pytest.mark.parametrize(("held", "found"), [(9, 0), (10, 1)])
def test_ten_files_that_wait_too_long_are_overtaken(held: int, found: int) -> None:
    waiting = [file_of(number, decided_at=None, approved=False) for number in range(held)]
    jumper = file_of(50, submitted_at=MONDAY + timedelta(days=8), completed_at=MONDAY + timedelta(days=8),
                     decided_at=MONDAY + timedelta(days=8, hours=2))  # fmt: skip
    assert len(list(judge_queue([*USUAL, *waiting, jumper], RULES))) == found
    owed = [one._replace(pauses=((one.submitted_at, None),)) for one in waiting]
    assert list(judge_queue([*USUAL, *owed, jumper], RULES)) == []


@pytest.mark.parametrize(
    ("own", "others", "hours", "found"), [(20, 20, 12, 1), (19, 0, 12, 0), (20, 21, 12, 0), (20, 0, 13, 0)]
)
def test_an_official_who_has_most_of_an_intermediarys_files_and_is_twice_as_fast(
    own: int, others: int, hours: int, found: int
) -> None:
    fast = [
        file_of(24 + n % 3, case=f"A{n}", intermediary="i", decided_at=MONDAY + (24 + n % 3 + hours) * HOUR)
        for n in range(own)
    ]
    rest = [file_of(n % 3, case=f"B{n}", intermediary="i", official="o-2") for n in range(others)]
    unit = [*fast, *rest, *(file_of(n % 3, case=f"C{n}", official="o-3") for n in range(60))]
    assert len(list(judge_intermediary([*fast, *rest], {"unit-1": unit}, RULES))) == found


@pytest.mark.parametrize(("granted", "found"), [(9, 0), (10, 1)])
def test_an_official_who_exempts_far_more_often_than_the_nation(granted: int, found: int) -> None:
    own = [file_of(n, case=f"A{n}", exempted_by="o-1" if n < granted else None) for n in range(20)]
    nation = [file_of(n % 20, case=f"N{n}", official="o-2") for n in range(400)]
    assert len(list(judge_exemptions([*own, *nation], RULES))) == found


@pytest.mark.parametrize(("gap", "months", "found"), [(30, 4, 1), (31, 4, 0), (30, 3, 0)])
def test_temporary_permits_that_follow_each_other(gap: int, months: int, found: int) -> None:
    first = file_of(1, kind="temporary", until=date(2026, 6, 20))
    begins = first.until + timedelta(days=gap)
    until = date(begins.year, begins.month + months, begins.day)
    second = file_of(2, kind="temporary", worker=first.worker, from_=begins, until=until)
    assert len(list(judge_worker([first, second], RULES))) == found


def test_two_posts_at_once_are_one_too_many_and_an_extension_of_the_same_is_none() -> None:
    first = file_of(1)
    other = file_of(2, worker=first.worker, from_=date(2026, 9, 30), position="1321")
    assert len(list(judge_worker([first, other], RULES))) == 1
    assert list(judge_worker([first, other._replace(from_=first.until)], RULES)) == []
    assert list(judge_worker([first, other._replace(position="2511", kind="extension")], RULES)) == []
    assert list(judge_worker([first._replace(ended_on=date(2026, 8, 1)), other], RULES)) == []


def test_waiting_over_holidays_is_no_waiting() -> None:
    before, after = datetime(2026, 3, 17, 3, tzinfo=UTC), datetime(2026, 3, 25, 3, tzinfo=UTC)
    assert working_seconds(before, after) == DAY_S
    assert working_seconds(after, before) == 0
