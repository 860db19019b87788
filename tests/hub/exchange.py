"""A whole exchange for the intake's tests: participants with keys, a registry in force, and senders that sign."""

import itertools
import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from contracts.wire.base64url import encode
from contracts.wire.envelope import write_envelope
from contracts.wire.key import PrivateKey
from contracts.wire.record import Record
from contracts.wire.signature import NO_PREVIOUS_ROOT, headers_of, sign_batch, sign_single
from hub import registration
from hub.desk import Batch, Desk, Taken
from hub.store import positions
from hub.store.database import Database
from hub.store.schema import migrate
from tests.hub.registering import register

ENVIRONMENT = "demo"
ORIGIN = "hub.example/demo"
APPLICATION = "B.3/000017/PK.04.00/III/2026"
CODE = "820260302000017"
PERSON = {"name": "Taro Yamada", "birth_date": "1980-02-29", "nationality": "JPN", "passport": "L898902C36"}
NONCE = encode(bytes(16))
BANK_CODES = {"bri": "002", "mandiri": "008"}

PERMITS = (
    "submitted", "deficiency_notified", "resubmitted", "completed", "feasibility_assessed", "worker_verified",
    "approved", "amended", "rejected", "revoked", "expired",
)  # fmt: skip
MINISTRY_TYPES = (
    *(f"id.tka.ministry.permit.{name}.v1" for name in PERMITS),
    *(f"id.tka.ministry.billing.{name}.v1" for name in ("issued", "expired", "cancelled")),
    "id.tka.ministry.exemption.granted.v1", "id.tka.ministry.difference.explained.v1",
    "id.tka.ministry.count.stated.v1",
)  # fmt: skip
BANK_TYPES = (
    *(f"id.tka.bank.payment.{name}.v1" for name in ("received", "booked", "reversed")),
    "id.tka.bank.difference.explained.v1",
    "id.tka.bank.count.stated.v1",
)
IMMIGRATION_TYPES = (
    "id.tka.immigration.recommendation.acknowledged.v1",
    *(f"id.tka.immigration.visa.{name}.v1" for name in ("approved", "refused", "revoked")),
    "id.tka.immigration.stay_permit.issued.v1", "id.tka.immigration.entry.recorded.v1",
    "id.tka.immigration.count.stated.v1",
)  # fmt: skip
RECONCILED = (
    *(f"id.tka.hub.difference.{name}.v1" for name in ("opened", "explained", "closed")),
    "id.tka.hub.reconciliation.reported.v1",
)
HEARD = {
    "ministry": (
        "id.tka.hub.payment.outcome.v1", "id.tka.hub.recommendation.issued.v1",
        "id.tka.hub.recommendation.withdrawn.v1", *IMMIGRATION_TYPES[:2], *RECONCILED,
        "id.tka.bank.difference.explained.v1", "id.tka.hub.sla.warning.v1", "id.tka.hub.sla.breached.v1",
    ),
    "bri": ("id.tka.hub.payment.outcome.v1", "id.tka.hub.bill.opened.v1", "id.tka.hub.bill.closed.v1", *RECONCILED),
    "mandiri": ("id.tka.hub.payment.outcome.v1", "id.tka.hub.bill.opened.v1", "id.tka.hub.bill.closed.v1", *RECONCILED),
    "immigration": ("id.tka.hub.recommendation.issued.v1", "id.tka.hub.recommendation.withdrawn.v1"),
}  # fmt: skip
BLOCK: dict[str, Any] = {
    "official": "off-000001", "unit": "unit-00001", "intermediary": None, "worker": "worker-0001", "kbli": "62010",
    "province": "31", "regency": "3171", "position_level": "manager", "permit_kind": "new", "nationality": "JPN",
}  # fmt: skip
POST: dict[str, Any] = {
    "employer": {"name": "PT Maju Bersama", "nib": "1234567890123", "npwp": "0013121660091000"},
    "position": {"kbji": "2511", "title": "Systems Analyst"},
    "places": [{"province": "31", "regency": "3171"}],
    "from": "2026-04-01", "until": "2027-04-01", "kanim": "JKT-SELATAN",
}  # fmt: skip


