"""Write contracts/reference/*.py from well-kept libraries: run it by hand when a list is to change.

    python tests/contracts/make_reference.py

The lists are copied rather than imported, since a decision must be the same years later whatever a library says then.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import holidays
import iso4217
import pycountry

FOLDER = Path(__file__).resolve().parents[2] / "contracts" / "reference"

#: ICAO Doc 9303 part 3 (8th edition), section 5: codes of nationality that ISO 3166-1 does not have.
ICAO_NATIONALITIES = (
    "D EUE GBD GBN GBO GBP GBS IAO RKS UNA UNK UNO XAA XBA XCC XCE XCO XDC XEC XES XIM XMP XOM XPO XXA XXB XXC XXX"
)

#: The years for which joint holidays (cuti bersama) have been decreed; a later year needs a new run.
HOLIDAY_YEARS = range(2012, 2027)


def sha256_of(entries: Iterable[str]) -> str:
    """The digest of a list: SHA-256 of its entries, sorted, each followed by a line feed."""
    return hashlib.sha256("".join(f"{entry}\n" for entry in sorted(entries)).encode()).hexdigest()


def wrapped(entries: Iterable[str], width: int = 100) -> str:
    """The entries, sorted, as lines of one string literal each."""
    lines, line = [], ""
    for entry in sorted(entries):
        if len(line) + len(entry) + 1 > width:
            lines.append(line)
            line = ""
        line += f"{entry} "
    lines.append(line)
    return "\n".join(f'    "{text}"' for text in lines)


def write(name: str, docstring: str, constant: str, entries: Iterable[str], more: str = "") -> None:
    """Write one module that holds one frozen set of codes and its digest."""
    entries = sorted(entries)
    (FOLDER / f"{name}.py").write_text(
        f'"""{docstring}\n\nMade by tests/contracts/make_reference.py.\n"""\n\n'
        "#: SHA-256 of the entries, sorted, each followed by a line feed.\n"
        f'SHA256 = "{sha256_of(entries)}"\n\n'
        f"_ENTRIES = (\n{wrapped(entries)}\n)\n\n"
        f"{constant} = frozenset(_ENTRIES.split())\n{more}",
        encoding="utf-8",
    )


def country_codes() -> set[str]:
    """ISO 3166-1 alpha-3 codes and ICAO's exceptions."""
    return {country.alpha_3 for country in pycountry.countries} | set(ICAO_NATIONALITIES.split())


def currency_codes() -> set[str]:
    """ISO 4217 alphabetic codes in force."""
    return {currency.code for currency in iso4217.Currency}


def holiday_dates() -> set[str]:
    """Indonesian public holidays and joint holidays of government (cuti bersama), as YYYY-MM-DD."""
    calendar = holidays.country_holidays("ID", years=HOLIDAY_YEARS, categories=("public", "government"))
    return {day.isoformat() for day in calendar}


def main() -> None:
    """Write every list."""
    write("countries", "Nationalities: ISO 3166-1 alpha-3 (pycountry) and the exceptions of ICAO Doc 9303-3 section 5.",
          "NATIONALITIES", country_codes())  # fmt: skip
    write("currencies", "Currencies: ISO 4217 alphabetic codes in force (iso4217).", "CURRENCIES", currency_codes())
    write("holidays", "Indonesian public and joint holidays (cuti bersama), 2012 to 2026 (holidays).",
          "HOLIDAYS", holiday_dates(),
          "\n#: The years whose holidays are decreed.\n"
          f"YEARS = range({HOLIDAY_YEARS.start}, {HOLIDAY_YEARS.stop})\n")  # fmt: skip


if __name__ == "__main__":
    main()
