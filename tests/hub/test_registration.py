"""A registry version is put in force whole, with its leaves, or not at all."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from contracts.errors import Code, RegistryError
from contracts.events import EVENTS
from contracts.wire.key import PrivateKey
from hub import registration
from hub.registration import Applied, ChangeInvalid
from hub.store import registry as registry_store
from hub.store import schema
from hub.store.database import Database
from tests.contracts.root_world import roots_for
from tests.hub.registering import propose, register
from tests.hub.world import World

pytestmark = pytest.mark.anyio
NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
ROOT, OTHER = PrivateKey.generate("Ed25519"), PrivateKey.generate("ES256")
BANK = PrivateKey.generate("ES256")
HUB = PrivateKey.generate("Ed25519")
HUB_PARTY = {"id": "hub", "kind": "hub", "sources": ["https://hub.example/tka"], "keys": [{"jwk": HUB.public.jwk}]}
BANK_PARTY: dict[str, Any] = {
    "id": "bri",
    "kind": "bank",
    "bank_code": "002",
    "sources": ["https://bri.example/tka"],
    "keys": [{"jwk": BANK.public.jwk}],
    "publishes": ["id.tka.bank.payment.received.v1"],
}
FIRST = {
    "settings": {"environment": "demo", "log_origin": "hub.example/demo", "topics": {"from.bri": 4}},
    "participants": [HUB_PARTY, BANK_PARTY],
}


@pytest.fixture
async def opened(database: str) -> AsyncIterator[Database]:
    """Give a migrated database without a registry."""
    await schema.migrate(database)
    opened = await Database.open(database)
    yield opened
    await opened.close()


async def apply(database: Database, given: object) -> Applied:
    """Put the next version in force with what a file asks for."""
    return await register(database, registration.add_participants(given, NOW), ROOT, NOW)


async def read_leaves(database: Database) -> list[dict[str, Any]]:
    """Return all leaves in log order."""
    async with database.connection() as connection:
        rows = await connection.fetch("SELECT entry FROM leaves ORDER BY log_index")
    return [json.loads(row["entry"]) for row in rows]


async def test_the_first_version_registers_everything_with_a_leaf_each(opened: Database) -> None:
    applied = await apply(opened, FIRST)
    leaves = await read_leaves(opened)
    kinds = [leaf["kind"] for leaf in leaves]
    assert (applied.registry.version, applied.log_index, applied.leaves) == (1, 0, len(leaves))
    assert kinds[0] == "registry"
    assert (kinds.count("rule_set"), kinds.count("contract"), kinds.count("key_added")) == (4, len(EVENTS), 2)
    assert kinds.count("root") == 1
    assert applied.registry.topics == {"recommendations": 1, "from.bri": 4, "to.bri": 1}
    names = [f"{entry.id}/{entry.version}" for entry in applied.registry.rule_sets]
    assert names == ["2012/1", "2012/2", "2021/1", "2021/2"]
    async with opened.connection() as connection:
        head = await connection.fetchrow("SELECT origin, next_index, registry_version FROM log")
        assert head is not None
        assert tuple(head) == ("hub.example/demo", len(leaves), 1)
        stored = await registry_store.read_rule_sets(connection)
    assert [(row.id, row.sha256) for row in stored] == [
        (leaf["id"], leaf["sha256"]) for leaf in leaves if leaf["kind"] == "rule_set"
    ]


async def test_a_second_version_logs_only_what_is_new(opened: Database) -> None:
    await apply(opened, FIRST)
    before = len(await read_leaves(opened))
    added = PrivateKey.generate("Ed25519")
    keys = [{"jwk": BANK.public.jwk}, {"jwk": added.public.jwk, "use": "api"}]
    edit = registration.add_participants(BANK_PARTY | {"keys": keys}, NOW + timedelta(days=9))
    applied = await register(opened, edit, ROOT, NOW)
    assert [leaf["kind"] for leaf in (await read_leaves(opened))[before:]] == ["registry", "key_added"]
    found = applied.registry.key(added.kid)
    assert found is not None
    assert (found[0].id, found[1].use) == ("bri", "api")
    assert applied.registry.topics["from.bri"] == 4


async def revoke(database: Database, kid: str) -> Applied:
    """Revoke a key."""
    return await register(database, registration.revoke_key(kid, NOW), ROOT, NOW)


async def test_a_revocation_is_a_leaf_and_stays(opened: Database) -> None:
    await apply(opened, FIRST)
    before = len(await read_leaves(opened))
    applied = await revoke(opened, BANK.kid)
    leaves = (await read_leaves(opened))[before:]
    assert [leaf["kind"] for leaf in leaves] == ["registry", "key_revoked"]
    assert leaves[1] == {"kind": "key_revoked", "participant": "bri", "kid": BANK.kid, "use": "message"}
    found = applied.registry.key(BANK.kid)
    assert found is not None
    assert found[1].revoked_at == NOW
    with pytest.raises(ChangeInvalid, match="revoked already"):
        await revoke(opened, BANK.kid)
    again = (await apply(opened, BANK_PARTY)).registry.key(BANK.kid)
    assert again is not None
    assert again[1].revoked_at == NOW
    with pytest.raises(RegistryError) as refused:
        await apply(opened, BANK_PARTY | {"keys": [{"jwk": BANK.public.jwk, "revoked_at": None}]})
    assert refused.value.code is Code.REGISTRY_HISTORY_LOST


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (BANK_PARTY | {"keys": []}, "a key of bri"),
        ({"settings": {"environment": "other"}, "participants": []}, "act_of_other_environment"),
        ({"settings": {"topics": {"from.bri": 3}}, "participants": []}, "partitions of from.bri"),
        (BANK_PARTY | {"id": "mandiri", "keys": []}, "sources: one stands twice"),
        ({"id": "kpk", "kind": "police"}, "participants.2.kind"),
    ],
)
async def test_what_may_not_follow_changes_nothing(opened: Database, given: object, words: str) -> None:
    await apply(opened, FIRST)
    before = await read_leaves(opened)
    with pytest.raises(RegistryError, match=words):
        await apply(opened, given)
    async with opened.connection() as connection:
        assert await registry_store.read_stand(connection) == (1, 0)
    assert await read_leaves(opened) == before


async def test_another_root_key_is_refused(opened: Database) -> None:
    proposal = propose(None, [registration.add_participants(FIRST, NOW)], OTHER, NOW, roots=roots_for(OTHER))
    with pytest.raises(RegistryError) as refused:
        await registration.apply(opened, proposal, ROOT.public, NOW)
    assert refused.value.code is Code.ROOT_NOT_PINNED
    with pytest.raises(ChangeInvalid, match="needs its root documents"):
        propose(None, [registration.add_participants(FIRST, NOW)], ROOT, NOW)


@pytest.mark.parametrize("given", [7, {"kind": "bank"}, {"id": "x", "keys": 1}, {"id": "x", "keys": [{"kid": "k"}]}])
async def test_a_file_that_holds_no_participant_is_refused(given: object) -> None:
    with pytest.raises(ChangeInvalid):
        registration.add_participants(given, NOW)


async def test_unknown_members_beside_participants_are_refused() -> None:
    with pytest.raises(ChangeInvalid, match="only hold settings"):
        registration.add_participants({"participants": [], "extra": 1}, NOW)


async def test_a_contract_of_an_older_installation_stays(opened: Database) -> None:
    world = World()
    world.root, world.now = ROOT, NOW - timedelta(days=1)
    old = {"type": "id.tka.bank.payment.received.v9", "sha256": "0f" * 32}
    await world.put_in_force(opened, world.document(contracts=[old]))
    applied = await apply(opened, {"id": "kpk", "kind": "oversight"})
    assert applied.registry.contracts[old["type"]] == old["sha256"]
    assert set(applied.registry.contracts) == {*EVENTS, old["type"]}
