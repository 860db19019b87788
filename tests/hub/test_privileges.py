"""The database's roles: each may do what the matrix says, and what an attacker in its place would try is refused."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from devstack.postgres import Postgres
from devstack.roles import create_logins
from hub.cli import main
from hub.store import dossiers, privileges, schema
from hub.store.database import Connection
from hub.store.privileges import Role, name_group, read_matrix

TABLE_PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN")
COLUMN_PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "REFERENCES")
# Who asked and who is there: the only things that the API keeps.
KEPT_BY_THE_API = {"assertions", "sessions", "attempts", "lookups", "answers", "access_tokens", "repair_actions"}
EVIDENCE = (
    "leaves",
    "tiles",
    "checkpoints",
    "cosignatures",
    "lost_acknowledged",
    "registry",
    "rule_sets",
    "contracts",
    "lookups",
)
# A partition is reached through its table; that nobody may do anything with it by itself is asked below.
LIST_TABLES = """
    SELECT relname::text FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition"""
LIST_COLUMNS = """
    SELECT c.relname::text, a.attname::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND attnum > 0 AND NOT attisdropped"""

# What whoever holds a process of ours might try. None of it is any process' business.
ATTACKS = {
    "edit a leaf": "UPDATE leaves SET entry = 'x' WHERE log_index = 0",
    "delete a leaf": "DELETE FROM leaves WHERE log_index = 0",
    "truncate the log": "TRUNCATE leaves",
    "lock the log's leaves": "DO $$ BEGIN LOCK TABLE leaves IN ACCESS EXCLUSIVE MODE; END $$",
    "take the guard off": "ALTER TABLE leaves DISABLE TRIGGER ALL",
    "drop the guard": "DROP TRIGGER leaves_are_final ON leaves",
    "hollow the guard out": "CREATE OR REPLACE FUNCTION refuse_change_of_evidence() RETURNS trigger LANGUAGE plpgsql "
    "AS 'BEGIN RETURN NULL; END'",
    "pass the guards as a replica": "SET session_replication_role = replica",
    "add a trigger": "CREATE TRIGGER mine BEFORE INSERT ON leaves EXECUTE FUNCTION refuse_change_of_evidence()",
    "rewrite a rule": "CREATE RULE mine AS ON INSERT TO leaves DO INSTEAD NOTHING",
    "edit a checkpoint": "UPDATE checkpoints SET note = ''",
    "shrink the tree": "DELETE FROM tree",
    "edit the registry": "UPDATE registry SET document = ''",
    "edit what a participant signed": "UPDATE inbox SET value = ''",
    "edit its signature": "UPDATE inbox SET jws = ''",
    "edit what was refused": "UPDATE quarantine SET value = ''",
    "edit how it came": "UPDATE quarantine SET headers = '[]', key = NULL",
    "delete what was refused": "DELETE FROM quarantine",
    "take the originals' guard off": "ALTER TABLE inbox DISABLE TRIGGER ALL",
    "turn quarantine's counter back": "SELECT setval('quarantine_id_seq', 1)",
    "create a table": "CREATE TABLE mine ()",
    "create a temporary table": "CREATE TEMPORARY TABLE mine ()",
    "create a schema": "CREATE SCHEMA mine",
    "create a function": "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "create an extension": "CREATE EXTENSION file_fdw",
    "create a database": "CREATE DATABASE mine",
    "create a role": "CREATE ROLE mine",
    "become the owner": "SET ROLE {owner}",
    "become the administrator": "SET SESSION AUTHORIZATION {owner}",
    "enter the operator's group": "SET ROLE {operator}",
    "enter its own group": "SET ROLE {group}",
    "join the owner": "GRANT {owner} TO {login}",
    "make itself stronger": "ALTER ROLE {login} CREATEROLE",
    "read passwords": "SELECT rolpassword FROM pg_authid",
    "run a program": "COPY (SELECT 1) TO PROGRAM 'true'",
    "write a file": "COPY (SELECT 1) TO '/tmp/mine'",
    "read a file": "SELECT pg_read_file('postgresql.conf')",
    "list files": "SELECT pg_ls_dir('.')",
    "import a file": "SELECT lo_import('/etc/passwd')",
    "turn fsync off": "ALTER SYSTEM SET fsync = off",
    "cut another's session": "SELECT pg_terminate_backend({pid})",
}
# What is some process' business, and not this one's.
TRESPASSES = {
    Role.API: (
        "INSERT INTO cases (id) VALUES ('mine')",
        "UPDATE cases SET told = '{}'",
        "INSERT INTO leaves VALUES (0, 'x')",
        "SELECT personal FROM cases",
        "SELECT kid FROM inbox",
        "SELECT jti FROM assertions",
        "DELETE FROM assertions",
        "SELECT value FROM quarantine",
        "UPDATE quarantine SET resolved_at = now()",
        "UPDATE repair_actions SET outcome = 'done'",
        "INSERT INTO repair_actions (token, verb, actor, reason, parked_id, settled_at, outcome)"
        " VALUES (gen_random_uuid(), 'look', 'mine', 'because of it', 1, now(), 'done')",
        "UPDATE repairs SET state = 'running'",
        "INSERT INTO repair_items (repair_id, parked_id) VALUES (1, 1)",
    ),
    Role.INTAKE: (
        "UPDATE log SET registry_version = 99",
        "UPDATE log SET origin = 'mine'",
        "INSERT INTO registry SELECT 99, document, log_index, applied_at FROM registry",
        "INSERT INTO rule_sets VALUES ('mine', 1, '', '', 0)",
        "INSERT INTO outbox_signature VALUES (1, 0, 'recommendations', 'mine')",
        "INSERT INTO checkpoints VALUES (0, now(), 'mine')",
        "UPDATE inbox SET value = ''",
        "SELECT value FROM quarantine",
        "SELECT look_at_parked(1)",
        "SELECT * FROM assertions",
    ),
    Role.RELAY: (
        "INSERT INTO outbox SELECT * FROM outbox",
        "UPDATE outbox_signature SET jws = 'mine'",
        "SELECT personal FROM cases",
        "SELECT subject FROM inbox",
        "UPDATE tree SET size = 1",
    ),
    Role.SEQUENCER: (
        "SELECT value FROM inbox",
        "SELECT personal FROM cases",
        "INSERT INTO leaves VALUES (0, 'x')",
    ),
    Role.DEADLINES: (
        "UPDATE quarantine SET value = ''",
        "UPDATE watermark SET next = 0",
        "INSERT INTO registry SELECT 99, document, log_index, applied_at FROM registry",
    ),
    Role.AUDIT: (
        "INSERT INTO leaves VALUES (0, 'x')",
        "UPDATE cases SET told = '{}'",
        "SELECT * FROM assertions",
    ),
    Role.OPERATOR: (
        "UPDATE log SET registry_version = 99",
        "DELETE FROM quarantine",
        "UPDATE quarantine SET value = ''",
        "UPDATE repair_actions SET actor = 'another'",
        "UPDATE repair_items SET outcome = 'accepted'",
        "INSERT INTO registry SELECT 99, document, log_index, applied_at FROM registry",
    ),
    Role.REGISTRAR: (
        "SELECT personal FROM cases",
        "SELECT value FROM inbox",
        "DELETE FROM registry",
    ),
}


class Installed:
    """A migrated database with its roles: the owner's DSN, and each role's login."""

    def __init__(self, server: Postgres) -> None:
        self.server = server
        self.dsn = server.create_database()
        self.name = urlsplit(self.dsn).path.removeprefix("/")
        self.logins = create_logins(server, self.name)
        asyncio.run(schema.migrate(self.dsn))

    def fill(self, statement: str, role: str, pid: int) -> str:
        """Put the names of this database into a statement."""
        names = {
            "owner": urlsplit(self.dsn).username,
            "operator": name_group(self.name, Role.OPERATOR),
            "group": name_group(self.name, Role(role)),
            "login": urlsplit(self.logins[role]).username,
        }
        for name, value in names.items():
            statement = statement.replace(f"{{{name}}}", privileges.quote(str(value)))
        return statement.replace("{pid}", str(pid))


@pytest.fixture(scope="module")
def installed(postgres_server: Postgres) -> Iterator[Installed]:
    """Give a database with roles, which no test changes."""
    made = Installed(postgres_server)
    yield made
    postgres_server.drop_database(made.dsn)


@pytest.fixture
def own(postgres_server: Postgres) -> Iterator[Installed]:
    """Give a database with roles of this test's own."""
    made = Installed(postgres_server)
    yield made
    postgres_server.drop_database(made.dsn)


