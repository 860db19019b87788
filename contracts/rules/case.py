"""The case: the facts about one application, and the fold that makes one state of their set.

    Fact --facts_of--> stored with the case --fold--> State --decide--> Decision

Nothing here depends on the order in which facts came, on repeats, or on the batches they came in.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple, Protocol

from contracts.events import EventData
from contracts.fields import hundredths, write_digest

MINISTRY: Final = "id.tka.ministry."
BANK: Final = "id.tka.bank."
IMMIGRATION: Final = "id.tka.immigration."

SUBMITTED: Final = "id.tka.ministry.permit.submitted.v1"
APPROVED: Final = "id.tka.ministry.permit.approved.v1"
AMENDED: Final = "id.tka.ministry.permit.amended.v1"
REJECTED: Final = "id.tka.ministry.permit.rejected.v1"
REVOKED: Final = "id.tka.ministry.permit.revoked.v1"
EXPIRED: Final = "id.tka.ministry.permit.expired.v1"
EXEMPTED: Final = "id.tka.ministry.exemption.granted.v1"
BILLED: Final = "id.tka.ministry.billing.issued.v1"
BILL_EXPIRED: Final = "id.tka.ministry.billing.expired.v1"
BILL_CANCELLED: Final = "id.tka.ministry.billing.cancelled.v1"
RECEIVED: Final = "id.tka.bank.payment.received.v1"
BOOKED: Final = "id.tka.bank.payment.booked.v1"
TAKEN_BACK: Final = "id.tka.bank.payment.reversed.v1"
EXPLAINED_BY_MINISTRY: Final = "id.tka.ministry.difference.explained.v1"
EXPLAINED_BY_BANK: Final = "id.tka.bank.difference.explained.v1"

PAYMENTS: Final = frozenset((RECEIVED, BOOKED, TAKEN_BACK))
BILLINGS: Final = frozenset((BILLED, BILL_EXPIRED, BILL_CANCELLED))
EXPLANATIONS: Final = frozenset((EXPLAINED_BY_MINISTRY, EXPLAINED_BY_BANK))
DECISIONS: Final = frozenset((APPROVED, AMENDED, REJECTED, REVOKED, EXPIRED))
#: What a decision or a reconciliation reads. The steps of the handling and what Immigration answers change none.
DECISIVE: Final = PAYMENTS | BILLINGS | DECISIONS | EXPLANATIONS | {SUBMITTED, EXEMPTED}


class Message(Protocol):
    """What a fact takes from an envelope."""

    @property
    def source(self) -> str:
        """Whose stream of ids."""

    @property
    def id(self) -> str:
        """Unique within the source."""

    @property
    def type(self) -> str:
        """The event type."""

    @property
    def time(self) -> datetime:
        """When it happened, UTC."""

    @property
    def digest(self) -> bytes:
        """SHA-256 of the value."""


class Fact(NamedTuple):
    """One accepted message as a case keeps it: no personal data, and enough to name it as a basis.

    `time` is when it happened (UTC); `sha256` is the value's digest in base64url; `log_index` its place in the
    evidence log; `data` what `EventData.decision_facts` leaves of the data.
    """

    source: str
    id: str
    participant: str
    type: str
    time: datetime
    sha256: str
    log_index: int
    data: Mapping[str, Any]

    def to_json(self) -> list[Any]:
        """The compact form in which a case stores it: a JSON array of the members in order."""
        time = self.time.isoformat()
        return [self.source, self.id, self.participant, self.type, time, self.sha256, self.log_index, self.data]

    @classmethod
    def from_json(cls, stored: list[Any]) -> "Fact":
        """The fact of such an array."""
        source, identity, participant, event_type, time, sha256, log_index, data = stored
        return cls(source, identity, participant, event_type, datetime.fromisoformat(time), sha256, log_index, data)


class Keys(NamedTuple):
    """What a message is locked by: its case, its billing code, both or neither."""

    case: str | None
    billing_code: str | None


def facts_of(envelope: Message, event: EventData, participant: str, log_index: int) -> Fact:
    """The fact that an admitted message leaves in its case."""
    return Fact(
        envelope.source,
        envelope.id,
        participant,
        envelope.type,
        envelope.time,
        write_digest(envelope.digest),
        log_index,
        event.decision_facts(),
    )


def keys_of(event_type: str, subject: str, data: Mapping[str, Any]) -> Keys:
    """The keys of a message, from its type, subject and data.

    A bank knows billing codes and no applications. A payment without a code is keyed by its own subject ("X-" and an
    identifier), which no billing code can equal, so that it stands alone until someone explains it. An explanation goes
    where its difference is, which its subject names.
    """
    if event_type in EXPLANATIONS:
        return Keys(None, subject)
    if event_type in PAYMENTS:
        return Keys(None, data.get("billing_code") or subject)
    if event_type in BILLINGS:
        return Keys(data["application"], data["billing_code"])
    return Keys(data.get("application"), None)


class Bill(NamedTuple):
    """One bill of a case. `amount` and `usd_amount` are hundredths; `expired` and `cancelled` as the Ministry said."""

    fact: Fact
    billing_code: str
    amount: int
    currency: str
    usd_amount: int
    expires_at: datetime
    payer: str
    expired: bool
    cancelled: bool


class State(NamedTuple):
    """What the set of facts says, before any rule set is asked.

    `approved` is the approval in force and `granted` the decision whose words count: the approval or its latest
    amendment; `ended` the rejection, revocation or expiry that no later approval has overruled.
    """

    application: str | None
    submitted: Fact | None
    approved: Fact | None
    granted: Fact | None
    ended: Fact | None
    exemptions: tuple[Fact, ...]
    bills: Mapping[str, Bill]
    payments: Mapping[str | None, tuple[Fact, ...]]


def order_of(fact: Fact) -> tuple[datetime, str, str]:
    """The one order in which facts are read: when they happened, then by id and source."""
    return fact.time, fact.id, fact.source


def fold(facts: Iterable[Fact]) -> State:
    """Make one state of a set of facts: a pure function of the set."""
    by_type: dict[str, list[Fact]] = {}
    decisions: list[Fact] = []
    payments: dict[str | None, list[Fact]] = {}
    application: str | None = None
    for fact in sorted({(fact.source, fact.id): fact for fact in facts}.values(), key=order_of):
        if fact.type in PAYMENTS:
            payments.setdefault(fact.data.get("billing_code"), []).append(fact)
            continue
        if application is None:
            application = fact.data.get("application")
        if fact.type in DECISIONS:
            decisions.append(fact)
        else:
            by_type.setdefault(fact.type, []).append(fact)
    approved, granted, ended = _permit_of(decisions)
    submissions = by_type.get(SUBMITTED)
    return State(
        application=application,
        submitted=submissions[0] if submissions else None,
        approved=approved,
        granted=granted,
        ended=ended,
        exemptions=tuple(by_type.get(EXEMPTED, ())),
        bills=_bills_of(by_type) if BILLED in by_type else {},
        payments={code: tuple(paid) for code, paid in payments.items()},
    )


def _permit_of(decisions: Iterable[Fact]) -> tuple[Fact | None, Fact | None, Fact | None]:
    """The approval in force, the decision whose words count, and what ended it; `decisions` in order.

    An amendment changes the words of an approval in force; it neither approves nor revives.
    """
    approved = granted = ended = None
    for fact in decisions:
        if fact.type == APPROVED:
            approved, granted, ended = fact, fact, None
        elif fact.type == AMENDED:
            granted = fact if ended is None and approved is not None else granted
        else:
            ended = fact
    return approved, granted, ended


def _bills_of(by_type: Mapping[str, Iterable[Fact]]) -> dict[str, Bill]:
    """The bills by billing code; of several notices for one code the latest counts."""
    expired = {fact.data["billing_code"] for fact in by_type.get(BILL_EXPIRED, ())}
    cancelled = {fact.data["billing_code"] for fact in by_type.get(BILL_CANCELLED, ())}
    bills = {}
    for fact in by_type[BILLED]:
        data = fact.data
        code = data["billing_code"]
        bills[code] = Bill(
            fact=fact,
            billing_code=code,
            amount=hundredths(data["amount"]),
            currency=data["currency"],
            usd_amount=hundredths(data["usd_amount"]),
            expires_at=datetime.fromisoformat(data["expires_at"]),
            payer=data["payer"],
            expired=code in expired,
            cancelled=code in cancelled,
        )
    return bills
