"""Fields of the domain and their checks: codes, check digits, money, dates.

Every type is a constrained string, checked once by pydantic and then carried as it was written: what is signed, hashed
and decided on is the sender's own text. Money becomes an integer of hundredths only to be added or compared.
"""

import base64
import re
from collections.abc import Callable
from datetime import date, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints, WithJsonSchema

from contracts.reference.countries import NATIONALITIES
from contracts.reference.currencies import CURRENCIES

TEXT_CHARACTERS_MAX = 1000
NAME_CHARACTERS_MAX = 200
#: An order travels whole, beside the cases that it concerns, and both fit into one message.
SIGNED_ORDER_BYTES_MAX = 32 * 1024

_LUHN_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
_PASSPORT_WEIGHTS = (7, 3, 1)
_NO_CONTROLS = r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]"
_MONEY = re.compile(r"(?:0|[1-9][0-9]{0,15})\.[0-9]{2}")


def luhn_valid(digits: str) -> bool:
    """Whether the last of these ASCII digits is the Luhn check digit of the others (ISO/IEC 7812-1 annex B)."""
    total = 0
    for position, digit in enumerate(reversed(digits)):
        total += _LUHN_DOUBLED[int(digit)] if position % 2 else int(digit)
    return total % 10 == 0


def check_npwp(value: str) -> str:
    """Return a valid NPWP of 15 digits, or of 16 with a leading 0.

    Another value of 16 digits is an NIK, a natural person's number, and a natural person may not employ foreign
    workers. Raises ValueError. Source: PMK 112/PMK.03/2022; the Luhn digit is the ninth of the 15.
    """
    if len(value) == 16 and value[0] != "0":
        raise ValueError("a person's NIK, not an NPWP")
    if not luhn_valid(value[:9] if len(value) == 15 else value[:10]):
        raise ValueError("wrong check digit")
    return value


def passport_check_digit(number: str) -> str:
    """The check digit of a passport number of 9 characters, `<`-padded (ICAO Doc 9303-3 section 4.9)."""
    total = sum(_passport_value(char) * _PASSPORT_WEIGHTS[place % 3] for place, char in enumerate(number))
    return str(total % 10)


def _passport_value(character: str) -> int:
    """A digit counts as itself, A to Z as 10 to 35, the filler as 0."""
    return 0 if character == "<" else int(character, 36)


def check_passport(value: str) -> str:
    """Return a valid passport number: 9 characters as in the machine-readable zone, then their check digit."""
    if "<" in value[:9].rstrip("<") or value[0] == "<":
        raise ValueError("filler inside the number")
    if passport_check_digit(value[:9]) != value[9]:
        raise ValueError("wrong check digit")
    return value


def check_date(value: str) -> str:
    """Return a date that exists."""
    date.fromisoformat(value)
    return value


def check_timestamp(value: str) -> str:
    """Return a moment that exists; a leap second does not."""
    datetime.fromisoformat(value)
    return value


def check_digest(value: str) -> str:
    """Return base64url whose unused trailing bits are zero, so that one digest has one spelling."""
    if value[-1] not in "AEIMQUYcgkosw048":
        raise ValueError("not canonical base64url")
    return value


def _member_of(codes: frozenset[str]) -> Callable[[str], str]:
    """A check that a code is in a frozen list."""

    def check(value: str) -> str:
        if value not in codes:
            raise ValueError("not in the list")
        return value

    return check


def _text(characters_max: int) -> Any:
    """Text without control characters that neither begins nor ends with a space."""
    return StringConstraints(
        min_length=1,
        max_length=characters_max,
        pattern=rf"^[^\s\x00-\x1f\x7f-\x9f]({_NO_CONTROLS}*[^\s\x00-\x1f\x7f-\x9f])?$",
    )


def hundredths(money: str) -> int:
    """An amount such as `1200.00` as a whole number of hundredths. Raises ValueError on any other form."""
    if _MONEY.fullmatch(money) is None:
        raise ValueError("not an amount with two decimals")
    return int(money[:-3] + money[-2:])


