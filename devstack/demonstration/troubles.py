"""The deliberate troubles on the wire, and the ledger of what each must come to.

Every record here is made or repeated by a second hand, outside every connector; only its place and what must become of
it are noted, so that the ledger owes nothing to the exchange.
"""

import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from aiokafka import AIOKafkaProducer

from devstack.agencies.scenario import Application, Bill, Day, Report
from devstack.demonstration.cast import BANK_CODES, BRANCH_SOURCE, ENVIRONMENT, UNKNOWN_CONTRACT, Cast
from devstack.demonstration.forgery import Author, RawRecord, tamper, write_time
from devstack.demonstration.keys import SigningKey
from devstack.demonstration.observation import SeenRecord

RECEIVED = "id.tka.bank.payment.received.v1"
FORGED_SEQUENCE = 9_000_000  # Far beyond what a connector of the demo reaches: a refused record takes no number.
NO_BILL = "899999999999999"


@dataclass(frozen=True, slots=True)
class Trouble:
    """One record that was sent on purpose. `code`: the refusal it must come to, None if it is none.

    `receipted_to`: who must get a signed refusal receipt; None where the sender cannot be known.
    """

    name: str
    place: tuple[str, int, int]
    code: str | None
    receipted_to: str | None = None
    original: tuple[str, str] | None = None


@dataclass(slots=True)
class Ledger:
    """What was done on purpose, in order."""

    troubles: list[Trouble] = field(default_factory=list)
    late_key_reports: list[Report] = field(default_factory=list)
    explained: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)

    def refusals(self) -> dict[str, int]:
        """Count expected refusals by code."""
        counts: dict[str, int] = {}
        for trouble in self.troubles:
            if trouble.code is not None:
                counts[trouble.code] = counts.get(trouble.code, 0) + 1
        return counts

    def named(self, name: str) -> list[Trouble]:
        """Return the troubles of one kind."""
        return [trouble for trouble in self.troubles if trouble.name == name]


class SecondHand:
    """Sends records past the connectors."""

    def __init__(self, cast: Cast, producer: AIOKafkaProducer, ledger: Ledger) -> None:
        self._cast = cast
        self._producer = producer
        self._ledger = ledger

    def _author(self, bank: str, key: SigningKey | None = None, source: str | None = None) -> Author:
        signer = key or self._cast.message_keys[bank]
        return Author(bank, source or self._cast.source(bank), ENVIRONMENT, signer)

    async def _send(
        self,
        name: str,
        record: RawRecord,
        code: str | None,
        *,
        receipted_to: str | None = None,
        partition: int | None = None,
        original: tuple[str, str] | None = None,
    ) -> None:
        sent = await self._producer.send_and_wait(
            self._cast.services.topic_prefix + record.topic,
            key=record.key,
            value=record.value,
            headers=list(record.headers),
            partition=partition,
        )
        place = (record.topic, sent.partition, sent.offset)
        self._ledger.troubles.append(Trouble(name, place, code, receipted_to, original))

    async def send_early(self, day: Day) -> None:
        """Send what the exchange must hold back for a while: a stranger's, an unknown contract's, an early key's."""
        stranger = self._author("bri", self._cast.stranger_key)
        await self._send("stranger's key", stranger.seal(self._write_payment(stranger, NO_BILL)), "key_unknown")
        bank = self._author("bri")
        unknown = bank.write_event(UNKNOWN_CONTRACT, NO_BILL, FORGED_SEQUENCE, {"anything": "new"})
        await self._send("unknown contract version", bank.seal(unknown), "contract_unknown", receipted_to="bri")
        branch = self._author("bri", self._cast.branch_key, BRANCH_SOURCE)
        for number, application in enumerate(_of_variant(day, "late_key"), start=1):
            report = report_by_branch(application, day.start)
            event = branch.write_event(RECEIVED, report.billing_code or "", number, describe_payment(report))
            event["time"] = write_time(report.at)
            await self._send("key not yet in the registry", branch.seal(event), None)
            self._ledger.late_key_reports.append(report)

    def _write_payment(self, author: Author, code: str) -> dict[str, Any]:
        data = {
            "bank_code": BANK_CODES[author.participant],
            "billing_code": code,
            "amount": "100.00",
            "currency": "USD",
            "payment_request_id": secrets.token_hex(8),
            "paid_at": write_time(datetime.now(UTC)),
            "ntpn": None,
            "bank_reference": secrets.token_hex(6).upper(),
        }
        return author.write_event(RECEIVED, code, FORGED_SEQUENCE, data)

    async def send_refusable(self, day: Day) -> None:
        """Send what must be refused at once."""
        mandiri, bri = self._author("mandiri"), self._author("bri")
        payment = mandiri.seal(self._write_payment(mandiri, NO_BILL))
        await self._send("tampered byte", tamper(payment, b'"100.00"', b'"900.00"'), "signature_invalid")
        await self._send(
            "bank publishes a permit event",
            bri.seal(write_permit(bri, day)),
            "type_not_permitted",
            receipted_to="bri",
        )
        elsewhere = self._write_payment(bri, NO_BILL) | {"audience": "production/from.bri"}
        await self._send("meant for another environment", bri.seal(elsewhere), "audience_wrong", receipted_to="bri")
        past = datetime.now(UTC) - timedelta(days=1)
        old = self._write_payment(mandiri, NO_BILL) | {
            "time": write_time(past - timedelta(days=60)),
            "recordedtime": write_time(past - timedelta(days=60)),
            "expirytime": write_time(past),
        }
        await self._send("expired on its way", mandiri.seal(old), "message_expired", receipted_to="mandiri")

    async def repeat(self, records: Iterable[SeenRecord]) -> None:
        """Send accepted records again, byte for byte, and then with other content under the same identity."""
        for record in records:
            raw = RawRecord(record.topic, record.key or b"", record.value or b"", record.headers)
            identity = (str(record.event["source"]), str(record.event["id"]))
            await self._send("same bytes twice", raw, None, partition=record.partition, original=identity)
            sender = record.topic.removeprefix("from.")
            if sender in BANK_CODES:
                other = _change_amount(record.event)
                await self._send(
                    "same id, other bytes",
                    self._author(sender).seal(other),
                    "equivocation",
                    receipted_to=sender,
                    partition=record.partition,
                    original=identity,
                )


