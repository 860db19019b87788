"""The months' statistics, counted by the hub as of one checkpoint and kept with its name.

    newest checkpoint --begin--> Count of a month --proceed, a piece at a time--> kept, once if the month is over

What the overseer keeps of a file counts if nothing newer than the checkpoint was said of it; of the others the facts up
to the checkpoint are read again. So the figures are exactly those that anybody computes from the log up to there. The
running month is counted again and again, and rests a hundred times as long as it worked: that is its whole cost.
"""

import time
from datetime import date, datetime, timedelta

from jiter import from_json

from contracts.oversight.dossier import Dossier
from contracts.oversight.handling import Handled, HandlingTally, read_handling
from contracts.oversight.lead import Rules
from contracts.oversight.statistics import WHOLES, MonthTally, Observation, observe
from contracts.rules.clock import end_of_day, jakarta_day
from contracts.rules.rulebook import RuleSet
from hub.store import audit, counts, dossiers, statistics
from hub.store.database import Connection, Database
from hub.store.statistics import KeptFile, Month, Newest

FILES_PER_STEP_MAX = 2_000
# A dossier costs ten times as much as what is kept of it.
DOSSIERS_PER_STEP_MAX = 200
REST_TIMES = 100
REST_S_MIN = 10.0
REST_S_MAX = 86_400.0


class Count:
    """A month that is being counted as of a checkpoint."""

    def __init__(self, month: date, newest: Newest, rules: Rules, final: bool) -> None:
        self.month = month
        self.final = final
        self.worked_s = 0.0
        self._newest = newest
        self._rules = rules
        self._tally = MonthTally(month)
        self._handling = HandlingTally(month)
        self._kept: list[str] = []
        self._unlisted: list[str] = []

    async def gather(self, connection: Connection) -> None:
        """Name the files that it is about, in one moment's picture of the database."""
        unlisted = set(await dossiers.read_unlisted(connection))
        named = await statistics.read_subjects(connection, self.month, self._newest.size)
        self._kept = [name for name in named if name not in unlisted]
        self._unlisted = sorted(unlisted)

    async def proceed(self, connection: Connection, now: datetime) -> bool:
        """Count a piece; return whether that was all."""
        began = time.process_time()
        if self._kept:
            piece, self._kept = self._kept[:FILES_PER_STEP_MAX], self._kept[FILES_PER_STEP_MAX:]
            for file in await statistics.read_files(connection, piece):
                self._add_kept(file)
        else:
            some, self._unlisted = self._unlisted[:DOSSIERS_PER_STEP_MAX], self._unlisted[DOSSIERS_PER_STEP_MAX:]
            for subject, facts in await dossiers.read_some(connection, some):
                known = Dossier(subject, (fact for fact in facts if fact.log_index < self._newest.size))
                self._add(observe(known, self._rules.book, now), read_handling(known))
        self.worked_s += time.process_time() - began
        return not self._kept and not self._unlisted

    def _add_kept(self, file: KeptFile) -> None:
        if file.last_index >= self._newest.size:
            self._unlisted.append(file.application)
        else:
            handled = [Handled.from_json(one) for one in from_json(file.handled.encode())]
            self._add(Observation.from_json(from_json(file.observed.encode())), handled)

    def _add(self, observed: Observation | None, handled: list[Handled]) -> None:
        if observed is not None:
            self._tally.add(observed)
        for one in handled:
            self._handling.add(one)

    async def save(self, connection: Connection, now: datetime) -> None:
        """Keep what was counted. Of a running month its wholes alone: each day's change of a part could be somebody."""
        rows = [row for row in self._tally.rows() if self.final or row.by in WHOLES]
        names = " ".join(sorted(self._rules.by_name))
        newest = self._newest
        month = Month(self.month, self.final, newest.size, newest.root, names, now, rows)
        await statistics.save(connection, month, self._handling.rows())


class MonthKeeper:
    """Counts every month that is over once, and the running month now and then."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._count: Count | None = None
        self._rests_until_s = 0.0

    async def work(self, now: datetime, clock_s: float) -> date | None:
        """Do a piece of the work; return the month that was finished with it. `clock_s` is a steady clock's."""
        if self._count is None and clock_s >= self._rests_until_s:
            self._count = await self._begin(now)
        count = self._count
        if count is None:
            return None
        # What is half counted when the database goes away is begun anew.
        self._count = None
        async with self._database.connection() as connection:
            if not await count.proceed(connection, now):
                self._count = count
                return None
            await count.save(connection, now)
        rest_s = 0.0 if count.final else min(max(count.worked_s * REST_TIMES, REST_S_MIN), REST_S_MAX)
        self._rests_until_s = clock_s + rest_s
        return count.month

    async def _begin(self, now: datetime) -> Count | None:
        async with self._database.snapshot() as connection:
            newest = await statistics.read_newest(connection)
            first = await counts.read_first_day(connection)
            if newest is None or first is None or newest.followed < newest.size:
                return None
            stand = await statistics.read_stand(connection)
            found = _choose(first.replace(day=1), stand, newest, now)
            if found is None:
                return None
            read = await audit.read_rule_sets(connection)
            # A rule set behind the checkpoint is not known yet to whoever reads the log up to there.
            known = [(index, RuleSet.read(text.encode())) for index, text in read if index < newest.size]
            count = Count(found[0], newest, Rules(known), found[1])
            await count.gather(connection)
        return count


def _choose(
    month: date, stand: dict[date, tuple[bool, int]], newest: Newest, now: datetime
) -> tuple[date, bool] | None:  # fmt: skip
    """Return the month that is to be counted next and whether that is for good; None where nothing is new."""
    running = jakarta_day(now).replace(day=1)
    while month < running:
        if not stand.get(month, (False, 0))[0]:
            break
        month = next_month(month)
    covers = newest.signed_at >= end_of_day(next_month(month) - timedelta(days=1)) or newest.size == newest.entries
    if month < running and covers:
        return month, True
    return None if stand.get(running, (False, -1))[1] == newest.size else (running, False)


def next_month(month: date) -> date:
    """Return the first day of the month after."""
    return (month.replace(day=1) + timedelta(days=32)).replace(day=1)
