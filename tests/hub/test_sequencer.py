"""The sequencer against the real database and a real witness: tiles, checkpoints, two at once, restores."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from connectors.oversight.witness_door import utc_now
from contracts import merkle
from contracts.log.checkpoint import open_checkpoint
from contracts.log.tile import Hashes, consistency_stretches, inclusion_stretches, new_tiles, tiles_for
from contracts.wire.key import PrivateKey
from hub.health import Health
from hub.sequencer import LogRefused
from hub.store import tiles
from hub.store.tiles import Superseded
from hub.trust import RegistryInForce
from hub.witnesses import Witnesses, WitnessRefused
from tests.hub.log_bench import NAME, ORIGIN, PATIENCE_S, Bench, open_bench, running, until

pytestmark = pytest.mark.anyio


@pytest.fixture
async def bench(database: str, tmp_path: Path) -> AsyncIterator[Bench]:
    """Give a log of one entry, and its witness."""
    async with open_bench(database, tmp_path) as opened:
        yield opened


async def test_leaves_become_a_signed_and_cosigned_tree(bench: Bench) -> None:
    async with running(bench.sequencer()):
        await bench.signed(1)
        await bench.add(700)
        await bench.cosigned(701)
        await bench.add(66_000)
        found = await bench.cosigned(66_701)
    opened = open_checkpoint(found.note, bench.policy, now=utc_now(), age_s_max=60)
    assert (opened.checkpoint.origin, opened.checkpoint.size) == (ORIGIN, 66_701)
    assert opened.checkpoint.root == bench.root(66_701)
    assert opened.cosigned.keys() == {NAME}
    await check_every_tile(bench, 66_701)


async def check_every_tile(bench: Bench, size: int) -> None:
    """Every tile, whole or not, of any size up to `size`, gives the roots and proofs of the plain tree."""
    leaves = [merkle.leaf_hash(entry) for entry in bench.entries]
    async with bench.database.connection() as connection:
        for part in (1, 255, 256, 257, 65_536, size):
            stored = await tiles.read_tiles(connection, [tile for tile in new_tiles(0, part) if tile.level >= 0])
            assert Hashes(part, stored).root() == merkle.root(leaves[:part])
        for index in (0, 255, 65_536, size - 1):
            stretches = inclusion_stretches(index, size)
            path = Hashes(size, await tiles.read_tiles(connection, tiles_for(stretches, size))).path(stretches)
            assert merkle.verify_inclusion(leaves[index], index, size, path, merkle.root(leaves))
        stretches = consistency_stretches(701, size)
        path = Hashes(size, await tiles.read_tiles(connection, tiles_for(stretches, size))).path(stretches)
        assert merkle.verify_consistency(701, bench.root(701), size, merkle.root(leaves), path)


async def test_a_restart_goes_on_at_every_width(bench: Bench) -> None:
    for step in (3, 252, 1, 1, 255, 300):
        await bench.add(step)
        async with running(bench.sequencer()):
            found = await bench.cosigned(len(bench.entries))
        assert open_checkpoint(found.note, bench.policy).checkpoint.root == bench.root(len(bench.entries))


async def test_two_at_once_never_fork(bench: Bench) -> None:
    """Both work at the same tree without an election between them; each size gets one root, and the witness agrees."""
    first, second = bench.sequencer(), bench.sequencer()
    edges = [await sequencer._begin(bench.registry) for sequencer in (first, second)]
    chance = random.Random(6)
    for _ in range(40):
        await bench.add(chance.randrange(1, 40))
        edges = list(
            await asyncio.gather(*(one._advance(edge) for one, edge in zip((first, second), edges, strict=True)))
        )
    async with bench.database.connection() as connection:
        notes = await connection.fetch("SELECT size, note FROM checkpoints ORDER BY size")
    for size, note in notes:
        assert open_checkpoint(note.encode(), bench.policy).checkpoint.root == bench.root(size)
    assert notes[-1]["size"] == len(bench.entries)
    async with running(bench.sequencer(), bench.sequencer()):
        await bench.cosigned(len(bench.entries))
    assert bench.witness.state.evidence() == []


async def test_the_one_behind_cannot_move_the_tree(bench: Bench) -> None:
    async with running(bench.sequencer()):
        await bench.signed(1)
    async with bench.database.connection() as connection:
        with pytest.raises(Superseded):
            await tiles.advance(connection, 0, 1, [])


async def test_evidence_can_be_neither_changed_nor_taken_out(bench: Bench) -> None:
    await bench.add(300)
    async with running(bench.sequencer()):
        await bench.cosigned(301)
    async with bench.database.connection() as connection:
        for statement in (
            "UPDATE tiles SET root = root",
            "DELETE FROM tiles",
            "TRUNCATE tiles",
            "UPDATE checkpoints SET note = note",
            "DELETE FROM checkpoints",
            "DELETE FROM cosignatures",
            "UPDATE cosignatures SET line = line",
            "UPDATE tree SET size = 5",
            "DELETE FROM tree",
        ):
            with pytest.raises(asyncpg.RaiseError):
                await connection.execute(statement)


async def test_a_key_that_the_registry_does_not_name_signs_nothing(bench: Bench) -> None:
    bench.log_key = PrivateKey.generate("Ed25519")
    with pytest.raises(LogRefused, match="does not list the key in LOG_KEY_FILE"):
        await bench.fail()
    assert await bench.newest() is None


async def test_nothing_is_signed_before_a_witness_says_what_it_saw(bench: Bench) -> None:
    bench.witness.stop()
    health = Health()
    async with running(bench.sequencer(health)):
        await until(lambda: _says(health, "No witness in WITNESS_URLS says what it saw"))
        assert await bench.newest() is None
        bench.witness.start()
        await bench.cosigned(1)
        await until(lambda: _is_well(health))
        # Once it is agreed, a witness that is away stops nothing here; its cosignature follows.
        bench.witness.stop()
        await bench.add(5)
        await bench.signed(6)
        bench.witness.start()
        await bench.cosigned(6)


async def _says(health: Health, words: str) -> bool:
    return any(words in problem for problem in health.problems().values())


async def _is_well(health: Health) -> bool:
    return not health.problems()


async def _rewind(bench: Bench, size: int) -> None:
    """Put the database's log back to `size` leaves, as a restored backup does; the triggers belong to no backup."""
    async with bench.database.transaction() as connection:
        await connection.execute("SET LOCAL session_replication_role = replica")
        for table in ("cosignatures", "checkpoints"):
            await connection.execute(f"DELETE FROM {table} WHERE size > $1", size)
        await connection.execute("DELETE FROM leaves WHERE log_index >= $1", size)
        await connection.execute("DELETE FROM tiles WHERE (index + 1) << (8 * (level + 1)) > $1", size)
        await connection.execute("UPDATE tree SET size = $1", size)
        await connection.execute("UPDATE log SET next_index = $1", size)
    del bench.entries[size:]


