"""What one batch does to the cases it touches: pure, between reading the rows under their locks and writing them.

    verdicts --sift--> fresh, repeats, unfit, deferred      by what the inbox already holds
    fresh    --gather--> Work per case and billing code     by their keys, and by what came before in the batch
    Work     --advance--> Step                              fold, decide, and the difference from what was told

A message's log index is known only under the log's lock, the last one taken. Until then a fresh fact carries a
provisional index, PROVISIONAL + its place in the batch, which is larger than every real one and so keeps the order.
"""

import hashlib
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from contracts.admission import Admitted, Deferred, Refused
from contracts.erasure import ERASED_WORKER
from contracts.errors import Code
from contracts.rules.case import (
    AMENDED,
    APPROVED,
    BILLED,
    DECISIVE,
    EXPLANATIONS,
    PAYMENTS,
    Fact,
    Keys,
    State,
    facts_of,
    fold,
    keys_of,
)
from contracts.rules.decide import Basis, Decision, Wanted, decide, foundation_lost, recommendation_data
from contracts.rules.payments import EMPTY, FactKey, tally
from contracts.rules.rulebook import Rulebook
from contracts.wire.envelope import Envelope
from hub.difference import BOOKING_TIMER, NEW_FACTS, DifferenceRow, Matter, Occasion, reconcile

PROVISIONAL = 1 << 62
# A source that has told a case or code more facts than this repeats itself, and folding them would hold up everybody
# else's messages. It is counted by source, so that nobody can fill a case and so silence another's word on it.
FACTS_MAX = 1_000

UNMATCHED_TIMER = "unmatched"
BILL_TIMER = "bill_expiry"

OUTCOME = "id.tka.hub.payment.outcome.v1"
BILL_OPENED = "id.tka.hub.bill.opened.v1"
BILL_CLOSED = "id.tka.hub.bill.closed.v1"
# Whose data were erased is told as nobody when a recommendation must still be withdrawn.
ISSUED = "id.tka.hub.recommendation.issued.v1"
WITHDRAWN = "id.tka.hub.recommendation.withdrawn.v1"
RECEIPT = "id.tka.hub.receipt.v1"
HEARTBEAT = "id.tka.hub.heartbeat.v1"
REPORTED = "id.tka.hub.reconciliation.reported.v1"
REGISTER_ENTERED = "id.tka.hub.register.entered.v1"
REGISTER_LEFT = "id.tka.hub.register.left.v1"


class Held(NamedTuple):
    """What the inbox holds of a batch's identities, and of its sequences.

    `digests` maps (source, id) to (SHA-256, log index); `sequences` maps (source, sequence) to the id that used it.
    """

    digests: Mapping[tuple[str, str], tuple[bytes, int]]
    sequences: Mapping[tuple[str, int], str]


class Repeat(NamedTuple):
    """A message that is already accepted, and the log index of its first copy: provisional if that is in this batch."""

    admitted: Admitted
    log_index: int


@dataclass(slots=True)
class Sifted:
    """A batch by disposition; `unfit` are refusals, of admission and of what the inbox holds.

    `fresh` is what the inbox does not hold. Whether a message repeats or contradicts another of this batch is seen
    when they are gathered, since that counts only if the other one is accepted.
    """

    fresh: list[Admitted] = field(default_factory=list)
    repeats: list[Repeat] = field(default_factory=list)
    unfit: list[Refused] = field(default_factory=list)
    deferred: list[Deferred] = field(default_factory=list)


@dataclass(slots=True)
class BillingCode:
    """A billing code's row under its lock: facts that no case has claimed, or the case that did.

    `stored` is the text of `facts` as the row has it, so that saving need not write old facts anew.
    """

    code: str
    case_id: str | None
    facts: list[Fact]
    told: dict[str, Any]
    stored: str = "[]"


@dataclass(slots=True)
class Case:
    """A case's row under its lock.

    `facts` is what decisions read and `stored` their text as the row has it, `told` what participants were last told,
    `standing` the last recommendation, `personal` the worker's data by the event that brought it, `rule_set` the one
    that it was decided by.
    """

    id: str
    facts: Sequence[Fact]
    personal: dict[str, Any]
    standing: dict[str, Any] | None
    told: dict[str, Any]
    stored: str = "[]"
    rule_set: str | None = None


