"""A small exchange of real processes on real Kafka and PostgreSQL, each of which a test can kill, freeze or weaken.

Every process runs under `tests.faults.armed`. The agencies' own systems are the test's (see `natives`).
"""

import asyncio
import json
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg
import httpx

from contracts.wire.key import PrivateKey
from devstack.demonstration.cast import Cast, Services, call_cast, hub_environment, process_commands
from devstack.kafka import Kafka
from devstack.postgres import Postgres
from devstack.processes import Child, Children
from devstack.roles import create_logins, name_role
from hub import registration
from hub.cluster import Cluster
from hub.store.database import Database
from hub.store.schema import migrate
from tests.faults.armed import write_order
from tests.faults.background import NotReached, wait_until
from tests.hub.brokers import create_topics
from tests.hub.registering import register

REPOSITORY = Path(__file__).parents[2]
REGISTER_SCHEMA = REPOSITORY / "devstack" / "agencies" / "register.sql"
READY_LIMIT_S = 60.0
DEATH_LIMIT_S = 40.0
DEATH_MOMENT_S = 3.0
COMMAND_LIMIT_S = 60.0
REQUEST_LIMIT_S = 5.0
# The test's own note of every step of a watermark: the intervals alone look whole again once a stretch that was taken
# back has been read a second time.
NOTE_MOVES = """
    CREATE TABLE fault_moves (topic text, partition integer, before bigint, after bigint);
    CREATE FUNCTION fault_note_move() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    BEGIN
        INSERT INTO fault_moves VALUES (OLD.topic, OLD.partition, OLD.next, NEW.next);
        RETURN NULL;
    END $$;
    CREATE TRIGGER fault_note_move AFTER UPDATE ON watermark FOR EACH ROW EXECUTE FUNCTION fault_note_move()"""
SEED = 4
APPLICATIONS = 900
CONNECTORS = ("connector-ministry", "connector-bri", "connector-mandiri", "connector-immigration")
HUB = ("witness", "hub-intake-1", "hub-relay", "hub-deadlines", "hub-sequencer", "hub-api")
EVERYTHING = (*HUB, *CONNECTORS)
# What waits is refused soon, so that a test sees the end of it.
LIMITS = {"expiry_days_max": 90, "clock_skew_s": 300, "deferral_s": 2, "unmatched_s": 2, "heartbeat_s": 2}

_numbers = count(1)


def provide(kafka: Kafka, postgres: Postgres, number: int) -> Services:
    """Give one exchange its databases, its roles and its prefix."""
    urls = []
    for name in ("exchange", "register"):
        role, database = postgres.name(f"{name}_owner_{number}"), postgres.name(f"{name}_{number}")
        password = secrets.token_urlsafe(16)
        postgres.execute(
            f"CREATE ROLE \"{role}\" LOGIN PASSWORD '{password}'", f'CREATE DATABASE "{database}" OWNER "{role}"'
        )
        urls.append(postgres.dsn_of(database, role, password))
    connector, password = postgres.name(f"register_connector_{number}"), secrets.token_urlsafe(16)
    postgres.execute(f"CREATE ROLE \"{connector}\" LOGIN PASSWORD '{password}'")
    register = postgres.dsn_of(postgres.name(f"register_{number}"), connector, password)
    logins = create_logins(postgres, postgres.name(f"exchange_{number}"))
    return Services(kafka.bootstrap, f"{kafka.prefix}x{number}-", urls[0], urls[1], register, connector, logins)


def change_limits(cast: Cast, limits: Mapping[str, int]) -> None:
    """Write other limits into the registry's document before it is registered."""
    file = cast.folder / "registry.json"
    document = json.loads(file.read_text())
    document["settings"]["limits"] |= limits
    file.write_text(json.dumps(document))


