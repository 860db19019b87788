"""The monitor follows a sound log in silence, and names what an insider does to it, with the evidence."""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.oversight.alarm import CAUSES, Cause
from connectors.oversight.log_source import Unreachable
from connectors.oversight.monitor_state import MonitorState
from connectors.oversight.trust_options import read_contracts
from contracts.audit.finding import Doubt
from contracts.audit.pack import Pack
from contracts.audit.verify import Trust, verify_pack
from contracts.errors import Code
from contracts.log import entry
from contracts.log.fault import Fault
from contracts.log.note import Kind, VerifierKey
from contracts.suspension import read_suspension, write_suspension
from contracts.wire.envelope import read_envelope
from contracts.wire.key import PrivateKey
from tests.contracts.root_world import PERSONS, extend, root_document, roots_for
from tests.hub.exchange import CODE, ORIGIN
from tests.oversight.publication import publish, serve
from tests.oversight.test_pack import backdated_by_a_stolen_key, recommended_without_payment, signed_by_a_key_of_nobody
from tests.oversight.watch import Watch
from tests.oversight.world import World

# Longer than a message may be deferred, and the monitor's grace.
SETTLED = timedelta(minutes=16)
OTHER = "B.3/000018/PK.04.00/III/2026"


def test_a_sound_log_is_followed_in_silence_from_where_it_was_left(watch: Watch, tmp_path: Path) -> None:
    world = watch.world
    for number in range(600):
        world.append(entry.timer(name="unmatched", subject=str(number), at=world.now))
        if number % 150 == 0:
            watch.publish()
            assert watch.look() == set()
    watch.publish()
    watch.state.close()
    watch.state = MonitorState(tmp_path / "monitor.sqlite")
    assert watch.look() == set()
    assert watch.state.followed().size == len(world.entries)
    assert watch.look() == set()


def test_a_log_is_followed_over_http(watch: Watch) -> None:
    for number in range(300):
        watch.world.append(entry.timer(name="unmatched", subject=str(number), at=watch.world.now))
    watch.publish()
    with serve(watch.log) as watch.place:
        assert watch.look() == set()
        assert watch.state.followed().size == len(watch.world.entries)
        (watch.log / "checkpoint").unlink()
        with pytest.raises(Unreachable):
            watch.look()
    with pytest.raises(Unreachable, match="cannot be reached"):
        watch.look()


def test_a_partial_bundle_that_was_replaced_by_the_whole_one_is_read(watch: Watch) -> None:
    size = len(watch.world.entries)
    early = watch.world.checkpoint()
    for number in range(300):
        watch.world.append(entry.timer(name="unmatched", subject=str(number), at=watch.world.now))
    publish(watch.log, watch.world.entries, early)
    watch.state.close()
    watch.state = MonitorState(watch.log / "another.sqlite")
    assert watch.look() == set()
    assert watch.state.followed().size == size


def edit(world: World) -> None:
    world.entries[1] = world.entries[1].replace(b"2012", b"2013")
    world.append(world.entries[3])


def edit_nothing_new(world: World) -> None:
    world.entries[1] = world.entries[1].replace(b"2012", b"2013")


def reorder(world: World) -> None:
    world.entries[3], world.entries[4] = world.entries[4], world.entries[3]
    world.append(world.entries[0])


def restore(world: World) -> None:
    """A backup is restored, and something else is said in the first lost entry's place."""
    del world.entries[-2:]
    world.append(entry.timer(name="unmatched", subject="1", at=world.now))


def insert(world: World) -> None:
    world.entries.insert(5, world.entries[5])


