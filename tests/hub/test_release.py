"""What leaves with a proof: the gate of the relay, the archive, and the real relay, over a real log and witness."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from contracts.log.checkpoint import Policy
from contracts.log.proof import check_proof, read_proof
from contracts.registry import Registry
from hub import release
from hub.clock import utc_now
from hub.cluster import Cluster
from hub.health import Health
from hub.relay import Relay
from hub.release import Gate, Shelf, Signer, describe_overdue, look, prove_rows
from hub.store import outbox
from hub.store.outbox import OutboxRow
from hub.trust import RegistryInForce
from tests.hub.brokers import create_topics
from tests.hub.log_bench import Bench, document_with_log, open_bench, running, until
from tests.hub.world import fill_outbox

pytestmark = pytest.mark.anyio
STREAM = ("recommendations", 0)
PATIENCE_S = 60


@pytest.fixture
async def bench(database: str, tmp_path: Path) -> AsyncIterator[Bench]:
    """Give an exchange that asks for proofs, with a log of one entry, and its witness."""
    async with open_bench(database, tmp_path, proof_required=True) as opened:
        yield opened


async def recommend(bench: Bench, count: int) -> None:
    """Write so many recommendations, each with its leaf."""
    first = len(bench.entries)
    await bench.add(count)
    await fill_outbox(bench.dsn, *STREAM, count, typ="recommendation", leaves_from=first)


async def read_rows(bench: Bench) -> list[OutboxRow]:
    async with bench.database.connection() as connection:
        return await outbox.read_rows(connection, *STREAM, 0, 100)


async def let_pass(bench: Bench, gate: Gate, registry: Registry | None = None) -> tuple[list[OutboxRow], str | None]:
    rows = await read_rows(bench)
    async with bench.database.connection() as connection:
        passed, problem = await gate.pass_through(connection, registry or bench.registry, {STREAM[1]: rows})
    return passed[STREAM[1]], problem


async def find_overdue(bench: Bench, registry: Registry, now: datetime) -> str | None:
    async with bench.database.connection() as connection:
        return describe_overdue(await look(connection, registry), registry, now)


async def put_in_force(bench: Bench, **others: object) -> Registry:
    document = document_with_log(bench.world, bench.log_key, bench.witness.key, proof_required=True, **others)
    return await bench.world.put_in_force(bench.database, document)


async def test_a_recommendation_passes_once_a_checkpoint_covers_it_and_takes_its_proof_along(bench: Bench) -> None:
    gate = Gate(STREAM[0], Shelf())
    async with running(bench.sequencer()):
        await recommend(bench, 3)
        await bench.cosigned(4)
    await recommend(bench, 2)
    passed, problem = await let_pass(bench, gate)
    assert [row.seq for row in passed] == [1, 2, 3]
    # It waits for a moment only, which is no news.
    assert problem is None
    for row in passed:
        assert row.leaf_index is not None
        assert row.tlog_proof is not None
        opened = check_proof(row.tlog_proof, bench.entries[row.leaf_index], bench.policy, index=row.leaf_index)
        assert opened.cosigned
    async with running(bench.sequencer()):
        await bench.cosigned(6)
    assert [row.seq for row in (await let_pass(bench, gate))[0]] == [1, 2, 3, 4, 5]


async def test_a_long_wait_is_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release, "LATE_S", 0.0)
    gate = Gate(STREAM[0], Shelf())
    await recommend(bench, 1)
    await let_pass(bench, gate)
    passed, problem = await let_pass(bench, gate)
    assert passed == []
    assert (
        problem
        == "recommendations/0: the recommendation at hub-seq 1 waits: no checkpoint of the evidence log covers it"
    )


async def test_without_a_witness_it_goes_on_for_the_grace_and_then_stops_and_says_why(bench: Bench) -> None:
    registry = await put_in_force(bench, version=2, limits=bench.registry.document["limits"] | {"witness_grace_s": 60})
    bench.entries.append(b"{}")
    async with running(bench.sequencer()):
        await bench.cosigned(2)
        bench.witness.stop()
        await recommend(bench, 1)
        await bench.signed(3)
    passed, problem = await let_pass(bench, Gate(STREAM[0], Shelf()), registry)
    assert ([row.seq for row in passed], problem) == ([1], None)
    assert passed[0].tlog_proof is not None
    assert check_proof(passed[0].tlog_proof, bench.entries[2], bench.policy).cosigned == {}
    later = utc_now() + timedelta(seconds=61)
    assert await find_overdue(bench, registry, utc_now()) is None
    overdue = await find_overdue(bench, registry, later)
    assert overdue is not None
    assert "longer than the 60 s of the registry's witness_grace_s" in overdue


async def test_what_is_overdue_holds_everything_back(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = await put_in_force(bench, version=2, limits=bench.registry.document["limits"] | {"witness_grace_s": 60})
    bench.entries.append(b"{}")
    async with running(bench.sequencer()):
        await bench.cosigned(2)
        bench.witness.stop()
        await recommend(bench, 1)
        await bench.signed(3)
    monkeypatch.setattr(release, "utc_now", lambda: utc_now() + timedelta(seconds=61))
    passed, problem = await let_pass(bench, Gate(STREAM[0], Shelf()), registry)
    assert passed == []
    assert problem is not None
    assert problem.startswith(
        "recommendations/0: the recommendation at hub-seq 1 waits: no witness has cosigned the evidence log since"
    )


async def test_an_idle_log_is_not_overdue(bench: Bench) -> None:
    async with running(bench.sequencer()):
        await bench.cosigned(1)
    assert await find_overdue(bench, bench.registry, utc_now() + timedelta(days=9)) is None


async def test_a_registry_that_asks_for_a_quorum_waits_for_it(bench: Bench) -> None:
    registry = await put_in_force(bench, version=2, witness_quorum=1)
    bench.entries.append(b"{}")
    async with running(bench.sequencer()):
        await bench.cosigned(2)
        bench.witness.stop()
        await recommend(bench, 1)
        await bench.signed(3)
        assert (await let_pass(bench, Gate(STREAM[0], Shelf()), registry))[0] == []
        bench.witness.start()
        await bench.cosigned(3)
    passed, _ = await let_pass(bench, Gate(STREAM[0], Shelf()), registry)
    assert passed[0].tlog_proof is not None
    assert check_proof(passed[0].tlog_proof, bench.entries[2], registry.log).cosigned


async def test_the_archive_gives_the_proof_whether_it_is_required_or_not(bench: Bench) -> None:
    await recommend(bench, 1)
    async with running(bench.sequencer()):
        await bench.cosigned(2)
    await recommend(bench, 1)
    rows = await read_rows(bench)
    async with bench.database.connection() as connection:
        first, second = await prove_rows(connection, bench.registry, rows)
    assert first.tlog_proof is not None
    assert read_proof(first.tlog_proof).index == 1
    assert second.tlog_proof is None


async def test_the_relay_sends_each_recommendation_with_its_proof(bench: Bench, kafka: str, topic_prefix: str) -> None:
    cluster, health = Cluster(kafka, topic_prefix), Health()
    await create_topics(cluster, bench.world.topics)
    in_force = RegistryInForce(bench.world.root.public)
    relay = Relay(bench.database, bench.dsn, cluster, in_force, Signer(bench.world.hub), health)
    stop = asyncio.Event()
    relaying = asyncio.create_task(relay.run(stop))
    async with running(bench.sequencer()):
        for _ in range(5):
            await recommend(bench, 4)
        await until(lambda: _is_relayed(bench, 20))
    stop.set()
    await relaying
    policy = Policy(bench.policy.origin, bench.policy.log_keys, bench.policy.witnesses)
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, isolation_level="read_committed", auto_offset_reset="earliest")
    await consumer.start()
    try:
        place = TopicPartition(cluster.physical("recommendations"), 0)
        consumer.assign([place])
        records: list[Any] = []
        async with asyncio.timeout(PATIENCE_S):
            while len(records) < 20:
                records += (await consumer.getmany(place, timeout_ms=500)).get(place, [])
    finally:
        await consumer.stop()
    for number, record in enumerate(records):
        proof = dict(record.headers)["tlog-proof"]
        assert len(proof) <= 16_384
        check_proof(proof, bench.entries[1 + number], policy, index=1 + number)
    assert health.problems() == {}


async def _is_relayed(bench: Bench, seq: int) -> bool:
    async with bench.database.connection() as connection:
        return (await outbox.read_positions(connection, STREAM[0])).get(0, 0) >= seq