@dataclass
class Rig:
    """The exchange's processes by name. `extra`: settings of a process beside its usual ones, by name."""

    cast: Cast
    children: Children
    kafka: Kafka
    postgres: Postgres
    extra: dict[str, dict[str, str]] = field(default_factory=dict)
    running: dict[str, Child] = field(default_factory=dict)
    _waited_since: dict[int, float] = field(default_factory=dict)

    def order_file(self, name: str) -> Path:
        """Where a process looks for orders."""
        return self.cast.folder / f"{name}.order"

    def command(self, name: str) -> tuple[list[str], dict[str, str]]:
        """Return a process' command under `armed` and its whole environment."""
        command, environment = process_commands(self.cast)[_role_of(name)]
        armed = [*command[:2], "tests.faults.armed", *command[2:]]
        own = {"FAULT_ORDER": str(self.order_file(name)), "PYTHONPATH": str(REPOSITORY)}
        return armed, environment | own | self.extra.get(name, {})

    def start(self, *names: str, replacing: Sequence[str] = ()) -> None:
        """Start processes at once. `replacing`: rules of FAULT_REPLACE for all of them."""
        for name in names:
            command, environment = self.command(name)
            if replacing:
                environment["FAULT_REPLACE"] = ",".join(replacing)
            child = self.children.start(name, command, environment=environment, cwd=REPOSITORY)
            self.running[name] = child

    def wait_ready(self, *names: str) -> None:
        """Wait until processes serve."""
        with httpx.Client(timeout=REQUEST_LIMIT_S) as client:
            for name in names:
                wait_until(f"{name} is ready", partial(self._is_ready, client, name), READY_LIMIT_S)

    def _is_ready(self, client: httpx.Client, name: str) -> bool:
        child = self.running[name]
        if not child.is_alive():
            raise NotReached(f"{name} has ended with code {child.returncode}: {child.read_log_tail()}")
        try:
            return client.get(self.url(name) + "/readyz").status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    def url(self, name: str) -> str:
        """Return a process' own address."""
        environment = self.extra.get(name, {})
        port = environment.get("METRICS_PORT") or environment.get("HTTP_PORT")
        return self.cast.url(name) if port is None else f"http://127.0.0.1:{port}"

    def arm(self, name: str, point: str, hit: int = 1, number: signal.Signals = signal.SIGKILL) -> None:
        """Order a process to end (or freeze) itself at a point."""
        write_order(self.order_file(name), point, hit, number)

    def wait_death(self, name: str, point: str) -> None:
        """Wait until a process has killed itself at a point. Raises NotReached."""
        child = self.running[name]
        wait_until(f"{name} reached {point}", lambda: not child.is_alive(), DEATH_LIMIT_S)
        if child.returncode != -signal.SIGKILL:
            raise NotReached(f"{name} ended with {child.returncode} instead: {child.read_log_tail()}")

    def dies_soon(self, name: str) -> bool:
        """Wait a moment for a process to kill itself; False if it still runs. Raises NotReached if it never will."""
        child = self.running[name]
        began_s = self._waited_since.setdefault(child.pid, time.monotonic())
        if time.monotonic() - began_s > DEATH_LIMIT_S:
            raise NotReached(f"{name} did not reach its point within {DEATH_LIMIT_S:.0f} s")
        try:
            code = child.wait(DEATH_MOMENT_S)
        except subprocess.TimeoutExpired:
            return False
        if code != -signal.SIGKILL:
            raise NotReached(f"{name} ended with {code} instead: {child.read_log_tail()}")
        return True

    def wait_frozen(self, name: str, point: str) -> None:
        """Wait until a process has frozen itself at a point. Raises NotReached."""
        file = self.order_file(name)
        wait_until(f"{name} reached {point}", lambda: not file.exists() and self.is_stopped(name), DEATH_LIMIT_S)

    def is_stopped(self, name: str) -> bool:
        """Whether a process is frozen."""
        status = Path(f"/proc/{self.running[name].pid}/stat").read_text()
        return status.rpartition(")")[2].split()[0] == "T"

    def kill(self, *names: str) -> None:
        """SIGKILL processes."""
        for name in names:
            self.running[name].kill()

    def stop(self, *names: str) -> None:
        """SIGTERM processes, all at once, and wait until they have ended."""
        for name in names:
            self.running[name].send(signal.SIGTERM)
        for name in names:
            self.running[name].stop()

    def check_alive(self) -> list[str]:
        """Return a sentence for each process that has ended by itself."""
        return [
            f"{name} has ended with code {child.returncode}: {child.read_log_tail()}"
            for name, child in self.running.items()
            if not child.is_alive()
        ]

    def run_hub(self, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of the hub to its end."""
        return subprocess.run(
            [sys.executable, "-m", "hub.cli", *arguments],
            cwd=REPOSITORY,
            env=hub_environment(self.cast, role=name_role(arguments)) | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_LIMIT_S,
            check=False,
        )

    def must_run_hub(self, *arguments: str) -> str:
        """Run a command of the hub that has to succeed, and return what it printed."""
        done = self.run_hub(*arguments)
        if done.returncode != 0:
            raise AssertionError(f"hub {' '.join(arguments)} failed with {done.returncode}: {done.stderr}{done.stdout}")
        return done.stdout

    async def set_up(self) -> None:
        """Migrate the database, put the registry in force, create the topics: what three commands of the hub do."""
        services = self.cast.services
        await migrate(services.database_url)
        await _execute(services.database_url, NOTE_MOVES)
        given = json.loads((self.cast.folder / "registry.json").read_text())
        await self.change_registry(given)
        wanted = given["settings"]["topics"]
        await create_topics(Cluster(services.bootstrap, services.topic_prefix), wanted)

    async def change_registry(self, given: object) -> None:
        """Put the next version of the registry in force, with what is given in it."""
        database = await Database.open(self.cast.services.database_url, size=1)
        try:
            root = PrivateKey.from_pem(self.cast.root.file.read_bytes())
            now = datetime.now(UTC)
            edit = registration.add_participants(given, now)
            persons = [PrivateKey.from_pem(key.file.read_bytes()) for key in self.cast.person_keys.values()]
            roots = json.loads((self.cast.folder / "roots.json").read_text())
            await register(database, edit, root, now, *persons, roots=roots)
        finally:
            await database.close()

    def read_figure(self, name: str, figure: str) -> float:
        """Return the sum of one of a process' figures over all of its labels."""
        text = httpx.get(self.url(name) + "/metrics", timeout=REQUEST_LIMIT_S).text
        return sum(float(found) for found in re.findall(rf"^{figure}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE))

    def read_logs(self) -> dict[str, str]:
        """Return everything that the processes have printed, by file."""
        return {file.name: file.read_text(errors="replace") for file in self.children.log_dir.iterdir()}


def _role_of(name: str) -> str:
    """Return the process that `name` is, or is another one of: `hub-relay-b` is a second `hub-relay`."""
    return name.removesuffix("-b")


async def _execute(dsn: str, script: str) -> None:
    connection: asyncpg.Connection[Any] = await asyncpg.connect(dsn)
    try:
        await connection.execute(script)
    finally:
        await connection.close()


async def create_register(services: Services) -> None:
    """Create the ministry's register, in which the connector's role may read the outbox and write outcomes."""
    connection: asyncpg.Connection[Any] = await asyncpg.connect(services.register_owner_url)
    role = services.connector_role
    try:
        await connection.execute(REGISTER_SCHEMA.read_text())
        await connection.execute(f'GRANT USAGE ON SCHEMA register TO "{role}"')
        await connection.execute(f'GRANT SELECT ON register.outbox TO "{role}"')
        await connection.execute(f'GRANT SELECT, INSERT ON register.outcome TO "{role}"')
    finally:
        await connection.close()


@contextmanager
def open_rig(
    kafka: Kafka, postgres: Postgres, folder: Path, *, limits: Mapping[str, int] = LIMITS, bootstrap: str = ""
) -> Iterator[Rig]:
    """Set up an exchange of its own in `folder`; nothing is started. All of its processes are killed at the end."""
    number = next(_numbers)
    services = provide(kafka, postgres, number)
    if bootstrap:
        services = replace(services, bootstrap=bootstrap)
    home = folder / f"exchange-{number}"
    home.mkdir(parents=True)
    cast = call_cast(services, home, SEED, APPLICATIONS)
    change_limits(cast, limits)
    children = Children(home / "logs")
    rig = Rig(cast, children, kafka, postgres)
    try:
        asyncio.run(rig.set_up())
        yield rig
    finally:
        for child in children.list_alive():
            child.send(signal.SIGKILL)
        children.stop_all()
        kafka.delete_topics(services.topic_prefix)
