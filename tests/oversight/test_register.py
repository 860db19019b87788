"""The register of foreign workers: the fold of every fact about a worker, what offices may see, what does not agree."""

from datetime import date, timedelta
from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from contracts.oversight.dossier import Dossier
from contracts.oversight.register import EXPIRING_DAYS, Registered, compare, enter, grant, list_expiring
from contracts.rules.case import Fact
from tests.contracts.samples import PERSON, fact
from tests.oversight.year import read_facts, tell

IN_FORCE = date(2026, 6, 1)
DAY_H = 24.0


def entry_of(*facts: Fact) -> Registered:
    entered = enter(Dossier("A", facts))
    assert entered is not None
    return entered


APPROVED = fact("permit.approved", 48)
HERE = (APPROVED, fact("visa.approved", 100, "immigration"), fact("stay_permit.issued", 800, "immigration"),
        fact("entry.recorded", 750, "immigration"))  # fmt: skip


def test_an_entry_says_who_works_where_for_whom_until_when() -> None:
    entry = entry_of(*HERE)
    assert (entry.worker, entry.employer, entry.position) == ("worker-0001", "1234567890123", "2511")
    assert (entry.regencies, entry.from_, entry.until) == (("3171",), date(2026, 4, 1), date(2027, 4, 1))
    assert (entry.visa_until, entry.stay_until, entry.present) == (date(2027, 3, 31), date(2027, 3, 31), True)
    assert [entry.status(day) for day in (date(2026, 3, 31), IN_FORCE, date(2027, 4, 1))] == [
        "to_come", "in_force", "ended",
    ]  # fmt: skip
    written = entry.to_json()
    assert (written["from"], written["until"]) == ("2026-04-01", "2027-04-01")
    assert not any(value in str(written) for value in PERSON.values())


def test_an_amendment_counts_and_whatever_ends_the_permit_ends_the_entry() -> None:
    assert entry_of(APPROVED, fact("permit.amended", 60, until="2026-12-31")).until == date(2026, 12, 31)
    for name, ended_on in (("permit.revoked", date(2026, 5, 1)), ("employment.ended", date(2026, 9, 30))):
        ended = entry_of(APPROVED, fact(name, 60 * DAY_H, identity=f"end-{name}"))
        assert ended.ended_on == ended_on
        assert ended.status(ended_on) == "ended"
    assert enter(Dossier("A", [fact("permit.submitted", 0), fact("permit.rejected", 9)])) is None


def test_the_order_of_facts_changes_nothing() -> None:
    facts = (*HERE, fact("employment.ended", 900), fact("exit.recorded", 950, "immigration"))
    assert len({entry_of(*order) for order in permutations(facts)}) == 1


def test_an_office_sees_its_own_regency_and_immigration_all_in_force() -> None:
    entries = [entry_of(APPROVED), entry_of(fact("permit.approved", 48, regency="3174",
               places=[{"province": "31", "regency": "3174"}]))]  # fmt: skip
    assert len(list(grant(entries, IN_FORCE))) == 2
    assert [one.regencies for one in grant(entries, IN_FORCE, frozenset(("3174",)))] == [("3174",)]
    assert list(grant(entries, date(2027, 4, 1))) == []


def test_permits_that_end_soon_are_told_in_their_order() -> None:
    entries = [
        entry_of(fact("permit.approved", 48, until=until)) for until in ("2026-08-20", "2026-06-20", "2026-07-20")
    ]
    found = [[one.until.month for one in list_expiring(entries, IN_FORCE, days)] for days in EXPIRING_DAYS]
    assert found == [[6], [6, 7], [6, 7, 8]]


def test_overstays_and_departures_that_do_not_agree_are_differences() -> None:
    here = entry_of(*HERE)
    assert compare(here, IN_FORCE) == []
    (overstay,) = compare(here, date(2027, 4, 16))
    assert (overstay.kind, overstay.since) == ("overstay", date(2027, 4, 15))
    gone = fact("exit.recorded", 900, "immigration")
    left = entry_of(*HERE, gone)
    assert [one.kind for one in compare(left, date(2026, 8, 1))] == ["left_while_employed"]
    assert compare(entry_of(*HERE, gone, fact("employment.ended", 910)), date(2026, 10, 1)) == []
    late = compare(entry_of(*HERE, gone, fact("employment.ended", 910)), date(2026, 10, 15))
    assert [one.kind for one in late] == ["visa_beyond_permit"]


@given(st.integers(0, 430))
def test_while_everybody_is_honest_and_in_work_the_agencies_agree(days: int) -> None:
    day = date(2025, 1, 1) + timedelta(days=days)
    at_work = [entry for entry in ENTRIES if entry.status(day) == "in_force"]
    assert [one for entry in at_work for one in compare(entry, day)] == []


ENTRIES = [one for name, facts in read_facts(tell(9, 80)).items() if (one := enter(Dossier(name, facts))) is not None]
