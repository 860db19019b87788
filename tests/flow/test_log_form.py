"""A log is JSON to the last line, also where a library speaks, and repeats nothing that a library quotes."""

import json
import subprocess
import sys

import pytest

SCRIPT = """
import logging
import structlog
from {module} import {name}
{name}()
structlog.get_logger().info("started", port=1)
try:
    raise ValueError("passport KQ7788991")
except ValueError:
    logging.getLogger("aiokafka.consumer").exception("a record cannot be read")
logging.getLogger("aiokafka").info("chatter")
"""


@pytest.mark.parametrize(("module", "name"), [("connectors.link.log", "configure_log"), ("hub.logs", "configure_logs")])
def test_libraries_log_in_the_same_form_and_without_what_they_quote(module: str, name: str) -> None:
    script = SCRIPT.format(module=module, name=name)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    own, library = map(json.loads, done.stderr.splitlines())
    assert (own["event"], own["level"], own["port"]) == ("started", "info", 1)
    assert (library["event"], library["level"], library["kind"]) == ("a record cannot be read", "error", "ValueError")
    assert "KQ7788991" not in done.stderr
