"""The ministry's connector, on a real register: nothing passed by, nothing twice, nothing that holds others up."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from prometheus_client import CollectorRegistry

from connectors.link.clock import utc_now
from connectors.link.delivery import StreamItem, verify
from connectors.link.fact import Author
from connectors.link.fault import SourceFault, SourceUnreachable
from connectors.link.message import compose
from connectors.link.spool import Spool
from connectors.ministry.exchange import NOTE_CURSOR, NOTE_IDENTITY, Desk, OutboxReader
from connectors.ministry.gaps import GapCursor
from connectors.ministry.mapping import Mapping as RegisterMapping
from connectors.ministry.mapping import OutboxForm, RowColumns
from connectors.ministry.outbox_postgres import XactCursor
from connectors.ministry.outcome_queue import OutcomeQueue
from connectors.ministry.register import ROWS_MAX, Register, open_register
from connectors.ministry.rights import Rights
from connectors.ministry.telling import Teller
from connectors.ministry.translate import NativeRow, Untranslatable, translate_row, translate_rows
from contracts.events import EVENTS
from contracts.fields import write_digest
from contracts.wire.envelope import read_envelope
from contracts.wire.signature import VerifiedRoots
from tests.connectors.parties import (
    ENVIRONMENT,
    IMMIGRATION_SOURCE,
    MINISTRY_SOURCE,
    Item,
    World,
    eventually,
)
from tests.contracts.samples import APPLICATION, CODE, SAMPLES

AUTHOR = Author("ministry", MINISTRY_SOURCE, ENVIRONMENT)
AT = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
TOPIC = "to.ministry"

FILE = {
    "petugas": "ptg_00000001",
    "unit": "unit_00000001",
    "perantara": None,
    "ref_tka": "tka_00000001",
    "kbli": "62019",
    "provinsi": "31",
    "kabupaten": "3171",
    "tingkat_jabatan": "manajer",
    "jenis": "baru",
    "kewarganegaraan": "JPN",
}
POST = {
    "pemberi_kerja": {"nama": "PT Maju Bersama", "nib": "1234567890123", "npwp": "0013121660091000"},
    "jabatan": {"kbji": "2511", "nama": "Analis Sistem"},
    "lokasi": [{"provinsi": "31", "kabupaten": "3171"}],
    "mulai": "2026-04-01",
    "selesai": "2027-03-31",
    "kanim": "KANIM-JAKARTA-SELATAN",
}
PERSON = {"nama": "Taro Yamada", "tanggal_lahir": "1980-02-29", "kewarganegaraan": "JPN", "paspor": "L898902C36"}
DOCUMENTS = [{"kode": "D01", "sha256": "0f" * 32}]
DECIDED = {**FILE, **POST, "nomor_keputusan": "KEP.17/2026", "tanggal_keputusan": "2026-03-04", "tka": PERSON}
REFUSED = {**FILE, "nomor_keputusan": "KEP.18/2026", "alasan": "R01"}
BILL = {
    "kode_billing": "820260302000017",
    "jumlah": "1200.00",
    "mata_uang": "USD",
    "jumlah_usd": "1200.00",
    "kurs": None,
    "tanggal_kurs": None,
    "berlaku_sampai": "2026-03-09T16:59:59Z",
    "pembayar": "PT Maju Bersama",
}
RUPIAH = {
    **BILL,
    "jumlah": 19_500_000,
    "mata_uang": "IDR",
    "kurs": Decimal("16250.00"),
    "tanggal_kurs": "2026-03-02",
    "berlaku_sampai": "2026-03-09T23:59:59+07:00",
}
ROWS: dict[str, tuple[str, Mapping[str, Any]]] = {
    "PERMOHONAN_DIAJUKAN": (
        "permit.submitted",
        {
            **FILE,
            **POST,
            "tanggal": "2026-03-02",
            "dokumen": DOCUMENTS,
            "verifikator": {"garam": "a" * 32, "sha256": "0f" * 32},
        },
    ),
    "KEKURANGAN": ("permit.deficiency_notified", {**FILE, "kurang": [{"kode": "K01", "dokumen": "D03"}]}),
    "DIAJUKAN_ULANG": ("permit.resubmitted", {**FILE, "dokumen": DOCUMENTS}),
    "LENGKAP": ("permit.completed", FILE),
    "KELAYAKAN": ("permit.feasibility_assessed", {**FILE, "hasil": "lulus"}),
    "TKA_TERVERIFIKASI": ("permit.worker_verified", FILE),
    "DISETUJUI": ("permit.approved", DECIDED),
    "DIUBAH": ("permit.amended", DECIDED),
    "DITOLAK": ("permit.rejected", REFUSED),
    "DICABUT": ("permit.revoked", REFUSED),
    "KEDALUWARSA": ("permit.expired", FILE),
    "PERPANJANGAN": ("extension.requested", {**FILE, "nomor_sebelumnya": "KEP.1/2025", "selesai": "2028-03-31"}),
    "BERAKHIR": ("employment.ended", {**FILE, "tanggal": "2026-09-30"}),
    "PEMBEBASAN": ("exemption.granted", {**FILE, "golongan": "lembaga_sosial", "dasar_hukum": "PP 34/2021 Pasal 25"}),
    "JAWABAN": (
        "query.answered",
        {**FILE, "nomor_rekomendasi": "TKA-0123456789AB", "revisi": 1, "id_pertanyaan": "q-1", "jawaban": "Sesuai."},
    ),
    "KODE_BAYAR": ("billing.issued", BILL),
    "KODE_BAYAR_HANGUS": ("billing.expired", {"kode_billing": "820260302000017", "alasan": "LEWAT"}),
    "KODE_BAYAR_BATAL": ("billing.cancelled", {"kode_billing": "820260302000017", "alasan": "SALAH"}),
    "PENJELASAN_SELISIH": (
        "difference.explained",
        {"id_selisih": "820260302000017:0123456789abcdef", "kode_penjelasan": "P01", "penjelasan": "Dibukukan lusa."},
    ),
}


def row(kind: str, payload: Mapping[str, Any], row_id: int = 7) -> NativeRow:
    return NativeRow(f"outbox/{row_id}", AT, kind, APPLICATION, payload)


@pytest.mark.parametrize("kind", sorted(ROWS))
def test_every_kind_becomes_a_message_that_the_contract_accepts(kind: str) -> None:
    name, payload = ROWS[kind]
    event = translate_row(row(kind, payload))
    value, _ = compose(AUTHOR, event, sequence=1, recorded=AT, nonce="A" * 22)
    envelope = read_envelope(value)
    assert envelope.type == f"id.tka.ministry.{name}.v1"
    about = "820260302000017" if kind == "PENJELASAN_SELISIH" else APPLICATION
    assert (envelope.subject, envelope.time, envelope.correlationid) == (about, AT, about)


def test_every_ministry_event_has_its_kind_of_row() -> None:
    told = {f"id.tka.ministry.{name}.v1" for name, _ in ROWS.values()}
    published = {event for event in EVENTS if event.startswith("id.tka.ministry.")}
    # What the connector itself says, of its spool.
    assert published - {"id.tka.ministry.count.stated.v1"} == told


def test_money_and_rates_are_exact() -> None:
    data = translate_row(row("KODE_BAYAR", RUPIAH)).data
    assert (data["amount"], data["fx_rate"], data["expires_at"]) == ("19500000.00", "16250.0", "2026-03-09T16:59:59Z")
    compose(AUTHOR, translate_row(row("KODE_BAYAR", RUPIAH)), sequence=1, recorded=AT, nonce="A" * 22)


@pytest.mark.parametrize(
    ("kind", "changed", "code", "detail"),
    [
        ("PINDAH", {}, "row_kind_unknown", "kind"),
        ("LENGKAP", {"petugas": 7}, "row_value_unknown", "petugas"),
        ("LENGKAP", {"jenis": "lama"}, "row_value_unknown", "jenis"),
        ("KELAYAKAN", {}, "row_member_missing", "hasil"),
        ("DISETUJUI", {**DECIDED, "tka": None}, "row_member_missing", "tka"),
        ("DISETUJUI", {**DECIDED, "tka": {}}, "row_member_missing", "tka.nama"),
        ("DIAJUKAN_ULANG", {"dokumen": {}}, "row_value_unknown", "dokumen"),
        ("DIAJUKAN_ULANG", {"dokumen": ["D01"]}, "row_member_missing", "dokumen.0"),
        ("KODE_BAYAR", {**BILL, "jumlah": "1200.005"}, "row_value_unknown", "jumlah"),
        ("KODE_BAYAR", {**BILL, "jumlah": "banyak"}, "row_value_unknown", "jumlah"),
        ("KODE_BAYAR", {**BILL, "jumlah": "1_200.00"}, "row_value_unknown", "jumlah"),
        ("KODE_BAYAR", {**BILL, "jumlah": "\uff11\uff12\uff10\uff10.00"}, "row_value_unknown", "jumlah"),
        ("KODE_BAYAR", {**BILL, "jumlah": "1.2E3"}, "row_value_unknown", "jumlah"),
        ("KODE_BAYAR", {**BILL, "jumlah": " 1200.00"}, "row_value_unknown", "jumlah"),
        ("KODE_BAYAR", {**BILL, "jumlah": True}, "row_value_unknown", "jumlah"),
        ("KODE_BAYAR", {**BILL, "jumlah": "NaN"}, "row_value_unknown", "jumlah"),
        ("KODE_BAYAR", {**BILL, "berlaku_sampai": "2026-03-09"}, "row_value_unknown", "berlaku_sampai"),
        ("KODE_BAYAR", {**BILL, "berlaku_sampai": "0001-01-01T00:00:00+07:00"}, "row_value_unknown", "berlaku_sampai"),
        ("JAWABAN", {**ROWS["JAWABAN"][1], "revisi": "1"}, "row_value_unknown", "revisi"),
    ],
)
def test_what_cannot_be_translated_is_named_without_its_value(
    kind: str, changed: Mapping[str, Any], code: str, detail: str
) -> None:
    with pytest.raises(Untranslatable) as caught:
        translate_row(row(kind, {**FILE, **changed}))
    assert (caught.value.code, caught.value.detail) == (code, detail)


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+07:00", "9999-12-31T23:59:59-07:00", "1999-12-31T00:00:00Z"])
def test_a_row_dated_outside_the_calendar_is_set_aside_and_the_next_goes_on(text: str) -> None:
    dated = replace(row("LENGKAP", FILE), at=datetime.fromisoformat(text))
    facts, asides = translate_rows([dated, row("LENGKAP", FILE)])
    assert len(facts) == 1
    assert [(aside.code, aside.detail) for aside in asides] == [("row_value_unknown", "at")]


class Ministry:
    """The register's owner, who writes rows."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self.connection = connection

    async def write(self, kind: str = "LENGKAP", payload: Mapping[str, Any] = FILE, at: datetime = AT) -> int:
        value = await self.connection.fetchval(
            "INSERT INTO register.outbox (at, kind, application_number, payload) VALUES ($1, $2, $3, $4) RETURNING id",
            at,
            kind,
            APPLICATION,
            json.dumps(payload),
        )
        return int(value)

    async def outcomes(self) -> list[dict[str, Any]]:
        rows = await self.connection.fetch("SELECT * FROM register.outcome ORDER BY at, event_id")
        return [dict(each) | {"payload": json.loads(each["payload"])} for each in rows]


