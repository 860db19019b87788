"""From a record (a row of a table, a line of a file) to a fact in the ministry's own words, by its mapping. Pure."""

import json
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from connectors.link.fact import Aside
from connectors.ministry.mapping import Form, RowForm
from connectors.ministry.translate import (
    CODE_MEMBER_MISSING,
    CODE_VALUE_UNKNOWN,
    NativeRow,
    Untranslatable,
)

KEY_LENGTH_MAX = 200

Record = Mapping[str, Any]


class ZoneUnknown(Exception):
    """A time is stored without a zone, and the mapping does not say which it is in."""


def read_record(form: RowForm, record: Record, door: str) -> NativeRow | Aside:
    """Return the fact that a record tells, or what is set aside with its reason. Raises ZoneUnknown."""
    key = _key_of(form, record)
    native_key = f"{door}/{key}"
    try:
        kind = _words(record[form.columns.kind], "kind")
        return NativeRow(
            native_key=native_key,
            at=_instant(form, record[form.columns.at]),
            kind=form.kinds.get(kind, kind),
            application=_application(form, record),
            payload=_payload(form, record),
        )
    except Untranslatable as reason:
        return Aside(native_key, reason.code, reason.detail, _subject(form, record))


def _key_of(form: RowForm, record: Record) -> str:
    """Return the fact's own identity; one that has none is named by its number, so that it can be told of."""
    for column in (form.columns.key, form.columns.id):
        value = None if column is None else record[column]
        if value not in (None, "") and len(str(value)) <= KEY_LENGTH_MAX and _is_text(str(value)):
            return str(value)
    return ""


def _is_text(text: str) -> bool:
    """Whether a text can be stored: JSON can spell half a surrogate pair, which is no character."""
    return not any("\ud800" <= each <= "\udfff" for each in text)


def _application(form: RowForm, record: Record) -> str | None:
    column = form.columns.application
    value = None if column is None else record[column]
    return None if value in (None, "") else _words(value, "application")


def _subject(form: RowForm, record: Record) -> str | None:
    """Return the application that the row names, if it can be read whatever else cannot."""
    try:
        return _application(form, record)
    except Untranslatable:
        return None


def _words(value: Any, member: str) -> str:
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, int | UUID) and not isinstance(value, bool):
        return str(value)
    raise Untranslatable(CODE_MEMBER_MISSING if value is None else CODE_VALUE_UNKNOWN, member)


def _instant(form: RowForm, value: Any) -> datetime:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise Untranslatable(CODE_VALUE_UNKNOWN, "at") from None
    if not isinstance(value, datetime):
        raise Untranslatable(CODE_MEMBER_MISSING if value is None else CODE_VALUE_UNKNOWN, "at")
    return _with_zone(form, value)


def _with_zone(form: RowForm, value: datetime) -> datetime:
    if value.tzinfo is not None:
        return value
    if form.zone is None:
        raise ZoneUnknown
    return value.replace(tzinfo=form.zone)


def _payload(form: RowForm, record: Record) -> Mapping[str, Any]:
    column = form.columns.payload
    payload = {} if column is None or record[column] in (None, "") else _read_json(record[column], "payload")
    if not isinstance(payload, dict):
        raise Untranslatable(CODE_VALUE_UNKNOWN, "payload")
    for path, member in form.members.items():
        _place(payload, path, _value(form, member, record[member.column], path))
    for path, words in form.words.items():
        _replace_word(payload, path.split("."), words)
    whole: Mapping[str, Any] = _without_empty(payload)
    return whole


def _read_json(text: Any, member: str) -> Any:
    if isinstance(text, dict | list):
        return text
    try:
        return json.loads(text, parse_float=Decimal)
    except (TypeError, ValueError, RecursionError):
        raise Untranslatable(CODE_VALUE_UNKNOWN, member) from None


def _value(form: RowForm, member: Form, value: Any, path: str) -> Any:
    """Return a column's value as JSON has it; NULL and an empty text are both None."""
    if value is None or value == "":
        return None
    if member.as_ == "json":
        return _read_json(value, path)
    if member.as_ == "number":
        return _number(value, path)
    plain = _plain(form, value, path)
    return str(plain).rjust(member.width or 0, "0") if member.as_ == "text" else plain


def _number(value: Any, path: str) -> int:
    try:
        number = Decimal(value)
        if number == int(number):
            return int(number)
    except (TypeError, ValueError, InvalidOperation, OverflowError):
        pass
    raise Untranslatable(CODE_VALUE_UNKNOWN, path)


def _plain(form: RowForm, value: Any, path: str) -> Any:
    if isinstance(value, datetime):
        return _with_zone(form, value).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, str | int | Decimal | UUID) and not isinstance(value, bool):
        return str(value) if isinstance(value, UUID) else value
    raise Untranslatable(CODE_VALUE_UNKNOWN, path)


def _place(payload: dict[str, Any], path: str, value: Any) -> None:
    """Put a value at a dotted path; a number in it is the place in a list, which `_without_empty` makes of it."""
    *steps, last = path.split(".")
    inner = payload
    for step in steps:
        found = inner.setdefault(step, {})
        if not isinstance(found, dict):
            raise Untranslatable(CODE_VALUE_UNKNOWN, path)
        inner = found
    inner[last] = value


def _replace_word(inner: Any, steps: list[str], words: Mapping[str, str]) -> None:
    step, *rest = steps
    if not isinstance(inner, dict) or step not in inner:
        return
    if rest:
        _replace_word(inner[step], rest, words)
    elif isinstance(inner[step], str | int) and not isinstance(inner[step], bool):
        inner[step] = words.get(str(inner[step]), inner[step])


def _without_empty(value: Any, *, nested: bool = False) -> Any:
    """Turn objects whose names are numbers into lists, and drop what has no value at all inside such a list."""
    if not isinstance(value, dict):
        return value
    whole = {name: _without_empty(inner, nested=True) for name, inner in value.items()}
    if whole and all(name.isdecimal() for name in whole):
        places = sorted(whole, key=int)
        return [whole[place] for place in places if whole[place] is not None]
    if nested and whole and all(inner is None for inner in whole.values()):
        return None
    return whole