@dataclass(slots=True)
class CaseWork:
    """A case and what this batch adds to it: fresh facts, claimed codes with the facts that waited on them."""

    case: Case
    fresh: list[Fact] = field(default_factory=list)
    claimed: list[BillingCode] = field(default_factory=list)
    personal: dict[str, Any] = field(default_factory=dict)

    def joined(self) -> Case:
        """Return the case as it is with all of that."""
        facts = [*self.case.facts, *(fact for row in self.claimed for fact in row.facts), *self.fresh]
        outcomes = dict(self.case.told.get("outcomes", {}))
        for row in self.claimed:
            outcomes |= row.told.get("outcomes", {})
        told = self.case.told | {"outcomes": outcomes}
        books = {code: book for row in self.claimed for code, book in row.told.get("books", {}).items()}
        if books:
            told["books"] = self.case.told.get("books", {}) | books
        return Case(self.case.id, facts, self.case.personal | self.personal, self.case.standing, told)


@dataclass(slots=True)
class CodeWork:
    """A billing code that no case claims, and the facts that this batch hangs on it."""

    row: BillingCode
    fresh: list[Fact] = field(default_factory=list)


@dataclass(slots=True)
class Gathered:
    """A batch by what it touches. `fresh` is final: a message's place in it is its place in the log."""

    fresh: list[Admitted] = field(default_factory=list)
    repeats: list[Repeat] = field(default_factory=list)
    unfit: list[Refused] = field(default_factory=list)
    cases: dict[str, CaseWork] = field(default_factory=dict)
    codes: dict[str, CodeWork] = field(default_factory=dict)


class Event(NamedTuple):
    """An event of the hub's own, before it has a place.

    `digest` is that of the facts it follows from; `reporter` narrows what is said of money to the bank that told of it.
    """

    type: str
    subject: str
    correlation: str
    cause: str | None
    digest: str
    data: dict[str, Any]
    reporter: str | None = None


class Timer(NamedTuple):
    """A deadline to set, or with `due_at` None to take back."""

    name: str
    subject: str
    due_at: datetime | None


@dataclass(slots=True)
class Step:
    """What a case or billing code says from now on, and what of it is news."""

    told: dict[str, Any]
    standing: dict[str, Any] | None = None
    rule_set: str | None = None
    events: list[Event] = field(default_factory=list)
    timers: list[Timer] = field(default_factory=list)
    differences: list[DifferenceRow] = field(default_factory=list)


def refuse(admitted: Admitted, code: Code, detail: str = "") -> Refused:
    """Turn down a message that admission let through, for what the hub already holds."""
    return Refused(admitted.record, code, detail, admitted.participant, admitted.envelope)


def sift(verdicts: Iterable[Admitted | Refused | Deferred], held: Held) -> Sifted:
    """Part a batch by disposition: repeats vanish, the same identity with other bytes is an equivocation."""
    sifted = Sifted()
    for verdict in verdicts:
        if isinstance(verdict, Refused):
            sifted.unfit.append(verdict)
            continue
        if isinstance(verdict, Deferred):
            sifted.deferred.append(verdict)
            continue
        envelope = verdict.envelope
        known = held.digests.get((envelope.source, envelope.id))
        if known is not None and known[0] == envelope.digest:
            sifted.repeats.append(Repeat(verdict, known[1]))
        elif known is not None:
            sifted.unfit.append(refuse(verdict, Code.EQUIVOCATION))
        elif (envelope.source, envelope.sequence) in held.sequences:
            sifted.unfit.append(refuse(verdict, Code.SEQUENCE_REUSED))
        else:
            sifted.fresh.append(verdict)
    return sifted


def keys_for(fresh: Iterable[Admitted]) -> tuple[set[str], set[str]]:
    """Return the (cases, billing codes) whose decision these messages may change: the rows to lock."""
    cases: set[str] = set()
    codes: set[str] = set()
    for admitted in fresh:
        case_id, code = _keys_of(admitted.envelope)
        if case_id is not None:
            cases.add(case_id)
        if code is not None:
            codes.add(code)
    return cases, codes


def _keys_of(envelope: Envelope) -> Keys:
    """Return what a message is hung on: what no decision reads is kept in the inbox alone, and so touches no case."""
    if envelope.type not in DECISIVE:
        return Keys(None, None)
    return keys_of(envelope.type, envelope.subject, envelope.data)


class _Accepted:
    """What this batch has accepted so far, to tell a repeat from a contradiction."""

    __slots__ = ("_by_identity", "_sequences")

    def __init__(self) -> None:
        self._by_identity: dict[tuple[str, str], tuple[bytes, int]] = {}
        self._sequences: set[tuple[str, int]] = set()

    def add(self, envelope: Envelope, index: int) -> None:
        """Note a message and its provisional index."""
        self._by_identity[envelope.source, envelope.id] = envelope.digest, index
        self._sequences.add((envelope.source, envelope.sequence))

    def find(self, envelope: Envelope) -> int | Code | None:
        """Return the index of the same message, what a message is refused for that contradicts one, or None."""
        known = self._by_identity.get((envelope.source, envelope.id))
        if known is not None:
            return known[1] if known[0] == envelope.digest else Code.EQUIVOCATION
        return Code.SEQUENCE_REUSED if (envelope.source, envelope.sequence) in self._sequences else None


