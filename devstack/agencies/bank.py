"""A partner bank: it posts payment notifications over HTTP and drops statements into a folder.

Settings: those of `part.Casting`, BANK (bri or mandiri), SNAP_URL (the connector's address), SNAP_KEY_FILE,
SNAP_PARTNER_ID, STATEMENT_DIR, ACCOUNT.
"""

import http.client
import os
import secrets
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from devstack.agencies.door import Answer
from devstack.agencies.part import Book, Casting, play
from devstack.agencies.scenario import Report
from devstack.agencies.snap import Sender, write_call
from devstack.agencies.statement import write_statement

ACCEPTED_CODES = {"2002500", "4042518"}  # 4042518 answers a repeat with the first result: the first one got through.
RETRY_PAUSE_S = 0.25
RETRY_LIMIT_S = 90.0
STATEMENT_ENTRIES_MAX = 12
FORGED_CHAPTER = "noon"


class Bank:
    """One bank with its book."""

    def __init__(self, name: str, casting: Casting, book: Book, sender: Sender, folder: Path, account: str) -> None:
        self._name = name
        self._casting = casting
        self._book = book
        self._sender = sender
        self._folder = folder
        self._account = account

    def perform(self, chapter: str) -> None:
        """Tell everything of one chapter: notifications one by one, then statements."""
        reports = self._casting.day.reports_of(self._name, chapter)
        if chapter == FORGED_CHAPTER:
            self._send_forged_call()
            self._drop_file("terpotong", _truncate(self._write([], "terpotong")))
        for report in (report for report in reports if report.channel == "notification"):
            self._notify(report)
            time.sleep(1 / self._casting.pace_per_s)
        entries = [report for report in reports if report.channel != "notification"]
        for place in range(0, len(entries), STATEMENT_ENTRIES_MAX):
            self._drop_statement(entries[place : place + STATEMENT_ENTRIES_MAX], f"{self._name}-{chapter}-{place}")

    def _notify(self, report: Report) -> None:
        """Post until the connector says that it has it, as a bank does that keeps the payment in its own queue."""
        call = write_call(
            billing_code=report.billing_code or "",
            amount=f"{report.amount:.2f}",
            currency=report.currency,
            paid_at=report.at,
            request_id=report.key,
            reference=report.reference,
            ntpn=report.ntpn,
        )
        first_at_s = time.time()
        while time.time() < first_at_s + RETRY_LIMIT_S:
            try:
                status, answer = self._sender.post(call, datetime.now(UTC))
            except (OSError, http.client.HTTPException):
                status, answer = 0, {}
            if answer.get("responseCode") in ACCEPTED_CODES:
                self._book.note("told", report.key, first_at_s=first_at_s, channel=report.channel)
                return
            if 400 <= status < 500:
                self._book.note("rejected", report.key, code=str(answer.get("responseCode")))
                return
            time.sleep(RETRY_PAUSE_S)
        self._book.note("undelivered", report.key)

    def take_money(self, query: dict[str, str], body: Any) -> Answer:
        """Take money that somebody at the door pays now, and notify it like any other."""
        match body:
            case {"billing_code": str(code), "amount": str(amount), "currency": str(currency)}:
                key, reference = secrets.token_hex(8), secrets.token_hex(6).upper()
                report = Report(
                    *(self._name, "door", "notification", datetime.now(UTC), code, Decimal(amount), currency),
                    *(reference, secrets.token_hex(8).upper(), key),
                )
                self._notify(report)
                told = self._book.find("told", key) is not None
                return 201 if told else 502, {"payment_request_id": key, "told_to_the_exchange": told}
        return 400, {"error": "a payment is an object of billing_code, amount and currency, all of them text"}

    def _send_forged_call(self) -> None:
        """A call under the bank's name whose signature belongs to other content must be turned away."""
        call = write_call(
            billing_code="800000000000000",
            amount="100.00",
            currency="USD",
            paid_at=datetime.now(UTC) - timedelta(minutes=1),
            request_id="forged",
            reference="FORGED",
            ntpn=None,
        )
        first_at_s = time.time()
        while time.time() < first_at_s + RETRY_LIMIT_S:
            try:
                _, answer = self._sender.post(call, datetime.now(UTC), forged=True)
            except (OSError, http.client.HTTPException):
                time.sleep(RETRY_PAUSE_S)
                continue
            self._book.note("forged", "forged", code=str(answer.get("responseCode")))
            return

    def _drop_statement(self, entries: list[Report], name: str) -> None:
        self._drop_file(name, self._write(entries, name))
        for report in entries:
            self._book.note("told", report.key, channel=report.channel, file=f"{name}.xml")

    def _write(self, entries: list[Report], name: str) -> bytes:
        return write_statement(entries, name.upper(), self._account, datetime.now(UTC))

    def _drop_file(self, name: str, content: bytes) -> None:
        """Write under another name first, so that the connector never sees half a file."""
        part = self._folder / f"{name}.xml.part"
        part.write_bytes(content)
        part.rename(self._folder / f"{name}.xml")
        self._book.note("files", f"{name}.xml")


def _truncate(content: bytes) -> bytes:
    return content[: len(content) // 2]


def run() -> None:
    """Play the bank that BANK names."""
    casting, book = Casting.read(), Book()
    sender = Sender(
        os.environ["SNAP_URL"],
        os.environ["SNAP_PARTNER_ID"],
        Sender.read_key(Path(os.environ["SNAP_KEY_FILE"]).read_bytes()),
    )
    folder = Path(os.environ["STATEMENT_DIR"])
    bank = Bank(os.environ["BANK"], casting, book, sender, folder, os.environ["ACCOUNT"])
    play(casting, book, bank.perform, {("POST", "/payments"): bank.take_money})


if __name__ == "__main__":
    run()
