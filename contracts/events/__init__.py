"""The data of every event, as strict models; `read_event` is the only way in."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from contracts.errors import Code, Refusal
from contracts.events.bank import BANK_EVENTS
from contracts.events.event import EventData, dataschema_of
from contracts.events.hub import HUB_EVENTS
from contracts.events.immigration import IMMIGRATION_EVENTS
from contracts.events.ministry import MINISTRY_EVENTS

__all__ = ["EVENTS", "EventData", "dataschema_of", "read_event"]

EVENTS: Mapping[str, type[EventData]] = MappingProxyType(
    {model.TYPE: model for model in (*MINISTRY_EVENTS, *BANK_EVENTS, *IMMIGRATION_EVENTS, *HUB_EVENTS)}
)


def read_event(event_type: str, data: dict[str, Any], subject: str | None = None) -> EventData:
    """Read the `data` of an event; with `subject`, also check that the envelope carries the one that data demands.

    Raises Refusal: contract_unknown for a type not in EVENTS; data_invalid, which names the member and the kind of
    error and never a value, since a value may be a person's.
    """
    model = EVENTS.get(event_type)
    if model is None:
        raise Refusal(Code.CONTRACT_UNKNOWN, "no such event type in these contracts")
    try:
        event = model.model_validate(data)
    except ValidationError as error:
        raise Refusal(Code.DATA_INVALID, _first_error(error)) from None
    if subject is not None and not event.fits(subject):
        raise Refusal(Code.DATA_INVALID, "subject: not what data demands")
    return event


def _first_error(error: ValidationError) -> str:
    """The place and the kind of the first error; an unknown member's name is the sender's text and left out."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = first["loc"][:-1] if first["type"] == "extra_forbidden" else first["loc"]
    return f"{'.'.join(str(step) for step in place) or 'data'}: {first['type']}"
