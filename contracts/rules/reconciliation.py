"""Reconciliation: where a bank's notifications, its books and the Ministry's bills do not agree.

Two kinds of difference. At once: what the tally calls excess, wrong currency or unmatched, and a reversal that found
nothing. After the bank's N days: money that only one channel reports, and a bill that stays short, since until then
the other report or the rest may be on its way. The passing of those days is told from outside (`checked`), as the day
up to which money has been checked, so that nothing here reads a clock or a calendar.

Money has no reference of its own, so neither has a difference: it is the k-th of its kind, bank, amount and currency
under a billing code. Whatever order the facts come in, the same differences result.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from hashlib import sha256
from typing import Final, Literal, NamedTuple

from contracts.rules.case import EXPLAINED_BY_BANK, EXPLANATIONS, RECEIVED, TAKEN_BACK, Fact, order_of
from contracts.rules.clock import jakarta_day
from contracts.rules.payments import FactKey, Tally

Kind = Literal["not_booked", "not_notified", "amount", "currency", "unmatched", "excess", "reversal_of_nothing"]

#: Facts by kind, participant, amount and currency, each once.
_Found = dict[tuple[Kind, str, str, str], dict[FactKey, Fact]]

ID_DIGITS: Final = 16
#: What the outcome of money says by itself.
_AT_ONCE: Final[Mapping[str, Kind]] = {"excess": "excess", "wrong_currency": "currency", "unmatched": "unmatched"}
#: What money came to that has not completed its bill.
_SHORT: Final = frozenset(("partial", "late"))


class Difference(NamedTuple):
    """One difference, under the key (billing code or payment's own subject) with which its id begins.

    `payment` is the report by which it is shown; amount and currency are that report's.
    """

    id: str
    kind: Kind
    participant: str
    payment: Fact


class Judged(NamedTuple):
    """The differences under one key, by id, and the Jakarta days of the money whose N days are not over yet."""

    differences: tuple[Difference, ...]
    waiting: tuple[date, ...]


class Explanation(NamedTuple):
    """Who explained a difference, by a code of that party's own list."""

    participant: str
    code: str


def judge(key: str, facts: Iterable[Fact], counted: Tally, checked: date | None) -> Judged:
    """Find the differences among the facts under one key, given the tally of its payments: a pure function of the set.

    `checked` is the last Jakarta day whose money has had its N banking days; None if no day has.
    """
    found: _Found = {}
    waiting: set[date] = set()
    lonely: list[Fact] = []
    for money in counted.standing:
        primary = money.primary
        outcome = counted.outcomes[primary.source, primary.id]
        if outcome in _AT_ONCE:
            _note(found, _AT_ONCE[outcome], primary)
        short = outcome in _SHORT and not counted.complete
        # Money without a code is unmatched already, and no notification could name it.
        alone = len(money.reports) == 1 and primary.data.get("billing_code") is not None
        if not short and not alone:
            continue
        day = jakarta_day(primary.time)
        if checked is None or day > checked:
            waiting.add(day)
            continue
        if short:
            _note(found, "amount", primary)
        if alone:
            lonely.append(primary)
    if lonely:
        _name_lonely(lonely, found)
    reversals = [fact for fact in facts if fact.type == TAKEN_BACK]
    for fact in sorted(reversals, key=order_of):
        if counted.outcomes.get((fact.source, fact.id)) == "unmatched":
            _note(found, "reversal_of_nothing", fact)
    if not found:
        return Judged((), tuple(sorted(waiting)))
    differences = (
        Difference(name_difference(key, *group, ordinal), group[0], group[1], fact)
        for group, shown in found.items()
        for ordinal, fact in enumerate(shown.values(), 1)
    )
    return Judged(tuple(sorted(differences)), tuple(sorted(waiting)))


def _note(found: _Found, kind: Kind, fact: Fact) -> None:
    """Put a fact to its kind, once."""
    group = (kind, fact.participant, fact.data["amount"], fact.data["currency"])
    found.setdefault(group, {})[fact.source, fact.id] = fact


def _name_lonely(lonely: Sequence[Fact], found: _Found) -> None:
    """Say of money that one channel alone reports what is wrong with it.

    A notification and a booking of one bank that name the same reference and differ in amount or currency are one
    difference, shown by the notification.
    """
    notified = [fact for fact in lonely if fact.type == RECEIVED]
    booked = [fact for fact in lonely if fact.type != RECEIVED]
    for reference in ("ntpn", "bank_reference"):
        if notified and booked:
            notified, booked = _pair_unequal(reference, notified, booked, found)
    for fact in notified:
        _note(found, "not_booked", fact)
    for fact in booked:
        _note(found, "not_notified", fact)


def _pair_unequal(
    reference: str, notified: Sequence[Fact], booked: Sequence[Fact], found: _Found
) -> tuple[list[Fact], list[Fact]]:
    """Pair reports of unequal money that name an equal reference, one with one in order; return the rest of both."""
    waiting: dict[tuple[str, str], list[Fact]] = {}
    for fact in reversed(booked):
        if (named := fact.data.get(reference)) is not None:
            waiting.setdefault((fact.participant, named.upper()), []).append(fact)
    paired: set[FactKey] = set()
    rest: list[Fact] = []
    for fact in notified:
        partners = waiting.get((fact.participant, (fact.data.get(reference) or "").upper()))
        if not partners:
            rest.append(fact)
            continue
        partner = partners.pop()
        paired.add((partner.source, partner.id))
        _note(found, "currency" if fact.data["currency"] != partner.data["currency"] else "amount", fact)
    return rest, [fact for fact in booked if (fact.source, fact.id) not in paired]


def name_difference(key: str, kind: str, participant: str, amount: str, currency: str, ordinal: int) -> str:
    """The id of the `ordinal`-th difference of its kind: its key, a colon, 16 hexadecimal digits."""
    named = "|".join((key, kind, participant, amount, currency, str(ordinal)))
    return f"{key}:{sha256(named.encode()).hexdigest()[:ID_DIGITS]}"


def key_of(difference_id: str) -> str:
    """The key under which a difference is: a billing code, or the own subject of a payment without one."""
    return difference_id.partition(":")[0]


def explanations_of(difference_id: str, participant: str, facts: Iterable[Fact]) -> list[Explanation]:
    """The explanations of one bank's difference, each once, in order: that bank's own and the Ministry's."""
    given = {
        Explanation(fact.participant, fact.data["explanation_code"])
        for fact in facts
        if fact.type in EXPLANATIONS
        and fact.data["difference_id"] == difference_id
        and (fact.type != EXPLAINED_BY_BANK or fact.participant == participant)
    }
    return sorted(given)
