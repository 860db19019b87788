"""What the witness's and the monitor's memories have in common: the option that names the file, and whole writes."""

import argparse
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def add_state(parser: argparse.ArgumentParser) -> None:
    """Add the option that names the file."""
    parser.add_argument("--state", type=Path, required=True, help="file of its memory (SQLite)")


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Look and store as one step, everything or nothing; it is durable when the block has ended."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
