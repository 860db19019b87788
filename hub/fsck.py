"""fsck: fold everything again from the inbox, in the order of the log, and compare with what is stored.

It reads one snapshot and changes nothing. What it proves: cases and billing codes are the fold of the accepted
messages, and so are differences, daily reports, dossiers, the register and the months' statistics; every message has
its leaf, with the bytes that the message demands; the log's tree, its tiles and what was signed of it are those of the
leaves; positions and streams have no gap; there is one recommendation per revision. A deadline's passing and an
operator's closing of a difference are leaves of their own and are folded where they stand.
"""

import hashlib
import json
import zlib
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import NamedTuple

import asyncpg

from contracts.admission import Admitted
from contracts.errors import Code, Refusal
from contracts.events import read_event
from contracts.log import entry
from contracts.reference.holidays import SHA256 as CALENDAR_SHA256
from contracts.rules.case import Fact
from contracts.rules.daily_report import Scope
from contracts.rules.reconciliation import key_of
from contracts.rules.rulebook import Rulebook, RuleSet, RuleSetError
from contracts.wire.envelope import read_envelope
from contracts.wire.instant import read_instant
from contracts.wire.record import Record
from contracts.wire.signature import Signature
from hub.counts import count_accepted
from hub.difference import Closing, DifferenceRow, Occasion, list_passed, read_timer_subject
from hub.dossier_check import check_dossiers
from hub.erased import read_erased
from hub.log_check import check_tree
from hub.lookup_days import check_days
from hub.month_check import check_months
from hub.provenance import Finding, Keys, Messages, check_leaves, check_streams, read_keys
from hub.step import (
    BILL_TIMER,
    PROVISIONAL,
    UNMATCHED_TIMER,
    BillingCode,
    Case,
    Step,
    advance,
    advance_code,
    gather,
    keys_for,
    name_log,
)
from hub.store import inspection
from hub.store.database import Connection, Database
from hub.store.differences import make_document
from hub.store.inbox import name_message

# So many messages are folded in memory at once; more are done in several passes over the log.
MESSAGES_PER_PASS_MAX = 200_000
FINDINGS_MAX = 1_000


class _Timer(NamedTuple):
    """A deadline that passed, or an operator's closing of a difference, which has a statement."""

    log_index: int
    name: str
    subject: str
    at: datetime
    statement: str | None = None


_Stretch = tuple[int, int]


class _Difference(NamedTuple):
    """A difference as the log makes it, and the stretches of the log in which it was opened and closed."""

    row: DifferenceRow
    opened: _Stretch
    closed: _Stretch | None

    def is_kept_as(self, stored: DifferenceRow, opened_index: int, closed_index: int | None) -> bool:
        """Whether the database keeps it so."""
        opened = self.opened[0] <= opened_index <= self.opened[1]
        if self.closed is None or closed_index is None:
            return stored == self.row and opened and self.closed is None and closed_index is None
        return stored == self.row and opened and self.closed[0] <= closed_index <= self.closed[1]


@dataclass(slots=True)
class _Group:
    """The accepted messages and passed deadlines of one transaction, which were folded together."""

    at: datetime
    messages: list[asyncpg.Record] = field(default_factory=list)
    timers: list[_Timer] = field(default_factory=list)

    def stretch(self) -> _Stretch:
        """Return the first and last log index of these."""
        ends = [row["log_index"] for row in (*self.messages[:1], *self.messages[-1:])]
        ends += [timer.log_index for timer in (*self.timers[:1], *self.timers[-1:])]
        return min(ends), max(ends)


async def check(database: Database) -> list[Finding]:
    """Return everything that does not hold, at most FINDINGS_MAX; an empty list is a sound database."""
    async with database.snapshot() as connection:
        log = await inspection.read_log(connection)
        findings = [Finding(*breach) for breach in await inspection.find_breaches(connection)]
        if (log.leaves, log.first, log.last) != (log.next_index, 0, log.next_index - 1):
            detail = f"{log.leaves} leaves from {log.first} to {log.last}, the next index is {log.next_index}"
            findings.append(Finding("leaves_gap", "log", detail))
        keys, unreadable = await read_keys(connection)
        findings += unreadable
        findings += [finding async for finding in check_leaves(connection, keys)]
        findings += [finding async for finding in check_tree(connection, keys.logs)]
        findings += await _check_parked(connection)
        findings += await _check_fold(connection, log, keys)
        findings += await check_dossiers(connection, await inspection.read_claims(connection))
        findings += await check_months(connection)
        findings += [finding async for finding in check_streams(connection, keys)]
        findings += await _check_recommendations(connection)
        findings += [finding async for finding in check_days(connection)]
        findings += await _check_reports(connection, {log.origin, *(policy.origin for policy in keys.logs)})
        findings += await _check_counts(connection)
    return findings[:FINDINGS_MAX]


