"""The hub's own overseer: follows the log, keeps a dossier of each application, and tells what is late or odd.

    inbox, recommendations --follow--> dossiers --look--> service times warned or breached, findings of one file,
                                                          the register of foreign workers, told to its grantees
                                                --judge_groups--> findings that many files show together

It only reads what was decided and changes nothing of it. A breach is dated by the clock, whenever it is noticed: what
everything slept through is told after the outage, with the moment at which it was so.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256

import structlog
from pydantic_core import to_json

from contracts.errors import Refusal
from contracts.events import read_event
from contracts.log import entry
from contracts.oversight.case_findings import judge_case
from contracts.oversight.clocks import ServiceTimeReading, read_clocks
from contracts.oversight.dossier import Dossier, fact_of_recommendation
from contracts.oversight.extract import Extract, extract
from contracts.oversight.group_findings import (
    judge_exemptions,
    judge_intermediary,
    judge_money,
    judge_queue,
    judge_worker,
)
from contracts.oversight.lead import EXEMPTION_ANOMALY, FAVOURED_INTERMEDIARY, Lead, Rules
from contracts.oversight.register import Registered, enter
from contracts.rules.case import BILLED, EXPLANATIONS, Fact, facts_of, keys_of
from contracts.rules.clock import end_of_day
from contracts.rules.rulebook import RuleSet
from contracts.wire.envelope import read_envelope
from contracts.wire.instant import write_instant
from hub import failpoint, register
from hub.desk import Desk, Judgement, Plan
from hub.listing import Listing, list_file
from hub.seal import address
from hub.step import Event
from hub.store import audit, dossiers, files
from hub.store.database import BROKEN, TRANSIENT, Connection
from hub.store.dossiers import Awake, Looked, Said

WARNED = "id.tka.hub.sla.warning.v1"
BREACHED = "id.tka.hub.sla.breached.v1"
HUB = "hub"
ENTRIES_PER_STEP_MAX = 1_000
NAME_BYTES = 16
SMALL_GROUPS = frozenset(("money", "worker"))
# A file that a bug chokes on is looked at again after a while, when the bug may be repaired.
POISON_DELAY = timedelta(hours=1)
_INSTANT = timedelta(microseconds=1)

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class News:
    """What a look comes to: by scope the leads that stand now, what lists show, the service times that are news.

    `entries` are those of the register that were looked at, `shared` what its grantees are told of them.
    """

    leads: dict[str, list[Lead]] = field(default_factory=dict)
    listings: list[Listing] = field(default_factory=list)
    late: list[tuple[ServiceTimeReading, str, RuleSet]] = field(default_factory=list)
    entries: list[Registered] = field(default_factory=list)
    shared: list[Event] = field(default_factory=list)


class Overseer:
    """Follows the log; each step is a transaction of its own."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def wake_unlisted(self, now: datetime) -> None:
        """Let the dossiers be looked at that a hub left which kept no lists."""
        async with self._desk.database.connection() as connection:
            await dossiers.wake_unlisted(connection, now, now + POISON_DELAY)

    async def follow(self, now: datetime) -> int:
        """Put the next stretch of the log into the dossiers; return how many entries that was."""
        async with self._desk.database.transaction() as tx:
            start, end = await dossiers.read_stretch(tx, ENTRIES_PER_STEP_MAX)
            if start == end:
                return 0
            fresh, claims = _sort(await dossiers.read_said(tx, start, end))
            for index, value in await dossiers.read_recommended(tx, start, end):
                envelope = read_envelope(value)
                fresh[envelope.subject].append(fact_of_recommendation(envelope, HUB, index))
            held = await dossiers.lock(tx, {*fresh, *claims.values(), *claims})
            for code, case in claims.items():
                # What waited under a billing code belongs to the case that was billed with it.
                fresh[case] += held[code] + fresh.pop(code, [])
                held[code] = []
            changed = {subject: held[subject] + fresh.get(subject, []) for subject in (*fresh, *claims)}
            await dossiers.save_facts(tx, changed, now)
            await dossiers.move(tx, end)
            failpoint.reach("deadlines.before_commit")
        return end - start

    async def look(self, now: datetime, limit: int) -> int:
        """Look at up to `limit` dossiers that have changed or whose time has come; return how many."""
        judgement = await self._desk.judgement()
        async with self._desk.database.transaction() as tx:
            awake = await dossiers.lock_awake(tx, now, limit)
            if not awake:
                return 0
            rules = await _read_rules(tx)
            news = News()
            looked = [_look_safely(one, rules, now, news) for one in awake]
            await dossiers.save_looked(tx, looked)
            await files.save(tx, news.listings)
            await dossiers.touch_groups(tx, (name for one in looked for name in one.groups))
            news.shared = await register.keep(tx, judgement.registry, news.entries, now)
            await self._tell(tx, judgement, news, now)
            failpoint.reach("deadlines.before_commit")
        return len(awake)

    async def judge_groups(self, now: datetime, limit: int) -> int:
        """Judge up to `limit` groups whose files have changed; return how many."""
        judgement = await self._desk.judgement()
        async with self._desk.database.transaction() as tx:
            names = await dossiers.take_groups(tx, limit)
            if not names:
                return 0
            rules = await _read_rules(tx)
            news, bench = News(), _Bench(tx, rules)
            await bench.gather(names)
            for name in names:
                news.leads[name] = await bench.judge(name)
            await self._tell(tx, judgement, news, now)
            failpoint.reach("deadlines.before_commit")
        return len(names)

    async def share_register(self, now: datetime, limit: int) -> int:
        """Tell whoever was newly granted a part of the register its next stretch; return how many entries that was."""
        judgement = await self._desk.judgement()
        async with self._desk.database.transaction() as tx:
            shared, count = await register.catch_up(tx, judgement.registry, now, limit)
            await self._tell(tx, judgement, News(shared=shared), now)
            failpoint.reach("deadlines.before_commit")
        return count

    async def _tell(self, tx: Connection, judgement: Judgement, news: News, now: datetime) -> None:
        """Log and send what is news: service times as events, findings by a salted digest alone."""
        plan = Plan()
        for event in news.shared:
            plan.outline.letters.extend(address(judgement.routes, event))
        for reading, state, rule_set in news.late:
            plan.actions.append(_leaf_of(reading, state, now))
            plan.outline.letters.extend(address(judgement.routes, _event_of(reading, state, rule_set)))
        opened, closed = await _compare(tx, news)
        first = len(plan.actions)
        written = [(scope, lead, _write(lead), os.urandom(entry.SALT_BYTES)) for scope, lead in opened]
        names = [os.urandom(NAME_BYTES).hex() for _ in written]
        for name, (_, _, text, salt) in zip(names, written, strict=True):
            plan.actions.append(entry.finding(name=name, state="open", digest=_digest(salt, text), at=now))
        for one in closed:
            digest = _digest(one.salt, one.lead)
            plan.actions.append(entry.finding(name=one.name, state="closed", digest=digest, at=now))
        if not plan.actions and not plan.outline.letters:
            return
        taken = await self._desk.seal(tx, judgement, plan, now, {})
        # The log's lock is held: its entries end with these.
        base = int(await tx.fetchval(dossiers.READ_HEAD)) - len(plan.actions) + first
        revisions = await dossiers.read_revisions(tx, {lead.id for _, lead in opened})
        for place, (name, (scope, lead, text, salt)) in enumerate(zip(names, written, strict=True), base):
            await dossiers.add_finding(
                tx, lead.id, revisions.get(lead.id, 0) + 1, scope, lead.finding, lead.subject, lead.rule_set, text,
                name, salt, now, place,
            )  # fmt: skip
        for place, one in enumerate(closed, base + len(names)):
            await dossiers.close_finding(tx, one.number, now, place)
        if taken.outgoing:
            await self._desk.wake(taken)