def restore_and_go_on(world: World) -> None:
    """A backup is restored, and other things are said in the lost entries' places."""
    del world.entries[-2:]
    for number in range(4):
        world.append(entry.timer(name="unmatched", subject=str(number), at=world.now))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (edit, Fault.CONSISTENCY_INVALID),
        (edit_nothing_new, Fault.FORK),
        (reorder, Fault.CONSISTENCY_INVALID),
        (restore, Fault.FORK),
        (insert, Fault.CONSISTENCY_INVALID),
        (restore_and_go_on, Fault.CONSISTENCY_INVALID),
    ],
)
def test_a_changed_past_is_seen_and_both_checkpoints_are_kept(
    watch: Watch, change: Callable[[World], None], code: str
) -> None:
    before = watch.state.followed()
    change(watch.world)
    watch.publish()
    assert watch.look() == {code}
    assert watch.state.followed()[::2] == before[::2]
    (alarm,) = watch.state.alarms()
    assert alarm.evidence["held"] == before.note
    assert alarm.evidence["shown"] != before.note
    assert watch.look() == set()


def test_an_older_checkpoint_is_forgiven_for_a_minute_and_then_is_a_rollback(watch: Watch) -> None:
    """Where the newest was not cosigned yet, the one before may be shown again; a truncated log shows it for ever."""
    size = len(watch.world.entries)
    watch.publish(size=size - 1)
    assert watch.look() == set()
    assert watch.look(timedelta(seconds=50)) == set()
    watch.publish()
    assert watch.look(timedelta(seconds=61)) == set()
    watch.publish(size=size - 1)
    assert watch.look(timedelta(seconds=62)) == set()
    assert watch.look(timedelta(seconds=123)) == {Fault.ROLLBACK}
    (alarm,) = watch.state.alarms()
    assert alarm.detail == f"it had {size} entries and now says {size - 1}"


def test_a_bundle_that_is_not_what_the_log_signed_is_seen(watch: Watch) -> None:
    watch.world.append(entry.timer(name="unmatched", subject="1", at=watch.world.now))
    signed = watch.world.checkpoint()
    watch.world.entries[-1] = watch.world.entries[-1].replace(b'"1"', b'"2"')
    publish(watch.log, watch.world.entries, signed)
    assert watch.look() == {Fault.CONSISTENCY_INVALID}


def test_a_bundle_that_is_no_bundle_is_seen(watch: Watch) -> None:
    watch.world.append(entry.timer(name="unmatched", subject="1", at=watch.world.now))
    watch.publish()
    (bundle,) = watch.log.glob(f"tile/entries/000.p/{len(watch.world.entries)}")
    bundle.write_bytes(bundle.read_bytes()[:-1])
    assert watch.look() == {Fault.TILE_MALFORMED}


def test_checkpoints_that_are_not_this_log_s_are_seen(watch: Watch) -> None:
    watch.publish(origin="hub.example/other")
    assert watch.look() == {Fault.ORIGIN_WRONG}
    watch.publish(cosigned_at=watch.world.now + timedelta(days=1))
    assert watch.look() == {Fault.COSIGNATURE_FROM_FUTURE}
    watch.publish()
    other = VerifierKey.of(ORIGIN, Kind.ED25519, PrivateKey.generate("Ed25519").public)
    assert watch.look(policy=replace(watch.world.policy(), log_keys=(other,))) == {Fault.LOG_SIGNATURE_MISSING}


def test_a_log_that_no_witness_sees_any_more_is_seen(watch: Watch) -> None:
    signed = watch.world.checkpoint()
    assert watch.look(timedelta(days=1)) == set()
    (watch.log / "checkpoint").write_bytes(b"".join(signed.splitlines(keepends=True)[:-1]))
    assert watch.look(timedelta(days=1)) == set()
    assert watch.look(timedelta(days=1, minutes=59)) == set()
    assert watch.look(timedelta(days=1, minutes=61)) == {Fault.QUORUM_MISSING}


def test_a_rule_set_and_a_contract_that_nobody_here_compared_with_the_law_are_seen(watch: Watch) -> None:
    watch.world.append(entry.rule_set(id="2021", version=2, sha256="0f" * 32))
    watch.world.append(entry.contract(type="id.tka.bank.payment.received.v1", sha256="0f" * 32))
    watch.publish()
    assert watch.look() == {Cause.RULE_SET_CHANGED, Cause.CONTRACT_CHANGED}


