"""Entries of the log as somebody else wrote them: of a kind that the protocol knows, with its members and no other."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from contracts.errors import Refusal
from contracts.wire.strict_json import read_object

INDEX_MAX = 2**63 - 1
_OPTIONAL: Final = (str, type(None))
_TEXTS: Final = dict.fromkeys
#: The members of each kind beside `kind`, and what each of them is (SPEC.md section 9).
MEMBERS: Final[Mapping[str, Mapping[str, type | tuple[type, ...]]]] = MappingProxyType(
    {
        "accepted": _TEXTS(("source", "id", "type", "sha256", "kid", "sig", "received_at"), str),
        "refused": {
            **_TEXTS(("code", "digest", "topic", "received_at"), str),
            **_TEXTS(("partition", "offset"), int),
            "participant": _OPTIONAL,
        },
        "recommendation": {**_TEXTS(("id", "case", "number", "state", "sha256"), str), "revision": int},
        "registry": {"version": int, "sha256": str},
        "key_added": _TEXTS(("participant", "kid", "use"), str),
        "key_revoked": _TEXTS(("participant", "kid", "use"), str),
        "root": {"version": int, "sha256": str},
        "key_suspended": _TEXTS(("participant", "kid", "use", "act"), str),
        "suspension_lifted": _TEXTS(("participant", "kid", "suspension"), str),
        "rule_set": {"id": str, "version": int, "sha256": str},
        "contract": {"type": str, "sha256": str},
        "timer": _TEXTS(("name", "subject", "at"), str),
        "count": {
            **_TEXTS(("participant", "day", "source", "sha256"), str),
            **_TEXTS(("first_index", "log_size", "accepted", "refused"), int),
        },
        "operator_action": _TEXTS(("action", "subject", "actor", "reason", "at"), str),
        "service_time": {
            **_TEXTS(("application", "clock", "state", "holder", "started_at", "due_on", "passed_at", "at"), str),
            "unit": _OPTIONAL,
        },
        "finding": _TEXTS(("name", "state", "digest", "at"), str),
        "erasure": {**_TEXTS(("order", "at"), str), "messages": int},
        "lookups": _TEXTS(("day", "root", "at"), str),
        "succession": _TEXTS(("origin", "checkpoint"), str),
    }
)
#: Members that an entry may have beside them, all or none.
BESIDE: Final[Mapping[str, Mapping[str, type]]] = MappingProxyType({"refused": {"source": str, "sequence": str}})
_is_sequence = re.compile(r"[0-9]{20}").fullmatch


class EntryMalformed(ValueError):
    """An entry is none that the protocol knows; the message names the rule."""


def read_entry(raw: bytes) -> dict[str, Any]:
    """Read an entry. Raises EntryMalformed."""
    try:
        said = read_object(raw)
    except Refusal as error:
        raise EntryMalformed(str(error.code)) from None
    kind = said.get("kind")
    members = MEMBERS.get(kind) if isinstance(kind, str) else None
    if members is None:
        raise EntryMalformed("no kind that the protocol knows")
    beside = BESIDE.get(said["kind"], {})
    if said.keys() == {"kind", *members, *beside}:
        members = {**members, **beside}
    elif said.keys() != {"kind", *members}:
        raise EntryMalformed(f"not the members of {kind}")
    for name, wanted in members.items():
        value = said[name]
        fits = isinstance(value, wanted) and not isinstance(value, bool)
        if not fits or (isinstance(value, int) and not 0 <= value <= INDEX_MAX):
            raise EntryMalformed(f"{kind}: {name}")
    sequence = said.get("sequence")
    if sequence is not None and (_is_sequence(sequence) is None or int(sequence) > INDEX_MAX):
        raise EntryMalformed(f"{kind}: sequence")
    return said
