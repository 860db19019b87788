"""What a statement's entry comes to: income, a payment taken back, nothing of ours, or not readable. Pure.

An entry and its details are judged together, since a detail without an amount of its own takes the entry's, and the
details must add up to it. Source: ISO 20022 camt.054; the traps are those of real files.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final, Literal

from connectors.bank.snap import JAKARTA
from contracts.reference.currencies import CURRENCIES

Counts = Literal["credit", "reversal", "no", "refused"]

IDENTIFIER_CHARACTERS_MAX: Final = 128
#: Amounts are compared as whole numbers of the fifth decimal, the last one that camt allows (fractionDigits 5).
AMOUNT_DECIMALS: Final = 5
MONEY_DECIMALS: Final = 2
MONEY_INTEGER_DIGITS_MAX: Final = 16

#: Why a transaction does not count: it is not this service's income, and nothing is wrong with it.
UNCOUNTED_REASONS: Final = {
    "not_booked": "the status is not BOOK",
    "debit": "money that left the account",
    "reversed_debit": "a debit that was taken back is not income",
    "own_transfer_returned": "a transfer of the account's own that came back is not income",
}
#: Why a transaction is refused: it may be money, and cannot be read with certainty.
REFUSED_REASONS: Final = {
    "ambiguous": "an element that may occur once occurs more often",
    "status_missing": "the entry has no status",
    "indicator_malformed": "a credit or debit indicator is neither CRDT nor DBIT",
    "reversal_malformed": "the reversal indicator is no boolean",
    "amount_missing": "an amount is missing",
    "amount_malformed": "an amount is not a plain decimal number",
    "amount_precision": "the amount has more than two decimals",
    "amount_zero": "the amount is zero",
    "currency_malformed": "a currency is not an ISO 4217 code in upper case",
    "currency_disagrees": "the currencies of the entry and its details disagree",
    "sum_disagrees": "the details do not add up to the entry's amount",
    "booking_date_missing": "the booking date is missing",
    "booking_date_malformed": "the booking date is no date",
    "account_unusable": "the account is missing or is no printable identifier",
    "notification_id_unusable": "the notification's identifier is missing or is no printable identifier",
}

_AMOUNT = re.compile(r"([0-9]{1,18})(?:\.([0-9]{1,5}))?")
_DATE = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:Z|[+-][0-9]{2}:[0-9]{2})?")
_DATE_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.[0-9]{1,32})?(Z|[+-][0-9]{2}:[0-9]{2})?"
)
_IDENTIFIER = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_BILLING_CODE = re.compile(r"[0-9]{15}")
_BILLING_CODE_ALONE = re.compile(r"(?<!\w)[0-9]{15}(?!\w)")


@dataclass(frozen=True, slots=True)
class Notification:
    """What identifies the notification that an entry stands in: account, its own id, its page; and when it was made.

    `copy`: the bank marked it as a copy or a duplicate of another message.
    """

    account: str | None
    id: str | None
    page: int
    created: datetime | None
    copy: bool = False


@dataclass(frozen=True, slots=True)
class Detail:
    """What is used of one transaction detail, as written; None where it is absent."""

    amount: str | None = None
    currency: str | None = None
    indicator: str | None = None
    returned: bool = False
    structured: tuple[str, ...] = ()
    unstructured: tuple[str, ...] = ()
    end_to_end: str | None = None
    bank_reference: str | None = None
    ntpn: str | None = None
    reason_code: str | None = None
    ambiguous: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """What is used of one entry, as written; None where it is absent."""

    amount: str | None
    currency: str | None
    indicator: str | None
    reversal: str | None
    status: str | None
    booked_on: str | None
    booked_at: str | None
    bank_reference: str | None
    details: Sequence[Detail]
    ambiguous: bool = False


@dataclass(frozen=True, slots=True)
class Transaction:
    """One transaction detail, or one entry without details.

    `entry` and `detail` count from 1 over the whole file and within the entry; `place` counts the entries of this
    notification. `amount` is as written, `money` the same with two decimals (None unless it counts), `booking_date` a
    day in Jakarta, `references` the candidates for a billing code in the order of the rules.
    """

    entry: int
    detail: int | None
    counts: Counts
    reason: str | None
    amount: str | None
    currency: str | None
    booking_date: str | None
    references: tuple[str, ...]
    billing_code: str | None
    bank_reference: str | None
    notification: Notification
    place: int
    money: str | None
    ntpn: str | None
    reason_code: str | None

    def content_sha256(self) -> str:
        """Return the digest of what this transaction says: a copy of it, or it in another version, has the same."""
        said = (
            *(self.counts, self.money, self.currency, self.booking_date),
            *(self.references, self.bank_reference, self.ntpn, self.reason_code),
        )
        return hashlib.sha256(json.dumps(said).encode("ascii")).hexdigest()


@dataclass(frozen=True, slots=True)
class _Position:
    entry: int
    place: int
    notification: Notification


def judge_entry(entry: Entry, notification: Notification, number: int, place: int) -> Iterator[Transaction]:
    """Yield the entry's transactions: one for each detail, or one for an entry without details.

    What keeps a sum from being checked refuses every detail of the entry; a counted detail's own fault only itself.
    """
    details = entry.details or (Detail(),)
    verdicts = _directions(entry, details)
    fault = _fault(entry, notification, verdicts)
    position = _Position(number, place, notification)
    for index, (detail, (counts, reason)) in enumerate(zip(details, verdicts, strict=True), start=1):
        written, currency = _amount_of(entry, detail)
        money = None
        if fault is not None:
            counts, reason = "refused", fault
        elif counts in ("credit", "reversal"):
            money, reason = _write_money(written or "")
            counts = counts if reason is None else "refused"
        numbered = index if entry.details else None
        yield _transaction(position, numbered, entry, detail, counts, reason, (written, currency, money))


def _directions(entry: Entry, details: Sequence[Detail]) -> list[tuple[Counts, str | None]]:
    """Return what status and direction make of each detail.

    What the account saw is the entry. Where it is neither income nor income taken back, details that say otherwise are
    believed only if, each with its own sign, they add up to the entry: then it is a net of several movements.
    """
    whole = _direction(entry, Detail())
    if whole[0] == "no" and not any(detail.ambiguous for detail in details) and _sum_fault(entry) is not None:
        return [whole] * len(details)
    return [_direction(entry, detail) for detail in details]


def _transaction(
    position: _Position,
    index: int | None,
    entry: Entry,
    detail: Detail,
    counts: Counts,
    reason: str | None,
    amount: tuple[str | None, str | None, str | None],
) -> Transaction:
    references = (*detail.structured, *detail.unstructured, *((detail.end_to_end,) if detail.end_to_end else ()))
    return Transaction(
        entry=position.entry,
        detail=index,
        counts=counts,
        reason=reason,
        amount=amount[0],
        currency=amount[1],
        booking_date=_booking_date(entry)[0],
        references=references,
        billing_code=find_billing_code(detail),
        bank_reference=detail.bank_reference or entry.bank_reference,
        notification=position.notification,
        place=position.place,
        money=amount[2],
        ntpn=detail.ntpn,
        reason_code=detail.reason_code,
    )


def find_billing_code(detail: Detail) -> str | None:
    """Return the first candidate that is 15 digits, or in free text the first 15 digits that stand alone."""
    for reference in detail.structured:
        if _BILLING_CODE.fullmatch(reference):
            return reference
    for text in detail.unstructured:
        if alone := _BILLING_CODE_ALONE.search(text):
            return alone[0]
    if detail.end_to_end and _BILLING_CODE.fullmatch(detail.end_to_end):
        return detail.end_to_end
    return None


def _direction(entry: Entry, detail: Detail) -> tuple[Counts, str | None]:
    """Return what the detail's status and direction make of it; a detail's own indicator goes before the entry's."""
    indicator = entry.indicator if detail.indicator is None else detail.indicator
    if entry.ambiguous or detail.ambiguous:
        return "refused", "ambiguous"
    if entry.status is None:
        return "refused", "status_missing"
    if entry.status != "BOOK":
        return "no", "not_booked"
    if entry.indicator not in ("CRDT", "DBIT") or indicator not in ("CRDT", "DBIT"):
        return "refused", "indicator_malformed"
    if entry.reversal not in (None, "true", "false", "1", "0"):
        return "refused", "reversal_malformed"
    reversal = entry.reversal in ("true", "1")
    if indicator == "DBIT":
        return ("reversal", None) if reversal else ("no", "debit")
    if reversal:
        return "no", "reversed_debit"
    return ("no", "own_transfer_returned") if detail.returned else ("credit", None)