async def _check_fold(connection: Connection, log: inspection.LogState, keys: Keys) -> list[Finding]:
    """Fold the log again, in as many passes as memory asks for."""
    try:
        rulebooks = await _read_rulebooks(connection)
    except RuleSetError:
        return [Finding("unreadable", "rule_sets", "a rule set is none, so nothing can be folded")]
    claims = await inspection.read_claims(connection)
    # Names that the hub derives from its log's outlive a log that ended.
    origin = keys.logs[0].origin if keys.logs else log.origin
    passes = 1 + log.next_index // MESSAGES_PER_PASS_MAX
    findings = []
    for number in range(passes):
        refold = Refold(rulebooks, origin, claims, passes, number)
        findings += await refold.run(connection, Messages(keys) if number == 0 else None)
    return findings


async def _read_rulebooks(connection: Connection) -> list[tuple[int, Rulebook]]:
    """Return the rule book that held from each log index on, the newest first."""
    rule_sets: list[RuleSet] = []
    books: list[tuple[int, Rulebook]] = [(-1, Rulebook(()))]
    for index, document in await inspection.read_rule_sets(connection):
        rule_sets.append(RuleSet.read(document.encode()))
        books.append((index, Rulebook(rule_sets)))
    return books[::-1]


class Refold:
    """One pass over the log: the cases whose id falls to `number` of `passes`, as the log makes them."""

    def __init__(
        self,
        rulebooks: Sequence[tuple[int, Rulebook]],
        origin: str,
        claims: Mapping[str, str],
        passes: int = 1,
        number: int = 0,
    ) -> None:
        self.cases: dict[str, Case] = {}
        self.codes: dict[str, BillingCode] = {}
        self.differences: dict[tuple[str, int], _Difference] = {}
        self.findings: list[Finding] = []
        self._rulebooks = rulebooks
        self._log_name = name_log(origin)
        self._claims = claims
        self._passes = passes
        self._number = number

    def _is_ours(self, subject: str) -> bool:
        """Whether this pass folds the case of a message's subject: the case itself, or the one that has the code."""
        owner = self._claims.get(subject, subject)
        return self._passes == 1 or zlib.crc32(owner.encode()) % self._passes == self._number

    async def run(self, connection: Connection, messages: Messages | None) -> list[Finding]:
        """Fold the log and compare; `messages` checks each message by itself, which one pass does for all."""
        async for group in _read_groups(connection):
            for message in group.messages if messages is not None else ():
                self._check_leaf(message)
                self.findings += messages.check(message) if messages is not None else ()
            self._fold(group)
        for query, name, compare in (
            (inspection.READ_CASES, "id", self._compare_case),
            (inspection.READ_CODES, "code", self._compare_code),
            (inspection.READ_DIFFERENCES, "key", self._compare_difference),
        ):
            async for row in inspection.stream(connection, query):
                if self._is_ours(row[name]):
                    try:
                        compare(row)
                    except ValueError:
                        self._find("unreadable", f"{name}/{row[name]}", "what is stored cannot be read")
        for name in (*self.cases, *self.codes, *(identity for identity, _ in self.differences)):
            self._find("not_stored", name, "the log makes it, the database does not hold it")
        return self.findings

    def _find(self, kind: str, subject: str, detail: str) -> None:
        self.findings.append(Finding(kind, subject, detail))

    def _check_leaf(self, row: asyncpg.Record) -> None:
        """Compare a message's digest with its bytes, and its leaf with both."""
        if row["value"] is not None and hashlib.sha256(row["value"]).digest() != row["digest"]:
            self._find("value_changed", f"inbox/{row['log_index']}", "the bytes are not those that the digest names")
        if name_message(row["source"], row["id"]) != row["identity"]:
            self._find("identity_wrong", f"inbox/{row['log_index']}", "it is kept under another message's key")
        expected = entry.accepted(
            source=row["source"],
            id=row["id"],
            type=row["type"],
            digest=row["digest"],
            kid=row["kid"],
            sig=row["jws"].rpartition(".")[2],
            received_at=row["received_at"],
        )
        if row["entry"] != expected:
            self._find("leaf_wrong", f"inbox/{row['log_index']}", "the leaf is not the one of this message")

    def _fold(self, group: _Group) -> None:
        """Do what the desk did in the transaction of this group."""
        fresh = []
        indices = []
        for row in group.messages:
            if self._is_ours(row["subject"]):
                try:
                    fresh.append(_readmit(row))
                    indices.append(row["log_index"])
                except Refusal as refusal:
                    self._find("not_admissible", f"inbox/{row['log_index']}", str(refusal.code))
        case_ids, codes = keys_for(fresh)
        for code in codes:
            self.codes.setdefault(code, BillingCode(code, None, [], {}))
        case_ids |= {owner for code in codes if (owner := self.codes[code].case_id) is not None}
        for case_id in case_ids:
            self.cases.setdefault(case_id, Case(case_id, [], {}, None, {}))
        gathered = gather(fresh, self.cases, self.codes)
        for refused in gathered.unfit:
            self._find("not_acceptable", f"{refused.record.topic}/{refused.record.offset}", str(refused.code))
            return
        first = group.messages[0]["log_index"] if group.messages else group.timers[0].log_index
        rulebook = next(book for index, book in self._rulebooks if index < first)
        for work in gathered.cases.values():
            work.fresh = _settle(work.fresh, indices)
            case = work.joined()
            self._keep(case, advance(case, rulebook, self._log_name, group.at), group)
            for claimed in work.claimed:
                self.codes[claimed.code] = BillingCode(claimed.code, work.case.id, [], {})
        for waiting in gathered.codes.values():
            unclaimed = waiting.row
            unclaimed.facts = [*unclaimed.facts, *_settle(waiting.fresh, indices)]
            step = advance_code(unclaimed, unclaimed.facts, True, timedelta(), group.at)
            unclaimed.told = step.told
            self._note(step, group)
        self._fire(group, rulebook)

    def _fire(self, group: _Group, rulebook: Rulebook) -> None:
        """Let the group's deadlines pass, and its operator close what was closed."""
        fired = {(timer.name, timer.subject) for timer in group.timers if timer.statement is None}
        passed = list_passed(fired)
        for timer in group.timers:
            if timer.statement is not None:
                occasion = Occasion(closing=Closing(timer.subject, timer.statement))
                self._judge([key_of(timer.subject)], occasion, rulebook, group)
        ripe = []
        for code in sorted({read_timer_subject(*one)[0] for one in fired} & self.codes.keys()):
            name = UNMATCHED_TIMER if self.codes[code].case_id is None else BILL_TIMER
            if (name, code) in fired or code in passed:
                ripe.append(code)
        self._judge(ripe, Occasion(passed), rulebook, group)

    def _judge(self, keys: Iterable[str], occasion: Occasion, rulebook: Rulebook, group: _Group) -> None:
        """Judge the cases and unclaimed codes of these keys once more; those of other passes are not here."""
        owners = {}
        for key in keys:
            row = self.codes.get(key)
            if row is None:
                continue
            if row.case_id is not None:
                owners[row.case_id] = self.cases[row.case_id]
            elif row.facts:
                step = advance_code(row, row.facts, False, timedelta(), group.at, occasion)
                row.told = step.told
                self._note(step, group)
        for case in owners.values():
            self._keep(case, advance(case, rulebook, self._log_name, group.at, occasion), group)

    def _keep(self, case: Case, step: Step, group: _Group) -> None:
        case.told, case.standing, case.rule_set = step.told, step.standing, step.rule_set
        self.cases[case.id] = case
        self._note(step, group)

    def _note(self, step: Step, group: _Group) -> None:
        """Keep the differences that a step changed, with the stretch of the log in which that was."""
        for row in step.differences:
            known = self.differences.get((row.id, row.revision))
            opened = group.stretch() if known is None else known.opened
            closed = None if known is None else known.closed
            if row.closed_at is not None and closed is None:
                closed = group.stretch()
            self.differences[row.id, row.revision] = _Difference(row, opened, closed)

    def _compare_difference(self, row: asyncpg.Record) -> None:
        folded = self.differences.pop((row["id"], row["revision"]), None)
        stored = DifferenceRow._make([*list(row)[:-3], json.loads(row["explanations"])])
        if folded is None or not folded.is_kept_as(stored, row["opened_index"], row["closed_index"]):
            self._find("difference_differs", f"difference/{row['id']}", "the fold of the log comes to something else")

    def _compare_case(self, row: asyncpg.Record) -> None:
        case = self.cases.pop(row["id"], None) or Case(row["id"], [], {}, None, {})
        subject = f"case/{row['id']}"
        self._compare_facts(subject, row["facts"], case.facts)
        standing = None if row["standing"] is None else json.loads(row["standing"])
        # What was erased is not there to be compared.
        personal = case.personal if row["personal"] is None else json.loads(row["personal"])
        for kind, stored, folded in (
            ("told_differs", json.loads(row["told"]), case.told),
            ("standing_differs", standing, case.standing),
            ("personal_differs", personal, case.personal),
            ("rule_set_differs", row["rule_set"], case.rule_set),
        ):
            if stored != folded:
                self._find(kind, subject, "the fold of the log comes to something else")

    def _compare_code(self, row: asyncpg.Record) -> None:
        code = self.codes.pop(row["code"], None) or BillingCode(row["code"], None, [], {})
        subject = f"code/{row['code']}"
        self._compare_facts(subject, row["facts"], code.facts)
        if json.loads(row["told"]) != code.told:
            self._find("told_differs", subject, "the fold of the log comes to something else")
        if row["case_id"] != code.case_id:
            self._find("claim_differs", subject, "the fold of the log gives the code to another case")

    def _compare_facts(self, subject: str, stored: str, folded: Iterable[Fact]) -> None:
        found = {json.dumps(fact, sort_keys=True) for fact in json.loads(stored)}
        expected = {json.dumps(fact.to_json(), sort_keys=True) for fact in folded}
        if found != expected:
            detail = f"{len(found - expected)} facts too many, {len(expected - found)} missing"
            self._find("facts_differ", subject, detail)


