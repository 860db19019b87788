"""One valid `data` of every event, to be changed one member at a time, and facts made from them."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from contracts.events import read_event
from contracts.rules.case import Fact, facts_of
from contracts.rules.rulebook import Rulebook, RuleSet

SETS = Path(__file__).resolve().parents[2] / "contracts" / "rules" / "sets"
RULE_SETS = {path.stem: RuleSet.read(path.read_bytes()) for path in sorted(SETS.glob("*.toml"))}
RULEBOOK = Rulebook(RULE_SETS.values())

START = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
CODE = "820260302000017"
APPLICATION = "B.3/000017/PK.04.00/III/2026"
NUMBER = "TKA-0123456789AB"
HEX = "0f" * 32
DIFFERENCE = f"{CODE}:0123456789abcdef"
DIGEST = "A" * 43
MINISTRY = "https://ministry.example/tka"
BRI = "https://bri.example/tka"
PERSON = {"name": "Taro Yamada", "birth_date": "1980-02-29", "nationality": "JPN", "passport": "L898902C36"}

BLOCK: dict[str, Any] = {
    "application": APPLICATION, "official": "off-000001", "unit": "unit-00001", "intermediary": None,
    "worker": "worker-0001", "kbli": "62010", "province": "31", "regency": "3171", "position_level": "manager",
    "permit_kind": "new", "nationality": "JPN",
}  # fmt: skip
POST: dict[str, Any] = {
    "employer": {"name": "PT Maju Bersama", "nib": "1234567890123", "npwp": "0013121660091000"},
    "position": {"kbji": "2511", "title": "Systems Analyst"},
    "places": [{"province": "31", "regency": "3171"}],
    "from": "2026-04-01", "until": "2027-04-01", "kanim": "JKT-SELATAN",
}  # fmt: skip
DECIDED: dict[str, Any] = {
    **BLOCK, **POST, "decision": "KEP.17/2026", "decided_on": "2026-03-04", "person": PERSON,
}  # fmt: skip
DECISION = {**BLOCK, "decision": "KEP.18/2026", "reason_code": "R01"}
BOOKED = {
    "bank_code": "002", "billing_code": CODE, "amount": "1200.00", "currency": "USD", "booked_on": "2026-03-03",
    "account": "0206-01-000001-30-1", "notification_id": "N-1", "entry": 0, "content_sha256": HEX,
    "bank_reference": "REF 1",
}  # fmt: skip
ANSWER = {"application": APPLICATION, "number": NUMBER, "revision": 1}
RULE_SET = {"id": "2021", "version": 1, "sha256": HEX}
RECOMMENDATION = {
    "number": NUMBER, "revision": 1, "state": "issued", "application": APPLICATION, "rule_set": RULE_SET,
    "worker": PERSON, "employer": POST["employer"], "position": POST["position"], "places": POST["places"],
    "permit_kind": "new", "from": "2026-04-01", "until": "2027-04-01", "kanim": "JKT-SELATAN",
    "basis": [{"role": "approval", "source": MINISTRY, "id": "a-1", "type": "id.tka.ministry.permit.approved.v1",
               "sha256": DIGEST, "log_index": 3}],
}  # fmt: skip
CLOCK = {
    "application": APPLICATION, "clock": "decision", "holder": "ministry", "unit": "unit-00001",
    "started_at": "2026-03-02T01:00:00Z", "due_on": "2026-03-04", "rule_set": RULE_SET,
}  # fmt: skip

SUM = {"count": 1, "amount": "1200.00"}

COUNTED = {
    "accepted": 2, "refused": [{"code": "message_expired", "count": 1}], "first": "00000000000000000001",
    "last": "00000000000000000003", "sha256": DIGEST,
    "ranges": [{"first": f"{number:020d}", "last": f"{number:020d}"} for number in (1, 3)],
}  # fmt: skip
STATED = {
    "participant": "bri", "day": "2026-03-05", "revision": 1, "first_index": 0, "log_size": 12, "source": BRI,
    "counted": COUNTED, "received": 4, "verdict": "agrees", "rebuilt_at": None,
}  # fmt: skip

SAMPLES: dict[str, dict[str, Any]] = {
    "id.tka.ministry.permit.submitted.v1": {
        **BLOCK, **POST, "application_date": "2026-03-02", "documents": [{"code": "IJAZAH", "sha256": HEX}],
        "status_verifier": {"salt": "A" * 22, "sha256": HEX},
    },
    "id.tka.ministry.permit.deficiency_notified.v1": {**BLOCK, "missing": [{"code": "D01", "document": "IJAZAH"}]},
    "id.tka.ministry.permit.resubmitted.v1": {**BLOCK, "documents": [{"code": "IJAZAH", "sha256": HEX}]},
    "id.tka.ministry.permit.completed.v1": BLOCK,
    "id.tka.ministry.permit.feasibility_assessed.v1": {**BLOCK, "result": "pass"},
    "id.tka.ministry.permit.worker_verified.v1": BLOCK,
    "id.tka.ministry.permit.approved.v1": DECIDED,
    "id.tka.ministry.permit.amended.v1": {**DECIDED, "kanim": "JKT-PUSAT"},
    "id.tka.ministry.permit.rejected.v1": DECISION,
    "id.tka.ministry.permit.revoked.v1": DECISION,
    "id.tka.ministry.permit.expired.v1": BLOCK,
    "id.tka.ministry.extension.requested.v1": {**BLOCK, "previous_decision": "KEP.1/2025", "until": "2027-04-01"},
    "id.tka.ministry.employment.ended.v1": {**BLOCK, "ended_on": "2026-09-30"},
    "id.tka.ministry.exemption.granted.v1": {**BLOCK, "class": "social_institution", "legal_basis": "PP 34/2021"},
    "id.tka.ministry.query.answered.v1": {
        **BLOCK, "number": NUMBER, "revision": 1, "query_id": "q-1", "answer": "Sudah diperiksa.",
    },
    "id.tka.ministry.billing.issued.v1": {
        "application": APPLICATION, "billing_code": CODE, "amount": "1200.00", "currency": "USD",
        "usd_amount": "1200.00", "fx_rate": None, "fx_date": None, "expires_at": "2026-03-09T16:59:59Z",
        "payer": "PT Maju Bersama",
    },
    "id.tka.ministry.billing.expired.v1": {"application": APPLICATION, "billing_code": CODE},
    "id.tka.ministry.billing.cancelled.v1": {
        "application": APPLICATION, "billing_code": CODE, "reason_code": "SALAH",
    },
    "id.tka.ministry.difference.explained.v1": {
        "difference_id": DIFFERENCE, "explanation_code": "E1", "text": "Pembayaran ganda.",
    },
    "id.tka.ministry.count.stated.v1": STATED,
    "id.tka.bank.payment.received.v1": {
        "bank_code": "002", "billing_code": CODE, "amount": "1200.00", "currency": "USD",
        "payment_request_id": "PR-1", "paid_at": "2026-03-03T03:04:05.25Z", "ntpn": "0A1B2C3D4E5F6G7H",
        "bank_reference": "REF 1",
    },
    "id.tka.bank.payment.booked.v1": BOOKED,
    "id.tka.bank.payment.reversed.v1": {**BOOKED, "reason_code": "AC04"},
    "id.tka.bank.difference.explained.v1": {
        "difference_id": DIFFERENCE, "explanation_code": "E1", "text": "Salah kirim.",
    },
    "id.tka.bank.count.stated.v1": STATED,
    "id.tka.immigration.recommendation.acknowledged.v1": ANSWER,
    "id.tka.immigration.recommendation.queried.v1": {
        **ANSWER, "query_id": "q-1", "question_code": "Q1", "text": "Nama berbeda?",
    },
    "id.tka.immigration.visa.approved.v1": {**ANSWER, "visa_number": "V-1", "valid_until": "2027-03-31"},
    "id.tka.immigration.visa.refused.v1": {**ANSWER, "reason_code": "V9"},
    "id.tka.immigration.visa.revoked.v1": {**ANSWER, "visa_number": "V-1", "reason_code": "V9"},
    "id.tka.immigration.stay_permit.issued.v1": {**ANSWER, "permit_number": "S-1", "valid_until": "2027-03-31"},
    "id.tka.immigration.entry.recorded.v1": {**ANSWER, "at": "2026-04-02T02:00:00Z", "port": "CGK"},
    "id.tka.immigration.exit.recorded.v1": {**ANSWER, "at": "2026-05-02T02:00:00Z", "port": "CGK"},
    "id.tka.immigration.count.stated.v1": STATED,
    "id.tka.hub.receipt.v1": {
        "source": BRI, "accepted": [{"id": "p-1", "sha256": DIGEST, "log_index": 0}],
        "refused": [{"id": None, "sha256": DIGEST, "code": "data_invalid", "log_index": 1}],
    },
    "id.tka.hub.payment.outcome.v1": {
        "billing_code": CODE, "application": APPLICATION, "payment": {"source": BRI, "id": "p-1"},
        "outcome": "matched", "amount": "1200.00", "currency": "USD", "billed": "1200.00",
    },
    "id.tka.hub.bill.opened.v1": {
        "billing_code": CODE, "amount": "1200.00", "currency": "USD", "expires_at": "2026-03-09T16:59:59Z",
        "payer": "PT Maju Bersama",
    },
    "id.tka.hub.bill.closed.v1": {"billing_code": CODE, "reason": "paid"},
    "id.tka.hub.recommendation.issued.v1": RECOMMENDATION,
    "id.tka.hub.recommendation.withdrawn.v1": {**RECOMMENDATION, "state": "withdrawn", "reason": "permit_revoked"},
    "id.tka.hub.difference.opened.v1": {
        "difference_id": DIFFERENCE, "kind": "unmatched", "participant": "bri", "billing_code": CODE,
        "application": None, "payment": {"source": BRI, "id": "p-1"}, "amount": "1200.00", "currency": "USD",
        "opened_at": "2026-03-05T00:00:00Z",
    },
    "id.tka.hub.difference.closed.v1": {
        "difference_id": DIFFERENCE, "kind": "unmatched", "participant": "bri", "reason": "closed",
        "statement": "Dikembalikan.", "closed_at": "2026-03-06T00:00:00Z",
    },
    "id.tka.hub.difference.explained.v1": {
        "difference_id": DIFFERENCE, "kind": "unmatched", "participant": "bri",
        "explanations": [{"participant": "bri", "code": "E1"}], "explained_at": "2026-03-06T00:00:00Z",
    },
    "id.tka.hub.reconciliation.reported.v1": {
        "participant": "bri", "day": "2026-03-05", "revision": 1, "log_size": 12, "sha256": HEX,
        "totals": [{"currency": "USD"} | dict.fromkeys(("notified", "booked", "reversed", "paired", "billed"), SUM)],
        "differences_open": 1,
    },
    "id.tka.hub.count.reported.v1": {
        "participant": "bri", "day": "2026-03-05", "first_index": 0, "log_size": 12,
        "sources": [{"source": BRI, **COUNTED}], "sent": [{"partition": 0, "first": 1, "last": 4}],
    },
    "id.tka.hub.erasure.ordered.v1": {
        "participant": "bri", "order": HEX, "document": '{"payload":"e30","signatures":[]}', "cases": ["B.3/000017"],
    },
    "id.tka.hub.correction.requested.v1": {
        "participant": "bri", "source": BRI, "id": "e-2", "sha256": DIGEST, "code": "data_invalid", "log_index": 813,
        "note": "The amount needs two decimals.",
    },
    "id.tka.hub.heartbeat.v1": {"topic": "to.bri", "partition": 0, "last_sequence": 7, "registry_version": 3},
    "id.tka.hub.sla.warning.v1": CLOCK,
    "id.tka.hub.sla.breached.v1": CLOCK,
    "id.tka.hub.register.entered.v1": {
        "participant": "disnaker-3171", "revision": 1, "application": APPLICATION, "worker": "worker-0001",
        "employer": "1234567890123", "position": "2511", "regencies": ["3171"], "kanim": "JKT-SELATAN",
        "from": "2026-04-01", "until": "2027-04-01", "ended_on": None, "visa_until": None, "stay_until": None,
        "present": None, "crossed_on": None, "log_indices": [3],
    },
    "id.tka.hub.register.left.v1": {
        "participant": "disnaker-3171", "revision": 2, "application": APPLICATION, "worker": "worker-0001",
        "reason": "ended",
    },
}  # fmt: skip


@dataclass(frozen=True)
class Sent:
    """What a fact takes from an envelope."""

    source: str
    id: str
    type: str
    time: datetime
    digest: bytes


def full_type(name: str) -> str:
    """The whole event type of a short name such as `permit.approved`."""
    return next(event_type for event_type in SAMPLES if event_type.split(".", 3)[3] == f"{name}.v1")


def fact(name: str, hours: float, participant: str = "ministry", identity: str | None = None, **members: Any) -> Fact:
    """A fact of the sample of this name with some members changed, `hours` after START."""
    event_type = full_type(name)
    identity = identity or f"{name}-{hours:g}-{participant}"
    data = SAMPLES[event_type] | {member.removesuffix("_"): value for member, value in members.items()}
    sent = Sent(
        f"https://{participant}.example/tka", identity, event_type, START + timedelta(hours=hours),
        hashlib.sha256(f"{identity} {data}".encode()).digest(),
    )  # fmt: skip
    return facts_of(sent, read_event(event_type, data), participant, int(hours * 10))
