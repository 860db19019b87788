"""Looks at everything that an exchange stands on, and goes on where something does not answer.

Every check is a step of its own: what one cannot see is a finding, and does not keep the others from looking.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import asyncpg
from cryptography import x509

from contracts.errors import RegistryError
from contracts.registry import Registry
from hub import administration, trust
from hub.administration import KafkaForbidden, KafkaUnreachable
from hub.clock import Clock, utc_now
from hub.cluster import Cluster, find_cluster
from hub.deadlines import GROUP as DEADLINES
from hub.desk import DEFERRED_PER_TOPIC_MAX
from hub.diagnosis import (
    Disk,
    Finding,
    Log,
    Seen,
    judge_broker_clock,
    judge_certificate,
    judge_database_clock,
    judge_database_rights,
    judge_disk,
    judge_holders,
    judge_keys,
    judge_lag,
    judge_log,
    judge_suspended,
    judge_transport,
    judge_witness,
)
from hub.sequencer import GROUP as SEQUENCER
from hub.settings import Settings, SettingsInvalid
from hub.store import condition, election, privileges, quarantine, tiles
from hub.store.database import Connection, Database
from hub.store.schema import SchemaOutdated
from hub.transport import INPUT_PREFIX, is_output, make_plan, write_wanted
from hub.trust import RegistryAbsent, RegistryInForce

RECENT = timedelta(days=1)
DATABASE_FAULTS = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)
KAFKA_FAULTS = (KafkaUnreachable, KafkaForbidden, SettingsInvalid)


async def examine(settings: Settings, notice: timedelta, clock: Clock = utc_now) -> AsyncIterator[Finding]:
    """Yield a finding for each thing that is looked at; certificates and keys are told `notice` before they end."""
    yield judge_disk(_look_at_disk(Path.cwd()))
    registry: Registry | None = None
    try:
        database = await Database.open(settings.database_url, size=1, name="hub-doctor")
    except SchemaOutdated as error:
        yield Finding("database", "wrong", "certain", str(error), "Run `hub migrate` with this version of the hub.")
        database = None
    except DATABASE_FAULTS as error:
        says = f"The database does not answer ({type(error).__name__})."
        yield Finding("database", "wrong", "certain", says, "Is it up, and is DATABASE_URL its address and login?")
        database = None
    consumed: dict[tuple[str, int], int] | None = None
    if database is not None:
        yield Finding("database", "ok", "certain", "It answers and is at this hub's schema.")
        try:
            async with database.connection() as connection:
                registry, finding = await _read_registry(settings, connection)
                yield finding
                async for found in _look_into(connection, registry, notice, clock):
                    yield found
                consumed = await condition.read_consumed(connection)
        except DATABASE_FAULTS as error:
            says = f"The database answers, but not to everything ({type(error).__name__})."
            yield Finding("database", "wrong", "certain", says, "Does this login have the rights of the doctor's role?")
        finally:
            await database.close()
    async for found in _look_at_kafka(settings, registry, consumed, notice, clock):
        yield found


async def _read_registry(settings: Settings, connection: Connection) -> tuple[Registry | None, Finding]:
    try:
        registry = await RegistryInForce(trust.read_root(settings.trust_root_file)).refresh(connection)
    except SettingsInvalid as error:
        return None, Finding("registry", "wrong", "certain", str(error), "Correct the setting.")
    except RegistryAbsent as error:
        return None, Finding("registry", "wrong", "certain", str(error))
    except RegistryError as error:
        says = f"The registry in this database does not verify under the pinned root ({error.code})."
        do = "Stop the hub: somebody changed the registry, or TRUST_ROOT_FILE is another exchange's."
        return None, Finding("registry", "wrong", "certain", says, do)
    says = f"Version {registry.version} of {registry.environment} verifies under the pinned root."
    return registry, Finding("registry", "ok", "certain", says)


async def _look_into(
    connection: Connection, registry: Registry | None, notice: timedelta, clock: Clock
) -> AsyncIterator[Finding]:
    """Look at what stands in the database."""
    yield judge_database_rights(await privileges.find_drift(connection))
    before = clock()
    there = await condition.read_clock(connection)
    yield judge_database_clock(before, there, clock())
    yield judge_broker_clock(await condition.read_shortest_way(connection, clock() - RECENT))
    unsent = await condition.read_unsent(connection)
    yield judge_lag("The relay", unsent, "Look at the relays' /readyz: Kafka is slow, or a proof is missing.")
    if registry is None:
        return
    for finding in judge_keys(registry, clock(), notice):
        yield finding
    topics = [topic for topic in registry.topics if topic.startswith(INPUT_PREFIX)]
    waiting = await quarantine.count_deferred(connection, topics)
    for finding in judge_suspended(registry, waiting, DEFERRED_PER_TOPIC_MAX):
        yield finding
    async for finding in _look_at_log(connection, registry, clock):
        yield finding
    duties = {f"relay of {topic}": topic for topic in registry.topics if is_output(topic)} | {"deadlines": DEADLINES}
    if registry.log.log_keys:
        duties["sequencer"] = SEQUENCER
    held = await election.read_held(connection, duties.values())
    yield judge_holders(duties, [duty for duty, lock in duties.items() if lock in held])


async def _look_at_log(connection: Connection, registry: Registry, clock: Clock) -> AsyncIterator[Finding]:
    """Look at what is signed of the evidence log, and at what its witnesses have seen."""
    if not registry.log.log_keys:
        yield Finding("evidence log", "unknown", "certain", "The registry names no key of the log: nothing is signed.")
        return
    newest = await tiles.read_newest(connection)
    leaves = await tiles.count_leaves(connection)
    log = Log(leaves, 0, None) if newest is None else Log(leaves, newest.size, newest.signed_at)
    yield judge_log(log, clock())
    grace = timedelta(seconds=registry.limits.witness_grace_s)
    for witness in registry.log.witnesses:
        evidence = await tiles.read_evidence(connection, [witness.write()], 1)
        seen = Seen(witness.name, 0 if evidence.cosigned is None else evidence.cosigned.size, evidence.waiting_since)
        yield judge_witness(seen, clock(), grace)


async def _look_at_kafka(
    settings: Settings,
    registry: Registry | None,
    consumed: dict[tuple[str, int], int] | None,
    notice: timedelta,
    clock: Clock,
) -> AsyncIterator[Finding]:
    """Look at the brokers, and at the certificates between them and this process."""
    try:
        cluster = find_cluster(settings)
        for what, ends in _read_own_certificates(settings):
            yield judge_certificate(what, ends, clock(), notice)
        shown = await asyncio.to_thread(administration.read_certificate_ends, cluster)
        for address, ends in shown.items():
            yield judge_certificate(f"The certificate of the broker {address}", ends, clock(), notice)
        for finding in await asyncio.to_thread(_ask_kafka, cluster, registry, consumed):
            yield finding
    except KAFKA_FAULTS as error:
        do = "Are the brokers up, and are KAFKA_BOOTSTRAP and KAFKA_SSL_* right for this process?"
        yield Finding("kafka", "wrong", "certain", str(error), do)


def _ask_kafka(
    cluster: Cluster, registry: Registry | None, consumed: dict[tuple[str, int], int] | None
) -> list[Finding]:
    """Ask the brokers all that they are asked. Raises KafkaUnreachable, KafkaForbidden."""
    findings = [Finding("kafka", "ok", "certain", "The brokers answer.")]
    findings += [judge_disk(Disk(*disk)) for disk in administration.read_disks(cluster)]
    if registry is None:
        return findings
    wanted = write_wanted(registry, cluster.prefix)
    found = administration.find(cluster, wanted)
    findings += judge_transport(make_plan(wanted, found), found)
    if consumed is not None:
        inputs = [topic for topic in registry.topics if topic.startswith(INPUT_PREFIX)]
        behind: dict[str, int] = {}
        for (topic, partition), end in administration.read_ends(cluster, inputs).items():
            behind[topic] = behind.get(topic, 0) + max(0, end - consumed.get((topic, partition), 0))
        remedy = "Is `hub intake` running? Start another one, up to the number of partitions."
        findings.append(judge_lag("The intake", behind, remedy))
    return findings


def _read_own_certificates(settings: Settings) -> list[tuple[str, datetime]]:
    """Return what the certificates of this process are and when they end. Raises SettingsInvalid."""
    files = {
        "The certificate in KAFKA_SSL_CERTIFICATE_FILE": settings.kafka_ssl_certificate_file,
        "An authority in KAFKA_SSL_CA_FILE": settings.kafka_ssl_ca_file,
    }
    found = []
    for what, path in files.items():
        if path is None:
            continue
        try:
            certificates = x509.load_pem_x509_certificates(path.read_bytes())
        except (OSError, ValueError):
            raise SettingsInvalid(f"{what} cannot be read as a certificate.") from None
        found.append((what, min(each.not_valid_after_utc for each in certificates)))
    return found


def _look_at_disk(folder: Path) -> Disk:
    usage = shutil.disk_usage(folder)
    return Disk("This machine", usage.total, usage.free)
