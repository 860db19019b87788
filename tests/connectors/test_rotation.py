"""A key is changed under a connector that runs: the link's own tasks, a real broker, and what the hub's admission says.

The how-to pages change a key by their command; here messages go out before, meanwhile and after, and none is lost.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from connectors.link.clock import utc_now
from connectors.link.key_ring import next_file
from connectors.link.rotation import rotate_key
from connectors.link.service import Agency, Link, link_tasks, open_link, subscriber_of
from connectors.link.settings import ConnectorSettings
from connectors.link.trust import read_private_key
from contracts.admission import Admitted, admit
from contracts.registry import Registry
from contracts.wire.instant import write_instant
from contracts.wire.key import Signer
from contracts.wire.record import Record
from contracts.wire.signature import VerifiedRoots
from tests.connectors.parties import AUTHOR, HubPeer, World, create_topics, eventually, payment, write_keys
from tests.connectors.test_publisher import read_topic
from tests.contracts.root_world import write_registry

AHEAD = timedelta(hours=1)
EACH = 3


def settings_of(folder: Path, peer: HubPeer, bootstrap: str, prefix: str) -> ConnectorSettings:
    names = write_keys(folder, peer.world, peer.world.bri, peer.world.api) | {
        "PARTICIPANT": "bri",
        "SOURCE_URI": AUTHOR.source,
        "HUB_API_URL": peer.url,
        "KAFKA_BOOTSTRAP": bootstrap,
        "TOPIC_PREFIX": prefix,
        "REGISTRY_REFRESH_S": "1",
    }
    return ConnectorSettings.model_validate({name.lower(): value for name, value in names.items()})


def register(peer: HubPeer, following: Signer) -> Registry:
    """Put the next key beside the old one, in force an hour from now."""
    world = peer.world
    world.bri_next = following
    document = world.document(2)
    [entry] = [key for party in document["participants"] for key in party["keys"] if key["kid"] == following.kid]
    entry["nbf"] = write_instant(world.now + AHEAD)
    peer.registry = write_registry(document, world.root)
    return Registry.read(peer.registry, world.root.public)


@asynccontextmanager
async def working(link: Link) -> AsyncIterator[None]:
    """Let the connector publish and follow the registry, as its process does."""

    async def take(delivered: Any) -> None:
        raise AssertionError(delivered)

    tasks = link_tasks(link, subscriber_of(link, Agency(take)))
    running = [asyncio.ensure_future(tasks[name]()) for name in ("publisher", "registry")]
    try:
        yield
    finally:
        for task in running:
            task.cancel()
        ended = await asyncio.gather(*running, return_exceptions=True)
    assert all(isinstance(one, asyncio.CancelledError) for one in ended), ended


async def say(link: Link, first: int) -> None:
    """Hand facts over, and wait until the broker has them."""
    await link.spool.put([payment(number) for number in range(first, first + EACH)])

    async def sent() -> bool:
        return (await link.spool.status()).sent == first + EACH - 1

    await eventually(sent)


async def test_a_key_is_changed_while_messages_go_out(tmp_path: Path, kafka: str, topic_prefix: str) -> None:
    await create_topics(kafka, f"{topic_prefix}from.bri", f"{topic_prefix}to.bri")
    moved = timedelta()
    async with HubPeer(World()).serve() as peer:
        settings = settings_of(tmp_path, peer, kafka, topic_prefix)
        rotate = partial(rotate_key, settings, "message")
        async with open_link(settings, clock=lambda: utc_now() + moved) as link, working(link):
            await say(link, 1)
            assert (await rotate(utc_now()))["step"] == "waiting for the registry"
            following = read_private_key(next_file(settings.key_file), "the next key")
            await say(link, 4)
            registry = register(peer, following)

            async def is_known() -> bool:
                return link.trust.registry.version == 2

            await eventually(is_known)
            # It is registered, but its time has not come.
            assert (await rotate(utc_now()))["step"] == "waiting for the registry"
            await say(link, 7)
            moved = 2 * AHEAD

            async def is_used() -> bool:
                return link.keys.current().kid == following.kid

            await eventually(is_used)
            await say(link, 10)
            assert (await rotate(utc_now() + moved))["step"] == "finished"
            assert read_private_key(settings.key_file, "the key").kid == following.kid
            await say(link, 13)
            # The connector reads its files again, and goes on with the same key.
            link.keys.reload()
            await say(link, 16)
    await judge(kafka, f"{topic_prefix}from.bri", registry, peer.world.bri.kid, following.kid)


async def judge(bootstrap: str, topic: str, registry: Registry, old: str, following: str) -> None:
    """Hold that the hub admits every message once, nine under each key, those of the next when its time had come."""
    records, roots = await read_topic(bootstrap, topic, 6 * EACH), VerifiedRoots()
    later_ms = int(2 * AHEAD.total_seconds() * 1_000)
    verdicts = [
        admit(
            Record("from.bri", 0, each.offset, each.key, each.value, tuple(each.headers), each.timestamp + shift_ms),
            registry,
            roots,
        )
        for place, each in enumerate(records)
        for shift_ms in [later_ms * (place >= 3 * EACH)]
    ]
    admitted = [one for one in verdicts if isinstance(one, Admitted)]
    assert len(admitted) == len(verdicts), [one for one in verdicts if not isinstance(one, Admitted)][:1]
    assert [one.envelope.sequence for one in admitted] == list(range(1, 6 * EACH + 1))
    assert [one.signature.kid for one in admitted] == [old] * 3 * EACH + [following] * 3 * EACH