class Sender:
    """A participant that publishes: every message takes the next sequence and is signed as its real bytes."""

    def __init__(self, participant: str, alg: str = "Ed25519") -> None:
        self.participant = participant
        self.source = f"https://{participant}.example/tka"
        self.key = PrivateKey.generate(alg)
        self.registered = [self.key]
        self._sequences = itertools.count(1)

    def write(self, event_type: str, data: Mapping[str, Any], subject: str, **others: Any) -> bytes:
        """Write an event as it goes to the hub; `others` replace attributes."""
        now = datetime.now(UTC)
        attributes: dict[str, Any] = {
            "id": str(uuid.uuid4()), "source": self.source, "type": event_type, "time": now, "recordedtime": now,
            "subject": subject, "audience": f"{ENVIRONMENT}/from.{self.participant}",
            "sequence": next(self._sequences), "expirytime": now + timedelta(days=2), "correlationid": subject,
            "nonce": NONCE,
        }  # fmt: skip
        return write_envelope(attributes | others, data)

    def sign(self, value: bytes, **others: Any) -> Record:
        """Sign one value; the record has no place yet."""
        headers = headers_of(sign_single(value, self.key), None)
        return self._record(value, headers, **others)

    def sign_all(self, values: Sequence[bytes]) -> list[Record]:
        """Sign values as one batch."""
        sequences = [int(json.loads(value)["sequence"]) for value in values]
        jws, proofs = sign_batch(
            values, self.key, iss=self.source, aud=f"{ENVIRONMENT}/from.{self.participant}", first=min(sequences),
            last=max(sequences), prev=NO_PREVIOUS_ROOT, iat=datetime.now(UTC),
        )  # fmt: skip
        return [self._record(value, headers_of(jws, proof)) for value, proof in zip(values, proofs, strict=True)]

    def _record(self, value: bytes, headers: Any, **others: Any) -> Record:
        subject = str(json.loads(value)["subject"])
        append_ms = int(datetime.now(UTC).timestamp() * 1000)
        fields: dict[str, Any] = {
            "topic": f"from.{self.participant}",
            "partition": 0,
            "offset": 0,
            "key": subject.encode(),
        }
        return Record(**fields | {"value": value, "headers": headers, "append_time_ms": append_ms} | others)


class Ministry(Sender):
    """The Ministry, which knows one application as well as another."""

    def __init__(self) -> None:
        super().__init__("ministry")

    def permit(self, name: str, application: str = APPLICATION, **others: Any) -> bytes:
        """Write a step of the permit that carries nothing beside the statistical members."""
        data = {"application": application, **BLOCK, **others}
        return self.write(f"id.tka.ministry.permit.{name}.v1", data, application)

    def submitted(self, application: str = APPLICATION, **others: Any) -> bytes:
        """Write the submission."""
        document = {"code": "CONTRACT", "sha256": "0f" * 32}
        verifier = {"salt": "AAAAAAAAAAAAAAAAAAAAAA", "sha256": "0f" * 32}
        own = {"application_date": "2026-03-02", "documents": [document], "status_verifier": verifier}
        return self.permit("submitted", application, **(POST | own | others))

    def approved(self, application: str = APPLICATION, name: str = "approved", **others: Any) -> bytes:
        """Write the approval, or an amendment."""
        own = {"decision": "KEP.17/2026", "decided_on": "2026-03-04", "person": PERSON}
        return self.permit(name, application, **(POST | own | others))

    def billed(self, application: str = APPLICATION, code: str = CODE, **others: Any) -> bytes:
        """Write the payment notice."""
        expires_at = f"{datetime.now(UTC) + timedelta(days=7):%Y-%m-%dT%H:%M:%SZ}"
        data = {
            "application": application, "billing_code": code, "amount": "1200.00", "currency": "USD",
            "usd_amount": "1200.00", "expires_at": expires_at, "payer": "PT Maju Bersama",
        }  # fmt: skip
        return self.write("id.tka.ministry.billing.issued.v1", data | others, application)


