"""From a fact in the ministry's own words to an event, and from what came out to an outcome in those words. Pure.

The register's words are Indonesian and its own; the table below is the whole dictionary, whichever door a fact comes
through. What a value may look like is the contract's question, which the spool asks; here only what cannot be found or
named is Untranslatable.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from connectors.link.fact import Aside, NewEvent, SpooledFact
from contracts.events.hub import CorrectionRequested, Receipt
from contracts.wire.envelope import Envelope
from contracts.wire.instant import FIRST_YEAR, write_instant

MINISTRY = "id.tka.ministry."
OUTBOX = "outbox"
CODE_KIND_UNKNOWN = "row_kind_unknown"
CODE_MEMBER_MISSING = "row_member_missing"
CODE_VALUE_UNKNOWN = "row_value_unknown"

_LEVELS = {
    "staf": "staff",
    "penyelia": "supervisor",
    "manajer": "manager",
    "direktur": "director",
    "komisaris": "commissioner",
    "ahli": "expert",
}
_PERMIT_KINDS = {"baru": "new", "perpanjangan": "extension", "sementara": "temporary"}
_RESULTS = {"lulus": "pass", "tidak": "fail"}

# The first prefix that fits names the outcome's kind; heartbeats and bills are the banks' and the link's business.
_OUTCOME_KINDS = (
    ("id.tka.hub.payment.", "PEMBAYARAN"),
    ("id.tka.hub.recommendation.", "REKOMENDASI"),
    ("id.tka.hub.difference.", "SELISIH"),
    ("id.tka.hub.reconciliation.", "REKONSILIASI"),
    ("id.tka.hub.sla.", "LAYANAN"),
    ("id.tka.immigration.", "VISA"),
)
RECEIPT_KIND = "TANDA_TERIMA"
ROW_REFUSED_KIND = "BARIS_DITOLAK"
CORRECTION_KIND = "PERLU_PERBAIKAN"
CORRECTS = "memperbaiki"
_is_event_id = re.compile(r"[!-~]{1,64}").fullmatch
_BILLING_CODE = re.compile(r"[0-9]{15}")
_DECIMAL = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?")
# A register's "zero date" or "never" as the time of a row is no time, and has no place in the calendar in UTC.
_FIRST_YEAR, _LAST_YEAR = FIRST_YEAR, 9_000


class Untranslatable(Exception):
    """A row that cannot become an event; `detail` names a member and never a value, which may be a person's."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


@dataclass(frozen=True, slots=True)
class NativeRow:
    """A fact as the ministry tells it, through whichever door; `payload` is its JSON with exact decimals.

    `native_key` is `<door>/<the door's own identity of the fact>`, for example `outbox/17`. `at` is aware.
    """

    native_key: str
    at: datetime
    kind: str
    application: str | None
    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class OutcomeRow:
    """What the ministry is told of one thing; the same thing always makes the same row, under the same `event_id`."""

    event_id: str
    kind: str
    application: str | None
    billing_code: str | None
    payload: Mapping[str, Any]


