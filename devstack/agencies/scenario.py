"""One day of three agencies, written in advance: who applies, who pays what through which channel, and when.

The same seed, size and start give the same day; nothing but `random.Random(seed)` decides. Each simulator writes the
day for itself and plays its own part, one chapter at a time:

    dawn        banks take money for bills that the ministry has not announced yet
    morning     the ministry: applications, documents, bills, approvals, rejections, exemptions
    noon        banks: payment notifications, then statements
    afternoon   banks take payments back, the ministry revokes permits (recommendations have gone out by now)
    evening     what was taken back is paid again, and a statement brings what it owed for long

One bank, bri, takes money whatever the bill says and tells it; the other, mandiri, holds it until the exchange allows
it, so that what it notifies always fits its bill, and what does not is an `Attempt` that is refused.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from random import Random
from typing import Any

from devstack.agencies.numbers import make_ntpn, make_opaque
from devstack.agencies.society import (
    PLACES,
    POSITIONS,
    SECTORS,
    Employer,
    Person,
    draw_employer,
    draw_person,
)

CHAPTERS = ("dawn", "morning", "noon", "afternoon", "evening")
BANKS = ("bri", "mandiri")
TAKING_BANK, HOLDING_BANK = BANKS
JAKARTA = timezone(timedelta(hours=7))
COMPENSATION_USD_PER_MONTH = Decimal(100)  # PP 34/2021 article 24 and its predecessor: US$100 a month.
RUPIAH_PER_USD = Decimal(16_250)
BILL_VALIDITY = timedelta(days=7)
DAY_LENGTH = timedelta(hours=9)
FIRST_DAY_OF_2012 = date(2012, 2, 1)
# So long ago that any bank's days for bringing its books into line are over, the longest holidays included.
LONG_AGO = timedelta(days=20)
UNKNOWN_CODE = "599999999999999"
OFFICE_EVERY = 4

# Each is played once, the first ones even on the smallest day; the rest of a larger day is drawn with these weights.
VARIANTS = {
    "plain": 30,
    "early_payment": 4,
    "out_of_order": 4,
    "late_key": 0,
    "reversed_repaid": 2,
    "revoked": 2,
    "queried": 4,
    "refused": 1,
    "booked_late": 1,
    "not_booked": 1,
    "unmatched": 2,
    "excess": 2,
    "statement_only": 8,
    "partial_completed": 4,
    "partial_only": 2,
    "wrong_currency": 2,
    "late": 2,
    "two_banks": 2,
    "rules_2012": 6,
    "exempt": 3,
    "rejected": 3,
    "deficiency": 4,
    "rupiah": 6,
    "not_notified": 1,
    "amount_differs": 1,
}
APPLICATIONS_MIN = 12
APPLICATIONS_FOR_ALL = len(VARIANTS)


@dataclass(frozen=True, slots=True)
class Bill:
    """A SIMPONI billing code with what is owed under it."""

    code: str
    application: str
    amount: Decimal
    currency: str
    usd_amount: Decimal
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Application:
    """One employer, one worker, one period. `by_office`: handled in a regional office, which has no outbox table."""

    number: str
    variant: str
    submitted_on: date
    person: Person
    employer: Employer
    province: str
    regency: str
    kanim: str
    position: tuple[str, str, str]
    sector: str
    kind: str
    starts: date
    ends: date
    references: dict[str, str]
    bill: Bill | None
    by_office: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One row that the ministry's register puts in its outbox. `sound`: its content is complete."""

    key: str
    chapter: str
    at: datetime
    kind: str
    application: str
    payload: dict[str, Any]
    sound: bool = True