def gather(fresh: Sequence[Admitted], cases: Mapping[str, Case], codes: Mapping[str, BillingCode]) -> Gathered:
    """Hang each fresh message on its case, or on its billing code as long as no case claims that.

    Each is judged as if those before it had come in batches of their own.
    """
    gathered, accepted = Gathered(), _Accepted()
    claims = {code: row.case_id for code, row in codes.items() if row.case_id is not None}
    for admitted in fresh:
        envelope = admitted.envelope
        found = accepted.find(envelope)
        if isinstance(found, int):
            gathered.repeats.append(Repeat(admitted, found))
            continue
        case_id, code = _keys_of(envelope)
        owner = claims.get(code) if code is not None else None
        work = _work_of(gathered, cases, case_id or owner)
        waiting = None if code is None or work is not None else _waiting_of(gathered, codes[code])
        fault = found or _fault_of(admitted, case_id, code, owner, work, waiting)
        if fault is not None:
            gathered.unfit.append(refuse(admitted, fault))
            continue
        index = PROVISIONAL + len(gathered.fresh)
        accepted.add(envelope, index)
        gathered.fresh.append(admitted)
        if work is None and waiting is None:
            continue
        fact = facts_of(envelope, admitted.event, admitted.participant, index)
        if work is not None:
            work.fresh.append(fact)
            if fact.type in (APPROVED, AMENDED) and (personal := admitted.event.personal()) is not None:
                work.personal[f"{fact.source} {fact.id}"] = personal
            if code is not None and owner is None:
                claims[code] = work.case.id
                _claim(gathered, work, codes[code])
        elif waiting is not None:
            waiting.fresh.append(fact)
    gathered.cases = {name: work for name, work in gathered.cases.items() if work.fresh}
    gathered.codes = {name: work for name, work in gathered.codes.items() if work.fresh}
    return gathered


def _work_of(gathered: Gathered, cases: Mapping[str, Case], case_id: str | None) -> CaseWork | None:
    if case_id is None:
        return None
    work = gathered.cases.get(case_id)
    if work is None:
        work = gathered.cases[case_id] = CaseWork(cases[case_id])
    return work


def _waiting_of(gathered: Gathered, row: BillingCode) -> CodeWork:
    work = gathered.codes.get(row.code)
    if work is None:
        work = gathered.codes[row.code] = CodeWork(row)
    return work


def _claim(gathered: Gathered, work: CaseWork, row: BillingCode) -> None:
    """Let a case take a code over, with the facts that waited on it, those of this batch included."""
    waiting = gathered.codes.pop(row.code, None)
    work.claimed.append(row)
    if waiting is not None:
        work.fresh.extend(waiting.fresh)


def _fault_of(
    admitted: Admitted,
    case_id: str | None,
    code: str | None,
    owner: str | None,
    work: CaseWork | None,
    waiting: CodeWork | None,
) -> Code | None:
    """Say why a message cannot be hung where it belongs, or None."""
    if case_id is not None and code is not None:
        if owner not in (None, case_id):
            return Code.BILL_CONFLICT
        if admitted.envelope.type == BILLED and work is not None and _other_terms(work, code, admitted.event):
            return Code.BILL_CONFLICT
    source = admitted.envelope.source
    if work is not None and _is_full(source, work.case.facts, work.fresh, *(row.facts for row in work.claimed)):
        return Code.FACTS_LIMIT
    if waiting is not None and _is_full(source, waiting.row.facts, waiting.fresh):
        return Code.FACTS_LIMIT
    return None


def _is_full(source: str, *facts: Sequence[Fact]) -> bool:
    """Whether this source has told all that one source may."""
    if sum(map(len, facts)) < FACTS_MAX:
        return False
    return sum(1 for some in facts for fact in some if fact.source == source) >= FACTS_MAX


def _other_terms(work: CaseWork, code: str, event: Any) -> bool:
    """Whether the case already has a bill under this code that asks for something else."""
    terms = event.decision_facts()
    for facts in (work.case.facts, work.fresh):
        for fact in facts:
            if fact.type == BILLED and fact.data["billing_code"] == code and fact.data != terms:
                return True
    return False