async def test_a_restored_database_is_not_signed_for(bench: Bench) -> None:
    await bench.add(20)
    async with running(bench.sequencer()):
        await bench.cosigned(21)
    await _rewind(bench, 10)
    with pytest.raises(LogRefused, match="rollback: the log had 21 entries and is now of 10"):
        await bench.fail()
    # It has gone on since, and is longer now than what the witness saw, but it is another history.
    await bench.add(40, "other")
    async with bench.database.transaction() as connection:
        edge = await tiles.read_edge(connection, 10)
        whole = edge.extend(map(merkle.leaf_hash, bench.entries[10:]))
        await tiles.advance(connection, 10, edge.size, whole)
    with pytest.raises(LogRefused, match="consistency_invalid"):
        await bench.fail()
    assert bench.witness.state.evidence() == []


async def test_a_database_put_back_under_a_running_sequencer_is_not_signed_for(bench: Bench) -> None:
    await bench.add(20)
    running_on = bench.sequencer()
    async with running(running_on):
        await bench.cosigned(21)
    await _rewind(bench, 10)
    bench.witness.stop()
    with pytest.raises(LogRefused, match="rollback"):
        async with asyncio.timeout(PATIENCE_S):
            await running_on.run(asyncio.Event())


async def test_what_a_witness_saw_of_a_newer_database_stops_the_older_one(bench: Bench) -> None:
    """As when the sequencer had agreed with one witness, and another one knows better."""
    async with running(bench.sequencer()):
        await bench.cosigned(1)
        await bench.add(20)
        await bench.cosigned(21)
    await _rewind(bench, 10)
    witnesses = Witnesses([bench.witness.url])
    async with bench.database.transaction() as connection:
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute("DELETE FROM cosignatures")
    witnesses.tell()
    with pytest.raises(WitnessRefused, match="holds this log's own checkpoint of size 21"):
        async with asyncio.timeout(PATIENCE_S):
            await witnesses.run(bench.database, RegistryInForce(bench.world.root.public), asyncio.Event())


async def test_a_missing_leaf_is_named(bench: Bench) -> None:
    await bench.add(20)
    async with bench.database.transaction() as connection:
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute("DELETE FROM leaves WHERE log_index = 7")
    with pytest.raises(tiles.LeavesMissing, match="gap at or after index 0"):
        await bench.fail()
