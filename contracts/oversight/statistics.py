"""The public statistics of a month: a pure function of the facts up to one place in the log.

    Dossier --observe--> Observation --count_month--> Row per figure, cells under CELL_MIN left out

Stock (permits in force on the month's last day), flow (approvals of the month by kind) and distinct workers are never
mixed. A cell that would be known from its total and the others is left out too. Months and days are Jakarta's.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, timedelta
from statistics import median
from typing import Final, NamedTuple

from contracts.fields import hundredths, write_money
from contracts.oversight.clocks import read_clocks
from contracts.oversight.dossier import Dossier
from contracts.oversight.extract import Extract, extract
from contracts.oversight.group_findings import handled_seconds, percentile
from contracts.rules.clock import end_of_day, jakarta_day
from contracts.rules.decide import decide
from contracts.rules.rulebook import Rulebook

#: A cell of fewer files or people could point at one of them.
CELL_MIN: Final = 5
DIMENSIONS: Final = ("nationality", "kbli", "province", "position_level")
KINDS: Final = ("new", "extension", "temporary")
DECISION_CLOCKS: Final = ("decision", "extension_decision")
_DAY_S: Final = 86_400
_ROUND_TENTHS: Final = 8_640


class Flow(NamedTuple):
    """Money of a file: what it is (billed, settled, reversed), when, in hundredths of a currency."""

    figure: str
    day: date
    currency: str
    amount: int


class Observation(NamedTuple):
    """What statistics read of a file. `within_sop` is None where no decision fell, or no day was named for it."""

    file: Extract
    values: Mapping[str, str]
    within_sop: bool | None
    money: tuple[Flow, ...]


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
    values = {name: str(data[name]) for name in DIMENSIONS}
    return Observation(file, values, within, tuple(_money_of(dossier, rulebook, now)))


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


def count_month(observations: Iterable[Observation], month: date) -> list[Row]:
    """Every figure of a month, `month` being its first day, in the one order of the figures."""
    last = _last_day(month)
    seen = [one for one in observations if jakarta_day(one.file.submitted_at) <= last]
    closes_at = end_of_day(last)
    decided = [one for one in seen if one.file.decided_at is not None and _is_in(one.file.decided_at, month)]
    rows = list(_count_handling(seen, decided, month, closes_at))
    flows = {kind: [one for one in decided if one.file.approved and one.file.kind == kind] for kind in KINDS}
    refused = sum(1 for one in decided if not one.file.approved)
    totals = suppress({f"flow_{kind}": len(flows[kind]) for kind in KINDS} | {"refused": refused})
    rows += [Row(name, "total", "", _text(value)) for name, value in totals.cells.items()]
    rows.append(Row("decided", "total", "", _text(totals.total)))
    for kind in KINDS:
        shown = totals.cells[f"flow_{kind}"] is not None
        rows += _count_tables(f"flow_{kind}", [one.values for one in flows[kind]], shown)
    stock = [one for one in seen if _stands(one.file, last)]
    workers = {one.file.worker: one.values for one in stock}
    for figure, counted in (("stock", [one.values for one in stock]), ("workers", list(workers.values()))):
        total = suppress({figure: len(counted)}).cells[figure]
        rows.append(Row(figure, "total", "", _text(total)))
        rows += _count_tables(figure, counted, total is not None)
    return rows + list(_count_money(seen, month))


def _last_day(month: date) -> date:
    return (month.replace(day=1) + timedelta(days=32)).replace(day=1) - timedelta(days=1)


def _is_in(moment: datetime, month: date) -> bool:
    day = jakarta_day(moment)
    return (day.year, day.month) == (month.year, month.month)


def _stands(file: Extract, day: date) -> bool:
    """Whether a permit was in force on a day: approved, begun, and neither run out nor ended."""
    approved = file.approved and file.decided_at is not None and jakarta_day(file.decided_at) <= day
    return approved and file.from_ <= day < file.until and (file.ended_on is None or day < file.ended_on)


def _count_handling(
    seen: Iterable[Observation], decided: Iterable[Observation], month: date, closes_at: datetime
) -> Iterator[Row]:
    """What came, what is open at the month's end, and how long the unit had what it decided."""
    files = [one.file for one in seen]
    received = sum(1 for file in files if _is_in(file.submitted_at, month))
    pending = [file for file in files if file.decided_at is None or file.decided_at >= closes_at]
    for figure, count in (("received", received), ("pending", len(pending))):
        yield Row(figure, "total", "", _text(suppress({figure: count}).cells[figure]))
    took = sorted(handled_seconds(one.file) for one in decided if one.file.completed_at is not None)
    kept = [one.within_sop for one in decided if one.within_sop is not None]
    shown = len(took) >= CELL_MIN
    yield Row("median", "working days", "", _tenths(median(took)) if shown else None)
    yield Row("p90", "working days", "", _tenths(percentile(took, 90)) if shown else None)
    share = f"{1000 * sum(kept) // len(kept) / 10:.1f}" if len(kept) >= CELL_MIN else None
    yield Row("within_sop", "percent", "", share)
    oldest = max(((closes_at - file.submitted_at).days for file in pending), default=0)
    yield Row("oldest_pending", "calendar days", "", str(oldest) if len(pending) >= CELL_MIN else None)


