"""What an operator looks at: one case, without the worker's personal data."""

import json
from typing import Any

from contracts.rules.case import fold
from contracts.rules.decide import decide
from contracts.rules.rulebook import Rulebook, RuleSet
from hub.clock import utc_now
from hub.store import registry
from hub.store.cases import read_facts
from hub.store.database import Connection

CASE = "SELECT id, facts, standing, told, rule_set, decided_at FROM cases WHERE id = $1"


async def show_case(connection: Connection, case_id: str) -> dict[str, Any] | None:
    """Return a case: its facts in log order, what stands and what blocks it, and what participants were told last."""
    row = await connection.fetchrow(CASE, case_id)
    if row is None:
        return None
    facts = sorted(read_facts(row["facts"]), key=lambda fact: fact.log_index)
    standing = None if row["standing"] is None else json.loads(row["standing"])
    told = json.loads(row["told"])
    rulebook = Rulebook(RuleSet.read(kept.document.encode()) for kept in await registry.read_rule_sets(connection))
    return {
        "case": row["id"],
        "rule_set": row["rule_set"],
        "decided_at": row["decided_at"],
        "facts": [
            {
                "log_index": fact.log_index,
                "time": fact.time,
                "participant": fact.participant,
                "type": fact.type,
                "source": fact.source,
                "id": fact.id,
                "sha256": fact.sha256,
            }
            for fact in facts
        ],
        "recommendation": None
        if standing is None
        else {name: standing.get(name) for name in ("number", "revision", "state", "reason", "basis")},
        "blocked_by": list(decide(fold(facts), rulebook, utc_now()).blocked_by),
        "payments": told.get("outcomes", {}),
        "bills": told.get("bills", {}),
    }
