"""The agencies' own systems, played by the test, each with its book of what it told and what it was told.

Nothing here knows what the exchange did with it: the books are what the invariants are compared with.
"""

import http.client
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count, cycle, islice
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import asyncpg
from aiokafka import AIOKafkaProducer

from devstack.agencies.door import Answer, Door, Handler
from devstack.agencies.immigration import VisaSystem
from devstack.agencies.part import Book
from devstack.agencies.scenario import Application, Day, Report, Row, write_day
from devstack.agencies.snap import Call, Sender, write_call
from devstack.agencies.statement import write_statement
from devstack.demonstration.cast import BANK_CODES, Cast
from devstack.demonstration.forgery import CONTENT_TYPE, Author, RawRecord
from devstack.demonstration.spools import SPOOL_FILE
from devstack.demonstration.troubles import NO_BILL, RECEIVED, Ledger, SecondHand
from tests.faults.background import Background, wait_until

if TYPE_CHECKING:
    Pool = asyncpg.Pool[asyncpg.Record]

TOLD_LIMIT_S = 60.0
TAKEN_CODES = {"2002500", "4042518"}  # 4042518 answers a repeat: the first call got through.
REPEATS = 2
STRANGER_SEQUENCE = 7_000_000


@dataclass
class Books:
    """What the agencies told the exchange, and the records that came from elsewhere, each with what must become of it.

    `rows`: (application, kind) by the register's row id. `notified`, `booked`: reports by their key or reference.
    `refused`: codes by (topic, partition, offset). `late`: the places of those that first wait for the registry.
    """

    applications: dict[str, Application] = field(default_factory=dict)
    rows: dict[int, tuple[str, str]] = field(default_factory=dict)
    notified: dict[str, Report] = field(default_factory=dict)
    booked: dict[str, Report] = field(default_factory=dict)
    refused: dict[tuple[str, int, int], str] = field(default_factory=dict)
    late: set[tuple[str, int, int]] = field(default_factory=set)
    repeated: list[tuple[str, int, int]] = field(default_factory=list)


