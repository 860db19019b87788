"""An exchange's evidence log for the hub's tests: leaves, a sequencer, and a witness at its real door."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tenacity import AsyncRetrying, retry_if_result, stop_after_delay, wait_fixed

from connectors.oversight.witness import Witness
from connectors.oversight.witness_door import Desk, WitnessServer, utc_now
from connectors.oversight.witness_state import WitnessState
from contracts import merkle
from contracts.log.checkpoint import Policy
from contracts.log.note import Kind, VerifierKey
from contracts.registry import Registry
from contracts.wire.key import PrivateKey
from hub.health import Health
from hub.sequencer import LogSigner, Sequencer
from hub.store import schema, tiles
from hub.store.database import Database
from hub.store.tiles import StoredCheckpoint
from hub.trust import RegistryInForce
from hub.witnesses import Witnesses
from tests.hub.world import World

PATIENCE_S = 30
ORIGIN = "hub.example/demo"
NAME = "kpk.example/witness"


class CuttableServer(WitnessServer):
    """A witness's server whose connections end with it, as a process' do."""

    def __init__(self, *arguments: Any) -> None:
        self.opened: list[socket.socket] = []
        super().__init__(*arguments)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self.opened.append(connection)
        return connection, address

    def cut(self) -> None:
        for connection in self.opened:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


@dataclass
class WitnessProcess:
    """A witness that serves in this process, and may be away."""

    key: PrivateKey
    state: WitnessState
    logs: dict[str, Policy]
    port: int = 0
    server: CuttableServer | None = None
    thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.server = CuttableServer(
            "127.0.0.1", self.port, Desk(Witness(NAME, self.key, self.logs), self.state, utc_now)
        )
        self.port = self.server.server_port
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def stop(self) -> None:
        if self.server is not None and self.thread is not None:
            self.server.shutdown()
            self.thread.join()
            self.server.server_close()
            self.server.cut()
            self.server = None


@dataclass
class Bench:
    """One test's database, registry, log and witness."""

    dsn: str
    database: Database
    world: World
    witness: WitnessProcess
    log_key: PrivateKey
    registry: Registry
    entries: list[bytes] = field(default_factory=list)

    @property
    def policy(self) -> Policy:
        return self.registry.log

    def sequencer(self, health: Health | None = None) -> Sequencer:
        return Sequencer(
            self.database,
            self.dsn,
            RegistryInForce(self.world.root.public),
            LogSigner(self.log_key),
            Witnesses([self.witness.url]),
            health or Health(),
        )

    async def fail(self) -> None:
        """Run a sequencer that is to end by itself."""
        async with asyncio.timeout(PATIENCE_S):
            await self.sequencer().run(asyncio.Event())

    async def add(self, count: int, word: str = "number") -> None:
        """Write so many leaves, as intake does."""
        async with self.database.transaction() as connection:
            first = await connection.fetchval(
                "UPDATE log SET next_index = next_index + $1 RETURNING next_index - $1", count
            )
            fresh = [f'{{"{word}":{first + number}}}'.encode() for number in range(count)]
            await connection.copy_records_to_table(
                "leaves", records=list(enumerate(fresh, first)), columns=("log_index", "entry")
            )
            await connection.execute("NOTIFY outbox")
        self.entries += fresh

    async def newest(self) -> StoredCheckpoint | None:
        async with self.database.connection() as connection:
            return await tiles.read_newest(connection)

    async def signed(self, size: int) -> StoredCheckpoint:
        """Wait for the checkpoint of all `size` leaves, cosigned or not."""
        await until(lambda: self._has(size))
        found = await self.newest()
        assert found is not None
        return found

    async def _has(self, size: int) -> bool:
        found = await self.newest()
        return found is not None and found.size == size

    async def cosigned(self, size: int) -> StoredCheckpoint:
        """Wait until the witness has cosigned the checkpoint of `size`."""
        key = [witness.write() for witness in self.policy.witnesses]

        async def look() -> bool:
            async with self.database.connection() as connection:
                found = await tiles.read_cosigned(connection, key, 1)
            return found is not None and found.size == size

        await until(look)
        async with self.database.connection() as connection:
            found = await tiles.read_cosigned(connection, key, 1)
        assert found is not None
        return found

    def root(self, size: int) -> bytes:
        return merkle.root([merkle.leaf_hash(entry) for entry in self.entries[:size]])


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for a condition with a deadline."""

    async def look() -> bool:
        return await condition()

    await AsyncRetrying(
        stop=stop_after_delay(PATIENCE_S), wait=wait_fixed(0.02), retry=retry_if_result(lambda held: not held)
    )(look)


@asynccontextmanager
async def running(*sequencers: Sequencer) -> AsyncIterator[list["asyncio.Task[None]"]]:
    """Run sequencers until the block ends."""
    stop = asyncio.Event()
    tasks = [asyncio.create_task(sequencer.run(stop)) for sequencer in sequencers]
    try:
        yield tasks
    finally:
        stop.set()
        await asyncio.gather(*tasks)


def document_with_log(world: World, log_key: PrivateKey, witness: PrivateKey, **others: Any) -> dict[str, Any]:
    """A registry document that names the log's key and its witness."""
    named: dict[str, Any] = {
        "log_keys": [VerifierKey.of(ORIGIN, Kind.ED25519, log_key.public).write()],
        "witnesses": [VerifierKey.of(NAME, Kind.COSIGNATURE_V1, witness.public).write()],
    }
    return world.document(**(named | others))


@asynccontextmanager
async def open_bench(dsn: str, folder: Path, **others: Any) -> AsyncIterator[Bench]:
    """Give a migrated database with a registry that names log and witness, and the witness. `others`: in it."""
    await schema.migrate(dsn)
    opened, world = await Database.open(dsn), World()
    log_key, witness_key = PrivateKey.generate("Ed25519"), PrivateKey.generate("Ed25519")
    registry = await world.put_in_force(opened, document_with_log(world, log_key, witness_key, **others))
    watched = {ORIGIN: Policy(ORIGIN, registry.log.log_keys)}
    witness = WitnessProcess(witness_key, WitnessState(folder / "witness.sqlite"), watched)
    witness.start()
    yield Bench(dsn, opened, world, witness, log_key, registry, [b"{}"])
    witness.stop()
    witness.state.close()
    await opened.close()