def test_an_entry_that_the_protocol_does_not_know_is_seen(watch: Watch) -> None:
    for written in (b"{}", b"nothing", b"[1]", b'{"kind":"invented"}', b'{"kind":"accepted"}', b"\xff"):
        watch.world.append(written)
    watch.publish()
    assert watch.look() == {Cause.ENTRY_MALFORMED}
    assert len(watch.state.alarms()) == 6


def test_a_registry_that_one_person_changed_is_seen(watch: Watch) -> None:
    watch.world.register()
    watch.publish()
    watch.show(name="second.json")
    assert watch.look() == set()
    watch.world.register_alone()
    watch.publish()
    watch.show(name="third.json")
    assert watch.look() == {Doubt.REGISTRY_TOO_FEW_PERSONS}


def test_a_registry_that_fewer_signed_than_the_one_who_watches_asks_for_is_seen(watch: Watch) -> None:
    watch.world.register()
    watch.publish()
    watch.show(name="second.json")
    assert watch.look(persons_min=3) == {Doubt.REGISTRY_TOO_FEW_PERSONS}


def test_a_suspension_is_no_alarm_and_one_that_nobody_signed_is(watch: Watch) -> None:
    world = watch.world
    kid = world.bri.key.kid
    act = write_suspension("demo", kid, "Laptop stolen", world.now, PERSONS["sari"])
    for alarms, said in ((set(), act), ({Cause.KEY_CHANGE_UNFOUNDED}, act[:-9] + b"AAAAAAA" + act[-2:])):
        world.append(entry.key_suspended(participant="bri", kid=kid, use="message", act=said.decode()))
        world.register()
        watch.publish()
        watch.show(name=f"{len(said)}{len(alarms)}.json")
        assert watch.look() == alarms


def test_a_suspension_that_was_lifted_is_not_put_in_force_again(watch: Watch) -> None:
    world = watch.world
    kid = world.bri.key.kid
    act = write_suspension("demo", kid, "Laptop stolen", world.now, PERSONS["sari"])
    digest = read_suspension(act, world.register().root).sha256
    world.append(entry.key_suspended(participant="bri", kid=kid, use="message", act=act.decode()))
    world.register(lifted=[{"kid": kid, "suspension": digest}])
    world.append(entry.suspension_lifted(participant="bri", kid=kid, suspension=digest))
    world.register()
    watch.publish()
    watch.show(name="lifted.json")
    assert watch.look() == set()
    world.append(entry.key_suspended(participant="bri", kid=kid, use="message", act=act.decode()))
    world.register()
    watch.publish()
    watch.show(name="again.json")
    assert watch.look() == {Cause.KEY_CHANGE_UNFOUNDED}


def test_a_suspension_by_somebody_who_is_gone_is_seen_however_it_is_dated(watch: Watch) -> None:
    world = watch.world
    kid = world.bri.key.kid
    act = write_suspension("demo", kid, "Laptop stolen", world.now, PERSONS["sari"])
    _, *others = root_document()["persons"]
    roots = extend(roots_for(world.root), pinned=world.root, persons=others)
    world.register(roots=roots)
    world.append(entry.key_suspended(participant="bri", kid=kid, use="message", act=act.decode()))
    world.register(roots=roots)
    watch.publish()
    watch.show(name="gone.json")
    assert watch.look() == {Cause.KEY_CHANGE_UNFOUNDED}


def test_a_message_under_a_suspended_key_is_seen_until_it_is_lifted(watch: Watch) -> None:
    world = watch.world
    kid = world.bri.key.kid
    act = write_suspension("demo", kid, "Laptop stolen", world.now, PERSONS["sari"])
    world.append(entry.key_suspended(participant="bri", kid=kid, use="message", act=act.decode()))
    held = world.accept(world.bri.sign(world.bri.paid()))
    watch.publish()
    assert watch.look() == {Cause.MESSAGE_KEY_NOT_IN_FORCE}
    assert [alarm.subject for alarm in watch.state.alarms()] == [f"entry {held.index}"]
    world.append(entry.suspension_lifted(participant="bri", kid=kid, suspension="0f" * 32))
    world.accept(world.bri.sign(world.bri.paid()))
    watch.publish()
    watch.look()
    seen = [alarm.code for alarm in watch.state.alarms()]
    assert seen.count(Cause.MESSAGE_KEY_NOT_IN_FORCE) == 1


