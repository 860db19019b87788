"""A sound pack is proven; each forgery is refused and named, with the insider's own keys where an insider has them."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from typing import Any

import pytest

from contracts import merkle
from contracts.audit.finding import WORDS, Beyond, Doubt, Proven
from contracts.audit.pack import Claim, Document, Pack, read_pack, write_pack
from contracts.audit.verify import Trust, verify_pack
from contracts.events import read_event
from contracts.log import entry
from contracts.log.fault import Fault
from contracts.log.note import Kind, VerifierKey
from contracts.rules.case import facts_of
from contracts.wire.envelope import read_envelope
from contracts.wire.key import PrivateKey
from contracts.wire.signature import TYP_RECOMMENDATION, sign_single
from tests.hub.exchange import ORIGIN
from tests.oversight.world import Held, World

# What a pack says without anybody having to believe it: changing it proves nothing else.
NOT_BELIEVED = ("exported_at", "policy", "claims", "recommendations.0.tlog_proof")
Forged = tuple[World, Pack, Trust]
Forgery = Callable[[], Forged]


def of(world: World, **others: Any) -> Forged:
    """A world with its pack, some members of which are replaced."""
    return world, world.pack(**others), world.trust()


def leaves_with(world: World, changed: dict[int, bytes]) -> Any:
    return tuple(
        leaf.model_copy(update={"entry": changed[leaf.index].decode()}) if leaf.index in changed else leaf
        for leaf in world.pack().leaves
    )


def paid_at(world: World) -> Held:
    return next(held for held in world.held if held.fact.participant == "bri")


def unpaid() -> World:
    world = World()
    for value in (world.ministry.submitted(), world.ministry.billed(), world.ministry.approved()):
        world.accept(world.ministry.sign(value))
    return world


def edited_entry() -> Forged:
    world = World.settled()
    index = paid_at(world).index
    return of(world, leaves=leaves_with(world, {index: world.entries[index].replace(b"bri", b"bni")}))


def edited_value() -> Forged:
    """The operator edits the amount in the inbox and leaves the log alone."""
    world = World.settled()
    held = paid_at(world)
    message = world.show(held)
    assert message.value is not None
    forged = message.model_copy(update={"value": message.value.replace("1200.00", "1200.01")})
    return of(world, messages=(*map(world.show, world.held[:-1]), forged))


def edited_value_and_entry() -> Forged:
    """The operator edits the inbox before the log is signed, so that only the bank's signature can tell."""
    world = unpaid()
    record = world.bri.sign(world.bri.paid(amount="0012.00"))
    assert record.value is not None
    world.accept(record._replace(value=record.value.replace(b"0012.00", b"1200.00")))
    world.recommend()
    return of(world)


def truncated_log() -> Forged:
    world = World.settled()
    return of(world, checkpoint=world.checkpoint(size=len(world.entries) - 1).decode())


def reordered_entries() -> Forged:
    world = World.settled()
    return of(world, leaves=leaves_with(world, {3: world.entries[4], 4: world.entries[3]}))


def other_root_of_that_size() -> Forged:
    """The log's own key signs another past of the same size."""
    world = World.settled()
    hashes = [merkle.leaf_hash(one) for one in world.entries]
    hashes[0] = merkle.leaf_hash(b"another past")
    return of(world, checkpoint=world.checkpoint(root=merkle.root(hashes)).decode())


def wrong_origin() -> Forged:
    world = World.settled()
    return of(world, checkpoint=world.checkpoint(origin="hub.example/other").decode())


def unknown_log_key() -> Forged:
    world = World.settled()
    policy = replace(
        world.policy(), log_keys=(VerifierKey.of(ORIGIN, Kind.ED25519, PrivateKey.generate("Ed25519").public),)
    )
    return world, world.pack(), world.trust(policy=policy)


def missing_quorum() -> Forged:
    world = World.settled()
    pack = world.pack()
    return (
        world,
        pack.model_copy(update={"checkpoint": "".join(pack.checkpoint.splitlines(keepends=True)[:-1])}),
        world.trust(),
    )


def stale_cosignature() -> Forged:
    world = World.settled()
    checkpoint = world.checkpoint(cosigned_at=world.now - timedelta(days=2)).decode()
    return world, world.pack(checkpoint=checkpoint), world.trust()


