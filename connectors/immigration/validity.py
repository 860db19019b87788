"""Is this recommendation valid now, and did it stand when a visa rested on it? Pure.

Valid now, from what the feed has brought, and never from an old picture:

    valid         the newest revision, issued and not withdrawn
    withdrawn     the newest revision was withdrawn
    superseded    the revision asked about is older than the newest one
    unknown       the feed is whole and fresh, and there is no such recommendation or revision
    stale         a part of the feed is older than the limit, or something before its last heartbeat is missing

A decision is judged as of its own time, once the feed is whole and fresh again. One that was made while the feed was
stale is an alarm at once, whatever is learnt later.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

Status = Literal["valid", "withdrawn", "superseded", "unknown", "stale"]


@dataclass(frozen=True, slots=True)
class Standing:
    """One revision of a recommendation, as the feed has brought it; times are the hub's."""

    revision: int
    issued_at: datetime | None
    withdrawn_at: datetime | None

    @property
    def state(self) -> Literal["issued", "withdrawn"]:
        """Its last word."""
        return "issued" if self.withdrawn_at is None else "withdrawn"


@dataclass(frozen=True, slots=True)
class Beat:
    """The last heartbeat of one stream: when the hub made it, what it says was sent before it, and its own place.

    `fresh_until` is until when the heartbeats that have come kept the stream fresh: not this one, if it came late.
    """

    at: datetime
    last_sequence: int
    seq: int
    fresh_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time during which a stream was stale, from the end of its freshness to the next heartbeat in time."""

    began: datetime
    ended: datetime


@dataclass(frozen=True, slots=True)
class Decision:
    """A visa decision that rests on a revision."""

    number: str
    revision: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Validity:
    """The answer, and why in one sentence."""

    status: Status
    why: str


def renew(earlier: Beat | None, beat: Beat, now: datetime, limit: timedelta) -> tuple[Beat, Stretch | None]:
    """Take a heartbeat that came `now`; return what is to be kept, and the stale stretch that it ends, if any."""
    until = beat.at + limit
    before = None if earlier is None else earlier.fresh_until
    if until <= now or (before is not None and until <= before):
        # It came late, out of an old stretch of the stream, and makes nothing fresh.
        return Beat(beat.at, beat.last_sequence, beat.seq, before), None
    ended = Stretch(before, now) if before is not None and before < now else None
    return Beat(beat.at, beat.last_sequence, beat.seq, until), ended


def judge_validity(
    newest: Standing | None, revision: int | None, beats: Sequence[Beat | None], now: datetime, limit: timedelta
) -> Validity:
    """Judge a recommendation, or one revision of it, as of `now`.

    `beats` has the last heartbeat of each stream that could carry news of it, None where there was none yet.
    """
    stale = find_staleness(beats, now, limit)
    if stale is not None:
        return Validity("stale", stale)
    return _judge_newest(newest, revision)


def _judge_newest(newest: Standing | None, revision: int | None) -> Validity:
    if newest is None:
        return Validity("unknown", "there is no such recommendation")
    if revision is not None and revision > newest.revision:
        return Validity("unknown", f"revision {newest.revision} is the newest")
    if revision is not None and revision < newest.revision:
        return Validity("superseded", f"revision {newest.revision} has taken its place")
    if newest.state == "withdrawn":
        return Validity("withdrawn", f"revision {newest.revision} was withdrawn")
    return Validity("valid", f"revision {newest.revision} stands")


def find_staleness(beats: Sequence[Beat | None], now: datetime, limit: timedelta) -> str | None:
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


def judge_decision(
    decision: Decision,
    standings: Sequence[Standing],
    beats: Sequence[Beat | None],
    stretches: Sequence[Stretch],
    now: datetime,
    limit: timedelta,
) -> Validity | None:
    """Judge what a decision rested on, as of its own time; None while the feed is too old to tell.

    `standings` has every revision of its recommendation, `stretches` when the feed was stale.
    """
    if any(stretch.began < decision.at < stretch.ended for stretch in stretches):
        return Validity("stale", "the feed was stale when the visa was decided")
    if any(beat is not None and beat.fresh_until is not None and beat.fresh_until < decision.at for beat in beats):
        return Validity("stale", "the feed was stale when the visa was decided, and still is")
    if find_staleness(beats, now, limit) is not None:
        return None
    then = [one for one in standings if one.issued_at is not None and one.issued_at <= decision.at]
    named = next((one for one in standings if one.revision == decision.revision), None)
    if named is None:
        return Validity("unknown", "there is no such recommendation or revision")
    if named.withdrawn_at is not None and named.withdrawn_at <= decision.at:
        return Validity("withdrawn", f"revision {named.revision} was withdrawn before the visa was decided")
    newest = max((one.revision for one in then), default=decision.revision)
    if newest > decision.revision:
        return Validity("superseded", f"revision {newest} had taken its place when the visa was decided")
    return Validity("valid", f"revision {named.revision} stood")