def test_a_registry_version_that_nobody_shows_is_seen(watch: Watch) -> None:
    watch.world.register()
    watch.publish()
    assert watch.look() == set()
    assert watch.look(timedelta(hours=1, minutes=1)) >= {Cause.REGISTRY_NOT_SHOWN}


def test_a_registry_version_that_is_skipped_is_seen(watch: Watch) -> None:
    watch.world.append(entry.registry(version=3, sha256="0f" * 32))
    watch.publish()
    assert watch.look() == {Cause.REGISTRY_VERSION_SKIPPED}


def test_a_key_that_the_operator_alone_added_is_seen(watch: Watch) -> None:
    """The leaf is true and the log is sound; only the signed registry knows nothing of the key."""
    world = watch.world
    world.register()
    world.append(entry.key_added(participant="bri", kid="A" * 43, use="message"))
    watch.publish()
    watch.show(name="second.json")
    assert watch.look() == {Cause.KEY_CHANGE_UNFOUNDED}


def test_a_recommendation_without_foundation_is_seen(tmp_path: Path) -> None:
    world, pack, _ = recommended_without_payment()
    watch = Watch(tmp_path, world)
    watch.publish()
    watch.show(pack)
    assert Doubt.NOT_FOUNDED in watch.look()
    evidence = next(alarm for alarm in watch.state.alarms() if alarm.code == Doubt.NOT_FOUNDED).evidence
    assert evidence["pack"] == "pack.json"
    assert evidence["finding"]["id"]
    watch.state.close()


def test_a_recommendation_whose_foundation_nobody_shows_is_seen(watch: Watch) -> None:
    world = watch.world
    world.recommend(revision=2)
    watch.publish()
    assert watch.look() == set()
    assert watch.look(timedelta(hours=1, minutes=1)) >= {Cause.RECOMMENDATION_NOT_SHOWN}


@pytest.mark.parametrize("forgery", [backdated_by_a_stolen_key, signed_by_a_key_of_nobody])
def test_a_message_under_a_key_that_does_not_count_is_seen_without_its_original(
    tmp_path: Path, forgery: Callable[[], tuple[World, Pack, Trust]]
) -> None:
    watch = Watch(tmp_path, forgery()[0])
    watch.publish()
    assert watch.look() == {Cause.MESSAGE_KEY_NOT_IN_FORCE}
    watch.state.close()


def test_a_message_that_stands_twice_is_seen(watch: Watch) -> None:
    watch.world.accept(watch.world.held[-1].record)
    watch.publish()
    assert watch.look() == {Cause.MESSAGE_TWICE}


def test_revisions_that_do_not_follow_each_other_are_seen(watch: Watch) -> None:
    data = read_envelope(watch.world.issued[0][1]).data
    watch.world.say({**data, "revision": 3})
    watch.publish()
    assert watch.look() == {Doubt.REVISION_WRONG}


def test_one_payment_under_two_recommendations_is_seen_though_each_pack_is_sound(watch: Watch) -> None:
    """The hub took a second bill under the same code, which no pack by itself can tell."""
    world = watch.world
    ministry, payment = world.ministry, world.held[-1]
    world.held = [payment]
    for value in (ministry.submitted(OTHER), ministry.billed(OTHER), ministry.approved(OTHER)):
        world.accept(ministry.sign(value))
    world.recommend(number="TKA-FFFFFFFFFFFF")
    pack = world.pack(subject=OTHER)
    second = pack.model_copy(update={"recommendations": pack.recommendations[1:], "claims": ()})
    assert verify_pack(second, world.trust()).failures == []
    watch.publish()
    watch.show(second, "second.json")
    assert watch.look() == {Doubt.PAYMENT_USED_TWICE}


