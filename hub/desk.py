"""The desk: every door's records become facts here, in one transaction that holds or does not.

The doors are Kafka (`receive`), time (`retry_deferred`, `fire_timers`, `heartbeat`) and the operator (hub.repairs).
Locks are always taken in this order, and sorted: position, billing codes, cases, log.
"""

import os
import time
import traceback
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import NamedTuple, TypeVar

import structlog

from contracts.admission import FROM_PREFIX, Admitted, Deferred, Refused, Verdict, admit, refuse_deferred
from contracts.errors import Code
from contracts.log import entry
from contracts.registry import Registry
from contracts.rules.rulebook import Rulebook, RuleSet
from contracts.wire import base64url
from contracts.wire.instant import instant_of_ms
from contracts.wire.key import PublicKey
from contracts.wire.record import Record
from contracts.wire.signature import VerifiedRoots
from hub import failpoint, trust
from hub.difference import Closing, Occasion, list_passed, read_timer_subject
from hub.routes import Routes
from hub.seal import Forward, Letter, Outline, Receipted, Sealing, address, settle_entries, write_receipts
from hub.step import (
    BILL_TIMER,
    HEARTBEAT,
    PROVISIONAL,
    UNMATCHED_TIMER,
    BillingCode,
    Case,
    CaseWork,
    CodeWork,
    Event,
    Gathered,
    Repeat,
    Step,
    Timer,
    advance,
    advance_code,
    gather,
    keys_for,
    name_log,
    sift,
)
from hub.store import cases as case_store
from hub.store import differences, inbox, log, outbox, positions, quarantine, timers
from hub.store import registry as registry_store
from hub.store.cases import CaseRow, CodeRow
from hub.store.database import BROKEN, TRANSIENT, Connection, Database
from hub.store.log import RegistryChanged
from hub.store.positions import Stretch
from hub.store.quarantine import Parked, Waiting
from hub.store.registry import Stand

# A sender whose key is never registered must not fill the database.
DEFERRED_PER_TOPIC_MAX = 10_000
NONCE_BYTES = 16
# A deadline that a bug chokes on is looked at again after a while, when the bug may be repaired.
POISON_TIMER_DELAY = timedelta(hours=1)

Result = TypeVar("Result")


class Batch(NamedTuple):
    """Records of one partition, in order, which consume the offsets `start` to `end` (exclusive)."""

    topic: str
    topic_id: str
    partition: int
    start: int
    end: int
    records: Sequence[Record]

    @property
    def stretch(self) -> Stretch:
        """The offsets that it consumes."""
        return Stretch(self.topic_id, self.partition, self.start, self.end)


@dataclass(slots=True)
class Taken:
    """What became of a batch: counts by disposition and by refusal code, and how many messages go out.

    `places` counts the same by topic, partition, disposition and, of what was refused, code. `stepped_ns`: from when to
    when cases were folded and decided. `base` is the log index of the first of its leaves.
    """

    accepted: int = 0
    duplicate: int = 0
    deferred: int = 0
    refused: Counter[Code] = field(default_factory=Counter)
    outgoing: int = 0
    places: Counter[tuple[str, int, str, Code | None]] = field(default_factory=Counter)
    stepped_ns: tuple[int, int] = (0, 0)
    base: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Judgement:
    """Everything by which records are judged while one registry version is in force."""

    registry: Registry
    stand: Stand
    rulebook: Rulebook
    routes: Routes
    roots: VerifiedRoots
    log_name: uuid.UUID

    @classmethod
    async def load(cls, connection: Connection, root: PublicKey) -> "Judgement":
        """Read and verify the registry in force. Raises RegistryAbsent; RegistryError."""
        in_force = await trust.load(connection, root)
        registry = in_force.registry
        rows = await registry_store.read_rule_sets(connection)
        rulebook = Rulebook(RuleSet.read(row.document.encode()) for row in rows)
        routes, log_name = Routes(registry), name_log(registry.first_origin())
        return cls(registry, in_force.stand, rulebook, routes, VerifiedRoots(), log_name)

    def occasion(self, passed: Mapping[str, str] | None = None, closing: Closing | None = None) -> Occasion:
        """Return what cases are judged for, with the patience that the registry asks for."""
        limits = self.registry.limits
        return Occasion(passed or {}, closing, limits.booking_days, timedelta(seconds=limits.unmatched_s))