async def _read_rules(connection: Connection) -> Rules:
    read = await audit.read_rule_sets(connection)
    return Rules([(index, RuleSet.read(document.encode())) for index, document in read])


def _sort(said: Iterable[Said]) -> tuple[defaultdict[str, list[Fact]], dict[str, str]]:
    """Part messages by the dossier that they belong to; also return which case each bill among them names."""
    fresh: defaultdict[str, list[Fact]] = defaultdict(list)
    claims: dict[str, str] = {}
    for one in said:
        fact = None if one.type in EXPLANATIONS else _read_fact(one)
        if fact is None:
            continue
        keys = keys_of(one.type, one.subject, fact.data)
        subject = keys.case or one.case or claims.get(one.subject) or one.subject
        fresh[subject].append(fact)
        if one.type == BILLED and keys.billing_code is not None:
            claims[keys.billing_code] = subject
    return fresh, claims


def _read_fact(one: Said) -> Fact | None:
    """Return the fact of a message; None where its original was erased, or is of a contract not known here."""
    if one.value is None:
        return one.read_erased()
    envelope = read_envelope(one.value)
    try:
        event = read_event(envelope.type, envelope.data, envelope.subject)
    except Refusal:
        return None
    return facts_of(envelope, event, one.participant, one.log_index)


