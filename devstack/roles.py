"""The hub's roles in a database of the development stack: each process logs in as somebody of its own.

So a right that a statement needs and `hub/store/privileges.toml` does not grant shows in every test that runs the
processes, and in the demo.
"""

import secrets
from collections.abc import Mapping

from devstack.postgres import Postgres
from hub.store.privileges import Role, name_group, quote, write_roles

OWNER = "owner"
# Who runs a command of the hub, by its first word or its first two.
COMMANDS: Mapping[str, str] = {
    "migrate": OWNER,
    "accounts": Role.OPERATOR,
    "clients": Role.OPERATOR,
    "fsck": Role.AUDIT,
    "audit": Role.AUDIT,
    "case": Role.AUDIT,
    "database": Role.AUDIT,
    "log": Role.AUDIT,
    "lookups": Role.AUDIT,
    "lost": Role.AUDIT,
    "lost acknowledge": Role.OPERATOR,
    "quarantine": Role.AUDIT,
    "repair": Role.OPERATOR,
    "reconcile": Role.AUDIT,
    "reconcile close": Role.OPERATOR,
    "reconcile run": Role.OPERATOR,
    "retention": Role.AUDIT,
    "retention apply": OWNER,
    "participants": Role.REGISTRAR,
    "registry": Role.REGISTRAR,
    "root": Role.AUDIT,
    "kafka": Role.AUDIT,
    "doctor": Role.AUDIT,
    "vectors": Role.AUDIT,
    "keys": Role.AUDIT,
}


def create_logins(postgres: Postgres, database: str) -> dict[str, str]:
    """Make the hub's group roles for a database by name, and a login in each; return the logins' DSNs by role."""
    statements, logins = [write_roles(database)], {}
    for role in Role:
        group, password = name_group(database, role), secrets.token_urlsafe(16)
        login = f"{group}_1"
        statements += [
            f"CREATE ROLE {quote(login)} LOGIN PASSWORD '{password}'",
            f"GRANT {quote(group)} TO {quote(login)} WITH INHERIT TRUE, SET FALSE",
        ]
        logins[str(role)] = postgres.dsn_of(database, login, password)
    postgres.execute(*statements)
    return logins


def name_role(words: tuple[str, ...]) -> str:
    """Return who runs the hub's command of these words. Raises KeyError for one that COMMANDS does not know."""
    return COMMANDS.get(" ".join(words[:2])) or COMMANDS[words[0]]