class Natives:
    """The register's writers, the banks' senders, the visa system, and the stranger."""

    def __init__(self, cast: Cast, background: Background, register: "Pool", producer: AIOKafkaProducer) -> None:
        self.cast = cast
        self.background = background
        self.day = write_day(cast.seed, cast.applications, cast.start)
        self.books = Books()
        self.visa_book = Book()
        self.visa_system = VisaSystem(self.day, self.visa_book)
        self.visa_calls: list[str] = []
        self.visa_door: Door
        self._register = register
        self._producer = producer
        self._applications = _deal(self.day)
        self._statements = count(1)
        self._strangers = count(STRANGER_SEQUENCE)
        self._ledger = Ledger()
        self._hand = SecondHand(cast, producer, self._ledger)
        self._senders = {bank: self._sender(bank) for bank in BANK_CODES}
        self._threads = ThreadPoolExecutor(max_workers=6, thread_name_prefix="native")

    def close(self) -> None:
        """Wait for what is still being told."""
        self._threads.shutdown(cancel_futures=True)

    def _sender(self, bank: str) -> Sender:
        key = Sender.read_key(self.cast.snap_keys[bank][0].read_bytes())
        return Sender(self.cast.url(f"connector-{bank}"), f"{bank.upper()}-TKA", key)

    # --- a load ------------------------------------------------------------------------------------------------------

    def deal(self, number: int) -> list[Application]:
        """Return so many applications that nobody has told of yet, of both banks in turn."""
        return list(islice(self._applications, number))

    def tell(self, applications: Sequence[Application], *, statements: bool = True) -> "list[Future[None]]":
        """Begin to tell everything of these applications, through every channel at once."""
        for application in applications:
            self.books.applications[application.number] = application
        reports = self.reports_of(applications)
        telling = [self._threads.submit(self.write_rows, self.rows_of(applications))]
        telling += [self._threads.submit(self.notify, one) for one in reports if one.channel == "notification"]
        return telling + (self.tell_again(applications, []) if statements else [])

    def tell_again(self, applications: Sequence[Application], kinds: Sequence[str]) -> "list[Future[None]]":
        """Begin to tell the banks' statements of these applications, and once more their rows of these kinds."""
        reports = self.reports_of(applications)
        rows = [row for row in self.rows_of(applications) if row.kind in kinds]
        statements = [self._threads.submit(self._drop_statement, bank, reports) for bank in BANK_CODES]
        return [self._threads.submit(self.write_rows, rows), *statements]

    def reports_of(self, applications: Sequence[Application]) -> list[Report]:
        """Return the payments of these applications, by every channel."""
        return [report for report in self.day.reports if report.billing_code in _codes(applications)]

    def rows_of(self, applications: Sequence[Application]) -> list[Row]:
        """Return the register's rows of these applications, in the order of the ministry's day."""
        numbers = {application.number for application in applications}
        return [row for row in self.day.rows_of("morning") if row.application in numbers]

    def write_rows(self, rows: Iterable[Row]) -> None:
        """Write rows into the register's outbox, each in a transaction of its own."""
        for row in rows:
            self.background.run(self._write_row(row))

    async def _write_row(self, row: Row) -> None:
        number = await self._register.fetchval(
            "INSERT INTO register.outbox (at, kind, application_number, payload) VALUES ($1, $2, $3, $4) RETURNING id",
            *(row.at, row.kind, row.application, json.dumps(row.payload)),
        )
        self.books.rows[number] = row.application, row.kind

    def notify(self, report: Report) -> None:
        """Post a payment until the connector has it, and once more, as a bank does that lost the answer."""
        call = write_call(
            billing_code=report.billing_code or "",
            amount=f"{report.amount:.2f}",
            currency=report.currency,
            paid_at=report.at,
            request_id=report.key,
            reference=report.reference,
            ntpn=report.ntpn,
        )
        for _ in range(2):
            wait_until("the bank's connector answers", lambda: self._post(report.bank, call), TOLD_LIMIT_S)
            self.books.notified[report.key] = report

    def _post(self, bank: str, call: Call) -> bool:
        try:
            _, answer = self._senders[bank].post(call, datetime.now(UTC))
        except (OSError, http.client.HTTPException, ValueError):
            return False
        return answer.get("responseCode") in TAKEN_CODES

    def _drop_statement(self, bank: str, reports: Sequence[Report]) -> None:
        entries = [report for report in reports if report.bank == bank and report.channel == "statement"]
        if not entries:
            return
        name = f"{bank}-{next(self._statements)}"
        content = write_statement(entries, name.upper(), f"KAS-NEGARA-{BANK_CODES[bank]}", datetime.now(UTC))
        folder = self.cast.folder / "statements" / bank
        part = folder / f"{name}.xml.part"
        part.write_bytes(content)
        part.rename(folder / f"{name}.xml")
        self.books.booked.update({report.reference: report for report in entries})

    # --- records from elsewhere --------------------------------------------------------------------------------------

    def make_trouble(self) -> None:
        """Send what must be refused, and repeat what was sent, byte for byte."""
        self.background.run(self._send_refusable())
        for participant in ("ministry", "bri"):
            for record in self.read_sent(participant, REPEATS):
                self.books.repeated.append(self.send(record))

    async def _send_refusable(self) -> None:
        known = len(self._ledger.troubles)
        await self._hand.send_refusable(self.day)
        for trouble in self._ledger.troubles[known:]:
            self.books.refused[trouble.place] = trouble.code or ""
        stranger = Author("bri", self.cast.source("bri"), "demo", self.cast.stranger_key)
        payment = {"bank_code": "002", "billing_code": NO_BILL, "amount": "1.00", "currency": "USD"}
        event = stranger.write_event(RECEIVED, NO_BILL, next(self._strangers), payment)
        place = await self._send(stranger.seal(event))
        self.books.refused[place] = "key_unknown"
        self.books.late.add(place)

    def send(self, record: RawRecord) -> tuple[str, int, int]:
        """Send a record past every connector; return where it stands."""
        return self.background.run(self._send(record))

    async def _send(self, record: RawRecord) -> tuple[str, int, int]:
        topic = self.cast.services.topic_prefix + record.topic
        sent = await self._producer.send_and_wait(
            topic, key=record.key, value=record.value, headers=list(record.headers)
        )
        return record.topic, sent.partition, sent.offset

    def read_sent(self, participant: str, number: int) -> list[RawRecord]:
        """Return the newest signed messages in a connector's spool, as they are sent."""
        with open_spool(self.cast, participant) as spool:
            rows = spool.execute(
                "SELECT subject, value, jws, jws_proof FROM fact WHERE jws IS NOT NULL ORDER BY sequence DESC LIMIT ?",
                (number,),
            ).fetchall()
        records = []
        for subject, value, jws, proof in rows:
            proofs = [] if proof is None else [("jws-proof", proof.encode())]
            headers = (("content-type", CONTENT_TYPE), ("jws", jws.encode()), *proofs)
            records.append(RawRecord(f"from.{participant}", subject.encode(), value, headers))
        return records

    def statements_left(self) -> int:
        """Count the statement files that no connector has taken yet."""
        folders = [self.cast.folder / "statements" / bank for bank in BANK_CODES]
        return sum(1 for folder in folders for _ in folder.glob("*.xml"))


