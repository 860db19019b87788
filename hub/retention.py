"""What goes after its time, what never goes and why, and the door that stays shut for a replay.

    stretches    the intake's stretches of offsets are joined: together they tile each partition as before, and the
                 watermark, which alone says what was consumed, is not touched
    quarantine   the bytes of refused records go: personal data that nobody decides on. Code, place and digest stay, so
                 that a record that comes again is known for the repeat that it is
    attempts     a month of attempts to sign in goes with its partition: the only table that strangers can fill

What says that a message was there before, its identity, digest and number in the inbox, never goes; so a message of
any age is either refused as expired or recognised. Only an order of two persons takes an original out (hub/erasure.py).
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from typing import Final, NamedTuple

import asyncpg
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_fixed

from contracts.log import entry
from hub.desk import Desk, Plan
from hub.store import retention
from hub.store.database import Connection, Database
from hub.store.retention import Size, name_month

ACTION: Final = "retention"
STRETCHES_KEPT_DAYS = 30
# Longer than any message may travel: limits.expiry_days_max of the registry, if that is more, counts instead.
QUARANTINE_KEPT_DAYS = 400
# Whole months behind the current one; the limits on attempts look back for a quarter of an hour.
ATTEMPTS_KEPT_MONTHS = 13
MONTHS_AHEAD = 3
ROWS_PER_STEP_MAX = 500
STEPS_MAX = 1_000_000
LOCK_TRIES_MAX = 5
BETWEEN_TRIES_S = 0.2

EVIDENCE: Final = "It is evidence: the log, its signatures, or what both are checked with."
REPAIRED: Final = "It says what operators did about a refused message, which the log has by a digest alone."
DEDUPLICATION: Final = "It says what was there before. Without it a message could be taken twice."
DECISIONS: Final = "Decisions are made from it, and overseers compute them again."
#: Why a table keeps every row, by table.
KEPT: Final[Mapping[str, str]] = {
    **dict.fromkeys(("leaves", "tree", "tiles", "checkpoints", "cosignatures", "log"), EVIDENCE),
    **dict.fromkeys(("registry", "suspensions", "rule_sets", "contracts", "erasures", "lost_acknowledged"), EVIDENCE),
    **dict.fromkeys(("day_counts", "count_statements", "lookups", "lookup_days"), EVIDENCE),
    **dict.fromkeys(("repair_actions", "repairs", "repair_items", "sent_back", "corrections"), REPAIRED),
    **dict.fromkeys(("inbox", "watermark", "source_sequences"), DEDUPLICATION),
    **dict.fromkeys(("cases", "billing_codes", "differences", "reconciliation_reports"), DECISIONS),
    **dict.fromkeys(("dossiers", "oversight_position", "findings", "register", "register_grants"), DECISIONS),
    **dict.fromkeys(("files", "monthly_statistics"), DECISIONS),
    "register_shared": "It says what each grantee was told last, which has to be taken back one day.",
    **dict.fromkeys(
        ("outbox", "outbox_signature"),
        "It is the archive of the streams: whoever was away reads it, from its beginning.",
    ),
    **dict.fromkeys(("streams", "relay_position"), "One row for each stream: no place may ever say two things."),
    "accounts": "Who was allowed in stays known. Accounts are disabled, not deleted.",
    "clients": "Which machines were allowed in stays known. Clients are disabled, not deleted.",
    "alembic_version": "One row.",
    **dict.fromkeys(("api_secret", "schema_floor"), "One row."),
}
#: What keeps a table small without anybody's doing, by table.
SMALL: Final[Mapping[str, str]] = {
    "deferred": "Each leaves with its decision; a participant's share is limited.",
    "timers": "Each goes when it fires.",
    "dossier_groups": "Each goes when it was judged.",
    "assertions": "The deadlines forget each when it has expired.",
    "access_tokens": "The deadlines forget each when it has expired.",
    "answers": "The deadlines forget each after a day.",
    "sessions": "Each sign-in forgets those that are over.",
}


class Row(NamedTuple):
    """A table: its size, what happens to it, how much of it would go now, and why so."""

    table: str
    bytes: int
    rows: int
    rule: str
    goes: int
    why: str


class Cutoffs(NamedTuple):
    """Before when what goes; `attempts` is the first day of a month."""

    stretches: datetime
    quarantine: datetime
    attempts: date

    @property
    def attempts_at(self) -> datetime:
        """The first instant that is kept."""
        return datetime.combine(self.attempts, time(), UTC)


class Plans(NamedTuple):
    """What would go now: rows to be joined, records to be emptied, months to be dropped, attempts without a month."""

    stretches: int
    parked: int
    months: list[str]
    rest: int

    def __bool__(self) -> bool:
        return any(self)


class BusyElsewhere(Exception):
    """Somebody else applies the retention, or holds attempts for too long. Nothing is half done."""


def add_months(first: date, months: int) -> date:
    """Return the first day of the month so many months later."""
    count = first.year * 12 + first.month - 1 + months
    return date(count // 12, count % 12 + 1, 1)


def find_cutoffs(now: datetime, expiry_days_max: int) -> Cutoffs:
    """Return before when what goes, by the registry's limit on how long a message may travel."""
    quarantine_days = max(QUARANTINE_KEPT_DAYS, expiry_days_max)
    return Cutoffs(
        now - timedelta(days=STRETCHES_KEPT_DAYS),
        now - timedelta(days=quarantine_days),
        add_months(now.date().replace(day=1), -ATTEMPTS_KEPT_MONTHS),
    )


