"""What a kept demo leaves behind: which processes run, how to end them, and what to remove."""

import json
import shutil
from pathlib import Path
from typing import Any

import psutil

from devstack.choice import Choice
from devstack.kafka import Kafka
from devstack.postgres import Postgres
from devstack.processes import Children, stop_recorded
from devstack.stack import Stack

PROCESSES, STATE = "processes.json", "state.json"


def write_state(folder: Path, stack: Stack) -> None:
    """Note everything that `take_down` needs."""
    stack.run.children.write_record(folder / PROCESSES)
    state = {
        "folder": str(stack.run.folder),
        "prefix": stack.run.prefix,
        "kafka": _describe(stack.kafka.choice, stack.kafka.bootstrap, stack.kafka.container),
        "postgres": _describe(stack.postgres.choice, stack.postgres.dsn, stack.postgres.container),
    }
    file = folder / STATE
    file.touch(mode=0o600)
    file.write_text(json.dumps(state, indent=1))


def _describe(choice: Choice, address: str, container: Any) -> dict[str, Any]:
    identity = None if container is None else container.get_wrapped_container().id
    return {"choice": choice.value, "address": address, "container": identity}


def is_running(folder: Path) -> bool:
    """Whether a kept demo's processes still run."""
    file = folder / PROCESSES
    if not file.exists():
        return False
    return any(_is_same(row["pid"], row["started_at_s"]) for row in json.loads(file.read_text()))


def _is_same(pid: int, started_at_s: float) -> bool:
    try:
        return psutil.Process(pid).create_time() == started_at_s
    except psutil.NoSuchProcess:
        return False


def take_down(folder: Path) -> str:
    """End a kept demo, remove what it made in a cluster or database that was given, and say so in one sentence."""
    state_file, processes_file = folder / STATE, folder / PROCESSES
    if not state_file.exists():
        return "No demo was kept, so there is nothing to end."
    state = json.loads(state_file.read_text())
    stopped = stop_recorded(processes_file)
    _remove(state)
    shutil.rmtree(state["folder"], ignore_errors=True)
    for file in (state_file, processes_file):
        file.unlink()
    return f"Ended: {', '.join(stopped) or 'nothing was running any more'}."


def _remove(state: dict[str, Any]) -> None:
    kafka, postgres = state["kafka"], state["postgres"]
    if kafka["choice"] == Choice.GIVEN:
        Kafka(Choice.GIVEN, kafka["address"], state["prefix"]).close()
    if postgres["choice"] == Choice.GIVEN:
        Postgres(Choice.GIVEN, postgres["address"], state["prefix"]).close()
    containers = [service["container"] for service in (kafka, postgres) if service["container"] is not None]
    if containers:
        import docker

        client = docker.from_env()
        for identity in containers:
            client.containers.get(identity).remove(force=True, v=True)
        client.close()


def find_running(children: Children) -> list[psutil.Process]:
    """Return the children's processes and everything that they have started, to be looked for at the end."""
    found = []
    for child in children.list_alive():
        process = psutil.Process(child.pid)
        found += [process, *process.children(recursive=True)]
    return found
