"""One message's way from its agency to Immigration, as a collector sees it, through the real path."""

import json
from collections.abc import Sequence

from contracts.wire.trace import Trace, read_traced
from devstack.agencies.scenario import Application
from tests.faults.background import wait_until
from tests.faults.exchange import Exchange
from tests.flow.collector import Collector, Span

LIMIT_S = 20.0
WAY = (
    ("connector-bri", "publish"),
    ("hub-intake", "intake"),
    ("hub-intake", "case step"),
    ("hub-sequencer", "evidence log"),
    ("hub-relay", "release"),
    ("hub-relay", "relay"),
    ("connector-immigration", "deliver"),
)
ISSUED = "id.tka.hub.recommendation.issued.v1"


def find_cause(exchange: Exchange, application: Application) -> Trace:
    """Return the trace of the message from which the application's recommendation followed."""
    [(value,)] = exchange.observer.fetch(
        "SELECT value FROM outbox WHERE topic = 'recommendations' AND key = $1", application.number
    )
    traced = read_traced(value)
    assert traced is not None
    assert json.loads(value)["causationid"]
    return traced.trace


def has_come(spans: Sequence[Span]) -> bool:
    """Whether the way is whole, whichever agency's message was the last."""
    steps = {(span.service.split("-")[0], span.name) for span in spans}
    immigration = any(span.service == "connector-immigration" and span.said["tka.type"] == ISSUED
                      for span in spans if span.name == "deliver")  # fmt: skip
    return immigration and steps >= {(service.split("-")[0], name) for service, name in WAY}


def test_one_trace_leads_from_the_agency_to_immigration(exchange: Exchange, collector: Collector) -> None:
    [application] = exchange.natives.deal(1)
    exchange.settle(exchange.natives.tell([application]))
    trace = find_cause(exchange, application)
    wait_until("the trace is whole", lambda: has_come(collector.trace(trace.number)), LIMIT_S)
    spans = collector.trace(trace.number)
    by_id = {span.id: span for span in spans}
    [first] = [span for span in spans if span.name == "publish"]
    assert (first.id, first.parent) == (f"{trace.first:016x}", "")
    assert all(span.parent in by_id for span in spans if span is not first)
    assert all(span.ended_ns - span.began_ns >= 0 for span in spans)
    assert len(by_id) == len(spans)
    [delivered] = [
        span for span in spans if span.service == "connector-immigration" and span.said.get("tka.type") == ISSUED
    ]
    above = [delivered]
    while above[-1].parent:
        above.append(by_id[above[-1].parent])
    assert [span.name for span in above] == ["deliver", "relay", "publish"]
    [step] = [span for span in spans if span.name == "case step"]
    assert (by_id[step.parent].name, by_id[step.parent].parent) == ("intake", first.id)


def test_spans_tell_nothing_of_a_person(exchange: Exchange, collector: Collector) -> None:
    applications = exchange.natives.deal(2)
    exchange.settle(exchange.natives.tell(applications))
    trace = find_cause(exchange, applications[-1])
    wait_until("the trace is whole", lambda: has_come(collector.trace(trace.number)), LIMIT_S)
    everything = b"".join(collector.bodies)
    for application in applications:
        person = application.person
        assert application.bill is not None
        for canary in (person.name, person.passport, application.number, application.bill.code):
            assert canary.encode() not in everything
    known = {"topic", "type", "partition", "offset", "seq", "sequence", "checkpoint", "proven"}
    assert {name.removeprefix("tka.") for span in collector.spans() for name in span.said} <= known