@pytest.fixture
async def ministry(register: str, database: str) -> AsyncIterator[Ministry]:
    connection = await asyncpg.connect(database)
    yield Ministry(connection)
    await connection.close()


class Connector:
    """The ministry's part of a connector, moved by hand."""

    def __init__(self, register: Register, spool: Spool, queue: OutcomeQueue) -> None:
        self.register, self.spool = register, spool
        self.reader = OutboxReader(register, spool)
        self.desk = Desk(spool, queue)
        self.teller = Teller(queue, register, utc_now, CollectorRegistry())

    async def read(self) -> int:
        """Read once; return how many messages the spool has got by it."""
        before = (await self.spool.status()).last_sequence
        await self.reader.read_once()
        return (await self.spool.status()).last_sequence - before

    async def tell(self) -> None:
        await self.desk.report_aside()
        while await self.teller.tell_due():
            pass


@asynccontextmanager
async def connector_on(
    folder: Path, register: str, mapping: RegisterMapping | None = None
) -> AsyncIterator[tuple[Connector, Spool]]:
    async with (
        open_register(register, mapping) as opened,
        Spool.open(folder / "spool.sqlite", AUTHOR) as spool,
        OutcomeQueue.open(folder, utc_now) as queue,
    ):
        yield Connector(opened, spool, queue), spool


