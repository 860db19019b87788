"""Between an office's words and the exchange's: an answer in, a new event out; an event in, a body out. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from connectors.immigration.offices import SOLE
from connectors.link.fact import NewEvent
from contracts.events.ministry import QueryAnswered
from contracts.wire.instant import write_instant

ID_LENGTH_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of answer: the event's type, and the answer's members that its data takes over as they are."""

    type: str
    members: tuple[str, ...] = ()
    dated: bool = False


KINDS: Final = {
    "acknowledged": Kind("id.tka.immigration.recommendation.acknowledged.v1"),
    "queried": Kind("id.tka.immigration.recommendation.queried.v1", ("query_id", "question_code", "text")),
    "visa_approved": Kind("id.tka.immigration.visa.approved.v1", ("visa_number", "valid_until")),
    "visa_refused": Kind("id.tka.immigration.visa.refused.v1", ("reason_code",)),
    "visa_revoked": Kind("id.tka.immigration.visa.revoked.v1", ("visa_number", "reason_code")),
    "stay_permit_issued": Kind("id.tka.immigration.stay_permit.issued.v1", ("permit_number", "valid_until")),
    "entry": Kind("id.tka.immigration.entry.recorded.v1", ("port",), dated=True),
    "exit": Kind("id.tka.immigration.exit.recorded.v1", ("port",), dated=True),
}


class Untranslatable(Exception):
    """An answer that cannot become an event; its text names the member and never its value."""


def answer_key(office: str, answer_id: object) -> str:
    """Return the native key of an answer: the office, where there are several, and its own id of the answer."""
    return json.dumps(["answer", answer_id] if office == SOLE else ["answer", office, answer_id], default=str)


def answer_event(office: str, answer: Mapping[str, Any], now: datetime) -> NewEvent:
    """Return the event of one answer of an office; raise Untranslatable.

    Only what the exchange adds is judged here: the members themselves are judged by the contract. An answer of a clock
    that runs ahead is dated `now`, since nobody takes a fact from the future.
    """
    kind = KINDS.get(answer["kind"]) if isinstance(answer.get("kind"), str) else None
    if kind is None:
        raise Untranslatable("kind: not one of the kinds of answer")
    identity = answer.get("id")
    if type(identity) is not int and not (isinstance(identity, str) and 0 < len(identity) <= ID_LENGTH_MAX):
        raise Untranslatable(f"id: neither a number nor a text of at most {ID_LENGTH_MAX} characters")
    at, application = _read_time(answer.get("at")), answer.get("application")
    if not isinstance(application, str):
        raise Untranslatable("application: missing or no text")
    data = {name: answer.get(name) for name in ("application", "number", "revision", *kind.members)}
    if kind.dated:
        data["at"] = write_instant(at)
    return NewEvent(
        native_key=answer_key(office, identity),
        type=kind.type,
        subject=application,
        time=min(at, now.astimezone(UTC)),
        correlationid=application,
        data=data,
    )


def _read_time(written: object) -> datetime:
    """Read RFC 3339 with any zone; raise Untranslatable."""
    try:
        moment = datetime.fromisoformat(written) if isinstance(written, str) else None
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise Untranslatable("at: missing or no RFC 3339 time with a zone")
    return moment.astimezone(UTC)


def query_answer_body(event: QueryAnswered) -> dict[str, Any]:
    """Return what the visa system is told of the Ministry's answer: nothing but the answer and what it answers."""
    return {
        "application": event.application,
        "number": event.number,
        "revision": event.revision,
        "query_id": event.query_id,
        "answer": event.answer,
    }
