"""docs/reference/events.md: every event, its members in plain words, who says it and who hears it."""

from collections.abc import Iterable, Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from contracts.events import EVENTS, EventData
from contracts.events.event import Part
from contracts.events.ministry import PermitEvent
from contracts.rules.reasons import REASONS
from devstack.demonstration.cast import SUBSCRIPTIONS
from tests.docs.markdown import GENERATED, table
from tests.docs.words import DIFFERENCES, FORMS, HUB_RECEIVERS, MEMBERS, OUTCOMES

FAMILIES = {
    "ministry": ("The Ministry", "the Ministry"),
    "bank": ("Banks", "a bank"),
    "immigration": ("Immigration", "Immigration"),
    "hub": ("The hub", "the hub"),
}

INTRODUCTION = f"""# Events

{GENERATED}

Every message is an event: an envelope (contracts/SPEC.md, section 3) around the `data` that is described here. The schema of each is in [contracts/schemas](../../contracts/schemas), under the event's full type. A member that is not named here is refused, and so is one that is absent and not marked *optional*.

*Setiap pesan adalah sebuah peristiwa. Halaman ini menjelaskan isi `data` tiap peristiwa: siapa yang mengirim, siapa yang menerima, dan arti setiap bagiannya. Bagian yang tidak tercantum di sini ditolak.*

"Goes to" tells what the demo's registry grants; the registry of an exchange decides. The hub takes every event of an agency into the case and forwards it, byte for byte, to whom it is granted.
"""  # noqa: E501


def short_name(event_type: str) -> str:
    """`id.tka.bank.payment.received.v1` as `payment.received`."""
    return ".".join(event_type.split(".")[3:-1])


def write_page() -> str:
    """Return the page."""
    sections = [INTRODUCTION, _write_permit_members()]
    for family, (title, publisher) in FAMILIES.items():
        sections.append(f"## {title}\n")
        of_family = {name: model for name, model in EVENTS.items() if name.split(".")[2] == family}
        sections += [_write_event(name, model, publisher) for name, model in of_family.items()]
        if family == "hub":
            sections.append(_write_outcomes())
    return "\n".join((*sections, _write_parts(), _write_reasons()))


def _write_permit_members() -> str:
    rows = _member_rows(PermitEvent, "", PermitEvent.model_fields)
    return (
        "## What every event of a permit carries\n\n"
        "None of these may be missing, so that statistics need nothing else. They stand in each event marked "
        "*permit event*.\n\n" + table(("member", "form", "says"), rows)
    )


def _write_event(event_type: str, model: type[EventData], publisher: str) -> str:
    own = [name for name in model.model_fields if name not in PermitEvent.model_fields]
    if not issubclass(model, PermitEvent):
        own = list(model.model_fields)
    kind = "A *permit event*. " if issubclass(model, PermitEvent) else ""
    rows = _member_rows(model, short_name(event_type), own)
    body = table(("member", "form", "says"), rows) if rows else "No members of its own.\n"
    return (
        f"### {short_name(event_type)}\n\n`{event_type}`: {_paragraph(model)}\n\n"
        f"{kind}Published by {publisher}. Goes to {_receivers(event_type)}.\n\n{body}"
    )


def _paragraph(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").split())


def _receivers(event_type: str) -> str:
    if event_type.startswith("id.tka.hub.") and (told := HUB_RECEIVERS.get(short_name(event_type))):
        return told
    names = {"ministry": "the Ministry", "immigration": "Immigration", "bri": "banks", "mandiri": "banks"}
    heard = list(dict.fromkeys(names[party] for party, types in SUBSCRIPTIONS.items() if event_type in types))
    if event_type.startswith("id.tka.hub.recommendation."):
        heard.insert(0, "the topic `recommendations`")
    if event_type.startswith("id.tka.hub."):
        return _list_words(heard) if heard else "whom the registry grants it; in the demo, nobody"
    return _list_words(["the hub", *heard])


def _list_words(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _member_rows(model: type[BaseModel], event: str, names: Iterable[str]) -> list[tuple[str, str, str]]:
    hints = get_type_hints(model, include_extras=True)
    rows = []
    for name in names:
        info = model.model_fields[name]
        member = info.alias or name
        says = MEMBERS.get(f"{event}.{member}") or MEMBERS.get(member)
        assert says, f"tests/docs/words.py does not say what {member} of {event} is."
        rows.append((f"`{member}`", _form(hints[name], info), says))
    return rows


def _form(hint: Any, info: FieldInfo | None = None) -> str:
    optional = ", optional" if info is not None and not info.is_required() else ""
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        inner = next(part for part in get_args(hint) if part is not NoneType)
        return f"{_form(inner)}, or null{optional}"
    return _plain_form(hint, origin) + optional


def _plain_form(hint: Any, origin: Any) -> str:
    known = next((words for form, words in FORMS if form == hint), None)
    if known is not None:
        return known
    if origin is Annotated:
        return _plain_form(*_bare(get_args(hint)[0]))
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in get_args(hint))
    if origin is list:
        return f"list of {_plain_form(*_bare(get_args(hint)[0]))}"
    if isinstance(hint, type) and issubclass(hint, Part):
        return f"[{_group(hint)}](#{_group(hint)})"
    return {str: "text", int: "whole number", bool: "true or false"}[hint]


def _bare(hint: Any) -> tuple[Any, Any]:
    return hint, get_origin(hint)


def _group(model: type[Part]) -> str:
    """`MissingDocument` as `missing-document`, which is also its heading's anchor."""
    return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in model.__name__).lstrip("-")


def _parts() -> Iterator[type[Part]]:
    found: dict[str, type[Part]] = {}
    for model in EVENTS.values():
        for hint in get_type_hints(model, include_extras=True).values():
            for part in _find_parts(hint):
                found.setdefault(part.__name__, part)
    return iter(found.values())


def _find_parts(hint: Any) -> Iterator[type[Part]]:
    if isinstance(hint, type) and issubclass(hint, Part):
        yield hint
        for within in get_type_hints(hint, include_extras=True).values():
            yield from _find_parts(within)
    for inner in get_args(hint):
        yield from _find_parts(inner)


def _write_parts() -> str:
    sections = ["## Groups\n"]
    for part in _parts():
        hints = get_type_hints(part, include_extras=True)
        members = [(f"`{info.alias or name}`", _form(hints[name], info)) for name, info in part.model_fields.items()]
        sections.append(f"### {_group(part)}\n\n{_paragraph(part)}\n\n" + table(("member", "form"), members))
    return "\n".join(sections)


def _write_outcomes() -> str:
    rows = [(f"`{word}`", says) for word, says in OUTCOMES.items()]
    outcomes = "### What a payment comes to\n\n" + table(("outcome", "means"), rows)
    kinds = [(f"`{word}`", says) for word, says in DIFFERENCES.items()]
    return f"{outcomes}\n### In what books differ\n\n{table(('kind', 'means'), kinds)}"


def _write_reasons() -> str:
    rows = [(f"`{word}`", reason.text_en, reason.text_id) for word, reason in REASONS.items()]
    return (
        "## Why there is no recommendation\n\n"
        "The word of `reason` in a withdrawal. The weightiest stands first.\n\n"
        + table(("reason", "means", "artinya"), rows)
    )
