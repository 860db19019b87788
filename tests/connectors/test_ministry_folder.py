"""The folder of an office that has only files: taken once, whole or not at all, the reason beside; none deleted."""

import asyncio
import csv
import hashlib
import io
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from connectors.link.clock import utc_now
from connectors.link.fault import SettingsFault, SourceFault
from connectors.link.spool import Spool
from connectors.ministry.events_file import ROWS_MAX, FileRefused, Manifest, read_rows
from connectors.ministry.events_folder import EventsFolder
from connectors.ministry.mapping import read_mapping
from tests.connectors.parties import eventually
from tests.connectors.test_ministry import AUTHOR, BILL, FILE, rows_in
from tests.contracts.samples import APPLICATION

AT = "2026-03-02T08:00:00+07:00"
FLAT = {"key": "K-1", "at": AT, "kind": "LENGKAP", "application_number": APPLICATION} | {
    name: value or "" for name, value in FILE.items()
}


def line(key: str, **changes: Any) -> dict[str, Any]:
    return {"key": key, "at": AT, "kind": "LENGKAP", "application_number": APPLICATION, "payload": FILE} | changes


def ndjson(*lines: Mapping[str, Any]) -> bytes:
    return "".join(json.dumps(each) + "\n" for each in lines).encode()


def table(rows: Sequence[Mapping[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


class Office:
    """An office's side of the folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def drop(self, file: str, content: bytes, rows: int, **changes: Any) -> None:
        (self.folder / f"{file}.part").write_bytes(content)
        (self.folder / f"{file}.part").rename(self.folder / file)
        manifest = {"name": file, "rows": rows, "sha256": hashlib.sha256(content).hexdigest()} | changes
        (self.folder / f"{file}.manifest.json").write_text(json.dumps(manifest))

    def files(self, below: str = "") -> set[str]:
        place = self.folder / below
        return {each.name for each in place.iterdir() if each.is_file()} if place.exists() else set()


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path / "in")


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncIterator[Spool]:
    async with Spool.open(tmp_path / "spool.sqlite", AUTHOR, clock=utc_now) as opened:
        yield opened


@pytest.fixture
async def folder(office: Office, spool: Spool) -> AsyncIterator[EventsFolder]:
    async with EventsFolder.open(office.folder, spool, None, CollectorRegistry()) as opened:
        yield opened


async def test_ndjson_and_csv_are_taken_whole_and_moved(office: Office, spool: Spool, folder: EventsFolder) -> None:
    office.drop("a.ndjson", ndjson(line("K-1"), line("K-2")), 2)
    office.drop("b.csv", table([FLAT | {"key": "K-3"}]), 1)
    assert await folder.scan() == 2
    assert await rows_in(spool) == ["folder/K-1", "folder/K-2", "folder/K-3"]
    assert office.files() == set()
    assert office.files("done") == {"a.ndjson", "a.ndjson.manifest.json", "b.csv", "b.csv.manifest.json"}


async def test_columns_and_a_payload_tell_the_same(office: Office, spool: Spool, folder: EventsFolder) -> None:
    payload = {
        "key": "K-1",
        "at": AT,
        "kind": "LENGKAP",
        "application_number": APPLICATION,
        "payload": json.dumps(FILE),
    }
    office.drop("a.csv", table([FLAT]), 1)
    office.drop("b.csv", table([payload]), 1)
    office.drop("c.ndjson", ndjson(line("K-1")), 1)
    assert await folder.scan() == 3
    assert await rows_in(spool) == ["folder/K-1"]
    assert (await spool.status()).aside == 0


async def test_own_headers_are_read_by_the_mapping(office: Office, spool: Spool) -> None:
    form = read_mapping(
        '[csv]\ntime_zone = "Asia/Jakarta"\n[csv.columns]\nkey = "No Surat"\nat = "Waktu"\nkind = "Jenis"\n'
        'application = "Permohonan"\n[csv.members]\nkode_billing = "Kode"\nalasan = "Sebab"\n'
        '[csv.kinds]\nBATAL = "KODE_BAYAR_BATAL"\n'
    ).csv
    rows = [{"No Surat": "7/2026", "Waktu": "2026-03-02T08:00", "Jenis": "BATAL", "Permohonan": APPLICATION,
             "Kode": BILL["kode_billing"], "Sebab": "SALAH", "Catatan": "x"}]  # fmt: skip
    office.drop("a.csv", b"\xef\xbb\xbf" + table(rows), 1)
    async with EventsFolder.open(office.folder, spool, form, CollectorRegistry()) as folder:
        assert await folder.scan() == 1
    assert await rows_in(spool) == ["folder/7/2026"]


async def test_rows_that_cannot_be_taken_are_named_beside_the_file(
    office: Office, spool: Spool, folder: EventsFolder
) -> None:
    lines = [
        line("K-1"),
        line("K-2", kind="PINDAH"),
        line(""),
        line("K-4", payload={**FILE, "kbli": "x"}),
        {"key": "K-5"},
    ]
    lines.append(line("K-1", kind="TKA_TERVERIFIKASI"))
    office.drop("a.ndjson", ndjson(*lines), 6)
    assert await folder.scan() == 1
    assert await rows_in(spool) == ["folder/K-1"]
    reason = (office.folder / "done" / "a.ndjson.reason.txt").read_text().splitlines()
    assert reason == [
        "5 of 6 rows were refused; the others were taken.",
        "K-2: row_kind_unknown: kind",
        "a.ndjson:3: row_key_missing: key must have 1 to 200 characters",
        "a.ndjson:5: line_unreadable: the line is no object of the five members",
        "K-4: unfit: data_invalid: kbli: string_pattern_mismatch",
        "K-1: conflict: conflict: another content stands under the same native key",
    ]
    assert (await spool.status()).aside == 5


async def test_half_a_surrogate_pair_in_a_line_stops_nothing_behind_it(
    office: Office, spool: Spool, folder: EventsFolder
) -> None:
    half = "K\ud800"
    lines = [line(half), line("K-1") | {"application_number": half}, line("K-2") | {"kind": half}, line("K-3")]
    office.drop("a.ndjson", ndjson(*lines), 4)
    assert await folder.scan() == 1
    assert await rows_in(spool) == ["folder/K-3"]
    kept = {aside.native_key: (aside.code, aside.subject) for aside in await spool.unreported(10)}
    assert kept == {
        "folder/a.ndjson:1": ("row_key_missing", APPLICATION),
        "folder/K-1": ("json_invalid", None),
        "folder/K-2": ("row_kind_unknown", APPLICATION),
    }


async def test_same_file_again_changes_nothing_and_keeps_both(
    office: Office, spool: Spool, folder: EventsFolder
) -> None:
    for _ in range(2):
        office.drop("a.ndjson", ndjson(line("K-1")), 1)
        assert await folder.scan() == 1
    assert await rows_in(spool) == ["folder/K-1"]
    assert office.files("done") == {
        *("a.ndjson", "a.ndjson.manifest.json"),
        *("a.2.ndjson", "a.2.ndjson.manifest.json"),
    }


@pytest.mark.parametrize(
    ("reason", "name", "content", "rows", "changes"),
    [
        ("manifest_invalid", "a.csv", table([FLAT]), 1, {"name": "b.csv"}),
        ("manifest_invalid", "a.csv", table([FLAT]), 1, {"sha256": "x"}),
        ("manifest_invalid", "a.csv", table([FLAT]), 1, {"more": 1}),
        ("name_unknown", "a.xml", b"<a/>", 1, {}),
        ("sha256_wrong", "a.csv", table([FLAT]), 1, {"sha256": "0" * 64}),
        ("rows_wrong", "a.csv", table([FLAT]), 2, {}),
        ("not_utf8", "a.ndjson", b"\xff\n", 1, {}),
        ("csv_invalid", "a.csv", table([FLAT]) + b'"', 1, {}),
        ("header_wrong", "a.csv", b"key,at,kind\nK,1,LENGKAP\n", 1, {}),
        ("header_wrong", "a.csv", b"key,at,kind,application_number,at\n", 0, {}),
        ("header_wrong", "a.csv", b"key,at,kind,application_number,Nama TKA\n", 0, {}),
        ("zone_unknown", "a.ndjson", ndjson(line("K-1", at="2026-03-02T08:00:00")), 1, {}),
    ],
)
async def test_file_that_cannot_be_taken_is_refused_whole_with_its_reason(
    office: Office, spool: Spool, folder: EventsFolder, reason: str, name: str, content: bytes, rows: int,
    changes: dict[str, Any],
) -> None:  # fmt: skip
    office.drop(name, content, rows, **changes)

    async def is_refused() -> bool:
        return await folder.scan() == 1

    await eventually(is_refused)
    assert await rows_in(spool) == []
    assert office.files("refused") == {name, f"{name}.manifest.json", f"{name}.reason.txt"}
    assert (office.folder / "refused" / f"{name}.reason.txt").read_text().startswith(f"refused: {reason}: ")
    [aside] = await spool.unreported(10)
    assert (aside.native_key, aside.code) == (f"folder/{name}", reason)


async def test_what_is_not_finished_is_left_alone(office: Office, spool: Spool, folder: EventsFolder) -> None:
    (office.folder / "a.csv").write_bytes(table([FLAT]))
    (office.folder / "b.csv.manifest.json").write_text("{}")
    (office.folder / "c.csv.part").write_bytes(b"")
    (office.folder / "c.csv.manifest.json.part").write_text("{}")
    office.drop("d.csv", table([FLAT])[:-9], 1, sha256=hashlib.sha256(table([FLAT])).hexdigest())
    before = office.files()
    assert await folder.scan() == 0
    assert office.files() == before
    # The rest of the last one arrives.
    (office.folder / "d.csv").write_bytes(table([FLAT]))
    assert await folder.scan() == 1
    assert await rows_in(spool) == ["folder/K-1"]


async def test_file_is_moved_and_not_taken_again_after_a_crash(
    office: Office, spool: Spool, folder: EventsFolder
) -> None:
    office.drop("a.ndjson", ndjson(line("K-1")), 1)
    office.drop("b.ndjson", ndjson(line("K-2")), 1)
    sha256 = hashlib.sha256(ndjson(line("K-1"))).hexdigest()
    move = {"name": "a.ndjson", "sha256": sha256, "folder": "done", "text": "said"}
    await spool.put(notes={"folder/moving": json.dumps(move)})
    # Half of the move was done before the crash.
    (office.folder / "done").mkdir()
    (office.folder / "a.ndjson").rename(office.folder / "done" / "a.ndjson")
    assert await folder.scan() == 1
    assert await rows_in(spool) == ["folder/K-2"]
    assert office.files() == set()
    assert await spool.note("folder/moving") is None


async def test_two_connectors_on_one_folder_say_so(office: Office, spool: Spool, folder: EventsFolder) -> None:
    with pytest.raises(SourceFault, match="Another connector process takes files from EVENTS_DIR"):
        async with EventsFolder.open(office.folder, spool, None, CollectorRegistry()):
            pass
    with pytest.raises(SettingsFault, match="no folder"):
        async with EventsFolder.open(office.folder / "none", spool, None, CollectorRegistry()):
            pass


async def test_watch_takes_what_arrives(office: Office, spool: Spool, folder: EventsFolder) -> None:
    watch = asyncio.create_task(folder.run())
    office.drop("a.ndjson", ndjson(line("K-1")), 1)

    async def is_taken() -> bool:
        return await rows_in(spool) == ["folder/K-1"] and "a.ndjson" in office.files("done")

    await eventually(is_taken)
    watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)


def test_large_file_is_refused_by_its_manifest() -> None:
    manifest = Manifest("a.ndjson", ROWS_MAX, "0" * 64)
    with pytest.raises(FileRefused, match="rows_wrong"):
        read_rows(manifest, b"{}\n", None)


@given(st.sampled_from(["a.csv", "a.ndjson"]), st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_no_content_breaks_the_reader(name: str, content: bytes) -> None:
    try:
        taken = len(read_rows(Manifest(name, 1, "0" * 64), content, None))
    except FileRefused:
        taken = 1
    assert taken == 1