def test_a_pack_of_another_past_is_seen(watch: Watch) -> None:
    pack = watch.world.pack()
    watch.world.entries[1] = watch.world.entries[1].replace(b"2012", b"2013")
    watch.show(watch.world.pack(messages=pack.messages[:1]), "second.json")
    assert Cause.PACK_OF_ANOTHER_PAST in watch.look()


def test_a_pack_that_is_ahead_of_the_log_waits(watch: Watch) -> None:
    watch.world.register()
    watch.show(name="second.json")
    assert watch.look() == set()
    assert watch.state.count_packs() == 1
    watch.publish()
    assert watch.look() == set()
    assert watch.state.count_packs() == 2


def test_a_gap_in_a_source_s_sequence_is_seen_once_everything_is_shown(watch: Watch) -> None:
    world = watch.world
    world.bri.paid("820260302000099")
    world.accept(world.bri.sign(world.bri.booked("reversed")))
    watch.publish()
    assert watch.look() == set()
    watch.show(name="second.json")
    assert Cause.SEQUENCE_GAP not in watch.look()
    assert Cause.SEQUENCE_GAP in watch.look(SETTLED)
    assert gaps_alarmed(watch) == [[2]]
    assert Cause.SEQUENCE_GAP not in watch.look(2 * SETTLED)


def gaps_alarmed(watch: Watch) -> list[list[int]]:
    """Return the missing numbers of each alarm about a gap."""
    return [alarm.evidence["missing"] for alarm in watch.state.alarms() if alarm.code == Cause.SEQUENCE_GAP]


def take_away_then_accept(watch: Watch, code: str, refusal: dict[str, Any] | None = None) -> None:
    """Lose a message of the bank, with the leaf of a refusal or with nothing, and accept the one behind it."""
    world = watch.world
    lost = read_envelope(world.bri.paid(code))
    if refusal is not None:
        members: dict[str, Any] = {
            "code": Code.BILL_CONFLICT,
            "topic": "from.bri",
            "participant": "bri",
            "source": lost.source,
        }
        members |= {"sequence": lost.sequence} | refusal
        place = {"digest": bytes(32), "partition": 0, "offset": len(world.entries), "received_at": world.now}
        world.append(entry.refused(**members | place))
    world.accept(world.bri.sign(world.bri.paid(code)))
    watch.publish()
    watch.show(name=f"{code}.json")


@pytest.mark.parametrize(
    ("refusal", "explained"),
    [
        ({}, True),
        ({"code": Code.KEY_UNKNOWN, "participant": None, "sequence": None}, True),
        ({"code": Code.JSON_INVALID, "sequence": None}, True),
        ({"sequence": None}, False),
        ({"sequence": 7}, False),
        ({"code": Code.SEQUENCE_REUSED}, False),
        ({"code": Code.TOPIC_WRONG, "topic": "from.mandiri"}, False),
        ({"topic": "from.ministry", "participant": "ministry"}, False),
        (None, False),
    ],
)
def test_a_refused_message_is_no_gap_and_one_taken_away_silently_is(
    watch: Watch, refusal: dict[str, Any] | None, explained: bool
) -> None:
    take_away_then_accept(watch, "820260302000098", refusal)
    for later in (timedelta(), SETTLED):
        watch.look(later)
    assert gaps_alarmed(watch) == ([] if explained else [[2]])


def test_one_refusal_explains_one_number_and_an_alarm_silences_no_later_one(watch: Watch) -> None:
    take_away_then_accept(watch, "820260302000096", {})
    for number, code in enumerate(("820260302000097", "820260302000098"), 1):
        watch.look(number * SETTLED)
        take_away_then_accept(watch, code)
    for number in (3, 4):
        watch.look(number * SETTLED)
    assert gaps_alarmed(watch) == [[4], [4, 6]]