def _look_safely(one: Awake, rules: Rules, now: datetime, news: News) -> Looked:
    """Look at a dossier; one that a bug chokes on must not keep the others waiting."""
    try:
        return _look(one, rules, now, news)
    except (*BROKEN, *TRANSIENT):
        raise
    except Exception as error:  # noqa: BLE001  # Whatever it is, it concerns this file alone.
        log.error("overseer.poison", kind=type(error).__name__)
        return Looked(one.subject, one.told, one.groups, now + POISON_DELAY, listed=False)


def _look(one: Awake, rules: Rules, now: datetime, news: News) -> Looked:
    dossier = Dossier(one.subject, one.facts)
    judged = judge_case(dossier, rules, now)
    wakes = [judged.wakes_at]
    told = dict(one.told)
    rule_set = dossier.rule_set(rules.book)
    late: list[tuple[ServiceTimeReading, str, RuleSet]] = []
    extracted: Extract | None = None
    if rule_set is not None:
        extracted = extract(dossier, rule_set)
        for reading in read_clocks(dossier, rule_set):
            wanted = _states(reading, now)
            late += [(reading, state, rule_set) for state in wanted[len(told.get(reading.name, "").split()) :]]
            if wanted and len(wanted) > len(told.get(reading.name, "").split()):
                told[reading.name] = " ".join(wanted)
            wakes += [
                moment + _INSTANT
                for moment in (reading.warns_at, reading.breached_at)
                if moment is not None and moment >= now and reading.ended_at is None
            ]
    entry_in_register = enter(dossier)
    if entry_in_register is not None:
        news.entries.append(entry_in_register)
        wakes += _turns(entry_in_register, now)
    listing = list_file(dossier, rules.book, now)
    if listing is not None:
        wakes.append(listing.wakes_at)
        news.listings.append(listing)
    news.leads[f"case:{one.subject}"] = judged.leads
    news.late += late
    groups = [] if extracted is None else extracted.keys
    return Looked(one.subject, told, groups, min((at for at in wakes if at is not None), default=None), listed=True)


def _turns(registered: Registered, now: datetime) -> list[datetime]:
    """The moments to come at which a permit comes into force, and is no longer."""
    days = (registered.from_, registered.last_day)
    return [moment for day in days if (moment := end_of_day(day - timedelta(days=1))) > now]


def _states(reading: ServiceTimeReading, now: datetime) -> list[str]:
    """What there is to tell of a clock: that it warned, and that it was breached, in this order."""
    breached = reading.state(now) == "breached"
    return ["warned"] * (breached or reading.warned(now)) + ["breached"] * breached


def _leaf_of(reading: ServiceTimeReading, state: str, now: datetime) -> bytes:
    passed_at = reading.warns_at if state == "warned" else reading.breached_at
    return entry.service_time(
        application=reading.application, clock=reading.clock, state=state, holder=reading.holder, unit=reading.unit,
        started_at=reading.started_at, due_on=str(reading.due_on), passed_at=passed_at or now, at=now,
    )  # fmt: skip


def _event_of(reading: ServiceTimeReading, state: str, rule_set: RuleSet) -> Event:
    data = {
        "application": reading.application,
        "clock": reading.clock,
        "holder": reading.holder,
        "unit": reading.unit,
        "started_at": write_instant(reading.started_at),
        "due_on": str(reading.due_on),
        "rule_set": {"id": rule_set.id, "version": rule_set.version, "sha256": rule_set.sha256},
    }
    digest = sha256(reading.name.encode()).hexdigest()
    kind = WARNED if state == "warned" else BREACHED
    return Event(kind, reading.application, reading.application, reading.started_by.id, digest, data)


