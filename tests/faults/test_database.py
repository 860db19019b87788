"""PostgreSQL restarted, cut off at COMMIT, and without room on its disk: nothing is lost, nothing is doubled."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from devstack.kafka import Kafka
from devstack.postgres import UNPRIVILEGED_USER, Postgres, start_postgres
from devstack.run import Run
from tests.faults.background import wait_until
from tests.faults.exchange import Exchange, open_exchange
from tests.faults.proxy import CommitCutter

APPLICATIONS = 6
CUT_EVERY = 3
CUTS_MIN = 3
LIMIT_S = 60.0
SMALL_DISK_BYTES = 40 * 1024 * 1024


def tell(exchange: Exchange, applications: int) -> None:
    """Tell so many applications to the end; what becomes of it goes on meanwhile."""
    for telling in exchange.load(applications):
        telling.result()


def test_server_restarts(kafka_cluster: Kafka, tmp_path: Path) -> None:
    with Run() as run:
        postgres = start_postgres(run)
        with open_exchange(kafka_cluster, postgres, tmp_path) as exchange:
            exchange.begin()
            for harshly in (False, True):
                tell(exchange, APPLICATIONS)
                restart(postgres, harshly)
            exchange.settle(exchange.load(1))
            assert exchange.findings() == []
        postgres.close()


def restart(postgres: Postgres, harshly: bool) -> None:
    """End the server, in order or as in a crash, and start it again."""
    assert postgres.server is not None
    if harshly:
        postgres.server.kill()
    else:
        postgres.server.stop()
    # A postmaster that was killed leaves children behind, which end as soon as they notice.
    wait_until("the server starts again", lambda: _starts(postgres), LIMIT_S)


def _starts(postgres: Postgres) -> bool:
    assert postgres.server is not None
    postgres.server.start()
    child = postgres.server.child
    assert child is not None
    wait_until("it serves or ends", lambda: not child.is_alive() or _serves(postgres), LIMIT_S)
    return child.is_alive()


def _serves(postgres: Postgres) -> bool:
    try:
        return bool(postgres.fetch_values("SELECT 1") == [1])
    except Exception:  # noqa: BLE001  # Whatever it is: it does not serve yet.
        return False


@pytest.mark.parametrize("delivered", [True, False], ids=["the server has it", "the server has it not"])
@pytest.mark.parametrize("process", ["hub-intake-1", "hub-deadlines"])
def test_connection_is_cut_at_commit(process: str, delivered: bool, exchange: Exchange) -> None:
    dsn = exchange.rig.cast.services.logins[process.split("-")[1]]
    with CommitCutter(exchange.background, dsn, delivered=delivered, every=CUT_EVERY) as cutter:
        exchange.rig.stop(process)
        # Small transactions, so that there are commits enough to cut, whoever owns the partitions.
        exchange.rig.extra[process] = {"DATABASE_URL": cutter.dsn, "INTAKE_BATCH_SIZE": "5"}
        exchange.rig.start(process)
        telling = exchange.load(APPLICATIONS)
        wait_until("some commits were cut", lambda: cutter.cuts >= CUTS_MIN, LIMIT_S)
        cutter.armed = False
        exchange.settle(telling)
        assert exchange.findings() == []
        exchange.rig.stop(process)
    del exchange.rig.extra[process]
    exchange.rig.start(process)


@contextmanager
def small_disk(run: Run) -> Iterator[Path]:
    """Give the server's user a file system of SMALL_DISK_BYTES of its own."""
    folder = run.folder / "small-disk"
    folder.mkdir()
    options = f"size={SMALL_DISK_BYTES},mode=0700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)
    try:
        shutil.chown(folder, UNPRIVILEGED_USER)
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.needs("root")
def test_disk_is_full(kafka_cluster: Kafka, stack_run: Run, postgres_server: Postgres, tmp_path: Path) -> None:
    with small_disk(stack_run) as disk, open_exchange(kafka_cluster, postgres_server, tmp_path) as exchange:
        database = urlsplit(exchange.rig.cast.services.database_url).path.removeprefix("/")
        postgres_server.execute(
            f"CREATE TABLESPACE small LOCATION '{disk}'", f'ALTER DATABASE "{database}" SET TABLESPACE small'
        )
        try:
            exchange.begin()
            exchange.settle(exchange.load(1))
            filler = disk / "filler"
            fill(filler)
            telling = exchange.load(4 * APPLICATIONS)
            intake = exchange.rig.running["hub-intake-1"]
            wait_until("the disk is full", lambda: "DiskFullError" in intake.read_log(), LIMIT_S)
            filler.unlink()
            exchange.settle(telling)
            assert exchange.findings() == []
        finally:
            exchange.rig.kill(*exchange.rig.running)
            postgres_server.execute(f'DROP DATABASE "{database}" WITH (FORCE)', "DROP TABLESPACE small")


def fill(filler: Path) -> None:
    """Fill a file system to its last page."""
    with filler.open("wb") as file:
        space = os.statvfs(filler.parent)
        os.posix_fallocate(file.fileno(), 0, space.f_bavail * space.f_frsize)
