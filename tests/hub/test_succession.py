"""In no order of steps does the log fork: crashes, restores to older copies, a witness that is away, two sequencers.

Each copy is a real database; the witness and the sequencers are the real ones. Where the sequencer refuses for good,
the operator does what the how-to page says and puts a new log in force. What is held against it: every checkpoint that
was ever cosigned is of the entries that its database had then, and of one log all of them are of one history.
"""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from contracts import merkle
from contracts.errors import RegistryError
from contracts.log.checkpoint import Policy, read_checkpoint
from contracts.log.note import Kind, Note, VerifierKey, read_note
from contracts.registry import Registry
from contracts.wire.key import PrivateKey
from devstack.postgres import Postgres
from hub import succession
from hub.sequencer import LogRefused
from hub.store import registry as registry_store
from hub.store.database import Database
from hub.succession import NothingLost
from hub.witnesses import Witnesses, WitnessRefused
from tests.contracts.root_world import write_registry
from tests.hub.log_bench import ORIGIN, Bench, document_with_log, open_bench, running

pytestmark = pytest.mark.anyio
STEPS = 14
SEED_COUNT = 4


@dataclass
class Operator:
    """Runs the hub on one database after the other, and notes what the witness was shown."""

    bench: Bench
    server: Postgres
    first_key: PrivateKey
    copies: list[str] = field(default_factory=list)
    cosigned: dict[tuple[str, int], list[bytes]] = field(default_factory=dict)
    keys: dict[str, PrivateKey] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)

    async def leaves(self) -> list[bytes]:
        async with self.bench.database.connection() as connection:
            rows = await connection.fetch("SELECT entry FROM leaves ORDER BY log_index")
        return [row["entry"] for row in rows]

    async def add(self, chance: random.Random) -> None:
        await self.bench.add(chance.randrange(1, 30), f"n{chance.randrange(10**9)}")

    async def sequence(self, chance: random.Random) -> None:
        """Run one sequencer, or two at once, until all is signed; with its witness until that has cosigned it."""
        size = len(await self.leaves())
        try:
            async with asyncio.timeout(20):
                async with running(*[self.bench.sequencer() for _ in range(chance.randrange(1, 3))]) as tasks:
                    reached = [asyncio.ensure_future(self.bench.cosigned(size))]
                    await asyncio.wait([*tasks, *reached], return_when=asyncio.FIRST_COMPLETED)
                    reached[0].cancel()
        except (LogRefused, WitnessRefused):
            await self.succeed(chance)
        await self.note()

    async def crash(self, chance: random.Random) -> None:
        """End between the tree and its checkpoint, or between the checkpoint and the witness."""
        sequencer = self.bench.sequencer()
        try:
            edge = await sequencer._begin(self.bench.registry)
        except LogRefused:
            await self.succeed(chance)
            return
        edge = await sequencer._grow(edge)
        if chance.random() < 0.5:
            await sequencer._sign(edge)

    async def back_up(self, chance: random.Random) -> None:
        """Copy the database as it is."""
        await self.bench.database.close()
        self.copies.append(self.server.create_database(_name(self.bench.dsn)))
        self.bench.database = await Database.open(self.bench.dsn)

    async def restore(self, chance: random.Random) -> None:
        """Go on with a copy of a copy. What was signed meanwhile is not in it."""
        if not self.copies:
            return
        chosen = chance.choice(self.copies)
        await self.bench.database.close()
        self.bench.dsn = self.server.create_database(_name(chosen))
        self.bench.database = await Database.open(self.bench.dsn)
        async with self.bench.database.connection() as connection:
            [document] = [await connection.fetchval("SELECT document FROM registry ORDER BY version DESC LIMIT 1")]
        self.bench.registry = Registry.read(document.encode(), self.bench.world.root.public)
        self.bench.log_key = self.keys.get(self.bench.registry.log_origin, self.first_key)

    async def cut_witness(self, chance: random.Random) -> None:
        """Let a sequencer sign while the witness is away, and stop before it is back."""
        sequencer = self.bench.sequencer()
        try:
            edge = await sequencer._begin(self.bench.registry)
        except LogRefused:
            await self.succeed(chance)
            return
        self.bench.witness.stop()
        await self.add(chance)
        await sequencer._advance(edge)
        self.bench.witness.start()

    async def succeed(self, chance: random.Random) -> None:
        """Put a new log in force, as the page says; the old one's key is never used again."""
        registry = self.bench.registry
        try:
            shown = await Witnesses([self.bench.witness.url]).ask_all(registry)
            last = succession.choose_last([seen.note for seen in shown])
            await self._put_in_force(registry, last)
        except (NothingLost, RegistryError) as error:
            raise AssertionError(f"{self.done}: refused, and nothing was lost") from error

    async def _put_in_force(self, registry: Registry, last: Note) -> None:
        origin, key = f"{ORIGIN}-{2 + len(self.keys)}", PrivateKey.generate("Ed25519")
        self.keys[origin] = key
        vkey = VerifierKey.of(origin, Kind.ED25519, key.public)
        settings = succession.write_settings(registry, last, origin, vkey)
        world, witness = self.bench.world, self.bench.witness
        document = document_with_log(world, key, witness.key, **settings) | {"version": registry.version + 1}
        jws = write_registry(document, world.root)
        new = Registry.read(jws, world.root.public)
        async with self.bench.database.transaction() as tx:
            head = await registry_store.lock_log(tx)
            entries = [*await succession.begin(tx, head, new), b"{}"]
            await registry_store.add_registry(tx, new.version, jws.decode(), head.next_index + 1, world.now)
            await registry_store.append_leaves(tx, head._replace(origin=origin), entries, new.version)
        self.bench.registry, self.bench.log_key = new, key
        witness.stop()
        witness.logs[origin] = Policy(origin, (vkey,))
        witness.start()

    async def note(self) -> None:
        """Keep the entries behind each checkpoint that was cosigned meanwhile."""
        entries = await self.leaves()
        for origin in self.bench.witness.logs:
            newest = self.bench.witness.state.newest(origin)
            if newest is None:
                continue
            checkpoint = read_checkpoint(newest.text)
            if (origin, checkpoint.size) not in self.cosigned and origin == self.bench.registry.log_origin:
                self.cosigned[origin, checkpoint.size] = entries[: checkpoint.size]
                assert merkle.root(list(map(merkle.leaf_hash, entries[: checkpoint.size]))) == checkpoint.root, (
                    self.done
                )

    def check(self) -> None:
        """Of one log, every cosigned checkpoint is of one history, and no witness holds the proof of a fork."""
        for origin in self.bench.witness.logs:
            longest: list[bytes] = []
            for size in sorted(size for known, size in self.cosigned if known == origin):
                entries = self.cosigned[origin, size]
                assert entries[: len(longest)] == longest, self.done
                longest = entries
        assert self.bench.witness.state.evidence() == [], self.done


