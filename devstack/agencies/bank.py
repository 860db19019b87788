"""A partner bank: it posts inquiries and payment notifications over HTTP and drops statements into a folder.

Settings: those of `part.Casting`, BANK (bri or mandiri), SNAP_URL (the connector's address), SNAP_KEY_FILE,
SNAP_PARTNER_ID, STATEMENT_DIR, ACCOUNT; HOLDS (1: the money waits for the answer), CLOCK_SKEW_S (how far the bank's
clock is ahead), SNAP_SECRET_FILE (symmetric signatures), STATUS_CLIENT and STATUS_KEY_FILE (who may ask the bank what
became of a payment: name and public key), STATUS_SECRET_FILE.
"""

import os
import secrets
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from devstack.agencies.calling import Caller
from devstack.agencies.door import Answer, Routes
from devstack.agencies.part import Book, Casting, play
from devstack.agencies.scenario import Report
from devstack.agencies.snap import Sender
from devstack.agencies.statement import Page, write_statement
from devstack.agencies.status import StatusServer

STATEMENT_ENTRIES_MAX = 12
MAIN_CHAPTER = "noon"
COPY_PAUSE_S = 1.0
# Each bank's systems are of another age, and so are their files.
VERSIONS = {"dawn": ("02", "02"), "noon": ("08", "04"), "afternoon": ("08", "04"), "evening": ("04", "08")}


class Bank:
    """One bank with its book."""

    def __init__(self, name: str, casting: Casting, book: Book, caller: Caller, folder: Path, account: str) -> None:
        self._name = name
        self._casting = casting
        self._book = book
        self._caller = caller
        self._folder = folder
        self._account = account

    def perform(self, chapter: str) -> None:
        """Tell everything of one chapter: notifications one by one, then statements."""
        reports = self._casting.day.reports_of(self._name, chapter)
        repeat = None
        if chapter == MAIN_CHAPTER:
            self._caller.misuse()
            self._drop_file("terpotong", _truncate(write_statement([], "TERPOTONG", self._account, datetime.now(UTC))))
            repeat = self._caller.repeat
        self._caller.tell_all([report for report in reports if report.channel == "notification"], repeat)
        for attempt in self._casting.day.attempts_of(self._name, chapter):
            self._caller.attempt(attempt)
        entries = [report for report in reports if report.channel != "notification"]
        if entries:
            self._drop_statement(entries, chapter)

    def take_money(self, query: dict[str, str], body: Any) -> Answer:
        """Take money that somebody at the door pays now, and notify it like any other."""
        match body:
            case {"billing_code": str(code), "amount": str(amount), "currency": str(currency)}:
                key, reference = secrets.token_hex(8), secrets.token_hex(6).upper()
                report = Report(
                    *(self._name, "door", "notification", datetime.now(UTC), code, Decimal(amount), currency),
                    *(reference, secrets.token_hex(8).upper(), key),
                )
                inquiry = self._caller.inquire(code)
                if self._caller.notify(report):
                    return 201, {"payment_request_id": key, "inquiry": inquiry, "told_to_the_exchange": True}
                refused = self._book.find("rejected", key) or {}
                answer = {"inquiry": inquiry, "told_to_the_exchange": False, "answer": refused.get("code")}
                return (409 if refused else 502), {"payment_request_id": key, **answer}
        return 400, {"error": "a payment is an object of billing_code, amount and currency, all of them text"}

    def _drop_statement(self, entries: list[Report], chapter: str) -> None:
        """Drop a chapter's entries as one notification, in pages where there is more than a page of them.

        In the main chapter there are always pages if there are entries for two, and a copy of the first follows.
        """
        name = f"{self._name}-{chapter}"
        size = STATEMENT_ENTRIES_MAX
        if chapter == MAIN_CHAPTER:
            size = min(size, max(1, (len(entries) + 1) // 2))
        parts = [entries[place : place + size] for place in range(0, len(entries), size)]
        for number, part in enumerate(parts, start=1):
            page = Page(number, number == len(parts)) if len(parts) > 1 else None
            self._drop(part, name.upper(), f"{name}-{number}", chapter, page=page)
            for report in part:
                self._book.note("told", report.key, channel=report.channel, file=f"{name}-{number}.xml")
        if chapter == MAIN_CHAPTER:
            self._wait_for_folder()
            self._drop(parts[0], f"{name}-SALINAN".upper(), f"{name}-salinan", chapter, copy=True)

    def _drop(self, part: list[Report], identification: str, name: str, chapter: str, **how: Any) -> None:
        version = VERSIONS[chapter][self._name == "mandiri"]
        content = write_statement(part, identification, self._account, datetime.now(UTC), version=version, **how)
        page = how.get("page")
        self._drop_file(name, content, version=version, entries=len(part), copy="copy" in how, paged=page is not None)

    def _wait_for_folder(self) -> None:
        """Wait until what was dropped has been taken, for as long as a copy usually takes to be asked for."""
        deadline_s = time.time() + COPY_PAUSE_S
        while time.time() < deadline_s and any(self._folder.glob("*.xml")):
            time.sleep(COPY_PAUSE_S / 10)

    def _drop_file(self, name: str, content: bytes, **details: Any) -> None:
        """Write under another name first, so that the connector never sees half a file."""
        part = self._folder / f"{name}.xml.part"
        part.write_bytes(content)
        part.rename(self._folder / f"{name}.xml")
        self._book.note("files", f"{name}.xml", **details)


def _truncate(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _read_secret(settings: Mapping[str, str], name: str) -> bytes | None:
    return Path(settings[name]).read_bytes().strip() if settings.get(name) else None


def run() -> None:
    """Play the bank that BANK names."""
    casting, book, settings = Casting.read(), Book(), os.environ
    sender = Sender(
        settings["SNAP_URL"],
        settings["SNAP_PARTNER_ID"],
        Sender.read_key(Path(settings["SNAP_KEY_FILE"]).read_bytes()),
        _read_secret(settings, "SNAP_SECRET_FILE"),
        timedelta(seconds=float(settings.get("CLOCK_SKEW_S", "0"))),
    )
    # The first token is one that has run out, as in a system that was off for the night.
    sender.forget_token()
    caller = Caller(book, sender, holds=settings.get("HOLDS") == "1", pause_s=1 / casting.pace_per_s)
    bank = Bank(settings["BANK"], casting, book, caller, Path(settings["STATEMENT_DIR"]), settings["ACCOUNT"])
    routes: Routes = {("POST", "/payments"): bank.take_money}
    if settings.get("STATUS_KEY_FILE"):
        key = StatusServer.read_key(Path(settings["STATUS_KEY_FILE"]).read_bytes())
        secret = _read_secret(settings, "STATUS_SECRET_FILE")
        routes = {**routes, **StatusServer(book, settings["STATUS_CLIENT"], key, secret).routes()}

    def perform(chapter: str) -> None:
        bank.perform(chapter)
        if sender.renewals:
            book.note("tokens", "renewed", times=sender.renewals)

    play(casting, book, perform, routes)


if __name__ == "__main__":
    run()