def _deal(day: Day) -> Iterator[Application]:
    """Deal the applications that are paid in full through both channels, of both banks in turn."""
    banks = {report.billing_code: report.bank for report in day.reports}
    plain = [made for made in day.applications.values() if made.variant == "plain" and made.bill is not None]
    hands = {
        bank: iter([made for made in plain if made.bill is not None and banks[made.bill.code] == bank])
        for bank in BANK_CODES
    }
    for bank in cycle(BANK_CODES):
        dealt = next(hands[bank], None)
        if dealt is None:
            raise LookupError("the day has no more plain applications: let it be longer")
        yield dealt


def _codes(applications: Iterable[Application]) -> set[str]:
    return {made.bill.code for made in applications if made.bill is not None}


@contextmanager
def open_spool(cast: Cast, participant: str) -> Iterator[sqlite3.Connection]:
    """Give a connector's spool, read only."""
    file = cast.folder / "spool" / participant / SPOOL_FILE
    with closing(sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True, timeout=10)) as spool:
        yield spool


@contextmanager
def play_natives(cast: Cast, background: Background) -> Iterator[Natives]:
    """Play the agencies for one block. The register must exist."""

    async def begin() -> "tuple[Pool, AIOKafkaProducer]":
        register = await asyncpg.create_pool(cast.services.register_owner_url, min_size=1, max_size=3)
        producer = AIOKafkaProducer(
            bootstrap_servers=cast.services.bootstrap, acks="all", enable_idempotence=True, linger_ms=2
        )
        await producer.start()
        return register, producer

    async def end() -> None:
        await producer.stop()
        await register.close()

    register, producer = background.run(begin())
    natives = Natives(cast, background, register, producer)
    natives.visa_door = open_visa_door(natives)
    try:
        yield natives
    finally:
        natives.visa_door.close()
        natives.close()
        background.run(end())


def open_visa_door(natives: Natives) -> Door:
    """Open the visa system's own HTTP door, which notes by what addresses it is called."""
    system = natives.visa_system

    def noted(handler: Handler) -> Handler:
        def handle(*groups: str, query: dict[str, str], body: Any) -> Answer:
            natives.visa_calls.append(f"{groups} {query}")
            return handler(*groups, query=query, body=body)

        return handle

    door = Door(
        natives.cast.ports["immigration-system"],
        {
            ("PUT", r"/recommendations/([^/]+)/(\d+)/(issued|withdrawn)"): noted(system.take),
            ("GET", r"/answers"): noted(system.list_answers),
            ("PUT", r"/query-answers/([^/]+)"): noted(system.take_query_answer),
        },
    )
    door.open()
    return door