def report_by_branch(application: Application, start: datetime) -> Report:
    """Return what bri's second signer reports: the payment of a bill that nobody else reports."""
    bill = _bill_of(application)
    return Report(
        bank="bri",
        chapter="noon",
        channel="notification",
        at=start - timedelta(hours=3),
        billing_code=bill.code,
        amount=bill.amount,
        currency=bill.currency,
        reference=secrets.token_hex(6).upper(),
        ntpn=None,
        key=secrets.token_hex(8),
    )


def write_permit(author: Author, day: Day) -> dict[str, Any]:
    """A revocation that a bank has no business to publish, in every other respect as it should be."""
    application = _of_variant(day, "plain")[0]
    references = application.references
    data = {
        "application": application.number,
        "official": references["petugas"],
        "unit": references["unit"],
        "intermediary": None,
        "worker": references["ref_tka"],
        "kbli": application.sector,
        "province": application.province,
        "regency": application.regency,
        "position_level": "staff",
        "permit_kind": "new",
        "nationality": application.person.nationality,
        "decision": f"CBT/{application.number}",
        "reason_code": "FORGED",
    }
    return author.write_event("id.tka.ministry.permit.revoked.v1", application.number, FORGED_SEQUENCE, data)


def _of_variant(day: Day, variant: str) -> list[Application]:
    return [made for made in day.applications.values() if made.variant == variant]


def _bill_of(application: Application) -> Bill:
    if application.bill is None:
        raise ValueError("this kind of application always has a bill")
    return application.bill


def describe_payment(report: Report) -> dict[str, Any]:
    """Return a report as the data of a payment.received event."""
    return {
        "bank_code": BANK_CODES[report.bank],
        "billing_code": report.billing_code,
        "amount": f"{report.amount:.2f}",
        "currency": report.currency,
        "payment_request_id": report.key,
        "paid_at": write_time(report.at),
        "ntpn": report.ntpn,
        "bank_reference": report.reference,
    }


def _change_amount(event: Mapping[str, Any]) -> dict[str, Any]:
    changed: dict[str, Any] = json.loads(json.dumps(event))
    changed["data"]["amount"] = "1.00"
    return changed
