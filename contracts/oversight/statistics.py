"""The public statistics of a month: a pure function of the facts up to one place in the log.

    Dossier --observe--> Observation --MonthTally--> Row per figure, cells under CELL_MIN left out

Stock (permits in force on the month's last day), flow (approvals of the month by kind) and distinct workers are never
mixed. A cell that would be known from its total and the others is left out too. Months and days are Jakarta's. A tally
keeps counts and no files, so that a nation's fit into memory.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, timedelta
from statistics import median
from typing import Any, Final, NamedTuple

from contracts.fields import hundredths, write_money
from contracts.oversight.clocks import read_clocks
from contracts.oversight.dossier import Dossier
from contracts.oversight.extract import extract
from contracts.oversight.group_findings import handled_seconds, percentile
from contracts.rules.clock import end_of_day, jakarta_day
from contracts.rules.decide import decide
from contracts.rules.rulebook import Rulebook

#: A cell of fewer files or people could point at one of them.
CELL_MIN: Final = 5
DIMENSIONS: Final = ("nationality", "kbli", "province", "position_level")
KINDS: Final = ("new", "extension", "temporary")
DECISION_CLOCKS: Final = ("decision", "extension_decision")
#: By these a figure is about all files; by any other about a part of them.
WHOLES: Final = frozenset(("total", "working days", "percent", "calendar days"))
_ROUND_TENTHS: Final = 8_640


class Flow(NamedTuple):
    """Money of a file: what it is (billed, settled, reversed), when, in hundredths of a currency."""

    figure: str
    day: date
    currency: str
    amount: int


class Observation(NamedTuple):
    """What statistics read of a file.

    `values` are those of DIMENSIONS in order; `handled_s` the seconds that the unit had it; `within_sop` is None where
    no decision fell, or no day was named for it.
    """

    case: str
    kind: str
    worker: str
    values: tuple[str, ...]
    submitted_at: datetime
    decided_at: datetime | None
    approved: bool
    handled_s: int | None
    within_sop: bool | None
    from_: date
    until: date
    ended_on: date | None
    money: tuple[Flow, ...]

    def stands(self, day: date) -> bool:
        """Whether a permit was in force on a day: approved, begun, and neither run out nor ended."""
        approved = self.approved and self.decided_at is not None and jakarta_day(self.decided_at) <= day
        return approved and self.from_ <= day < self.until and (self.ended_on is None or day < self.ended_on)

    def to_json(self) -> list[Any]:
        """The compact form in which it is stored: a JSON array of the members in order."""
        return [
            *self[:4],
            self.submitted_at.isoformat(),
            None if self.decided_at is None else self.decided_at.isoformat(),
            *self[6:9],
            self.from_.isoformat(),
            self.until.isoformat(),
            None if self.ended_on is None else self.ended_on.isoformat(),
            [[flow.figure, flow.day.isoformat(), flow.currency, flow.amount] for flow in self.money],
        ]

    @classmethod
    def from_json(cls, stored: list[Any]) -> "Observation":
        """The observation of such an array."""
        case, kind, worker, values, submitted, decided, approved, handled_s, within, from_, until, ended, money = stored
        return cls(
            case, kind, worker, tuple(values), datetime.fromisoformat(submitted),
            None if decided is None else datetime.fromisoformat(decided), approved, handled_s, within,
            date.fromisoformat(from_), date.fromisoformat(until), None if ended is None else date.fromisoformat(ended),
            tuple(Flow(figure, date.fromisoformat(day), currency, amount) for figure, day, currency, amount in money),
        )  # fmt: skip


class Row(NamedTuple):
    """One figure: of which table, by which value of which dimension. `value` is None where it is left out."""

    figure: str
    by: str
    of: str
    value: str | None


def observe(dossier: Dossier, rulebook: Rulebook, now: datetime) -> Observation | None:
    """What statistics read of a file, or None before its submission is known."""
    rule_set = dossier.rule_set(rulebook)
    file = None if rule_set is None else extract(dossier, rule_set)
    if file is None or rule_set is None or dossier.submitted is None:
        return None
    within: bool | None = None
    for reading in read_clocks(dossier, rule_set):
        if reading.clock in DECISION_CLOCKS and reading.ended_at is not None and reading.breached_at is not None:
            within = reading.ended_at <= reading.breached_at
    data = dossier.submitted.data
    handled = None if file.completed_at is None or file.decided_at is None else handled_seconds(file)
    return Observation(
        file.case, file.kind, file.worker, tuple(str(data[name]) for name in DIMENSIONS), file.submitted_at,
        file.decided_at, file.approved, handled, within, file.from_, file.until, file.ended_on,
        tuple(_money_of(dossier, rulebook, now)),
    )  # fmt: skip


def _money_of(dossier: Dossier, rulebook: Rulebook, now: datetime) -> Iterator[Flow]:
    decision = decide(dossier.state, rulebook, now)
    for code, bill in dossier.state.bills.items():
        yield Flow("billed", jakarta_day(bill.fact.time), bill.currency, bill.amount)
        counted = decision.tallies[code]
        for money in counted.standing:
            if decision.outcomes.get((money.primary.source, money.primary.id)) in ("matched", "partial", "late"):
                yield Flow("settled", jakarta_day(money.primary.time), money.currency, money.amount)
        for fact in counted.taken_back:
            amount = hundredths(fact.data["amount"])
            yield Flow("reversed", jakarta_day(fact.time), fact.data["currency"], amount)


class MonthTally:
    """Counts the files of a month, `month` being its first day; the order in which they come changes nothing."""

    def __init__(self, month: date) -> None:
        self._month = month
        self._last = _last_day(month)
        self._closes_at = end_of_day(self._last)
        self._received = self._pending = self._decided = 0
        self._oldest_days = 0
        self._took: list[int] = []
        self._kept: list[bool] = []
        self._flows: Counter[tuple[str, tuple[str, ...]]] = Counter()
        self._stock: Counter[tuple[str, ...]] = Counter()
        self._workers: dict[str, tuple[date, str, tuple[str, ...]]] = {}
        self._sums: Counter[tuple[str, str]] = Counter()
        self._payments: Counter[tuple[str, str]] = Counter()

    def add(self, one: Observation) -> None:
        """Count a file."""
        if jakarta_day(one.submitted_at) > self._last:
            return
        self._received += self._covers(one.submitted_at)
        if one.decided_at is None or one.decided_at >= self._closes_at:
            self._pending += 1
            self._oldest_days = max(self._oldest_days, (self._closes_at - one.submitted_at).days)
        elif self._covers(one.decided_at):
            self._add_decided(one)
        if one.stands(self._last):
            self._stock[one.values] += 1
            # Of two permits of one worker the newer one says what the worker is counted by.
            newest = (one.from_, one.case, one.values)
            self._workers[one.worker] = max(self._workers.get(one.worker, newest), newest)
        for flow in one.money:
            if (flow.day.year, flow.day.month) == (self._month.year, self._month.month):
                self._sums[flow.figure, flow.currency] += flow.amount
                self._payments[flow.figure, flow.currency] += 1

    def _covers(self, moment: datetime) -> bool:
        day = jakarta_day(moment)
        return (day.year, day.month) == (self._month.year, self._month.month)

    def _add_decided(self, one: Observation) -> None:
        self._decided += 1
        if one.handled_s is not None:
            self._took.append(one.handled_s)
        if one.within_sop is not None:
            self._kept.append(one.within_sop)
        if one.approved:
            self._flows[one.kind, one.values] += 1

    def rows(self) -> list[Row]:
        """Every figure of the month, in the one order of the figures."""
        rows = list(self._list_handling())
        flows = {
            kind: Counter({values: count for (of, values), count in self._flows.items() if of == kind})
            for kind in KINDS
        }
        refused = self._decided - sum(self._flows.values())
        totals = suppress({f"flow_{kind}": flows[kind].total() for kind in KINDS} | {"refused": refused})
        rows += [Row(name, "total", "", _text(value)) for name, value in totals.cells.items()]
        rows.append(Row("decided", "total", "", _text(totals.total)))
        for kind in KINDS:
            rows += _list_tables(f"flow_{kind}", flows[kind], totals.cells[f"flow_{kind}"] is not None)
        for figure, counted in (
            ("stock", self._stock),
            ("workers", Counter(values for _, _, values in self._workers.values())),
        ):
            total = suppress({figure: counted.total()}).cells[figure]
            rows.append(Row(figure, "total", "", _text(total)))
            rows += _list_tables(figure, counted, total is not None)
        return rows + list(self._list_money())

    def _list_handling(self) -> Iterator[Row]:
        """What came, what is open at the month's end, and how long the unit had what it decided."""
        for figure, count in (("received", self._received), ("pending", self._pending)):
            yield Row(figure, "total", "", _text(suppress({figure: count}).cells[figure]))
        took, kept = sorted(self._took), self._kept
        shown = len(took) >= CELL_MIN
        yield Row("median", "working days", "", _tenths(median(took)) if shown else None)
        yield Row("p90", "working days", "", _tenths(percentile(took, 90)) if shown else None)
        share = f"{1000 * sum(kept) // len(kept) / 10:.1f}" if len(kept) >= CELL_MIN else None
        yield Row("within_sop", "percent", "", share)
        oldest = str(self._oldest_days) if self._pending >= CELL_MIN else None
        yield Row("oldest_pending", "calendar days", "", oldest)

    def _list_money(self) -> Iterator[Row]:
        """Compensation billed, settled and reversed in the month, by currency; few payments are left out."""
        for figure, currency in sorted(self._sums):
            enough = self._payments[figure, currency] >= CELL_MIN
            yield Row(figure, "currency", currency, write_money(self._sums[figure, currency]) if enough else None)


