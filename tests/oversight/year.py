"""A simulated year as facts of the log, and what the findings make of it."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from contracts.oversight.case_findings import judge_case
from contracts.oversight.dossier import Dossier
from contracts.oversight.extract import Extract, extract
from contracts.oversight.group_findings import judge_all
from contracts.oversight.lead import Lead, Rules
from contracts.reference.holidays import HOLIDAYS
from contracts.rules.case import Fact
from devstack.agencies.year import HUB, Misdeed, Told, Year
from tests.contracts.samples import RULE_SETS

YEAR = 2025
RULES = Rules([(0, RULE_SETS["2012-2"]), (0, RULE_SETS["2021-2"])])


def tell(seed: int, files: int, misdeeds: Iterable[Misdeed] = ()) -> list[Told]:
    """The year as it was told."""
    return Year(seed, files, YEAR, HOLIDAYS).tell(misdeeds)


def read_facts(told: Iterable[Told]) -> dict[str, list[Fact]]:
    """The facts of each file, with their places in the log; payments go to the file that has their billing code."""
    files: dict[str, list[Fact]] = defaultdict(list)
    owners: dict[str, str] = {}
    places: dict[str, int] = {}
    waiting: dict[str, list[Fact]] = defaultdict(list)
    for index, one in enumerate(told, 1):
        places[one.id] = index
        data: dict[str, Any] = one.data
        if one.source == HUB:
            data = data | {"basis": [entry | {"log_index": places[entry["id"]]} for entry in data["basis"]]}
        fact = Fact(one.source, one.id, one.source[8:].partition(".")[0], one.type, one.time, one.id, index, data)
        code = data.get("billing_code")
        if code is not None and "application" in data:
            owners[code] = data["application"]
            files[owners[code]] += waiting.pop(code, [])
        key = one.key if code is None else owners.get(code)
        (waiting[str(code)] if key is None else files[key]).append(fact)
    return files


def judge(files: dict[str, list[Fact]], now: datetime | None = None) -> list[Lead]:
    """Every lead of a year, a month after its last fact."""
    if now is None:
        now = max(fact.time for facts in files.values() for fact in facts) + timedelta(days=30)
    leads: list[Lead] = []
    extracts: list[Extract] = []
    for name, facts in files.items():
        dossier = Dossier(name, facts)
        leads += judge_case(dossier, RULES, now).leads
        rule_set = dossier.rule_set(RULES.book)
        taken = None if rule_set is None else extract(dossier, rule_set)
        if taken is not None:
            extracts.append(taken)
    return leads + judge_all(extracts, RULES)
