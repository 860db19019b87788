"""How an existing register's columns are read and written: a TOML file, of which this is the whole form.

Without a file the tables are `register.outbox` and `register.outcome`, as docs/how-to/ministry.md shows them. With one:

    [outbox]
    table = "permits.changes"           one table or view that the connector may SELECT
    time_zone = "Asia/Jakarta"          the zone of times that are stored without one
    [outbox.columns]                    id, at, kind; and as there is: key, xact, application, payload
    id = "change_no"
    at = "changed_at"
    kind = "status_code"
    application = "permit_no"
    [outbox.members]                    flat columns instead of a JSON payload, or beside it: member = column
    petugas = "officer"
    "pemberi_kerja.nama" = "company"
    "lokasi.0.kabupaten" = {column = "city", as = "text", width = 4}
    dokumen = {column = "files", as = "json"}
    [outbox.kinds]                      the register's word = the connector's; a kind that is not named is taken as is
    "70" = "DISETUJUI"
    [outbox.words.jenis]                a member's word = the connector's
    "N" = "baru"
    [outcome]
    table = "permits.answers"           one table that the connector may INSERT into and SELECT
    [outcome.columns]                   event_id, kind, payload; and if wanted: application, billing_code
    event_id = "id"
    kind = "about"
    payload = "body"
    [outcome.kinds]
    PEMBAYARAN = "PAY"
    [csv]                               the same words as [outbox], for files of the folder; needs columns.key

Names are of letters, digits and underscores, so that no text of a file becomes SQL.
"""

import re
import tomllib
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from connectors.ministry.translate import KINDS

#: How long a missing number of the outbox is looked for at least, though no transaction could bring it any more.
GAP_WAIT_S_DEFAULT = 60
#: The same where the connector cannot see the server's transactions: after that the number is given up, and counted.
BLIND_WAIT_S_DEFAULT = 86_400

_NAME = r"[A-Za-z_][A-Za-z0-9_$]{0,62}"

Column = Annotated[str, Field(min_length=1, max_length=128)]
SqlColumn = Annotated[str, Field(pattern=rf"^{_NAME}$")]
Table = Annotated[str, Field(pattern=rf"^{_NAME}(\.{_NAME})?$")]
_is_sql_name = re.compile(_NAME).fullmatch
#: A member's place in the payload; a number is a place in a list.
MEMBER_PATH = r"[a-z][a-z0-9_]*(\.(0|[1-9][0-9]?|[a-z][a-z0-9_]*))*"
MemberPath = Annotated[str, Field(pattern=rf"^{MEMBER_PATH}$")]


class MappingInvalid(Exception):
    """The mapping's text cannot be used; the message is one sentence that names the place."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Form(_Part):
    """How a column's value becomes a member's: as it is, as text of a width, as a whole number, or as JSON."""

    column: Column
    as_: Literal["value", "text", "number", "json"] = Field(default="value", alias="as")
    width: int | None = Field(default=None, ge=1, le=20)


def _as_form(given: Any) -> Any:
    return {"column": given} if isinstance(given, str) else given


def _known_kind(kind: str) -> str:
    if kind not in KINDS:
        raise ValueError("no kind of that name: see docs/how-to/ministry.md")
    return kind


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        raise ValueError("this machine knows no time zone of that name (its package is tzdata)") from None
    return name


_Form = Annotated[Form, BeforeValidator(_as_form)]
_Kind = Annotated[str, AfterValidator(_known_kind)]
_Zone = Annotated[str, AfterValidator(_known_zone)]


class RowColumns(_Part):
    """What is read of every row. `key`: the fact's own identity, where the number is not one that stays."""

    id: Column | None = None
    key: Column | None = None
    xact: Column | None = None
    at: Column
    kind: Column
    application: Column | None = None
    payload: Column | None = None

    def names(self) -> list[str]:
        """Return the columns, each once, the optional ones that are absent left out."""
        return list(dict.fromkeys(filter(None, (getattr(self, name) for name in type(self).model_fields))))


class RowForm(_Part):
    """How a record (a row of a table, a line of a file) becomes a fact in the connector's words."""

    columns: RowColumns
    members: dict[MemberPath, _Form] = {}
    kinds: dict[str, _Kind] = {}
    words: dict[MemberPath, dict[str, str]] = {}
    time_zone: _Zone | None = None

    @property
    def zone(self) -> ZoneInfo | None:
        """The zone of times that are stored without one."""
        return None if self.time_zone is None else ZoneInfo(self.time_zone)

    def names(self) -> list[str]:
        """Return every column that is read."""
        return list(dict.fromkeys([*self.columns.names(), *(form.column for form in self.members.values())]))


class OutboxForm(RowForm):
    """The table or view that is read. Its rows are ordered by `xact` and `id`, or by `id` alone (see `gaps`)."""

    table: Table
    gap_wait_s: int = Field(default=GAP_WAIT_S_DEFAULT, ge=1, le=BLIND_WAIT_S_DEFAULT)
    blind_wait_s: int = Field(default=BLIND_WAIT_S_DEFAULT, ge=60)

    @model_validator(mode="after")
    def _can_be_asked_for(self) -> Self:
        if self.columns.id is None:
            raise ValueError("columns.id is needed: a whole number that rises with each new row")
        for name in self.names():
            if _is_sql_name(name) is None:
                raise ValueError("a column's name is of letters, digits and underscores")
        return self


class CsvForm(RowForm):
    """The columns of CSV files, whose rows name themselves by `key`."""

    @model_validator(mode="after")
    def _has_key(self) -> Self:
        if self.columns.key is None:
            raise ValueError("columns.key is needed: the office's own identity of the fact, the same in every file")
        return self


class OutcomeColumns(_Part):
    """What is written of every outcome. `event_id` must be unique in the table."""

    event_id: SqlColumn
    kind: SqlColumn
    payload: SqlColumn
    application: SqlColumn | None = None
    billing_code: SqlColumn | None = None


class OutcomeForm(_Part):
    """The table that is written."""

    table: Table
    columns: OutcomeColumns
    kinds: dict[str, str] = {}


class Mapping(_Part):
    """The whole file."""

    outbox: OutboxForm = OutboxForm(
        table="register.outbox",
        columns=RowColumns(
            id="id", xact="xact", at="at", kind="kind", application="application_number", payload="payload"
        ),
    )
    outcome: OutcomeForm = OutcomeForm(
        table="register.outcome",
        columns=OutcomeColumns(
            event_id="event_id",
            kind="kind",
            payload="payload",
            application="application_number",
            billing_code="billing_code",
        ),
    )
    csv: CsvForm | None = None


def read_mapping(text: str) -> Mapping:
    """Read a mapping. Raises MappingInvalid."""
    try:
        return Mapping.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise MappingInvalid(f"it is no TOML: {error}") from None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(step) for step in first["loc"]) or "the file"
        raise MappingInvalid(f"{place}: {first['msg'].removeprefix('Value error, ')}") from None
