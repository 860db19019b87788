"""Valid now? As a pure function."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.immigration.validity import Beat, Standing, judge_validity

NOW = datetime(2026, 4, 1, 12, tzinfo=UTC)
LIMIT = timedelta(seconds=90)
FRESH = Beat(NOW, 7, 8)
ISSUED = Standing(2, "issued", "APP/1")
WITHDRAWN = Standing(2, "withdrawn", "APP/1")


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


standings = st.builds(Standing, st.integers(1, 5), st.sampled_from(("issued", "withdrawn")), st.just("APP/1"))


@given(st.lists(standings, min_size=1), st.randoms())
def test_the_newest_standing_does_not_depend_on_order_or_repeats(news: list[Standing], order: object) -> None:
    def last(each: list[Standing]) -> Standing | None:
        kept: Standing | None = None
        for one in each:
            kept = one if one.follows(kept) else kept
        return kept

    again = [*news, *news]
    order.shuffle(again)  # type: ignore[attr-defined]
    assert last(again) == last(news)


@given(standings, st.datetimes(timezones=st.just(UTC)), st.integers(0), st.integers(0))
def test_what_is_kept_is_read_as_it_was(standing: Standing, at: datetime, last: int, seq: int) -> None:
    assert Standing.read(standing.write()) == standing
    assert Beat.read(Beat(at, last, seq).write()) == Beat(at, last, seq)
