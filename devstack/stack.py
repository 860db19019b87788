"""Kafka and PostgreSQL together. `python -m devstack.stack` keeps both running until Ctrl-C."""

import json
import shutil
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from devstack.choice import Choice
from devstack.kafka import Kafka, start_kafka
from devstack.postgres import Postgres, start_postgres
from devstack.processes import StackError, stop_recorded
from devstack.run import Run, Say, print_line

RECORD_MODE = 0o600


@dataclass
class Stack:
    """One run with its cluster and its server. Leaving the context ends all three, unless the run is to be kept."""

    run: Run
    kafka: Kafka
    postgres: Postgres

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.run.keep:
            self.close()

    def close(self) -> None:
        """Remove all that the run created, end its processes, remove its folder."""
        try:
            self.postgres.close()
            self.kafka.close()
        finally:
            self.run.close()

    def write_record(self, path: Path) -> None:
        """Note in a JSON file all that `end_recorded` needs to end a kept run. The file holds a password."""
        children = self.run.folder / "children.json"
        self.run.children.write_record(children)
        path.touch(mode=RECORD_MODE)
        record = {
            "folder": str(self.run.folder),
            "children": str(children),
            "prefix": self.run.prefix,
            "kafka": {"choice": self.kafka.choice, "bootstrap": self.kafka.bootstrap},
            "postgres": {"choice": self.postgres.choice, "dsn": self.postgres.dsn},
            "containers": [part.container.get_container_id() for part in (self.kafka, self.postgres) if part.container],
        }
        path.write_text(json.dumps(record, indent=1))


def end_recorded(path: Path) -> list[str]:
    """End the kept run of which `Stack.write_record` wrote, remove the file, return the names of what was stopped."""
    record = json.loads(path.read_text())
    children = Path(record["children"])
    stopped = stop_recorded(children) if children.exists() else []
    prefix = record["prefix"]
    # What a given service holds has to be removed by name; an embedded one's data goes with the folder.
    if record["kafka"]["choice"] == Choice.GIVEN:
        Kafka(Choice.GIVEN, record["kafka"]["bootstrap"], prefix).close()
    if record["postgres"]["choice"] == Choice.GIVEN:
        Postgres(Choice.GIVEN, record["postgres"]["dsn"], prefix).close()
    _remove_containers(record["containers"])
    shutil.rmtree(record["folder"], ignore_errors=True)
    path.unlink()
    return stopped


def _remove_containers(identifiers: list[str]) -> None:
    if not identifiers:
        return
    import docker

    client = docker.from_env()
    for identifier in identifiers:
        try:
            client.containers.get(identifier).remove(force=True, v=True)
        except docker.errors.NotFound:
            print_line(f"The container {identifier} is gone already.")
    client.close()


def start_stack(*, keep: bool = False, say: Say = print_line) -> Stack:
    """Start both at once and wait until both serve. `keep`: they outlive this process. Raises StackError."""
    run = Run(keep=keep, say=say)
    try:
        kafka = start_kafka(run, wait=False)
        postgres = start_postgres(run)
        kafka.wait_until_ready()
    except BaseException:
        run.close()
        raise
    return Stack(run, kafka, postgres)


def main() -> int:
    """Start, print the addresses, wait for Ctrl-C or SIGTERM, end."""
    signals = {signal.SIGINT, signal.SIGTERM}
    try:
        with start_stack() as stack:
            # Blocked only now, so that the children do not inherit the mask.
            signal.pthread_sigmask(signal.SIG_BLOCK, signals)
            print_line(f"export KAFKA_BOOTSTRAP={stack.kafka.bootstrap}")
            print_line(f"export DATABASE_URL={stack.postgres.dsn}")
            print_line("Both run until Ctrl-C.")
            signal.sigwait(signals)
    except StackError as error:
        print_line(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
