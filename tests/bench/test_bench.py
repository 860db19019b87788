"""The bench's own command works, at a size that says nothing about speed."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from devstack.kafka import Kafka
from devstack.postgres import Postgres
from tests.bench import evidence
from tests.bench.agencies import judge
from tests.bench.figures import Span, find_percentile, join
from tests.bench.pages import PAGES
from tests.bench.traffic import LIFE, PARTITIONS, Traffic
from tests.bench.watch import FAULTS, FAULTS_SMALL, FRESH_S_MAX, measure_watch, read_delays
from tests.pages import crowd

REPOSITORY = Path(__file__).parents[2]
LIMIT_S = 170


def run_small(folder: Path, *parts: str) -> dict[str, Any]:
    """Run `python -m tests.bench --small` for these parts and return what it wrote, by the file's name."""
    command = [sys.executable, "-m", "tests.bench", "--small", "--into", str(folder)]
    command += [word for part in parts for word in ("--part", part)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return {file.stem: json.loads(file.read_text()) for file in folder.iterdir()}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the bench wrote of the exchange and of the agencies."""
    return run_small(tmp_path_factory.mktemp("bench"), "exchange", "agencies")


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the bench wrote of the evidence log."""
    return run_small(tmp_path_factory.mktemp("bench"), "log")["log"]  # type: ignore[no-any-return]


def test_it_judges_a_year_and_finds_each_misdeed_once(tmp_path: Path) -> None:
    year = run_small(tmp_path, "year")["year"]
    assert year["findings"] == 12
    assert year["facts"] > 10 * year["files"]
    assert min(year["findings_s"], year["clocks_s"], year["statistics_s"]) > 0


def test_it_measures_how_fresh_a_page_is_and_how_soon_a_fault_is_told(
    kafka_cluster: Kafka, postgres_server: Postgres, tmp_path: Path
) -> None:
    watched, rows = measure_watch(kafka_cluster, postgres_server, tmp_path, small=True)
    assert 0 < watched["fresh"]["p50_s"] <= watched["fresh"]["longest_s"] <= FRESH_S_MAX
    assert [one["alert"] for one in watched["faults"]] == [fault.alert for fault in FAULTS_SMALL]
    assert all(0 < one["shows_s"] < one["told_s"] for one in watched["faults"])
    assert len(rows) == 1 + len(FAULTS_SMALL)
    assert {fault.alert for fault in FAULTS} <= read_delays().keys()


def test_it_times_every_page_and_explains_every_list(tmp_path: Path) -> None:
    pages = run_small(tmp_path, "pages")["pages"]
    assert {one["page"] for one in pages["pages"]} == {*PAGES, "search"}
    assert all(0 < one["p50_ms"] <= one["p95_ms"] <= one["longest_ms"] for one in pages["pages"])
    assert pages["plans"].keys() == crowd.STATEMENTS.keys()


def test_it_measures_every_section(results: dict[str, Any]) -> None:
    assert results.keys() == {"single", "batch", "latency", "growth", "agencies"}
    for signing in ("single", "batch"):
        rate, floor = results[signing]["rate"], results[signing]["floor"]
        assert rate["messages"] == floor["messages"] == 2_000
        assert rate["cpu_s"].keys() == {"intake", "relay", "postgresql", "broker"}
        assert floor["cpu_s"].keys() == {"floor", "postgresql", "broker"}
        assert rate["per_cpu_second"] > 0
    assert results["latency"]["recommendations"] > 0
    assert 0 < results["latency"]["p50_ms"] <= results["latency"]["p99_ms"]
    assert all(used["intake"] > 0 for used in results["growth"]["resident_mib_by_messages"].values())


def test_it_measures_a_database_that_keeps_what_it_commits(results: dict[str, Any]) -> None:
    assert results["batch"]["postgresql"] == {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}


def test_it_measures_what_the_evidence_log_costs_and_gives(log: dict[str, Any]) -> None:
    assert log["log_us"].keys() == {"sequencer", "witness", "postgresql"}
    assert log["share"] > 0
    assert log["proved"]["cpu_s"].keys() == log["plain"]["cpu_s"].keys() | {"sequencer", "witness"}
    assert 0 < log["latency"]["p50_ms"] <= log["latency"]["p99_ms"]
    assert log["pack"]["seconds"] > 0
    assert log["bytes"]["topics"].keys() == {"from", "to", "recommendations"}
    assert min(log["bytes"]["tables"][table] for table in ("inbox", "leaves", "outbox")) > 0
    assert 0 < log["proof"]["p50_ms"] <= log["proof"]["p99_ms"]
    assert log["monitor"]["per_second"] > 0


def test_it_measures_each_agency(results: dict[str, Any]) -> None:
    agencies = results["agencies"]
    assert agencies.keys() == {"snap_asymmetric", "snap_symmetric", "camt", "camt_memory", "outbox", "valid"}
    for kind in ("snap_asymmetric", "snap_symmetric"):
        assert 0 < agencies[kind]["p50_ms"] <= agencies[kind]["p99_ms"]
        assert agencies[kind]["cpu_us"].keys() == {"door", "client"}
    assert all(agencies[section]["per_second"] > 0 for section in ("camt", "outbox", "valid"))
    assert agencies["camt_memory"]["peak_mib"] > 0


def test_a_figure_that_misses_its_aim_is_told() -> None:
    taken = {"per_second": 499.0, "p99_ms": 99.0, "cpu_us": {"door": 500.0, "client": 50.0}}
    figures = {
        "snap_asymmetric": taken,
        "snap_symmetric": {**taken, "per_second": 500.0, "p99_ms": 100.0},
        "camt": {"entries": 10_000, "seconds": 5.1, "cpu_us": 200.0},
        "camt_memory": {"entries": 100_000, "peak_mib": 149.0},
        "outbox": {"rows": 50_000, "per_second": 4_999.0, "cpu_us": 90.0},
        "valid": {"recommendations": 100_000, "per_second": 4_000.0, "p99_ms": 9.9, "cpu_us": 200.0},
    }
    assert [row.met for row in judge(figures)] == [False, True, True, False, False, True, False, True]


def test_what_the_log_misses_is_told() -> None:
    figures: dict[str, Any] = {
        "share": 0.05,
        "difference": 0.051,
        "log_us": {"sequencer": 10.0},
        "plain": {"costs_us": {"relay": 40.0}},
        "proved": {"costs_us": {"relay": 50.0}},
        "latency": {"per_second": 1_000.0, "p99_ms": 301.0},
        "pack": {"seconds": 1.0, "cpu_s": 0.4},
        "proof": {"leaves": 1_000_000, "p99_ms": 5.0, "p99_cpu_ms": 1.0},
        "monitor": {"leaves": 200_000, "per_second": 10_000.0, "per_cpu_second": 60_000.0},
    }
    assert [row.met for row in evidence.judge(figures)] == [True, False, False, True, False, True]


def test_a_day_has_every_stage_once_the_first_permits_are_through() -> None:
    traffic = Traffic(cohort=2, signing="batch")
    lengths = [len(traffic.next_day()) for _ in range(len(LIFE) + 1)]
    assert lengths == [2 * (age + 1) for age in range(len(LIFE))] + [traffic.messages_a_day]
    day = traffic.next_day()
    assert {message.type for message in day} == {stage.type for stage in LIFE}
    assert {message.topic for message in day} == {f"from.{name}" for name in PARTITIONS}


def test_spans_join_without_what_was_between_them() -> None:
    joined = join([Span(10, 1.0, {"intake": 0.5}), Span(30, 1.0, {"intake": 0.25, "relay": 0.25})])
    assert (joined.messages, joined.per_second, joined.per_cpu_second) == (40, 20.0, 40.0)


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(number) for number in range(1, 101)]
    assert [find_percentile(values, share) for share in (0.5, 0.99, 1.0)] == [50.0, 99.0, 100.0]