def _settle(facts: Iterable[Fact], indices: Sequence[int]) -> list[Fact]:
    """Give provisional facts the indices that the log has for them."""
    return [
        fact._replace(log_index=indices[fact.log_index - PROVISIONAL]) if fact.log_index >= PROVISIONAL else fact
        for fact in facts
    ]


def _readmit(row: asyncpg.Record) -> Admitted:
    """Read an accepted message again; its signature was judged when it came. Raises Refusal."""
    if row["value"] is None:
        return read_erased(dict(row))
    envelope = read_envelope(row["value"])
    event = read_event(envelope.type, envelope.data, envelope.subject)
    record = Record(row["topic_id"], row["partition"], row["offset"], None, row["value"], (), 0)
    signature = Signature(row["kid"], "", "", row["jws"], row["jws_proof"], None)
    return Admitted(record, envelope, event, row["participant"], signature)


async def _read_groups(connection: Connection) -> AsyncIterator[_Group]:
    """Yield the log's accepted messages and passed deadlines, transaction by transaction."""
    timers = [_read_timer(index, leaf) for index, leaf in await inspection.read_timers(connection)]
    group: _Group | None = None
    async for row in inspection.stream(connection, inspection.READ_ACCEPTED):
        while timers and timers[0].log_index < row["log_index"]:
            timer = timers.pop(0)
            if group is None or group.at != timer.at:
                if group is not None:
                    yield group
                group = _Group(timer.at)
            group.timers.append(timer)
        if group is None or group.at != row["received_at"] or group.timers:
            if group is not None:
                yield group
            group = _Group(row["received_at"])
        group.messages.append(row)
    for timer in timers:
        if group is None or group.at != timer.at:
            if group is not None:
                yield group
            group = _Group(timer.at)
        group.timers.append(timer)
    if group is not None:
        yield group


