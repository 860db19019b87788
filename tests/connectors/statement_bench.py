"""A statement folder on a real file system with a spool, and a bank that drops files into it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from connectors.bank.statements import StatementFolder, count_statements
from connectors.link import failpoint
from connectors.link.fact import Author
from connectors.link.spool import Spool
from tests.connectors.statement_files import detail, entry, refs, statement

AUTHOR = Author("bri", "https://bri.example/tka", "demo")
CODE = "820260401000017"
GOOD = statement(entry(detail(refs(ref=[CODE], bank="R1"))))


class Killed(BaseException):
    """Stands for the process's end at a point: nothing in between may catch it."""


class StatementBench:
    """A folder, a spool, and whoever takes from one into the other."""

    def __init__(self, root: Path, spool: Spool, folder: StatementFolder) -> None:
        self.root = root / "statements"
        self.spool = spool
        self.folder = folder

    def drop(self, name: str, text: str | bytes) -> None:
        part = self.root / f"{name}.part"
        part.write_bytes(text.encode() if isinstance(text, str) else text)
        part.rename(self.root / name)

    def files(self) -> list[str]:
        return sorted(str(file.relative_to(self.root)) for file in self.root.rglob("*") if file.is_file())

    async def events(self) -> list[dict[str, object]]:
        return [json.loads(row.value) for row in await self.spool.waiting(10_000)]

    async def asides(self) -> list[tuple[str, str]]:
        return sorted((aside.native_key, aside.code) for aside in await self.spool.unreported(1000))

    async def kill_at(self, point: str, hit: int = 1) -> None:
        left = hit

        def strike(name: str) -> None:
            nonlocal left
            left -= name == point
            if not left:
                raise Killed

        failpoint.arm(strike)
        try:
            with pytest.raises(Killed):
                await self.folder.scan()
        finally:
            failpoint.arm(lambda name: None)


@asynccontextmanager
async def opened(root: Path, bytes_max: int = 2**30) -> AsyncIterator[StatementBench]:
    """Begin as a process would."""
    (root / "statements").mkdir(exist_ok=True)
    async with (
        Spool.open(root / "spool.sqlite", AUTHOR, bytes_max=bytes_max) as spool,
        StatementFolder.open(root / "statements", spool, "002", root, count_statements(CollectorRegistry())) as folder,
    ):
        yield StatementBench(root, spool, folder)
