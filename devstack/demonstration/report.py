"""What the demo says on the terminal: tables in plain words, and one recommendation followed step by step."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median

from rich.console import Console
from rich.table import Table

from devstack.agencies.bookkeeping import COLUMNS
from devstack.agencies.scenario import Application, Day, Report
from devstack.demonstration import evidence
from devstack.demonstration.cast import RECOMMENDATION_TYPES
from devstack.demonstration.observation import Tables, Watcher
from devstack.demonstration.reconciliation import TOTAL
from devstack.demonstration.stage import Book

# The table's parts, in order: a title, and how the keys of that part begin.
PARTS = (
    (
        "What was sent / yang dikirim",
        ("applications", "accepted from", "receipted to", "ministry: facts", "ministry: keys"),
    ),
    ("What came of the money / hasil pembayaran", ("payment reports", "bills ")),
    ("Differences, and each bank's day / selisih dan rekonsiliasi", ("differences", TOTAL, "daily reports")),
    ("Recommendations / rekomendasi", ("recommendations",)),
    ("What was delivered, and answered / yang diterima dan dijawab", ("immigration:", "ministry:")),
    (
        "What the banks' calls were answered / jawaban SNAP",
        ("bri: answered", "mandiri: answered", "bank calls answered"),
    ),
    ("What else the banks did / lain-lain dari bank", ("bri: ", "mandiri: ")),
    (
        "What was refused, and why / ditolak, dan sebabnya",
        ("refused:", "refusal receipts", "duplicates", "equivocations"),
    ),
    ("What the oversight body found / pemeriksaan lembaga pengawas", ("evidence:",)),
    ("What was killed, and what was left / gangguan dan sisa", ("",)),
)
ANSWERS = {
    "2002400": "the bill may be paid / tagihan dapat dibayar",
    "2002500": "a repeat, answered as at first / jawaban pertama",
    "4012500": "forged, or a clock far off / palsu, jam salah",
    "4042412": "inquiry: no such bill / tagihan tidak ada",
    "4042414": "inquiry: paid before / sudah dibayar",
    "4042419": "inquiry: run out / kedaluwarsa",
    "4042512": "not allowed: no such bill / tagihan tidak ada",
    "4042513": "not allowed: not the bill's amount / jumlah salah",
    "4042514": "not allowed: paid before / sudah dibayar",
    "4042518": "the same call again, the first result / panggilan ulang",
    "4042519": "not allowed: run out / kedaluwarsa",
    "4092500": "another payment under a used number / nomor bentrok",
}
WORDS = {
    "applications": "Applications / permohonan",
    "accepted from bri, second key": "accepted from bri under a key that came after its message / kunci menyusul",
    "recommendations issued": "issued / terbit",
    "recommendations issued again": "of these, a further revision after a withdrawal / revisi",
    "recommendations withdrawn": "withdrawn / ditarik",
    "recommendations standing at the end": "standing at the end / masih berlaku",
    "payment reports: matched": "matched / lunas",
    "payment reports: partial": "partial / kurang bayar",
    "payment reports: excess": "excess / lebih bayar",
    "payment reports: wrong_currency": "wrong currency / mata uang salah",
    "payment reports: late": "after the bill's expiry / terlambat",
    "payment reports: unmatched": "no bill found / tanpa tagihan",
    "payment reports: duplicate": "same money told twice, counted once / laporan ganda",
    "payment reports: reversed": "taken back / dibatalkan",
    "duplicates": "same message twice, taken once / pesan ganda",
    "equivocations": "same id, other bytes: stands in quarantine / isi berbeda",
    "refused: signature_invalid": "signature_invalid: a changed byte / isi diubah",
    "refused: key_unknown": "key_unknown: a stranger's key / kunci tak dikenal",
    "refused: type_not_permitted": "type_not_permitted: a bank's permit event / bukan wewenangnya",
    "refused: contract_unknown": "contract_unknown: unknown contract version / kontrak tak dikenal",
    "refused: equivocation": "equivocation: same id, other bytes / isi berbeda",
    "refused: audience_wrong": "audience_wrong: meant for another environment / salah alamat",
    "refused: message_expired": "message_expired: too long on its way / kedaluwarsa",
    "refusal receipts": "signed refusal receipts to known senders / tanda terima penolakan",
    "bri: files refused": "bri: truncated statement set aside / berkas terpotong",
    "mandiri: files refused": "mandiri: truncated statement set aside / berkas terpotong",
    "mandiri: tokens renewed": "mandiri: an access token that had run out, renewed / token diperbarui",
    "differences: not_booked": "notified and not booked in time / belum dibukukan",
    "differences: not_notified": "booked and never notified / tanpa notifikasi",
    "differences: amount": "one payment, two amounts / jumlah berbeda",
    "differences: currency": "another currency than the bill's / mata uang salah",
    "differences: unmatched": "money without a bill / tanpa tagihan",
    "differences: excess": "money beyond the bill / lebih bayar",
    "differences: reversal_of_nothing": "taken back, and never paid / pembatalan tanpa pembayaran",
    "ministry: rows set aside": "ministry: a row that cannot be translated, reported back / baris ditolak",
    evidence.INSTALLED: "its tools from their own wheel, without the hub / alat dari wheel sendiri",
    evidence.PROVEN: "a case's pack verified offline: proven / paket bukti terbukti",
    evidence.CHANGED: "one byte changed: refused, value_changed / satu bita diubah, ditolak",
    evidence.FORK_REFUSED: "a fork signed with the log's own key: refused / cabang log ditolak saksi",
    evidence.FORK_KEPT: "both checkpoints of the fork kept as proof / kedua checkpoint disimpan",
    "payment reports told otherwise": "told otherwise than the books say / berbeda dari pembukuan",
}
MARKS = {True: "[green]yes[/]", False: "[bold red]NO[/]"}


@dataclass(frozen=True, slots=True)
class Step:
    """One moment in the life of a recommendation."""

    at: datetime
    where: str
    what: str


def show_comparison(console: Console, expected: Mapping[str, int], seen: Mapping[str, int]) -> int:
    """Print expected beside seen, and return how many lines differ."""
    table = Table(title="What was expected, and what was seen", title_justify="left")
    table.add_column("in words")
    table.add_column("expected", justify="right")
    table.add_column("seen", justify="right")
    table.add_column("same")
    keys = [*expected, *(key for key in seen if key not in expected)]
    for title, _ in PARTS:
        table.add_section()
        table.add_row(f"[bold]{title}[/]", "", "", "")
        # Sums have a table of their own; here stands only what differs.
        for key in [key for key in keys if _part_of(key) == title and not _is_agreed_sum(key, expected, seen)]:
            wanted, found = expected.get(key, 0), seen.get(key, 0)
            table.add_row(f"  {_words_of(key)}", str(wanted), str(found), MARKS[wanted == found])
    console.print(table)
    return sum(expected.get(key, 0) != seen.get(key, 0) for key in keys)


def _words_of(key: str) -> str:
    agency, _, code = key.partition(": answered ")
    return f"{agency}: {code}: {ANSWERS[code]}" if code in ANSWERS else WORDS.get(key, key)


def show_totals(console: Console, expected: Mapping[str, int], seen: Mapping[str, int]) -> None:
    """Print each bank's sums by day and currency; a sum that the bank's own book does not have is marked."""
    table = Table(title="Each bank's money by day, as reported / uang per bank dan hari", title_justify="left")
    for name in ("bank, day, currency", *COLUMNS):
        table.add_column(name, justify="left" if name not in COLUMNS else "right")
    lines: dict[str, dict[str, str]] = {}
    for key in sorted({key for key in (*expected, *seen) if key.startswith(TOTAL)}):
        place, _, column = key.removeprefix(f"{TOTAL} ").partition(": ")
        wanted, found = expected.get(key, 0), seen.get(key, 0)
        shown = (
            f"{found / 100:,.2f}" if wanted == found else f"[bold red]{found / 100:,.2f}, not {wanted / 100:,.2f}[/]"
        )
        lines.setdefault(place, {})[column.partition(",")[0]] = shown
    for place, sums in lines.items():
        table.add_row(place, *(sums.get(name, "") for name in COLUMNS))
    console.print(table)


def _part_of(key: str) -> str:
    return next(title for title, prefixes in PARTS if key.startswith(prefixes))


def _is_agreed_sum(key: str, expected: Mapping[str, int], seen: Mapping[str, int]) -> bool:
    return key.startswith(TOTAL) and expected.get(key) == seen.get(key)


def find_followed(day: Day) -> tuple[Report, Application]:
    """Return the payment that is made again in the evening, and the application that it is for."""
    told = next(told for told in day.reports if told.chapter == "evening" and told.channel == "notification")
    return told, next(made for made in day.applications.values() if made.bill and made.bill.code == told.billing_code)


async def follow(
    day: Day, books: Mapping[str, Book], watcher: Watcher, tables: Tables
) -> tuple[Application, list[Step], float]:
    """Follow the application whose payment was taken back and made again, until its second revision.

    The seconds are from that second payment to Immigration: by then nothing disturbs the exchange any more.
    """
    told, application = find_followed(day)
    number, bank = application.number, told.bank
    paid = books[bank].page("told")[told.key]
    steps = [
        Step(_moment(entry["at_s"]), "ministry's register", f"row {entry['kind']} committed")
        for key, entry in books["ministry"].page("written").items()
        if key.startswith(f"{number}#")
    ]
    for key, entry in books[bank].page("told").items():
        if any(told.key == key and told.billing_code == paid_code(application) for told in day.reports):
            if "first_at_s" in entry:
                steps.append(Step(_moment(entry["first_at_s"]), bank, "payment notification posted (SNAP)"))
                steps.append(Step(_moment(entry["at_s"]), bank, "answered 2002500: the notification is durable"))
            else:
                steps.append(Step(_moment(entry["at_s"]), bank, f"statement dropped: {entry['file']}"))
    for row in await tables.follow(number):
        kind = row["type"].removeprefix("id.tka.").removesuffix(".v1")
        steps.append(Step(row["received_at"], "hub", f"{kind} accepted, log index {row['log_index']}"))
    for record in watcher.events("recommendations", *RECOMMENDATION_TYPES):
        data = record.event["data"]
        if data["application"] == number:
            basis = ", ".join(str(entry["log_index"]) for entry in data["basis"])
            what = f"{data['number']} revision {data['revision']} {data['state']}, resting on log entries {basis}"
            steps.append(Step(_moment(record.timestamp_ms / 1000), "recommendations", what))
    for entry in books["immigration"].page("recommendations").values():
        if entry["application"] == number:
            steps.append(Step(_moment(entry["at_s"]), "Immigration", f"verified and taken: {entry['state']}"))
    for row in await tables.outcomes():
        if row["application_number"] == number:
            steps.append(Step(row["at"], "ministry's register", f"outcome {row['kind']} written back"))
    taken = [
        entry["at_s"]
        for entry in books["immigration"].page("recommendations").values()
        if entry["application"] == number and entry["state"] == "issued"
    ]
    return application, sorted(steps, key=lambda step: step.at), max(taken) - paid["first_at_s"]


def paid_code(application: Application) -> str | None:
    """Return the code under which an application is paid."""
    return application.bill.code if application.bill is not None else None


def measure_delays(day: Day, books: Mapping[str, Book]) -> list[float]:
    """Measure, in seconds, from an application's last fact (payment or approval) to Immigration, troubles included."""
    received = {
        entry["application"]: entry["at_s"]
        for entry in books["immigration"].page("recommendations").values()
        if entry["revision"] == 1 and entry["state"] == "issued"
    }
    delays = []
    for number, at_s in received.items():
        code = paid_code(day.applications[number])
        facts_s = [books["ministry"].page("written")[f"{number}#DISETUJUI"]["at_s"]]
        for told in day.reports:
            if told.billing_code == code and told.chapter in ("dawn", "noon"):
                entry = books[told.bank].page("told")[told.key]
                facts_s.append(entry.get("first_at_s", entry["at_s"]))
        delays.append(at_s - max(second for second in facts_s if second < at_s))
    return sorted(delays)


def show_delays(console: Console, delays: list[float]) -> None:
    """Print how long it took through kills and outage."""
    console.print(
        f"Through kills and outage, {len(delays)} recommendations after their last fact: fastest {delays[0]:.2f} s, "
        f"median {median(delays):.2f} s, slowest {delays[-1]:.2f} s"
    )


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def show_steps(console: Console, application: Application, steps: list[Step], delay_s: float) -> None:
    """Print the life of one recommendation."""
    table = Table(title=f"One recommendation, step by step: {application.number}", title_justify="left")
    table.add_column("time (UTC)")
    table.add_column("where")
    table.add_column("what")
    for step in steps:
        table.add_row(f"{step.at:%H:%M:%S.%f}"[:-3], step.where, step.what)
    console.print(table)
    console.print(f"From the payment to Immigration / dari pembayaran ke Imigrasi: [bold]{delay_s:.2f} s[/]")