def _fault(entry: Entry, notification: Notification, verdicts: Sequence[tuple[Counts, str | None]]) -> str | None:
    """Return why the whole entry is refused, or None. An entry of which nothing would count is not looked into."""
    for counts, reason in verdicts:
        if counts == "refused":
            return reason
    # Income, or income taken back, whose details contradict it must not pass as an entry in which nothing counts.
    contradicted = any(detail.indicator not in (None, entry.indicator) for detail in entry.details)
    counted = _direction(entry, Detail())[0] != "no"
    if all(counts == "no" for counts, _ in verdicts) and not (contradicted and counted):
        return None
    sum_fault = _sum_fault(entry)
    if sum_fault is not None:
        return sum_fault
    if not is_identifier(notification.account):
        return "account_unusable"
    if not is_identifier(notification.id):
        return "notification_id_unusable"
    return _booking_date(entry)[1]


def _sum_fault(entry: Entry) -> str | None:
    """Return why the details do not add up to the entry in amount and currency, or None when they do."""
    total = 0
    for detail in (Detail(amount=entry.amount, currency=entry.currency), *entry.details):
        written, currency = _amount_of(entry, detail)
        if written is None:
            return "amount_missing"
        if not _AMOUNT.fullmatch(written):
            return "amount_malformed"
        if currency not in CURRENCIES:
            return "currency_malformed"
        if currency != entry.currency:
            return "currency_disagrees"
        sign = 1 if detail.indicator in (None, entry.indicator) else -1
        total += sign * _units(written)
    whole = _units(entry.amount or "")
    # The first summand was the entry itself.
    return None if not entry.details or total - whole == whole else "sum_disagrees"