@asynccontextmanager
async def connect(dsn: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close()


async def test_every_table_has_a_section(installed: Installed) -> None:
    async with connect(installed.dsn) as owner:
        tables = {row[0] for row in await owner.fetch(LIST_TABLES)}
    for table in sorted(tables - read_matrix().keys()):
        pytest.fail(
            f"The table {table} has no section in hub/store/privileges.toml, so that no process can use it. Add "
            f'[{table}] with a line for each privilege its statements need, such as select = ["intake", "audit"]; '
            "an empty section says that only the owner may. A table that holds evidence goes into EVIDENCE here too."
        )
    assert read_matrix().keys() == tables


async def test_each_role_may_do_what_the_matrix_says_and_nothing_else(installed: Installed) -> None:
    async with connect(installed.dsn) as owner:
        columns = [(row[0], row[1]) for row in await owner.fetch(LIST_COLUMNS)]
        for role in Role:
            login = str(urlsplit(installed.logins[role]).username)
            for table in read_matrix():
                assert await _list_held(owner, login, table, columns) == _list_wanted(role, table, columns), (
                    f"{role} on {table}"
                )


async def _list_held(owner: Connection, login: str, table: str, columns: list[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return what a login may do with a table, as (privilege, column or "")."""
    query = "SELECT p FROM unnest($3::text[]) AS p WHERE has_table_privilege($1, $2, p)"
    held = {(row[0], "") for row in await owner.fetch(query, login, table, list(TABLE_PRIVILEGES))}
    query = """
        SELECT p, c FROM unnest($3::text[]) AS p, unnest($4::text[]) AS c
        WHERE has_column_privilege($1, $2, c, p) AND NOT has_table_privilege($1, $2, p)"""
    own = [column for name, column in columns if name == table]
    return held | {(row[0], row[1]) for row in await owner.fetch(query, login, table, list(COLUMN_PRIVILEGES), own)}


def _list_wanted(role: Role, table: str, columns: list[tuple[str, str]]) -> set[tuple[str, str]]:
    granted = {(privilege, column or "") for own, privilege, column in read_matrix()[table] if own is role}
    unknown = {column for _, column in granted if column} - {column for name, column in columns if name == table}
    assert not unknown, f"privileges.toml names columns that {table} has not: {unknown}"
    return granted


def test_the_matrix_itself_keeps_what_matters() -> None:
    for table, granted in read_matrix().items():
        for role, privilege, column in granted:
            assert privilege in ("SELECT", "INSERT", "UPDATE", "DELETE"), f"{privilege} on {table} is the owner's alone"
            if table in EVIDENCE:
                assert privilege in ("SELECT", "INSERT"), f"{role} changes evidence: {privilege} on {table}"
            if role is Role.AUDIT:
                assert privilege == "SELECT", f"an auditor changes {table}"
            if role is Role.API:
                assert privilege == "SELECT" or table in KEPT_BY_THE_API, f"the API changes {table}"
            if table == "log" and privilege == "UPDATE":
                assert (column == "next_index") is (role is not Role.REGISTRAR) or role is Role.REGISTRAR


@pytest.mark.parametrize("role", list(Role))
async def test_attacks_are_refused(role: Role, installed: Installed) -> None:
    async with connect(installed.dsn) as owner, connect(installed.logins[role]) as attacker:
        pid = await owner.fetchval("SELECT pg_backend_pid()")
        for what, statement in ATTACKS.items():
            filled = installed.fill(statement, role, pid)
            assert await _is_denied(attacker, filled), f"{role} could {what}: {filled}"
        # A grant of what one may not grant on is a warning alone, and changes nothing.
        await attacker.execute("DO $$ BEGIN GRANT SELECT ON alembic_version TO PUBLIC; END $$")
        assert await privileges.find_drift(owner) == []


async def _is_denied(connection: Connection, statement: str) -> bool:
    try:
        await connection.execute(statement)
    except asyncpg.InsufficientPrivilegeError:
        return True
    return False


@pytest.mark.parametrize("role", list(Role))
async def test_what_is_another_process_business_is_refused(role: Role, installed: Installed) -> None:
    async with connect(installed.logins[role]) as trespasser:
        for statement in TRESPASSES[role]:
            assert await _is_denied(trespasser, statement), f"{role} could {statement}"


async def test_a_login_in_no_group_cannot_even_connect(own: Installed) -> None:
    stranger = f"{own.name}_stranger"
    own.server.execute(f"CREATE ROLE \"{stranger}\" LOGIN PASSWORD 'x'")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await asyncpg.connect(own.server.dsn_of(own.name, stranger, "x"))


async def test_a_login_of_another_exchange_on_the_same_server_cannot_connect(
    own: Installed, installed: Installed
) -> None:
    login = urlsplit(installed.logins[Role.INTAKE])
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await asyncpg.connect(own.server.dsn_of(own.name, str(login.username), str(login.password)))


async def test_a_table_that_comes_later_is_nobody_s_until_it_is_named(own: Installed) -> None:
    async with connect(own.dsn) as owner:
        await owner.execute("CREATE TABLE console_accounts (name text, password text)")
        await owner.execute("CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'")
    await schema.migrate(own.dsn)
    for role in Role:
        async with connect(own.logins[role]) as login:
            for statement in ("SELECT * FROM console_accounts", "SELECT mine()"):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await login.execute(statement)
    async with connect(own.dsn) as owner:
        assert await privileges.find_drift(owner) == ["The table console_accounts is not one of the hub's."]


async def test_one_login_in_several_groups_has_the_rights_of_all(own: Installed) -> None:
    """As `hub run` needs it, which is all parts in one process."""
    login = str(urlsplit(own.logins[Role.INTAKE]).username)
    own.server.execute(f'GRANT "{name_group(own.name, Role.SEQUENCER)}" TO "{login}" WITH INHERIT TRUE, SET FALSE')
    async with connect(own.logins[Role.INTAKE]) as connection:
        await connection.execute("INSERT INTO leaves VALUES (0, 'x')")
        await connection.execute("UPDATE tree SET size = 1")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("INSERT INTO assertions VALUES ('x', now())")
    async with connect(own.dsn) as owner:
        assert await privileges.find_drift(owner) == []


DRIFTS = {
    "{intake} lacks INSERT on leaves.": 'REVOKE INSERT ON leaves FROM "{intake}"',
    "{intake} lacks UPDATE on watermark.next.": 'REVOKE UPDATE (next) ON watermark FROM "{intake}"',
    "{api} has UPDATE on cases, unasked.": 'GRANT UPDATE ON cases TO "{api}"',
    "{api} has UPDATE on cases.told, unasked.": 'GRANT UPDATE (told) ON cases TO "{api}"',
    "PUBLIC has SELECT on cases, unasked.": "GRANT SELECT ON cases TO PUBLIC",
    "PUBLIC has EXECUTE on function refuse_a_smaller_tree, unasked.": "GRANT EXECUTE ON FUNCTION refuse_a_smaller_tree "
    "TO PUBLIC",
    "PUBLIC has CONNECT on database, unasked.": 'GRANT CONNECT ON DATABASE "{database}" TO PUBLIC',
    "PUBLIC has CREATE on schema, unasked.": "GRANT CREATE ON SCHEMA public TO PUBLIC",
}
POWERS = {
    "The role {intake} can log in: it is meant as a group of logins.": 'ALTER ROLE "{intake}" LOGIN',
    "The role {intake}_1 may do more than its group: it is a superuser, the owner, or makes roles.": "ALTER ROLE "
    '"{intake}_1" CREATEDB',
    "The role {intake}_1 is also a member of pg_read_all_data.": 'GRANT pg_read_all_data TO "{intake}_1"',
}


async def test_drift_is_named_and_taken_back_by_the_next_migrate(own: Installed) -> None:
    async with connect(own.dsn) as owner:
        for changed in (DRIFTS, POWERS):
            for statement in changed.values():
                await owner.execute(_fill_names(statement, own))
            assert sorted(await privileges.find_drift(owner)) == sorted(_fill_names(one, own) for one in changed)
            if changed is DRIFTS:
                await schema.migrate(own.dsn)
                assert await privileges.find_drift(owner) == []


def _fill_names(text: str, own: Installed) -> str:
    names = {"intake": name_group(own.name, Role.INTAKE), "api": name_group(own.name, Role.API), "database": own.name}
    for name, value in names.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def test_roles_are_printed_made_and_checked(
    postgres_server: Postgres, database: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As docs/operations.md says: print, run as the administrator, migrate, check."""
    monkeypatch.setenv("DATABASE_URL", database)
    script = _run(["database", "roles"], capsys)
    assert script.count("NOLOGIN") == len(Role)
    _run(["migrate"], capsys)
    drift = json.loads(_run(["database", "check", "--json"], capsys, exit_code=1))["drift"]
    assert len(drift) == len(Role)
    assert all("is missing: `hub database roles`" in sentence for sentence in drift)
    postgres_server.execute(script, script)
    _run(["migrate"], capsys)
    assert _run(["database", "check"], capsys) == "Roles and rights are as they should be.\n"


def _run(words: list[str], capsys: pytest.CaptureFixture[str], exit_code: int = 0) -> str:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == exit_code
    return capsys.readouterr().out


def test_the_database_s_name_is_spelled_safely() -> None:
    script: Any = privileges.write_roles("o'\"x")
    assert "rolname = 'o''\"x_intake'" in script
    assert 'CREATE ROLE "o\'""x_intake" NOLOGIN' in script


async def test_the_deadlines_process_may_keep_dossiers_and_nobody_else_may(installed: Installed) -> None:
    statements = [value for name, value in vars(dossiers).items() if name.isupper() and isinstance(value, str)]
    assert len(statements) >= 20
    async with connect(installed.logins[Role.DEADLINES]) as keeper, connect(installed.logins[Role.API]) as reader:
        for statement in statements:
            await keeper.execute(f"EXPLAIN (GENERIC_PLAN) {statement}")
        for statement in (dossiers.SAVE_FACTS, dossiers.ADD_FINDING, dossiers.CLOSE_FINDING, dossiers.MOVE):
            assert await _is_denied(reader, f"EXPLAIN (GENERIC_PLAN) {statement}")
