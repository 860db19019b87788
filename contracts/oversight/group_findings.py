"""The findings that only many files show together: numbers 2, 9, 10, 12, and 11 as far as a rate is concerned.

    extracts of a group --judge_*--> leads

Each function takes the extracts of its group in any order. Waiting is measured in working time: the hours of days on
which offices are open, so that a row of holidays makes nobody wait longer.
"""

from bisect import bisect_left, insort
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import cache
from statistics import median
from typing import Final

from contracts.oversight import lead as names
from contracts.oversight.extract import Extract
from contracts.oversight.lead import Lead, Rules
from contracts.rules.clock import is_banking_day
from contracts.rules.rulebook import FindingRule, started_months

_DAY_S: Final = 86_400
_JAKARTA_S: Final = 7 * 3600
_EPOCH: Final = date(1970, 1, 1)
_DAYS_KNOWN: Final = 40_000
#: Before so many decisions nobody knows what is usual in a unit.
USUAL_DECISIONS_MIN: Final = 20


@cache
def _open_days() -> list[int]:
    """How many days since 1970 offices were open, up to each day; weekends alone rest where nothing is decreed."""
    counts, count = [], 0
    for number in range(_DAYS_KNOWN):
        count += is_banking_day(_EPOCH + timedelta(days=number))
        counts.append(count)
    return counts


def working_seconds(since: datetime, until: datetime) -> int:
    """The time between two moments on days on which offices are open in Jakarta; what rests does not count."""
    days = _open_days()
    total = 0
    for moment, sign in ((until, 1), (since, -1)):
        day, second = divmod(int(moment.timestamp()) + _JAKARTA_S, _DAY_S)
        is_open = days[day] > days[day - 1]
        total += sign * (days[day - 1] * _DAY_S + (second if is_open else 0))
    return max(total, 0)


def handled_seconds(file: Extract) -> int:
    """How long the unit took from completeness to the decision, without what the applicant owed meanwhile."""
    if file.completed_at is None or file.decided_at is None:
        return 0
    rested = sum(
        working_seconds(max(since, file.completed_at), min(until or file.decided_at, file.decided_at))
        for since, until in file.pauses
        if since < file.decided_at and (until is None or until > file.completed_at)
    )
    return max(working_seconds(file.completed_at, file.decided_at) - rested, 0)


