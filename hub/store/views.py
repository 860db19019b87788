"""What an operator looks at: one case, without the worker's personal data."""

import json
from typing import Any

from contracts.fields import write_digest
from contracts.rules.case import DECISIVE, fold
from contracts.rules.decide import decide
from contracts.rules.rulebook import Rulebook, RuleSet
from hub.clock import utc_now
from hub.store import registry
from hub.store.cases import read_facts
from hub.store.database import Connection

CASE = "SELECT id, facts, standing, told, rule_set, decided_at FROM cases WHERE id = $1"
# A case keeps what decisions read; what was said of it beside that is in the inbox alone.
MESSAGES = """
    SELECT log_index, time, participant, type, source, id, digest FROM inbox
    WHERE log_index = ANY($2::bigint[]) OR (subject = $1 AND NOT type = ANY($3::text[])) ORDER BY log_index"""


async def show_case(connection: Connection, case_id: str) -> dict[str, Any] | None:
    """Return a case: its messages in log order, what stands and what blocks it, and what participants were told last.

    There is a case as soon as a decision has something to read.
    """
    row = await connection.fetchrow(CASE, case_id)
    if row is None:
        return None
    facts = read_facts(row["facts"])
    indices = [fact.log_index for fact in facts]
    messages = await connection.fetch(MESSAGES, case_id, indices, sorted(DECISIVE))
    standing = None if row["standing"] is None else json.loads(row["standing"])
    told = json.loads(row["told"])
    rulebook = Rulebook(RuleSet.read(kept.document.encode()) for kept in await registry.read_rule_sets(connection))
    return {
        "case": row["id"],
        "rule_set": row["rule_set"],
        "decided_at": row["decided_at"],
        "facts": [
            {
                "log_index": message["log_index"],
                "time": message["time"],
                "participant": message["participant"],
                "type": message["type"],
                "source": message["source"],
                "id": message["id"],
                "sha256": write_digest(message["digest"]),
            }
            for message in messages
        ],
        "recommendation": None
        if standing is None
        else {name: standing.get(name) for name in ("number", "revision", "state", "reason", "basis")},
        "blocked_by": list(decide(fold(facts), rulebook, utc_now()).blocked_by),
        "payments": told.get("outcomes", {}),
        "bills": told.get("bills", {}),
    }