def cosignature_before_what_it_covers() -> Forged:
    world = World.settled()
    checkpoint = world.checkpoint(cosigned_at=world.now - timedelta(days=2)).decode()
    return world, world.pack(checkpoint=checkpoint), world.trust(cosignature_age_s_max=None)


def future_cosignature() -> Forged:
    world = World.settled()
    return of(world, checkpoint=world.checkpoint(cosigned_at=world.now + timedelta(days=1)).decode())


def recommendation_without_proof() -> Forged:
    world = World.settled()
    (recommended,) = world.pack().recommendations
    return of(world, recommendations=(recommended.model_copy(update={"tlog_proof": None}),))


def proof_of_another_entry() -> Forged:
    world = World.settled()
    (recommended,) = world.pack().recommendations
    return of(world, recommendations=(recommended.model_copy(update={"tlog_proof": world.proof(3)}),))


def basis_logged_afterwards() -> Forged:
    """The hub recommends first, with its real key, and the payment that it names comes behind."""
    world = unpaid()
    record = world.bri.sign(world.bri.paid())
    assert record.value is not None
    envelope = read_envelope(record.value)
    before = len(world.entries)
    held = Held(before + 1, record, facts_of(envelope, read_event(envelope.type, envelope.data), "bri", before + 1))
    world.held.append(held)
    world.recommend()
    world.held.pop()
    world.accept(record)
    return of(world)


def basis_with_other_bytes() -> Forged:
    world = unpaid()
    world.accept(world.bri.sign(world.bri.paid()))
    wanted = world.want()
    basis = (*wanted.basis[:-1], wanted.basis[-1]._replace(sha256="A" * 43))
    world.recommend(wanted._replace(basis=basis))
    return of(world)


def basis_that_is_nowhere() -> Forged:
    world = unpaid()
    world.accept(world.bri.sign(world.bri.paid()))
    wanted = world.want()
    world.recommend(wanted._replace(basis=(*wanted.basis, wanted.basis[-1]._replace(id="invented"))))
    return of(world)


def approval_left_out_of_the_basis() -> Forged:
    world = unpaid()
    world.accept(world.bri.sign(world.bri.paid()))
    wanted = world.want()
    world.recommend(wanted._replace(basis=wanted.basis[1:]))
    return of(world)


def payment_claimed_twice() -> Forged:
    world = World.settled()
    fact = paid_at(world).fact
    other = Claim(source=fact.source, id=fact.id, number="TKA-FFFFFFFFFFFF", index=1)
    return of(world, claims=(*world.claims(), other))


def other_rule_set_named() -> Forged:
    world = unpaid()
    world.accept(world.bri.sign(world.bri.paid()))
    wanted = world.want()
    old = next(row for row in world.installed.rule_sets if row.id == "2012")
    content = {**wanted.content, "rule_set": {"id": old.id, "version": old.version, "sha256": old.sha256}}
    world.recommend(wanted._replace(content=content))
    return of(world)


def wrong_rule_set_hash() -> Forged:
    world = unpaid()
    world.accept(world.bri.sign(world.bri.paid()))
    wanted = world.want()
    content = {**wanted.content, "rule_set": {**wanted.content["rule_set"], "sha256": "0f" * 32}}
    world.recommend(wanted._replace(content=content))
    return of(world)


def rule_set_edited_in_the_pack() -> Forged:
    world = World.settled()
    shown = tuple(Document(index=index, document=text + "\n# edited\n") for index, text in world.rule_sets)
    return of(world, rule_sets=shown)


def rule_set_of_the_operator() -> Forged:
    """The operator logs a cheaper rule set, with a true leaf, and recommends by it; the root never signed it."""
    world = unpaid()
    world.accept(world.bri.sign(world.bri.paid(amount="1.00")))
    row = max((row for row in world.installed.rule_sets if row.id == "2021"), key=lambda row: row.version)
    version = row.version + 1
    text = row.document.replace(f"version = {row.version}", f"version = {version}", 1)
    digest = sha256(text.encode()).hexdigest()
    world.rule_sets.append((world.append(entry.rule_set(id=row.id, version=version, sha256=digest)), text))
    return of(world)


