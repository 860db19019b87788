"""A real MariaDB for tests: the server of Debian's mariadb-server-core, on a port and in a folder of its own."""

import grp
import os
import pwd
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import asyncmy
from asyncmy import errors
from asyncmy.cursors import DictCursor
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_fixed

from devstack.ports import find_free_ports
from devstack.processes import Child
from devstack.run import Run

UNPRIVILEGED_USER = "nobody"
READY_LIMIT_S = 60.0
SETTINGS = {
    "bind-address": "127.0.0.1",
    "innodb-buffer-pool-size": "32M",
    "innodb-log-file-size": "16M",
    # A zone of its own, so that what is read in UTC is not so by chance.
    "default-time-zone": "+07:00",
}

_numbers = count(1)


@dataclass
class Mariadb:
    """A server that answers to `root` on 127.0.0.1."""

    port: int
    child: Child

    def url(self, user: str, password: str, database: str) -> str:
        return f"mariadb://{user}:{password}@127.0.0.1:{self.port}/{database}"

    async def connect(self, database: str | None = None, *, autocommit: bool = True) -> Any:
        return await asyncmy.connect(
            host="127.0.0.1", port=self.port, user="root", password="", database=database, autocommit=autocommit
        )

    async def execute(self, *statements: str, database: str | None = None) -> Sequence[dict[str, Any]]:
        """Run statements as root; return the rows of the last one."""
        connection = await self.connect(database)
        try:
            async with connection.cursor(DictCursor) as cursor:
                for statement in statements:
                    await cursor.execute(statement)
                rows: Sequence[dict[str, Any]] = await cursor.fetchall()
                return rows
        finally:
            await connection.ensure_closed()

    async def wait_until_ready(self) -> None:
        attempts = AsyncRetrying(
            retry=retry_if_exception_type((errors.MySQLError, OSError)),
            stop=stop_after_delay(READY_LIMIT_S),
            wait=wait_fixed(0.1),
            reraise=True,
        )
        probe: Callable[..., Any] = self.execute
        await attempts(probe, "SELECT 1")

    def new_name(self) -> str:
        return f"register_{next(_numbers)}"


def start_mariadb(run: Run) -> Mariadb:
    """Make a data folder and start a server; `wait_until_ready` tells when it serves."""
    folder, [port] = run.folder / "mariadb", find_free_ports(1)
    user = UNPRIVILEGED_USER if os.geteuid() == 0 else None
    subprocess.run(
        [
            "mariadb-install-db", "--no-defaults", f"--datadir={folder}", "--skip-test-db",
            "--auth-root-authentication-method=normal", *([f"--user={user}"] if user else []),
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    if user:
        _give(folder, user)
    server = shutil.which("mariadbd")
    assert server is not None
    command = [
        *(server, "--no-defaults", f"--datadir={folder}", f"--port={port}"),
        *(f"--socket={folder / 'socket'}", f"--pid-file={folder / 'pid'}"),
        *(f"--{name}={value}" for name, value in SETTINGS.items()),
    ]
    return Mariadb(port, run.children.start("mariadb", command, user=user))


def _give(folder: Path, user: str) -> None:
    owner = pwd.getpwnam(user)
    for place in (folder, *folder.rglob("*")):
        os.chown(place, owner.pw_uid, grp.getgrgid(owner.pw_gid).gr_gid)