def _tenths(seconds: float) -> str:
    """Seconds as days with one decimal, rounded down, the same on every machine."""
    return f"{int(seconds) // _ROUND_TENTHS / 10:.1f}"


def _count_tables(figure: str, counted: Iterable[Mapping[str, str]], shown: bool) -> Iterator[Row]:
    """One table for each dimension; all of their cells are left out where the total is."""
    listed = list(counted)
    for by in DIMENSIONS:
        counts = Counter(values[by] for values in listed)
        cells = suppress(counts).cells if shown else dict.fromkeys(counts)
        for of in sorted(cells):
            yield Row(figure, by, of, _text(cells[of]))


def _count_money(seen: Iterable[Observation], month: date) -> Iterator[Row]:
    """Compensation billed, settled and reversed in the month, by currency; few payments are left out."""
    sums: Counter[tuple[str, str]] = Counter()
    counts: Counter[tuple[str, str]] = Counter()
    for one in seen:
        for flow in one.money:
            if (flow.day.year, flow.day.month) == (month.year, month.month):
                sums[flow.figure, flow.currency] += flow.amount
                counts[flow.figure, flow.currency] += 1
    for figure, currency in sorted(sums):
        enough = counts[figure, currency] >= CELL_MIN
        yield Row(figure, "currency", currency, write_money(sums[figure, currency]) if enough else None)


class Suppressed(NamedTuple):
    """A table with some cells left out; so is the total where it would give a lone cell away."""

    cells: dict[str, int | None]
    total: int | None


def suppress(counts: Mapping[str, int]) -> Suppressed:
    """Leave out each cell of 1 to CELL_MIN - 1, and the smallest others as long as the total tells what was left out.

    Two cells left out hide each other only if together they may be more than one way; so they must come to CELL_MIN.
    """
    cells: dict[str, int | None] = dict(counts)
    hidden = {name: count for name, count in counts.items() if 0 < count < CELL_MIN}
    others = sorted(((count, name) for name, count in counts.items() if count >= CELL_MIN), reverse=True)
    while hidden and (len(hidden) < 2 or sum(hidden.values()) < CELL_MIN) and others:
        count, name = others.pop()
        hidden[name] = count
    for name in hidden:
        cells[name] = None
    known = not hidden or (len(hidden) > 1 and sum(hidden.values()) >= CELL_MIN)
    return Suppressed(cells, sum(counts.values()) if known else None)


def _text(value: int | None) -> str | None:
    return None if value is None else str(value)
