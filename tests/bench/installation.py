"""One hub as it is shipped, on Kafka and PostgreSQL of the bench's own: its database, its topics, its processes."""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from aiokafka import AIOKafkaProducer

from contracts.log.note import Kind, VerifierKey
from contracts.registry import Registry
from contracts.wire.key import PrivateKey
from devstack.ports import LOCALHOST, find_free_ports
from devstack.processes import Child
from devstack.stack import Stack
from hub import registration
from hub.cluster import Cluster
from hub.store.database import Database
from hub.store.schema import migrate
from tests.bench.meter import Meter
from tests.bench.traffic import Message, Traffic
from tests.hub.brokers import create_topics
from tests.hub.registering import register

if TYPE_CHECKING:
    from aiokafka.producer.message_accumulator import BatchBuilder

    from hub.store.database import Connection

REPOSITORY = Path(__file__).parents[2]
READY_TIMEOUT_S = 30.0
DRAIN_TIMEOUT_S = 300.0
POLL_S = 0.02
BATCH_BYTES = 256 * 1024
HUB = (sys.executable, "-m", "hub.cli")
WITNESS = (sys.executable, "-m", "connectors.oversight", "witness")
WITNESS_NAME = "oversight.example/witness"
REACHED = """
    SELECT (SELECT COALESCE(sum(next), 0) FROM watermark)::bigint,
           (SELECT COALESCE(sum(next_seq - 1), 0) FROM streams)::bigint,
           (SELECT COALESCE(sum(seq), 0) FROM relay_position)::bigint"""
COUNT_ROWS = "SELECT next_index FROM log"
# With a log, all that was placed is in a checkpoint too.
UNSIGNED = "SELECT (SELECT next_index FROM log) - COALESCE((SELECT max(size) FROM checkpoints), 0)"
SEQUENCING = (
    "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'hub-sequencer%' AND datname = current_database()"
)
COUNT_FAULTS = "SELECT (SELECT count(*) FROM quarantine) + (SELECT count(*) FROM deferred)"


class BenchFailed(Exception):
    """What was measured is not what should have happened, so the figures would mean nothing."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """Messages that are ready to be sent: closed batches by physical topic and partition."""

    messages: int
    batches: "Sequence[tuple[str, int, BatchBuilder]]"


class Installation:
    """A hub's processes, and the hands of the bench on Kafka and PostgreSQL beside them."""

    def __init__(
        self,
        stack: Stack,
        folder: Path,
        dsn: str,
        prefix: str,
        registry: Registry,
        database: Database,
        producer: AIOKafkaProducer,
    ) -> None:
        self.stack = stack
        self.folder = folder
        self.dsn = dsn
        self.prefix = prefix
        self.registry = registry
        self.database = database
        self.producer = producer
        self.meter = Meter()
        self.produced = 0
        self.keeps_log = bool(registry.log.log_keys)

    def encode(self, messages: Sequence[Message]) -> Encoded:
        """Put messages into batches, in their order, so that sending them costs next to nothing."""
        open_batches: dict[tuple[str, int], BatchBuilder] = {}
        closed = []
        for message in messages:
            place = (self.prefix + message.topic, message.partition)
            key, value, headers = message.subject.encode(), message.value, list(message.headers)
            batch = open_batches.setdefault(place, self.producer.create_batch())
            if batch.append(timestamp=None, key=key, value=value, headers=headers) is None:
                closed.append((*place, batch))
                batch = open_batches[place] = self.producer.create_batch()
                batch.append(timestamp=None, key=key, value=value, headers=headers)
        closed += [(*place, batch) for place, batch in open_batches.items()]
        for _, _, batch in closed:
            batch.close()
        return Encoded(len(messages), closed)

    async def send(self, encoded: Encoded) -> None:
        """Send what was encoded and wait until Kafka has it."""
        self.produced += encoded.messages
        sends = [
            await self.producer.send_batch(batch, topic, partition=partition)
            for topic, partition, batch in encoded.batches
        ]
        await asyncio.gather(*sends)

    async def drain(self) -> None:
        """Wait until all that was produced was taken in and what follows from it was relayed. Raises BenchFailed."""
        deadline = time.monotonic() + DRAIN_TIMEOUT_S
        async with self.database.connection() as connection:
            while True:
                taken, placed, relayed = (await connection.fetch(REACHED))[0]
                if taken == self.produced and placed == relayed and not await self._waits_for_checkpoint(connection):
                    return
                if time.monotonic() > deadline:
                    raise BenchFailed(f"Of {self.produced} messages {taken} were taken, of {placed} {relayed} relayed.")
                await asyncio.sleep(POLL_S)

    async def _waits_for_checkpoint(self, connection: "Connection") -> bool:
        return self.keeps_log and await connection.fetchval(UNSIGNED) > 0

    async def list_sequencing(self) -> list[int]:
        """Return the ids of the PostgreSQL processes that serve the sequencer."""
        async with self.database.connection() as connection:
            return [row["pid"] for row in await connection.fetch(SEQUENCING)]

    async def count_entries(self) -> int:
        """Return how many entries the evidence log has; the other tables grow with it."""
        async with self.database.connection() as connection:
            return int(await connection.fetchval(COUNT_ROWS))

    async def check_all_accepted(self) -> None:
        """Raise BenchFailed if anything was refused or put off."""
        async with self.database.connection() as connection:
            faults = await connection.fetchval(COUNT_FAULTS)
        if faults:
            raise BenchFailed(f"{faults} messages were refused or deferred.")


