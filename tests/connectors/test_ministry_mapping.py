"""The settings file of an existing register: what it may say, what it makes of a record, and its faults in words."""

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from connectors.link.fact import Aside
from connectors.link.fault import SettingsFault
from connectors.ministry.mapping import Mapping, MappingInvalid, read_mapping
from connectors.ministry.record import ZoneUnknown, read_record
from connectors.ministry.settings import MinistrySettings
from connectors.ministry.translate import NativeRow, row_of, row_refused, translate_row
from tests.connectors.test_ministry import DECIDED
from tests.contracts.samples import APPLICATION

FLAT = """
[outbox]
table = "permits.changes"
time_zone = "Asia/Jakarta"
[outbox.columns]
id = "change_no"
key = "change_uuid"
at = "changed_at"
kind = "status_code"
application = "permit_no"
[outbox.members]
petugas = "officer"
unit = "unit"
perantara = "agent"
ref_tka = "worker"
kbli = {column = "kbli", as = "text", width = 5}
provinsi = "province"
kabupaten = {column = "city", as = "text", width = 4}
tingkat_jabatan = "level"
jenis = "kind_of_permit"
kewarganegaraan = "nationality"
nomor_keputusan = "decision_no"
tanggal_keputusan = "decided_on"
"tka.nama" = "worker_name"
"tka.tanggal_lahir" = "born"
"tka.kewarganegaraan" = "nationality"
"tka.paspor" = "passport"
"pemberi_kerja.nama" = "company"
"pemberi_kerja.nib" = "nib"
"pemberi_kerja.npwp" = "npwp"
"jabatan.kbji" = "job"
"jabatan.nama" = "job_title"
"lokasi.0.provinsi" = "province"
"lokasi.0.kabupaten" = "city_text"
"lokasi.1.provinsi" = "province_2"
"lokasi.1.kabupaten" = "city_2"
mulai = "first_day"
selesai = "last_day"
kanim = "office"
[outbox.kinds]
"70" = "DISETUJUI"
[outbox.words.jenis]
N = "baru"
[outbox.words.tingkat_jabatan]
"3" = "manajer"
"""
RECORD = {
    "change_no": 7,
    "change_uuid": UUID(int=7),
    "changed_at": datetime(2026, 3, 4, 8, 0),  # noqa: DTZ001  # As a database without zones gives it.
    "status_code": 70,
    "permit_no": APPLICATION,
    "officer": "ptg_00000001",
    "unit": "unit_00000001",
    "agent": None,
    "worker": "tka_00000001",
    "kbli": 62019,
    "province": "31",
    "city": 3171,
    "city_text": "3171",
    "province_2": None,
    "city_2": None,
    "level": 3,
    "kind_of_permit": "N",
    "nationality": "JPN",
    "decision_no": "KEP.17/2026",
    "decided_on": date(2026, 3, 4),
    "worker_name": "Taro Yamada",
    "born": date(1980, 2, 29),
    "passport": "L898902C36",
    "company": "PT Maju Bersama",
    "nib": "1234567890123",
    "npwp": "0013121660091000",
    "job": "2511",
    "job_title": "Analis Sistem",
    "first_day": date(2026, 4, 1),
    "last_day": date(2027, 3, 31),
    "office": "KANIM-JAKARTA-SELATAN",
}


def test_flat_columns_become_the_same_event_as_a_payload() -> None:
    row = read_record(read_mapping(FLAT).outbox, RECORD, "outbox")
    assert isinstance(row, NativeRow)
    plain = NativeRow(row.native_key, row.at, "DISETUJUI", APPLICATION, DECIDED)
    assert translate_row(row) == translate_row(plain)
    assert row.native_key == f"outbox/{UUID(int=7)}"
    assert row.at.astimezone(UTC) == datetime(2026, 3, 4, 1, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("changed", "code", "detail"),
    [
        ({"changed_at": None}, "row_member_missing", "at"),
        ({"changed_at": "yesterday"}, "row_value_unknown", "at"),
        ({"changed_at": 7}, "row_value_unknown", "at"),
        ({"status_code": None}, "row_member_missing", "kind"),
        ({"status_code": 7.5}, "row_value_unknown", "kind"),
        ({"born": 1.5}, "row_value_unknown", "tka.tanggal_lahir"),
        ({"kbli": True}, "row_value_unknown", "kbli"),
    ],
)
def test_record_that_cannot_be_read_is_set_aside_by_name(changed: dict[str, Any], code: str, detail: str) -> None:
    aside = read_record(read_mapping(FLAT).outbox, RECORD | changed, "outbox")
    assert aside == Aside(f"outbox/{UUID(int=7)}", code, detail, APPLICATION)


def test_row_set_aside_names_its_application_only_if_it_can_be_read() -> None:
    assert read_record(read_mapping(FLAT).outbox, RECORD | {"permit_no": 7.5}, "outbox") == Aside(
        f"outbox/{UUID(int=7)}", "row_value_unknown", "application"
    )
    for subject, application in ((APPLICATION, APPLICATION), ("820260302000017", None), (None, None)):
        assert row_refused(Aside("outbox/17", "data_invalid", "kbli", subject)).application == application