def recommended_without_payment() -> Forged:
    """The hub's real key signs a recommendation for an application that nobody has paid for."""
    paid = unpaid()
    world = unpaid()
    paid.ministry, paid.held, paid.entries = world.ministry, list(world.held), list(world.entries)
    paid.accept(paid.bri.sign(paid.bri.paid()))
    wanted = paid.want()
    world.recommend(wanted._replace(basis=wanted.basis[:-1]))
    return of(world)


def another_worker() -> Forged:
    world = unpaid()
    world.accept(world.bri.sign(world.bri.paid()))
    person = {"name": "Budi Santoso", "birth_date": "1980-02-29", "nationality": "JPN", "passport": "L898902C36"}
    world.recommend(worker=person)
    return of(world)


def signed_by_a_key_of_nobody() -> Forged:
    """The operator invents a payment and signs it with a key that the root never registered."""
    world = unpaid()
    world.bri.key = PrivateKey.generate("Ed25519")
    world.accept(world.bri.sign(world.bri.paid()))
    world.recommend()
    return of(world)


def signed_by_another_participant() -> Forged:
    """The Ministry's real key reports a payment in the bank's name."""
    world = unpaid()
    world.bri.key = world.ministry.key
    world.accept(world.bri.sign(world.bri.paid()))
    world.recommend()
    return of(world)


def key_added_afterwards() -> Forged:
    world = unpaid()
    world.bri.key = PrivateKey.generate("Ed25519")
    world.bri.registered = [*world.bri.registered, world.bri.key]
    world.accept(world.bri.sign(world.bri.paid()))
    world.register()
    world.recommend()
    return of(world)


def backdated_by_a_stolen_key() -> Forged:
    """A bank's stolen key, revoked already, signs a payment of last week; the hub backdates its arrival too."""
    world = unpaid()
    world.register(revoked=world.bri.key.kid)
    before = world.now - timedelta(days=7)
    record = world.bri.sign(world.bri.paid())
    assert record.value is not None
    value = world.bri.write(
        "id.tka.bank.payment.received.v1", read_envelope(record.value).data, "820260302000017",
        time=before, recordedtime=before, expirytime=before + timedelta(days=60),
    )  # fmt: skip
    append_ms = int(before.timestamp() * 1000)
    world.accept(world.bri.sign(value, append_time_ms=append_ms), received_at=before)
    world.recommend()
    return of(world)


def expired_message_revived() -> Forged:
    """A message that came too late is said to have come to Kafka at another time than it did."""
    world = World.settled()
    shown = tuple(map(world.show, world.held))
    late = shown[0].model_copy(update={"append_time_ms": shown[0].append_time_ms + 3_600_000})
    return of(world, messages=(late, *shown[1:]))


def expired_message() -> Forged:
    world = unpaid()
    late = int((world.now + timedelta(days=3)).timestamp() * 1000)
    world.accept(world.bri.sign(world.bri.paid(), append_time_ms=late), received_at=world.now + timedelta(days=3))
    world.recommend()
    return of(world)


def revocation_left_out_of_the_pack() -> Forged:
    world, pack, trust = backdated_by_a_stolen_key()
    kept = tuple(leaf for leaf in pack.leaves if "key_revoked" not in leaf.entry)
    return world, pack.model_copy(update={"leaves": kept}), trust


def registry_of_another_root() -> Forged:
    world = World.settled()
    other = World()
    return of(world, registries=(Document(index=0, document=other.registries[0][1].decode()),))


def registry_version_left_out() -> Forged:
    world = World.settled()
    world.register()
    world.register()
    shown = [Document(index=index, document=jws.decode()) for index, jws in world.registries]
    return of(world, registries=(shown[0], shown[2]))


def newest_registry_left_out() -> Forged:
    world = World.settled()
    return world, world.pack(), world.trust(registry_version_min=2)


def registry_signed_by_one_person() -> Forged:
    world = World.settled()
    world.register_alone()
    return of(world)