def test_a_message_that_was_deferred_meanwhile_is_no_gap(watch: Watch) -> None:
    world = watch.world
    deferred = world.bri.sign(world.bri.paid("820260302000099"))
    world.accept(world.bri.sign(world.bri.booked()))
    watch.publish()
    watch.show(name="second.json")
    watch.look()
    world.accept(deferred)
    watch.publish()
    watch.show(name="third.json")
    for later in (timedelta(minutes=10), SETTLED, 2 * SETTLED):
        watch.look(later)
    assert gaps_alarmed(watch) == []


def test_a_reversal_that_nobody_shows_is_seen(watch: Watch) -> None:
    """The hub hides that the money was taken back: no pack can tell, but the log holds an entry that stays unsaid."""
    world = watch.world
    hidden = world.accept(world.bri.sign(world.bri.booked("reversed")))
    watch.publish()
    watch.show(world.pack(messages=tuple(map(world.show, world.held[:-1]))), "second.json")
    assert watch.look() == set()
    assert Cause.MESSAGE_NOT_SHOWN in watch.look(timedelta(minutes=61))
    alarm = next(alarm for alarm in watch.state.alarms() if alarm.code == Cause.MESSAGE_NOT_SHOWN)
    assert alarm.evidence == {"first": hidden.index}


def test_a_reversal_that_is_shown_anywhere_but_in_its_case_is_seen(watch: Watch) -> None:
    world = watch.world
    world.accept(world.bri.sign(world.bri.booked("reversed")))
    watch.publish()
    watch.show(world.pack(messages=tuple(map(world.show, world.held[:-1]))), "second.json")
    apart = world.pack(subject=CODE, messages=(world.show(world.held[-1]),), recommendations=(), claims=())
    assert verify_pack(apart, world.trust()).failures == []
    watch.show(apart, "apart.json")
    assert watch.look() == {Cause.MESSAGE_LEFT_OUT}
    watch.show(name="second.json")
    assert watch.look() == set()


def test_a_refusal_that_names_its_number_explains_no_other(watch: Watch) -> None:
    """Two messages of the bank are gone; the spare refusal of the first hides the second no more."""
    world = watch.world
    first = read_envelope(world.bri.paid("820260302000094"))
    world.bri.paid("820260302000095")
    members: dict[str, Any] = {"source": first.source, "sequence": first.sequence, "participant": "bri"}
    members |= {"topic": "from.bri", "partition": 0, "digest": bytes(32), "received_at": world.now}
    for offset in (1, 2):
        world.append(entry.refused(code=Code.MESSAGE_EXPIRED, offset=offset, **members))
    world.accept(world.bri.sign(world.bri.paid("820260302000096")))
    watch.publish()
    watch.show(name="second.json")
    for later in (timedelta(), SETTLED):
        watch.look(later)
    assert gaps_alarmed(watch) == [[first.sequence + 1]]


def test_an_end_in_the_middle_leaves_one_moment_of_the_log(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    size = watch.state.followed().size
    for number in range(300):
        watch.world.append(entry.timer(name="unmatched", subject=str(number), at=watch.world.now))
    watch.publish()
    (watch.log / "tile/entries/000").rename(watch.log / "away")
    with pytest.raises(Unreachable):
        watch.look()
    assert watch.state.followed().size == size
    (watch.log / "away").rename(watch.log / "tile/entries/000")
    assert watch.look() == set()


def test_ten_thousand_entries_a_second_are_followed(tmp_path: Path) -> None:
    world = World.settled()
    (held,) = (one for one in world.held if one.fact.participant == "bri")
    line = world.entries[held.index]
    identity = held.fact.id.encode()
    for number in range(30_000):
        world.append(line.replace(identity, b"p-%d" % number))
    watch = Watch(tmp_path, world)
    watch.publish()
    before = time.process_time()
    assert watch.look() == set()
    assert 30_000 / (time.process_time() - before) > 10_000
    watch.state.close()


def test_every_cause_has_words_in_both_languages() -> None:
    assert set(CAUSES) == set(Cause)
    assert read_contracts()
    assert all(words.en.endswith(".") and words.id.endswith(".") for words in CAUSES.values())
