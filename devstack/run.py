"""One run of the development stack: its prefix, its temporary folder, and what it says on the terminal."""

import fcntl
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from devstack.processes import Children

PREFIX = "tkadev"
LOCK_NAME = "lock"
FOLDER_MODE = 0o755  # PostgreSQL never runs as root, so another user must be able to reach its folder.

Say = Callable[[str], None]


def print_line(text: str) -> None:
    """Say it on the terminal at once."""
    print(text, flush=True)


class Run:
    """A prefix that no other run has, and a folder that goes when the run ends.

    The folder's lock is inherited by every child, so it is free exactly when the run and all its children have
    ended; the next run then clears the folder, if this one was killed before it could.
    """

    def __init__(self, *, keep: bool = False, say: Say = print_line) -> None:
        self.id = secrets.token_hex(4)
        self.say = say
        self.keep = keep
        self.folder = _parent_folder() / self.id
        # One run at a time, so that none sweeps a folder that another has made and not locked yet.
        with (_parent_folder() / LOCK_NAME).open("w") as parent_lock:
            fcntl.flock(parent_lock, fcntl.LOCK_EX)
            sweep_folders()
            self.folder.mkdir()
            self.folder.chmod(FOLDER_MODE)
            self._lock = os.open(self.folder / LOCK_NAME, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.children = Children(self.folder / "logs", keep=keep, held_open=[self._lock])

    @property
    def prefix(self) -> str:
        """The start of the name of everything that this run creates in a cluster or a database."""
        return f"{PREFIX}_{self.id}_"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.keep:
            self.close()

    def close(self) -> None:
        """Stop every child and remove the folder."""
        self.children.stop_all()
        os.close(self._lock)
        shutil.rmtree(self.folder, ignore_errors=True)


def sweep_folders() -> None:
    """Remove the folders of runs that were killed: those whose lock nobody holds any more."""
    for folder in _parent_folder().iterdir():
        lock_path = folder / LOCK_NAME
        if not lock_path.exists():
            continue
        with lock_path.open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            shutil.rmtree(folder, ignore_errors=True)


def _parent_folder() -> Path:
    parent = Path(tempfile.gettempdir()) / f"{PREFIX}-{os.getuid()}"
    parent.mkdir(exist_ok=True)
    parent.chmod(FOLDER_MODE)
    return parent
