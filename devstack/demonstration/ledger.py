"""Expected against seen: two dictionaries with the same keys, made from different sources.

Expected comes from the agencies' own books and from the ledger of troubles, never from the hub. Seen comes from the
topics under read_committed, the hub's database, the ministry's register, Immigration's book and the spools.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from devstack.agencies.reckoning import Reckoning, reckon
from devstack.agencies.scenario import BANKS, Day, Report
from devstack.demonstration.cast import (
    AGENCIES,
    BILL_TYPES,
    EXPLAINING_BANK,
    OUTCOME_TYPE,
    RECOMMENDATION_TYPES,
    TOPICS,
    Cast,
)
from devstack.demonstration.observation import SeenRecord, Tables, Watcher
from devstack.demonstration.spools import count_settled
from devstack.demonstration.stage import Book
from devstack.demonstration.troubles import Ledger
from devstack.postgres import DURABLE

RECEIPT_TYPE = "id.tka.hub.receipt.v1"
OUTCOMES = ("matched", "partial", "excess", "wrong_currency", "late", "unmatched", "duplicate", "reversed")
BAD_FILES_PER_BANK = 1

# What identifies a report of money across the books and the exchange, and what it came to.
Told = tuple[str, str, str, str, str]


@dataclass(frozen=True, slots=True)
class Books:
    """All that the agencies did, with the plan that they followed."""

    day: Day
    books: Mapping[str, Book]
    ledger: Ledger

    def reports(self) -> list[Report]:
        """Return what the banks have told, the second signer's reports included."""
        told = {key for bank in BANKS for key in self.books[bank].page("told")}
        return [report for report in self.day.reports if report.key in told] + self.ledger.late_key_reports

    def reckon(self) -> Reckoning:
        """Reckon what should come of it."""
        written = self.books["ministry"].page("written")
        return reckon(self.day.applications, [row for row in self.day.rows if row.key in written], self.reports())

    def sent_by(self, agency: str) -> int:
        """Return how many facts an agency's own connector was given and can publish."""
        if agency == "ministry":
            return sum(bool(entry["sound"]) for entry in self.books["ministry"].page("written").values())
        page = "answers" if agency == "immigration" else "told"
        explained = len(self.ledger.explained) if agency == EXPLAINING_BANK else 0
        return len(self.books[agency].page(page)) + explained


def expect(books: Books, kills: Iterable[str]) -> dict[str, int]:
    """Return what should be seen."""
    reckoning, ledger = books.reckon(), books.ledger
    expected = {"applications": len(books.day.applications)}
    for agency in AGENCIES:
        expected[f"accepted from {agency}"] = books.sent_by(agency)
        expected[f"receipted to {agency}"] = books.sent_by(agency)
    expected["accepted from bri, second key"] = len(ledger.late_key_reports)
    expected |= {f"refused: {code}": count for code, count in ledger.refusals().items()}
    expected["refusal receipts"] = sum(trouble.receipted_to is not None for trouble in ledger.troubles)
    expected["duplicates"] = len(ledger.named("same bytes twice"))
    expected["equivocations"] = len(ledger.named("same id, other bytes"))
    outcomes = Counter(reckoning.outcomes.values())
    expected |= {f"payment reports: {outcome}": outcomes[outcome] for outcome in OUTCOMES}
    expected["payment reports told to ministry"] = len(reckoning.outcomes)
    expected["payment reports told otherwise"] = 0
    for bank in BANKS:
        expected[f"payment reports told to {bank}"] = sum(report.bank == bank for report in books.reports())
        expected[f"bills left to collect at {bank}"] = len(_payable(books.day) - reckoning.bills_paid)
        expected[f"bills shown wrongly at {bank}"] = 0
        expected[f"{bank}: files refused"] = BAD_FILES_PER_BANK
    expected |= _expect_recommendations(reckoning)
    expected |= _expect_deliveries(books, reckoning)
    expected |= {f"kill -9 of {name}": 1 for name in kills}
    expected["spools with synchronous=FULL"] = len(AGENCIES)
    expected["PostgreSQL's fsync, full_page_writes, synchronous_commit on"] = len(DURABLE)
    return expected | dict.fromkeys(_NEVER, 0)


_NEVER = (
    "messages still deferred",
    "outbox rows not sent",
    "gaps or repeats in a stream",
    "bank calls refused or undelivered",
    "spool rows without a receipt",
    "streams stopped",
    "connectors behind",
    "personal data in logs",
    "personal data in metrics",
)


def _payable(day: Day) -> set[str]:
    """Return the codes of the bills that had not run out, neither by the clock nor by the ministry's word."""
    return {code for code, bill in day.bills().items() if bill.expires_at > day.start} - day.run_out()


def _expect_recommendations(reckoning: Reckoning) -> dict[str, int]:
    return {
        "recommendations issued": len(reckoning.issued),
        "recommendations issued again": sum(revision > 1 for _, revision in reckoning.issued),
        "recommendations withdrawn": len(reckoning.withdrawn),
        "recommendations standing at the end": len(reckoning.issued) - len(reckoning.withdrawn),
    }