class _Bench:
    """Judges the files of groups beside each other; what several groups of one step need is read once."""

    def __init__(self, connection: Connection, rules: Rules) -> None:
        self._connection = connection
        self._rules = rules
        self._units: dict[str, list[Extract]] = {}
        self._small: dict[str, list[Extract]] = {}

    async def gather(self, names: Iterable[str]) -> None:
        """Read the groups of a file or two, which are most, in one go."""
        self._small = {name: [] for name in names if name.partition(":")[0] in SMALL_GROUPS}
        for file in await self._read(self._small):
            for name in self._small.keys() & set(file.keys):
                self._small[name].append(file)

    async def judge(self, name: str) -> list[Lead]:
        """Judge one group, which is a kind of group, a colon, and whose it is."""
        kind, _, of = name.partition(":")
        files = self._small[name] if name in self._small else await self._read([name])
        if kind == "money":
            return list(judge_money(of, files, self._rules))
        if kind == "worker":
            return list(judge_worker(files, self._rules))
        if kind == "unit":
            return list(judge_queue(files, self._rules))
        if kind == "intermediary":
            return await self._judge_intermediary(files)
        return await self._judge_official(of, files)

    def _least(self, files: Iterable[Extract], finding: str, threshold: str) -> int | None:
        """The smallest number from which on a finding is looked for among these files; None if it never is."""
        found = (self._rules.find(file.rule_set, finding) for file in files)
        return min((rule.thresholds[threshold] for rule in found if rule is not None), default=None)

    async def _judge_intermediary(self, files: Sequence[Extract]) -> list[Lead]:
        """Compare an intermediary's files with those of their units, if any official decided enough of them."""
        most = max(Counter(file.official for file in files if file.decided_at is not None).values(), default=0)
        least = self._least(files, FAVOURED_INTERMEDIARY, "decisions")
        if least is None or most < least:
            return []
        for unit in {file.unit for file in files} - self._units.keys():
            self._units[unit] = await self._read([f"unit:{unit}"])
        return list(judge_intermediary(files, self._units, self._rules))

    async def _judge_official(self, official: str, files: Sequence[Extract]) -> list[Lead]:
        """Compare an official's exemptions with the nation's, if there are enough of them to be compared at all."""
        granted = [file for file in files if file.exempted_by == official]
        least = self._least(granted, EXEMPTION_ANOMALY, "exemptions")
        if least is None or len(granted) < least:
            return []
        everything = [
            taken
            async for subject, facts in dossiers.stream_all(self._connection)
            if (taken := _extract(Dossier(subject, facts), self._rules)) is not None
        ]
        return [lead for lead in judge_exemptions(everything, self._rules) if lead.subject == official]

    async def _read(self, names: Collection[str]) -> list[Extract]:
        read = await dossiers.read_groups(self._connection, names) if names else []
        extracts = (_extract(Dossier(subject, facts), self._rules) for subject, facts in read)
        return [one for one in extracts if one is not None]


def _extract(dossier: Dossier, rules: Rules) -> Extract | None:
    rule_set = dossier.rule_set(rules.book)
    return None if rule_set is None else extract(dossier, rule_set)


async def _compare(connection: Connection, news: News) -> tuple[list[tuple[str, Lead]], list[dossiers.OpenFinding]]:
    """Return the leads that are not open yet, each with its scope, and the open findings that nothing shows now."""
    if not news.leads:
        return [], []
    known = await dossiers.read_open(connection, news.leads)
    stands = {lead.id for leads in news.leads.values() for lead in leads}
    is_open = {one.id for one in known}
    opened: dict[str, tuple[str, Lead]] = {}
    for scope, leads in news.leads.items():
        for lead in leads:
            if lead.id not in is_open:
                opened.setdefault(lead.id, (scope, lead))
    return list(opened.values()), [one for one in known if one.id not in stands]


def _write(lead: Lead) -> str:
    return to_json(lead.to_json() | {"since": write_instant(lead.since)}).decode()


def _digest(salt: bytes, text: str) -> bytes:
    return entry.salted_digest(salt, text.encode())
