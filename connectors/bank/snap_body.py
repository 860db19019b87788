"""The body of a SNAP call, member by member: which is missing, which is malformed. Pure.

Members at fixed places are a pydantic model; billing code, NTPN and the bank's own reference stand where the bank's
profile says, since every bank puts them elsewhere.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

from connectors.bank.snap_answer import INVALID_FORMAT, MISSING_FIELD, SnapRefusal
from contracts import fields

_BRANCHES = frozenset(("str", "int", "constrained-str"))  # Pydantic's names for the branches of a union.

BILLING_CODE: Final[TypeAdapter[str]] = TypeAdapter(fields.BillingCode)
NTPN: Final[TypeAdapter[str]] = TypeAdapter(fields.Ntpn)
BANK_REFERENCE: Final[TypeAdapter[str]] = TypeAdapter(fields.BankReference)

PartT = TypeVar("PartT", bound=BaseModel)


class BodyPart(BaseModel):
    """A part of a body: strict in type, silent about members that are not used here."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, strict=True, extra="ignore", hide_input_in_errors=True)


class AccountBody(BodyPart):
    """What every call about a virtual account names: the account, in three members that must agree."""

    service_id: Annotated[str, StringConstraints(pattern=r"^ *[0-9]+$", max_length=8)] = Field(alias="partnerServiceId")
    customer_no: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,20}$")] = Field(alias="customerNo")
    account_no: Annotated[str, StringConstraints(max_length=28)] = Field(alias="virtualAccountNo")

    def account(self) -> dict[str, str]:
        """Return the three as an answer echoes them."""
        return {
            "partnerServiceId": self.service_id,
            "customerNo": self.customer_no,
            "virtualAccountNo": self.account_no,
        }


def drop_empty(value: object) -> object:
    """Return the object without null and empty members: banks write an absent field in all three ways."""
    if isinstance(value, dict):
        return {name: member for name, member in value.items() if member is not None and member != ""}
    return value


class Faults:
    """What is wrong with one body, in order; the first missing member is told before the first malformed one."""

    def __init__(self) -> None:
        self._missing: list[str] = []
        self._malformed: list[str] = []

    def add_all(self, error: ValidationError) -> None:
        """Take the faults of a model; never a value."""
        for fault in error.errors(include_input=False, include_url=False, include_context=False):
            place = ".".join(step for step in fault["loc"] if isinstance(step, str) and step not in _BRANCHES)
            self.add(place, missing=fault["type"] == "missing")

    def add(self, place: str, *, missing: bool) -> None:
        """Take one fault."""
        (self._missing if missing else self._malformed).append(place)

    def check(self) -> None:
        """Raise SnapRefusal 400xx02 or 400xx01, naming the member, if there is a fault."""
        if self._missing:
            raise SnapRefusal(MISSING_FIELD, f"{{{self._missing[0]}}}")
        if self._malformed:
            raise SnapRefusal(INVALID_FORMAT, f"{{{self._malformed[0]}}}")


def read_part(model: type[PartT], value: Mapping[str, Any], faults: Faults) -> PartT | None:
    """Return the members at fixed places, or None and what is wrong in `faults`."""
    try:
        part = model.model_validate(drop_empty(value))
    except ValidationError as error:
        faults.add_all(error)
        return None
    if isinstance(part, AccountBody) and part.account_no != part.service_id + part.customer_no:
        faults.add("virtualAccountNo", missing=False)
    return part


def read_member(
    value: Mapping[str, Any], path: str, form: TypeAdapter[str], faults: Faults, *, mandatory: bool
) -> str | None:
    """Return the text at a dotted path (`additionalInfo.billingCode`, `billDetails.0.billCode`), None without one."""
    steps = path.split(".")
    found: object = value
    for number, step in enumerate(steps, start=1):
        found = _step(found, step)
        if found is None or found == "":
            if mandatory:
                faults.add(".".join(steps[:number]), missing=True)
            return None
        if number < len(steps) and not isinstance(found, dict | list):
            faults.add(".".join(steps[:number]), missing=False)
            return None
        if number < len(steps) and isinstance(found, list) != steps[number].isdigit():
            faults.add(".".join(steps[:number]), missing=False)
            return None
    try:
        return form.validate_python(found, strict=True)
    except ValidationError:
        faults.add(path, missing=False)
        return None


def _step(value: object, step: str) -> object:
    if isinstance(value, Mapping):
        return value.get(step)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return value[int(step)] if int(step) < len(value) else None
    return None
