"""What is fuzzed, and what must hold of every answer: a value that is well-formed, or a refusal by name."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from connectors.bank import snap, snap_token
from connectors.bank.camt054 import FILE_REASONS, StatementRefused, read_transactions
from connectors.bank.entry import REFUSED_REASONS, UNCOUNTED_REASONS, Transaction
from connectors.bank.profile import Profile
from connectors.bank.snap_answer import Call, SnapRefusal
from connectors.bank.snap_inquiry import read_inquiry
from connectors.bank.snap_payment import Notification, read_notification
from connectors.bank.statements import describe_fault
from connectors.bank.translate import payment_received, statement_payment
from contracts.events import read_event
from tests.fuzz.mutation import Mutator, read_seeds

NOW = datetime(2026, 4, 1, 5, tzinfo=UTC)
PLACED = {"billing_code_at": "billDetails.0.billNo", "ntpn_at": "additionalInfo.a.b", "bank_reference_at": "trxId"}
PROFILES = [
    Profile.model_validate({"partner_id": "B", "bank_code": "002", "public_key_pem_file": "x", **more})
    for more in ({}, PLACED)
]
HEADERS = [("x-external-id", "1"), ("channel-id", "1"), ("content-type", "application/json")]
TOKENS = snap_token.Tokens(b"k" * 32)


def judge_snap(data: bytes) -> str:
    """Read a body as each SNAP service does; return what the notification came to."""
    call = Call("POST", "/", HEADERS, data)
    assert snap.minify(snap.minify(data)) == snap.minify(data)
    _read(lambda: read_inquiry(call, PROFILES[0]))
    _read(lambda: snap_token.read_grant(call))
    _read(lambda: _read_notification(call, PROFILES[1]))
    return _read(lambda: _read_notification(call, PROFILES[0]))


def _read_notification(call: Call, profile: Profile) -> None:
    notification = read_notification(call, profile, NOW)
    assert Notification.read(notification.write()).content == notification.content
    event = payment_received(notification, "002", NOW)
    read_event(event.type, dict(event.data), event.subject)


def _read(read: Callable[[], object]) -> str:
    """Return `taken`, or the case of the refusal, which is always the call's own fault."""
    try:
        read()
    except SnapRefusal as refusal:
        case = refusal.answer.case
    else:
        return "taken"
    assert case.status == 400
    return case.case


def judge_headers(data: bytes) -> str:
    """Read text as a header's value may be: time, signature, token."""
    text = data.decode("latin-1")
    moment = snap.read_time(text)
    assert moment is None or (moment.tzinfo is not None and snap.time_form(text))
    assert not snap.verify_symmetric(text, "a secret of the bank", text)
    assert not TOKENS.verify(text, "B", NOW)
    return "time" if moment else "none"


def judge_camt(data: bytes) -> str:
    """Read a file as a statement; what counts must be an event that the hub takes."""
    try:
        for each in read_transactions(io.BytesIO(data)):
            _check(each)
    except StatementRefused as refusal:
        reason = refusal.reason
    else:
        return "read"
    assert reason in FILE_REASONS
    return reason


def _check(transaction: Transaction) -> None:
    if transaction.counts in ("credit", "reversal"):
        event = statement_payment(transaction, "002")
        read_event(event.type, dict(event.data), event.subject)
    elif transaction.counts == "no":
        assert transaction.reason in UNCOUNTED_REASONS
    else:
        assert transaction.reason in REFUSED_REASONS
        describe_fault(transaction)


@dataclass(frozen=True)
class Target:
    """A reader, what its inputs are made from, and its share of all inputs in percent."""

    judge: Callable[[bytes], str]
    suffix: str
    share: int

    def mutator(self, number: int) -> Mutator:
        return Mutator(read_seeds(self.suffix), number, self.suffix)


TARGETS = {
    "snap": Target(judge_snap, "json", 55),
    "headers": Target(judge_headers, "txt", 5),
    "camt": Target(judge_camt, "xml", 40),
}
