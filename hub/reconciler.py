"""What is done about money beside the cases: an operator closes a difference, and each banking day is reported.

A report is a function of the facts up to one place in the log. What comes later and changes a day's report makes a new
revision of it; nothing that was published is changed.
"""

import asyncio
import hashlib
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

import structlog
from jiter import from_json

from contracts.log import entry
from contracts.rules.clock import banking_day_before, banking_day_of, jakarta_day
from contracts.rules.daily_report import Scope
from contracts.rules.reconciliation import key_of
from hub import failpoint
from hub.desk import Desk, Plan
from hub.difference import CLOSE_DIFFERENCE, Closing, NotOpen
from hub.seal import address
from hub.step import REPORTED, CaseWork, CodeWork, Event, advance, advance_code
from hub.store import cases, differences

NO_WAIT = timedelta()
# After a long outage of the hub, or when money of many old days comes late, so many days of a bank are reported at
# once; an operator asks for older ones.
DAYS_AT_ONCE_MAX = 60

log = structlog.get_logger(__name__)


class NotABankingDay(ValueError):
    """Banks rest on this day, so that it has no report of its own; the message names the day that has."""


class NotABank(ValueError):
    """The registry knows no bank of this name."""


class Report(NamedTuple):
    """A report as it can be made now. `members` is what the bytes say; `log_size` the place in the log."""

    participant: str
    day: date
    log_size: int
    document: bytes
    members: dict[str, Any]

    @property
    def sha256(self) -> str:
        """The digest by which the report is published."""
        return hashlib.sha256(self.document).hexdigest()


class Published(NamedTuple):
    """A report, the revision under which it is published, and whether that is new."""

    report: Report
    revision: int
    new: bool


def check_day(day: date) -> date:
    """Return the day if banks work on it. Raises NotABankingDay."""
    following = banking_day_of(day)
    if following != day:
        raise NotABankingDay(f"{day} is no banking day: its money belongs to {following}.")
    return day


class Reconciler:
    """Closes differences and reports days."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def close(self, closing: Closing, actor: str, now: datetime) -> None:
        """Close a difference on an operator's word. Raises NotOpen, and then nothing has changed."""
        desk, identity = self._desk, closing.difference_id
        judgement = await desk.judgement()
        occasion = judgement.occasion(closing=closing)
        plan = Plan()
        async with desk.database.transaction() as tx:
            if not await differences.is_known(tx, identity):
                raise NotOpen(f"There is no difference {identity}.")
            (row,) = (await cases.lock_codes(tx, [key_of(identity)])).values()
            if row.case_id is None:
                facts = list(row.facts)
                plan.coded.append((CodeWork(row), advance_code(row, facts, False, NO_WAIT, now, occasion)))
            else:
                (case,) = (await cases.lock_cases(tx, [row.case_id])).values()
                step = advance(case, judgement.rulebook, judgement.log_name, now, occasion)
                plan.touched.append((CaseWork(case), step))
            leaf = {"action": CLOSE_DIFFERENCE, "subject": identity, "actor": actor, "reason": closing.statement}
            plan.actions.append(entry.operator_action(**leaf, at=now))
            desk.address_plan(judgement, plan, [])
            taken = await desk.seal(tx, judgement, plan, now, {})
            failpoint.reach("reconciler.before_close_commit")
        failpoint.reach("reconciler.after_close_commit")
        await desk.wake(taken)

    async def list_banks(self, chosen: str | None = None) -> list[str]:
        """Return the banks of the registry in force, or the one that is chosen. Raises NotABank."""
        registry = (await self._desk.judgement()).registry
        banks = sorted(party.id for party in registry.participants.values() if party.kind == "bank")
        if chosen is not None and chosen not in banks:
            raise NotABank(f"The registry knows no bank {chosen}.")
        return banks if chosen is None else [chosen]

    async def make(self, participant: str, day: date) -> Report:
        """Make a bank's report of a banking day from everything that is known now; nothing is kept or published."""
        registry = (await self._desk.judgement()).registry
        async with self._desk.database.snapshot() as connection:
            size = await differences.read_head(connection)
            scope = Scope(registry.environment, registry.log_origin, participant, check_day(day), size)
            document = await differences.make_document(connection, scope)
        return Report(participant, day, size, document, from_json(document))

    async def report(self, participant: str, day: date, now: datetime) -> Published:
        """Publish a bank's report of a banking day, unless the newest revision says the same."""
        desk = self._desk
        judgement = await desk.judgement()
        made = await self.make(participant, day)
        async with desk.database.transaction() as tx:
            last = await differences.read_last_report(tx, participant, day)
            if last is not None and says_the_same(last[1], made.members):
                return Published(made, last[0], new=False)
            revision = 1 if last is None else last[0] + 1
            kept = await differences.add_report(
                tx, participant, day, revision, made.log_size, now, made.sha256, made.document
            )
            if not kept:
                # Another process has just published this revision; what it says counts.
                return Published(made, revision, new=False)
            plan = Plan()
            plan.outline.letters.extend(address(judgement.routes, _reported(made, revision)))
            taken = await desk.seal(tx, judgement, plan, now, {})
            failpoint.reach("reconciler.before_report_commit")
        failpoint.reach("reconciler.after_report_commit")
        await desk.wake(taken)
        return Published(made, revision, new=True)

    async def catch_up(self, now: datetime) -> list[Published]:
        """Report every banking day that is over and not reported, and anew those that late messages changed."""
        over = banking_day_before(jakarta_day(now))
        banks = await self.list_banks()
        async with self._desk.database.snapshot() as connection:
            reported = await differences.read_reported(connection)
            first = await differences.read_first_day(connection)
            behind = [bank for bank in banks if bank not in reported or reported[bank].day < over]
            if not behind or first is None or first > over:
                return []
            since = min((reported[bank].log_size for bank in behind if bank in reported), default=0)
            touched = await differences.read_touched_days(connection, since)
        published = []
        for bank in behind:
            last = reported[bank].day if bank in reported else banking_day_before(first)
            days = {banking_day_of(day) for name, day in touched if name == bank} | set(_list_days(last, over))
            for day in _newest(bank, days, over):
                published.append(await self.report(bank, day, now))
                await asyncio.sleep(0)
        return published


def _newest(bank: str, days: Iterable[date], over: date) -> list[date]:
    """Return the newest DAYS_AT_ONCE_MAX of the days that are over, in their order; what is left out is told."""
    due = sorted(day for day in days if day <= over)
    if len(due) > DAYS_AT_ONCE_MAX:
        left_out = due[:-DAYS_AT_ONCE_MAX]
        log.warning("reconciler.days_left_out", bank=bank, count=len(left_out), first=str(left_out[0]))
    return due[-DAYS_AT_ONCE_MAX:]


def _list_days(last: date, over: date) -> Iterable[date]:
    """The banking days after `last` up to `over`, the newest DAYS_AT_ONCE_MAX of them."""
    day = over
    for _ in range(DAYS_AT_ONCE_MAX):
        if day <= last:
            return
        yield day
        day = banking_day_before(day)


def says_the_same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two reports differ in nothing but the size of the log they were made at."""
    return one | {"log_size": 0} == other | {"log_size": 0}


def _reported(report: Report, revision: int) -> Event:
    data = {
        "participant": report.participant,
        "day": report.day.isoformat(),
        "revision": revision,
        "log_size": report.log_size,
        "sha256": report.sha256,
        "totals": report.members["totals"],
        "differences_open": len(report.members["differences"]),
    }
    subject = report.participant.upper()
    return Event(REPORTED, subject, report.participant, None, report.sha256, data, report.participant)