def signed_by_no_hub() -> Forged:
    world = unpaid()
    world.accept(world.bri.sign(world.bri.paid()))
    world.recommend()
    index, value, _ = world.issued.pop()
    world.issued.append((index, value, sign_single(value, world.bri.key, TYP_RECOMMENDATION)))
    return of(world)


def revision_skipped() -> Forged:
    world = unpaid()
    world.accept(world.bri.sign(world.bri.paid()))
    world.recommend(revision=2)
    return of(world)


def withdrawn_for_nothing() -> Forged:
    world = World.settled()
    data = read_envelope(world.issued[0][1]).data
    world.say({**data, "state": "withdrawn", "reason": "permit_revoked"})
    return of(world)


def other_contract() -> Forged:
    world = World.settled()
    contracts = {**world.installed.contracts, "id.tka.bank.payment.received.v1": "0f" * 32}
    return world, world.pack(), world.trust(contracts=contracts)


def another_case() -> Forged:
    world = World.settled()
    return of(world, subject="B.3/999999/PK.04.00/III/2026")


def other_root_key() -> Forged:
    world = World.settled()
    return world, world.pack(), world.trust(root=PrivateKey.generate("ES256").public)


FORGERIES: dict[Forgery, str] = {
    edited_entry: Fault.INCLUSION_INVALID,
    edited_value: Doubt.VALUE_CHANGED,
    edited_value_and_entry: Doubt.MESSAGE_SIGNATURE_INVALID,
    truncated_log: Fault.INCLUSION_INVALID,
    reordered_entries: Fault.INCLUSION_INVALID,
    other_root_of_that_size: Fault.INCLUSION_INVALID,
    wrong_origin: Fault.ORIGIN_WRONG,
    unknown_log_key: Fault.LOG_SIGNATURE_MISSING,
    missing_quorum: Fault.QUORUM_MISSING,
    stale_cosignature: Fault.COSIGNATURE_STALE,
    cosignature_before_what_it_covers: Fault.COSIGNATURE_STALE,
    future_cosignature: Fault.COSIGNATURE_FROM_FUTURE,
    recommendation_without_proof: Doubt.PROOF_MISSING,
    proof_of_another_entry: Fault.INCLUSION_INVALID,
    basis_logged_afterwards: Doubt.BASIS_NOT_BEFORE,
    basis_with_other_bytes: Doubt.BASIS_HASH_WRONG,
    basis_that_is_nowhere: Doubt.BASIS_MISSING,
    approval_left_out_of_the_basis: Doubt.BASIS_DIFFERS,
    payment_claimed_twice: Doubt.PAYMENT_USED_TWICE,
    other_rule_set_named: Doubt.RULE_SET_WRONG,
    wrong_rule_set_hash: Doubt.RULE_SET_WRONG,
    rule_set_edited_in_the_pack: Doubt.RULE_SET_NOT_IN_LOG,
    rule_set_of_the_operator: Doubt.RULE_SET_NOT_REGISTERED,
    recommended_without_payment: Doubt.NOT_FOUNDED,
    another_worker: Doubt.CONTENT_DIFFERS,
    signed_by_a_key_of_nobody: Doubt.KEY_NOT_YET_ADDED,
    signed_by_another_participant: Doubt.KEY_NOT_YET_ADDED,
    key_added_afterwards: Doubt.KEY_NOT_YET_ADDED,
    backdated_by_a_stolen_key: Doubt.KEY_REVOKED,
    revocation_left_out_of_the_pack: Doubt.KEY_REVOKED,
    expired_message_revived: Doubt.MESSAGE_REFUSED,
    expired_message: Doubt.MESSAGE_REFUSED,
    registry_of_another_root: Doubt.REGISTRY_INVALID,
    registry_version_left_out: Doubt.REGISTRY_HISTORY_INCOMPLETE,
    newest_registry_left_out: Doubt.REGISTRY_HISTORY_INCOMPLETE,
    registry_signed_by_one_person: Doubt.REGISTRY_TOO_FEW_PERSONS,
    signed_by_no_hub: Doubt.RECOMMENDATION_SIGNATURE_INVALID,
    revision_skipped: Doubt.REVISION_WRONG,
    withdrawn_for_nothing: Doubt.WITHDRAWAL_WRONG,
    other_contract: Doubt.CONTRACT_DIFFERS,
    another_case: Doubt.SUBJECT_DIFFERS,
    other_root_key: Doubt.ROOT_DIFFERS,
}


