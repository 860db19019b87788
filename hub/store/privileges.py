"""Who may do what in the database: a group role for each kind of process, granted what its statements need.

The groups cannot be made by a migration. A role belongs to the whole server, the schema's owner is not allowed to make
one, and a backup restored elsewhere comes without them. So the administrator of the database makes them, once
(`write_roles`); each `hub migrate` grants, in its own transaction, exactly what `privileges.toml` says.
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from hub.store.database import Connection

MATRIX_FILE = Path(__file__).with_suffix(".toml")
SCHEMA = "public"
FUNCTION = "function "
PUBLIC = "PUBLIC"


class Role(StrEnum):
    """A kind of process; its group role in the server is named after the database and this."""

    INTAKE = "intake"
    RELAY = "relay"
    DEADLINES = "deadlines"
    SEQUENCER = "sequencer"
    API = "api"
    AUDIT = "audit"
    OPERATOR = "operator"
    REGISTRAR = "registrar"


PURPOSES = {
    Role.INTAKE: "`hub intake`: takes messages in",
    Role.RELAY: "`hub relay`: signs and sends what goes out",
    Role.DEADLINES: "`hub deadlines`: deferred messages, timers, heartbeats, daily reports, repairs",
    Role.SEQUENCER: "`hub sequencer`: tree, checkpoints, cosignatures",
    Role.API: "`hub api`: reads, marks assertions as used, keeps sessions, attempts to sign in and what operators ask",
    Role.AUDIT: "commands that only look: fsck, audit, case, log, kafka apply, and each list and show",
    Role.OPERATOR: "commands that decide: repair, lost acknowledge, reconcile, accounts",
    Role.REGISTRAR: "commands that put a registry in force",
}

#: What may be done, as (role, privilege, column or None for the whole table), by table.
Matrix: TypeAlias = Mapping[str, frozenset[tuple[Role, str, str | None]]]


class Power(NamedTuple):
    """What a group role, or a login in one, may do beside what is granted; `others` are its foreign groups."""

    name: str
    may_login: bool
    is_group: bool
    is_powerful: bool
    owns: bool
    others: list[str]


class Grant(NamedTuple):
    """A privilege that the database grants; `place` is a table, `table.column`, or another object in words."""

    grantee: str
    privilege: str
    place: str


@cache
def read_matrix() -> Matrix:
    """Return what `privileges.toml` says of tables."""
    return {place: granted for place, granted in _read_all().items() if not place.startswith(FUNCTION)}


@cache
def read_functions() -> Matrix:
    """Return what `privileges.toml` says of functions, by their names."""
    return {
        place.removeprefix(FUNCTION): granted for place, granted in _read_all().items() if place.startswith(FUNCTION)
    }


@cache
def _read_all() -> Matrix:
    written: dict[str, dict[str, list[str]]] = tomllib.loads(MATRIX_FILE.read_text("utf-8"))
    return {place: frozenset(_read_section(section)) for place, section in written.items()}


def _read_section(section: Mapping[str, Sequence[str]]) -> Iterator[tuple[Role, str, str | None]]:
    for privilege, roles in section.items():
        word, _, listed = privilege.rstrip(")").partition("(")
        columns = [column.strip() for column in listed.split(",")] if listed else [None]
        for role in roles:
            for column in columns:
                yield Role(role), word.upper(), column


def name_group(database: str, role: Role) -> str:
    """Return the name of a group role: each database has its own, since several may share one server."""
    return f"{database}_{role}"


def quote(name: str) -> str:
    """Spell a name so that SQL reads it as it is."""
    return '"' + name.replace('"', '""') + '"'


def write_roles(database: str) -> str:
    """Return the SQL by which the server's administrator makes the group roles; safe to repeat."""
    lines = []
    for role in Role:
        group = name_group(database, role)
        literal = "'" + group.replace("'", "''") + "'"
        lines += [
            f"-- {PURPOSES[role]}",
            f"DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {literal})",
            f"    THEN CREATE ROLE {quote(group)} NOLOGIN; END IF; END $$;",
        ]
    return "\n".join(lines) + "\n"


def _write_grants(database: str, groups: Mapping[str, Role]) -> Iterator[str]:
    everything = ("TABLES", "SEQUENCES", "FUNCTIONS")
    yield f"REVOKE ALL ON DATABASE {quote(database)} FROM PUBLIC"
    for grantee in (PUBLIC, *map(quote, groups)):
        yield f"REVOKE ALL ON SCHEMA {SCHEMA} FROM {grantee}"
        yield from (f"REVOKE ALL ON ALL {kind} IN SCHEMA {SCHEMA} FROM {grantee}" for kind in everything)
    for group, role in groups.items():
        yield f"GRANT CONNECT ON DATABASE {quote(database)} TO {quote(group)}"
        yield f"GRANT USAGE ON SCHEMA {SCHEMA} TO {quote(group)}"
        for table, granted in read_matrix().items():
            for own, privilege, column in sorted(granted, key=str):
                if own is role:
                    columns = "" if column is None else f" ({quote(column)})"
                    yield f"GRANT {privilege}{columns} ON {SCHEMA}.{quote(table)} TO {quote(group)}"
        for function, granted in read_functions().items():
            if (role, "EXECUTE", None) in granted:
                yield f"GRANT EXECUTE ON FUNCTION {SCHEMA}.{quote(function)} TO {quote(group)}"


