"""docker-compose.yml: a real validator reads it, its settings are ours, and its commands run the exchange."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose
from compose_spec.models import ComposeSpecification
from tenacity import Retrying, stop_after_delay, wait_fixed

from devstack.kafka import IMAGE as KAFKA_IMAGE
from devstack.kafka import Kafka, common_settings
from devstack.ports import LOCALHOST, find_free_ports
from devstack.postgres import IMAGE as POSTGRES_IMAGE
from devstack.postgres import SETTINGS, Postgres
from devstack.run import Run

ROOT = Path(__file__).parents[2]
CONTAINER_FOLDER = "/exchange"
PORT = re.compile(r"\b8[0-3]\d\d\b")
APPLICATIONS = "25"
START_TIMEOUT_S = 60
PLAY_TIMEOUT_S = 150
SETTLE_TIMEOUT_S = 30


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """Give the file as a container engine reads it, with anchors and defaults filled in."""
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", (ROOT / "docker-compose.yml").read_text())
    content: dict[str, Any] = yaml.safe_load(text)
    return content


def test_file_is_a_valid_compose_file(compose: dict[str, Any]) -> None:
    specification = PyCompose.from_json(json.dumps(compose)).to_spec()
    assert specification == ComposeSpecification.model_validate(compose)
    assert specification.services is not None
    assert {name.split("-")[0] for name in specification.services} == {
        *("kafka", "postgres", "setup", "hub", "connector", "witness", "agency", "day")
    }


def test_every_reference_leads_somewhere(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        assert set(service.get("depends_on", [])) <= compose["services"].keys()
        volumes = {volume.split(":")[0] for volume in service.get("volumes", [])}
        assert volumes <= compose["volumes"].keys()
        if "build" in service:
            assert f" AS {service['build']['target']}\n" in (ROOT / "Dockerfile").read_text()


def test_broker_and_database_have_the_development_stack_s_settings(compose: dict[str, Any]) -> None:
    kafka, postgres = compose["services"]["kafka"], compose["services"]["postgres"]
    wanted = {f"KAFKA_{name.upper().replace('.', '_')}": value for name, value in common_settings(1).items()}
    assert (kafka["image"], postgres["image"]) == (KAFKA_IMAGE, POSTGRES_IMAGE)
    assert kafka["environment"].items() >= wanted.items()
    assert postgres["command"] == ["postgres", *(f"-c{name}={value}" for name, value in SETTINGS.items())]


def test_image_of_an_agency_holds_no_hub() -> None:
    stages = re.split(r"^FROM ", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    connectors = next(stage for stage in stages if " AS connectors\n" in stage)
    packages = next(stage for stage in stages if " AS packages\n" in stage)
    assert connectors.startswith("packages AS connectors\n")
    assert not re.search(r"COPY .*(hub|devstack)", connectors + packages)


@pytest.fixture
def run() -> Iterator[Run]:
    """Own this test's processes."""
    with Run(say=lambda text: None) as own:
        yield own


class Containers:
    """The file's services as processes: host names become this machine, ports free ones, /exchange a folder."""

    def __init__(self, services: dict[str, Any], run: Run, kafka: Kafka, postgres: Postgres, prefix: str) -> None:
        used = sorted(set(PORT.findall(json.dumps(services))))
        self.ports = dict(zip(used, find_free_ports(len(used)), strict=True))
        self.services = services
        self.run = run
        self.kafka = kafka
        self.postgres = postgres
        self.prefix = prefix
        self.folder = run.folder / "exchange"
        (self.folder / "state").mkdir(parents=True)

    def translate(self, name: str, value: str) -> str:
        """Change what names a container's surroundings into what they are here."""
        for database in re.findall(r"postgresql://(\w+):trial@postgres:5432/(\w+)", value):
            value = self.postgres.dsn_of(self.postgres.name(database[1]), self.postgres.name(database[0]), "trial")
        value = value.replace("kafka:9092", self.kafka.bootstrap)
        if value == "register_connector":
            return self.postgres.name(value)
        value = value.replace(f"{CONTAINER_FOLDER}/spool", str(self.folder / "spool" / name))
        value = value.replace(CONTAINER_FOLDER, str(self.folder)).replace("0.0.0.0", LOCALHOST)
        for service in self.services:
            value = value.replace(f"//{service}:", f"//{LOCALHOST}:")
        names_port = LOCALHOST in value or value in self.ports
        return PORT.sub(lambda port: str(self.ports[port[0]]), value) if names_port else value

    def environment(self, name: str) -> dict[str, str]:
        settings = self.services[name].get("environment", {})
        given = {key: self.translate(name, str(value)) for key, value in settings.items()}
        if "SPOOL_DIR" in given:
            Path(given["SPOOL_DIR"]).mkdir(parents=True, exist_ok=True)
        if "APPLICATIONS" in given:
            given["APPLICATIONS"] = APPLICATIONS
        return given | {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TOPIC_PREFIX": self.prefix}

    def command(self, name: str) -> list[str]:
        assert self.services[name]["command"][0] == "python"
        return [sys.executable, *(self.translate(name, word) for word in self.services[name]["command"][1:])]

    def run_to_end(self, name: str, timeout_s: float) -> str:
        done = subprocess.run(
            self.command(name), env=self.environment(name), capture_output=True, text=True, timeout=timeout_s
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self, name: str) -> None:
        self.run.children.start(name, self.command(name), environment=self.environment(name), cwd=self.folder)


def make_roles(compose: dict[str, Any], postgres: Postgres) -> None:
    """Run the file's own statements, with the names of this run."""
    text = compose["configs"]["roles"]["content"]
    text = re.sub(r"\b(exchange|register)(_\w+)?\b", lambda name: postgres.name(name[0]), text)
    postgres.execute(*filter(None, (statement.strip() for statement in text.split(";"))))


def test_commands_and_settings_run_the_exchange(
    compose: dict[str, Any], run: Run, kafka_cluster: Kafka, postgres_server: Postgres, topic_prefix: str
) -> None:
    services = compose["services"]
    containers = Containers(services, run, kafka_cluster, postgres_server, topic_prefix)
    make_roles(compose, postgres_server)
    containers.run_to_end("setup", START_TIMEOUT_S)
    for name in services:
        if name.startswith(("hub-", "agency-", "connector-", "witness")):
            containers.start(name)
    assert containers.run_to_end("day", PLAY_TIMEOUT_S).count("played: ") == 5

    hub = [sys.executable, "-m", "hub.cli"]
    environment = containers.environment("setup")
    for attempt in Retrying(stop=stop_after_delay(SETTLE_TIMEOUT_S), wait=wait_fixed(0.5), reraise=True):
        with attempt:
            done = subprocess.run([*hub, "fsck", "--json"], env=environment, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr
    checked = subprocess.run([*hub, "database", "check"], env=environment, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert [child.name for child in run.children.list_alive()] == [
        name for name in services if name.startswith(("hub-", "agency-", "connector-", "witness"))
    ]


@pytest.mark.needs("docker engine")
def test_containers_run_the_exchange() -> None:
    docker = shutil.which("docker")
    assert docker is not None
    command = [docker, "compose", "--project-name", "tka-exchange-test", "--project-directory", str(ROOT)]
    try:
        subprocess.run([*command, "up", "--build", "--detach", "--wait", "hub-api"], check=True)
        subprocess.run([*command, "up", "--exit-code-from", "day", "day"], check=True)
        subprocess.run([*command, "run", "--rm", "-T", "setup", "python", "-m", "hub.cli", "fsck"], check=True)
    finally:
        subprocess.run([*command, "down", "--volumes"], check=True)