class _Native:
    """A JSON object of the register, whose members are asked for by name."""

    def __init__(self, members: Any, path: str = "") -> None:
        if not isinstance(members, Mapping):
            raise Untranslatable(CODE_MEMBER_MISSING, path.rstrip(".") or "payload")
        self._members, self._path = members, path

    def get(self, name: str) -> Any:
        if name not in self._members:
            raise Untranslatable(CODE_MEMBER_MISSING, self._path + name)
        return self._members[name]

    def text(self, name: str) -> str:
        value = self.get(name)
        if not isinstance(value, str):
            raise Untranslatable(CODE_VALUE_UNKNOWN, self._path + name)
        return value

    def text_or_none(self, name: str) -> str | None:
        return None if self.get(name) is None else self.text(name)

    def word(self, name: str, words: Mapping[str, str]) -> str:
        word = words.get(self.text(name))
        if word is None:
            raise Untranslatable(CODE_VALUE_UNKNOWN, self._path + name)
        return word

    def number(self, name: str) -> int:
        value = self.get(name)
        if type(value) is not int:
            raise Untranslatable(CODE_VALUE_UNKNOWN, self._path + name)
        return value

    def decimal(self, name: str, places: int) -> str:
        """Return a number or its text as plain decimals, never rounded."""
        value = self.get(name)
        # Decimal also reads underscores and the digits of every script, which no register means as money.
        if type(value) not in (str, int, Decimal) or (isinstance(value, str) and not _DECIMAL.fullmatch(value)):
            raise Untranslatable(CODE_VALUE_UNKNOWN, self._path + name)
        try:
            exact = Decimal(value)
            if exact != (rounded := exact.quantize(Decimal(1).scaleb(-places))):
                raise Untranslatable(CODE_VALUE_UNKNOWN, self._path + name)
        except InvalidOperation:
            raise Untranslatable(CODE_VALUE_UNKNOWN, self._path + name) from None
        return f"{rounded:f}"

    def instant(self, name: str) -> str:
        try:
            return write_instant(datetime.fromisoformat(self.text(name)))
        except ValueError:
            raise Untranslatable(CODE_VALUE_UNKNOWN, self._path + name) from None

    def part(self, name: str) -> "_Native":
        return _Native(self.get(name), f"{self._path}{name}.")

    def parts(self, name: str) -> list["_Native"]:
        items = self.get(name)
        if not isinstance(items, list):
            raise Untranslatable(CODE_VALUE_UNKNOWN, self._path + name)
        return [_Native(item, f"{self._path}{name}.{place}.") for place, item in enumerate(items)]


_Data = dict[str, Any]


def _file(native: _Native) -> _Data:
    """The block that every permit row carries: who handles it, and what is counted."""
    return {
        "official": native.text("petugas"),
        "unit": native.text("unit"),
        "intermediary": native.text_or_none("perantara"),
        "worker": native.text("ref_tka"),
        "kbli": native.text("kbli"),
        "province": native.text("provinsi"),
        "regency": native.text("kabupaten"),
        "position_level": native.word("tingkat_jabatan", _LEVELS),
        "permit_kind": native.word("jenis", _PERMIT_KINDS),
        "nationality": native.text("kewarganegaraan"),
    }


def _documents(native: _Native) -> _Data:
    documents = native.parts("dokumen")
    return {"documents": [{"code": each.text("kode"), "sha256": each.text("sha256")} for each in documents]}


def _post(native: _Native) -> _Data:
    employer, position = native.part("pemberi_kerja"), native.part("jabatan")
    return {
        "employer": {"name": employer.text("nama"), "nib": employer.text("nib"), "npwp": employer.text("npwp")},
        "position": {"kbji": position.text("kbji"), "title": position.text("nama")},
        "places": [
            {"province": each.text("provinsi"), "regency": each.text("kabupaten")} for each in native.parts("lokasi")
        ],
        "from": native.text("mulai"),
        "until": native.text("selesai"),
        "kanim": native.text("kanim"),
    }


def _submitted(native: _Native) -> _Data:
    verifier = native.part("verifikator")
    return {
        **_documents(native),
        **_post(native),
        "application_date": native.text("tanggal"),
        "status_verifier": {"salt": verifier.text("garam"), "sha256": verifier.text("sha256")},
    }


def _decided(native: _Native) -> _Data:
    worker = native.part("tka")
    return {
        **_post(native),
        "decision": native.text("nomor_keputusan"),
        "decided_on": native.text("tanggal_keputusan"),
        "person": {
            "name": worker.text("nama"),
            "birth_date": worker.text("tanggal_lahir"),
            "nationality": worker.text("kewarganegaraan"),
            "passport": worker.text("paspor"),
        },
    }


def _deficiency(native: _Native) -> _Data:
    missing = native.parts("kurang")
    return {"missing": [{"code": each.text("kode"), "document": each.text("dokumen")} for each in missing]}


def _reason(native: _Native) -> _Data:
    return {"decision": native.text("nomor_keputusan"), "reason_code": native.text("alasan")}


def _extension(native: _Native) -> _Data:
    return {"previous_decision": native.text("nomor_sebelumnya"), "until": native.text("selesai")}