def digest_facts(facts: Iterable[Fact]) -> str:
    """Return the SHA-256 in hex of the facts' digests in log order, from which outgoing ids are derived."""
    ordered = sorted(facts, key=lambda fact: fact.log_index)
    return hashlib.sha256("\n".join(fact.sha256 for fact in ordered).encode()).hexdigest()


def name_log(origin: str) -> uuid.UUID:
    """Return the name space of everything that this log's hub says."""
    return uuid.uuid5(uuid.NAMESPACE_URL, origin)


def number_recommendation(log_name: uuid.UUID, application: str) -> str:
    """Return the number that all revisions of an application's recommendation bear."""
    return f"TKA-{uuid.uuid5(log_name, application).hex[:12].upper()}"


def advance(case: Case, rulebook: Rulebook, log_name: uuid.UUID, now: datetime, occasion: Occasion = NEW_FACTS) -> Step:
    """Fold all facts of a case, decide, and compare with what was told and what stands.

    What is decided is a function of the set of facts and of `now`. Raises NotOpen (hub.difference).
    """
    state = fold(case.facts)
    decision = decide(state, rulebook, now)
    rule_set = None if decision.rule_set is None else f"{decision.rule_set.id}/{decision.rule_set.version}"
    step = Step(_told_of(decision, case.told), case.standing, rule_set)
    _compare_outcomes(step, case, state, decision)
    _compare_bills(step, case, state)
    _compare_standing(step, case, decision, log_name)
    _compare_books(step, case, state, decision, occasion, now)
    if step.events:
        digest = digest_facts(case.facts)
        cause = max(case.facts, key=lambda fact: fact.log_index).id
        step.events = [event._replace(digest=digest, cause=cause) for event in step.events]
    return step


def _told_of(decision: Decision, told: Mapping[str, Any]) -> dict[str, Any]:
    """What participants know after this step. A bill that closed before anyone was asked to collect it stays untold."""
    known = told.get("bills", {})
    bills = {code: state for code, state in decision.bills.items() if state == "open" or code in known}
    return {
        "outcomes": _write_outcomes(decision.outcomes),
        "bills": bills,
    }


def _compare_outcomes(step: Step, case: Case, state: State, decision: Decision) -> None:
    known = case.told.get("outcomes", {})
    for code, payments in state.payments.items():
        bill = state.bills.get(code) if code is not None else None
        for payment in payments:
            outcome = decision.outcomes.get((payment.source, payment.id))
            if outcome is not None and outcome != known.get(f"{payment.source} {payment.id}"):
                billed = None if bill is None else bill.fact.data["amount"]
                step.events.append(_outcome_event(payment, outcome, case.id, case.id, billed))


def _outcome_event(payment: Fact, outcome: str, application: str | None, correlation: str, billed: str | None) -> Event:
    code = payment.data.get("billing_code")
    data = {
        "billing_code": code,
        "application": application,
        "payment": {"source": payment.source, "id": payment.id},
        "outcome": outcome,
        "amount": payment.data["amount"],
        "currency": payment.data["currency"],
        "billed": billed,
    }
    return Event(OUTCOME, code or correlation, correlation, None, "", data, payment.participant)


def _compare_bills(step: Step, case: Case, state: State) -> None:
    known = case.told.get("bills", {})
    for code, status in step.told["bills"].items():
        if status == known.get(code):
            continue
        data = state.bills[code].fact.data
        if status == "open":
            terms = {name: data[name] for name in ("billing_code", "amount", "currency", "expires_at", "payer")}
            step.events.append(Event(BILL_OPENED, code, case.id, None, "", terms))
            step.timers.append(Timer(BILL_TIMER, code, state.bills[code].expires_at))
        else:
            closed = {"billing_code": code, "reason": status}
            step.events.append(Event(BILL_CLOSED, code, case.id, None, "", closed))
            step.timers.append(Timer(BILL_TIMER, code, None))


def _compare_books(step: Step, case: Case, state: State, decision: Decision, occasion: Occasion, now: datetime) -> None:
    """Reconcile the payments under each of a case's billing codes."""
    known = case.told.get("books", {})
    codes = [code for code in state.payments if code is not None]
    if not codes and not known:
        return
    explained = [fact for fact in case.facts if fact.type in EXPLANATIONS]
    books = {}
    for code in dict.fromkeys((*codes, *known)):
        facts = [*state.payments.get(code, ()), *explained]
        matter = Matter(code, case.id, facts, decision.tallies.get(code, EMPTY))
        book = _apply_book(step, known.get(code, {}), matter, case.id, occasion, now)
        if book:
            books[code] = book
    if books:
        step.told["books"] = books


