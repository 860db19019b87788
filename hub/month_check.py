"""What fsck demands of the months' statistics: each that is over is what the dossiers come to at its place in the log.

A month is counted again as anybody counts it who has the log up to its checkpoint, not from what is kept of each file.
"""

from datetime import date, datetime
from typing import NamedTuple

from jiter import from_json

from contracts.oversight.dossier import Dossier
from contracts.oversight.lead import Rules
from contracts.oversight.statistics import MonthTally, Observation, Row, observe
from contracts.rules.rulebook import RuleSet, RuleSetError
from hub.provenance import Finding
from hub.store import audit, dossiers, inspection
from hub.store.database import Connection


class _Kept(NamedTuple):
    """A month as it is kept, and its count from the beginning."""

    month: date
    log_size: int
    counted_at: datetime
    figures: list[Row]
    rules: Rules
    tally: MonthTally


async def check_months(connection: Connection) -> list[Finding]:
    """Return every month that is over and kept otherwise than the dossiers come to."""
    try:
        rule_sets = [(index, RuleSet.read(text.encode())) for index, text in await audit.read_rule_sets(connection)]
    except RuleSetError:
        # It is named where the log is folded.
        return []
    kept, findings = [], []
    for row in await connection.fetch(inspection.READ_MONTHS):
        subject = f"statistics/{row['month']:%Y-%m}"
        rules = Rules([(index, one) for index, one in rule_sets if index < row["log_size"]])
        try:
            figures = [Row(*one) for one in from_json(row["figures"].encode())]
        except (ValueError, TypeError):
            findings.append(Finding("unreadable", subject, "what is stored cannot be read"))
            continue
        root = None if row["note"] is None else row["note"].split("\n")[2]
        if root != row["log_root"] or " ".join(sorted(rules.by_name)) != row["rule_sets"]:
            findings.append(Finding("month_wrong", subject, "it names another checkpoint or other rule sets"))
        tally = MonthTally(row["month"])
        kept.append(_Kept(row["month"], row["log_size"], row["counted_at"], figures, rules, tally))
    if kept:
        async for name, facts in dossiers.stream_all(connection):
            _add(kept, Dossier(name, facts))
    for one in kept:
        if one.tally.rows() != one.figures:
            subject = f"statistics/{one.month:%Y-%m}"
            findings.append(Finding("month_differs", subject, "the dossiers come to other figures"))
    return findings


def _add(kept: list[_Kept], whole: Dossier) -> None:
    """Count a file in each month; most months know the same facts of it, and it is looked at once for them."""
    seen: dict[tuple[int, tuple[str, ...]], Observation | None] = {}
    for one in kept:
        facts = [fact for fact in whole.facts if fact.log_index < one.log_size]
        known = (len(facts), tuple(one.rules.by_name))
        if known not in seen:
            seen[known] = observe(Dossier(whole.subject, facts), one.rules.book, one.counted_at)
        observed = seen[known]
        if observed is not None:
            one.tally.add(observed)
