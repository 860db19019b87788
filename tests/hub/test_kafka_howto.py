"""docs/how-to/kafka.md, command by command: an operator who does what it says has brokers that ask for certificates."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from devstack.kafka import start_kafka
from devstack.ports import find_free_ports
from devstack.run import Run
from hub.store import schema
from hub.store.database import Database
from tests.connectors.engineer import ROOT, Page
from tests.hub.world import World

PAGE = Page.read("kafka.md")
BROKER, PARTIES, APPLY, WATCH = (
    "2. Give each broker a certificate",
    "3. Give each party a certificate",
    "4. Make Kafka what the registry says",
    "5. Let it be watched",
)
UNREACHABLE = 3
PATIENCE_S = 90

pytestmark = pytest.mark.needs("openssl")


class Operator:
    """Who follows the page in a folder, with the hub's other settings set."""

    def __init__(self, folder: Path, port: int, settings: Mapping[str, str]) -> None:
        self.folder = folder
        self._port = port
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self._environment = {"PATH": path, "PYTHONPATH": str(ROOT), **settings}

    def do(self, commands: str) -> "subprocess.CompletedProcess[str]":
        """Run commands with the page's address replaced by this machine's."""
        here = commands.replace("kafka.example:9093", f"localhost:{self._port}").replace("kafka.example", "localhost")
        # The virtual environment's command is that of the main tree.
        beginning = 'hub() { python -m hub.cli "$@"; }\n'
        return subprocess.run(
            ["sh", "-ec", beginning + here],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    def must(self, commands: str) -> str:
        done = self.do(commands)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout


@pytest.fixture
def operator(tmp_path: Path, database: str) -> Iterator[Operator]:
    """Give an operator whose broker runs with the certificate and the properties of the page."""
    port = find_free_ports(1)[0]
    asyncio.run(_set_up(database, tmp_path))
    settings = {"DATABASE_URL": database, "TRUST_ROOT_FILE": "root.json", "TOPIC_PREFIX": "exchange-"}
    operator = Operator(tmp_path, port, settings)
    for heading in ("1. Have an authority", BROKER, PARTIES):
        for commands in PAGE.blocks(heading):
            operator.must(commands)
    lines = (line.partition("=") for line in PAGE.blocks(BROKER, "properties")[0].splitlines())
    properties = {name: value for name, _, value in lines}
    for name in ("ssl.keystore.location", "ssl.truststore.location"):
        properties[name] = str(tmp_path / properties[name])
    controller = find_free_ports(1)[0]
    properties |= {
        "listeners": f"CLIENTS://localhost:{port},CONTROLLER://localhost:{controller}",
        "advertised.listeners": f"CLIENTS://localhost:{port}",
        "controller.quorum.voters": f"1@localhost:{controller}",
    }
    with Run(say=lambda _: None) as run:
        # Whether it is ready only they can ask who have a certificate: the page's own commands.
        kafka = start_kafka(run, settings=properties, wait=False)
        yield operator
        kafka.close()


async def _set_up(database: str, folder: Path) -> None:
    """Put a registry in force, and its public root into the operator's folder."""
    world = World()
    await schema.migrate(database)
    opened = await Database.open(database, size=1)
    await world.put_in_force(opened)
    await opened.close()
    (folder / "root.json").write_text(json.dumps(world.root.public.jwk))


def test_an_operator_secures_kafka(operator: Operator) -> None:
    look, apply = PAGE.blocks(APPLY)
    waiting = Retrying(
        stop=stop_after_delay(PATIENCE_S),
        wait=wait_fixed(0.3),
        retry=retry_if_result(lambda done: done.returncode == UNREACHABLE),
    )
    looked = waiting(operator.do, look)
    assert looked.returncode == 1, looked.stderr
    [expected] = PAGE.blocks(APPLY, "text")
    for piece in expected.split("..."):
        assert piece.strip() in looked.stdout, looked.stdout
    assert operator.must(apply).strip().endswith("Done.")
    assert "Nothing to do" in operator.must(look)
    findings: list[dict[str, Any]] = json.loads(operator.do(PAGE.blocks(WATCH)[0]).stdout)["findings"]
    of_kafka = [each for each in findings if each["check"] in ("kafka", "certificates")]
    assert {each["verdict"] for each in of_kafka} == {"ok"}
    # Nobody else's certificate is enough for the administration's work.
    by_the_relay = look.replace(
        "hub kafka", "KAFKA_SSL_CERTIFICATE_FILE=hub.relay.pem; KAFKA_SSL_KEY_FILE=hub.relay.key.pem\nhub kafka"
    )
    refused = operator.do(by_the_relay)
    assert (refused.returncode, "use the administration's" in refused.stderr) == (2, True), refused.stderr
    assert all(
        (operator.folder / name).stat().st_mode & 0o077 == 0 for name in ("hub.admin.key.pem", "broker.keystore.pem")
    )