def _read_timer(index: int, leaf: bytes) -> _Timer:
    read = json.loads(leaf)
    name = read["name"] if read["kind"] == "timer" else read["action"]
    return _Timer(index, name, read["subject"], read_instant(read["at"]), read.get("reason"))


async def _check_parked(connection: Connection) -> list[Finding]:
    """Compare every quarantined record with its leaf."""
    findings = []
    async for row in inspection.stream(connection, inspection.READ_PARKED):
        if row["erased_at"] is not None:
            said = json.loads(row["entry"])
            place = (row["code"], row["topic"], row["partition"], row["offset"])
            if (said.get("code"), said.get("topic"), said.get("partition"), said.get("offset")) != place:
                findings.append(Finding("leaf_wrong", f"quarantine/{row['id']}", "its leaf is of another record"))
            continue
        if row["code"] not in list(Code):
            findings.append(Finding("unreadable", f"quarantine/{row['id']}", "its code is none"))
            continue
        expected = entry.refused(
            code=Code(row["code"]),
            digest=entry.salted_digest(row["salt"], row["value"] or b""),
            topic=row["topic"],
            partition=row["partition"],
            offset=row["offset"],
            participant=row["participant"],
            received_at=row["received_at"],
            source=row["source"],
            sequence=row["sequence"],
        )
        if row["entry"] != expected:
            findings.append(Finding("leaf_wrong", f"quarantine/{row['id']}", "the leaf is not the one of this record"))
    return findings