class Bank(Sender):
    """A bank that reports payments."""

    def paid(self, code: str = CODE, amount: str = "1200.00", **others: Any) -> bytes:
        """Write a payment notification."""
        data = {
            "bank_code": BANK_CODES.get(self.participant, "002"),
            "billing_code": code, "amount": amount, "currency": "USD",
            "payment_request_id": str(uuid.uuid4()), "paid_at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        }  # fmt: skip
        return self.write("id.tka.bank.payment.received.v1", data | others, code)

    def booked(self, name: str = "booked", code: str | None = CODE, **others: Any) -> bytes:
        """Write a statement's entry, or its reversal."""
        data = {
            "bank_code": BANK_CODES.get(self.participant, "002"),
            "billing_code": code, "amount": "1200.00", "currency": "USD",
            "booked_on": "2026-03-03", "account": "0206-01-000001-30-1", "notification_id": str(uuid.uuid4()),
            "entry": 0, "content_sha256": "0f" * 32,
        }  # fmt: skip
        subject = code or f"X-{uuid.uuid4().hex.upper()}"
        return self.write(f"id.tka.bank.payment.{name}.v1", data | others, subject)


def _key(key: PrivateKey) -> dict[str, Any]:
    return {"jwk": key.public.jwk, "nbf": "2020-01-01T00:00:00Z", "exp": "2099-01-01T00:00:00Z"}


class Exchange:
    """The hub's database with a registry in force, its desk, and the agencies that send to it."""

    def __init__(self, database: Database, root: PrivateKey, hub: PrivateKey) -> None:
        self.database = database
        self.root = root
        self.hub = hub
        self.desk = Desk(database, root.public)
        self.ministry, self.bri, self.mandiri = Ministry(), Bank("bri"), Bank("mandiri", "ES256")
        self.immigration = Sender("immigration")
        self._next: dict[tuple[str, int], int] = {}

    @classmethod
    async def open(cls, dsn: str, *, unmatched_s: int = 86_400, partitions: int = 1) -> "Exchange":
        """Migrate the database and put the first registry in force."""
        await migrate(dsn)
        exchange = cls(await Database.open(dsn, size=4), PrivateKey.generate("ES256"), PrivateKey.generate("Ed25519"))
        topics = {f"from.{name}": partitions for name in HEARD} | {f"to.{name}": 1 for name in HEARD}
        settings = {
            "environment": ENVIRONMENT, "log_origin": ORIGIN, "limits": {"unmatched_s": unmatched_s},
            "topics": topics | {"recommendations": 1},
        }  # fmt: skip
        await exchange.register({"settings": settings, "participants": exchange.participants()})
        return exchange

    async def register(self, given: Any) -> None:
        """Put another registry version in force."""
        now = datetime.now(UTC)
        await register(self.database, registration.add_participants(given, now), self.root, now)

    def participants(self) -> list[dict[str, Any]]:
        """Return the participants as an operator would register them."""
        kinds = {"ministry": "ministry", "bri": "bank", "mandiri": "bank", "immigration": "immigration"}
        said = {"ministry": MINISTRY_TYPES, "bri": BANK_TYPES, "mandiri": BANK_TYPES, "immigration": IMMIGRATION_TYPES}
        hub = {"id": "hub", "kind": "hub", "sources": ["https://hub.example/tka"]}
        return [
            hub | {"keys": [_key(self.hub)]},
            *(
                {
                    "id": sender.participant,
                    "kind": kinds[sender.participant],
                    "bank_code": BANK_CODES.get(sender.participant),
                    "sources": [sender.source],
                    "keys": [_key(key) for key in sender.registered],
                    "publishes": list(said[sender.participant]),
                    "subscribes": [{"type": heard, "filter": {}} for heard in HEARD[sender.participant]],
                }
                for sender in (self.ministry, self.bri, self.mandiri, self.immigration)
            ),
        ]

    def batch(self, records: Sequence[Record]) -> Batch:
        """Place records of one topic and partition behind those before."""
        topic, partition = records[0].topic, records[0].partition
        start = self._next.get((topic, partition), 0)
        placed = [
            Record(one.topic, partition, offset, one.key, one.value, one.headers, one.append_time_ms)
            for offset, one in enumerate(records, start)
        ]
        return Batch(topic, f"id-of-{topic}", partition, start, start + len(placed), placed)

    async def take(self, *records: Record, now: datetime | None = None, bug: str | None = None) -> Taken:
        """Let the desk receive records of one topic as one batch."""
        batch = self.batch(records)
        async with self.database.transaction() as tx:
            await positions.open_partition(tx, batch.topic_id, batch.partition, batch.topic)
        taken = await self.desk.receive(batch, now or datetime.now(UTC), thorough=True, bug=bug)
        self.settle([batch])
        return taken

    def settle(self, batches: Sequence[Batch]) -> None:
        """Note that these batches were taken."""
        self._next |= {(batch.topic, batch.partition): batch.end for batch in batches}

    async def row(self, query: str) -> dict[str, Any]:
        """Return the one row of a query."""
        async with self.database.connection() as connection:
            (row,) = await connection.fetch(query)
        return dict(row)

    async def sent(self, topic: str) -> list[dict[str, Any]]:
        """Return the hub's own events on a topic, in order, as their recipients read them; forwards as None."""
        async with self.database.connection() as connection:
            rows = await connection.fetch("SELECT value FROM outbox WHERE topic = $1 ORDER BY partition, seq", topic)
        return [json.loads(row["value"]) for row in rows if row["value"] is not None]