def test_a_sound_pack_is_proven() -> None:
    world = World.settled()
    findings = verify_pack(write_pack(world.pack()), world.trust())
    assert findings.failures == []
    assert {one.code for one in findings.all if one.verdict == "proven"} == set(Proven)


@pytest.mark.parametrize("forgery", FORGERIES, ids=lambda forgery: forgery.__name__)
def test_a_forgery_is_named(forgery: Forgery) -> None:
    _, pack, trust = forgery()
    assert FORGERIES[forgery] in verify_pack(write_pack(pack), trust).codes


def test_a_withdrawal_and_a_second_issue_are_proven() -> None:
    world = World.settled()
    world.accept(world.bri.sign(world.bri.booked("reversed")))
    data = read_envelope(world.issued[0][1]).data
    world.say({**data, "state": "withdrawn", "reason": "payment_reversed"})
    world.accept(world.bri.sign(world.bri.paid()))
    world.recommend(revision=2)
    findings = verify_pack(world.pack(), world.trust())
    assert findings.failures == []
    assert sum(one.code == Proven.RECOMMENDATION for one in findings.all) == 3


def test_a_pack_of_hundreds_of_messages_is_verified_within_a_second() -> None:
    world = World.settled()
    for _ in range(100):
        world.accept(world.bri.sign(world.bri.booked("reversed")))
        world.accept(world.bri.sign(world.bri.paid()))
    raw, trust = write_pack(world.pack()), world.trust()
    before = time.process_time()
    assert verify_pack(raw, trust).failures == []
    assert time.process_time() - before < 1


def test_an_erased_original_still_leaves_its_place_and_its_part_in_the_decision() -> None:
    world = World.settled()
    shown = [world.show(held) for held in world.held]
    erased = [
        message.model_copy(update={"value": None, "fact": held.fact.to_json()})
        for message, held in zip(shown, world.held, strict=True)
    ]
    # As the hub keeps it: a fact's data in JSON.
    pack = read_pack(write_pack(world.pack(messages=tuple(erased))))
    findings = verify_pack(pack, world.trust())
    assert findings.failures == []
    assert sum(one.code == Beyond.ORIGINAL_ERASED for one in findings.all) == len(world.held) + 1


def test_a_file_that_is_no_pack_is_refused_without_repeating_it() -> None:
    world = World.settled()
    for raw in (b"", b"{}", b"[1]", b'{"format":"tkahub-pack/2"}', write_pack(world.pack())[:-40]):
        (finding,) = verify_pack(raw, world.trust()).failures
        assert finding.code == Doubt.PACK_MALFORMED
        assert "Yamada" not in finding.detail


def _texts(node: Any, place: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Every text of a document, with the member that holds it."""
    members = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, held in members:
        if isinstance(held, str):
            yield f"{place}{key}", node, key
        else:
            yield from _texts(held, f"{place}{key}.")


def test_one_changed_character_anywhere_is_noticed() -> None:
    world = World.settled()
    document = json.loads(write_pack(world.pack()))
    tried = 0
    for place, holder, key in list(_texts(document)):
        if place.startswith(NOT_BELIEVED):
            continue
        honest = holder[key]
        at = len(honest) // 2
        holder[key] = honest[:at] + ("A" if honest[at] != "A" else "B") + honest[at + 1 :]
        assert verify_pack(json.dumps(document).encode(), world.trust()).failures, place
        holder[key] = honest
        tried += 1
    assert tried > 60


def test_no_finding_repeats_personal_data() -> None:
    for forgery in FORGERIES:
        _, pack, trust = forgery()
        findings = verify_pack(pack, trust).all
        assert all("Yamada" not in f"{one.subject}{one.detail}" for one in findings), forgery


def test_every_code_has_words_in_both_languages() -> None:
    for code in (*Doubt, *Proven, *Beyond, *Fault):
        assert WORDS[code].en.endswith(".")
        assert WORDS[code].id.endswith(".")
    assert len({str(code) for code in (*Doubt, *Proven, *Beyond, *Fault)}) == len(WORDS)