def _amount_of(entry: Entry, detail: Detail) -> tuple[str | None, str | None]:
    """Return the detail's amount and currency as written; an only detail without them has the entry's."""
    if detail.amount is None and len(entry.details) <= 1:
        return entry.amount, entry.currency
    return detail.amount, detail.currency


def _units(written: str) -> int:
    """Return a plain decimal number as a whole number of its fifth decimal."""
    whole, _, fraction = written.partition(".")
    return int(whole + fraction.ljust(AMOUNT_DECIMALS, "0"))


def _write_money(written: str) -> tuple[str | None, str | None]:
    """Return a plain decimal number as money with two decimals, or None and why it is none."""
    units = _units(written)
    cents, rest = divmod(units, 10 ** (AMOUNT_DECIMALS - MONEY_DECIMALS))
    if rest:
        return None, "amount_precision"
    if not cents:
        return None, "amount_zero"
    if cents >= 10 ** (MONEY_INTEGER_DIGITS_MAX + MONEY_DECIMALS):
        return None, "amount_malformed"
    return f"{cents // 100}.{cents % 100:02d}", None


def _booking_date(entry: Entry) -> tuple[str | None, str | None]:
    """Return the booking day in Jakarta, or None and why; a time without a zone is the bank's own, Jakarta's."""
    if entry.booked_on is not None:
        match = _DATE.fullmatch(entry.booked_on)
        day = match[1] if match else ""
        try:
            return date.fromisoformat(day).isoformat(), None
        except ValueError:
            return None, "booking_date_malformed"
    if entry.booked_at is None:
        return None, "booking_date_missing"
    moment = read_date_time(entry.booked_at)
    if moment is None:
        return None, "booking_date_malformed"
    return moment.date().isoformat(), None


def read_date_time(written: str) -> datetime | None:
    """Return an XML Schema dateTime in Jakarta's zone, to the second, or None when it is none."""
    match = _DATE_TIME.fullmatch(written)
    if match is None:
        return None
    local, midnight = match[1], match[1].endswith("T24:00:00")
    try:
        # XML Schema knows the end of a day as well as the beginning of the next; Python knows only the latter.
        moment = datetime.fromisoformat((f"{local[:-8]}00:00:00" if midnight else local) + (match[2] or "+07:00"))
        return (moment + timedelta(days=midnight)).astimezone(JAKARTA)
    except (ValueError, OverflowError):
        return None


def is_identifier(text: str | None) -> bool:
    """Tell whether this can be an identity: printable ASCII, not too long."""
    return text is not None and len(text) <= IDENTIFIER_CHARACTERS_MAX and bool(_IDENTIFIER.fullmatch(text))