async def rows_in(spool: Spool) -> list[str]:
    """Return the native keys of all that is spooled, in sequence."""
    ids = [read_envelope(each.value).id for each in await spool.waiting(1000)]
    facts = [await spool.fact(event_id) for event_id in ids]
    return [fact.native_key for fact in facts if fact is not None]


async def test_late_committing_lower_id_is_not_passed_by(
    tmp_path: Path, register: str, ministry: Ministry, database: str
) -> None:
    slow = await asyncpg.connect(database)
    try:
        transaction = slow.transaction()
        await transaction.start()
        late = await Ministry(slow).write()
        early = await ministry.write()
        async with connector_on(tmp_path, register) as (connector, spool):
            # The later row is committed, but an older transaction may still bring a lower one.
            assert await connector.read() == 0
            await transaction.commit()
            assert await connector.read() == 2
            assert await rows_in(spool) == [f"outbox/{late}", f"outbox/{early}"]
    finally:
        await slow.close()


def by_number() -> RegisterMapping:
    """The usual tables, as if there were no column of the transaction."""
    columns = RowColumns(id="id", at="at", kind="kind", application="application_number", payload="payload")
    return RegisterMapping(outbox=OutboxForm(table="register.outbox", columns=columns, gap_wait_s=1))


async def test_late_committing_lower_id_is_found_by_number_alone(
    tmp_path: Path, register: str, ministry: Ministry, database: str
) -> None:
    slow = await asyncpg.connect(database)
    try:
        transaction = slow.transaction()
        await transaction.start()
        late = await Ministry(slow).write()
        early = await ministry.write()
        async with connector_on(tmp_path, register, by_number()) as (connector, spool):
            await connector.reader.begin()
            assert await connector.read() == 1

            async def is_noted() -> bool:
                await connector.read()
                cursor = GapCursor.read(await spool.note(NOTE_CURSOR))
                return cursor.missed[0].horizon is not None

            # The number stays missing while its transaction runs, also after the wait.
            await eventually(is_noted)
            await transaction.commit()
            assert await connector.read() == 1
            assert GapCursor.read(await spool.note(NOTE_CURSOR)).missed == ()
            assert await rows_in(spool) == [f"outbox/{early}", f"outbox/{late}"]
    finally:
        await slow.close()