def _answer(native: _Native) -> _Data:
    return {
        "number": native.text("nomor_rekomendasi"),
        "revision": native.number("revisi"),
        "query_id": native.text("id_pertanyaan"),
        "answer": native.text("jawaban"),
    }


def _bill(native: _Native) -> _Data:
    rate = None if native.get("kurs") is None else native.decimal("kurs", 6).rstrip("0")
    return {
        "billing_code": native.text("kode_billing"),
        "amount": native.decimal("jumlah", 2),
        "currency": native.text("mata_uang"),
        "usd_amount": native.decimal("jumlah_usd", 2),
        "fx_rate": f"{rate}0" if rate is not None and rate.endswith(".") else rate,
        "fx_date": native.text_or_none("tanggal_kurs"),
        "expires_at": native.instant("berlaku_sampai"),
        "payer": native.text("pembayar"),
    }


def _explanation(native: _Native) -> _Data:
    return {
        "difference_id": native.text("id_selisih"),
        "explanation_code": native.text("kode_penjelasan"),
        "text": native.text("penjelasan"),
    }


def _bill_cancelled(native: _Native) -> _Data:
    return {"billing_code": native.text("kode_billing"), "reason_code": native.text("alasan")}


@dataclass(frozen=True, slots=True)
class _Kind:
    """How one kind of row is told: the event's name, what it says, and whether it carries the file's block.

    `of_application`: it is about the row's application; else its own data says what it is about.
    """

    event: str
    tell: Callable[[_Native], _Data]
    with_file: bool = True
    of_application: bool = True


_KINDS: Mapping[str, _Kind] = {
    "PERMOHONAN_DIAJUKAN": _Kind("permit.submitted.v1", _submitted),
    "KEKURANGAN": _Kind("permit.deficiency_notified.v1", _deficiency),
    "DIAJUKAN_ULANG": _Kind("permit.resubmitted.v1", _documents),
    "LENGKAP": _Kind("permit.completed.v1", lambda native: {}),
    "KELAYAKAN": _Kind("permit.feasibility_assessed.v1", lambda native: {"result": native.word("hasil", _RESULTS)}),
    "TKA_TERVERIFIKASI": _Kind("permit.worker_verified.v1", lambda native: {}),
    "DISETUJUI": _Kind("permit.approved.v1", _decided),
    "DIUBAH": _Kind("permit.amended.v1", _decided),
    "DITOLAK": _Kind("permit.rejected.v1", _reason),
    "DICABUT": _Kind("permit.revoked.v1", _reason),
    "KEDALUWARSA": _Kind("permit.expired.v1", lambda native: {}),
    "PERPANJANGAN": _Kind("extension.requested.v1", _extension),
    "BERAKHIR": _Kind("employment.ended.v1", lambda native: {"ended_on": native.text("tanggal")}),
    "PEMBEBASAN": _Kind(
        "exemption.granted.v1",
        lambda native: {"class": native.text("golongan"), "legal_basis": native.text("dasar_hukum")},
    ),
    "JAWABAN": _Kind("query.answered.v1", _answer),
    "KODE_BAYAR": _Kind("billing.issued.v1", _bill, with_file=False),
    "KODE_BAYAR_HANGUS": _Kind(
        "billing.expired.v1", lambda native: {"billing_code": native.text("kode_billing")}, with_file=False
    ),
    "KODE_BAYAR_BATAL": _Kind("billing.cancelled.v1", _bill_cancelled, with_file=False),
    "PENJELASAN_SELISIH": _Kind("difference.explained.v1", _explanation, with_file=False, of_application=False),
}
KINDS = frozenset(_KINDS)


def translate_row(row: NativeRow) -> NewEvent:
    """Return the event that a row tells. Raises Untranslatable."""
    kind = _KINDS.get(row.kind)
    if kind is None:
        raise Untranslatable(CODE_KIND_UNKNOWN, "kind")
    if not _FIRST_YEAR <= row.at.year <= _LAST_YEAR:
        raise Untranslatable(CODE_VALUE_UNKNOWN, "at")
    native = _Native(row.payload)
    told = kind.tell(native)
    if not kind.of_application:
        # A difference's id begins with the subject of what it is about (contracts/events/hub.py).
        return _event(row, kind, str(told["difference_id"]).partition(":")[0], told)
    if row.application is None:
        raise Untranslatable(CODE_MEMBER_MISSING, "application")
    data = {"application": row.application, **(_file(native) if kind.with_file else {}), **told}
    return _event(row, kind, row.application, data)


