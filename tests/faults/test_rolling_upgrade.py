"""docs/how-to/upgrade.md: a release is rolled out process by process, and messages go on all the while.

The next release is made here: today's code with one more revision of the schema, which expands it. The one before is
taken from the repository's history, where that is here: the code as it was before the newest revision of the schema.
"""

import io
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack.kafka import Kafka
from devstack.postgres import Postgres
from hub.store import schema
from tests.faults.exchange import Exchange, open_exchange
from tests.faults.rig import REPOSITORY
from tests.history import find_release_before

PAGE = REPOSITORY / "docs" / "how-to" / "upgrade.md"
NEXT = 9999
ORDER = ("hub-api", "hub-sequencer", "hub-deadlines", "hub-relay", "hub-intake-1")
OF_THE_RIG = "The table fault_moves is not one of the hub's."
REVISION = f'''"""What the next release adds, and no hub before it looks at."""

from alembic import op

revision = "{NEXT}"
down_revision = "{schema.newest_version()}"
branch_labels = None
depends_on = None
FLOOR = "{schema.newest_version()}"


def upgrade() -> None:
    op.execute("ALTER TABLE cases ADD COLUMN of_next text; ALTER TABLE outbox ADD COLUMN of_next text DEFAULT 'new'")
    op.execute("CREATE TABLE of_next (id bigint PRIMARY KEY)")
'''


@pytest.fixture
def own(kafka_cluster: Kafka, postgres_server: Postgres, tmp_path: Path) -> Iterator[Exchange]:
    """Give an exchange that only this test has; nothing of it is started."""
    with open_exchange(kafka_cluster, postgres_server, tmp_path) as exchange:
        yield exchange


@pytest.fixture
def release(tmp_path: Path) -> dict[str, str]:
    """Give the environment in which the next release's code runs."""
    folder = tmp_path / "next"
    shutil.copytree(REPOSITORY / "hub", folder / "hub", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("contracts", "keys", "tests", "devstack"):
        (folder / name).symlink_to(REPOSITORY / name)
    (folder / "hub/store/migrations/versions" / f"{NEXT}_next.py").write_text(REVISION)
    with (folder / "hub/store/privileges.toml").open("a") as matrix:
        matrix.write('\n[of_next]\nselect = ["api"]\n')
    # Else the working folder's code would come first.
    return {"PYTHONPATH": str(folder), "PYTHONSAFEPATH": "1"}


def list_commands() -> list[list[str]]:
    """Return the hub's commands that the page names, in order."""
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    return [line.split()[1:] for block in blocks for line in block.splitlines()]


def test_a_release_is_rolled_out_under_load(own: Exchange, release: dict[str, str]) -> None:
    migrate, *checks = list_commands()
    own.begin()
    telling = own.load(3)
    done = own.rig.run_hub(*migrate, **release)
    assert (done.returncode, str(NEXT) in done.stdout) == (0, True), done.stderr
    # A process of the release before that dies meanwhile comes back and works on.
    own.rig.kill("hub-intake-1")
    own.rig.start("hub-intake-1")
    own.rig.wait_ready("hub-intake-1")
    for name in ORDER:
        telling += own.load(1)
        replace(own, name, release, int(schema.newest_version()), NEXT)
    own.settle(telling)
    assert own.findings() == []
    for command in checks:
        found = own.rig.run_hub(*command, **release)
        # The rig keeps a table of its own in the database, which the hub rightly takes for a stranger's.
        assert found.returncode == 0 or found.stdout.strip() == OF_THE_RIG, found.stdout + found.stderr
    before = own.rig.run_hub("fsck")
    assert before.returncode == 0, before.stdout + before.stderr
    refused = own.rig.run_hub("migrate")
    assert (refused.returncode, "use the newer hub's" in refused.stderr) == (2, True)


@pytest.mark.needs("the release before")
def test_the_release_before_works_beside_this_one(own: Exchange, tmp_path: Path) -> None:
    before = find_release_before()
    assert before is not None
    folder = tmp_path / "before"
    unpack(before.commit, folder)
    environment = {"PYTHONPATH": str(folder), "PYTHONSAFEPATH": "1"}
    own.rig.extra |= dict.fromkeys(ORDER, environment)
    own.begin()
    telling = own.load(3)
    for name in ORDER:
        telling += own.load(1)
        replace(own, name, {"PYTHONPATH": str(REPOSITORY)}, int(before.schema), int(schema.newest_version()))
    own.settle(telling)
    assert own.findings() == []


def unpack(commit: str, folder: Path) -> None:
    """Lay out the shipped code of a commit, beside today's tests."""
    archive = subprocess.run(
        ["git", "archive", "--format=tar", commit, "hub", "contracts", "keys", "connectors"],
        cwd=REPOSITORY, capture_output=True, check=True,
    ).stdout  # fmt: skip
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        opened.extractall(folder, filter="data")
    for name in ("tests", "devstack"):
        (folder / name).symlink_to(REPOSITORY / name)


def replace(exchange: Exchange, name: str, release: dict[str, str], before: int, after: int) -> None:
    """Stop a process in order and start the next release's in its place, as the page says."""
    rig, old = exchange.rig, exchange.rig.running[name]
    assert rig.read_figure(name, "hub_schema_version") == before
    rig.stop(name)
    assert old.returncode == 0, old.read_log_tail()
    assert "hub.part_cut_off" not in old.read_log()
    rig.extra[name] = {**rig.extra.get(name, {}), **release}
    rig.start(name)
    rig.wait_ready(name)
    assert rig.read_figure(name, "hub_schema_version") == after