async def test_rolled_back_id_is_settled(tmp_path: Path, register: str, ministry: Ministry) -> None:
    await ministry.connection.fetchval("SELECT nextval('register.outbox_id_seq')")
    await ministry.write()
    async with connector_on(tmp_path, register, by_number()) as (connector, spool):

        async def is_settled() -> bool:
            await connector.read()
            cursor = GapCursor.read(await spool.note(NOTE_CURSOR))
            return cursor.top > 0 and cursor.missed == ()

        await eventually(is_settled)
        assert (await connector.register.tables.rights()).sees_transactions is True


async def test_lower_id_of_a_younger_transaction_is_not_passed_by(
    tmp_path: Path, register: str, ministry: Ministry, database: str
) -> None:
    # A sequence is not transactional: this id is drawn now and written after a higher one was read.
    low = await ministry.connection.fetchval("SELECT nextval('register.outbox_id_seq')")
    high = await ministry.write()
    async with connector_on(tmp_path, register) as (connector, spool):
        assert await connector.read() == 1
        await ministry.connection.execute(
            "INSERT INTO register.outbox (id, at, kind, application_number, payload) VALUES ($1, $2, $3, $4, $5)",
            *(low, AT, "LENGKAP", APPLICATION, json.dumps(FILE)),
        )
        assert await connector.read() == 1
        assert await rows_in(spool) == [f"outbox/{high}", f"outbox/{low}"]


