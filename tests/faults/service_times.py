"""Whether every service time that ran out is told, dated by the clock, whatever was away at that moment."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from contracts.oversight.clocks import read_clocks
from contracts.oversight.dossier import Dossier
from contracts.oversight.lead import Rules
from contracts.rules.rulebook import RuleSet
from contracts.wire.instant import write_instant
from hub.store.cases import read_facts
from tests.faults.background import wait_until
from tests.faults.exchange import Exchange

LIMIT_S = 60.0
BEHIND = """
    SELECT (SELECT next_index FROM log) - (SELECT next_index FROM oversight_position)
        + (SELECT count(*) FROM dossiers WHERE wakes_at <= $1)"""
TOLD = 'SELECT entry FROM leaves WHERE position(\'"kind":"service_time"\'::bytea IN entry) > 0'


def check_service_times(exchange: Exchange, ahead: timedelta) -> Iterator[str]:
    """Yield each warning and breach that is not told once, with the moment at which it was so."""
    now = datetime.now(UTC) + ahead
    fetch = exchange.observer.fetch
    wait_until("all is followed", lambda: fetch(BEHIND, now)[0][0] == 0, LIMIT_S)
    rules = Rules(
        [(row[0], RuleSet.read(row[1].encode())) for row in fetch("SELECT log_index, document FROM rule_sets")]
    )
    wanted = []
    for subject, facts in fetch("SELECT subject, facts FROM dossiers"):
        dossier = Dossier(subject, read_facts(facts))
        rule_set = dossier.rule_set(rules.book)
        for reading in read_clocks(dossier, rule_set) if rule_set is not None else ():
            for state, passed_at in (("warned", reading.warns_at), ("breached", reading.breached_at)):
                if passed_at is not None and passed_at < min(now, reading.ended_at or now):
                    wanted.append((subject, reading.clock, state, write_instant(passed_at)))
    entries = [json.loads(row[0]) for row in fetch(TOLD)]
    told = [(one["application"], one["clock"], one["state"], one["passed_at"]) for one in entries]
    yield from (f"service time: {one} is not told once" for one in wanted if told.count(one) != 1)
