"""The hall, open once for a module's tests."""

from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest

from devstack.postgres import Postgres
from devstack.roles import create_logins
from tests.pages.hall import Hall, open_hall


@pytest.fixture(scope="module")
async def hall(postgres_server: Postgres) -> AsyncIterator[Hall]:
    """Give the pages with applications at every stage and an account of every role."""
    dsn = postgres_server.create_database()
    logins = create_logins(postgres_server, urlsplit(dsn).path[1:])
    async with open_hall(dsn, logins["api"]) as opened:
        yield opened
    postgres_server.drop_database(dsn)
