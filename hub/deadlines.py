"""The clock's door: what happens because time has passed, or because the registry has learnt something.

    deferred    judged again when the registry's version rose; refused with their code when their time is up
    timers      a payment nobody billed, a bill that ran out, money that one channel alone reports after the bank's
                days: each firing is a logged fact of its own
    reports     each banking day that is over, for each bank
    heartbeats  on every stream to a participant, so that silence can be told from having nothing to say
    sequences   how far each source is complete
    dossiers    the log is followed: service times that warn or ran out, findings opened and closed, the register
    register    whoever was newly granted a part of the register of foreign workers is told of it
    months      each month that is over is counted once, the running one now and then
    counts      what each participant said in each day that is over, and whether it counts the same
    look-ups    the record of each day that is over gets its root in the log
    repairs     what operators ask of refused messages is judged and carried out
    losses      what was lost to retention and nobody has acknowledged is shown
    assertions  forgotten once their own expiry refuses them, as are access tokens and kept answers

One process acts at a time, by an advisory lock. That only saves work: each duty is a transaction that takes its rows.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import datetime

import structlog
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from tenacity import RetryCallState

from hub import losses, metrics
from hub.clock import utc_now
from hub.counts import DayCounter
from hub.desk import Desk
from hub.health import Health
from hub.lookup_days import DayCloser
from hub.overseer import Overseer
from hub.reconciler import Reconciler
from hub.repairs import Repairs
from hub.statistics import MonthKeeper
from hub.store import answers, assertions, clients, counts, differences, sequences
from hub.store.election import SESSION_ERRORS, Election, pause, stand_until
from hub.store.log import RegistryChanged
from hub.store.losses import list_losses

GROUP = "deadlines"
LOST = "lost to retention"
COUNTS = "daily counts"
TICK_S = 0.5
FORGET_EVERY_S = 60.0
SEQUENCES_EVERY_S = 5.0
REPORTS_EVERY_S = 60.0
LOSSES_EVERY_S = 5.0
DOSSIERS_EVERY_S = 1.0
GROUPS_EVERY_S = 300.0
REGISTER_EVERY_S = 5.0
COUNTS_EVERY_S = 5.0
MONTHS_EVERY_S = 0.5
LOOKUPS_EVERY_S = 60.0
LOOKUP_DAYS_PER_STEP_MAX = 20
CORRECTIONS_EVERY_S = 2.0
BATCH_MAX = 500
# A dossier costs a fraction of a millisecond, a group of a whole unit a second: heartbeats must not wait for them.
DOSSIERS_PER_STEP_MAX = 200
GROUPS_PER_STEP_MAX = 20
# A tick ends after so many batches, so that a heap of one kind does not keep the other duties waiting.
BATCHES_PER_TICK_MAX = 20
SEQUENCE_STEP_MAX = 50_000

log = structlog.get_logger(__name__)


class Duty:
    """Something to do every so often. It fails alone: the other duties go on."""

    def __init__(self, name: str, every_s: float, work: Callable[[datetime], Awaitable[None]]) -> None:
        self.name = name
        self.every_s = every_s
        self._work = work
        self._due = 0.0

    async def fulfil(self, clock_s: float, health: Health) -> None:
        """Work if it is time to. Errors of the session go up, since they concern all duties."""
        if clock_s < self._due:
            return
        part = f"deadlines: {self.name}"
        try:
            await self._work(utc_now())
        except SESSION_ERRORS:
            raise
        except RegistryChanged:
            # The next tick judges by the registry that has just come into force.
            return
        except Exception as error:  # noqa: BLE001  # A defect in one duty must not stop the heartbeats.
            if health.report(part, f"Failed with {type(error).__name__}."):
                log.error("deadlines.defect", duty=self.name, kind=type(error).__name__)
        else:
            health.clear(part)
        self._due = clock_s + self.every_s


class Deadlines:
    """Watches the clocks while it leads."""

    def __init__(self, desk: Desk, dsn: str, health: Health, oversight_key: X25519PublicKey | None = None) -> None:
        self._desk = desk
        self._day_closer = DayCloser(desk, oversight_key)
        self._dsn = dsn
        self._health = health
        self._months = MonthKeeper(desk.database)

    async def run(self, stop: asyncio.Event) -> None:
        """Act until `stop` is set, through every outage of the database."""
        await stand_until(stop, self._stand, SESSION_ERRORS, self._report)

    def _report(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        kind = type(error).__name__
        if self._health.report("deadlines", f"The database does not answer: {kind}."):
            log.warning("deadlines.session_lost", reason=kind)

    async def _stand(self, stop: asyncio.Event) -> None:
        election = await Election.open(self._dsn, GROUP)
        try:
            while not stop.is_set() and not await election.win(GROUP):
                self._health.clear("deadlines")
                await pause(stop, TICK_S)
            if not stop.is_set():
                metrics.DEADLINES_LEADING.set(1)
                log.info("deadlines.leading")
                await self._lead(election, stop)
        finally:
            metrics.DEADLINES_LEADING.set(0)
            # Whoever leads next shows them; what is shown here would grow old.
            metrics.LOST_UNACKNOWLEDGED.clear()
            metrics.COUNTS_DIFFERING.clear()
            self._health.note(LOST, None)
            self._health.note(COUNTS, None)
            await election.close()

    async def _lead(self, election: Election, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        duties = [
            Duty("deferred records", 0.0, self._retry),
            Duty("timers", 0.0, self._fire),
            Duty("repairs", 0.0, self._repair),
            Duty("corrections", CORRECTIONS_EVERY_S, self._note_corrections),
            Duty("heartbeats", (await self._desk.judgement()).registry.limits.heartbeat_s, self._beat),
            Duty("sequences", SEQUENCES_EVERY_S, self._follow_sequences),
            Duty("reports", REPORTS_EVERY_S, self._report_days),
            Duty("dossiers", DOSSIERS_EVERY_S, self._keep_dossiers),
            Duty("register", REGISTER_EVERY_S, self._share_register),
            Duty("groups of files", GROUPS_EVERY_S, self._judge_groups),
            Duty("months", MONTHS_EVERY_S, self._keep_months),
            Duty("counts", COUNTS_EVERY_S, self._count_days),
            Duty("look-ups", LOOKUPS_EVERY_S, self._close_lookups),
            Duty("losses", LOSSES_EVERY_S, self._show_losses),
            Duty("assertions", FORGET_EVERY_S, self._forget_assertions),
        ]
        await Overseer(self._desk).wake_unlisted(utc_now())
        while not stop.is_set():
            # A leader that lost its lock while it was frozen stands back.
            await election.confirm()
            for duty in duties:
                await duty.fulfil(loop.time(), self._health)
            self._health.clear("deadlines")
            await pause(stop, TICK_S)

    async def _retry(self, now: datetime) -> None:
        for _ in range(BATCHES_PER_TICK_MAX):
            taken = await self._desk.retry_deferred(now, BATCH_MAX)
            refused = sum(taken.refused.values())
            for disposition, count in (
                ("accepted", taken.accepted),
                ("duplicate", taken.duplicate),
                ("refused", refused),
            ):
                metrics.DEADLINES_RETRIED.labels(disposition).inc(count)
            if not taken.accepted + taken.duplicate + refused:
                return

    async def _fire(self, now: datetime) -> None:
        for _ in range(BATCHES_PER_TICK_MAX):
            fired = await self._desk.fire_timers(now, BATCH_MAX)
            for name in fired:
                metrics.DEADLINES_FIRED.labels(name).inc()
            if len(fired) < BATCH_MAX:
                return

    async def _repair(self, now: datetime) -> None:
        desk = Repairs(self._desk)
        for _ in range(BATCHES_PER_TICK_MAX):
            action = await desk.settle(now)
            if action is None:
                break
            metrics.REPAIR_ACTIONS.labels(action.verb, action.outcome).inc()
            log.info("deadlines.repair_action", action=action.id, verb=action.verb, outcome=action.outcome)
        for _ in range(BATCHES_PER_TICK_MAX):
            carried = await desk.carry_on(now)
            if carried is None:
                return
            metrics.REPAIR_MESSAGES.inc(carried.messages)
            log.info("deadlines.repaired", repair=carried.repair_id, messages=carried.messages)

    async def _note_corrections(self, now: datetime) -> None:
        corrected = await Repairs(self._desk).note_corrections(now)
        if corrected:
            log.info("deadlines.corrected", messages=corrected)

    async def _beat(self, now: datetime) -> None:
        await self._desk.heartbeat(now)

    async def _follow_sequences(self, now: datetime) -> None:
        parties = (await self._desk.judgement()).registry.participants.values()
        sources = sorted(source for party in parties if party.publishes for source in party.sources)
        async with self._desk.database.connection() as connection:
            await sequences.advance(connection, sources, SEQUENCE_STEP_MAX)
            progress = await sequences.read_progress(connection, sources)
        for source, (contiguous, highest) in progress.items():
            metrics.SOURCE_BEHIND_GAP.labels(source).set(highest - contiguous)

    async def _report_days(self, now: datetime) -> None:
        for published in await Reconciler(self._desk).catch_up(now):
            report = published.report
            metrics.RECONCILIATION_REPORTS.labels(report.participant).inc(published.new)
            log.info("deadlines.reported", bank=report.participant, day=str(report.day), revision=published.revision)

        async with self._desk.database.connection() as connection:
            still_open = await differences.count_open(connection)
        metrics.DIFFERENCES_OPEN.clear()
        for (bank, kind), count in still_open.items():
            metrics.DIFFERENCES_OPEN.labels(bank, kind).set(count)

    async def _keep_dossiers(self, now: datetime) -> None:
        overseer = Overseer(self._desk)
        for _ in range(BATCHES_PER_TICK_MAX):
            followed = await overseer.follow(now)
            looked = await overseer.look(now, DOSSIERS_PER_STEP_MAX)
            metrics.OVERSIGHT_FOLLOWED.inc(followed)
            if not followed and looked < DOSSIERS_PER_STEP_MAX:
                return

    async def _share_register(self, now: datetime) -> None:
        for _ in range(BATCHES_PER_TICK_MAX):
            if await Overseer(self._desk).share_register(now, BATCH_MAX) == 0:
                return

    async def _judge_groups(self, now: datetime) -> None:
        for _ in range(BATCHES_PER_TICK_MAX):
            if await Overseer(self._desk).judge_groups(now, GROUPS_PER_STEP_MAX) < GROUPS_PER_STEP_MAX:
                return

    async def _keep_months(self, now: datetime) -> None:
        counted = await self._months.work(now, asyncio.get_running_loop().time())
        if counted is not None:
            log.info("deadlines.month_counted", month=str(counted))

    async def _count_days(self, now: datetime) -> None:
        counter = DayCounter(self._desk)
        for made in await counter.catch_up(now):
            log.info("deadlines.counted", participant=made.participant, day=str(made.day), accepted=made.accepted)
        for participant, verdict in await counter.judge(now):
            metrics.COUNTS_STATED.labels(participant, verdict).inc()
            if verdict != "agrees":
                log.error("deadlines.count_differs", participant=participant, verdict=verdict)
        async with self._desk.database.connection() as connection:
            differing = await counts.count_differing(connection)
        metrics.COUNTS_DIFFERING.clear()
        for participant, count in differing.items():
            metrics.COUNTS_DIFFERING.labels(participant).set(count)
        named = ", ".join(differing)
        sentence = f"The daily counts differ from those of {named}: `hub counts show` names what is missing."
        self._health.note(COUNTS, sentence if differing else None)

    async def _close_lookups(self, now: datetime) -> None:
        closed = await self._day_closer.catch_up(now, LOOKUP_DAYS_PER_STEP_MAX)
        if closed:
            log.info("deadlines.lookups_closed", days=closed)

    async def _show_losses(self, now: datetime) -> None:
        async with self._desk.database.connection() as connection:
            found = await list_losses(connection)
        metrics.LOST_UNACKNOWLEDGED.clear()
        for topic, count in Counter(loss.topic for loss in found).items():
            metrics.LOST_UNACKNOWLEDGED.labels(topic).set(count)
        self._health.note(LOST, losses.tell(found) if found else None)

    async def _forget_assertions(self, now: datetime) -> None:
        async with self._desk.database.connection() as connection:
            await assertions.forget_expired(connection, now)
            await clients.forget_expired(connection, now)
            await answers.forget_expired(connection, now)