def write_money(amount: int) -> str:
    """A whole, non-negative number of hundredths as an amount such as `1200.00`."""
    return f"{amount // 100}.{amount % 100:02d}"


def write_digest(digest: bytes) -> str:
    """A SHA-256 digest as events name it: base64url, 43 characters, no padding."""
    return base64.urlsafe_b64encode(digest)[:43].decode()


Application = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9./-]{1,64}$")]
DecisionNumber = Application
PermitNumber = Application
Reference = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{8,64}$")]
EventId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:-]{1,64}$")]
EventType = Annotated[str, StringConstraints(pattern=r"^id\.tka\.[a-z_]+\.[a-z_.]+\.v[1-9][0-9]*$", max_length=100)]
SourceUri = Annotated[str, StringConstraints(pattern=r"^https://[a-z0-9.-]+(/[A-Za-z0-9._~/-]*)?$", max_length=200)]
ParticipantId = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]
Word = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
Code = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$")]
BankReference = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]([\x20-\x7e]{0,126}[\x21-\x7e])?$")]

Nib = Annotated[str, StringConstraints(pattern=r"^[0-9]{13}$")]
Npwp = Annotated[str, StringConstraints(pattern=r"^[0-9]{15,16}$"), AfterValidator(check_npwp)]
BillingCode = Annotated[str, StringConstraints(pattern=r"^[0-9]{15}$")]
Ntpn = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]{16}$")]
BankCode = Annotated[str, StringConstraints(pattern=r"^[0-9]{3}$")]
Kbji = Annotated[str, StringConstraints(pattern=r"^[0-9]{4}$")]
Kbli = Annotated[str, StringConstraints(pattern=r"^[0-9]{5}$")]
Province = Annotated[str, StringConstraints(pattern=r"^[0-9]{2}$")]
Regency = Annotated[str, StringConstraints(pattern=r"^[0-9]{4}$")]
Kanim = Code
Passport = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9<]{9}[0-9]$"), AfterValidator(check_passport)]
Nationality = Annotated[
    str, AfterValidator(_member_of(NATIONALITIES)), WithJsonSchema({"type": "string", "enum": sorted(NATIONALITIES)})
]
Currency = Annotated[
    str, AfterValidator(_member_of(CURRENCIES)), WithJsonSchema({"type": "string", "enum": sorted(CURRENCIES)})
]

Money = Annotated[
    str, StringConstraints(pattern=r"^(0\.(0[1-9]|[1-9][0-9])|[1-9][0-9]{0,15}\.[0-9]{2})$")
]  # more than nothing
Rate = Annotated[str, StringConstraints(pattern=r"^(0|[1-9][0-9]{0,9})\.[0-9]{1,6}$")]
Date = Annotated[str, StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"), AfterValidator(check_date)]
Timestamp = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z$"),
    AfterValidator(check_timestamp),
]
Sha256Hex = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Sha256Text = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{43}$"), AfterValidator(check_digest)]
Salt = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{22,64}$")]
SignedOrder = Annotated[str, StringConstraints(min_length=1, max_length=SIGNED_ORDER_BYTES_MAX)]
Name = Annotated[str, _text(NAME_CHARACTERS_MAX)]
Text = Annotated[str, _text(TEXT_CHARACTERS_MAX)]
LogIndex = Annotated[int, Field(ge=0, le=2**53 - 1)]
Sequence = Annotated[int, Field(ge=0, le=2**53 - 1)]
SequenceText = Annotated[str, StringConstraints(pattern=r"^0[0-9]{19}$")]
Revision = Annotated[int, Field(ge=1, le=999_999)]
UncodedSubject = Annotated[str, StringConstraints(pattern=r"^X-[0-9A-Z-]{1,40}$")]
DifferenceId = Annotated[str, StringConstraints(pattern=r"^([0-9]{15}|X-[0-9A-Z-]{1,40}):[0-9a-f]{16}$")]
Total = Annotated[str, StringConstraints(pattern=r"^(0|[1-9][0-9]{0,21})\.[0-9]{2}$")]
RecommendationNumber = Annotated[str, StringConstraints(pattern=r"^TKA-[0-9A-F]{12}$")]