async def plan(connection: Connection, cutoffs: Cutoffs) -> Plans:
    """Count what would go; nothing is changed."""
    kept_from = name_month(cutoffs.attempts)
    months = [name for name in await retention.read_months(connection) if name < kept_from]
    return Plans(
        await retention.count_stretches(connection, cutoffs.stretches),
        await retention.count_parked(connection, cutoffs.quarantine),
        months,
        await retention.count_rest(connection, cutoffs.attempts_at),
    )


def describe(sizes: list[Size], planned: Plans, cutoffs: Cutoffs) -> list[Row]:
    """Return every table with its rule, the largest first."""
    rules = {
        "watermark_interval": (
            f"joined before {cutoffs.stretches:%Y-%m-%d}", planned.stretches, "Joined, they say the same."),
        "quarantine": (
            f"bytes go before {cutoffs.quarantine:%Y-%m-%d}", planned.parked,
            "Nobody decides on a refused record after that. Code, place and digest stay."),
        "attempts": (
            f"months go before {cutoffs.attempts:%Y-%m}", len(planned.months) + planned.rest,
            "Sign-ins are looked into within a year."),
    }  # fmt: skip
    rows = []
    for table, size, count in sizes:
        if table in rules:
            rule, goes, why = rules[table]
        elif table in SMALL:
            rule, goes, why = "small by itself", 0, SMALL[table]
        else:
            rule, goes, why = "never goes", 0, KEPT.get(table, "Nothing says that it may go.")
        rows.append(Row(table, size, count, rule, goes, why))
    return rows


async def look(database: Database, expiry_days_max: int, now: datetime) -> list[Row]:
    """Return every table with its size, its rule and what would go now."""
    cutoffs = find_cutoffs(now, expiry_days_max)
    async with database.snapshot() as connection:
        return describe(await retention.read_sizes(connection), await plan(connection, cutoffs), cutoffs)


async def apply(desk: Desk, actor: str, reason: str, now: datetime) -> Plans:
    """Let go what may go, as the database's owner; a leaf of the log says first who did it, why, and how much it was.

    Killed at any moment it has done part of it, and goes on when it is given again. Raises BusyElsewhere.
    """
    judgement = await desk.judgement()
    cutoffs = find_cutoffs(now, judgement.registry.limits.expiry_days_max)
    async with desk.database.snapshot() as connection:
        planned = await plan(connection, cutoffs)
    if planned:
        what = f"{planned.stretches} stretches, {planned.parked} refused, {len(planned.months)} months, {planned.rest}"
        leaf = {"action": ACTION, "subject": f"retention/{what.replace(' ', '_')}", "actor": actor, "reason": reason}
        sealing = Plan()
        sealing.actions.append(entry.operator_action(**leaf, at=now))
        async with desk.database.transaction() as tx:
            taken = await desk.seal(tx, judgement, sealing, now, {})
        await desk.wake(taken)
    await _join_all(desk.database, cutoffs.stretches)
    await _repeat(
        desk.database, lambda tx: retention.empty_parked(tx, cutoffs.quarantine, now, ROWS_PER_STEP_MAX)
    )  # fmt: skip
    await _repeat(desk.database, lambda tx: retention.forget_rest(tx, cutoffs.attempts_at, ROWS_PER_STEP_MAX))
    await _keep_months(desk.database, cutoffs, now)
    return planned


async def _step(database: Database, work: Callable[[Connection], Awaitable[int]]) -> int:
    """Do a step in a transaction of its own. Raises BusyElsewhere."""
    async with database.transaction() as tx:
        if not await retention.begin_step(tx):
            raise BusyElsewhere("Somebody else applies the retention just now.")
        return await work(tx)


async def _repeat(database: Database, work: Callable[[Connection], Awaitable[int]]) -> None:
    for _ in range(STEPS_MAX):
        if await _step(database, work) < ROWS_PER_STEP_MAX:
            return
        # Others come first: this is in no hurry.
        await asyncio.sleep(0)


async def _join_all(database: Database, before: datetime) -> None:
    async with database.connection() as connection:
        places = await retention.read_partitions(connection)
    for place in places:
        start: int | None = 0
        while start is not None:
            async with database.transaction() as tx:
                if not await retention.begin_step(tx):
                    raise BusyElsewhere("Somebody else applies the retention just now.")
                _, start = await retention.join_stretches(tx, place, before, start, ROWS_PER_STEP_MAX)


async def _keep_months(database: Database, cutoffs: Cutoffs, now: datetime) -> None:
    """Make the partitions of the next months, and drop those whose time is over."""
    async with database.connection() as connection:
        there = await retention.read_months(connection)
    current = now.date().replace(day=1)
    for ahead in range(1, MONTHS_AHEAD + 1):
        first = add_months(current, ahead)
        if name_month(first) not in there:
            await _alter(database, partial(retention.add_month, first=first, behind=add_months(first, 1)))
    for name in there:
        if name < name_month(cutoffs.attempts):
            await _alter(database, partial(retention.drop_month, name=name))


async def _alter(database: Database, work: Callable[[Connection], Awaitable[None]]) -> None:
    """Change the partitions, giving up a lock that does not come, rather than let sign-ins queue behind the wait."""
    patience = AsyncRetrying(
        stop=stop_after_attempt(LOCK_TRIES_MAX),
        wait=wait_fixed(BETWEEN_TRIES_S),
        retry=retry_if_exception_type(asyncpg.LockNotAvailableError),
        reraise=True,
    )
    try:
        async for attempt in patience:
            with attempt:
                async with database.transaction() as tx:
                    if not await retention.begin_step(tx):
                        raise BusyElsewhere("Somebody else applies the retention just now.")
                    await work(tx)
    except asyncpg.LockNotAvailableError:
        raise BusyElsewhere("Somebody holds the table of attempts for too long: give it again later.") from None
