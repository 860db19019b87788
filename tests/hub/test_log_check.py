"""fsck finds whatever of the log's tree was changed behind the hub's back, by somebody who goes round every trigger."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from contracts.log.checkpoint import Checkpoint, sign_checkpoint
from contracts.log.note import cosign_text
from hub import fsck
from hub.log_check import check_tree
from tests.hub.log_bench import NAME, ORIGIN, Bench, open_bench, running

pytestmark = pytest.mark.anyio

TAMPERED = {
    "UPDATE tiles SET hashes = overlay(hashes placing '\\x00' from 100) WHERE level = 0 AND index = 1": "tile_wrong",
    "UPDATE tiles SET root = sha256(root) WHERE index = 0": "tile_wrong",
    "DELETE FROM tiles WHERE index = 1": "tile_wrong",
    "INSERT INTO tiles SELECT 1, index, root, hashes FROM tiles WHERE index = 0": "tiles_wrong",
    "UPDATE leaves SET entry = entry || ' '::bytea WHERE log_index = 5": "tile_wrong",
    "UPDATE leaves SET entry = entry || ' '::bytea WHERE log_index = 590": "checkpoint_wrong",
    "UPDATE leaves SET log_index = CASE log_index WHEN 590 THEN 1591 ELSE 590 END WHERE log_index IN (590, 591); "
    "UPDATE leaves SET log_index = 591 WHERE log_index = 1591": "checkpoint_wrong",
    "DELETE FROM leaves WHERE log_index >= 595": "tree_ahead",
    "DELETE FROM leaves WHERE log_index = 20": "tree_ahead",
    "UPDATE tree SET size = 500": "checkpoint_ahead",
    "UPDATE checkpoints SET note = replace(note, '600', '599')": "checkpoint_wrong",
    "UPDATE cosignatures SET line = replace(line, ' ', '  ')": "cosignature_wrong",
}


@pytest.fixture
async def bench(database: str, tmp_path: Path) -> AsyncIterator[Bench]:
    """Give a log of 600 entries that was signed and cosigned."""
    async with open_bench(database, tmp_path) as opened:
        await opened.add(599)
        async with running(opened.sequencer()):
            await opened.cosigned(600)
        yield opened


async def find(bench: Bench) -> set[str]:
    async with bench.database.snapshot() as connection:
        return {finding.kind async for finding in check_tree(connection, [bench.policy])}


async def test_a_sound_tree_has_nothing_and_every_change_is_found(bench: Bench) -> None:
    assert await find(bench) == set()
    for statement, kind in TAMPERED.items():
        async with bench.database.connection() as connection:
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute("SET LOCAL session_replication_role = replica")
            await connection.execute(statement)
            found = {finding.kind async for finding in check_tree(connection, [bench.policy])}
            await transaction.rollback()
        assert kind in found, (statement, found)
    assert await find(bench) == set()


async def test_an_insider_with_the_log_s_own_key_is_found(bench: Bench) -> None:
    """The root is signed as it should be, but it is of another tree; and a cosignature is over another text."""
    forged = sign_checkpoint(Checkpoint(ORIGIN, 600, bytes(32)), bench.log_key)
    line = cosign_text(forged.text, NAME, bench.witness.key, 1_800_000_000)
    async with bench.database.transaction() as connection:
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute("UPDATE checkpoints SET note = $1", forged.write().decode())
    assert await find(bench) == {"checkpoint_wrong", "cosignature_wrong"}
    async with bench.database.transaction() as connection:
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute("UPDATE cosignatures SET line = $1", line.write())
    assert await find(bench) == {"checkpoint_wrong"}


async def test_fsck_looks_at_the_tree(bench: Bench) -> None:
    async with bench.database.transaction() as connection:
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute("DELETE FROM tiles")
    assert "tile_wrong" in {finding.kind for finding in await fsck.check(bench.database)}