def _apply_book(
    step: Step, book: Mapping[str, Any], matter: Matter, correlation: str, occasion: Occasion, now: datetime
) -> dict[str, Any]:
    """Reconcile one key, note in the step what is news, and return the book that results."""
    result = reconcile(book, matter, occasion, now)
    for news in result.news:
        step.events.append(Event(news.type, matter.key, correlation, None, "", news.data, news.participant))
    step.differences += result.rows
    step.timers += [Timer(BOOKING_TIMER, *deadline) for deadline in result.deadlines]
    return result.book


def _compare_standing(step: Step, case: Case, decision: Decision, log_name: uuid.UUID) -> None:
    """Withdraw what cannot stand any more, then issue what is wanted and does not stand."""
    standing, wanted = case.standing, decision.recommendation
    if standing is not None and standing["state"] == "issued":
        reason = decision.blocked_by[0] if wanted is None else foundation_lost(_basis_keys(standing), decision)
        if reason is not None:
            standing = step.standing = standing | {"state": "withdrawn", "reason": reason}
            step.events.append(_recommendation_event(case, standing))
        elif wanted is not None and standing["fingerprint"] == wanted.fingerprint:
            return
    if wanted is not None:
        revision = 1 if standing is None else standing["revision"] + 1
        step.standing = _issue(wanted, number_recommendation(log_name, case.id), revision)
        step.events.append(_recommendation_event(case, step.standing))


def _basis_keys(standing: Mapping[str, Any]) -> list[FactKey]:
    return [(entry["source"], entry["id"]) for entry in standing["basis"]]


def _issue(wanted: Wanted, number: str, revision: int) -> dict[str, Any]:
    return {
        "number": number,
        "revision": revision,
        "state": "issued",
        "fingerprint": wanted.fingerprint,
        "granted": list(wanted.granted),
        "content": dict(wanted.content),
        "basis": [basis._asdict() for basis in wanted.basis],
    }


def _recommendation_event(case: Case, standing: Mapping[str, Any]) -> Event:
    """Put a recommendation together: what was decided, and the worker's data, which the standing does not repeat."""
    source, identity = standing["granted"]
    basis = tuple(Basis(**entry) for entry in standing["basis"])
    stated = Wanted(standing["content"], basis, (source, identity), standing["fingerprint"])
    personal = case.personal.get(f"{source} {identity}", ERASED_WORKER)
    data = recommendation_data(
        stated, personal, standing["number"], standing["revision"], standing["state"], standing.get("reason")
    )
    return Event(ISSUED if standing["state"] == "issued" else WITHDRAWN, case.id, case.id, None, "", data)


def advance_code(
    row: BillingCode,
    facts: Sequence[Fact],
    fresh: bool,
    unmatched: timedelta,
    now: datetime,
    occasion: Occasion = NEW_FACTS,
) -> Step:
    """Judge the payments on a code that no case claims, when new ones came (`fresh`) or a timer of theirs fired.

    A code may still be claimed, so its payments wait for the timer; money that named no code has nothing to wait for.
    Raises NotOpen (hub.difference).
    """
    waits = fresh and row.code.isdigit()
    payments = [fact for fact in facts if fact.type in PAYMENTS]
    counted = None if waits else tally(None, payments)
    step = Step({} if counted is None else {"outcomes": _write_outcomes(counted.outcomes)})
    if counted is None:
        step.timers.append(Timer(UNMATCHED_TIMER, row.code, now + unmatched))
        step.told |= {"outcomes": row.told["outcomes"]} if "outcomes" in row.told else {}
    else:
        known = row.told.get("outcomes", {})
        for payment in payments:
            outcome = counted.outcomes.get((payment.source, payment.id))
            if outcome is not None and outcome != known.get(f"{payment.source} {payment.id}"):
                step.events.append(_outcome_event(payment, outcome, None, row.code, None))
    known_book = row.told.get("books", {}).get(row.code, {})
    book = _apply_book(step, known_book, Matter(row.code, None, facts, counted), row.code, occasion, now)
    if book:
        step.told["books"] = {row.code: book}
    if step.events:
        digest, cause = digest_facts(facts), max(facts, key=lambda fact: fact.log_index).id
        step.events = [event._replace(digest=digest, cause=cause) for event in step.events]
    return step


def _write_outcomes(outcomes: Mapping[FactKey, str]) -> dict[str, str]:
    return {f"{source} {identity}": outcome for (source, identity), outcome in outcomes.items()}