@dataclass(slots=True)
class Plan:
    """What a transaction is going to write, all but the numbers that the log's lock gives."""

    fresh: Sequence[Admitted] = ()
    parked: list[Parked] = field(default_factory=list)
    deferred: list[Deferred] = field(default_factory=list)
    repeats: Sequence[Repeat] = ()
    gathered: Gathered = field(default_factory=Gathered)
    touched: list[tuple[CaseWork, Step]] = field(default_factory=list)
    coded: list[tuple[CodeWork, Step]] = field(default_factory=list)
    fired: Sequence[tuple[str, str]] = ()
    actions: list[bytes] = field(default_factory=list)
    outline: Outline = field(default_factory=Outline)

    def steps(self) -> list[Step]:
        """Return what was decided of cases and of billing codes."""
        return [step for _, step in self.touched] + [step for _, step in self.coded]

    def timers(self) -> list[Timer]:
        """Return the deadlines that this sets and takes back."""
        claimed = (row for work in self.gathered.cases.values() for row in work.claimed)
        dropped = [Timer(UNMATCHED_TIMER, row.code, None) for row in claimed if row.facts]
        return dropped + [timer for step in self.steps() for timer in step.timers]

    def taken(self, outgoing: int) -> Taken:
        """Count what this came to."""
        codes = Counter(parked.code for parked in self.parked)
        return Taken(
            len(self.fresh), len(self.repeats), len(self.deferred), codes, outgoing, Counter(self._dispositions())
        )

    def _dispositions(self) -> Iterator[tuple[str, int, str, Code | None]]:
        disposed: tuple[tuple[str, Iterable[Record]], ...] = (
            ("accepted", (one.record for one in self.fresh)),
            ("duplicate", (admitted.record for admitted, _ in self.repeats)),
            ("deferred", (one.record for one in self.deferred)),
        )
        for disposition, records in disposed:
            for record in records:
                yield record.topic, record.partition, disposition, None
        for parked in self.parked:
            yield parked.record.topic, parked.record.partition, "refused", parked.code


def write_nonce() -> str:
    """Return 128 random bits in base64url: they keep a logged digest from revealing what was said."""
    return base64url.encode(os.urandom(NONCE_BYTES))


def describe_bug(error: BaseException) -> str:
    """Return where a bug showed, without the error's own text, which may repeat what the record says."""
    frames = traceback.format_tb(error.__traceback__)
    return f"{''.join(frames)}{type(error).__module__}.{type(error).__qualname__}"