def _event(row: NativeRow, kind: _Kind, subject: str, data: _Data) -> NewEvent:
    return NewEvent(
        native_key=row.native_key,
        type=MINISTRY + kind.event,
        subject=subject,
        time=row.at,
        correlationid=subject,
        data=data,
        causationid=_corrected(row),
    )


def _corrected(row: NativeRow) -> str | None:
    """Return the id of the refused message that a row corrects, as PERLU_PERBAIKAN named it. Raises Untranslatable."""
    named = row.payload.get(CORRECTS)
    if named is not None and (not isinstance(named, str) or not _is_event_id(named)):
        raise Untranslatable(CODE_VALUE_UNKNOWN, CORRECTS)
    return named


def translate_rows(rows: Iterable[NativeRow | Aside]) -> tuple[list[NewEvent], list[Aside]]:
    """Return the events of the rows, and what cannot become one."""
    facts: list[NewEvent] = []
    aside: list[Aside] = []
    for row in rows:
        if isinstance(row, Aside):
            aside.append(row)
            continue
        try:
            facts.append(translate_row(row))
        except Untranslatable as reason:
            aside.append(Aside(row.native_key, reason.code, reason.detail, row.application))
    return facts, aside


# --- outcomes --------------------------------------------------------------------------------------------------------


def outcome_of(envelope: Envelope) -> OutcomeRow | None:
    """Return the outcome row of an event, or None for one that the register need not know."""
    kind = next((kind for prefix, kind in _OUTCOME_KINDS if envelope.type.startswith(prefix)), None)
    if kind is None:
        return None
    payload = {"type": envelope.type, "time": write_instant(envelope.time), **envelope.data}
    application, billing_code = envelope.data.get("application"), envelope.data.get("billing_code")
    return OutcomeRow(envelope.id, kind, application, billing_code, payload)


def refusals_of(event_id: str, receipt: Receipt, facts: Mapping[str, SpooledFact]) -> OutcomeRow | None:
    """Return the outcome of a receipt that refuses messages, each with the row it came from, if known."""
    if not receipt.refused:
        return None
    refused = []
    for each in receipt.refused:
        fact = None if each.id is None else facts.get(each.id)
        refused.append({**each.model_dump(), "row": None if fact is None else row_of(fact.native_key)})
    return OutcomeRow(event_id, RECEIPT_KIND, None, None, {"source": receipt.source, "refused": refused})


def correction_of(event_id: str, asked: CorrectionRequested, fact: SpooledFact | None) -> OutcomeRow:
    """Return the outcome that asks the ministry to correct a row, by a new one that names the refused message."""
    row = None if fact is None else row_of(fact.native_key)
    return OutcomeRow(event_id, CORRECTION_KIND, None, None, {**asked.model_dump(), "row": row})


def row_refused(aside: Aside) -> OutcomeRow:
    """Return the outcome that tells the ministry which row could not be published, and why."""
    door, _, key = aside.native_key.partition("/")
    event_id = f"row-{key}" if door == OUTBOX else f"row-{door}-{key}"
    # A second trouble of the same row (its content was changed later) is told beside the first.
    event_id += "-conflict" if aside.code == "conflict" else ""
    payload = {"row": row_of(aside.native_key), "code": aside.code, "detail": aside.detail}
    return OutcomeRow(event_id, ROW_REFUSED_KIND, _application_in(aside.subject), None, payload)


def _application_in(subject: str | None) -> str | None:
    """Return an application's number; an explanation of a difference may be about a billing code instead."""
    return None if subject is None or _BILLING_CODE.fullmatch(subject) else subject


def row_of(native_key: str) -> int | str:
    """Return how the ministry knows the row: the outbox's number, or the key under its door."""
    door, _, key = native_key.partition("/")
    return int(key) if door == OUTBOX and key.isascii() and key.isdecimal() else key
