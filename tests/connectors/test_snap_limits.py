"""What is no proper HTTP call, or too large, or too slow, over a bare socket: answered in SNAP's own form."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from connectors.bank import snap_listener
from connectors.bank.snap_answer import BODY_BYTES_MAX, HEADERS_BYTES_MAX
from tests.connectors.snap_bench import SnapBench, code_of, opened
from tests.connectors.snap_caller import INQUIRY_PATH, PATH, TOKEN_PATH, write
from tests.connectors.snap_caller import payment as payment_body

HEAD = f"POST {PATH} HTTP/1.1\r\nHost: hub.example\r\n"


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[SnapBench]:
    async with opened(tmp_path) as bench:
        yield bench


async def exchange(bench: SnapBench, sent: str | bytes) -> tuple[int, dict[str, Any], bytes]:
    """Send bytes, read until the server has closed or said its JSON; return status, answer and headers."""
    url = bench.http.base_url
    assert url.port is not None
    reader, writer = await asyncio.open_connection(url.host, url.port)
    try:
        writer.write(sent.encode() if isinstance(sent, str) else sent)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = head.partition(b"content-length: ")[2].split()[0]
        body = await reader.readexactly(int(length))
    finally:
        writer.close()
    return int(head.split()[1]), json.loads(body), head


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (f"{HEAD}X-TIMESTAMP: {'9' * HEADERS_BYTES_MAX}", "larger than 32768"),
        (HEAD + "".join(f"X-{number}: {'x' * 100}\r\n" for number in range(400)), "larger than 32768"),
        ("\x16\x03\x01 this is TLS\r\n\r\n", "no HTTP/1.1"),
        (f"{HEAD}no colon\r\n\r\n", "no HTTP/1.1"),
        (f"{HEAD}Content-Length: many\r\n\r\n", "no HTTP/1.1"),
        (f"{HEAD}Content-Length: 1\r\nContent-Length: 2\r\n\r\n", "no HTTP/1.1"),
        (f"{HEAD}Transfer-Encoding: gzip\r\n\r\n", "no HTTP/1.1"),
        ("POST /v1.0/\u00fc HTTP/1.1\r\nHost: hub.example\r\n\r\n", "no HTTP/1.1"),
    ],
    ids=["one header", "many headers", "tls", "no colon", "length", "lengths", "encoding", "path"],
)
async def test_4000000_what_is_no_call(bench: SnapBench, sent: str, why: str) -> None:
    status, answer, head = await exchange(bench, sent)
    assert (status, answer["responseCode"]) == (400, "4000000")
    assert why in answer["responseMessage"]
    assert b"content-type: application/json" in head
    assert b"connection: close" in head


async def test_4080000_headers_that_take_too_long(bench: SnapBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snap_listener, "HEAD_S_MAX", 0.05)
    status, answer, _ = await exchange(bench, HEAD)
    assert (status, answer["responseCode"]) == (408, "4080000")


async def test_a_second_call_on_the_same_connection_has_its_own_time(
    bench: SnapBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snap_listener, "HEAD_S_MAX", 0.2)
    raw = write(payment_body())
    head = "".join(f"{name}: {value}\r\n" for name, value in bench.bank.headers(raw, bench.now).items())
    url = bench.http.base_url
    assert url.port is not None
    reader, writer = await asyncio.open_connection(url.host, url.port)
    try:
        for code in (b"2002500", b"4042518"):
            writer.write(f"{HEAD}{head}Content-Length: {len(raw)}\r\n\r\n".encode() + raw)
            assert code in await reader.readuntil(b"}}")
        writer.write(HEAD.encode())
        assert b"4080000" in await reader.read()
    finally:
        writer.close()


@pytest.mark.parametrize(("path", "service"), [(PATH, "25"), (INQUIRY_PATH, "24"), (TOKEN_PATH, "73")])
async def test_a_body_over_the_limit(bench: SnapBench, path: str, service: str) -> None:
    response = await bench.http.post(path, content=b"x" * (BODY_BYTES_MAX + 1))
    assert code_of(response) == f"400{service}00"
    assert str(BODY_BYTES_MAX) in response.json()["responseMessage"]


async def test_a_body_of_chunks_that_never_end(bench: SnapBench) -> None:
    chunk = f"{0x8000:x}\r\n{'x' * 0x8000}\r\n"
    status, answer, _ = await exchange(bench, f"{HEAD}Transfer-Encoding: chunked\r\n\r\n{chunk * 3}")
    assert (status, answer["responseCode"]) == (400, "4002500")


async def test_an_upgrade_is_not_followed(bench: SnapBench) -> None:
    upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n"
    status, answer, _ = await exchange(bench, HEAD + upgrade)
    assert (status, answer["responseCode"]) == (400, "4002502")