def percentile(ordered: Sequence[int], percent: int) -> int:
    """The nearest-rank percentile of values in order."""
    return ordered[max(-(-len(ordered) * percent // 100), 1) - 1]


def judge_all(files: Iterable[Extract], rules: Rules) -> list[Lead]:
    """Judge all files in all their groups."""
    groups: dict[str, list[Extract]] = defaultdict(list)
    everything = sorted(files, key=_order_of)
    for file in everything:
        for key in file.keys:
            groups[key].append(file)
    leads: list[Lead] = []
    for key in sorted(groups):
        kind, _, _ = key.partition(":")
        group = groups[key]
        if kind == "money" and len(group) > 1:
            leads += judge_money(key.partition(":")[2], group, rules)
        elif kind == "unit":
            leads += judge_queue(group, rules)
        elif kind == "intermediary":
            leads += judge_intermediary(group, {name: groups[f"unit:{name}"] for name in _units(group)}, rules)
        elif kind == "worker" and len(group) > 1:
            leads += judge_worker(group, rules)
    leads += judge_exemptions(everything, rules)
    # A treasury receipt and a bank's reference of one money say the same twice.
    return list({lead.id: lead for lead in leads}.values())


def _order_of(file: Extract) -> tuple[datetime, str]:
    return file.submitted_at, file.case


def _units(files: Iterable[Extract]) -> set[str]:
    return {file.unit for file in files}


def _newest_rule(files: Iterable[Extract], rules: Rules, finding: str) -> tuple[str, FindingRule] | None:
    """The definition by which a group is judged: that of its newest file whose rule set has one."""
    for file in sorted(files, key=_order_of, reverse=True):
        rule = rules.find(file.rule_set, finding)
        if rule is not None:
            return file.rule_set, rule
    return None


def _indices(files: Iterable[Extract]) -> tuple[int, ...]:
    return tuple(sorted({index for file in files for index in file.log_indices}))


def judge_money(reference: str, files: Iterable[Extract], rules: Rules) -> Iterator[Lead]:
    """Finding 2: one money in the bases of two applications."""
    users = sorted(files, key=_order_of)
    found = _newest_rule(users, rules, names.MONEY_REUSED)
    if found is None or len({file.case for file in users}) < 2:
        return
    indices = {money.log_index for file in users for money in file.moneys if money.reference == reference}
    moneys = {money for file in users for money in file.moneys}
    cases = tuple(sorted({file.case for file in users}))
    # A treasury receipt and a bank's reference of the same money are one finding: the cases name it.
    subject = "+".join(cases)
    since = users[-1].decided_at or users[-1].submitted_at
    yield Lead(
        names.MONEY_REUSED, subject, cases, since, tuple(sorted(indices)), len(cases), len(moneys), "payments",
        found[0], reference,
    )  # fmt: skip


def judge_queue(files: Iterable[Extract], rules: Rules) -> Iterator[Lead]:
    """Finding 9: a file of a unit was decided while many of its kind that were complete earlier waited too long."""
    unit_files = sorted(files, key=_order_of)
    found = _newest_rule(unit_files, rules, names.QUEUE_JUMP)
    if found is None:
        return
    usual = _Usual(unit_files, found[1])
    for kind in sorted({file.kind for file in unit_files}):
        jumps = list(_jumps([file for file in unit_files if file.kind == kind], usual, found[1]))
        if jumps:
            worst, overtaken = max(jumps, key=lambda jump: len(jump[1]))
            first = jumps[0][0]
            decisions = sum(1 for file in unit_files if file.kind == kind and file.decided_at is not None)
            yield Lead(
                names.QUEUE_JUMP, f"{first.unit}/{kind}", tuple(sorted({jump[0].case for jump in jumps})),
                first.decided_at or first.submitted_at, _indices([worst, *overtaken]), len(jumps), decisions,
                "decisions", found[0], f"{len(overtaken)} files",
            )  # fmt: skip


class _Usual:
    """What was usual in a unit: the percentile of its handling times in the days before a moment."""

    def __init__(self, files: Iterable[Extract], rule: FindingRule) -> None:
        decided = [(file.decided_at, handled_seconds(file)) for file in files if file.decided_at and file.completed_at]
        self._decided = sorted(decided)
        self._moments = [moment for moment, _ in self._decided]
        self._window = timedelta(days=rule.thresholds["window_days"])
        self._percent = rule.thresholds["percentile"]

    def at(self, moment: datetime) -> int | None:
        """The percentile of the decisions in the window before a moment, or None where too few are known."""
        first = bisect_left(self._moments, moment - self._window)
        last = bisect_left(self._moments, moment)
        if last - first < USUAL_DECISIONS_MIN:
            return None
        return percentile(sorted(took for _, took in self._decided[first:last]), self._percent)


def _jumps(files: Sequence[Extract], usual: _Usual, rule: FindingRule) -> Iterator[tuple[Extract, list[Extract]]]:
    """The files that were decided before enough others, in the order of their decisions, with those others."""
    complete = sorted((file.completed_at, file.case, file) for file in files if file.completed_at is not None)
    decided = sorted((one[2].decided_at, *one) for one in complete if one[2].decided_at is not None)
    pending: list[tuple[datetime, str, Extract]] = []
    place = 0
    for moment, completed_at, case, file in decided:
        while place < len(complete) and complete[place][0] <= moment:
            insort(pending, complete[place])
            place += 1
        at = bisect_left(pending, (completed_at, case, file))
        if at < len(pending) and pending[at][1] == case:
            pending.pop(at)
        limit = usual.at(moment) if at >= rule.thresholds["files"] else None
        if limit is None:
            continue
        earlier = [one for since, _, one in pending[:at] if since < completed_at]
        overtaken = [one for one in earlier if _waits(one, moment) > limit]
        if len(overtaken) >= rule.thresholds["files"]:
            yield file, overtaken


def _waits(file: Extract, moment: datetime) -> int:
    """How long a file has waited for its decision at a moment; nothing while the applicant owes an answer."""
    return 0 if file.rests_at(moment) else handled_seconds(file._replace(decided_at=moment))


def judge_intermediary(
    files: Iterable[Extract], units: Mapping[str, Sequence[Extract]], rules: Rules
) -> Iterator[Lead]:
    """Finding 10: one official decides most of an intermediary's files, and fast; `units` are all files of theirs."""
    decided = sorted(
        (file for file in files if file.decided_at is not None), key=lambda file: (file.decided_at, file.case)
    )
    found = _newest_rule(decided, rules, names.FAVOURED_INTERMEDIARY)
    if found is None:
        return
    thresholds = found[1].thresholds
    window: deque[Extract] = deque()
    counts: Counter[str] = Counter()
    raised: set[str] = set()
    for file in decided:
        window.append(file)
        counts[file.official] += 1
        oldest = file.decided_at - timedelta(days=thresholds["window_days"])  # type: ignore[operator]
        while window[0].decided_at < oldest:  # type: ignore[operator]
            counts[window.popleft().official] -= 1
        count = counts[file.official]
        if count < thresholds["decisions"] or count * 100 < thresholds["share_percent"] * len(window):
            continue
        if file.official in raised:
            continue
        own = [one for one in window if one.official == file.official]
        of_unit = [
            handled_seconds(one)
            for one in units[file.unit]
            if one.decided_at is not None and oldest <= one.decided_at <= file.decided_at  # type: ignore[operator]
        ]
        if median(map(handled_seconds, own)) * 100 <= thresholds["time_percent"] * median(of_unit):
            raised.add(file.official)
            yield Lead(
                names.FAVOURED_INTERMEDIARY, f"{file.official}/{file.intermediary}",
                tuple(sorted(one.case for one in own)), file.decided_at, _indices(own), count, len(window),  # type: ignore[arg-type]
                "decisions", found[0],
            )  # fmt: skip


def judge_exemptions(files: Iterable[Extract], rules: Rules) -> Iterator[Lead]:
    """Finding 11: an official who exempts far more often than the nation does in the days before the last decision."""
    decided = [file for file in files if file.decided_at is not None]
    found = _newest_rule(decided, rules, names.EXEMPTION_ANOMALY) if decided else None
    if found is None:
        return
    thresholds = found[1].thresholds
    newest = max(file.decided_at for file in decided if file.decided_at is not None)
    since = newest - timedelta(days=thresholds["window_days"])
    recent = [file for file in decided if file.decided_at is not None and file.decided_at >= since]
    decisions = Counter(file.official for file in recent)
    exempted: dict[str, list[Extract]] = defaultdict(list)
    for file in recent:
        if file.exempted_by is not None:
            exempted[file.exempted_by].append(file)
    total = sum(map(len, exempted.values()))
    for official, granted in sorted(exempted.items()):
        # Fewer are chance: of ten decisions a single exemption would be three times the nation's rate.
        if len(granted) < thresholds["exemptions"]:
            continue
        handled = max(decisions[official], len(granted))
        if len(granted) * len(recent) > thresholds["rate_times"] * total * handled:
            moment = max(file.decided_at for file in granted if file.decided_at is not None)
            yield Lead(
                names.EXEMPTION_ANOMALY, official, tuple(sorted(file.case for file in granted)), moment,
                _indices(granted), len(granted), handled, "decisions", found[0], f"{total} of {len(recent)} nationally",
            )  # fmt: skip


def judge_worker(files: Iterable[Extract], rules: Rules) -> Iterator[Lead]:
    """Finding 12: one worker's temporary permits with one employer chained past the limit, or two posts at once."""
    permits = sorted((file for file in files if file.approved), key=lambda file: (file.from_, file.case))
    found = _newest_rule(permits, rules, names.CHAINED_TEMPORARIES) if len(permits) > 1 else None
    if found is None:
        return
    shown = _overlapping(permits) or _chained(permits, found[1])
    if shown:
        last = max(file.decided_at for file in shown if file.decided_at is not None)
        cases = tuple(sorted(file.case for file in shown))
        yield Lead(
            names.CHAINED_TEMPORARIES, f"{shown[0].worker}@{shown[0].employer}", cases, last, _indices(shown),
            len(shown), len(permits), "permits", found[0],
        )  # fmt: skip


def _last_day(file: Extract) -> date:
    return file.until if file.ended_on is None else min(file.until, file.ended_on)


def _overlapping(permits: Sequence[Extract]) -> list[Extract]:
    """Two posts at once; an extension of the same post that begins early is none."""
    open_: Extract | None = None
    for file in permits:
        extends = open_ is not None and file.kind == "extension" and file.position == open_.position
        if open_ is not None and file.from_ < _last_day(open_) and _last_day(file) > file.from_ and not extends:
            return [open_, file]
        if open_ is None or _last_day(file) > _last_day(open_):
            open_ = file
    return []


def _chained(permits: Sequence[Extract], rule: FindingRule) -> list[Extract]:
    """Temporary permits that follow each other with short gaps and add up to too many months."""
    gap = timedelta(days=rule.thresholds["gap_days"])
    chain: list[Extract] = []
    for file in (one for one in permits if one.kind == "temporary" and _last_day(one) > one.from_):
        if chain and file.from_ - _last_day(chain[-1]) > gap:
            chain = []
        chain.append(file)
        months = sum(started_months(one.from_, _last_day(one)) for one in chain)
        if len(chain) > 1 and months > rule.thresholds["months"]:
            return chain
    return []