@dataclass(frozen=True, slots=True)
class Report:
    """One thing that a bank tells: `channel` is notification, statement or reversal."""

    bank: str
    chapter: str
    channel: str
    at: datetime
    billing_code: str | None
    amount: Decimal
    currency: str
    reference: str
    ntpn: str | None
    key: str

    @property
    def dated(self) -> datetime:
        """When the money counts as paid: a statement knows the day alone, so it is the beginning of that."""
        if self.channel == "notification":
            return self.at
        return self.at.astimezone(JAKARTA).replace(hour=0, minute=0, second=0, microsecond=0)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A payment that the holding bank asks for and must not be given: the answers to its inquiry and to its call."""

    key: str
    billing_code: str
    amount: Decimal
    currency: str
    reference: str
    at: datetime
    inquiry_answer: str
    answer: str


@dataclass(slots=True)
class Day:
    """The whole day, as it is meant to happen."""

    start: datetime
    applications: dict[str, Application] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)

    def rows_of(self, chapter: str) -> list[Row]:
        """The ministry's rows of one chapter, in the order of writing."""
        return sorted((row for row in self.rows if row.chapter == chapter), key=lambda row: row.at)

    def reports_of(self, bank: str, chapter: str) -> list[Report]:
        """One bank's reports of one chapter, in the order of telling."""
        chosen = [report for report in self.reports if (report.bank, report.chapter) == (bank, chapter)]
        return sorted(chosen, key=lambda report: (report.channel != "notification", report.at, report.key))

    def attempts_of(self, bank: str, chapter: str) -> list[Attempt]:
        """What the holding bank asks for in vain: a wrong amount, a bill paid before, one unknown, one that ran out."""
        if bank != HOLDING_BANK or chapter not in ("noon", "afternoon"):
            return []
        refused, paid = self._first_of("refused"), self._first_of("queried")
        half = next(report for report in self.reports if report.billing_code == refused.code)
        at = self.start - timedelta(hours=1)

        def attempt(bill: Bill, amount: Decimal, inquiry_answer: str, answer: str) -> Attempt:
            key = f"{bill.code}-{answer}"
            return Attempt(key, bill.code, amount, bill.currency, half.reference, at, inquiry_answer, answer)

        if chapter == "afternoon":
            return [attempt(refused, refused.amount, "4042419", "4042519")]
        nobodys = replace(refused, code=UNKNOWN_CODE)
        return [
            attempt(refused, half.amount, "2002400", "4042513"),
            attempt(paid, paid.amount, "4042414", "4042514"),
            attempt(nobodys, refused.amount, "4042412", "4042512"),
        ]

    def _first_of(self, variant: str) -> Bill:
        return next(made.bill for made in self.applications.values() if made.variant == variant and made.bill)

    def run_out(self) -> set[str]:
        """The codes of the bills that the ministry declares to have run out."""
        return {row.payload["kode_billing"] for row in self.rows if row.kind == "KODE_BAYAR_HANGUS"}

    def bills(self) -> dict[str, Bill]:
        """Every bill of the day by its code."""
        return {made.bill.code: made.bill for made in self.applications.values() if made.bill is not None}


def count_months(starts: date, ends: date) -> int:
    """Return the number of started months from `starts` to `ends`, both included."""
    after = ends + timedelta(days=1)
    months = (after.year - starts.year) * 12 + after.month - starts.month
    return months + (1 if after.day > starts.day else 0)


def write_day(seed: int, size: int, start: datetime) -> Day:
    """Write the day. `size`: applications; `start`: the wall clock's now, which is the end of the told day."""
    if size < APPLICATIONS_MIN:
        raise ValueError(f"at least {APPLICATIONS_MIN} applications are needed for the day's chapters to follow")
    random = Random(seed)
    further = max(0, size - len(VARIANTS))
    variants = list(VARIANTS)[:size] + random.choices(list(VARIANTS), weights=list(VARIANTS.values()), k=further)
    random.shuffle(variants)
    day = Day(start=start)
    for place, variant in enumerate(variants):
        application = _draw_application(random, place + 1, variant, start)
        day.applications[application.number] = application
        day.rows.extend(_tell_permit(random, application, start))
        if application.bill is not None:
            paid_before = start - LONG_AGO if variant in PAID_LONG_AGO else start
            day.reports.extend(_PAYMENTS[variant](_Payer(random, application.bill, paid_before)))
    day.reports.append(_draw_nameless_entry(random, start))
    day.rows.append(_write_broken_row(start))
    return day


