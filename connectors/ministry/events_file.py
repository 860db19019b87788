"""The files of an office that has only files: CSV and NDJSON, each with a manifest. Pure.

    permits.csv                    a header line, then a line for each fact
    permits.ndjson                 a JSON object on each line
    permits.csv.manifest.json      {"name": "permits.csv", "rows": 120, "sha256": "<of the file's bytes, in hex>"}

Every row has `key` (the office's own identity of the fact, the same in every file), `at`, `kind`, `application_number`.
The members of its kind stand in `payload` (an object; in CSV its JSON) or, in CSV, in columns of their own, named by
their path: `pemberi_kerja.nama`, `lokasi.0.kabupaten`. A mapping's [csv] gives other names.
"""

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from connectors.link.fact import Aside
from connectors.ministry.mapping import MEMBER_PATH, Form, RowColumns, RowForm
from connectors.ministry.record import KEY_LENGTH_MAX, ZoneUnknown, read_record
from connectors.ministry.translate import NativeRow

DOOR: Final = "folder"
MANIFEST_SUFFIX: Final = ".manifest.json"
MANIFEST_BYTES_MAX: Final = 16 * 1024
FILE_BYTES_MAX: Final = 32 * 1024**2
#: A file goes into the spool in one transaction, whole or not at all.
ROWS_MAX: Final = 10_000
FIELD_LENGTH_MAX: Final = 128 * 1024

CODE_LINE_UNREADABLE: Final = "line_unreadable"
CODE_KEY_MISSING: Final = "row_key_missing"
FILE_REASONS: Final = {
    "manifest_invalid": 'the manifest is not {"name": ..., "rows": ..., "sha256": ...} of the file beside it',
    "name_unknown": "the file's name ends neither in .csv nor in .ndjson",
    "too_large": f"the file has more than {FILE_BYTES_MAX} bytes or {ROWS_MAX} rows: send it in parts",
    "sha256_wrong": "the file's SHA-256 is not the manifest's: it was cut short or changed",
    "rows_wrong": "the file has more or fewer rows than the manifest says",
    "not_utf8": "the file is not UTF-8",
    "csv_invalid": "the file is no CSV: a quote is not closed, or a field is too long",
    "header_wrong": "the header lacks key, at, kind or application_number, names a column twice, or one by no path",
    "zone_unknown": "times stand without a zone: write it, or say time_zone under [csv] in the mapping",
}
#: Members that the dictionary wants as whole numbers, which CSV has as text.
_NUMBERS: Final = frozenset(("revisi",))
_FIXED: Final = ("key", "at", "kind", "application_number")
_JSON_MEMBERS: Final = frozenset((*_FIXED, "payload"))
_is_path = re.compile(MEMBER_PATH).fullmatch


class FileRefused(Exception):
    """A file of which nothing counts; `reason` is a name of FILE_REASONS."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"{reason}: {FILE_REASONS[reason]}")
        self.reason = reason


class _ManifestText(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)
    name: Annotated[str, Field(min_length=1, max_length=200)]
    rows: Annotated[int, Field(ge=0, le=ROWS_MAX)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the office says of a file."""

    name: str
    rows: int
    sha256: str


def read_manifest(text: bytes) -> Manifest:
    """Read a manifest. Raises FileRefused."""
    try:
        read = _ManifestText.model_validate_json(text)
    except ValidationError:
        raise FileRefused("manifest_invalid") from None
    return Manifest(read.name, read.rows, read.sha256)


def read_rows(manifest: Manifest, content: bytes, form: RowForm | None) -> list[NativeRow | Aside]:
    """Return the facts of a file whose SHA-256 is the manifest's, in order. Raises FileRefused."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise FileRefused("not_utf8") from None
    if manifest.name.lower().endswith(".csv"):
        rows = list(_read_csv(text, manifest.name, form))
    elif manifest.name.lower().endswith(".ndjson"):
        rows = list(_read_ndjson(text, manifest.name))
    else:
        raise FileRefused("name_unknown")
    if len(rows) != manifest.rows:
        raise FileRefused("rows_wrong")
    return rows


def _read_csv(text: str, name: str, form: RowForm | None) -> Iterator[NativeRow | Aside]:
    # The csv module's limit is a global of the process: one that fits every file is set at each use.
    csv.field_size_limit(FIELD_LENGTH_MAX)
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(lines, [])
        chosen = _form_of(header, form)
        for number, line in enumerate(filter(None, lines), 1):
            if len(line) != len(header):
                yield Aside(f"{DOOR}/{name}:{number}", CODE_LINE_UNREADABLE, "the row has not the header's columns")
                continue
            yield _named(read_record(chosen, dict(zip(header, line, strict=True)), DOOR), name, number)
    except csv.Error:
        raise FileRefused("csv_invalid") from None
    except ZoneUnknown:
        raise FileRefused("zone_unknown") from None


def _form_of(header: list[str], form: RowForm | None) -> RowForm:
    """Return how the columns of this header are read. Raises FileRefused."""
    if len(set(header)) != len(header):
        raise FileRefused("header_wrong")
    if form is not None:
        if not set(form.names()) <= set(header):
            raise FileRefused("header_wrong")
        return form
    paths = [column for column in header if column not in _JSON_MEMBERS]
    if not set(_FIXED) <= set(header) or not all(map(_is_path, paths)):
        raise FileRefused("header_wrong")
    members = {path: Form(column=path, **{"as": "number" if path in _NUMBERS else "value"}) for path in paths}
    payload = "payload" if "payload" in header else None
    columns = RowColumns(key="key", at="at", kind="kind", application="application_number", payload=payload)
    return RowForm(columns=columns, members=members)


def _named(row: NativeRow | Aside, name: str, number: int) -> NativeRow | Aside:
    """Return the row, or what is set aside where it has no key: it is named by its place in the file then."""
    if row.native_key != f"{DOOR}/":
        return row
    subject = row.subject if isinstance(row, Aside) else row.application
    says = f"key must have 1 to {KEY_LENGTH_MAX} characters"
    return Aside(f"{DOOR}/{name}:{number}", CODE_KEY_MISSING, says, subject)


def _read_ndjson(text: str, name: str) -> Iterator[NativeRow | Aside]:
    columns = RowColumns(key="key", at="at", kind="kind", application="application_number", payload="payload")
    form = RowForm(columns=columns)
    lines = filter(str.strip, text.split("\n"))
    for number, line in enumerate(lines, 1):
        record = _read_object(line)
        if record is None:
            yield Aside(f"{DOOR}/{name}:{number}", CODE_LINE_UNREADABLE, "the line is no object of the five members")
            continue
        try:
            yield _named(read_record(form, record, DOOR), name, number)
        except ZoneUnknown:
            raise FileRefused("zone_unknown") from None


def _read_object(line: str) -> Mapping[str, Any] | None:
    try:
        record = json.loads(line, parse_float=Decimal)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and record.keys() == _JSON_MEMBERS else None
