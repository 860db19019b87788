"""What a connector believes: the pinned root, never an older registry, and no key that others can read."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from connectors.link.fault import HubUnreachable, SettingsFault, TrustFault
from connectors.link.hub_client import HubClient
from connectors.link.trust import Trust, read_private_key, read_root
from contracts.wire.key import PrivateKey
from contracts.wire.signature import NO_PREVIOUS_ROOT, VerifiedRoots, headers_of, sign_batch, verify_signature
from tests.connectors.parties import HubPeer, World


class Offer:
    """A hub that offers whatever a test puts here."""

    def __init__(self, document: bytes) -> None:
        self.document = document

    async def __call__(self) -> bytes:
        return self.document


async def test_registry_is_believed_kept_and_only_renewed(tmp_path: Path) -> None:
    world, path = World(), tmp_path / "spool" / "registry.jws"
    offer = Offer(world.signed(3))
    trust = Trust(path, world.root.public, offer)
    assert not trust.known
    with pytest.raises(TrustFault, match="no registry yet"):
        assert trust.registry
    assert await trust.refresh()
    assert not await trust.refresh()
    offer.document = world.signed(4)
    assert await trust.refresh()
    assert trust.registry.version == 4
    offer.document = world.signed(3)
    with pytest.raises(TrustFault, match="registry_rollback"):
        await trust.refresh()
    again = Trust(path, world.root.public, offer)
    assert again.registry.version == 4
    with pytest.raises(TrustFault, match="version 3 after 4"):
        await again.refresh()


async def test_registry_of_another_root_is_refused(tmp_path: Path) -> None:
    world, other = World(), World()
    trust = Trust(tmp_path / "registry.jws", world.root.public, Offer(other.signed(1)))
    with pytest.raises(TrustFault, match="TRUST_ROOT_FILE is another hub's"):
        await trust.refresh()
    assert not trust.known
    (tmp_path / "registry.jws").write_bytes(other.signed(1))
    with pytest.raises(TrustFault, match="kept in SPOOL_DIR"):
        Trust(tmp_path / "registry.jws", world.root.public, Offer(b""))


async def test_key_that_vanishes_is_refused(tmp_path: Path) -> None:
    world = World()
    offer = Offer(world.signed(1))
    trust = Trust(tmp_path / "registry.jws", world.root.public, offer)
    await trust.refresh()
    world.unknown.add(world.hub.kid)
    offer.document = world.signed(2)
    with pytest.raises(TrustFault, match="registry_history_lost"):
        await trust.refresh()
    assert trust.registry.version == 1


async def test_revocation_forgets_verified_batches(tmp_path: Path) -> None:
    world = World()
    offer = Offer(world.signed(1))
    trust = Trust(tmp_path / "registry.jws", world.root.public, offer)
    await trust.refresh()
    statement = {"iss": "x", "aud": "y", "first": 1, "last": 2, "prev": NO_PREVIOUS_ROOT, "iat": world.now}
    jws, proofs = sign_batch([b"1", b"2"], world.bri, **statement)  # type: ignore[arg-type]
    verify_signature(b"1", headers_of(jws, proofs[0]), trust.registry.message_key, trust.roots)
    assert len(trust.roots) == 1
    world.revoked.add(world.bri.kid)
    offer.document = world.signed(2)
    await trust.refresh()
    assert len(trust.roots) == 0
    assert isinstance(trust.roots, VerifiedRoots)


async def test_concurrent_refreshes_ask_one_after_the_other(tmp_path: Path) -> None:
    world = World()
    trust = Trust(tmp_path / "registry.jws", world.root.public, Offer(world.signed(1)))
    assert sorted(await asyncio.gather(*(trust.refresh() for _ in range(5)))) == [False] * 4 + [True]


async def test_hub_away_is_told_in_words() -> None:
    world = World()
    async with httpx.AsyncClient() as http:
        hub = HubClient(http, "http://127.0.0.1:1", "bri", world.api)
        with pytest.raises(HubUnreachable, match="check HUB_API_URL"):
            await hub.registry()


async def test_hub_that_refuses_the_assertion_is_told_in_words() -> None:
    async with HubPeer(World()).serve() as peer, httpx.AsyncClient() as http:
        hub = HubClient(http, peer.url, "mandiri", peer.world.api)
        with pytest.raises(HubUnreachable, match="API_KEY_FILE"):
            await hub.stream("to.bri", 0, 0)
        assert len(peer.refusals) == 1


async def test_page_that_is_none_quotes_nothing() -> None:
    world = World()
    async with HubPeer(world).serve() as peer, httpx.AsyncClient() as http:
        item = world.outcome("to.bri", 1)
        peer.streams["to.bri", 0] = [replace(item, key=7)]  # type: ignore[arg-type]
        with pytest.raises(HubUnreachable, match="no page of a stream") as caught:
            await HubClient(http, peer.url, "bri", world.api).stream("to.bri", 0, 0)
    assert caught.value.__cause__ is None


def test_key_files_are_checked(tmp_path: Path) -> None:
    key = PrivateKey.generate("ES256")
    path = tmp_path / "key.pem"
    with pytest.raises(SettingsFault, match="KEY_FILE cannot be read"):
        read_private_key(path, "KEY_FILE")
    path.write_bytes(key.to_pem())
    path.chmod(0o644)
    with pytest.raises(SettingsFault, match="chmod 600"):
        read_private_key(path, "KEY_FILE")
    path.chmod(0o600)
    assert read_private_key(path, "KEY_FILE").kid == key.kid
    path.write_bytes(b"-----BEGIN NONSENSE-----")
    with pytest.raises(SettingsFault, match="PKCS#8"):
        read_private_key(path, "KEY_FILE")


def test_root_file_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "root.jwk.json"
    with pytest.raises(SettingsFault, match="cannot be read"):
        read_root(path)
    for text in ("{", "[]", '{"kty":"RSA"}'):
        path.write_text(text)
        with pytest.raises(SettingsFault, match="not a public JWK"):
            read_root(path)
    key = PrivateKey.generate("Ed25519")
    path.write_text(json.dumps(key.public.jwk))
    assert read_root(path).kid == key.kid
