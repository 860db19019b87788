"""A database that an earlier hub has filled comes to the newest schema with all that it holds."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import hub.store
from contracts.events import read_event
from contracts.rules.case import DECISIVE, facts_of
from contracts.wire.envelope import read_envelope
from hub import fsck
from hub.store import views
from hub.store.database import Connection
from tests.hub.exchange import APPLICATION, Exchange

VERSIONS = Path(hub.store.__file__).parent / "migrations" / "versions"


@pytest.fixture
async def exchange(database: str) -> AsyncIterator[Exchange]:
    """Give an exchange with two cases, one of which holds nothing that a decision reads."""
    opened = await Exchange.open(database)
    ministry, bri, immigration = opened.ministry, opened.bri, opened.immigration
    early = [ministry.permit("completed"), ministry.submitted(), ministry.permit("feasibility_assessed", result="pass")]
    await opened.take(*ministry.sign_all([*early, ministry.permit("completed", "B.3/ONLY-STEPS")]))
    await opened.take(bri.sign(bri.paid()))
    await opened.take(*ministry.sign_all([ministry.billed(), ministry.approved()]))
    data = {"application": APPLICATION, "number": "TKA-0123456789AB", "revision": 1}
    acknowledged = immigration.write("id.tka.immigration.recommendation.acknowledged.v1", data, APPLICATION)
    await opened.take(immigration.sign(acknowledged))
    yield opened
    await opened.database.close()


async def go_back(connection: Connection) -> None:
    """Make of it what the hub of schema 0002 would have: each case kept all that was said of it, in its row."""
    await connection.execute("DROP INDEX inbox_subject")
    for row in await connection.fetch("SELECT log_index, participant, value FROM inbox ORDER BY log_index"):
        envelope = read_envelope(row["value"])
        if envelope.type in DECISIVE:
            continue
        event = read_event(envelope.type, envelope.data, envelope.subject)
        fact = json.dumps(facts_of(envelope, event, row["participant"], row["log_index"]).to_json())
        await connection.execute(
            "INSERT INTO cases AS c (id, facts) VALUES ($1, '[' || $2 || ']') ON CONFLICT (id) DO UPDATE "
            "SET facts = '[' || $2 || ',' || substr(c.facts, 2)",
            envelope.subject,
            fact,
        )


async def test_cases_keep_what_decisions_read(exchange: Exchange) -> None:
    async with exchange.database.connection() as connection:
        before = await views.show_case(connection, APPLICATION)
    async with exchange.database.transaction() as tx:
        await go_back(tx)
    assert {finding.kind for finding in await fsck.check(exchange.database)} == {"facts_differ"}
    async with exchange.database.transaction() as tx:
        await tx.execute((VERSIONS / "0003_cases.sql").read_text("utf-8"))
    assert await fsck.check(exchange.database) == []
    async with exchange.database.connection() as connection:
        after = await views.show_case(connection, APPLICATION)
    assert before is not None
    assert len(before["facts"]) == 7
    assert after is not None
    assert {**after, "decided_at": None} == {**before, "decided_at": None}