@asynccontextmanager
async def install(
    stack: Stack, traffic: Traffic, name: str, intakes: int = 1, *, proofs: bool = False
) -> AsyncIterator[Installation]:
    """Set a hub up and start it. Everything of it ends with the block, its database and its topics too.

    `proofs`: with a sequencer and a witness, and recommendations that wait for their proof from the evidence log.
    """
    folder = stack.run.folder / name
    folder.mkdir()
    prefix = f"{stack.run.prefix}{name}-"
    dsn = stack.postgres.create_database()
    await migrate(dsn)
    root, hub_key = PrivateKey.generate("ES256"), PrivateKey.generate("Ed25519")
    _write_keys(folder, root, hub_key)
    database = await Database.open(dsn, size=2, name="bench")
    now = datetime.now(UTC)
    described = traffic.describe(hub_key)
    if proofs:
        described["settings"] |= _keep_log(folder, described["settings"]["log_origin"])
    applied = await register(database, registration.add_participants(described, now), root, now)
    await create_topics(Cluster(stack.kafka.bootstrap, prefix), applied.registry.topics)
    producer = AIOKafkaProducer(
        bootstrap_servers=stack.kafka.bootstrap, enable_idempotence=True, max_batch_size=BATCH_BYTES
    )
    await producer.start()
    installation = Installation(stack, folder, dsn, prefix, applied.registry, database, producer)
    children: list[Child] = []
    try:
        await _start(installation, folder, intakes, children)
        yield installation
    finally:
        for child in reversed(children):
            child.stop()
        await producer.stop()
        await database.close()
        stack.kafka.delete_topics(prefix)
        stack.postgres.drop_database(dsn)


def _write_keys(folder: Path, root: PrivateKey, hub_key: PrivateKey) -> None:
    (folder / "root.json").write_text(json.dumps(root.public.jwk))
    _write_private(folder / "hub.pem", hub_key)


def _write_private(file: Path, key: PrivateKey) -> None:
    file.touch(mode=0o600)
    file.write_bytes(key.to_pem())


def _keep_log(folder: Path, origin: str) -> dict[str, Any]:
    """Make the keys of log and witness; return what the registry says of them."""
    log_key, witness_key = PrivateKey.generate("Ed25519"), PrivateKey.generate("Ed25519")
    _write_private(folder / "log.pem", log_key)
    _write_private(folder / "witness.pem", witness_key)
    log = VerifierKey.of(origin, Kind.ED25519, log_key.public).write()
    (folder / "log.vkey").write_text(log + "\n")
    witness = VerifierKey.of(WITNESS_NAME, Kind.COSIGNATURE_V1, witness_key.public).write()
    (folder / "witness.vkey").write_text(witness + "\n")
    return {"log_keys": [log], "witnesses": [witness], "proof_required": True}


async def _start(installation: Installation, folder: Path, intakes: int, children: list[Child]) -> None:
    """Start the parts, each a process of its own that is appended to `children`, and wait until they serve."""
    stack = installation.stack
    names = [*(f"intake-{number + 1}" for number in range(intakes)), "relay"]
    [witness_port, *ports] = find_free_ports(len(names) + 2)
    if installation.keeps_log:
        command = (
            *WITNESS, "--name", WITNESS_NAME, "--key", folder / "witness.pem", "--log-key", folder / "log.vkey",
            "--state", folder / "witness.sqlite", "--port", str(witness_port),
        )  # fmt: skip
        child = stack.run.children.start(f"{folder.name}-witness", [*map(str, command)], cwd=REPOSITORY)
        installation.meter.add("witness", child.pid)
        children.append(child)
        names.append("sequencer")
    serving = []
    for name, port in zip(names, ports, strict=False):
        part = name.split("-")[0]
        environment = _environment(installation, folder, port) | {"WITNESS_URLS": f"http://{LOCALHOST}:{witness_port}"}
        child = stack.run.children.start(f"{folder.name}-{name}", [*HUB, part], environment=environment, cwd=REPOSITORY)
        installation.meter.add(part, child.pid)
        serving.append((child, port))
        children.append(child)
    if stack.kafka.brokers and stack.kafka.brokers[0].child and stack.postgres.server and stack.postgres.server.child:
        installation.meter.add("broker", stack.kafka.brokers[0].child.pid)
        installation.meter.add("postgresql", stack.postgres.server.child.pid)
    async with httpx.AsyncClient() as client:
        for child, port in serving:
            await _wait_ready(client, child, port)


def _environment(installation: Installation, folder: Path, port: int) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR", "PYTHONPATH") if name in os.environ}
    return kept | {
        "DATABASE_URL": installation.dsn,
        "KAFKA_BOOTSTRAP": installation.stack.kafka.bootstrap,
        "TOPIC_PREFIX": installation.prefix,
        "TRUST_ROOT_FILE": str(folder / "root.json"),
        "HUB_KEY_FILE": str(folder / "hub.pem"),
        "LOG_KEY_FILE": str(folder / "log.pem"),
        "METRICS_PORT": str(port),
    }


async def _wait_ready(client: httpx.AsyncClient, child: Child, port: int) -> None:
    deadline = time.monotonic() + READY_TIMEOUT_S
    while True:
        if not child.is_alive() or time.monotonic() > deadline:
            raise BenchFailed(f"{child.name} does not serve: {child.read_log_tail()}")
        try:
            if (await client.get(f"http://{LOCALHOST}:{port}/readyz")).status_code == httpx.codes.OK:
                return
        except httpx.HTTPError:
            # It has not opened its port yet.
            pass
        await asyncio.sleep(POLL_S)