async def apply(connection: "Connection") -> None:
    """Take from PUBLIC and from the group roles everything, and grant what the matrix says to the groups there are."""
    database = str(await connection.fetchval("SELECT current_database()"))
    groups = {name_group(database, role): role for role in Role}
    rows = await connection.fetch("SELECT rolname::text FROM pg_roles WHERE rolname = ANY($1::text[])", list(groups))
    present = {row[0]: groups[row[0]] for row in rows}
    await connection.execute(";\n".join(_write_grants(database, present)))


READ_GRANTS = """
    WITH granted AS (
        SELECT relowner AS owner, relname::text AS place, acl.*
        FROM pg_class, aclexplode(relacl) AS acl WHERE relnamespace = $1::regnamespace
        UNION ALL SELECT relowner, relname || '.' || attname, acl.*
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid, aclexplode(attacl) AS acl
        WHERE relnamespace = $1::regnamespace
        UNION ALL SELECT proowner, 'function ' || proname, acl.*
        FROM pg_proc, aclexplode(COALESCE(proacl, acldefault('f', proowner))) AS acl
        WHERE pronamespace = $1::regnamespace
        UNION ALL SELECT (SELECT datdba FROM pg_database WHERE datname = current_database()), 'schema', acl.*
        FROM pg_namespace, aclexplode(COALESCE(nspacl, acldefault('n', nspowner))) AS acl
        WHERE oid = $1::regnamespace AND acl.grantee <> nspowner
        UNION ALL SELECT datdba, 'database', acl.*
        FROM pg_database, aclexplode(COALESCE(datacl, acldefault('d', datdba))) AS acl
        WHERE datname = current_database())
    SELECT COALESCE(rolname::text, 'PUBLIC'), privilege_type, place
    FROM granted LEFT JOIN pg_roles r ON r.oid = granted.grantee WHERE grantee <> owner"""
READ_TABLES = """
    SELECT relname::text, pg_get_userbyid(relowner)::text AS owner,
        relowner = (SELECT datdba FROM pg_database WHERE datname = current_database()) AS owned
    FROM pg_class WHERE relnamespace = $1::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'f')
        AND NOT relispartition ORDER BY 1"""
# What would make the grants mean nothing: a group or a login in it that may do more than it was granted.
READ_POWERS = """
    WITH RECURSIVE concerned AS (
        SELECT oid FROM pg_roles WHERE rolname = ANY($1::text[])
        UNION SELECT m.member FROM pg_auth_members m JOIN concerned c ON c.oid = m.roleid WHERE m.inherit_option
            OR m.set_option)
    SELECT r.rolname::text AS name, r.rolcanlogin AS may_login, r.rolname = ANY($1::text[]) AS is_group,
        r.rolsuper OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication OR r.rolbypassrls AS is_powerful,
        pg_has_role(r.oid, (SELECT datdba FROM pg_database WHERE datname = current_database()), 'MEMBER') AS owns,
        ARRAY(SELECT p.rolname::text FROM pg_auth_members m JOIN pg_roles p ON p.oid = m.roleid
            WHERE m.member = r.oid AND NOT p.rolname = ANY($1::text[])) AS others
    FROM pg_roles r JOIN concerned USING (oid) ORDER BY 1"""


def list_wanted(database: str) -> set[Grant]:
    """Return everything that is to be granted in a database beside what its owner has."""
    wanted = set()
    for role in Role:
        group = name_group(database, role)
        wanted |= {Grant(group, "CONNECT", "database"), Grant(group, "USAGE", "schema")}
    for table, granted in read_matrix().items():
        for role, privilege, column in granted:
            wanted.add(Grant(name_group(database, role), privilege, table if column is None else f"{table}.{column}"))
    for function, granted in read_functions().items():
        wanted |= {Grant(name_group(database, role), privilege, FUNCTION + function) for role, privilege, _ in granted}
    return wanted


async def find_drift(connection: "Connection") -> list[str]:
    """Return a sentence for everything in which roles and rights differ from what they should be."""
    database = str(await connection.fetchval("SELECT current_database()"))
    groups = [name_group(database, role) for role in Role]
    powers = [Power(*row) for row in await connection.fetch(READ_POWERS, groups)]
    there = {power.name for power in powers}
    missing = [group for group in groups if group not in there]
    found = [f"The role {group} is missing: `hub database roles` prints what makes it." for group in missing]
    for power in powers:
        found += _judge_power(power)
    for table, owner, owned in await connection.fetch(READ_TABLES, SCHEMA):
        if table not in read_matrix():
            found.append(f"The table {table} is not one of the hub's.")
        if not owned:
            found.append(f"The table {table} belongs to {owner}, not to the database's owner.")
    granted = {Grant(*row) for row in await connection.fetch(READ_GRANTS, SCHEMA)}
    wanted = {grant for grant in list_wanted(database) if grant.grantee in there}
    found += [f"{one.grantee} lacks {one.privilege} on {one.place}." for one in sorted(wanted - granted)]
    found += [f"{one.grantee} has {one.privilege} on {one.place}, unasked." for one in sorted(granted - wanted)]
    return found


def _judge_power(power: Power) -> Iterator[str]:
    if power.is_group and power.may_login:
        yield f"The role {power.name} can log in: it is meant as a group of logins."
    if power.is_powerful or power.owns:
        yield f"The role {power.name} may do more than its group: it is a superuser, the owner, or makes roles."
    if power.others:
        yield f"The role {power.name} is also a member of {', '.join(power.others)}."
