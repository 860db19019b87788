"""The evidence log as anybody gets it: over the hub's own door and as static files, provable in every part."""

import gzip
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from contracts import merkle
from contracts.log.checkpoint import open_checkpoint
from contracts.log.tile import ENTRIES, Edge, Hashes, Tile, new_tiles, read_bundle
from hub import publication
from hub.health import Health
from hub.publication import FolderContradicts, NothingToPublish
from hub.trust import RegistryInForce
from hub.web import log, probes
from tests.hub.log_bench import Bench, open_bench, running

pytestmark = pytest.mark.anyio


@pytest.fixture
async def bench(database: str, tmp_path: Path) -> AsyncIterator[Bench]:
    """Give a log of one entry, and its witness."""
    async with open_bench(database, tmp_path) as opened:
        yield opened


def open_door(bench: Bench) -> httpx.AsyncClient:
    router = log.create_router(bench.database, RegistryInForce(bench.world.root.public))
    transport = httpx.ASGITransport(app=probes.create_app(Health(), router))
    return httpx.AsyncClient(transport=transport, base_url="http://hub.example")


async def test_whoever_walks_the_door_comes_to_the_signed_root(bench: Bench) -> None:
    await bench.add(599)
    async with running(bench.sequencer()):
        await bench.cosigned(600)
    async with open_door(bench) as client:
        answer = await client.get("/checkpoint")
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert answer.headers["cache-control"] == "no-cache"
        checkpoint = open_checkpoint(answer.content, bench.policy).checkpoint
        assert checkpoint.size == 600
        found, entries = {}, []
        for tile in new_tiles(0, checkpoint.size):
            answer = await client.get(f"/{tile.path}")
            assert (answer.status_code, answer.headers["content-type"]) == (200, "application/octet-stream")
            assert "immutable" in answer.headers["cache-control"]
            if tile.level == ENTRIES:
                entries += read_bundle(tile, answer.content)
            else:
                found[tile] = answer.content
    edge = Edge()
    edge.extend(map(merkle.leaf_hash, entries))
    assert edge.root() == Hashes(600, found).root() == checkpoint.root
    assert entries == bench.entries


async def test_a_bundle_is_compressed_for_who_asks(bench: Bench) -> None:
    await bench.add(299)
    async with running(bench.sequencer()):
        await bench.signed(300)
    async with open_door(bench) as client, client.stream("GET", "/tile/entries/000") as answer:
        raw = b"".join([part async for part in answer.aiter_raw()])
        assert answer.headers["content-encoding"] == "gzip"
        assert answer.headers["vary"] == "Accept-Encoding"
        assert read_bundle(Tile(ENTRIES, 0), gzip.decompress(raw)) == bench.entries[:256]


@pytest.mark.parametrize(
    "path",
    [
        "/tile/0/000.p/201",
        "/tile/0/000",
        "/tile/0/001",
        "/tile/1/000",
        "/tile/entries/000.p/201",
        "/tile/9/x1",
        "/tile/",
    ],
)
async def test_what_the_log_has_not_signed_or_is_no_tile_is_not_there(bench: Bench, path: str) -> None:
    await bench.add(199)
    async with running(bench.sequencer()):
        await bench.signed(200)
    async with open_door(bench) as client:
        answer = await client.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
        # Any narrower piece is as good as a partial tile of some earlier size.
        assert len((await client.get("/tile/0/000.p/77")).content) == 77 * 32


async def test_before_the_first_checkpoint_there_is_none(bench: Bench) -> None:
    async with open_door(bench) as client:
        assert (await client.get("/checkpoint")).status_code == 404
        assert (await client.get("/tile/0/000.p/1")).status_code == 404


async def publish(bench: Bench, folder: Path) -> publication.Published:
    async with bench.database.snapshot() as connection:
        return await publication.publish(connection, bench.registry, folder)


async def test_published_files_are_the_door_s_and_grow_with_the_log(bench: Bench, tmp_path: Path) -> None:
    folder = tmp_path / "log"
    with pytest.raises(NothingToPublish):
        await publish(bench, folder)
    for size in (300, 600):
        await bench.add(size - len(bench.entries))
        async with running(bench.sequencer()):
            await bench.cosigned(size)
        assert (await publish(bench, folder)).size == size
        # To repeat it writes nothing but the checkpoint.
        assert await publish(bench, folder) == (size, 0)
    async with open_door(bench) as client:
        for path in ("checkpoint", *(tile.path for tile in new_tiles(0, 600))):
            assert (folder / path).read_bytes() == (await client.get(f"/{path}")).content
    # A file that was lost is written again; nothing half-written is left.
    (folder / "tile/0/002.p/88").unlink()
    (folder / "checkpoint").unlink()
    assert (await publish(bench, folder)).files == 1
    assert list(folder.rglob("*.part")) == []


async def test_a_folder_of_another_log_or_ahead_of_the_database_is_left_alone(bench: Bench, tmp_path: Path) -> None:
    folder = tmp_path / "log"
    await bench.add(20)
    async with running(bench.sequencer()):
        await bench.cosigned(21)
    await publish(bench, folder)
    before = (folder / "checkpoint").read_bytes()
    (folder / "checkpoint").write_bytes(before.replace(b"21", b"22", 1))
    with pytest.raises(FolderContradicts, match="ahead of this database"):
        await publish(bench, folder)
    lines = before.split(b"\n")
    (folder / "checkpoint").write_bytes(b"\n".join([lines[0], b"20", *lines[2:]]))
    with pytest.raises(FolderContradicts, match="another log"):
        await publish(bench, folder)
    (folder / "checkpoint").write_bytes(b"no note")
    with pytest.raises(FolderContradicts, match="is no checkpoint"):
        await publish(bench, folder)
