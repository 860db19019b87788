"""What was said of applications, as people look at it: a few cases at a time, each found by index."""

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from jiter import from_json

from contracts.events.ministry import StatusVerifier
from contracts.rules.case import SUBMITTED, Fact, fold
from contracts.rules.decide import decide
from contracts.rules.rulebook import Rulebook, RuleSet
from hub.progress import DEFICIENT, Progress, Said, follow
from hub.store import registry
from hub.store.cases import read_facts
from hub.store.database import Connection

READ_CASES = "SELECT id, facts, standing FROM cases WHERE id = ANY($1::text[])"
READ_SAID = """
    SELECT subject, type, time, CASE WHEN type = $2 THEN value END AS value FROM inbox
    WHERE subject = ANY($1::text[]) ORDER BY log_index"""
READ_VERIFIER = """
    SELECT value FROM inbox WHERE subject = $1 AND type = $2 ORDER BY log_index DESC LIMIT 1"""


class Rulebooks:
    """The rule sets in force, read again only when there are more of them: they never change."""

    def __init__(self) -> None:
        self._version = -1
        self._rulebook = Rulebook(())

    async def read(self, connection: Connection) -> Rulebook:
        """Return the rulebook of the registry in force."""
        version = (await registry.read_stand(connection)).version
        if version != self._version:
            kept = await registry.read_rule_sets(connection)
            self._rulebook = Rulebook(RuleSet.read(one.document.encode()) for one in kept)
            self._version = version
        return self._rulebook


class CaseRow(NamedTuple):
    """What a case keeps."""

    facts: Sequence[Fact]
    standing: Mapping[str, Any] | None


async def read_progress(
    connection: Connection, rulebook: Rulebook, applications: Collection[str], now: datetime
) -> dict[str, Progress]:
    """Return how far these applications are; those of which nothing was said are absent."""
    wanted = list(applications)
    cases = {
        row["id"]: CaseRow(
            read_facts(row["facts"]), None if row["standing"] is None else json.loads(row["standing"])
        )
        for row in await connection.fetch(READ_CASES, wanted)
    }  # fmt: skip
    said: dict[str, list[Said]] = {}
    for row in await connection.fetch(READ_SAID, wanted, DEFICIENT):
        said.setdefault(row["subject"], []).append(Said(row["type"], row["time"], _read_missing(row["value"])))
    found = {}
    for application in wanted:
        case = cases.get(application, CaseRow((), None))
        state = fold(case.facts)
        decision = decide(state, rulebook, now)
        progress = follow(said.get(application, ()), case.facts, state, decision, case.standing, now)
        if progress is not None and progress.application == application:
            found[application] = progress
    return found


def _read_missing(value: bytes | None) -> tuple[tuple[str, str], ...]:
    if value is None:
        return ()
    missing = from_json(value)["data"]["missing"]
    return tuple((one["code"], one["document"]) for one in missing)


async def read_verifier(connection: Connection, application: str) -> StatusVerifier | None:
    """Return by what an applicant is known, or None where there is nothing (any more)."""
    value = await connection.fetchval(READ_VERIFIER, application, SUBMITTED)
    return None if value is None else StatusVerifier.model_validate(from_json(value)["data"]["status_verifier"])
