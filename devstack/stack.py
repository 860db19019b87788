"""Kafka and PostgreSQL together. `python -m devstack.stack` keeps both running until Ctrl-C."""

import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from devstack.kafka import SHORT_JVM, Kafka, start_kafka
from devstack.postgres import Postgres, start_postgres
from devstack.processes import StackError
from devstack.run import Run, Say, print_line


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


def start_stack(*, keep: bool = False, jvm: Sequence[str] = SHORT_JVM, say: Say = print_line) -> Stack:
    """Start both at once and wait until both serve. `keep`: they outlive this process. Raises StackError."""
    run = Run(keep=keep, say=say)
    try:
        kafka = start_kafka(run, jvm=jvm, wait=False)
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