async def test_restart_goes_on_where_it_was(tmp_path: Path, register: str, ministry: Ministry) -> None:
    first = await ministry.write()
    async with connector_on(tmp_path, register) as (connector, spool):
        await connector.reader.begin()
        assert await connector.read() == 1
        assert await connector.read() == 0
    second = await ministry.write()
    async with connector_on(tmp_path, register) as (connector, spool):
        await connector.reader.begin()
        assert await connector.read() == 1
        assert await rows_in(spool) == [f"outbox/{first}", f"outbox/{second}"]


async def test_broken_rows_are_told_and_hold_nothing_up(tmp_path: Path, register: str, ministry: Ministry) -> None:
    untranslatable = await ministry.write(payload={})
    unfit = await ministry.write(payload={**FILE, "kbli": "CANARY"})
    good = await ministry.write()
    async with connector_on(tmp_path, register) as (connector, spool):
        assert await connector.read() == 1
        await connector.tell()
        assert await rows_in(spool) == [f"outbox/{good}"]
        assert (await spool.status()).aside == 2
    told = {each["event_id"]: each for each in await ministry.outcomes()}
    assert told.keys() == {f"row-{untranslatable}", f"row-{unfit}"}
    assert {each["kind"] for each in told.values()} == {"BARIS_DITOLAK"}
    assert {each["application_number"] for each in told.values()} == {APPLICATION}
    assert told[f"row-{unfit}"]["payload"] == {
        "row": unfit,
        "code": "data_invalid",
        "detail": "kbli: string_pattern_mismatch",
    }
    assert told[f"row-{untranslatable}"]["payload"]["detail"] == "petugas"


async def test_crash_before_the_report_reports_later(tmp_path: Path, register: str, ministry: Ministry) -> None:
    broken = await ministry.write(payload={})
    async with connector_on(tmp_path, register) as (connector, spool):
        reading = await connector.register.order.read(None, ROWS_MAX)
        facts, aside = translate_rows(reading.rows)
        await spool.put(facts, aside=aside, notes={NOTE_CURSOR: reading.cursor})
    assert await ministry.outcomes() == []
    async with connector_on(tmp_path, register) as (connector, spool):
        await connector.tell()
        await connector.tell()
    assert [each["event_id"] for each in await ministry.outcomes()] == [f"row-{broken}"]


@pytest.mark.parametrize("how", ["numbers went back", "another server"])
async def test_restored_register_is_read_from_the_beginning(
    tmp_path: Path, register: str, ministry: Ministry, how: str
) -> None:
    await ministry.write()
    async with connector_on(tmp_path, register) as (connector, spool):
        await connector.reader.begin()
        await connector.read()
        before = await rows_in(spool)
        later = {NOTE_CURSOR: f"{2**60},1"} if how == "numbers went back" else {NOTE_IDENTITY: "1/1"}
        await spool.put(notes=later)
        await ministry.write()
        await connector.reader.begin()
        assert await spool.note(NOTE_CURSOR) is None
        assert await connector.read() == 1
        assert (await rows_in(spool))[:1] == before
        assert len(await rows_in(spool)) == 2


async def test_changed_row_under_a_known_number_is_a_conflict(
    tmp_path: Path, register: str, ministry: Ministry
) -> None:
    changed = await ministry.write()
    async with connector_on(tmp_path, register) as (connector, spool):
        await connector.read()
        await ministry.connection.execute("UPDATE register.outbox SET kind = 'TKA_TERVERIFIKASI'")
        await spool.put(notes={NOTE_CURSOR: None})
        await connector.read()
        assert len(await rows_in(spool)) == 1
        await connector.tell()
    assert [each["event_id"] for each in await ministry.outcomes()] == [f"row-{changed}-conflict"]


