"""The registry: read only under the pinned root, unique in its names, and only ever added to."""

from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import Code, Refusal, RegistryError
from contracts.log.note import Kind, VerifierKey
from contracts.registry import Registry, check_document, check_successor
from contracts.wire.key import PrivateKey
from tests.contracts import vector_world as world
from tests.contracts.root_world import PERSONS, twin_of, write_registry
from tests.contracts.vector_world import KEYS, NOW, ROOT

SIGNED = world.signed(world.document()).encode()
LOG, WITNESS = (PrivateKey(Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)) for number in (1, 2))
REGISTRY = Registry.read(SIGNED, ROOT.public)


def test_it_can_be_asked() -> None:
    bri = REGISTRY.participant("bri")
    assert bri is not None
    found = REGISTRY.key(KEYS["bri-1"].kid)
    assert found is not None
    assert found[0] is bri
    assert found[1].public.kid == KEYS["bri-1"].kid
    assert REGISTRY.owner_of(world.BRI) is bri
    assert REGISTRY.owner_of("https://nobody.example/tka") is None
    assert (REGISTRY.participant("nobody"), REGISTRY.key("x"), REGISTRY.message_key("x")) == (None, None, None)
    assert REGISTRY.partitions("from.bri") == 2
    assert REGISTRY.partitions("from.nobody") is None
    [(subscriber, subscription)] = REGISTRY.subscribers(world.ISSUED)
    assert subscriber.id == "immigration"
    assert subscription.filter.kanim == ["JKT01"]
    assert subscription.filter.regency is None
    assert REGISTRY.subscribers("id.tka.hub.receipt.v1") == ()
    hub = REGISTRY.hub()
    assert hub is not None
    assert hub.id == "hub"
    assert REGISTRY.issued_at == NOW - timedelta(days=1)
    assert REGISTRY.limits.expiry_days_max == 90
    assert REGISTRY.document["version"] == REGISTRY.version == 7


def test_a_root_key_may_be_es256() -> None:
    root = world.es256_key("es256 root")
    document = world.signed(world.document(), root)
    assert Registry.read(document.encode(), root.public).version == 7


def test_what_would_be_refused_is_not_signed() -> None:
    with pytest.raises(RegistryError) as caught:
        write_registry(world.document() | {"version": 0}, ROOT)
    assert caught.value.code == Code.REGISTRY_MALFORMED
    assert caught.value.detail.startswith("version")


def test_one_private_key_does_not_make_two_participants() -> None:
    document, twin = world.document(), twin_of("budi")
    for party, public in (("bri", PERSONS["budi"].public), ("mandiri", twin.public)):
        entry = {**world.key_entry("stranger"), "kid": public.kid, "alg": public.alg, "jwk": dict(public.jwk)}
        world.party(document, party)["keys"].append(entry)
    with pytest.raises(RegistryError) as caught:
        check_document(document)
    assert caught.value.code == Code.REGISTRY_KEY_INVALID


def test_two_hubs_are_one_too_many() -> None:
    document = world.document()
    world.party(document, "mandiri")["kind"] = "hub"
    with pytest.raises(RegistryError, match="hub"):
        write_registry(document, ROOT)


@given(st.integers(0, len(SIGNED) - 1), st.integers(1, 255))
def test_one_changed_byte_is_never_read(place: int, change: int) -> None:
    changed = bytearray(SIGNED)
    changed[place] ^= change
    with pytest.raises(RegistryError):
        Registry.read(bytes(changed), ROOT.public)


@given(st.binary(max_size=40))
def test_garbage_is_refused(document: bytes) -> None:
    with pytest.raises(Refusal):
        Registry.read(document, ROOT.public)


def _with_log(**others: object) -> dict[str, object]:
    document = world.document() | {
        "log_keys": [VerifierKey.of("hub.example/demo", Kind.ED25519, LOG.public).write()],
        "witnesses": [VerifierKey.of("witness.example/w1", Kind.COSIGNATURE_V1, WITNESS.public).write()],
        "witness_quorum": 1,
    }
    return document | others


def test_it_says_whom_to_believe_about_the_log() -> None:
    log = Registry.read(write_registry(_with_log(), ROOT), ROOT.public).log
    assert [key.name for key in (*log.log_keys, *log.witnesses)] == ["hub.example/demo", "witness.example/w1"]
    assert log.quorum == 1
    assert (REGISTRY.log.origin, REGISTRY.log.log_keys, REGISTRY.log.quorum) == ("hub.example/demo", (), 0)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"log_keys": ["hub.example/demo+00000000+AAAA"]}, Code.REGISTRY_MALFORMED),
        ({"log_keys": _with_log()["witnesses"]}, Code.REGISTRY_MALFORMED),
        ({"witnesses": _with_log()["log_keys"]}, Code.REGISTRY_MALFORMED),
        ({"witness_quorum": 2}, Code.REGISTRY_MALFORMED),
        (
            {"witnesses": [VerifierKey.of("witness.example/w1", Kind.COSIGNATURE_V1, LOG.public).write()]},
            Code.REGISTRY_MALFORMED,
        ),
        ({"log_keys": [VerifierKey.of("hub.example", Kind.ED25519, LOG.public).write()]}, Code.REGISTRY_MALFORMED),
        (
            {"log_keys": [VerifierKey.of("hub.example/demo", Kind.ED25519, KEYS["bri-1"].public).write()]},
            Code.REGISTRY_KEY_INVALID,
        ),
    ],
)
def test_keys_of_the_log_that_could_not_be_believed_are_refused(changes: dict[str, object], code: Code) -> None:
    with pytest.raises(RegistryError) as caught:
        write_registry(_with_log(**changes), ROOT)
    assert caught.value.code == code


def test_a_key_of_the_log_stays_and_a_witness_may_change() -> None:
    old = Registry.read(write_registry(_with_log(), ROOT), ROOT.public)
    without = _with_log(version=8, witnesses=[], witness_quorum=0)
    check_successor(old, Registry.read(write_registry(without, ROOT), ROOT.public))
    with pytest.raises(RegistryError) as caught:
        check_successor(old, Registry.read(write_registry(without | {"log_keys": []}, ROOT), ROOT.public))
    assert caught.value.code == Code.REGISTRY_HISTORY_LOST


def test_a_successor_adds() -> None:
    document = world.document() | {"version": 8}
    world.party(document, "bri")["keys"].append(world.key_entry("stranger"))
    successor = Registry.read(write_registry(document, ROOT), ROOT.public)
    check_successor(REGISTRY, successor)
    with pytest.raises(RegistryError) as caught:
        check_successor(successor, REGISTRY)
    assert caught.value.code == Code.REGISTRY_ROLLBACK
