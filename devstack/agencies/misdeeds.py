"""The twelve misdeeds that overseers look for, each done once to a year's files, and nothing else done wrong."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType

from devstack.agencies.year import File, Misdeed, Year

LATE = 150.2
HONEST = {"rejects": 0.0, "exempts": 0.0, "unpaid": 0.0}


def recommend_unapproved(year: Year) -> None:
    """Somebody with the exchange's key issues a recommendation for a file that nobody has approved."""
    file = year.open(LATE, None)
    year.step(file, LATE + 1, "ministry.permit.completed")
    year.bill_it(file, LATE + 1.1)
    known_at = year.pay(file, LATE + 1.2)
    year.recommend(file, known_at + timedelta(hours=1))


def use_money_twice(year: Year) -> None:
    """One treasury receipt pays for two files."""
    for place in range(2):
        file = year.open(LATE + place, None)
        year.step(file, LATE + place + 1, "ministry.permit.completed")
        year.bill_it(file, LATE + place + 1.1)
        known_at = year.pay(file, LATE + place + 1.2, ntpn="0A1B2C3D4E5F6G7H", notified=True)
        year.recommend(file, max(known_at, year.approve(file, year.day_of(known_at) + 0.3)))


def pay_nothing(year: Year) -> None:
    """A payment is notified and never comes."""
    file = year.open(LATE, None)
    year.step(file, LATE + 1, "ministry.permit.completed")
    year.bill_it(file, LATE + 1.1)
    known_at = year.pay(file, LATE + 1.2, notified=True, booked=False)
    year.recommend(file, max(known_at, year.approve(file, year.day_of(known_at) + 0.3)))


def approve_unpaid(year: Year) -> None:
    """A file is approved days before it is paid."""
    file = year.open(LATE, None)
    year.step(file, LATE + 1, "ministry.permit.completed")
    year.bill_it(file, LATE + 1.1)
    year.approve(file, LATE + 1.5)
    year.recommend(file, year.pay(file, LATE + 4.2))


def give_a_visa_on_nothing(year: Year) -> None:
    """A visa is approved although the recommendation was withdrawn before, and everybody knew."""
    file = year.open(LATE, None)
    at = _recommended(year, file)
    gone_at = year.withdraw(file, year.end(file, year.day_of(at) + 2, "revoked"))
    year.immigration(file, gone_at + timedelta(minutes=5), "recommendation.acknowledged")
    year.immigration(file, gone_at + timedelta(days=2), "visa.approved", valid_until=file.post["until"])


def ignore_a_withdrawal(year: Year) -> None:
    """A recommendation is withdrawn under a live visa, and Immigration says nothing."""
    file = year.open(LATE, None)
    at = _recommended(year, file)
    year.immigration(file, at + timedelta(minutes=2), "recommendation.acknowledged")
    year.immigration(file, at + timedelta(days=2), "visa.approved", valid_until=file.post["until"])
    year.withdraw(file, year.end(file, year.day_of(at) + 4, "revoked"))


def keep_silent(year: Year) -> None:
    """Nobody tells the applicant for eight working days that the file is complete."""
    file = year.open(LATE, None)
    year.step(file, LATE + 8, "ministry.permit.completed")
    year.decide(file, LATE + 8, took=0.8, **HONEST)


def find_the_same_again(year: Year) -> None:
    """A second notice cites what lay there unchanged when the first was written."""
    file = year.open(LATE, None)
    year.ask(file, LATE + 0.5, "POLIS")
    year.answer(file, LATE + 2, "POLIS")
    year.ask(file, LATE + 2.5, "KONTRAK")
    year.answer(file, LATE + 4, "KONTRAK")
    year.step(file, LATE + 4.5, "ministry.permit.completed")
    year.decide(file, LATE + 4.5, took=0.8, **HONEST)


def jump_the_queue(year: Year) -> None:
    """Twelve files of a unit lie there for weeks while a later one is decided."""
    office = year.offices[0]
    for place in range(12):
        held = year.open(LATE + place / 100, None, office=office, kind="new")
        year.step(held, LATE + 1 + place / 100, "ministry.permit.completed")
        year.decide(held, LATE + 1 + place / 100, took=15.0, **HONEST)
    friend = year.open(LATE + 9, None, office=office, kind="new")
    year.step(friend, LATE + 9.2, "ministry.permit.completed")
    year.decide(friend, LATE + 9.2, took=0.6, **HONEST)


def favour_an_intermediary(year: Year) -> None:
    """An officer decides an intermediary's files within the hour, and nobody else gets them."""
    office = year.offices[1]
    for place in range(24):
        day = LATE + place * 2
        file = year.open(day, "agent-friend", office=office, officer=office.officers[0])
        year.step(file, day + 0.5, "ministry.permit.completed")
        year.step(file, day + 0.51, "ministry.permit.feasibility_assessed", result="pass")
        year.bill_it(file, day + 0.52)
        known_at = year.pay(file, day + 0.55, notified=True)
        year.go_on(file, year.recommend(file, max(known_at, year.approve(file, year.day_of(known_at) + 0.02))))


def exempt_a_friend(year: Year) -> None:
    """An employer is exempted for a reason that no rule knows, and the permit approved."""
    file = year.open(LATE, None)
    year.step(file, LATE + 1, "ministry.permit.completed")
    year.exempt(file, LATE + 1.1, "friend_of_the_office")
    year.approve(file, LATE + 1.5)


def chain_temporaries(year: Year) -> None:
    """One worker's temporary permits follow each other within days, to eight months."""
    begins = year.moment(LATE).date() + timedelta(days=30)
    first = year.open(LATE, None, kind="temporary", begins=begins, months=4)
    _recommended(year, first)
    same = {"worker": first.block["worker"], "nib": first.post["nib"]}
    again = begins + timedelta(days=130)
    second = year.open(LATE + 20, None, kind="temporary", begins=again, months=4, **same)
    _recommended(year, second, LATE + 20)


def _recommended(year: Year, file: File, day: float = LATE) -> datetime:
    """Take a file the honest way to its recommendation; return when."""
    year.step(file, day + 1, "ministry.permit.completed")
    year.bill_it(file, day + 1.1)
    known_at = year.pay(file, day + 1.2)
    return year.recommend(file, max(known_at, year.approve(file, year.day_of(known_at) + 0.3)))


#: Each under the word of the finding that must see it.
ALL: Mapping[str, Misdeed] = MappingProxyType(
    {
        "unfounded_recommendation": recommend_unapproved,
        "money_reused": use_money_twice,
        "phantom_payment": pay_nothing,
        "approved_unpaid": approve_unpaid,
        "visa_unsupported": give_a_visa_on_nothing,
        "withdrawal_ignored": ignore_a_withdrawal,
        "silent_file": keep_silent,
        "serial_deficiencies": find_the_same_again,
        "queue_jump": jump_the_queue,
        "favoured_intermediary": favour_an_intermediary,
        "exemption_anomaly": exempt_a_friend,
        "chained_temporaries": chain_temporaries,
    }
)