def _name(dsn: str) -> str:
    return dsn.rpartition("/")[2]


@pytest.fixture
async def operator(database: str, postgres_server: Postgres, tmp_path: Path) -> AsyncIterator[Operator]:
    """Give an operator with a log of one entry and its witness."""
    async with open_bench(database, tmp_path) as bench:
        yield Operator(bench, postgres_server, bench.log_key)
        await bench.database.close()


@pytest.mark.parametrize("seed", range(SEED_COUNT))
async def test_no_order_of_steps_forks_the_log(operator: Operator, seed: int) -> None:
    chance = random.Random(seed)
    steps = [operator.add, operator.sequence, operator.crash, operator.back_up, operator.restore, operator.cut_witness]
    await operator.back_up(chance)
    for _ in range(STEPS):
        step = chance.choice(steps)
        operator.done.append(step.__name__)
        await step(chance)
    await operator.add(chance)
    await operator.sequence(chance)
    await operator.sequence(chance)
    operator.check()
    assert operator.cosigned


async def test_a_log_of_which_nothing_is_lost_cannot_be_succeeded(operator: Operator) -> None:
    chance = random.Random(0)
    await operator.add(chance)
    await operator.sequence(chance)
    with pytest.raises(AssertionError, match="nothing was lost"):
        await operator.succeed(chance)
    async with operator.bench.database.connection() as connection:
        assert await connection.fetchval("SELECT origin FROM log") == ORIGIN


async def test_the_first_entry_names_what_the_old_log_had(operator: Operator) -> None:
    chance = random.Random(0)
    await operator.add(chance)
    await operator.back_up(chance)
    await operator.add(chance)
    await operator.sequence(chance)
    cosigned = operator.bench.witness.state.newest(ORIGIN)
    assert cosigned is not None
    await operator.restore(chance)
    kept = len(await operator.leaves())
    with pytest.raises(LogRefused, match="rollback"):
        await operator.bench.fail()
    await operator.succeed(chance)
    await operator.sequence(chance)
    entries = await operator.leaves()
    assert cosigned.write().decode() in json.loads(entries[kept])["checkpoint"]
    newest = await operator.bench.newest()
    assert newest is not None
    assert read_checkpoint(newest.note.text).origin == f"{ORIGIN}-2"
    # The old key signs nothing any more, whoever starts it.
    operator.bench.log_key = PrivateKey.generate("Ed25519")
    with pytest.raises(LogRefused, match="does not list the key"):
        await operator.bench.fail()


async def test_a_witness_cosigns_the_new_log_only_when_its_own_operator_says_so(operator: Operator) -> None:
    chance = random.Random(0)
    await operator.back_up(chance)
    await operator.add(chance)
    await operator.sequence(chance)
    await operator.restore(chance)
    await operator.succeed(chance)
    witness = operator.bench.witness
    origin = operator.bench.registry.log_origin
    witness.stop()
    del witness.logs[origin]
    witness.start()
    async with running(operator.bench.sequencer()):
        newest = await operator.bench.signed(len(await operator.leaves()))
        assert newest.note.signatures
    assert witness.state.newest(origin) is None
    assert read_note(newest.note.write()).text.startswith(origin)
