"""How fresh an applicant's page is, and how soon a fault is told: an exchange of real processes, watched from outside.

Freshness runs from the row in the ministry's own outbox to the page that shows it to the applicant: the connector reads
and signs it, Kafka carries it, the hub takes it in; the page in a browser renews itself a while later. A fault is told
when an alert of `hub/observability/alerts.yml` fires: measured is when its condition shows in what the processes tell
Prometheus; its `for` and one interval each of scraping and evaluating, as docs/operations.md asks, are added.
"""

import re
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import yaml

from devstack.agencies.scenario import Application, give_secret
from devstack.kafka import Kafka
from devstack.postgres import Postgres
from hub.web.pages.public import FILE_REFRESH_S
from tests.bench.agencies import Row
from tests.bench.figures import find_percentile
from tests.bench.installation import BenchFailed
from tests.faults.background import wait_until
from tests.faults.exchange import Exchange, open_exchange

FRESH_S_MAX = 60
TOLD_S_MAX = 60
SCRAPE_S = 10.0
EVALUATE_S = 10.0
REQUEST_LIMIT_S = 2.0
APPLICATIONS = 12
APPLICATIONS_SMALL = 1
STEPS_EACH = 4
ALERTS = Path(__file__).parents[2] / "hub" / "observability" / "alerts.yml"
PAGE_HEADERS = {"accept": "text/html", "accept-language": "en", "sec-fetch-site": "same-origin"}
FORGED = r'code="(?:signature_invalid|equivocation)"'


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault, the alert that tells it, and how its condition shows in what processes tell Prometheus."""

    alert: str
    what: str
    inject: Callable[[Exchange], None]
    shows: Callable[[Exchange], bool]
    process: str = ""


def read_metrics(exchange: Exchange, process: str) -> str:
    """Return what a process tells Prometheus; nothing where it does not answer, as a scrape would find."""
    try:
        return httpx.get(exchange.rig.url(process) + "/metrics", timeout=REQUEST_LIMIT_S).text
    except httpx.HTTPError:
        return ""


def _count_forged(exchange: Exchange) -> float:
    text = read_metrics(exchange, "hub-intake-1")
    found = re.findall(rf"^hub_intake_refusals_total{{[^}}]*{FORGED}[^}}]*}} (\S+)$", text, re.MULTILINE)
    return sum(map(float, found))


def _leads(exchange: Exchange, process: str, figure: str) -> bool:
    return f"\n{figure} 1.0" in read_metrics(exchange, process)


def _kill(process: str) -> Callable[[Exchange], None]:
    return lambda exchange: exchange.rig.kill(process)


def _freeze(process: str) -> Callable[[Exchange], None]:
    return lambda exchange: exchange.rig.running[process].send(signal.SIGSTOP)


def _is_silent(process: str) -> Callable[[Exchange], bool]:
    return lambda exchange: not read_metrics(exchange, process)


FAULTS = (
    Fault("HubProcessDown", "the relay is killed", _kill("hub-relay"), _is_silent("hub-relay"), "hub-relay"),
    Fault("HubProcessDown", "an intake is frozen", _freeze("hub-intake-1"), _is_silent("hub-intake-1"), "hub-intake-1"),
    Fault(
        "NobodyWatchesClocks", "the deadlines are killed", _kill("hub-deadlines"),
        lambda exchange: not _leads(exchange, "hub-deadlines", "hub_deadlines_leading"), "hub-deadlines",
    ),
    Fault(
        "LogNotSigned", "the sequencer is killed", _kill("hub-sequencer"),
        lambda exchange: not _leads(exchange, "hub-sequencer", "hub_sequencer_leading"), "hub-sequencer",
    ),
    Fault(
        "ForgerySuspected", "forged messages come", lambda exchange: exchange.natives.make_trouble(),
        lambda exchange: _count_forged(exchange) > 0,
    ),
    Fault(
        "ConnectorDown", "a bank's connector is killed", _kill("connector-bri"), _is_silent("connector-bri"),
        "connector-bri",
    ),
)  # fmt: skip

FAULTS_SMALL = FAULTS[-2:]


def read_delays() -> dict[str, float]:
    """Return for how many seconds the condition of each alert must hold."""
    units = {"s": 1, "m": 60, "h": 3_600}
    rules = [rule for group in yaml.safe_load(ALERTS.read_text("utf-8"))["groups"] for rule in group["rules"]]
    return {rule["alert"]: _seconds(str(rule.get("for", "0s")), units) for rule in rules}


def _seconds(text: str, units: dict[str, int]) -> float:
    return float(text[:-1]) * units[text[-1]]


@contextmanager
def signed_in(exchange: Exchange, application: Application) -> Iterator[httpx.Client]:
    """Give the browser of an applicant who opened the own file. Raises BenchFailed."""
    with httpx.Client(base_url=exchange.rig.url("hub-api"), headers=PAGE_HEADERS) as browser:
        form = {"application": application.number, "secret": give_secret(application.number)}
        answer = browser.post("/status", data=form)
        if answer.status_code != httpx.codes.SEE_OTHER:
            raise BenchFailed(f"The applicant was answered {answer.status_code}.")
        yield browser


def _count_steps(browser: httpx.Client) -> int:
    return browser.get("/status/file").text.count("<time datetime=")


def _shows_more(browser: httpx.Client, steps: int) -> bool:
    return _count_steps(browser) > steps


def measure_freshness(exchange: Exchange, applications: int) -> list[float]:
    """Return the seconds from each row of the ministry's until the applicant's page showed it."""
    taken = []
    for application in exchange.natives.deal(applications):
        first, *rest = exchange.natives.rows_of([application])[:STEPS_EACH]
        exchange.natives.write_rows([first])
        wait_until("the submission was taken in", partial(_is_known, exchange, application), FRESH_S_MAX)
        with signed_in(exchange, application) as browser:
            for row in rest:
                shown = _count_steps(browser)
                began = time.monotonic()
                exchange.natives.write_rows([row])
                wait_until("the page shows it", partial(_shows_more, browser, shown), FRESH_S_MAX)
                taken.append(time.monotonic() - began)
    return taken


def _is_known(exchange: Exchange, application: Application) -> bool:
    return bool(exchange.observer.fetch(f"SELECT 1 FROM inbox WHERE subject = '{application.number}'"))


def _is_over(fault: Fault, exchange: Exchange) -> bool:
    return not fault.shows(exchange)


def measure_faults(exchange: Exchange, faults: Sequence[Fault]) -> list[dict[str, Any]]:
    """Inject each fault, return when it showed and when it is told at the latest, and heal it for the next."""
    delays, measured = read_delays(), []
    for fault in faults:
        if fault.shows(exchange):
            raise BenchFailed(f"{fault.alert} would fire before {fault.what}.")
        fault.inject(exchange)
        seen_s = wait_until(f"{fault.alert} shows", partial(fault.shows, exchange), TOLD_S_MAX)
        told_s = seen_s + delays[fault.alert] + SCRAPE_S + EVALUATE_S
        measured.append({"alert": fault.alert, "fault": fault.what, "shows_s": seen_s, "told_s": told_s})
        if fault.process and fault is not faults[-1]:
            exchange.rig.kill(fault.process)
            exchange.rig.start(fault.process)
            exchange.rig.wait_ready(fault.process)
            wait_until(f"{fault.alert} is over", partial(_is_over, fault, exchange), TOLD_S_MAX)
    return measured


def measure_watch(kafka: Kafka, postgres: Postgres, folder: Path, *, small: bool) -> tuple[dict[str, Any], list[Row]]:
    """Measure freshness and faults on an exchange of its own; return the figures, and each beside its aim."""
    with open_exchange(kafka, postgres, folder) as exchange:
        exchange.begin()
        fresh = measure_freshness(exchange, APPLICATIONS_SMALL if small else APPLICATIONS)
        faults = measure_faults(exchange, FAULTS_SMALL if small else FAULTS)
    served = {"steps": len(fresh), "p50_s": find_percentile(fresh, 0.5), "longest_s": max(fresh)}
    figures = {
        "fresh": served | {"renews_every_s": FILE_REFRESH_S},
        "faults": faults,
    }
    return figures, judge(figures)


def judge(figures: dict[str, Any]) -> list[Row]:
    """Return each figure beside its aim."""
    fresh = figures["fresh"]["longest_s"] + figures["fresh"]["renews_every_s"]
    rows = [Row("from the ministry's row to an open page, at most", f"{fresh:.1f} s", "<= 60 s", fresh <= FRESH_S_MAX)]
    return rows + [
        Row(
            f"{one['fault']}: {one['alert']} fires",
            f"{one['told_s']:.0f} s",
            "<= 60 s",
            one["told_s"] <= TOLD_S_MAX,
        )
        for one in figures["faults"]
    ]
