"""What several connector tests share: a register as the ministry has it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from devstack.run import Run
from tests.connectors.mariadb import Mariadb, start_mariadb

SCHEMA = Path(__file__).resolve().parents[2] / "devstack" / "agencies" / "register.sql"


@pytest.fixture(scope="session")
def mariadb_server(stack_run: Run) -> Iterator[Mariadb]:
    """Give the session's MariaDB."""
    server = start_mariadb(stack_run)
    yield server
    server.child.stop()


@pytest.fixture
async def register(database: str) -> AsyncIterator[str]:
    """Give the address of a fresh permit register, for a role that may do what the connector may and no more."""
    parts = urlsplit(database)
    role = parts.path.strip("/") + "_connector"
    owner = await asyncpg.connect(database)
    try:
        await owner.execute(SCHEMA.read_text())
        await owner.execute(f"CREATE ROLE \"{role}\" LOGIN PASSWORD 'secret'")
        await owner.execute(f'GRANT USAGE ON SCHEMA register TO "{role}"')
        await owner.execute(f'GRANT SELECT ON register.outbox TO "{role}"')
        await owner.execute(f'GRANT SELECT, INSERT ON register.outcome TO "{role}"')
        yield urlunsplit(parts._replace(netloc=f"{role}:secret@{parts.hostname}:{parts.port}"))
        await owner.execute(f'DROP OWNED BY "{role}"')
        await owner.execute(f'DROP ROLE "{role}"')
    finally:
        await owner.close()