def _expect_deliveries(books: Books, reckoning: Reckoning) -> dict[str, int]:
    immigration = books.books["immigration"]
    asked = sum(entry["kind"] == "queried" for entry in immigration.page("answers").values())
    return {
        "immigration: issued": len(reckoning.issued),
        "immigration: withdrawn": len(reckoning.withdrawn),
        "immigration: content as the ministry's": len(reckoning.issued) + len(reckoning.withdrawn),
        "immigration: answers to its questions": asked,
        "ministry: recommendations": len(reckoning.issued) + len(reckoning.withdrawn),
        "ministry: payment reports": len(reckoning.outcomes),
        "ministry: answers of immigration": len(immigration.page("answers")),
        "ministry: rows set aside": sum(
            not entry["sound"] for entry in books.books["ministry"].page("written").values()
        ),
        "ministry: refusals": 0,
    }


async def see(cast: Cast, books: Books, watcher: Watcher, tables: Tables, kills: Mapping[str, int]) -> dict[str, int]:
    """Return what is seen, under the same keys as `expect` as long as nothing unexpected happened."""
    watcher.check()
    seen = {"applications": (await tables.count()).cases}
    seen |= await _see_accepted(cast, watcher, tables)
    seen |= await _see_troubles(books.ledger, watcher, tables)
    seen |= _see_payments(books, watcher)
    seen |= _see_recommendations(watcher)
    seen |= _see_at_banks(cast, books, watcher)
    seen |= await _see_deliveries(books, tables)
    seen |= {f"kill -9 of {name}": count for name, count in kills.items()}
    seen["messages still deferred"] = (await tables.count()).deferred
    seen["PostgreSQL's fsync, full_page_writes, synchronous_commit on"] = await tables.count_durable_settings()
    seen["outbox rows not sent"] = await tables.unsent()
    seen["gaps or repeats in a stream"] = _count_seq_faults(watcher)
    seen["spool rows without a receipt"] = sum(count_settled(cast, agency).unsettled for agency in AGENCIES)
    return seen


async def _see_accepted(cast: Cast, watcher: Watcher, tables: Tables) -> dict[str, int]:
    accepted = await tables.accepted_by_source()
    seen = {f"accepted from {agency}": accepted.pop(cast.source(agency), 0) for agency in AGENCIES}
    seen["accepted from bri, second key"] = sum(accepted.values())
    for agency in AGENCIES:
        receipted = {
            entry["id"]
            for record in watcher.events(f"to.{agency}", RECEIPT_TYPE)
            if record.event["data"]["source"] == cast.source(agency)
            for entry in record.event["data"]["accepted"]
        }
        # The receipts on the topic and what the connector's spool has settled must say the same.
        seen[f"receipted to {agency}"] = min(len(receipted), count_settled(cast, agency).accepted)
    return seen


async def _see_troubles(ledger: Ledger, watcher: Watcher, tables: Tables) -> dict[str, int]:
    refused, watermarks = await tables.refused_places(), await tables.watermarks()
    accepted = await tables.accepted_places()
    seen: dict[str, int] = {f"refused: {code}": count for code, count in Counter(refused.values()).items()}
    receipts = {
        (entry["sha256"], entry["code"])
        for agency in AGENCIES
        for record in watcher.events(f"to.{agency}", RECEIPT_TYPE)
        for entry in record.event["data"]["refused"]
    }
    seen["refusal receipts"] = len(receipts)
    # A record that was read, is neither refused nor the accepted one of its identity, was a repeat.
    seen["duplicates"] = sum(
        watermarks.get(trouble.place[:2], 0) > trouble.place[2]
        and trouble.place not in refused
        and trouble.place not in accepted
        and list(accepted.values()).count(trouble.original or ("", "")) == 1
        for trouble in ledger.named("same bytes twice")
    )
    seen["equivocations"] = sum(
        refused.get(trouble.place) == "equivocation" for trouble in ledger.named("same id, other bytes")
    )
    return seen


def final_outcomes(records: Iterable[SeenRecord]) -> dict[tuple[str, str], Told]:
    """Return the last word on each report of money, by the report's (source, id)."""
    last: dict[tuple[str, str], Told] = {}
    for record in records:
        data = record.event["data"]
        source, identity = data["payment"]["source"], data["payment"]["id"]
        bank = source.removeprefix("https://").split(".")[0]
        last[source, identity] = (bank, data["billing_code"] or "", data["amount"], data["currency"], data["outcome"])
    return last


def _see_payments(books: Books, watcher: Watcher) -> dict[str, int]:
    finals = final_outcomes(watcher.events("to.ministry", OUTCOME_TYPE))
    counts = Counter(told[-1] for told in finals.values())
    seen = {f"payment reports: {outcome}": counts.pop(outcome, 0) for outcome in OUTCOMES}
    seen |= {f"payment reports: {outcome}": count for outcome, count in counts.items()}
    seen["payment reports told to ministry"] = len(finals)
    seen["payment reports told otherwise"] = sum((Counter(finals.values()) - _expected_words(books)).values())
    for bank in BANKS:
        own = final_outcomes(watcher.events(f"to.{bank}", OUTCOME_TYPE))
        agreeing = sum(finals.get(identity) == told and told[0] == bank for identity, told in own.items())
        seen[f"payment reports told to {bank}"] = agreeing if agreeing == len(own) else -len(own)
    return seen


