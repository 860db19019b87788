"""What operators did, judged from the log alone: nobody takes up a refused message without a second person.

A repair is named `repair/ID/DIGEST` in each of its entries: it is asked for, approved by somebody else, and may be
stopped for good. Its messages, `repair/ID/DIGEST/quarantine/ID`, may stand only between approval and end.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from connectors.oversight.monitor_state import MonitorState

RESENT: Final = "resend"
_REPAIR: Final = re.compile(r"(repair/[0-9]{1,19}/[0-9a-f]{64})(?:/quarantine/[0-9]{1,19})?")


def judge(state: MonitorState, said: Mapping[str, Any]) -> str | None:
    """Keep what an operator's action says of a repair; return what is wrong with it, or None."""
    action, subject = said["action"], said["subject"]
    named = _REPAIR.fullmatch(subject)
    if named is None:
        return "it names no repair that two persons wanted" if action == RESENT else None
    known: dict[str, str] = json.loads(state.recall(named[1]) or "{}")
    fault = _judge(action, known, said["actor"])
    if fault is None and action != RESENT:
        state.note(named[1], json.dumps(known | {action: said["actor"]}))
    return fault


def _judge(action: str, known: Mapping[str, str], actor: str) -> str | None:
    asked, approved = known.get("repair_requested"), known.get("repair_approved")
    if action == "repair_requested":
        return "it is asked for twice" if asked is not None else None
    if action == "repair_approved":
        return "nobody else asked for it" if asked in (None, actor) or approved is not None else None
    if action == RESENT:
        over = {"repair_stopped", "repair_finished"} & known.keys()
        if approved is None or over:
            return "it was not approved" if approved is None else "it was over"
        return None if actor == f"{asked} {approved}" else "it names other persons than asked for it and approved it"
    return None
