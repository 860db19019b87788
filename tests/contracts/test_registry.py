"""The registry: read only under the pinned root, unique in its names, and only ever added to."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import Code, Refusal, RegistryError
from contracts.registry import Registry, check_successor, write_registry
from tests.contracts import vector_world as world
from tests.contracts.vector_world import KEYS, NOW, ROOT

SIGNED = world.signed(world.document()).encode()
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


def test_a_successor_adds() -> None:
    document = world.document() | {"version": 8}
    world.party(document, "bri")["keys"].append(world.key_entry("stranger"))
    successor = Registry.read(write_registry(document, ROOT), ROOT.public)
    check_successor(REGISTRY, successor)
    with pytest.raises(RegistryError) as caught:
        check_successor(successor, REGISTRY)
    assert caught.value.code == Code.REGISTRY_ROLLBACK