def _expected_words(books: Books) -> Counter[Told]:
    outcomes = books.reckon().outcomes
    return Counter(
        (report.bank, report.billing_code or "", f"{report.amount:.2f}", report.currency, outcomes[report.key])
        for report in books.reports()
    )


def _see_recommendations(watcher: Watcher) -> dict[str, int]:
    told = [record.event["data"] for record in watcher.events("to.immigration", *RECOMMENDATION_TYPES)]
    states = Counter((data["application"], data["revision"], data["state"]) for data in told)
    issued = sum(count for (_, _, state), count in states.items() if state == "issued")
    last = {record.key: record.event for record in watcher.records("recommendations") if record.event}
    return {
        "recommendations issued": issued,
        "recommendations issued again": sum(
            count for (_, revision, state), count in states.items() if state == "issued" and revision > 1
        ),
        "recommendations withdrawn": len(told) - issued,
        "recommendations standing at the end": sum(event["data"]["state"] == "issued" for event in last.values()),
    }


def _see_at_banks(cast: Cast, books: Books, watcher: Watcher) -> dict[str, int]:
    seen, failed = {}, 0
    collectable = _payable(books.day) - books.reckon().bills_paid
    for bank in BANKS:
        # A bill that was paid before it was announced is never shown to a bank, so only the last word on it counts.
        last = {
            record.event["data"]["billing_code"]: record.event for record in watcher.events(f"to.{bank}", *BILL_TYPES)
        }
        left = {code for code, event in last.items() if event["type"] == BILL_TYPES[0]}
        seen[f"bills left to collect at {bank}"] = len(left)
        seen[f"bills shown wrongly at {bank}"] = len(left ^ collectable)
        book = books.books[bank]
        failed += len(book.page("rejected")) + len(book.page("undelivered"))
        refused = cast.folder / "statements" / bank / "refused"
        seen[f"{bank}: files refused"] = len(list(refused.glob("*.reason.txt")))
    return seen | {"bank calls refused or undelivered": failed}


async def _see_deliveries(books: Books, tables: Tables) -> dict[str, int]:
    immigration = books.books["immigration"]
    received: list[dict[str, Any]] = list(immigration.page("recommendations").values())
    rows = await tables.outcomes()
    kinds = Counter(row["kind"] for row in rows)
    payloads = [json.loads(row["payload"]) for row in rows if row["kind"] == "PEMBAYARAN"]
    return {
        "immigration: issued": sum(entry["state"] == "issued" for entry in received),
        "immigration: withdrawn": sum(entry["state"] == "withdrawn" for entry in received),
        "immigration: content as the ministry's": sum(_agrees(books.day, entry) for entry in received),
        "immigration: answers to its questions": len(immigration.page("query_answers")),
        "ministry: recommendations": kinds["REKOMENDASI"],
        "ministry: payment reports": len(
            {(payload["payment"]["source"], payload["payment"]["id"]) for payload in payloads}
        ),
        "ministry: answers of immigration": kinds["VISA"],
        "ministry: rows set aside": kinds["BARIS_DITOLAK"],
        "ministry: refusals": kinds["TANDA_TERIMA"],
    }


def _agrees(day: Day, entry: Mapping[str, Any]) -> bool:
    """Whether what Immigration got says of worker, employer and period what the ministry's file says."""
    application, body = day.applications.get(str(entry["application"])), entry["body"]
    if application is None:
        return False
    person, employer = application.person, application.employer
    return (body["worker"], body["employer"], body["from"], body["until"], body["kanim"]) == (
        {
            "name": person.name,
            "birth_date": person.birth_date.isoformat(),
            "nationality": person.nationality,
            "passport": person.passport,
        },
        {"name": employer.name, "nib": employer.nib, "npwp": employer.npwp},
        application.starts.isoformat(),
        application.ends.isoformat(),
        application.kanim,
    )


def _count_seq_faults(watcher: Watcher) -> int:
    """Count what is not exactly 1, 2, 3 ... among the hub's sequence numbers of each partition."""
    faults = 0
    for topic, partitions in TOPICS.items():
        if topic.startswith("from."):
            continue
        for partition in range(partitions):
            seqs = [
                int(record.header("hub-seq") or b"0")
                for record in watcher.records(topic)
                if record.partition == partition
            ]
            faults += sum(number != place for place, number in enumerate(seqs, start=1))
    return faults


def count_personal(day: Day, texts: Iterable[str]) -> int:
    """Count the workers of whom a name or a passport number stands in one of these texts."""
    whole = "\n".join(texts)
    return sum(
        made.person.name in whole or made.person.passport in whole or made.person.passport[:-1] in whole
        for made in day.applications.values()
    )