class Desk:
    """Takes records in, whichever door they come through."""

    def __init__(self, database: Database, root: PublicKey) -> None:
        self.database = database
        self._root = root
        self._judgement: Judgement | None = None

    async def judgement(self) -> Judgement:
        """Return what records are judged by; read again when the registry or what is suspended has changed."""
        async with self.database.connection() as connection:
            stand = await registry_store.read_stand(connection)
            if self._judgement is None or self._judgement.stand != stand:
                self._judgement = await Judgement.load(connection, self._root)
            return self._judgement

    async def known_judgement(self) -> Judgement:
        """Return what records were last judged by, without asking: the version is checked under the log's lock."""
        return self._judgement or await self.judgement()

    async def receive(self, batch: Batch, now: datetime, *, thorough: bool = False, bug: str | None = None) -> Taken:
        """Take a batch from Kafka. With `bug`, where a bug showed, its records go to quarantine unread.

        Raises Superseded if another owner has moved the partition on, RegistryChanged if the batch must be judged
        again, asyncpg.UniqueViolationError if it must be done again thoroughly.
        """
        return await self.receive_together([batch], now, thorough=thorough, bug=bug)

    async def receive_together(
        self, batches: Sequence[Batch], now: datetime, *, thorough: bool = False, bug: str | None = None
    ) -> Taken:
        """Take batches of different partitions in one transaction, which costs about as much as for one of them.

        Raises what `receive` does, and then none of them was taken.
        """
        judgement = await self.known_judgement()
        verdicts = [
            admit(one, judgement.registry, judgement.roots) if bug is None else _poisoned(one)
            for batch in batches
            for one in batch.records
        ]
        failpoint.reach("intake.before_transaction")
        async with self.database.transaction() as tx:
            await positions.consume_together(tx, [batch.stretch for batch in batches], now)
            failpoint.reach("intake.after_watermark")
            began_ns = time.time_ns()
            plan = await self._prepare(tx, judgement, verdicts, now, thorough=thorough, bug=bug)
            stepped_ns = began_ns, time.time_ns()
            failpoint.reach("intake.before_seal")
            taken = await self.seal(tx, judgement, plan, now, {batch.topic: batch.topic_id for batch in batches})
            failpoint.reach("intake.before_commit")
        failpoint.reach("intake.after_commit")
        taken.stepped_ns = stepped_ns
        await self.wake(taken)
        return taken

    async def retry_deferred(self, now: datetime, limit: int) -> Taken:
        """Judge up to `limit` deferred records again: those that are due, or that an older registry did not know.

        Raises RegistryChanged if the registry changed meanwhile: the next call judges by the new one.
        """
        return await self._isolate(self._retry_deferred, now, limit)

    async def _isolate(
        self, work: Callable[[datetime, int, str | None], Awaitable[Result]], now: datetime, limit: int
    ) -> Result:
        """Do `work` on less and less of what comes first, until a bug has its one row alone, which is set aside."""
        try:
            return await work(now, limit, None)
        except (RegistryChanged, *BROKEN, *TRANSIENT):
            raise
        except Exception as error:  # noqa: BLE001  # Whatever else it is, it must not hold up what comes behind.
            if limit > 1:
                return await self._isolate(work, now, limit // 2)
            structlog.get_logger(__name__).error("desk_poison", error=type(error).__name__)
            return await work(now, 1, describe_bug(error))

    async def _retry_deferred(self, now: datetime, limit: int, bug: str | None) -> Taken:
        judgement = await self.judgement()
        version = judgement.registry.version
        async with self.database.transaction() as tx:
            waiting = await quarantine.claim_deferred(tx, now, version, limit)
            settled: list[Waiting] = []
            kept: list[Waiting] = []
            verdicts: list[Verdict] = []
            for one in waiting:
                verdict = _judge_again(one, judgement, now) if bug is None else _poisoned(one.record)
                if isinstance(verdict, Deferred):
                    kept.append(one)
                else:
                    settled.append(one)
                    verdicts.append(verdict)
            again_at = now + timedelta(seconds=judgement.registry.limits.deferral_s)
            await quarantine.keep_deferred(tx, kept, version, now, again_at)
            await quarantine.drop_deferred(tx, settled)
            topic_ids = {one.record.topic: one.topic_id for one in settled}
            plan = await self._prepare(tx, judgement, verdicts, now, thorough=True, bug=bug)
            taken = await self.seal(tx, judgement, plan, now, topic_ids)
            failpoint.reach("deadlines.before_commit")
        failpoint.reach("deadlines.after_commit")
        await self.wake(taken)
        return taken

    async def fire_timers(self, now: datetime, limit: int) -> list[str]:
        """Let up to `limit` deadlines pass that are due; return the names of those that did.

        Raises RegistryChanged if the registry changed meanwhile.
        """
        return await self._isolate(self._fire_timers, now, limit)

    async def _fire_timers(self, now: datetime, limit: int, bug: str | None) -> list[str]:
        judgement = await self.judgement()
        async with self.database.transaction() as tx:
            due = await timers.read_due(tx, now, limit)
            if not due:
                return []
            if bug is not None:
                await timers.put_off(tx, due, now + POISON_TIMER_DELAY)
                return []
            codes = await case_store.lock_codes(tx, {read_timer_subject(*one)[0] for one in due})
            owners = {row.case_id for row in codes.values() if row.case_id is not None}
            held = await case_store.lock_cases(tx, owners)
            plan = Plan(fired=await timers.take_due(tx, now, due))
            self._let_pass(judgement, plan, held.values(), codes.values(), now)
            self.address_plan(judgement, plan, [])
            taken = await self.seal(tx, judgement, plan, now, {})
            failpoint.reach("deadlines.before_commit")
        failpoint.reach("deadlines.after_commit")
        await self.wake(taken)
        return [name for name, _ in plan.fired]

    def _let_pass(
        self, judgement: Judgement, plan: Plan, held: Iterable[Case], codes: Iterable[BillingCode], now: datetime
    ) -> None:
        """Judge what the deadlines that fired are about."""
        fired, passed = set(plan.fired), list_passed(plan.fired)
        occasion = judgement.occasion(passed)
        concerned = {row.code for row in codes if (BILL_TIMER, row.code) in fired or row.code in passed}
        owners = {row.case_id for row in codes if row.code in concerned}
        for case in held:
            if case.id in owners:
                step = advance(case, judgement.rulebook, judgement.log_name, now, occasion)
                plan.touched.append((CaseWork(case), step))
        for row in codes:
            if row.case_id is None and row.facts and ((UNMATCHED_TIMER, row.code) in fired or row.code in passed):
                step = advance_code(row, row.facts, False, timedelta(), now, occasion)
                plan.coded.append((CodeWork(row), step))

    async def heartbeat(self, now: datetime) -> int:
        """Say on every stream to a participant that it is alive; return how many there are."""
        judgement = await self.judgement()
        plan = Plan()
        for stream in judgement.routes.all_outputs():
            participant = stream.topic.removeprefix("to.")
            event = Event(HEARTBEAT, participant.upper(), participant, None, "", {})
            plan.outline.letters.append(Letter(event, (stream,)))
        async with self.database.transaction() as tx:
            taken = await self.seal(tx, judgement, plan, now, {})
        await self.wake(taken)
        return taken.outgoing

    async def wake(self, taken: Taken) -> None:
        """Tell the relay that there is something to send; outside the transaction, whose commit it would hold up."""
        if taken.outgoing:
            async with self.database.connection() as connection:
                await outbox.wake(connection)

    async def _prepare(
        self, tx: Connection, judgement: Judgement, verdicts: Sequence[Verdict], now: datetime, *,
        thorough: bool, bug: str | None = None,
    ) -> Plan:  # fmt: skip
        """Weigh a batch, and give what does not fit its disposition too; everything but the log's lock."""
        plan, unfit = await self.weigh(tx, judgement, verdicts, now, thorough=thorough)
        plan.deferred, overflow = await self._limit_deferred(tx, plan.deferred)
        unfit += overflow
        plan.parked = [Parked.of(one, bug, os.urandom(entry.SALT_BYTES)) for one in unfit]
        self.address_plan(judgement, plan, _refusals_of(unfit, judgement, len(plan.fresh)))
        return plan

    async def weigh(
        self, tx: Connection, judgement: Judgement, verdicts: Sequence[Verdict], now: datetime, *, thorough: bool
    ) -> tuple[Plan, list[Refused]]:
        """Sift, lock what the fresh messages touch, fold and decide; return what does not fit beside it."""
        admitted = [verdict for verdict in verdicts if isinstance(verdict, Admitted)]
        sifted = sift(verdicts, await inbox.recall(tx, admitted, thorough=thorough))
        failpoint.reach("intake.after_inbox")
        case_ids, codes = keys_for(sifted.fresh)
        code_rows = await case_store.lock_codes(tx, codes)
        case_ids.update(row.case_id for row in code_rows.values() if row.case_id is not None)
        case_rows = await case_store.lock_cases(tx, case_ids)
        failpoint.reach("intake.after_cases")
        gathered = gather(sifted.fresh, case_rows, code_rows)
        plan = Plan(gathered.fresh, gathered=gathered, deferred=sifted.deferred)
        plan.repeats = [*sifted.repeats, *gathered.repeats]
        occasion = judgement.occasion()
        for work in gathered.cases.values():
            step = advance(work.joined(), judgement.rulebook, judgement.log_name, now, occasion)
            plan.touched.append((work, step))
        unmatched = timedelta(seconds=judgement.registry.limits.unmatched_s)
        for waiting in gathered.codes.values():
            facts = [*waiting.row.facts, *waiting.fresh]
            plan.coded.append((waiting, advance_code(waiting.row, facts, True, unmatched, now, occasion)))
        return plan, [*sifted.unfit, *gathered.unfit]

    async def _limit_deferred(
        self, tx: Connection, deferred: Sequence[Deferred]
    ) -> tuple[list[Deferred], list[Refused]]:
        """Part what may wait from what is too much of one sender."""
        if not deferred:
            return [], []
        waiting = await quarantine.count_deferred(tx, sorted({one.record.topic for one in deferred}))
        kept: list[Deferred] = []
        refused: list[Refused] = []
        for one in deferred:
            waiting[one.record.topic] = waiting.get(one.record.topic, 0) + 1
            if waiting[one.record.topic] > DEFERRED_PER_TOPIC_MAX:
                refused.append(Refused(one.record, Code.DEFERRAL_LIMIT, "", one.participant, None))
            else:
                kept.append(one)
        return kept, refused

    def address_plan(self, judgement: Judgement, plan: Plan, others: Iterable[Receipted]) -> None:
        """Find out who receives what: originals, what the hub has to say, receipts of what is fresh or a repeat."""
        routes, outline = judgement.routes, plan.outline
        receipted: list[Receipted] = []
        for index, one in enumerate(plan.fresh, PROVISIONAL):
            envelope, sender = one.envelope, one.participant
            for stream in routes.of_original(envelope.type, sender, envelope.subject, envelope.data):
                outline.forwards.append(Forward(stream, envelope.subject, index))
            receipted.append(_receipt_of(one, index))
        for step in plan.steps():
            for event in step.events:
                outline.letters.extend(address(routes, event))
        outline.letters.extend(write_receipts(routes, [*receipted, *_receipts_of(plan.repeats), *others]))

    async def seal(
        self, tx: Connection, judgement: Judgement, plan: Plan, now: datetime, topic_ids: dict[str, str]
    ) -> Taken:
        """Take the log's lock, give everything its number, and write it all. Raises RegistryChanged."""
        await timers.apply(tx, plan.timers())
        outline = plan.outline
        places = outline.places()
        before = len(plan.fresh) + len(plan.parked) + len(plan.fired) + len(plan.actions)
        version = judgement.registry.version
        base = await log.reserve(tx, before + outline.recommendations(), judgement.stand)
        seqs = await log.reserve_places(tx, places)
        sealing = Sealing(judgement.registry, base, seqs, base + before, now, write_nonce)
        for forward in outline.forwards:
            sealing.forward(forward)
        for letter in outline.letters:
            sealing.place(letter)
        await inbox.remember(tx, plan.fresh, base, now, topic_ids)
        await inbox.note_causes(tx, plan.fresh, base)
        await case_store.save_codes(tx, _code_rows(plan, base), now)
        await case_store.save_cases(tx, _case_rows(plan, base), now)
        await differences.save(tx, [row for step in plan.steps() for row in step.differences], base)
        await quarantine.park(tx, plan.parked, base + len(plan.fresh), now, topic_ids)
        due_at = now + timedelta(seconds=judgement.registry.limits.deferral_s)
        await quarantine.defer(tx, [_deferred_row(one, topic_ids, version, now, due_at) for one in plan.deferred])
        await log.add_leaves(tx, base, [*_leaves_of(plan, now), *sealing.leaves])
        await log.add_outbox(tx, sealing.rows)
        taken = plan.taken(len(sealing.rows))
        taken.base = base
        return taken


def _poisoned(record: Record) -> Refused:
    return Refused(record, Code.POISON, "", None, None)


def _judge_again(waiting: Waiting, judgement: Judgement, now: datetime) -> Verdict:
    """Judge a deferred record by the registry of now; what it still does not know is refused when its time is up.

    What a suspended key signed has no such time: else one person could have it refused, which takes two.
    """
    verdict = admit(waiting.record, judgement.registry, judgement.roots)
    due = waiting.due_at <= now and isinstance(verdict, Deferred) and verdict.code is not Code.KEY_SUSPENDED
    return refuse_deferred(verdict) if due and isinstance(verdict, Deferred) else verdict


def _receipt_of(admitted: Admitted, index: int, code: Code | None = None) -> Receipted:
    envelope = admitted.envelope
    digest = base64url.encode(envelope.digest)
    return Receipted(admitted.participant, envelope.source, envelope.id, digest, code, index)


def _receipts_of(repeats: Iterable[Repeat]) -> list[Receipted]:
    """Return the receipts of repeats, which name the place of the first copy."""
    return [_receipt_of(admitted, index) for admitted, index in repeats]


def _refusals_of(unfit: Sequence[Refused], judgement: Judgement, fresh: int) -> list[Receipted]:
    """Return the receipts of refusals whose sender is known; their leaves follow those of `fresh` messages."""
    receipts = []
    for index, one in enumerate(unfit, PROVISIONAL + fresh):
        party = None if one.participant is None else judgement.registry.participant(one.participant)
        # Whoever publishes another's message again must not make the hub tell its author that it was refused.
        if party is None or not party.sources or one.record.topic != FROM_PREFIX + party.id:
            continue
        envelope = one.envelope
        # A source that is not the sender's own is not repeated to it as if it were.
        source = envelope.source if envelope is not None and envelope.source in party.sources else min(party.sources)
        identity = None if envelope is None else envelope.id
        digest = base64url.encode(sha256(one.record.value or b"").digest())
        receipts.append(Receipted(party.id, source, identity, digest, one.code, index))
    return receipts


def _case_rows(plan: Plan, base: int) -> list[CaseRow]:
    rows = []
    for work, step in plan.touched:
        stored = (work.case.stored, *(row.stored for row in work.claimed))
        personal, standing = None, None
        if work.personal:
            personal = case_store.write_json(work.case.personal | work.personal)
        if step.standing is not None and step.standing is not work.case.standing:
            settled = step.standing | {"basis": settle_entries(step.standing["basis"], base)}
            standing = case_store.write_json(settled)
        facts = case_store.join_facts(stored, work.fresh, base)
        told = case_store.write_json(step.told)
        rows.append(CaseRow(work.case.id, facts, personal, standing, told, step.rule_set))
    return rows


def _code_rows(plan: Plan, base: int) -> list[CodeRow]:
    """Return the codes that got facts, and those that a case took over, whose facts have gone with them."""
    claimed = [
        CodeRow(row.code, work.case.id, "[]", "{}") for work in plan.gathered.cases.values() for row in work.claimed
    ]
    return claimed + [
        CodeRow(
            work.row.code,
            None,
            case_store.join_facts([work.row.stored], work.fresh, base),
            case_store.write_json(step.told),
        )
        for work, step in plan.coded
    ]


def _leaves_of(plan: Plan, now: datetime) -> list[bytes]:
    """Return the evidence of everything but recommendations, in the order of its log indices."""
    accepted = (
        entry.accepted(
            source=one.envelope.source,
            id=one.envelope.id,
            type=one.envelope.type,
            digest=one.envelope.digest,
            kid=one.signature.kid,
            sig=one.signature.sig,
            received_at=now,
        )
        for one in plan.fresh
    )
    refused = (
        entry.refused(
            code=one.code,
            digest=entry.salted_digest(one.salt, one.record.value or b""),
            topic=one.record.topic,
            partition=one.record.partition,
            offset=one.record.offset,
            participant=one.participant,
            received_at=now,
            source=one.source,
            sequence=one.sequence,
        )
        for one in plan.parked
    )
    fired = (entry.timer(name=name, subject=subject, at=now) for name, subject in plan.fired)
    return [*accepted, *refused, *fired, *plan.actions]


def _deferred_row(
    one: Deferred, topic_ids: Mapping[str, str], version: int, now: datetime, due_at: datetime
) -> tuple[object, ...]:
    record = one.record
    return (
        topic_ids[record.topic], record.partition, record.offset, record.topic, record.key, record.value,
        quarantine.write_headers(record.headers), instant_of_ms(record.append_time_ms), now, str(one.code), one.detail,
        one.participant, version, due_at,
    )  # fmt: skip
