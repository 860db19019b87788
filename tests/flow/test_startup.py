"""What cannot work says so at once: one clear sentence, no traceback, an exit code that says whose turn it is."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack.demonstration.cast import connector_environment, hub_environment, process_commands
from devstack.kafka import Kafka
from devstack.ports import find_free_ports
from devstack.postgres import Postgres
from devstack.roles import name_role
from tests.faults.exchange import Exchange, open_exchange
from tests.faults.rig import REPOSITORY, Rig, open_rig

FOUND_WRONG, WRONG_USE, UNREACHABLE = 1, 2, 3
END_LIMIT_S = 60.0
SENTENCE_CHARACTERS_MAX = 500
PARTS = ("intake", "relay", "deadlines", "api")
COMMANDS = (*((part,) for part in PARTS), ("fsck",), ("kafka", "apply"), ("quarantine", "list"))


@pytest.fixture(scope="module")
def rig(kafka_cluster: Kafka, postgres_server: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Give an exchange that is set up, and of which nothing runs."""
    with open_rig(kafka_cluster, postgres_server, tmp_path_factory.mktemp("startup")) as rig:
        yield rig


def run_hub(rig: Rig, *arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    """Run a hub command with the settings of its process, some of them replaced."""
    roles = {"intake": "hub-intake-1"} | {part: f"hub-{part}" for part in PARTS if part != "intake"}
    if arguments[0] in roles:
        own = process_commands(rig.cast)[roles[arguments[0]]][1]
    else:
        own = hub_environment(rig.cast, role=name_role(arguments))
    environment = own | {"METRICS_PORT": "0", "HUB_API_PORT": "0"} | settings
    return _run([sys.executable, "-m", "hub.cli", *arguments], environment)


def run_connector(rig: Rig, agency: str, command: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    """Run a connector's command with its settings, some of them replaced."""
    module = "bank" if agency in ("bri", "mandiri") else agency
    environment = connector_environment(rig.cast, agency) | settings
    return _run([sys.executable, "-m", f"connectors.{module}", command], environment)


def _run(command: list[str], environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command,
        cwd=REPOSITORY,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=END_LIMIT_S,
        check=False,
    )


def read_sentence(done: "subprocess.CompletedProcess[str]", exit_code: int) -> str:
    """Return what a command said at its end, which must be one sentence, after checking how it ended."""
    said = done.stdout + done.stderr
    assert done.returncode == exit_code, said
    assert "Traceback" not in said
    plain = [line for line in said.splitlines() if line.strip() and not _is_log_line(line)]
    sentence = " ".join(line.strip() for line in plain)
    assert sentence.endswith("."), said
    assert len(sentence) < SENTENCE_CHARACTERS_MAX
    return sentence


def _is_log_line(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def closed_address() -> str:
    return f"127.0.0.1:{find_free_ports(1)[0]}"


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_settings_that_are_missing_are_named(command: tuple[str, ...], rig: Rig) -> None:
    assert "DATABASE_URL" in read_sentence(run_hub(rig, *command, DATABASE_URL=""), WRONG_USE)


@pytest.mark.parametrize(
    ("part", "setting"),
    [
        ("intake", "TRUST_ROOT_FILE"),
        ("api", "TRUST_ROOT_FILE"),
        ("relay", "HUB_KEY_FILE"),
        ("intake", "KAFKA_BOOTSTRAP"),
    ],
)
def test_settings_that_cannot_be_used_are_named(part: str, setting: str, rig: Rig) -> None:
    value = "" if setting == "KAFKA_BOOTSTRAP" else str(rig.cast.folder / "absent")
    assert setting in read_sentence(run_hub(rig, part, **{setting: value}), WRONG_USE)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_database_that_does_not_answer(command: tuple[str, ...], rig: Rig) -> None:
    dsn = f"postgresql://nobody:nothing@{closed_address()}/nowhere"
    assert "database" in read_sentence(run_hub(rig, *command, DATABASE_URL=dsn), UNREACHABLE)


@pytest.mark.parametrize("command", [("intake",), ("relay",), ("kafka", "apply")], ids=" ".join)
def test_broker_that_does_not_answer(command: tuple[str, ...], rig: Rig) -> None:
    assert "Kafka" in read_sentence(run_hub(rig, *command, KAFKA_BOOTSTRAP=closed_address()), UNREACHABLE)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_schema_that_was_not_migrated(command: tuple[str, ...], rig: Rig, database: str) -> None:
    assert "hub migrate" in read_sentence(run_hub(rig, *command, DATABASE_URL=database), WRONG_USE)


@pytest.mark.parametrize("agency", ["ministry", "bri", "immigration"])
@pytest.mark.parametrize("setting", ["KEY_FILE", "TRUST_ROOT_FILE", "PARTICIPANT"])
def test_connector_names_a_wrong_setting(agency: str, setting: str, rig: Rig) -> None:
    value = "NOT A NAME" if setting == "PARTICIPANT" else str(rig.cast.folder / "absent")
    assert setting in read_sentence(run_connector(rig, agency, "run", **{setting: value}), WRONG_USE)


@pytest.mark.parametrize(
    ("agency", "setting"),
    [
        ("bri", "KAFKA_BOOTSTRAP"),
        ("bri", "HUB_API_URL"),
        ("ministry", "REGISTER_URL"),
        ("immigration", "VISA_SYSTEM_URL"),
    ],
)
def test_connector_check_names_what_does_not_answer(agency: str, setting: str, exchange: Exchange) -> None:
    address = closed_address()
    values = {"REGISTER_URL": f"postgresql://nobody:nothing@{address}/nowhere", "KAFKA_BOOTSTRAP": address}
    done = run_connector(exchange.rig, agency, "check", **{setting: values.get(setting, f"http://{address}")})
    assert done.returncode == UNREACHABLE, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert "unreachable" in done.stdout


@pytest.fixture
def own(kafka_cluster: Kafka, postgres_server: Postgres, tmp_path: Path) -> Iterator[Exchange]:
    """Give an exchange whose topics may be destroyed."""
    with open_exchange(kafka_cluster, postgres_server, tmp_path) as exchange:
        yield exchange


def test_topic_that_was_made_anew_stops_intake_and_relay(own: Exchange) -> None:
    own.begin()
    own.settle(own.load(1))
    own.rig.stop(*own.rig.running)
    prefix = own.rig.cast.services.topic_prefix
    own.rig.kafka.delete_topics(f"{prefix}from.bri")
    own.rig.kafka.delete_topics(f"{prefix}to.bri")
    own.rig.kafka.create_topics({f"{prefix}from.bri": 2, f"{prefix}to.bri": 1})
    assert "from.bri was deleted and created anew" in read_sentence(run_hub(own.rig, "intake"), FOUND_WRONG)
    assert "the topic was created anew" in read_sentence(run_hub(own.rig, "relay"), FOUND_WRONG)
