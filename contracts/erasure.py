"""An order to erase originals under UU 27/2022: what persons sign, and what of it may be said anywhere (SPEC.md 9.3).

It names messages, cases and references that only the Ministry can resolve, and so nobody; the log keeps its digest
alone. Two persons of the root document sign it as an act of its own kind.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from contracts.errors import Code, RegistryError
from contracts.fields import SIGNED_ORDER_BYTES_MAX
from contracts.persons import read_act
from contracts.root import Root

FORMAT: Final = "tkahub-erasure/1"
TYP_ERASURE: Final = "tkahub-erasure+jws"
PERSONS_MIN: Final = 2
NAMED_MAX: Final = 1_000
ERASED_TEXT: Final = "DIHAPUS / ERASED"
#: What stands in the place of a worker who was erased, where a recipient asks for one.
ERASED_WORKER: Final = {
    "name": ERASED_TEXT, "birth_date": "1900-01-01", "nationality": "XXX", "passport": "0000000000",
}  # fmt: skip
Name = Annotated[str, Field(min_length=1, max_length=200)]
Sentence = Annotated[str, Field(min_length=1, max_length=500)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class Named(_Part):
    """One message, by its identity."""

    source: Name
    id: Name


class _Document(_Part):
    format: Literal["tkahub-erasure/1"]
    environment: Name
    issued_at: str
    reason: Sentence
    legal_basis: Sentence
    messages: Annotated[list[Named], Field(max_length=NAMED_MAX)]
    cases: Annotated[list[Name], Field(max_length=NAMED_MAX)]
    workers: Annotated[list[Name], Field(max_length=NAMED_MAX)]


@dataclass(frozen=True, slots=True)
class Order:
    """An order that enough persons signed. `sha256` is the hex digest of what they signed, whoever else signs it."""

    sha256: str
    issued_at: datetime
    signers: frozenset[str]
    messages: tuple[tuple[str, str], ...]
    cases: tuple[str, ...]
    workers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Erasure:
    """What a recipient of an order has to erase: all that it holds of these cases, and messages by (source, id)."""

    order: str
    cases: frozenset[str]
    messages: frozenset[tuple[str, str]]


def check_order(payload: Mapping[str, Any]) -> _Document:
    """Check an order's payload. Raises RegistryError(act_malformed)."""
    try:
        read = _Document.model_validate(dict(payload))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise RegistryError(Code.ACT_MALFORMED, f"{place}: {first['type']}") from None
    if not (read.messages or read.cases or read.workers):
        raise RegistryError(Code.ACT_MALFORMED, "it names nothing to erase")
    return read


def read_order(signed: bytes, root: Root, now: datetime) -> Order:
    """Verify an order: two distinct persons at least, and as many as the root asks for. Raises RegistryError."""
    if len(signed) > SIGNED_ORDER_BYTES_MAX:
        raise RegistryError(Code.ACT_MALFORMED, f"longer than {SIGNED_ORDER_BYTES_MAX} bytes: name less in one order")
    act = read_act(signed, TYP_ERASURE, root, persons=max(PERSONS_MIN, root.threshold), now=now)
    read = check_order(act.payload)
    messages = tuple((one.source, one.id) for one in read.messages)
    return Order(act.sha256, act.issued_at, act.signers, messages, tuple(read.cases), tuple(read.workers))


def read_erasure(signed: bytes, sha256: str, cases: Iterable[str], root: Root, at: datetime) -> Erasure:
    """Verify an order that came with the cases that it concerns, as the hub says that they are.

    What two persons did not sign is not erased: only of a worker's reference or a single message may the hub say which
    cases that means. Raises RegistryError.
    """
    order = read_order(signed, root, at)
    if order.sha256 != sha256:
        raise RegistryError(Code.ACT_MALFORMED, "it is not the order that is named beside it")
    concerned = frozenset(cases)
    if not (order.workers or order.messages) and not concerned <= frozenset(order.cases):
        raise RegistryError(Code.ACT_MALFORMED, "cases that the order does not name")
    return Erasure(order.sha256, concerned | frozenset(order.cases), frozenset(order.messages))
