"""A day's count, and what two counts of it differ in."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.counts import MISSING_MAX, Count, Range, Tally, compare, read_count
from contracts.events.count import RANGES_MAX


def count(sequences: set[int], **refused: int) -> Count:
    tally = Tally()
    for sequence in sorted(sequences):
        tally.add(sequence, f"id-{sequence}", sha256(str(sequence).encode()).digest())
    return tally.close(refused)


def spread(ranges: tuple[Range, ...]) -> set[int]:
    return {number for first, last in ranges for number in range(first, last + 1)}


@given(st.sets(st.integers(1, 60)), st.sets(st.integers(1, 60)))
def test_what_is_missing_on_either_side_is_named(hub: set[int], sender: set[int]) -> None:
    found = compare(count(hub), count(sender))
    assert (spread(found.missing_at_hub), spread(found.missing_at_sender)) == (sender - hub, hub - sender)
    assert bool(found) == (hub != sender)
    assert not found.contents_differ


@given(st.sets(st.integers(1, 2**63 - 1)))
def test_a_count_survives_its_event(sequences: set[int]) -> None:
    made = count(sequences, data_invalid=2)
    assert read_count(made.members()) == made


def test_the_same_sequences_with_other_messages_differ() -> None:
    tally = Tally()
    tally.add(1, "id-1", bytes(32))
    found = compare(count({1}), tally.close({}))
    assert (found.contents_differ, found.tell()) == (True, "the same sequences hold other messages")


def test_refusals_are_compared_by_code_unless_one_side_cannot_know() -> None:
    hub, sender = count({1}, key_revoked=2), count({1}, message_expired=1)
    assert compare(hub, sender).refused == {"key_revoked": (2, 0), "message_expired": (0, 1)}
    assert not compare(hub, sender, refusals_known=False)


def test_holes_beyond_what_a_count_names_are_never_called_missing() -> None:
    hub = count(set(range(1, 4 * RANGES_MAX, 2)))
    sender = count(set(range(1, 4 * RANGES_MAX, 2)) - {3})
    assert len(hub.ranges) == RANGES_MAX
    assert compare(hub, sender).missing_at_sender == (Range(3, 3),)
    late = count(set(range(1, 4 * RANGES_MAX, 2)) - {4 * RANGES_MAX - 1})
    assert compare(hub, late).contents_differ
    assert len(compare(hub, count(set())).missing_at_sender) == MISSING_MAX


def test_a_message_counts_once() -> None:
    tally = Tally()
    tally.add(2, "a", bytes(32))
    for sequence in (1, 2):
        with pytest.raises(ValueError, match="each once"):
            tally.add(sequence, "b", bytes(32))