def _draw_application(random: Random, place: int, variant: str, start: datetime) -> Application:
    submitted = start.date() - timedelta(days=random.randrange(1, 20))
    if variant == "rules_2012":
        submitted = FIRST_DAY_OF_2012 + timedelta(days=random.randrange(300))
    months = random.choice((1, 3, 6, 12, 12, 24))
    starts = date(submitted.year + 1, random.randrange(1, 13), 1)
    ends = _last_day(starts, months, cut=random.choice((0, 0, 9)))
    number = f"RPTKA/{submitted.year}/{place:06d}"
    province, regency, kanim = random.choice(PLACES)
    kind = "perpanjangan" if variant == "rupiah" else "sementara" if months <= 3 else "baru"
    return Application(
        number=number,
        variant=variant,
        submitted_on=submitted,
        person=draw_person(random),
        employer=draw_employer(random),
        province=province,
        regency=regency,
        kanim=kanim,
        position=random.choice(POSITIONS),
        sector=random.choice(SECTORS),
        kind=kind,
        starts=starts,
        ends=ends,
        references={
            "petugas": f"ptg_{random.randrange(40):08d}",
            "unit": f"unit_{random.randrange(6):08d}",
            "perantara": make_opaque(random, "prt") if random.random() < 0.3 else "",
            "ref_tka": make_opaque(random, "tka"),
        },
        bill=_draw_bill(random, place, variant, number, count_months(starts, ends), start),
        by_office=place % OFFICE_EVERY == 0,
    )


