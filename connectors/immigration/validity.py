"""Is this recommendation valid now? Answered from what the feed has brought, and never from an old picture. Pure.

valid         the newest revision, issued and not withdrawn
withdrawn     the newest revision was withdrawn
superseded    the revision asked about is older than the newest one
unknown       the feed is whole and fresh, and there is no such recommendation or revision
stale         a part of the feed is older than the limit, or something before its last heartbeat is missing
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Literal

Status = Literal["valid", "withdrawn", "superseded", "unknown", "stale"]


@dataclass(frozen=True, slots=True)
class Standing:
    """The newest revision of a recommendation that the feed has brought, and its state."""

    revision: int
    state: Literal["issued", "withdrawn"]
    application: str

    def follows(self, earlier: "Standing | None") -> bool:
        """Tell whether this is news: a later revision, or the withdrawal of the same one."""
        if earlier is None:
            return True
        return (self.revision, self.state == "withdrawn") > (earlier.revision, earlier.state == "withdrawn")

    def write(self) -> str:
        """Return the JSON text of it."""
        return json.dumps(asdict(self), sort_keys=True)

    @staticmethod
    def read(text: str) -> "Standing":
        """Return what `write` wrote."""
        return Standing(**json.loads(text))


@dataclass(frozen=True, slots=True)
class Beat:
    """The last heartbeat of one stream: when the hub made it, what it says was sent before it, and its own place."""

    at: datetime
    last_sequence: int
    seq: int

    def write(self) -> str:
        """Return the JSON text of it."""
        return json.dumps({"at": self.at.isoformat(), "last_sequence": self.last_sequence, "seq": self.seq})

    @staticmethod
    def read(text: str) -> "Beat":
        """Return what `write` wrote."""
        kept = json.loads(text)
        return Beat(datetime.fromisoformat(kept["at"]), kept["last_sequence"], kept["seq"])


@dataclass(frozen=True, slots=True)
class Validity:
    """The answer, and why in one sentence."""

    status: Status
    why: str


def judge_validity(
    standing: Standing | None, revision: int | None, beats: Sequence[Beat | None], now: datetime, limit: timedelta
) -> Validity:
    """Judge a recommendation, or one revision of it, as of `now`.

    `beats` has the last heartbeat of each stream that could carry news of it, None where there was none yet.
    """
    stale = _staleness(beats, now, limit)
    if stale is not None:
        return Validity("stale", stale)
    if standing is None:
        return Validity("unknown", "there is no such recommendation")
    if revision is not None and revision > standing.revision:
        return Validity("unknown", f"revision {standing.revision} is the newest")
    if revision is not None and revision < standing.revision:
        return Validity("superseded", f"revision {standing.revision} has taken its place")
    if standing.state == "withdrawn":
        return Validity("withdrawn", f"revision {standing.revision} was withdrawn")
    return Validity("valid", f"revision {standing.revision} stands")


def _staleness(beats: Sequence[Beat | None], now: datetime, limit: timedelta) -> str | None:
    """Say why the picture is old, or return None."""
    if not beats:
        return "the registry names no stream for this participant"
    for beat in beats:
        if beat is None:
            return "a stream has brought no heartbeat yet"
        if now - beat.at > limit:
            return f"the last heartbeat of a stream is older than {limit.total_seconds():g} s"
        if beat.at - now > limit:
            return "the last heartbeat of a stream is from the future: a clock is wrong"
        if beat.last_sequence >= beat.seq:
            return "something that was sent before the last heartbeat has not arrived"
    return None