def deliver(world: World, item: Item) -> Any:
    """Verify a record as the link does."""
    assert item.value is not None
    record = StreamItem(TOPIC, 0, item.seq, item.key.encode(), item.value, item.headers, 0)
    return verify(record, world.registry(), VerifiedRoots(), world.now)


async def test_outcomes_are_written_once(tmp_path: Path, register: str, ministry: Ministry) -> None:
    world = World()
    issued, visa = "id.tka.hub.recommendation.issued.v1", "id.tka.immigration.visa.approved.v1"
    opened, reported = "id.tka.hub.difference.opened.v1", "id.tka.hub.reconciliation.reported.v1"
    items = [
        world.outcome(TOPIC, 1),
        world.word(TOPIC, 2, issued, SAMPLES[issued], subject=APPLICATION),
        world.forward(3, visa, world.immigration, IMMIGRATION_SOURCE, "immigration", id="visa-3"),
        world.heartbeat(TOPIC, 4),
        world.receipt(TOPIC, 5, MINISTRY_SOURCE, accepted=[{"id": "x", "sha256": "A" * 43, "log_index": 1}]),
        world.word(TOPIC, 6, opened, SAMPLES[opened], subject=CODE),
        world.word(TOPIC, 7, reported, SAMPLES[reported], subject="BRI"),
    ]
    async with connector_on(tmp_path, register) as (connector, _):
        for _ in range(2):
            for item in items:
                await connector.desk.handle(deliver(world, item))
            await connector.tell()
    written = await ministry.outcomes()
    assert sorted(each["kind"] for each in written) == [
        *("PEMBAYARAN", "REKOMENDASI", "REKONSILIASI", "SELISIH", "VISA")
    ]
    by_kind = {each["kind"]: each for each in written}
    assert by_kind["VISA"]["event_id"] == "visa-3"
    assert by_kind["VISA"]["application_number"] == APPLICATION
    assert by_kind["VISA"]["payload"]["visa_number"] == "V-1"
    assert by_kind["PEMBAYARAN"]["payload"]["outcome"] == "matched"
    assert by_kind["PEMBAYARAN"]["billing_code"] is not None


async def test_refused_message_names_the_row_it_came_from(tmp_path: Path, register: str, ministry: Ministry) -> None:
    world, number = World(), await ministry.write()
    async with connector_on(tmp_path, register) as (connector, spool):
        await connector.read()
        [envelope] = [read_envelope(each.value) for each in await spool.waiting(10)]
        refused = {"id": envelope.id, "sha256": write_digest(envelope.digest), "code": "key_revoked", "log_index": 3}
        stranger = {"id": None, "sha256": "A" * 43, "code": "json_invalid", "log_index": 4}
        item = world.receipt(TOPIC, 1, MINISTRY_SOURCE, refused=[refused, stranger])
        await connector.desk.handle(deliver(world, item))
        await connector.tell()
    [written] = await ministry.outcomes()
    assert written["kind"] == "TANDA_TERIMA"
    assert [(each["row"], each["code"]) for each in written["payload"]["refused"]] == [
        (number, "key_revoked"),
        (None, "json_invalid"),
    ]


async def test_register_that_is_away_or_closed_is_told_in_words(register: str, database: str) -> None:
    async with open_register("postgresql://nobody:x@127.0.0.1:1/none") as away:
        with pytest.raises(SourceUnreachable, match="check REGISTER_URL"):
            await away.order.read(None, 1)
    owner = await asyncpg.connect(database)
    await owner.execute("DROP TABLE register.outbox")
    await owner.close()
    async with open_register(register) as closed:
        with pytest.raises(SourceFault, match="grant SELECT on outbox"):
            await closed.order.read(None, 1)


async def test_role_may_not_change_the_outbox(register: str, ministry: Ministry) -> None:
    async with open_register(register) as opened:
        assert await opened.tables.rights() == Rights(True, True, changes=False, sees_transactions=None)


def test_cursor_is_written_and_read() -> None:
    assert XactCursor.read(str(XactCursor(812, 17))) == XactCursor(812, 17)
    assert XactCursor.read(None) == XactCursor.read('{"top":7,"missed":[]}') == XactCursor()
