"""The doctor on a real exchange, whole and with things taken away."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from devstack.kafka import Kafka
from devstack.ports import find_free_ports
from hub import administration
from hub.cluster import find_cluster
from hub.diagnosis import Finding
from hub.doctor import examine
from hub.settings import Settings
from hub.store import schema
from hub.store.database import Database
from hub.store.election import Election
from hub.transport import Acl, Plan, Wanted, make_plan, write_wanted
from tests.hub.world import World, fill_inbox, fill_outbox

NOTICE = timedelta(hours=1)


@pytest.fixture
async def settings(database: str, secured_kafka: Kafka, tmp_path: Path) -> Settings:
    """Give the doctor's settings, for an exchange that is set up and of which nothing runs."""
    world, root = World(), tmp_path / "root.json"
    await schema.migrate(database)
    opened = await Database.open(database, size=1)
    registry = await world.put_in_force(opened)
    await opened.close()
    root.write_text(json.dumps(world.root.public.jwk))
    prefix = f"{tmp_path.name}-"
    settings = settings_of(
        secured_kafka, "hub.doctor", database_url=database, trust_root_file=root, topic_prefix=prefix
    )
    admin = find_cluster(
        settings_of(secured_kafka, "hub.admin", database_url="postgresql://u:p@127.0.0.1/x", topic_prefix=prefix)
    )
    wanted = write_wanted(registry, prefix)
    found = await asyncio.to_thread(administration.find, admin, wanted)
    await asyncio.to_thread(administration.carry_out, admin, wanted, make_plan(wanted, found))
    return settings


def settings_of(kafka: Kafka, name: str, **others: object) -> Settings:
    """Return the settings of a process that shows the certificate of this name."""
    credentials = kafka.certify(name)
    assert credentials is not None
    files = {key.lower(): value for key, value in credentials.write_environment().items()}
    return Settings.model_validate({"kafka_bootstrap": kafka.bootstrap} | files | others)


async def look(settings: Settings, **changed: object) -> dict[str, list[Finding]]:
    """Return what the doctor finds, by check."""
    findings: dict[str, list[Finding]] = {}
    async for finding in examine(settings.model_copy(update=changed), NOTICE):
        findings.setdefault(finding.check, []).append(finding)
    return findings


def verdicts(findings: dict[str, list[Finding]]) -> dict[str, set[str]]:
    return {check: {finding.verdict for finding in found} for check, found in findings.items()}


async def test_each_check_looks_and_only_the_missing_processes_are_told(settings: Settings) -> None:
    found = await look(settings)
    assert verdicts(found) == {
        "database": {"ok"},
        "registry": {"ok"},
        "rights in the database": {"notice"},
        "clocks": {"ok", "unknown"},
        "lag": {"ok"},
        "participants' keys": {"ok"},
        "suspended keys": {"ok"},
        "evidence log": {"unknown"},
        "processes": {"wrong"},
        "certificates": {"ok"},
        "kafka": {"ok"},
        "disks": verdicts(found)["disks"],
    }
    assert "deadlines, relay of recommendations, relay of to.bri, relay of to.immigration" in found["processes"][0].says
    assert len(found["certificates"]) == 3
    assert {finding.says.split(" has ")[0] for finding in found["disks"]} == {"Broker 1", "This machine"}


async def test_duties_that_have_their_process_are_seen(settings: Settings) -> None:
    holder = await Election.open(settings.database_url, "relay")
    try:
        for lock in ("deadlines", "recommendations", "to.bri", "to.immigration"):
            assert await holder.win(lock)
        assert verdicts(await look(settings))["processes"] == {"ok"}
    finally:
        await holder.close()


async def test_what_waits_and_what_came_before_its_time_is_told(settings: Settings) -> None:
    await fill_outbox(settings.database_url, "to.bri", 0, 10_001)
    await fill_inbox(settings.database_url, 1_000, [b"{}"], "a..b")
    connection = await asyncpg.connect(settings.database_url)
    try:
        await connection.execute("SET session_replication_role = replica")
        await connection.execute("UPDATE inbox SET append_time = received_at + interval '1 minute'")
    finally:
        await connection.close()
    found = await look(settings)
    assert "10001 of them on to.bri" in next(each.says for each in found["lag"] if each.verdict == "wrong")
    assert "60.0 s before" in next(each.says for each in found["clocks"] if each.verdict == "wrong")


async def test_drift_of_kafka_is_told(settings: Settings, secured_kafka: Kafka) -> None:
    admin = find_cluster(
        settings_of(
            secured_kafka, "hub.admin", database_url="postgresql://u:p@127.0.0.1/x", topic_prefix=settings.topic_prefix
        )
    )
    right = Acl("User:bri", "topic", admin.physical("from.bri"), "write")
    nothing = Wanted(admin.prefix, {}, frozenset(), {}, frozenset())
    await asyncio.to_thread(administration.carry_out, admin, nothing, Plan(revoked=(right,)))
    assert "grant User:bri may write topic" in (await look(settings))["kafka"][-1].says


async def test_what_ends_soon_is_told(settings: Settings) -> None:
    findings = [finding async for finding in examine(settings, timedelta(days=100))]
    soon = {finding.check for finding in findings if finding.verdict == "wrong"}
    assert {"certificates", "participants' keys"} <= soon


async def test_what_does_not_answer_keeps_nothing_else_from_being_looked_at(settings: Settings, database: str) -> None:
    nowhere = f"127.0.0.1:{find_free_ports(1)[0]}"
    without_kafka = verdicts(await look(settings, kafka_bootstrap=nowhere))
    assert (without_kafka["kafka"], without_kafka["registry"]) == ({"wrong"}, {"ok"})
    without_database = verdicts(await look(settings, database_url=f"postgresql://nobody@{nowhere}/nothing"))
    assert (without_database["database"], without_database["kafka"]) == ({"wrong"}, {"ok"})
    unset = verdicts(await look(settings, kafka_ssl_key_file=None))
    assert unset["kafka"] == {"wrong"}


async def test_another_root_and_an_old_schema_are_told(settings: Settings, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text(json.dumps(World().root.public.jwk))
    found = await look(settings, trust_root_file=other)
    assert "does not verify under the pinned root" in found["registry"][0].says
    connection = await asyncpg.connect(settings.database_url)
    try:
        await connection.execute("UPDATE alembic_version SET version_num = '0001'")
    finally:
        await connection.close()
    assert "hub migrate" in (await look(settings))["database"][0].do