def _last_day(starts: date, months: int, cut: int) -> date:
    month_index = starts.year * 12 + starts.month - 1 + months
    return date(month_index // 12, month_index % 12 + 1, 1) - timedelta(days=1 + cut)


def _draw_bill(random: Random, place: int, variant: str, number: str, months: int, start: datetime) -> Bill | None:
    if variant in ("exempt", "rejected"):
        return None
    usd = COMPENSATION_USD_PER_MONTH * months
    rupiah = variant == "rupiah"
    return Bill(
        code=f"8{start:%y%m%d}{place:04d}{random.randrange(10**4):04d}",
        application=number,
        amount=usd * RUPIAH_PER_USD if rupiah else usd,
        currency="IDR" if rupiah else "USD",
        usd_amount=usd,
        expires_at=start - timedelta(hours=5) if variant == "late" else start + BILL_VALIDITY,
    )


class _Clock:
    """Gives the moments of one story: each later than the one before, all before the start of the demo."""

    def __init__(self, random: Random, start: datetime) -> None:
        self._moment = start - DAY_LENGTH + timedelta(seconds=random.randrange(1200))
        self._random = random

    def tick(self) -> datetime:
        self._moment += timedelta(seconds=self._random.randrange(60, 600))
        return self._moment


def _tell_permit(random: Random, application: Application, start: datetime) -> Iterator[Row]:
    clock = _Clock(random, start)
    file = describe_file(application)

    def row(kind: str, extra: dict[str, Any], chapter: str = "morning", with_file: bool = True) -> Row:
        payload = {**(file if with_file else {}), **extra}
        return Row(f"{application.number}#{kind}", chapter, clock.tick(), kind, application.number, payload)

    yield row("PERMOHONAN_DIAJUKAN", _submission(random, application))
    if application.variant == "deficiency":
        yield row("KEKURANGAN", {"kurang": [{"kode": "K01", "dokumen": "D03"}]})
        yield row("DIAJUKAN_ULANG", {"dokumen": _draw_documents(random)})
    yield row("LENGKAP", {})
    if application.variant == "rejected":
        yield row("KELAYAKAN", {"hasil": "tidak"})
        yield row("DITOLAK", {"nomor_keputusan": f"TLK/{application.number}", "alasan": "TIDAK_LAYAK"})
        return
    yield row("KELAYAKAN", {"hasil": "lulus"})
    yield row("TKA_TERVERIFIKASI", {})
    if application.variant == "exempt":
        yield row("PEMBEBASAN", {"golongan": "social_institution", "dasar_hukum": "PP 34/2021 Pasal 25"})
    if application.bill is not None:
        yield row("KODE_BAYAR", _announce(application, application.bill), with_file=False)
    yield row("DISETUJUI", _decision(application))
    if application.variant == "revoked":
        revocation = {"nomor_keputusan": f"CBT/{application.number}", "alasan": "DATA_TIDAK_BENAR"}
        yield row("DICABUT", revocation, chapter="afternoon")
    if application.variant == "refused" and application.bill is not None:
        yield row("KODE_BAYAR_HANGUS", {"kode_billing": application.bill.code}, "afternoon", with_file=False)


def describe_file(application: Application) -> dict[str, Any]:
    """Return the block that every permit row carries beside its own content."""
    references = application.references
    return {
        "petugas": references["petugas"],
        "unit": references["unit"],
        "perantara": references["perantara"] or None,
        "ref_tka": references["ref_tka"],
        "kbli": application.sector,
        "provinsi": application.province,
        "kabupaten": application.regency,
        "tingkat_jabatan": application.position[2],
        "jenis": application.kind,
        "kewarganegaraan": application.person.nationality,
    }


def _submission(random: Random, application: Application) -> dict[str, Any]:
    return {
        "tanggal": application.submitted_on.isoformat(),
        "dokumen": _draw_documents(random),
        "verifikator": _verifier(f"{random.getrandbits(128):032x}", give_secret(application.number)),
        **_terms(application),
    }


def give_secret(number: str) -> str:
    """Return what the receipt of an application says; a real ministry would draw it."""
    return hashlib.sha256(f"receipt {number}".encode()).hexdigest()[:24]


def _verifier(salt: str, secret: str) -> dict[str, str]:
    return {"garam": salt, "sha256": hashlib.sha256(f"{salt}{secret}".encode()).hexdigest()}


def _terms(application: Application) -> dict[str, Any]:
    return {
        "pemberi_kerja": application.employer.as_native(),
        "jabatan": {"kbji": application.position[0], "nama": application.position[1]},
        "lokasi": [{"provinsi": application.province, "kabupaten": application.regency}],
        "mulai": application.starts.isoformat(),
        "selesai": application.ends.isoformat(),
        "kanim": application.kanim,
    }


def _decision(application: Application) -> dict[str, Any]:
    return {
        "nomor_keputusan": f"KEP/{application.number}",
        "tanggal_keputusan": application.submitted_on.isoformat(),
        "tka": application.person.as_native(),
        **_terms(application),
    }


def _draw_documents(random: Random) -> list[dict[str, str]]:
    return [{"kode": code, "sha256": f"{random.getrandbits(256):064x}"} for code in ("D01", "D02", "D03")]


def _announce(application: Application, bill: Bill) -> dict[str, Any]:
    in_rupiah = bill.currency == "IDR"
    return {
        "kode_billing": bill.code,
        "jumlah": f"{bill.amount:.2f}",
        "mata_uang": bill.currency,
        "jumlah_usd": f"{bill.usd_amount:.2f}",
        "kurs": f"{RUPIAH_PER_USD:.2f}" if in_rupiah else None,
        "tanggal_kurs": application.submitted_on.isoformat() if in_rupiah else None,
        "berlaku_sampai": write_instant(bill.expires_at),
        "pembayar": application.employer.name,
    }


def write_instant(moment: datetime) -> str:
    """Return a moment as RFC 3339 in UTC."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


class _Payer:
    """Draws the reports of one bill, each at a second of its own, so that their order is never a matter of luck."""

    def __init__(self, random: Random, bill: Bill, start: datetime) -> None:
        self.random = random
        self.bill = bill
        self.bank = random.choice(BANKS)
        self._moment = start - timedelta(hours=4, seconds=random.randrange(1800))

    def pay(
        self,
        chapter: str = "noon",
        channel: str = "notification",
        amount: Decimal | None = None,
        currency: str | None = None,
        code: str | None = None,
        bank: str | None = None,
    ) -> Report:
        """One report of new money: by default the whole bill, by notification, at noon, at the payer's bank."""
        self._moment += timedelta(seconds=self.random.randrange(30, 300))
        return Report(
            bank=bank or self.bank,
            chapter=chapter,
            channel=channel,
            at=self._moment,
            billing_code=code or self.bill.code,
            amount=self.bill.amount if amount is None else amount,
            currency=currency or self.bill.currency,
            reference=f"{self.random.getrandbits(48):012X}",
            ntpn=make_ntpn(self.random),
            key=f"{self.random.getrandbits(64):016x}",
        )

    def repeat(self, report: Report, channel: str, chapter: str) -> Report:
        """The same money told again through another channel (or taken back: a reversal has its own reference)."""
        self._moment += timedelta(seconds=self.random.randrange(30, 300))
        key = f"{self.random.getrandbits(64):016x}"
        if channel == "reversal":
            reference, ntpn = f"{self.random.getrandbits(48):012X}", None
        else:
            # Half of the statements carry the bank's reference only, so that both ways of pairing are used.
            reference, ntpn = report.reference, report.ntpn if self.random.random() < 0.5 else None
        return Report(
            bank=report.bank,
            chapter=chapter,
            channel=channel,
            at=self._moment,
            billing_code=report.billing_code,
            amount=report.amount,
            currency=report.currency,
            reference=reference,
            ntpn=ntpn,
            key=key,
        )


def _both_channels(payer: _Payer, bank: str | None = None) -> list[Report]:
    notified = payer.pay(bank=bank)
    return [notified, payer.repeat(notified, "statement", "noon")]


def _early_payment(payer: _Payer) -> list[Report]:
    # Always the same bank, and another one below, so that each bank has something to tell at dawn.
    notified = payer.pay("dawn", bank=TAKING_BANK)
    return [notified, payer.repeat(notified, "statement", "noon")]


def _partial_completed(payer: _Payer) -> list[Report]:
    first = payer.pay(amount=payer.bill.amount / 2, bank=TAKING_BANK)
    return [first, payer.pay(amount=payer.bill.amount - first.amount, bank=TAKING_BANK)]


def _two_banks(payer: _Payer) -> list[Report]:
    # The holding bank is not allowed to take it twice, but its books say that it did.
    return [payer.pay(bank=TAKING_BANK), payer.pay(channel="statement", bank=HOLDING_BANK)]


def _unmatched(payer: _Payer) -> list[Report]:
    stray = payer.pay(code="7" + payer.bill.code[1:], bank=TAKING_BANK)
    lost_reversal = payer.repeat(payer.pay(code="6" + payer.bill.code[1:]), "reversal", "noon")
    return [stray, lost_reversal]


def _reversed_repaid(payer: _Payer) -> list[Report]:
    taken = payer.pay()
    return [taken, payer.repeat(taken, "reversal", "afternoon"), payer.pay(chapter="evening")]


def _amount_differs(payer: _Payer) -> list[Report]:
    notified = payer.pay(bank=TAKING_BANK)
    booked = payer.repeat(notified, "statement", "noon")
    return [notified, replace(booked, amount=notified.amount / 2, ntpn=None)]


def _booked_late(payer: _Payer) -> list[Report]:
    notified = payer.pay(bank=TAKING_BANK)
    return [notified, payer.repeat(notified, "statement", "evening")]


PAID_LONG_AGO = ("not_booked", "not_notified", "amount_differs", "booked_late")
_PAYMENTS: dict[str, Callable[[_Payer], list[Report]]] = {
    "plain": _both_channels,
    "statement_only": lambda payer: [payer.pay(channel="statement")],
    "early_payment": _early_payment,
    "out_of_order": lambda payer: [payer.pay("dawn", "statement", bank=HOLDING_BANK)],
    "partial_completed": _partial_completed,
    "partial_only": lambda payer: [payer.pay(amount=payer.bill.amount / 4, bank=TAKING_BANK)],
    "excess": lambda payer: [payer.pay(amount=payer.bill.amount + 50, bank=TAKING_BANK)],
    "wrong_currency": lambda payer: [payer.pay(currency="SGD", bank=TAKING_BANK)],
    "late": lambda payer: [payer.pay(bank=TAKING_BANK)],
    "unmatched": _unmatched,
    "two_banks": _two_banks,
    "rules_2012": lambda payer: [payer.pay()],
    "reversed_repaid": _reversed_repaid,
    "revoked": lambda payer: [payer.pay()],
    "queried": lambda payer: _both_channels(payer, HOLDING_BANK),
    "deficiency": lambda payer: [payer.pay()],
    "rupiah": lambda payer: [payer.pay()],
    "late_key": lambda payer: [],
    "refused": lambda payer: [payer.pay(channel="statement", amount=payer.bill.amount / 2, bank=HOLDING_BANK)],
    "not_booked": lambda payer: [payer.pay(bank=TAKING_BANK)],
    "not_notified": lambda payer: [payer.pay(channel="statement")],
    "amount_differs": _amount_differs,
    "booked_late": _booked_late,
}


def _draw_nameless_entry(random: Random, start: datetime) -> Report:
    """A credit on a statement that names no bill at all."""
    return Report(
        bank=HOLDING_BANK,
        chapter="noon",
        channel="statement",
        at=start - timedelta(hours=2),
        billing_code=None,
        amount=Decimal(random.randrange(1, 40) * 100),
        currency="USD",
        reference=f"{random.getrandbits(48):012X}",
        ntpn=None,
        key=f"{random.getrandbits(64):016x}",
    )


def _write_broken_row(start: datetime) -> Row:
    """A row without the statistical block: it cannot be published, and must hold nothing up."""
    number = f"RPTKA/{start.year}/RUSAK"
    return Row(f"{number}#LENGKAP", "morning", start - DAY_LENGTH, "LENGKAP", number, {}, sound=False)
