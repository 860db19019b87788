"""The bench's own command works, at a size that says nothing about speed."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.bench.agencies import judge
from tests.bench.figures import Span, find_percentile, join
from tests.bench.traffic import LIFE, PARTITIONS, Traffic

REPOSITORY = Path(__file__).parents[2]
LIMIT_S = 150


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Run `python -m tests.bench --small` and return what it wrote, by the file's name."""
    folder = tmp_path_factory.mktemp("bench")
    command = [sys.executable, "-m", "tests.bench", "--small", "--into", str(folder)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return {file.stem: json.loads(file.read_text()) for file in folder.iterdir()}


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
