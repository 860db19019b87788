"""What the agencies send: permits that take a step of their life each day, signed and ready to be produced.

Each day a new cohort of permits begins, and every earlier one goes a step further. So the messages of a day are about
as many permits, as in service, and each meets a case that already has the facts of the days before.
"""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Literal, NamedTuple

from aiokafka.partitioner import murmur2

from contracts.fields import passport_check_digit
from contracts.wire.base64url import encode
from contracts.wire.envelope import write_envelope
from contracts.wire.key import PrivateKey
from contracts.wire.record import Headers
from contracts.wire.signature import NO_PREVIOUS_ROOT, headers_of, root_of, sign_batch, sign_single
from hub.step import name_log, number_recommendation

Signing = Literal["single", "batch"]

ENVIRONMENT = "bench"
LOG_ORIGIN = "hub.example/bench"
BATCH_SIZE = 32
TICK = timedelta(microseconds=1)
MESSAGE_LIFE = timedelta(days=30)
BANKS = {"bri": "002", "mandiri": "008"}
KINDS = {"ministry": "ministry", "bri": "bank", "mandiri": "bank", "immigration": "immigration"}
ALGORITHMS = {"ministry": "Ed25519", "bri": "Ed25519", "mandiri": "ES256", "immigration": "Ed25519"}
# The Ministry speaks of a permit six times, a bank twice, Immigration twice.
PARTITIONS = {"ministry": 4, "bri": 2, "mandiri": 2, "immigration": 2}
OUTPUTS = {
    "ministry": (
        "id.tka.hub.payment.outcome.v1",
        "id.tka.hub.recommendation.issued.v1",
        "id.tka.hub.recommendation.withdrawn.v1",
        "id.tka.immigration.recommendation.acknowledged.v1",
        "id.tka.immigration.visa.approved.v1",
    ),
    "bri": ("id.tka.hub.payment.outcome.v1", "id.tka.hub.bill.opened.v1", "id.tka.hub.bill.closed.v1"),
    "mandiri": ("id.tka.hub.payment.outcome.v1", "id.tka.hub.bill.opened.v1", "id.tka.hub.bill.closed.v1"),
    "immigration": ("id.tka.hub.recommendation.issued.v1", "id.tka.hub.recommendation.withdrawn.v1"),
}
AMOUNT = "1200.00"
DIGEST_HEX = "0f" * 32


class Message(NamedTuple):
    """A record as it goes to Kafka. `subject` is the permit's application or, of a payment, its billing code."""

    topic: str
    partition: int
    subject: str
    type: str
    value: bytes
    headers: Headers


@dataclass(frozen=True, slots=True)
class Permit:
    """What the events of one permit have in common."""

    number: int
    application: str
    billing_code: str
    bank: str
    recommendation: str

    def statistics(self) -> dict[str, Any]:
        """Return the members that every event of the Ministry carries."""
        return {
            "application": self.application,
            "official": f"official-{self.number % 97:04d}",
            "unit": f"unit-{self.number % 11:05d}",
            "intermediary": None,
            "worker": f"worker-{self.number:010d}",
            "kbli": "62010",
            "province": "31",
            "regency": "3171",
            "position_level": "manager",
            "permit_kind": "new",
            "nationality": "JPN",
        }

    def post(self) -> dict[str, Any]:
        """Return the statistical members and the post that was applied for."""
        return self.statistics() | {
            "employer": {"name": self.employer, "nib": "1234567890123", "npwp": "0013121660091000"},
            "position": {"kbji": "2511", "title": "Systems Analyst"},
            "places": [{"province": "31", "regency": "3171"}],
            "from": "2026-04-01",
            "until": "2027-04-01",
            "kanim": "JKT-SELATAN",
        }

    @property
    def employer(self) -> str:
        """The employer's name."""
        return f"PT Maju Bersama {self.number % 1_999}"


def name_permit(number: int) -> Permit:
    """Return the permit with this running number."""
    application = f"B.3/{number:08d}/PK.04.00/III/2026"
    bank = tuple(BANKS)[number % len(BANKS)]
    return Permit(
        number, application, f"82026{number:010d}", bank, number_recommendation(name_log(LOG_ORIGIN), application)
    )


def _submit(permit: Permit, _: datetime) -> dict[str, Any]:
    return permit.post() | {
        "application_date": "2026-03-02",
        "documents": [{"code": code, "sha256": DIGEST_HEX} for code in ("IJAZAH", "KONTRAK", "PASPOR")],
        "status_verifier": {"salt": "A" * 22, "sha256": DIGEST_HEX},
    }


def _complete(permit: Permit, _: datetime) -> dict[str, Any]:
    return permit.statistics()


