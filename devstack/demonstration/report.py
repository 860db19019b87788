"""What the demo says on the terminal: tables in plain words, and one recommendation followed step by step."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table

from devstack.agencies.scenario import Application, Day
from devstack.demonstration.cast import RECOMMENDATION_TYPES, Cast
from devstack.demonstration.observation import Tables, Watcher
from devstack.demonstration.stage import Book

WORDS = {
    "applications": "Applications / permohonan",
    "recommendations issued": "Recommendations issued / rekomendasi terbit",
    "recommendations issued again": "... of these, a further revision after a withdrawal / revisi",
    "recommendations withdrawn": "Recommendations withdrawn / rekomendasi ditarik",
    "recommendations standing at the end": "Recommendations standing at the end / masih berlaku",
    "payment reports: matched": "Payment reports: matched / lunas",
    "payment reports: partial": "Payment reports: partial / kurang bayar",
    "payment reports: excess": "Payment reports: excess / lebih bayar",
    "payment reports: wrong_currency": "Payment reports: wrong currency / mata uang salah",
    "payment reports: late": "Payment reports: after the bill's expiry / terlambat",
    "payment reports: unmatched": "Payment reports: no bill found / tanpa tagihan",
    "payment reports: duplicate": "Payment reports: same money told twice / laporan ganda",
    "payment reports: reversed": "Payment reports: taken back / dibatalkan",
    "duplicates": "Same message twice, counted once / pesan ganda",
    "equivocations": "Same id with other bytes, refused / isi berbeda",
    "refused: signature_invalid": "Refused: a changed byte / tanda tangan tidak sah",
    "refused: key_unknown": "Refused: a stranger's key / kunci tak dikenal",
    "refused: type_not_permitted": "Refused: a bank's permit event / bukan wewenangnya",
    "refused: contract_unknown": "Refused: unknown contract version / kontrak tak dikenal",
    "refused: equivocation": "Refused: same id, other bytes / isi berbeda",
    "refused: audience_wrong": "Refused: meant for another environment / salah alamat",
    "refused: message_expired": "Refused: expired on its way / kedaluwarsa",
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
    for key in keys:
        wanted, found = expected.get(key, 0), seen.get(key, 0)
        table.add_row(WORDS.get(key, key), str(wanted), str(found), MARKS[wanted == found])
    console.print(table)
    return sum(expected.get(key, 0) != seen.get(key, 0) for key in keys)


async def follow(
    cast: Cast, day: Day, books: Mapping[str, Book], watcher: Watcher, tables: Tables
) -> tuple[Application, list[Step], float]:
    """Follow one ordinary application from its payment on; the seconds are from the payment to Immigration."""
    application, payment_key = _choose(day, books)
    number, bank = application.number, _bank_of(day, payment_key)
    paid = books[bank].page("told")[payment_key]
    steps = [
        Step(_moment(entry["at_s"]), "ministry's register", f"row {entry['kind']} committed")
        for key, entry in books["ministry"].page("written").items()
        if key.startswith(f"{number}#")
    ]
    steps.append(Step(_moment(paid["first_at_s"]), bank, "payment notification posted (SNAP)"))
    steps.append(Step(_moment(paid["at_s"]), bank, "answered 2002500: the notification is durable"))
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
    return application, sorted(steps, key=lambda step: step.at), _delay_s(application, paid, books)


def _choose(day: Day, books: Mapping[str, Book]) -> tuple[Application, str]:
    """Choose the ordinary application whose recommendation came last, by the notification of its payment."""
    plain = {
        made.bill.code: made for made in day.applications.values() if made.variant == "plain" and made.bill is not None
    }
    keys = {
        report.billing_code: report.key
        for report in day.reports
        if report.channel == "notification" and report.billing_code in plain
    }
    received = {entry["application"]: entry["at_s"] for entry in books["immigration"].page("recommendations").values()}
    code = max(keys, key=lambda code: received.get(plain[code or ""].number, 0))
    return plain[code or ""], keys[code]


def _bank_of(day: Day, key: str) -> str:
    return next(report.bank for report in day.reports if report.key == key)


def _delay_s(application: Application, paid: Mapping[str, float], books: Mapping[str, Book]) -> float:
    taken = [
        entry["at_s"]
        for entry in books["immigration"].page("recommendations").values()
        if entry["application"] == application.number
    ]
    return float(min(taken) - paid["first_at_s"]) if taken else float("nan")


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