def test_record_without_its_key_is_named_by_its_number() -> None:
    row = read_record(read_mapping(FLAT).outbox, RECORD | {"change_uuid": None}, "outbox")
    assert row.native_key == "outbox/7"


def test_time_without_a_zone_is_never_guessed() -> None:
    form = read_mapping(FLAT.replace('time_zone = "Asia/Jakarta"\n', "")).outbox
    with pytest.raises(ZoneUnknown):
        read_record(form, RECORD, "outbox")


def test_payload_and_columns_can_stand_side_by_side() -> None:
    mapping = read_mapping(
        '[outbox]\ntable = "t"\n[outbox.columns]\nid = "i"\nat = "a"\nkind = "k"\npayload = "p"\n'
        '[outbox.members]\nnomor = "n"\ndaftar = {column = "d", as = "json"}\nrevisi = {column = "r", as = "number"}\n'
    )
    record = {"i": 1, "a": "2026-03-04T08:00:00Z", "k": "LENGKAP", "p": '{"x": 1.10}', "n": Decimal("2.50"),
              "d": '[{"kode": "D01"}]', "r": "3"}  # fmt: skip
    row = read_record(mapping.outbox, record, "outbox")
    assert isinstance(row, NativeRow)
    assert row.payload == {"x": Decimal("1.10"), "nomor": Decimal("2.50"), "daftar": [{"kode": "D01"}], "revisi": 3}
    for broken, detail in (
        ({"p": "{"}, "payload"),
        ({"p": "[]"}, "payload"),
        ({"d": "{"}, "daftar"),
        ({"r": "x"}, "revisi"),
    ):
        aside = read_record(mapping.outbox, record | broken, "outbox")
        assert isinstance(aside, Aside)
        assert aside.detail == detail


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[outbox", "it is no TOML"),
        ('[outbox]\ntable = "a; DROP TABLE b"\n[outbox.columns]\nid="i"\nat="a"\nkind="k"', "outbox.table"),
        ('[outbox]\ntable = "t"\n[outbox.columns]\nid="i\\""\nat="a"\nkind="k"', "letters, digits and underscores"),
        ('[outbox]\ntable = "t"\n[outbox.columns]\nat="a"\nkind="k"', "columns.id is needed"),
        ('[outbox]\ntable = "t"\n[outbox.columns]\nid="i"\nat="a"\nkind="k"\n[outbox.kinds]\nx = "PINDAH"', "no kind"),
        ('[outbox]\ntable = "t"\ntime_zone = "WIB/x"\n[outbox.columns]\nid="i"\nat="a"\nkind="k"', "no time zone"),
        ('[outbox]\ntable = "t"\n[outbox.columns]\nid="i"\nat="a"\nkind="k"\n[outbox.members]\n"A B" = "c"', "members"),
        ('[csv.columns]\nat="a"\nkind="k"', "columns.key is needed"),
        ("[outcomes]\n", "outcomes: Extra inputs"),
    ],
)
def test_mapping_that_cannot_be_used_says_where(text: str, says: str) -> None:
    with pytest.raises(MappingInvalid, match=says.replace(".", r"\.")):
        read_mapping(text)


def test_settings_need_a_way_in_and_a_way_out(tmp_path: Path) -> None:
    common: dict[str, Any] = {
        "participant": "ministry",
        "source_uri": "https://ministry.example/tka",
        "key_file": tmp_path / "k",
        "api_key_file": tmp_path / "a",
        "hub_api_url": "https://hub.example",
        "kafka_bootstrap": "kafka.example:9092",
        "trust_root_file": tmp_path / "r",
        "spool_dir": tmp_path,
    }
    with pytest.raises(SettingsFault, match="no way in"):
        MinistrySettings(**common).check_ways()
    with pytest.raises(SettingsFault, match="no way out"):
        MinistrySettings(**common, events_token_file=tmp_path / "t").check_ways()
    with pytest.raises(SettingsFault, match="go together"):
        MinistrySettings(**common, events_dir=tmp_path, webhook_url="https://ministry.example/hook").check_ways()
    assert MinistrySettings(**common, events_dir=tmp_path).read_mapping() == Mapping()
    for name, says in (("none.toml", "cannot be read"), ("bad.toml", "cannot be used: outbox")):
        (tmp_path / "bad.toml").write_text("[outbox]\n")
        with pytest.raises(SettingsFault, match=says):
            MinistrySettings(**common, register_mapping_file=tmp_path / name).read_mapping()


def test_row_is_told_of_by_the_name_that_the_ministry_knows() -> None:
    assert row_of("outbox/17") == 17
    assert row_of("outbox/a/17") == "a/17"
    assert row_of("rest/17") == "17"
    assert row_refused(Aside("folder/a.csv:3", "line_unreadable", "d")).event_id == "row-folder-a.csv:3"
