"""What a kept demo leaves behind: which processes run, how to end them, and what to remove."""

import contextlib
import json
import shutil
import signal
from pathlib import Path
from typing import Any

import psutil

from devstack.choice import Choice
from devstack.kafka import Kafka
from devstack.postgres import Postgres
from devstack.processes import Children
from devstack.stack import Stack

PROCESSES, STATE = "processes.json", "state.json"
POSTGRES, KAFKA = "postgres", "kafka-"
STOP_LIMIT_S = 10.0


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
    stopped = _end_processes(json.loads(processes_file.read_text()))
    _remove(state)
    shutil.rmtree(state["folder"], ignore_errors=True)
    for file in (state_file, processes_file):
        file.unlink()
    return f"Ended: {', '.join(stopped) or 'nothing was running any more'}."


def _end_processes(rows: list[dict[str, Any]]) -> list[str]:
    """End what still runs, the exchange first, and return the names."""
    running = {row["name"]: psutil.Process(row["pid"]) for row in rows if _is_same(row["pid"], row["started_at_s"])}
    exchange = [process for name, process in running.items() if not is_service(name)]
    _end(exchange, signal.SIGTERM)
    # The services without ceremony, as at the end of a demo that is not kept: their data goes too.
    _end([process for name, process in running.items() if name.startswith(KAFKA)], signal.SIGKILL)
    _end([process for name, process in running.items() if name == POSTGRES], signal.SIGQUIT)
    return list(running)


def _end(processes: list[psutil.Process], number: signal.Signals) -> None:
    """Signal all at once, since each takes a moment to end, and insist after a while."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)
    _, alive = psutil.wait_procs(processes, timeout=STOP_LIMIT_S)
    for process in alive:
        process.kill()
    psutil.wait_procs(alive, timeout=STOP_LIMIT_S)


def is_service(name: str) -> bool:
    """Whether a process is one of the services under the exchange."""
    return name == POSTGRES or name.startswith(KAFKA)


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
