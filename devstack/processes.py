"""Child processes that write to log files, stop on request, and never outlive what they were started for.

A `Child` is tied to the *thread* that started it (Linux counts a parent's death by thread): start children from the
main thread, or from one that lives as long as they should.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

LEASH = Path(__file__).with_name("leash.py")
STOP_TIMEOUT_S = 10.0
LOG_TAIL_BYTES_MAX = 4_000
NO_SIGNAL = 0


class StackError(Exception):
    """The development stack cannot do what was asked. The text is one sentence for the person at the terminal."""


class Child:
    """One child process: its name, its pid, and the file that holds what it printed."""

    def __init__(self, name: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.name = name
        self.log = log
        self._process = process

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal; None while the process runs."""
        return self._process.poll()

    def is_alive(self) -> bool:
        """Whether the process still runs (a frozen one does)."""
        return self._process.poll() is None

    def send(self, number: signal.Signals) -> None:
        """Send a signal; a process that has ended is left alone."""
        self._process.send_signal(number)

    def wait(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """Wait for the end and return the exit code. Raises subprocess.TimeoutExpired."""
        return self._process.wait(timeout_s)

    def stop(self, number: signal.Signals = signal.SIGTERM, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """Ask the process to end, insist with SIGKILL after `timeout_s`, and return the exit code."""
        self.send(number)
        return self.wait_or_kill(timeout_s)

    def wait_or_kill(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """Wait for an end that was asked for, insist with SIGKILL, and return the exit code."""
        try:
            return self.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return self.kill()

    def kill(self) -> int:
        """SIGKILL, which works on a frozen process too, and return the exit code."""
        self.send(signal.SIGKILL)
        return self.wait()

    def freeze(self) -> None:
        """SIGSTOP: the process keeps its connections and locks and does nothing."""
        self.send(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT: a frozen process goes on where it stood."""
        self.send(signal.SIGCONT)

    def read_log(self) -> str:
        """All that the process has printed so far, both streams."""
        return self.log.read_text(errors="replace")

    def read_log_tail(self) -> str:
        """The end of what the process printed, for an error message."""
        return self.read_log()[-LOG_TAIL_BYTES_MAX:].strip()


class Children:
    """The children of one run. Leaving the context stops them, the last started first.

    `keep`: they are to outlive this process; `write_record` then notes them for whoever ends them.
    `held_open`: file descriptors that every child inherits (a lock that is free once they all have ended).
    """

    def __init__(self, log_dir: Path, *, keep: bool = False, held_open: Sequence[int] = ()) -> None:
        self.log_dir = log_dir
        self.keep = keep
        self._held_open = tuple(held_open)
        self._children: list[Child] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.keep:
            self.stop_all()

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        environment: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        user: str | None = None,
        death_signal: signal.Signals = signal.SIGKILL,
    ) -> Child:
        """Start `command`, with both its streams appended to `<log_dir>/<name>.log`.

        `environment`: the whole environment; None inherits this process's. `user`: whom it runs as (root only).
        `death_signal`: what the kernel sends when this process dies. A session of its own keeps the terminal's
        Ctrl-C away from the child, so that its starter can stop the parts in order.
        """
        self.log_dir.mkdir(parents=True, exist_ok=True)
        log = self.log_dir / f"{name}.log"
        leash = [
            *(sys.executable, "-I", "-S", str(LEASH), str(os.getpid())),
            str(NO_SIGNAL if self.keep else int(death_signal)),
            user or "-",
        ]
        with log.open("ab") as output:
            process = subprocess.Popen(
                [*leash, *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=None if environment is None else dict(environment),
                cwd=cwd,
                start_new_session=True,
                pass_fds=self._held_open,
            )
        child = Child(name, process, log)
        self._children = [*self.list_alive(), child]
        return child

    def list_alive(self) -> list[Child]:
        """The children that still run, in the order of their start."""
        return [child for child in self._children if child.is_alive()]

    def stop_all(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Ask every child to end, the last started first, then wait for each, since they need not wait in turn."""
        for child in reversed(self._children):
            child.send(signal.SIGTERM)
        while self._children:
            self._children.pop().wait_or_kill(timeout_s)

    def write_record(self, path: Path) -> None:
        """Note the running children in a JSON file, each with its start time, since a pid alone may be reused."""
        rows = [
            {"name": child.name, "pid": child.pid, "started_at_s": psutil.Process(child.pid).create_time()}
            for child in self.list_alive()
        ]
        path.write_text(json.dumps(rows, indent=1))
