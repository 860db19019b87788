"""Rule sets: data with a legal source per value, immutable, named by their SHA-256 in every recommendation."""

import hashlib
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from contracts import fields

Gate = Literal["approved", "settled"]
Value = TypeVar("Value")


class RuleSetError(ValueError):
    """A rule set cannot be read; the message names the place and never guesses."""


class _Part(BaseModel):
    """A group of members of a rule set's document."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Sourced(_Part, Generic[Value]):
    """A value, the law it comes from, and how sure that is."""

    value: Value
    source: Annotated[str, Field(min_length=3)]
    certainty: Literal["statute", "general knowledge", "uncertain"] = "statute"


class _Exemption(_Part):
    """A class of employers that owes no compensation, while it stands (by the application's date)."""

    class_: fields.Word = Field(alias="class")
    applies_from: date | None = None
    applies_until: date | None = None
    source: Annotated[str, Field(min_length=3)]
    certainty: Literal["statute", "general knowledge", "uncertain"] = "statute"


class _Gates(_Part):
    """What must hold for the recommendation and for the work permit."""

    recommendation: Sourced[list[Gate]]
    work_permit: Sourced[list[Gate]]


class _Compensation(_Part):
    """What is owed, and whether money after the bill's expiry still settles it."""

    usd_per_month: Sourced[fields.Money]
    late_settles: Sourced[bool]


class _Duration(_Part):
    """The longest permits, in months."""

    temporary_months_max: Sourced[int]
    other_months_max: Sourced[int]
    special_zone_months_max: Sourced[int]


class ServiceClock(_Part):
    """What starts and ends a clock, who holds the file meanwhile, and of which kinds of permit.

    `starts` and `ends` are event types without their first and last part: `ministry.permit.completed`. `pauses` says
    whether the clock rests while the applicant owes an answer to a deficiency notice.
    """

    starts: Annotated[list[str], Field(min_length=1)]
    ends: Annotated[list[str], Field(min_length=1)]
    holder: Literal["ministry", "applicant", "immigration"]
    permit_kinds: list[Literal["new", "extension", "temporary"]] = ["new", "extension", "temporary"]
    pauses: bool = False


class ServiceTime(_Part):
    """A service time: how many days, working days or calendar days; without a clock it is only shown."""

    days: Annotated[int, Field(ge=1, le=365)]
    kind: Literal["working", "calendar"]
    source: Annotated[str, Field(min_length=3)]
    certainty: Literal["statute", "general knowledge", "uncertain"] = "statute"
    clock: ServiceClock | None = None


class FindingRule(_Part):
    """A finding: its number and words, who sees it first, its thresholds, and the findings that entail it.

    Where one of `implied_by` is raised of a case, this one is not raised beside it.
    """

    number: Annotated[int, Field(ge=1, le=99)]
    title_en: Annotated[str, Field(min_length=3)]
    title_id: Annotated[str, Field(min_length=3)]
    text_en: Annotated[str, Field(min_length=3)]
    text_id: Annotated[str, Field(min_length=3)]
    seen_first_by: Literal["oversight"]
    thresholds: dict[fields.Word, Annotated[int, Field(ge=0)]] = {}
    implied_by: list[fields.Word] = []
    source: Annotated[str, Field(min_length=3)]
    certainty: Literal["statute", "general knowledge", "uncertain"] = "statute"


class _Document(_Part):
    """The whole document of a rule set."""

    format: Literal["tkahub-rules/1"]
    id: fields.Code
    version: Annotated[int, Field(ge=1)]
    title_en: str
    title_id: str
    applies_from: Sourced[date]
    gates: _Gates
    compensation: _Compensation
    duration: _Duration
    prohibited_positions: Sourced[list[fields.Kbji]]
    extension_working_days_min: Sourced[int]
    exemptions: list[_Exemption]
    service_times: dict[fields.Word, ServiceTime]
    findings: dict[fields.Word, FindingRule] = {}


@dataclass(frozen=True, slots=True)
class Exemption:
    """When a class of exemption stands, by the application's date; `applies_until` is the last day."""

    applies_from: date
    applies_until: date

    def stands_on(self, application_date: date) -> bool:
        """Whether an application of this date is exempt."""
        return self.applies_from <= application_date <= self.applies_until


@dataclass(frozen=True, slots=True)
class RuleSet:
    """One rule set, ready to be asked. `usd_per_month` is in hundredths of a dollar."""

    id: str
    version: int
    sha256: str
    title_en: str
    title_id: str
    applies_from: date
    recommendation_needs: frozenset[Gate]
    work_permit_needs: frozenset[Gate]
    usd_per_month: int
    late_settles: bool
    temporary_months_max: int
    other_months_max: int
    special_zone_months_max: int
    prohibited_positions: frozenset[str]
    extension_working_days_min: int
    exemptions: Mapping[str, Exemption]
    service_times: Mapping[str, ServiceTime]
    findings: Mapping[str, FindingRule]

    @classmethod
    def read(cls, document: bytes) -> "RuleSet":
        """Read a rule set from the bytes of its TOML document; its SHA-256 is that of those bytes.

        Raises RuleSetError.
        """
        try:
            read = _Document.model_validate(tomllib.loads(document.decode("utf-8")))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise RuleSetError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise RuleSetError(str(error)) from None
        return cls(
            id=read.id,
            version=read.version,
            sha256=hashlib.sha256(document).hexdigest(),
            title_en=read.title_en,
            title_id=read.title_id,
            applies_from=read.applies_from.value,
            recommendation_needs=frozenset(read.gates.recommendation.value),
            work_permit_needs=frozenset(read.gates.work_permit.value),
            usd_per_month=fields.hundredths(read.compensation.usd_per_month.value),
            late_settles=read.compensation.late_settles.value,
            temporary_months_max=read.duration.temporary_months_max.value,
            other_months_max=read.duration.other_months_max.value,
            special_zone_months_max=read.duration.special_zone_months_max.value,
            prohibited_positions=frozenset(read.prohibited_positions.value),
            extension_working_days_min=read.extension_working_days_min.value,
            exemptions={
                entry.class_: Exemption(entry.applies_from or date.min, entry.applies_until or date.max)
                for entry in read.exemptions
            },
            service_times=read.service_times,
            findings=read.findings,
        )

    @property
    def name(self) -> str:
        """Id and version, as cases and findings name it."""
        return f"{self.id}/{self.version}"

    def months_max(self, permit_kind: str, in_special_zone: bool) -> int:
        """The longest permit of this kind, in months."""
        if permit_kind == "temporary":
            return self.temporary_months_max
        return self.special_zone_months_max if in_special_zone else self.other_months_max


class Rulebook:
    """All rule sets; the application's date chooses one."""

    def __init__(self, rule_sets: Iterable[RuleSet]) -> None:
        """Take the rule sets; of one id the highest version counts. Raises RuleSetError when two begin on one day."""
        latest: dict[str, RuleSet] = {}
        for rule_set in rule_sets:
            known = latest.get(rule_set.id)
            if known is None or rule_set.version > known.version:
                latest[rule_set.id] = rule_set
        self._newest_first = sorted(latest.values(), key=lambda rule_set: rule_set.applies_from, reverse=True)
        days = {rule_set.applies_from for rule_set in self._newest_first}
        if len(days) != len(self._newest_first):
            raise RuleSetError("two rule sets begin on one day")

    def __iter__(self) -> Iterator[RuleSet]:
        """The rule sets, the newest first."""
        return iter(self._newest_first)

    def choose(self, application_date: date) -> RuleSet | None:
        """The rule set of an application of this date, or None when it is older than all of them."""
        for rule_set in self._newest_first:
            if rule_set.applies_from <= application_date:
                return rule_set
        return None


def started_months(from_: date, until: date) -> int:
    """The months that were at least begun between two dates; `until` is the day on which the permit ends.

    From the 1st of April until the 1st of April of the next year are 12 months, and one day more are 13.
    """
    months = (until.year - from_.year) * 12 + until.month - from_.month
    return max(months + (until.day > from_.day), 1)


def due(rule_set: RuleSet, from_: date, until: date) -> int:
    """The compensation owed for one worker in one post, in hundredths of a dollar; a part month counts in full."""
    return rule_set.usd_per_month * started_months(from_, until)
