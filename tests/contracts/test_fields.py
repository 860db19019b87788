"""Check digits, codes, money and dates, by DOMAIN's own examples."""

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from stdnum import luhn as stdnum_luhn
from stdnum.id import npwp as stdnum_npwp

from contracts import fields
from contracts.reference import countries, currencies, holidays
from contracts.rules.clock import CalendarError, add_working_days, is_working_day
from tests.contracts.make_reference import country_codes, currency_codes, holiday_dates, sha256_of

CASES = [
    (fields.Npwp, ["013121660091000", "0013121660091000"],
     ["013121661091000", "0013121661091000", "3171010101800001", "01312166009100", "01.312.166.0-091.000", ""]),
    (fields.Passport, ["L898902C36", "C01X00T478", "AB12345<<6"],
     ["L898902C37", "L898902C3", "l898902c36", "<898902C36", "AB<12345<1", "L898902C3\u0666"]),
    (fields.Nib, ["1234567890123"], ["123456789012", "12345678901234", "123456789012x", "\uff11" * 13]),
    (fields.BillingCode, ["820260302000017"], ["82026030200001", "8202603020000170", "82026030200001\n"]),
    (fields.Ntpn, ["0A1B2C3D4E5F6G7H"], ["0A1B2C3D4E5F6G7", "0A1B2C3D4E5F6G7-"]),
    (fields.Nationality, ["JPN", "D", "DEU", "XXA", "UNO"], ["JP", "d", "ZZZ", ""]),
    (fields.Currency, ["USD", "IDR"], ["usd", "US", "ZZZ"]),
    (fields.Application, ["B.3/17/PK.04.00/III/2026"], ["b.3", "", "A" * 65, "A B"]),
    (fields.Reference, ["off-0001", "A" * 64], ["short", "A" * 65, "with space"]),
    (fields.Money, ["0.01", "1200.00", "9999999999999999.99"],
     ["0.00", "00.01", "1200", "1200.0", "1200.000", "-1.00", "1,200.00", "1e3", "10000000000000000.00", "1200.00\n"]),
    (fields.Rate, ["16250.5", "0.000061"], ["16250", "1.2345678", ".5"]),
    (fields.Date, ["2024-02-29"], ["2026-02-29", "2026-2-9", "20260209", "2026-W01-1", "2026-01-01T00:00:00Z"]),
    (fields.Timestamp, ["2026-03-02T01:00:00Z", "2026-03-02T01:00:00.123456Z"],
     ["2026-03-02T01:00:60Z", "2026-03-02T24:00:00Z", "2026-03-02T01:00:00+00:00", "2026-03-02 01:00:00Z",
      "2026-03-02T01:00:00.1234567Z", "2026-03-02T01:00:00"]),
    (fields.Sha256Text, ["A" * 43], ["A" * 42, "A" * 44, "A" * 42 + "B", "A" * 42 + "="]),
    (fields.Sha256Hex, ["0f" * 32], ["0F" * 32, "0f" * 31]),
    (fields.Name, ["A", "Bank Negara, Tbk.", "李小龍"], ["", " A", "A ", "A\nB", "A\x00B", "A" * 201, "A\u2028B"]),
    (fields.Kbji, ["2511"], ["251", "25110"]),
    (fields.BankCode, ["002"], ["2", "0002"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, good, _ in CASES for value in good], ids=lambda part: repr(part)[:30]
)
def test_valid(field: Any, value: str) -> None:
    assert TypeAdapter(field).validate_python(value, strict=True) == value


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, _, bad in CASES for value in bad], ids=lambda part: repr(part)[:30]
)
def test_invalid(field: Any, value: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(field).validate_python(value, strict=True)


def test_numbers_are_not_strings() -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(fields.Nib).validate_python(1234567890123, strict=True)
    with pytest.raises(ValidationError):
        TypeAdapter(fields.LogIndex).validate_python(True, strict=True)


@given(st.from_regex(r"[0-9]{15}", fullmatch=True))
def test_npwp_agrees_with_stdnum(number: str) -> None:
    """An independent library judges the check digit alike; it is stricter about the first digits."""
    assert fields.luhn_valid(number[:9]) == stdnum_luhn.is_valid(number[:9])
    if stdnum_npwp.is_valid(number):
        assert fields.check_npwp(number) == number


@given(st.from_regex(r"[0-9A-Z]{9}", fullmatch=True), st.integers(0, 8), st.sampled_from("0123456789"))
def test_a_changed_digit_of_a_passport_shows(number: str, place: int, digit: str) -> None:
    changed = number[:place] + digit + number[place + 1 :]
    right = fields.check_passport(number + fields.passport_check_digit(number))
    if number[place].isdigit() and number[place] != digit:
        with pytest.raises(ValueError, match="check digit"):
            fields.check_passport(changed + right[9])


@given(st.lists(st.integers(1, 10**18 - 1), min_size=1, max_size=20))
def test_money_is_exact(amounts: list[int]) -> None:
    written = [fields.write_money(amount) for amount in amounts]
    assert [TypeAdapter(fields.Money).validate_python(text) for text in written] == written
    assert sum(map(fields.hundredths, written)) == sum(amounts)


@pytest.mark.parametrize("text", ["1200", "1200.0", "01.00", "1.00 ", "", "1\u0660.00"])
def test_what_is_not_money_has_no_hundredths(text: str) -> None:
    with pytest.raises(ValueError, match="two decimals"):
        fields.hundredths(text)


def test_a_digest_has_one_spelling() -> None:
    assert fields.write_digest(bytes(range(32))) == "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"


def test_lists_are_those_that_were_hashed() -> None:
    assert sha256_of(countries.NATIONALITIES) == countries.SHA256
    assert sha256_of(currencies.CURRENCIES) == currencies.SHA256
    assert sha256_of(holidays.HOLIDAYS) == holidays.SHA256


def test_lists_are_those_of_the_libraries() -> None:
    """They were copied, so that a decision is the same years later; today they still agree."""
    assert country_codes() == countries.NATIONALITIES
    assert currency_codes() == currencies.CURRENCIES
    assert holiday_dates() == holidays.HOLIDAYS


def test_working_days() -> None:
    assert add_working_days(date(2026, 3, 16), 3) == date(2026, 3, 26)
    assert add_working_days(date(2026, 3, 13), 0) == date(2026, 3, 13)
    assert not is_working_day(date(2026, 3, 18))
    assert not is_working_day(date(2026, 3, 21))
    assert is_working_day(date(2026, 3, 17))


def test_no_holiday_is_guessed() -> None:
    with pytest.raises(CalendarError):
        add_working_days(date(2026, 12, 31), 1)