async def _check_recommendations(connection: Connection) -> list[Finding]:
    """Follow each recommendation's revisions: each issued once, withdrawn at most once, and the last one stands."""
    findings = []
    last: dict[str, tuple[int, str]] = {}
    async for row in inspection.stream(connection, inspection.READ_RECOMMENDED):
        # Of an erased one the entry says all that is left.
        value = {"data": json.loads(row["entry"] or b"{}")} if row["value"] is None else json.loads(row["value"])
        data = value["data"]
        subject = f"case/{row['key']}"
        revision, state = last.get(row["key"], (0, "withdrawn"))
        expected = revision + 1 if data["state"] == "issued" else revision
        if data["revision"] != expected or (data["state"] == "withdrawn" and state != "issued"):
            detail = f"revision {data['revision']} {data['state']} follows revision {revision} {state}"
            findings.append(Finding("revision_wrong", subject, detail))
        last[row["key"]] = (data["revision"], data["state"])
        if row["value"] is None:
            continue
        leaf = entry.recommendation(
            id=value["id"],
            case=row["key"],
            number=data["number"],
            revision=data["revision"],
            state=data["state"],
            digest=hashlib.sha256(row["value"]).digest(),
        )
        if row["entry"] != leaf or any(basis["log_index"] >= row["leaf_index"] for basis in data["basis"]):
            findings.append(
                Finding("leaf_wrong", subject, f"revision {data['revision']} has not the leaf that it needs")
            )
    async for row in inspection.stream(connection, inspection.READ_CASES):
        try:
            standing = None if row["standing"] is None else json.loads(row["standing"])
        except ValueError:
            continue  # It is named where the cases are compared.
        stands = None if standing is None else (standing["revision"], standing["state"])
        if stands != last.get(row["id"]):
            findings.append(Finding("revision_wrong", f"case/{row['id']}", "what stands was not what was said last"))
    return findings


async def _check_reports(connection: Connection, origins: Collection[str]) -> list[Finding]:
    """Make every daily report again from the facts below its place in the log, and compare the bytes."""
    findings = []
    revisions: dict[tuple[str, date], int] = {}
    for row in await connection.fetch(inspection.READ_REPORTS):
        name = (row["participant"], row["day"])
        subject = f"report/{row['participant']}/{row['day']}/{row['revision']}"
        if row["revision"] != revisions.get(name, 0) + 1:
            findings.append(Finding("report_wrong", subject, "a revision before it is missing"))
        revisions[name] = row["revision"]
        said = json.loads(row["document"])
        if hashlib.sha256(row["document"]).hexdigest() != row["sha256"]:
            findings.append(Finding("report_wrong", subject, "the bytes are not those that the digest names"))
        elif said["calendar_sha256"] == CALENDAR_SHA256:
            # Another calendar of holidays may part the days in another way.
            scope = Scope(said["environment"], said["log_origin"], *name, row["log_size"])
            if said["log_origin"] not in origins or await make_document(connection, scope) != row["document"]:
                findings.append(Finding("report_differs", subject, "the facts come to other bytes"))
    return findings


async def _check_counts(connection: Connection) -> list[Finding]:
    """Count every day again from the inbox; the days of a participant must tile the log."""
    findings = []
    ends: dict[str, tuple[date, int]] = {}
    for row in await connection.fetch(inspection.READ_COUNTS):
        participant, day, first_index, log_size = row[0], row[1], row[2], row[3]
        subject = f"count/{participant}/{day}"
        before = ends.get(participant, (day - timedelta(days=1), 0))
        ends[participant] = (day, log_size)
        if before != (day - timedelta(days=1), first_index):
            findings.append(Finding("count_wrong", subject, "it does not begin where the day before ends"))
        said = json.loads(row["document"])["sources"]
        tallies = await count_accepted(connection, first_index, log_size, [one["source"] for one in said])
        for one in said:
            if tallies[one["source"]].close({}).sha256 != one["sha256"]:
                findings.append(Finding("count_differs", subject, "the inbox comes to another count"))
    return findings
