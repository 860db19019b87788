"""Bring a database to the newest schema, and tell whether a hub may work on what is there.

A release is rolled out while the one before still works: `hub migrate` first, then process by process. So a revision
either *expands* (adds what an older hub does not look at) or *contracts* (takes away what no hub that may still run
needs). Each says in FLOOR the oldest revision whose hub may work on its schema; the database keeps the highest.
"""

import io
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from hub.store import privileges

if TYPE_CHECKING:
    from hub.store.database import Connection

# Any fixed number: it keeps two `hub migrate` from working at once.
MIGRATION_LOCK_ID = 7_203_311
# Whoever waits for a table's lock keeps all others waiting behind: better to fail, and be started again.
LOCK_TIMEOUT_MS = 5_000
WRITE_FLOOR = """
    INSERT INTO schema_floor (one, version) VALUES (true, $1)
    ON CONFLICT (one) DO UPDATE SET version = EXCLUDED.version"""


class SchemaOutdated(Exception):
    """The database is at a schema on which this hub may not work."""


def _configuration(output: io.StringIO | None = None) -> Config:
    config = Config(output_buffer=output) if output is not None else Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.set_main_option("path_separator", "os")
    return config


def newest_version() -> str:
    """Return the revision that this hub was built for."""
    head = ScriptDirectory.from_config(_configuration()).get_current_head()
    if head is None:
        raise SchemaOutdated("This installation holds no schema revision.")
    return head


def floor_version() -> str:
    """Return the oldest revision whose hub may work on the newest schema; one that says nothing lets no older one."""
    revisions = ScriptDirectory.from_config(_configuration()).walk_revisions()
    return max(str(getattr(one.module, "FLOOR", one.revision)) for one in revisions)


def knows(version: str) -> bool:
    """Whether this hub holds the revision."""
    return any(one.revision == version for one in ScriptDirectory.from_config(_configuration()).walk_revisions())


def write_script(version: str | None) -> str:
    """Return the SQL that leads from `version` (None: an empty database) to the newest schema."""
    output = io.StringIO()
    command.upgrade(_configuration(output), f"{version or 'base'}:head", sql=True)
    return output.getvalue()


async def read_version(connection: "Connection") -> str | None:
    """Return the revision that the database is at, or None if it was never migrated."""
    if await connection.fetchval("SELECT to_regclass('alembic_version')") is None:
        return None
    version = await connection.fetchval("SELECT version_num FROM alembic_version")
    return None if version is None else str(version)


async def read_name(dsn: str) -> str:
    """Return the name of the database at `dsn`, migrated or not."""
    connection = await asyncpg.connect(dsn)
    try:
        return str(await connection.fetchval("SELECT current_database()"))
    finally:
        await connection.close()


async def migrate(dsn: str) -> str:
    """Bring the database at `dsn` to the newest schema, and its rights with it, at once; return the revision.

    The rights are set each time: a role may have been made, or a right given by hand, since the schema changed last.
    Raises SchemaOutdated if a newer hub has migrated it; asyncpg.LockNotAvailableError if a table is in use for too
    long, and then nothing has changed.
    """
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", MIGRATION_LOCK_ID)
            await connection.execute(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}")
            version = await read_version(connection)
            if version is not None and not knows(version):
                raise SchemaOutdated(
                    f"The database is at schema {version}, which this hub does not know: use the newer hub's "
                    "`hub migrate`. Nothing was changed."
                )
            if version != newest_version():
                await connection.execute(write_script(version))
                await connection.execute(WRITE_FLOOR, floor_version())
            await privileges.apply(connection)
    finally:
        await connection.close()
    return newest_version()


async def check_version(connection: "Connection") -> None:
    """Raise SchemaOutdated unless the database is at this hub's schema, or at a newer one that lets it work."""
    version, own = await read_version(connection), newest_version()
    if version is None:
        raise SchemaOutdated("The database was never migrated: run `hub migrate` first.")
    if version == own:
        return
    if knows(version):
        raise SchemaOutdated(f"The database is at schema {version}, this hub needs {own}: run `hub migrate`.")
    floor = str(await connection.fetchval("SELECT version FROM schema_floor"))
    if own < floor:
        raise SchemaOutdated(
            f"The database is at schema {version}, which works with hubs from schema {floor} on; this one was built "
            f"for {own}: start the newer hub."
        )
