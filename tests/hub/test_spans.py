"""Spans never hold anything up, and cost nothing where nobody asked for them."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from connectors.link import spans as connector_spans
from contracts.wire.trace import Trace, name_trace
from devstack.ports import find_free_ports
from hub import spans, tracing
from hub.spans import CLOSE_S_MAX, QUEUE_SPANS_MAX, Spans
from tests.flow.collector import open_collector

TRACE = name_trace("e-1")


@pytest.fixture
def deaf() -> Iterator[str]:
    """Give the address of a collector that takes connections and never answers."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1/traces"


@pytest.fixture
def absent() -> str:
    """Give the address of a collector that is not there."""
    return f"http://127.0.0.1:{find_free_ports(1)[0]}/v1/traces"


@pytest.mark.parametrize("where", ["deaf", "absent"])
def test_a_collector_that_is_away_holds_nothing_up(where: str, request: pytest.FixtureRequest) -> None:
    drawn = Spans(request.getfixturevalue(where), 1.0, "trial")
    began = time.monotonic()
    for _ in range(QUEUE_SPANS_MAX + 1_000):
        drawn.draw("step", TRACE, 1, 2, parent=TRACE.first)
    drawing_s = time.monotonic() - began
    drawn.close()
    assert time.monotonic() - began - drawing_s < CLOSE_S_MAX + 1


def test_a_share_of_the_traces_is_drawn_and_everybody_chooses_the_same() -> None:
    with open_collector() as collector:
        half = Spans(collector.url, 0.5, "trial")
        for number in range(400):
            trace = name_trace(f"e-{number}")
            if half.chooses(trace):
                half.draw("step", trace, 1, 2)
        none = Spans(collector.url, 0.0, "trial")
        assert not any(none.chooses(name_trace(f"e-{number}")) for number in range(400))
        none.close()
        half.close()
        assert 140 < len(collector.spans()) < 260
        assert {span.trace for span in collector.spans()} == {
            f"{name_trace(f'e-{n}').number:032x}" for n in range(400) if name_trace(f"e-{n}").number % 2**64 < 2**63
        }


def test_a_span_says_what_it_was_given() -> None:
    with open_collector() as collector:
        drawn = Spans(collector.url, 1.0, "trial")
        drawn.draw("step", Trace(1, 2), 5, 7, span=3, parent=2, kind="CONSUMER", said={"topic": "to.bri", "seq": 9})
        drawn.close()
        [span] = collector.spans()
    assert (span.service, span.name, span.trace, span.id) == ("trial", "step", f"{1:032x}", f"{3:016x}")
    assert (span.parent, span.began_ns, span.ended_ns) == (f"{2:016x}", 5, 7)
    assert span.said == {"tka.topic": "to.bri", "tka.seq": 9}


@pytest.mark.parametrize("module", ["hub.assembly", "connectors.link.service"])
def test_without_a_collector_nothing_of_opentelemetry_is_loaded(module: str) -> None:
    code = f"import sys, {module}; sys.exit('opentelemetry.sdk' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert not tracing.is_on()


def test_hub_and_connectors_draw_alike() -> None:
    texts: list[Callable[[], str]] = [Path(str(one.__file__)).read_text for one in (spans, connector_spans)]
    assert texts[0]() == texts[1]()
