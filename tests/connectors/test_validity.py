"""Valid now? As a pure function."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.immigration.validity import (
    Beat,
    Decision,
    Standing,
    Stretch,
    judge_decision,
    judge_validity,
    renew,
)

NOW = datetime(2026, 4, 1, 12, tzinfo=UTC)
LIMIT = timedelta(seconds=90)
FRESH = Beat(NOW, 7, 8)
ISSUED = Standing(2, NOW - timedelta(days=1), None)
WITHDRAWN = Standing(2, NOW - timedelta(days=1), NOW - timedelta(hours=1))


@pytest.mark.parametrize(
    ("standing", "revision", "status"),
    [
        (ISSUED, None, "valid"),
        (ISSUED, 2, "valid"),
        (ISSUED, 1, "superseded"),
        (ISSUED, 3, "unknown"),
        (WITHDRAWN, None, "withdrawn"),
        (WITHDRAWN, 2, "withdrawn"),
        (WITHDRAWN, 1, "superseded"),
        (None, None, "unknown"),
        (None, 1, "unknown"),
    ],
)
def test_a_fresh_picture(standing: Standing | None, revision: int | None, status: str) -> None:
    verdict = judge_validity(standing, revision, [FRESH], NOW, LIMIT)
    assert (verdict.status, bool(verdict.why)) == (status, True)


@pytest.mark.parametrize(
    ("beats", "why"),
    [
        ([], "no stream"),
        ([None], "no heartbeat"),
        ([FRESH, None], "no heartbeat"),
        ([Beat(NOW - LIMIT - timedelta(microseconds=1), 7, 8)], "older than 90 s"),
        ([FRESH, Beat(NOW - timedelta(days=1), 7, 8)], "older"),
        ([Beat(NOW + timedelta(seconds=91), 7, 8)], "future"),
        ([Beat(NOW, 8, 8)], "has not arrived"),
        ([Beat(NOW, 9, 8)], "has not arrived"),
    ],
)
def test_an_old_picture_says_nothing_but_stale(beats: list[Beat | None], why: str) -> None:
    for standing in (ISSUED, WITHDRAWN, None):
        verdict = judge_validity(standing, None, beats, NOW, LIMIT)
        assert verdict.status == "stale"
        assert why in verdict.why


def test_at_its_limit_a_heartbeat_is_still_fresh() -> None:
    assert judge_validity(ISSUED, None, [Beat(NOW - LIMIT, 7, 8)], NOW, LIMIT).status == "valid"


# --- what a visa rested on -------------------------------------------------------------------------------------------

HOUR = timedelta(hours=1)
FIRST = Standing(1, NOW - 10 * HOUR, NOW - 5 * HOUR)
SECOND = Standing(2, NOW - 4 * HOUR, None)
KEPT_FRESH = Beat(NOW, 7, 8, NOW + LIMIT)


@pytest.mark.parametrize(
    ("revision", "hours_ago", "found"),
    [
        (1, 6, "valid"),
        (1, 5, "withdrawn"),
        (1, 3, "withdrawn"),
        (2, 3, "valid"),
        (3, 3, "unknown"),
    ],
)
def test_a_decision_is_judged_as_of_its_own_time(revision: int, hours_ago: int, found: str) -> None:
    decision = Decision("TKA-1", revision, NOW - hours_ago * HOUR)
    verdict = judge_decision(decision, [FIRST, SECOND], [KEPT_FRESH], [], NOW, LIMIT)
    assert verdict is not None
    assert (verdict.status, bool(verdict.why)) == (found, True)


def test_a_decision_on_a_revision_that_another_had_replaced() -> None:
    old = Standing(1, NOW - 10 * HOUR, None)
    verdict = judge_decision(Decision("TKA-1", 1, NOW - HOUR), [old, SECOND], [KEPT_FRESH], [], NOW, LIMIT)
    assert verdict is not None
    assert verdict.status == "superseded"


def test_a_decision_within_a_stale_stretch_is_an_alarm_whatever_is_learnt_later() -> None:
    stretch = Stretch(NOW - 4 * HOUR, NOW - 2 * HOUR)
    for hours_ago, found in ((3, "stale"), (1, "valid")):
        verdict = judge_decision(
            Decision("TKA-1", 2, NOW - hours_ago * HOUR), [SECOND], [KEPT_FRESH], [stretch], NOW, LIMIT
        )
        assert verdict is not None
        assert verdict.status == found


def test_while_the_feed_is_old_only_what_was_decided_meanwhile_is_judged() -> None:
    old = Beat(NOW - 3 * HOUR, 7, 8, NOW - 3 * HOUR + LIMIT)
    earlier, later = Decision("TKA-1", 2, NOW - 3 * HOUR), Decision("TKA-1", 2, NOW - HOUR)
    assert judge_decision(earlier, [SECOND], [old], [], NOW, LIMIT) is None
    verdict = judge_decision(later, [SECOND], [old], [], NOW, LIMIT)
    assert verdict is not None
    assert verdict.status == "stale"


def test_heartbeats_in_time_keep_a_stream_fresh() -> None:
    first, ended = renew(None, Beat(NOW, 7, 8), NOW, LIMIT)
    assert (first.fresh_until, ended) == (NOW + LIMIT, None)
    second, ended = renew(first, Beat(NOW + LIMIT / 2, 9, 10), NOW + LIMIT / 2, LIMIT)
    assert (second.fresh_until, ended) == (NOW + LIMIT / 2 + LIMIT, None)


def test_after_an_outage_the_stale_stretch_ends_with_the_first_heartbeat_in_time() -> None:
    beat, _ = renew(None, Beat(NOW, 7, 8), NOW, LIMIT)
    back = NOW + 72 * HOUR
    late, ended = renew(beat, Beat(NOW + HOUR, 9, 10), back, LIMIT)
    assert (late.fresh_until, late.seq, ended) == (NOW + LIMIT, 10, None)
    fresh, ended = renew(late, Beat(back, 11, 12), back, LIMIT)
    assert (fresh.fresh_until, ended) == (back + LIMIT, Stretch(NOW + LIMIT, back))


@given(st.lists(st.integers(0, 600), min_size=1, max_size=30))
def test_stale_stretches_never_overlap(gaps_s: list[int]) -> None:
    beat: Beat | None = None
    stretches: list[Stretch] = []
    now = NOW
    for seq, gap in enumerate(gaps_s, 1):
        now += timedelta(seconds=gap)
        beat, ended = renew(beat, Beat(now, seq - 1, seq), now, LIMIT)
        stretches += [] if ended is None else [ended]
    assert all(one.began < one.ended for one in stretches)
    assert all(before.ended <= after.began for before, after in pairwise(stretches))