def _assess(permit: Permit, _: datetime) -> dict[str, Any]:
    return permit.statistics() | {"result": "pass"}


def _bill(permit: Permit, now: datetime) -> dict[str, Any]:
    return {
        "application": permit.application,
        "billing_code": permit.billing_code,
        "amount": AMOUNT,
        "currency": "USD",
        "usd_amount": AMOUNT,
        "fx_rate": None,
        "fx_date": None,
        "expires_at": f"{now + timedelta(days=7):%Y-%m-%dT%H:%M:%SZ}",
        "payer": permit.employer,
    }


def _receive(permit: Permit, now: datetime) -> dict[str, Any]:
    return {
        "bank_code": BANKS[permit.bank],
        "billing_code": permit.billing_code,
        "amount": AMOUNT,
        "currency": "USD",
        "payment_request_id": f"PR-{permit.number:012d}",
        "paid_at": f"{now:%Y-%m-%dT%H:%M:%SZ}",
        "ntpn": f"{permit.number:016X}",
        "bank_reference": f"REF-{permit.number:012d}",
    }


def _book(permit: Permit, now: datetime) -> dict[str, Any]:
    return {
        "bank_code": BANKS[permit.bank],
        "billing_code": permit.billing_code,
        "amount": AMOUNT,
        "currency": "USD",
        "booked_on": f"{now:%Y-%m-%d}",
        "account": "KAS-NEGARA-1",
        "notification_id": f"N-{permit.number // 500:08d}",
        "entry": permit.number % 500,
        "content_sha256": DIGEST_HEX,
        "ntpn": f"{permit.number:016X}",
        "bank_reference": f"REF-{permit.number:012d}",
    }


def _approve(permit: Permit, _: datetime) -> dict[str, Any]:
    passport = f"L{permit.number % 10**8:08d}"
    person = {"name": f"Taro Yamada {permit.number}", "birth_date": "1980-02-29", "nationality": "JPN"}
    return permit.post() | {
        "decision": f"KEP.{permit.number}/2026",
        "decided_on": "2026-03-04",
        "person": person | {"passport": passport + passport_check_digit(passport)},
    }


def _acknowledge(permit: Permit, _: datetime) -> dict[str, Any]:
    return {"application": permit.application, "number": permit.recommendation, "revision": 1}


def _admit_visa(permit: Permit, now: datetime) -> dict[str, Any]:
    return _acknowledge(permit, now) | {"visa_number": f"V-{permit.number}", "valid_until": "2027-03-31"}


class Stage(NamedTuple):
    """One step of a permit's life: who says it (None: the permit's bank), and what."""

    sender: str | None
    type: str
    write: Callable[[Permit, datetime], dict[str, Any]]


APPROVED = "id.tka.ministry.permit.approved.v1"
LIFE = (
    Stage("ministry", "id.tka.ministry.permit.submitted.v1", _submit),
    Stage("ministry", "id.tka.ministry.permit.completed.v1", _complete),
    Stage("ministry", "id.tka.ministry.permit.feasibility_assessed.v1", _assess),
    Stage("ministry", "id.tka.ministry.permit.worker_verified.v1", _complete),
    Stage("ministry", "id.tka.ministry.billing.issued.v1", _bill),
    Stage(None, "id.tka.bank.payment.received.v1", _receive),
    Stage(None, "id.tka.bank.payment.booked.v1", _book),
    Stage("ministry", APPROVED, _approve),
    Stage("immigration", "id.tka.immigration.recommendation.acknowledged.v1", _acknowledge),
    Stage("immigration", "id.tka.immigration.visa.approved.v1", _admit_visa),
)
TYPES = {
    participant: sorted({stage.type for stage in LIFE if stage.sender in (participant, None)})
    for participant in ("ministry", "immigration")
} | {bank: sorted(stage.type for stage in LIFE if stage.sender is None) for bank in BANKS}


