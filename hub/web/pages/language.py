"""The two languages of the pages: the text catalogues, and which of them a visitor reads."""

import tomllib
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Any

from babel import Locale
from babel.core import get_global
from babel.dates import format_date, format_datetime
from babel.numbers import format_decimal
from fastapi import Request

from contracts.rules.clock import JAKARTA

LANGUAGES = ("id", "en")
DEFAULT = "id"
COOKIE = "language"
FOLDER = Path(__file__).with_name("text")
_LOCALES = {"id": "id_ID", "en": "en_GB"}


def _flatten(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


@cache
def read_catalogue(language: str) -> Mapping[str, str]:
    """Return a language's texts by their dotted names."""
    return dict(_flatten(tomllib.loads((FOLDER / f"{language}.toml").read_text("utf-8"))))


@cache
def read_provinces() -> Mapping[str, str]:
    """Return the provinces' names by their BPS codes."""
    return dict(_flatten(tomllib.loads((FOLDER / "provinces.toml").read_text("utf-8"))))


def choose(request: Request) -> str:
    """Return the language that the visitor chose (query, then cookie), else the browser's first that we have."""
    for chosen in (request.query_params.get("lang"), request.cookies.get(COOKIE)):
        if chosen in LANGUAGES:
            return str(chosen)
    return negotiate(request.headers.get("accept-language", ""))


def negotiate(header: str) -> str:
    """Return the language of an Accept-Language header (RFC 9110 section 12.5.4); Indonesian where it names neither."""
    ranked: list[tuple[float, int, str]] = []
    for place, part in enumerate(header.split(",")[:20]):
        name, _, weight = part.strip().partition(";q=")
        primary = name.strip().lower().partition("-")[0]
        # `in` is the code that Indonesian had before 1989, which old Java and Android still send.
        primary = "id" if primary == "in" else primary
        try:
            quality = float(weight) if weight else 1.0
        except ValueError:
            continue
        if primary in LANGUAGES and quality > 0:
            ranked.append((-quality, place, primary))
    return min(ranked)[2] if ranked else DEFAULT


class Speech:
    """One language: its texts, and how it writes days, moments and numbers."""

    def __init__(self, language: str) -> None:
        self.language = language
        self._locale = _LOCALES[language]
        self._texts = read_catalogue(language)

    def text(self, name: str, **values: object) -> str:
        """Return a text with its values filled in. Raises KeyError for a name that the catalogue lacks."""
        text = self._texts[name]
        return text.format(**values) if values else text

    def word(self, group: str, name: str) -> str:
        """Return what stands for a code, or the code itself where it is the ministry's own to translate."""
        return self._texts.get(f"{group}.{name.replace('.', '_')}", name)

    def day(self, value: date) -> str:
        """Write a day in full, a moment as its day in Jakarta."""
        if isinstance(value, datetime):
            value = value.astimezone(JAKARTA).date()
        return format_date(value, "d MMMM y", locale=self._locale)

    def month(self, value: date) -> str:
        """Write a month, given by its first day, in full."""
        return format_date(value, "MMMM y", locale=self._locale)

    def short_month(self, value: date) -> str:
        """Write a month, given by its first day, for the axis of a chart."""
        return format_date(value, "MMM yy", locale=self._locale)

    def place(self, dimension: str, code: str) -> str:
        """Return the name of a statistical code, or the code itself where it has none here."""
        if dimension == "nationality":
            # CLDR knows the codes with three letters as other names of those with two.
            alias = get_global("territory_aliases").get(code, [code])[0]
            return str(Locale.parse(self._locale).territories.get(alias, code))
        if dimension == "province":
            return read_provinces().get(code, code)
        return self.word("level", code) if dimension == "position_level" else f"KBLI {code}"

    def moment(self, value: datetime) -> str:
        """Write a moment in Jakarta's time, to the minute."""
        return f"{format_datetime(value.astimezone(JAKARTA), 'd MMM y, HH:mm', locale=self._locale)} WIB"

    def number(self, value: float) -> str:
        """Write a number with the language's separators."""
        return format_decimal(value, locale=self._locale)

    def money(self, amount: str, currency: str) -> str:
        """Write an amount, given as plain decimal text, with its currency before it."""
        return f"{currency}\u00a0{format_decimal(amount, format='#,##0.00', locale=self._locale)}"
