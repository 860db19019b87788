"""The hall, open once for a module's tests."""

from collections.abc import AsyncIterator

import pytest

from devstack.postgres import Postgres
from tests.pages.hall import Hall, open_hall


@pytest.fixture(scope="module")
async def hall(postgres_server: Postgres) -> AsyncIterator[Hall]:
    """Give the pages with applications at every stage and an account of every role."""
    dsn = postgres_server.create_database()
    async with open_hall(dsn) as opened:
        yield opened
    postgres_server.drop_database(dsn)
