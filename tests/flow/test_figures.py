"""What the running exchange shows to Prometheus: all that alerts and dashboard ask for, and of nobody's person."""

import json
import re
from collections.abc import Callable, Mapping

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from contracts.errors import Code
from contracts.events import EVENTS
from tests.faults.exchange import Exchange
from tests.faults.rig import EVERYTHING, REQUEST_LIMIT_S
from tests.hub.test_alerts import list_queries, read_rules

PROCESSES = [name for name in EVERYTHING if name != "witness"]
# What Prometheus itself adds, of each target and of each alert.
OF_PROMETHEUS = {
    "up": {"job", "instance"},
    "ALERTS": {"alertname", "alertstate", "severity"},
    "ALERTS_FOR_STATE": set(),
}
LABELS_OF_TARGETS = {"job", "instance"}
METRIC = re.compile(r"\b(?:hub|tkahub_connector)_[a-z_]+|\bup\b|\bALERTS(?:_FOR_STATE)?\b")
SELECTOR = re.compile(r"([A-Za-z_]+)\{([^}]*)\}")
GROUPING = re.compile(r"\bby \(([^)]*)\)")

Shown = dict[str, set[str]]
Series = tuple[str, tuple[tuple[str, str], ...]]


def read_series(exchange: Exchange) -> tuple[Shown, set[Series]]:
    """Return the labels of each figure that any process shows, and every series that there is."""
    shown: Shown = {}
    series: set[Series] = set()
    for name in PROCESSES:
        text = httpx.get(exchange.rig.url(name) + "/metrics", timeout=REQUEST_LIMIT_S).text
        for family in text_string_to_metric_families(text):
            # A figure with labels of which nothing was counted yet is shown by its name alone.
            shown.setdefault(family.name + ("_total" if family.type == "counter" else ""), set())
            for sample in family.samples:
                shown.setdefault(sample.name, set()).update(sample.labels)
                series.add((sample.name, tuple(sorted(sample.labels.items()))))
    return shown, series


def list_used(query: str) -> list[tuple[str, set[str]]]:
    """Return the figures that a query asks for, with the labels that it selects or groups them by."""
    selected = {
        name: {re.split(r"[!=~]", part)[0].strip() for part in labels.split(",")}
        for name, labels in SELECTOR.findall(query)
    }
    grouped = {label.strip() for labels in GROUPING.findall(query) for label in labels.split(",")}
    # Names of labels may look like figures.
    bare = re.sub(r"\{[^}]*\}|\bby \([^)]*\)", "", query)
    return [(name, selected.get(name, set()) | grouped) for name in METRIC.findall(bare)]


def find_unshown(queries: list[str], shown: Mapping[str, set[str]]) -> list[str]:
    """Return what the queries ask for and nobody shows."""
    faults = []
    for query in queries:
        for name, labels in list_used(query):
            known = OF_PROMETHEUS.get(name) or shown.get(name)
            if known is None and name not in OF_PROMETHEUS:
                faults.append(f"{name} is not shown: {query}")
            # Labels of a figure that nothing was counted of are not seen from outside.
            elif known and (lacking := labels - known - LABELS_OF_TARGETS):
                faults.append(f"{name} has no {', '.join(sorted(lacking))}: {query}")
    return faults


@pytest.fixture
def figures(exchange: Exchange) -> tuple[Shown, set[Series]]:
    """Give what is shown after some traffic."""
    exchange.settle(exchange.load(2))
    return read_series(exchange)


def test_whatever_alerts_and_dashboard_ask_for_is_shown(figures: tuple[Shown, set[Series]]) -> None:
    queries = [rule["expr"] for rule in read_rules()] + list_queries()
    assert find_unshown(queries, figures[0]) == []


@pytest.mark.parametrize(
    "query", ["sum(hub_log_length)", "sum by (unit) (hub_intake_lag_messages)", 'hub_relay_leading{subject="x"}']
)
def test_what_nobody_shows_is_found(figures: tuple[Shown, set[Series]], query: str) -> None:
    assert find_unshown([query], figures[0])


def test_labels_hold_names_of_the_exchange_alone(exchange: Exchange, figures: tuple[Shown, set[Series]]) -> None:
    allowed = _write_vocabulary(exchange)
    strange = [
        (name, label, value)
        for name, labels in figures[1]
        for label, value in labels
        if name.startswith(("hub_", "tkahub_")) and not (label in allowed and allowed[label](value))
    ]
    assert strange == []


def _write_vocabulary(exchange: Exchange) -> dict[str, Callable[[str], bool]]:
    """Return, for each label there is, whether it may have a value: each is one of a closed list, or a number's."""
    registry = json.loads((exchange.rig.cast.folder / "registry.json").read_text())
    topics = set(registry["settings"]["topics"])
    parties = {one["id"] for one in registry["participants"]}
    sources = {source for one in registry["participants"] for source in one["sources"]}
    words = re.compile(r"[a-z_]{1,24}").fullmatch
    streams = {f"stream {topic}/{n}" for topic in topics for n in range(registry["settings"]["topics"].get(topic, 0))}
    parts = {"intake", "relay", "deadlines", "sequencer", "api"} | {f"relay {topic}" for topic in topics}
    a_word: Callable[[str], bool] = lambda value: words(value) is not None  # noqa: E731
    return {
        "topic": topics.__contains__,
        "partition": str.isdigit,
        "participant": parties.__contains__,
        "source": sources.__contains__,
        "code": lambda value: value in set(Code) or a_word(value) or re.fullmatch(r"\d{7}", value) is not None,
        "type": EVENTS.keys().__contains__,
        "part": parts.__contains__,
        "what": lambda value: value in streams or value == "hub API" or a_word(value),
        "route": lambda value: value == "unknown" or value.startswith("/"),
        "status": lambda value: re.fullmatch(r"\d{3}", value) is not None,
        "le": lambda value: re.fullmatch(r"[0-9.]+|\+Inf", value) is not None,
        "witness": lambda value: value.endswith("/witness"),
        "url": lambda value: value.startswith("http://127.0.0.1:"),
        "office": lambda value: re.fullmatch(r"[a-z0-9-]{1,32}", value) is not None,
    } | dict.fromkeys(("disposition", "state", "outcome", "kind", "verdict", "found", "became", "task", "name"), a_word)