def count_month(observations: Iterable[Observation], month: date) -> list[Row]:
    """Every figure of a month, `month` being its first day, in the one order of the figures."""
    tally = MonthTally(month)
    for one in observations:
        tally.add(one)
    return tally.rows()


def _last_day(month: date) -> date:
    return (month.replace(day=1) + timedelta(days=32)).replace(day=1) - timedelta(days=1)


def _tenths(seconds: float) -> str:
    """Seconds as days with one decimal, rounded down, the same on every machine."""
    return f"{int(seconds) // _ROUND_TENTHS / 10:.1f}"


def _list_tables(figure: str, counted: Mapping[tuple[str, ...], int], shown: bool) -> Iterator[Row]:
    """One table for each dimension; all of their cells are left out where the total is."""
    for place, by in enumerate(DIMENSIONS):
        counts: Counter[str] = Counter()
        for values, count in counted.items():
            counts[values[place]] += count
        cells = suppress(counts).cells if shown else dict.fromkeys(counts)
        for of in sorted(cells):
            yield Row(figure, by, of, _text(cells[of]))


class Suppressed(NamedTuple):
    """A table with some cells left out; so is the total where it would give a lone cell away."""

    cells: dict[str, int | None]
    total: int | None


def suppress(counts: Mapping[str, int]) -> Suppressed:
    """Leave out each cell of 1 to CELL_MIN - 1, and the smallest others as long as the total tells what was left out.

    Cells of one number are left out together, so that the order of their names tells nothing.
    """
    cells: dict[str, int | None] = dict(counts)
    hidden = {name: count for name, count in counts.items() if 0 < count < CELL_MIN}
    others = {name: count for name, count in counts.items() if count >= CELL_MIN}
    while hidden and others and _tells(hidden):
        least = min(others.values())
        hidden |= {name: others.pop(name) for name in [name for name, count in others.items() if count == least]}
    for name in hidden:
        cells[name] = None
    known = not hidden or not _tells(hidden)
    return Suppressed(cells, sum(counts.values()) if known else None)


def _tells(hidden: Mapping[str, int]) -> bool:
    """Whether the sum of what is left out, of which each is 1 at least, would tell what some of it is."""
    count, total = len(hidden), sum(hidden.values())
    return count < 2 or total < count - 1 + CELL_MIN or max(hidden.values()) < CELL_MIN


def _text(value: int | None) -> str | None:
    return None if value is None else str(value)
