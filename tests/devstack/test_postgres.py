"""Servers of the development stack: a given one, restarts, and settings that would prove nothing."""

import asyncio
import signal
from collections.abc import Iterator

import asyncpg
import pytest
from tenacity import Retrying, stop_after_delay, wait_fixed

from devstack.choice import Choice
from devstack.postgres import Postgres, start_postgres
from devstack.processes import StackError
from devstack.run import Run

RELOAD_TIMEOUT_S = 20


@pytest.fixture
def own_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Postgres]:
    """Give a server that only this test has, since it is killed and filled with foreign things."""
    monkeypatch.setenv("DEVSTACK", "embedded")
    with Run() as run:
        yield start_postgres(run)


@pytest.fixture
def given(own_server: Postgres, monkeypatch: pytest.MonkeyPatch) -> Postgres:
    """Make the environment give that server."""
    monkeypatch.setenv("DATABASE_URL", own_server.dsn)
    monkeypatch.delenv("DEVSTACK")
    return own_server


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGQUIT, signal.SIGINT])
def test_committed_rows_survive_every_kind_of_end(own_server: Postgres, number: signal.Signals) -> None:
    own_server.execute("CREATE TABLE kept (id int)", "INSERT INTO kept VALUES (7)")
    assert own_server.server is not None
    own_server.server.stop(number)
    own_server.server.start()
    own_server.wait_until_ready()
    assert own_server.fetch_values("SELECT id FROM kept") == [7]


def test_given_server_with_foreign_things_is_refused(given: Postgres) -> None:
    given.execute("CREATE DATABASE payroll")
    with Run() as run, pytest.raises(StackError, match=r"'payroll' is one of 1\); give it an empty one\.$"):
        start_postgres(run)
    given.execute("DROP DATABASE payroll", "CREATE TABLE salaries (id int)")
    with Run() as run, pytest.raises(StackError, match=r"'public\.salaries' is one of 1\)"):
        start_postgres(run)


def test_given_server_is_left_as_it_was(given: Postgres) -> None:
    with Run() as run:
        postgres = start_postgres(run)
        assert postgres.choice is Choice.GIVEN
        database, role = postgres.create_database(), postgres.name("register")
        postgres.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'secret'")
        with pytest.raises(StackError, match="not one of this run's"):
            postgres.drop_database(given.dsn)
        asyncio.run(_make_table(postgres, database, role))
        postgres.close()
    assert given.fetch_values("SELECT datname::text FROM pg_database WHERE NOT datistemplate") == ["postgres"]
    assert given.fetch_values("SELECT rolname::text FROM pg_roles WHERE rolname !~ '^pg_'") == ["postgres"]


def test_server_that_would_lose_commits_is_refused(given: Postgres) -> None:
    given.execute("ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")
    for attempt in Retrying(stop=stop_after_delay(RELOAD_TIMEOUT_S), wait=wait_fixed(0.01)):
        with attempt:
            assert given.fetch_values("SELECT current_setting('fsync')") == ["off"]
    with Run() as run, pytest.raises(StackError, match="fsync off"):
        start_postgres(run)


def test_wrong_password_is_told_in_one_sentence(own_server: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", own_server.dsn_of("postgres", "postgres", "wrong"))
    monkeypatch.delenv("DEVSTACK")
    with Run() as run, pytest.raises(StackError, match=r"^PostgreSQL refused the administrator: .*\.$"):
        start_postgres(run)


async def _make_table(postgres: Postgres, database: str, role: str) -> None:
    """Let the role own something, which would stand in the way of its removal."""
    connection = await asyncpg.connect(database)
    try:
        await connection.execute(f"CREATE SCHEMA register AUTHORIZATION {role}")
    finally:
        await connection.close()
    connection = await asyncpg.connect(postgres.dsn_of(database.rpartition("/")[2], role, "secret"))
    try:
        await connection.execute("CREATE TABLE register.permit (id int)")
    finally:
        await connection.close()
