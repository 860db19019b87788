"""The monitor holds the log, the hub's daily counts and the participants' against each other."""

from datetime import timedelta
from typing import Any

from connectors.oversight.alarm import Cause
from contracts.counts import Tally
from contracts.log import entry
from contracts.rules.clock import jakarta_day
from contracts.wire.envelope import read_envelope
from tests.oversight.watch import Watch


def count_day(watch: Watch, day: str, first: int = 0, size: int | None = None, **others: Any) -> dict[str, Any]:
    """Let the log say what the hub counts of the bank's day; return what the bank would say of it."""
    world = watch.world
    size = len(world.entries) if size is None else size
    held = [one for one in world.held if first <= one.index < size]
    envelopes = [read_envelope(one.record.value or b"") for one in held]
    tally = Tally()
    for envelope in sorted((one for one in envelopes if one.source == world.bri.source), key=lambda one: one.sequence):
        tally.add(envelope.sequence, envelope.id, envelope.digest)
    counted = tally.close({})
    members: dict[str, Any] = {"participant": "bri", "day": day, "source": world.bri.source, "first_index": first}
    members |= {"log_size": size, "accepted": counted.accepted, "refused": 0, "sha256": counted.sha256} | others
    world.append(entry.count(**members))
    return {
        "participant": "bri", "day": day, "revision": 1, "first_index": first, "log_size": size,
        "source": world.bri.source, "counted": counted.members(), "received": 0, "verdict": "agrees",
        "rebuilt_at": None,
    }  # fmt: skip


def state(watch: Watch, said: dict[str, Any]) -> None:
    """Let the bank say what it counts, and show it."""
    world = watch.world
    world.accept(world.bri.sign(world.bri.write("id.tka.bank.count.stated.v1", said, "BRI")))
    watch.publish()
    watch.show(name="counts.json")


def test_counts_that_agree_are_followed_in_silence(watch: Watch) -> None:
    state(watch, count_day(watch, "2026-11-23"))
    count_day(watch, "2026-11-24", first=len(watch.world.entries) - 2)
    watch.publish()
    assert watch.look() == set()


def test_counts_that_disagree_are_seen(watch: Watch) -> None:
    """The log, the hub and the participant: whichever of them says otherwise."""
    size = len(watch.world.entries)
    said = count_day(watch, "2026-11-23")
    state(watch, said)
    assert watch.look() == set()
    state(watch, said | {"revision": 2, "counted": said["counted"] | {"sha256": "A" * 43}})
    assert watch.look() == {Cause.COUNT_DIFFERS}
    end = len(watch.world.entries)
    count_day(watch, "2026-11-24", first=size, size=end, accepted=7)
    watch.publish()
    assert watch.look() == {Cause.COUNT_DIFFERS}
    evidence = watch.state.alarms()[-1].evidence
    assert (evidence["entry"]["accepted"], evidence["held"]) == (7, 2)


def test_a_day_that_is_left_out_or_never_counted_is_seen(watch: Watch) -> None:
    end, today = len(watch.world.entries), jakarta_day(watch.world.now)
    count_day(watch, str(today - timedelta(days=3)))
    count_day(watch, str(today - timedelta(days=1)), first=end)
    watch.publish()
    assert watch.look() == {Cause.COUNT_SKIPPED}
    assert Cause.COUNT_NOT_MADE not in watch.look(timedelta(days=1))
    assert Cause.COUNT_NOT_MADE in watch.look(timedelta(days=2))


def test_an_alarm_that_was_acknowledged_is_kept_and_waits_no_more(watch: Watch) -> None:
    count_day(watch, "2026-11-23", accepted=9)
    watch.publish()
    assert watch.look() == {Cause.COUNT_DIFFERS}
    (kept,) = watch.state.kept_alarms()
    assert (watch.state.count_unacknowledged(), kept.acknowledged) == (1, None)
    assert watch.state.acknowledge(kept.number, "2026-11-24T03:00:00Z", "Sari", "Asked the operator.")
    assert not watch.state.acknowledge(kept.number, "2026-11-25T03:00:00Z", "Budi", "Again.")
    assert not watch.state.acknowledge(99, "2026-11-25T03:00:00Z", "Budi", "None.")
    (again,) = watch.state.kept_alarms()
    assert again.to_json()["acknowledged"] == {
        "at": "2026-11-24T03:00:00Z",
        "by": "Sari",
        "reason": "Asked the operator.",
    }
    assert watch.state.count_unacknowledged() == 0
