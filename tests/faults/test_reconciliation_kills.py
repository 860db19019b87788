"""SIGKILL before and after each durable step of reconciliation: a difference is opened and closed, a day reported.

So too while days are counted, and while what a participant says of them is compared.

The operator's own commands are killed, which do what the process `deadlines` does in time.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts.wire.record import Record
from hub import fsck
from hub.failpoint import POINTS
from tests.faults.armed import write_order
from tests.faults.background import Background
from tests.faults.rig import COMMAND_LIMIT_S, REPOSITORY
from tests.hub.exchange import Exchange

CLOCK_RULE = "hub.clock:utc_now=tests.faults.clocks:read_ahead"
# By then money of today must be booked, whatever holidays there are.
LATER_H = 24 * 30
KILL_POINTS = [point for point in POINTS if point.startswith(("deadlines.", "reconciler."))]

COUNT_POINTS = [point for point in POINTS if point.startswith("counts.")]


class Operator:
    """Somebody who reconciles the money of one exchange, in processes of their own that a test can kill."""

    def __init__(self, exchange: Exchange, dsn: str, folder: Path, background: Background) -> None:
        self.exchange = exchange
        self._background = background
        self._order = folder / "order"
        root, clock = folder / "root.jwk.json", folder / "clock"
        root.write_text(json.dumps(exchange.root.public.jwk))
        clock.write_text(str(LATER_H))
        own = {"DATABASE_URL": dsn, "TRUST_ROOT_FILE": str(root), "FAULT_CLOCK": str(clock)}
        self._environment = os.environ | own | {"FAULT_REPLACE": CLOCK_RULE, "FAULT_ORDER": str(self._order)}

    def kill_at(self, point: str) -> None:
        """Let the next command that passes a point end itself there."""
        write_order(self._order, point, 1, signal.SIGKILL)

    def reconcile(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of `hub reconcile`."""
        return self.hub("reconcile", *words)

    def hub(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of the hub."""
        return subprocess.run(
            [sys.executable, "-m", "tests.faults.armed", "hub.cli", *words],
            cwd=REPOSITORY,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_LIMIT_S,
            check=False,
        )

    def run(self, words: tuple[str, ...], point: str | None) -> None:
        """Run a command; if it is killed at a point, run it again."""
        if point is not None:
            self.kill_at(point)
            killed = self.reconcile(*words)
            assert killed.returncode == -signal.SIGKILL, killed.stderr
        done = self.reconcile(*words)
        # What was done before the kill is not done again, and the command says that there is nothing to close.
        closed_before = point == "reconciler.after_close_commit"
        assert done.returncode == closed_before, done.stderr

    def news(self, topic: str, name: str) -> list[dict[str, Any]]:
        """Return what a participant was told."""
        sent = self._background.run(self.exchange.sent(topic))
        return [event["data"] for event in sent if event["type"] == f"id.tka.hub.{name}.v1"]

    def take(self, record: Record) -> int:
        """Let the hub take a message in; return how many it accepted."""
        return self._background.run(self.exchange.take(record)).accepted

    def fetch(self, query: str) -> list[Any]:
        """Return the rows of a query."""

        async def fetch() -> list[Any]:
            async with self.exchange.database.connection() as connection:
                return list(await connection.fetch(query))

        return self._background.run(fetch())

    def breaches(self) -> list[str]:
        """Return what `hub fsck` finds: it refolds differences and reports, whose bytes must be the same again."""
        return [str(one) for one in self._background.run(fsck.check(self.exchange.database))]


@pytest.fixture
def operator(database: str, tmp_path: Path) -> Iterator[Operator]:
    """Give an exchange in which a bank told of money that it never booked."""
    with Background() as background:

        async def begin() -> Exchange:
            exchange = await Exchange.open(database)
            await exchange.take(exchange.ministry.sign(exchange.ministry.billed()))
            taken = await exchange.take(exchange.bri.sign(exchange.bri.paid()))
            assert taken.accepted == 1
            return exchange

        exchange = background.run(begin())
        yield Operator(exchange, database, tmp_path, background)
        background.run(exchange.database.close())


def test_the_points_are_all_here() -> None:
    assert {point.partition(".")[2] for point in COUNT_POINTS} == {
        "before_commit",
        "after_commit",
        "before_judged_commit",
    }
    steps = {"before_commit", "before_close_commit", "before_report_commit"}
    assert {point.partition(".")[2] for point in KILL_POINTS} == steps | {
        step.replace("before", "after") for step in steps
    }


@pytest.mark.parametrize("point", KILL_POINTS)
def test_kill(point: str, operator: Operator) -> None:
    closing = "close" in point
    operator.run(("run", "--bank", "bri"), None if closing else point)
    (opened,) = operator.news("to.bri", "difference.opened")
    assert operator.news("to.ministry", "difference.opened") == [opened]
    close = ("close", opened["difference_id"], "--reason", "Refunded.", "--actor", "sari")
    operator.run(close, point if closing else None)
    for topic in ("to.bri", "to.ministry"):
        assert [one["reason"] for one in operator.news(topic, "difference.closed")] == ["closed"]
        (reported,) = operator.news(topic, "reconciliation.reported")
    assert len(operator.fetch("SELECT 1 FROM leaves WHERE position('close_difference'::bytea IN entry) > 0")) == 1
    assert [row["state"] for row in operator.fetch("SELECT state FROM differences")] == ["closed"]
    (kept,) = operator.fetch("SELECT sha256, revision FROM reconciliation_reports")
    assert (kept["sha256"], kept["revision"]) == (reported["sha256"], 1)
    shown = json.loads(operator.reconcile("show", "--all", "--json").stdout)
    assert [one["state"] for one in shown["differences"]] == ["closed"]
    assert operator.breaches() == []


@pytest.mark.parametrize("point", COUNT_POINTS)
def test_kill_while_days_are_counted(point: str, operator: Operator) -> None:
    judging = "judged" in point
    if judging:
        assert operator.hub("counts", "make").returncode == 0
        (hub,) = operator.news("to.bri", "count.reported")
        (counted,) = hub["sources"]
        source, (sent,) = counted.pop("source"), hub["sent"]
        data = {name: hub[name] for name in ("participant", "day", "first_index", "log_size")}
        data |= {"revision": 1, "source": source, "counted": counted, "verdict": "agrees", "rebuilt_at": None}
        data["received"] = sent["last"] - sent["first"] + 1
        bri = operator.exchange.bri
        stated = bri.sign(bri.write("id.tka.bank.count.stated.v1", data, "BRI"))
        assert operator.take(stated) == 1
    operator.kill_at(point)
    killed = operator.hub("counts", "make")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert operator.hub("counts", "make").returncode == 0
    for topic in ("to.bri", "to.mandiri", "to.ministry", "to.immigration"):
        assert len(operator.news(topic, "count.reported")) == 1, topic
    assert len(operator.fetch('SELECT 1 FROM leaves WHERE position(\'"kind":"count"\'::bytea IN entry) > 0')) == 4
    shown = {one["participant"]: one["verdict"] for one in json.loads(operator.hub("counts", "show", "--json").stdout)}
    assert shown.pop("bri") == ("agrees" if judging else "waiting")
    assert set(shown.values()) == {"waiting"}
    assert operator.breaches() == []
