"""Bring a database to the newest schema, and tell whether it is there."""

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


class SchemaOutdated(Exception):
    """The database is not at the schema that this hub was built for."""


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
    """
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", MIGRATION_LOCK_ID)
            version = await read_version(connection)
            if version != newest_version():
                await connection.execute(write_script(version))
            await privileges.apply(connection)
    finally:
        await connection.close()
    return newest_version()


async def check_version(connection: "Connection") -> None:
    """Raise SchemaOutdated unless the database is at the schema that this hub was built for."""
    version = await read_version(connection)
    if version is None:
        raise SchemaOutdated("The database was never migrated: run `hub migrate` first.")
    if version != newest_version():
        raise SchemaOutdated(
            f"The database is at schema {version}, this hub needs {newest_version()}: run `hub migrate`."
        )