class Sender:
    """A participant that publishes: it counts its sequence, signs, and chooses the partition by the key."""

    def __init__(self, participant: str, signing: Signing) -> None:
        self.participant = participant
        self.source = f"https://{participant}.example/tka"
        self.audience = f"{ENVIRONMENT}/from.{participant}"
        self.key = PrivateKey.generate(ALGORITHMS[participant])
        self._signing = signing
        self._sequences = count(1)
        self._last_root = NO_PREVIOUS_ROOT
        self._log_name = uuid.uuid5(uuid.NAMESPACE_URL, self.source)

    def write(self, stage: Stage, permit: Permit, now: datetime) -> tuple[int, str, bytes]:
        """Write one event: its sequence, its subject and its value."""
        subject = permit.application if stage.sender is not None else permit.billing_code
        sequence = next(self._sequences)
        identity = uuid.uuid5(self._log_name, f"{stage.type} {permit.number}")
        attributes: dict[str, str | int | datetime] = {
            "id": str(identity),
            "source": self.source,
            "type": stage.type,
            "time": now,
            "recordedtime": now,
            "subject": subject,
            "audience": self.audience,
            "sequence": sequence,
            "expirytime": now + MESSAGE_LIFE,
            "correlationid": subject,
            "nonce": encode(identity.bytes),
        }
        return sequence, subject, write_envelope(attributes, stage.write(permit, now))

    def sign(self, events: Sequence[tuple[str, tuple[int, str, bytes]]], now: datetime) -> Iterator[Message]:
        """Sign events, given as (type, what `write` returned), one by one or BATCH_SIZE at once."""
        size = 1 if self._signing == "single" else BATCH_SIZE
        for start in range(0, len(events), size):
            part = events[start : start + size]
            values = [written[2] for _, written in part]
            for (event_type, (_, subject, value)), headers in zip(part, self._headers(part, values, now), strict=True):
                # As Kafka's own producers do: any client puts a key on the same partition.
                partition = (murmur2(subject.encode()) & 0x7FFFFFFF) % PARTITIONS[self.participant]
                yield Message(f"from.{self.participant}", partition, subject, event_type, value, headers)

    def _headers(
        self, part: Sequence[tuple[str, tuple[int, str, bytes]]], values: Sequence[bytes], now: datetime
    ) -> list[Headers]:
        if self._signing == "single":
            return [headers_of(sign_single(values[0], self.key), None)]
        jws, proofs = sign_batch(
            values,
            self.key,
            iss=self.source,
            aud=self.audience,
            first=part[0][1][0],
            last=part[-1][1][0],
            prev=self._last_root,
            iat=now,
        )
        self._last_root = root_of(jws)
        return [headers_of(jws, proof) for proof in proofs]


class Traffic:
    """All senders, and the days of their permits' lives. `cohort`: how many permits begin each day."""

    def __init__(self, cohort: int, signing: Signing) -> None:
        self.cohort = cohort
        self.senders: Mapping[str, Sender] = {name: Sender(name, signing) for name in KINDS}
        self._days = count()

    @property
    def messages_a_day(self) -> int:
        """How many messages a day has once a cohort is in every stage."""
        return self.cohort * len(LIFE)

    def next_day(self) -> list[Message]:
        """Return the messages of the next day in the order of their time; the first len(LIFE) - 1 days have fewer."""
        day, now = next(self._days), datetime.now(UTC)
        written: dict[str, list[tuple[str, tuple[int, str, bytes]]]] = {name: [] for name in self.senders}
        for place in range(self.cohort):
            for age, stage in enumerate(LIFE):
                if age <= day:
                    permit = name_permit((day - age) * self.cohort + place)
                    sender = self.senders[stage.sender or permit.bank]
                    # No two messages happen at the same moment.
                    now += TICK
                    written[sender.participant].append((stage.type, sender.write(stage, permit, now)))
        signed = [list(sender.sign(written[name], now)) for name, sender in self.senders.items()]
        return _interleave(signed)

    def describe(self, hub_key: PrivateKey) -> dict[str, Any]:
        """Return the settings and participants of the registry, as an operator would give them."""
        topics = {f"from.{name}": partitions for name, partitions in PARTITIONS.items()}
        topics |= {f"to.{name}": partitions for name, partitions in PARTITIONS.items()}
        parties = [
            {
                "id": sender.participant,
                "kind": KINDS[sender.participant],
                "bank_code": BANKS.get(sender.participant),
                "sources": [sender.source],
                "keys": [_describe_key(sender.key)],
                "publishes": TYPES[sender.participant],
                "subscribes": [{"type": heard, "filter": {}} for heard in OUTPUTS[sender.participant]],
            }
            for sender in self.senders.values()
        ]
        hub = {"id": "hub", "kind": "hub", "sources": ["https://hub.example/tka"], "keys": [_describe_key(hub_key)]}
        settings = {"environment": ENVIRONMENT, "log_origin": LOG_ORIGIN, "topics": topics | {"recommendations": 2}}
        return {"settings": settings, "participants": [hub, *parties]}


def _describe_key(key: PrivateKey) -> dict[str, Any]:
    return {"jwk": key.public.jwk, "nbf": "2020-01-01T00:00:00Z"}


def _interleave(lists: Sequence[Sequence[Message]]) -> list[Message]:
    """Merge lists that span the same day, each in its own order and at its own even pace."""
    timed = [(place / len(one), who, message) for who, one in enumerate(lists) for place, message in enumerate(one)]
    return [message for _, _, message in sorted(timed, key=lambda entry: entry[:2])]
