"""A TCP proxy before PostgreSQL that cuts a connection at COMMIT, before or after the server gets to see it.

It knows just enough of the protocol (PostgreSQL 18 documentation, chapter 54): asyncpg sends COMMIT as a simple query.
"""

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit, urlunsplit

from devstack.ports import LOCALHOST
from tests.faults.background import Background

CHUNK_BYTES = 64 * 1024
COMMIT = b"COMMIT;\x00"


class CommitCutter:
    """Passes everything on, but cuts the connection at every `every`-th COMMIT, as long as `armed`.

    `delivered`: whether the server gets that COMMIT. Either way the client must not know what became of it.
    """

    def __init__(self, background: Background, dsn: str, *, delivered: bool, every: int) -> None:
        self._background = background
        self._target = urlsplit(dsn)
        self._delivered = delivered
        self._every = every
        self._seen = 0
        self._connections: set[asyncio.Task[None]] = set()
        self.cuts = 0
        self.armed = True

    def __enter__(self) -> Self:
        self._server = self._background.run(asyncio.start_server(self._accept, LOCALHOST, 0))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        async def close() -> None:
            self._server.close()
            for connection in self._connections:
                connection.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)

        self._background.run(close())

    @property
    def dsn(self) -> str:
        """The address of the same database through the proxy."""
        port = self._server.sockets[0].getsockname()[1]
        login = self._target.netloc.rpartition("@")[0]
        return urlunsplit(self._target._replace(netloc=f"{login}@{LOCALHOST}:{port}"))

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(self._serve(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection(self._target.hostname, self._target.port)
        answers = asyncio.create_task(_pass_on(server_reader, writer))
        try:
            while chunk := await reader.read(CHUNK_BYTES):
                if self._is_to_be_cut(chunk):
                    self.cuts += 1
                    await self._cut(chunk, answers, server_reader, server_writer)
                    return
                server_writer.write(chunk)
                await server_writer.drain()
        except OSError:
            return
        finally:
            answers.cancel()
            with suppress(asyncio.CancelledError):
                await answers
            for each in (writer, server_writer):
                each.close()

    def _is_to_be_cut(self, chunk: bytes) -> bool:
        if not self.armed or not chunk.endswith(COMMIT):
            return False
        self._seen += 1
        return self._seen % self._every == 0

    async def _cut(
        self,
        chunk: bytes,
        answers: "asyncio.Task[None]",
        server_reader: asyncio.StreamReader,
        server_writer: asyncio.StreamWriter,
    ) -> None:
        """Let the server have the COMMIT, or not; its answer goes nowhere."""
        answers.cancel()
        with suppress(asyncio.CancelledError):
            await answers
        if self._delivered:
            server_writer.write(chunk)
            await server_writer.drain()
            await server_reader.read(CHUNK_BYTES)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await reader.read(CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()
