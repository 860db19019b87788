"""The alert rules and the dashboard, read by Prometheus' own tool, and the page behind every alert."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.hub.alert_cases import CASES, Case

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "hub" / "observability"
RUNBOOK = ROOT / "docs" / "runbook"
ALERTS = FOLDER / "alerts.yml"
SECTIONS = ("## What it means", "## What is safe", "## What to press", "## How to check")
SEVERITIES = {"critical", "warning"}


def read_rules() -> list[dict[str, Any]]:
    document = yaml.safe_load(ALERTS.read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


def list_queries() -> list[str]:
    """Return every query of the dashboard."""
    panels = json.loads((FOLDER / "dashboard.json").read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", [])]


def ask_promtool(*arguments: str) -> None:
    """Run promtool, and fail with what it says if it finds anything wrong."""
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("rule", read_rules(), ids=lambda rule: rule["alert"])
def test_an_alert_says_how_bad_it_is_in_both_languages_and_names_its_page(rule: dict[str, Any]) -> None:
    kebab = re.sub(r"(?<!^)(?=[A-Z])", "-", rule["alert"]).lower()
    words = rule["annotations"]
    assert rule["labels"]["severity"] in SEVERITIES
    assert words.keys() == {"summary", "summary_id", "runbook_url"}
    assert words["summary"] != words["summary_id"]
    assert words["runbook_url"] == f"docs/runbook/{kebab}.md"
    page = (ROOT / words["runbook_url"]).read_text()
    assert f"`{rule['alert']}`" in page
    assert [line for line in page.splitlines() if line.startswith("## ")] == list(SECTIONS)


def test_each_alert_has_cases_and_a_line_in_the_runbook() -> None:
    rules = read_rules()
    lines = re.findall(r"^\| `(\w+)` \| (\w+) \| \[.*\]\((.*)\) \|$", (RUNBOOK / "index.md").read_text(), re.MULTILINE)
    assert sorted(rule["alert"] for rule in rules) == sorted(CASES)
    assert lines == [
        (rule["alert"], rule["labels"]["severity"], Path(rule["annotations"]["runbook_url"]).name) for rule in rules
    ]


@pytest.mark.needs("promtool")
def test_promtool_takes_the_rules() -> None:
    ask_promtool("check", "rules", str(ALERTS))


@pytest.mark.needs("promtool")
def test_promtool_parses_every_query_of_the_dashboard(tmp_path: Path) -> None:
    queries = list_queries()
    rules = [{"record": f"panel:{number}", "expr": query} for number, query in enumerate(queries)]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert queries
    ask_promtool("check", "rules", str(file))


@pytest.mark.needs("promtool")
def test_a_query_that_does_not_parse_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "x", "rules": [{"record": "a", "expr": "sum by (a) hub"}]}]}))
    with pytest.raises(AssertionError, match="parse error"):
        ask_promtool("check", "rules", str(file))


@pytest.mark.needs("promtool")
def test_each_alert_fires_when_it_must_and_only_then(tmp_path: Path) -> None:
    tests = [one for name, case in CASES.items() for one in (_trial(name, case, True), _trial(name, case, False))]
    file = tmp_path / "alerts.test.yml"
    file.write_text(yaml.safe_dump({"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": tests}))
    ask_promtool("test", "rules", str(file))


def _trial(name: str, case: Case, broken: bool) -> dict[str, Any]:
    """Return a trial of one alert in promtool's form."""
    fired = [{"labels": f'{{alertname="{name}"}}', "value": 1}] if broken else []
    series = case.broken if broken else case.well
    return {
        "interval": "1m",
        "name": f"{name}, {'broken' if broken else 'well'}",
        # Without any series promtool evaluates nothing.
        "input_series": [{"series": key, "values": values} for key, values in {**series, "time": "0x90"}.items()],
        "promql_expr_test": [
            {
                "expr": f'count by (alertname) (ALERTS{{alertname="{name}", alertstate="firing"}})',
                "eval_time": f"{case.after}m",
                "exp_samples": fired,
            }
        ],
    }
