"""Which hub may work on which schema, and that none takes back what a newer one brought."""

import asyncpg
import pytest

from hub.store import privileges, schema
from hub.store.database import Database
from hub.store.schema import SchemaOutdated

NEWER = "9999"


async def be_at(dsn: str, version: str, floor: str) -> None:
    """Make the database believe that it was migrated so far."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("UPDATE alembic_version SET version_num = $1", version)
        await connection.execute("UPDATE schema_floor SET version = $1", floor)
    finally:
        await connection.close()


@pytest.fixture
async def migrated(database: str) -> str:
    await schema.migrate(database)
    return database


async def test_a_newer_schema_lets_those_in_that_its_floor_names(migrated: str) -> None:
    await be_at(migrated, NEWER, schema.newest_version())
    await (await Database.open(migrated, size=1)).close()
    await be_at(migrated, NEWER, NEWER)
    with pytest.raises(SchemaOutdated, match="start the newer hub"):
        await Database.open(migrated, size=1)


async def test_an_older_schema_lets_nobody_in(migrated: str) -> None:
    await be_at(migrated, "0001", "0001")
    with pytest.raises(SchemaOutdated, match="run `hub migrate`"):
        await Database.open(migrated, size=1)


async def test_an_older_hub_migrates_nothing_and_takes_no_right_back(migrated: str) -> None:
    await be_at(migrated, NEWER, schema.newest_version())
    connection = await asyncpg.connect(migrated)
    try:
        await connection.execute("CREATE TABLE of_the_next_release (id integer)")
        before = await privileges.find_drift(connection)
        with pytest.raises(SchemaOutdated, match="use the newer hub's `hub migrate`"):
            await schema.migrate(migrated)
        assert await privileges.find_drift(connection) == before
    finally:
        await connection.close()


async def test_a_migration_gives_up_rather_than_keep_everybody_waiting(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "LOCK_TIMEOUT_MS", 100)
    connection = await asyncpg.connect(database)
    try:
        await connection.execute("CREATE TABLE alembic_version (version_num text)")
        async with connection.transaction():
            await connection.execute("LOCK TABLE alembic_version")
            with pytest.raises(asyncpg.LockNotAvailableError):
                await schema.migrate(database)
    finally:
        await connection.close()


async def test_the_database_holds_the_floor(migrated: str) -> None:
    connection = await asyncpg.connect(migrated)
    try:
        assert await connection.fetchval("SELECT version FROM schema_floor") == schema.floor_version()
    finally:
        await connection.close()
    assert schema.floor_version() <= schema.newest_version()
