"""An order of erasure at a connector: what it empties, what it keeps, what is sent first, and which order is none.

A canary (a person's name and passport) is looked for in every file of the connector's folder, byte by byte.
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from connectors.immigration.folder import Folder
from connectors.immigration.offices import read_offices
from connectors.immigration.standing_file import News
from connectors.immigration.standings import Standings
from connectors.link.clock import utc_now
from connectors.link.delivery import Delivered, StreamItem, verify
from connectors.link.erasing import NOTE, Eraser
from connectors.link.fact import Author, NewEvent, ReceiptEntry
from connectors.link.metrics import LinkMetrics
from connectors.link.spool import Spool
from connectors.link.trust import Trust
from connectors.ministry.outcome_queue import OutcomeQueue
from connectors.ministry.translate import outcome_of
from contracts.erasure import ERASED_WORKER, FORMAT, TYP_ERASURE
from contracts.events.hub import ErasureOrdered
from contracts.persons import write_act
from contracts.wire import base64url
from contracts.wire.envelope import read_envelope
from contracts.wire.key import PrivateKey
from contracts.wire.signature import VerifiedRoots
from tests.connectors.parties import ENVIRONMENT, MINISTRY_SOURCE, World
from tests.contracts.root_world import PERSONS, TWO
from tests.contracts.samples import APPLICATION, NUMBER, PERSON, SAMPLES

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
MINISTRY = Author("ministry", MINISTRY_SOURCE, ENVIRONMENT, 90)
APPROVED = "id.tka.ministry.permit.approved.v1"
ISSUED = "id.tka.hub.recommendation.issued.v1"
OTHER = "B.3/000099/PK.04.00/III/2026"
STAYS = {**PERSON, "name": "Maria Silva", "passport": "K445566772"}


def approval(key: str, application: str = APPLICATION, person: dict[str, str] = PERSON) -> NewEvent:
    data = SAMPLES[APPROVED] | {"application": application, "person": person}
    time = datetime(2026, 3, 4, tzinfo=UTC)
    return NewEvent(f"outbox/{key}", APPROVED, application, time, application, data)


def write_order(keys: Sequence[PrivateKey] = TWO, **changes: Any) -> str:
    """Write an order that takes out one application, or what `changes` make of it."""
    payload = {
        "format": FORMAT, "environment": ENVIRONMENT, "issued_at": "2026-01-01T00:00:00Z", "reason": "Request 17",
        "legal_basis": "UU 27/2022", "messages": [], "cases": [APPLICATION], "workers": [],
    }  # fmt: skip
    return write_act(payload | changes, TYP_ERASURE, *keys).decode()


def ordered(participant: str, document: str, cases: Sequence[str]) -> dict[str, Any]:
    """Return the data of the event with which the hub passes an order on."""
    payload = base64url.decode(json.loads(document)["payload"].encode()) or b""
    digest = hashlib.sha256(payload).hexdigest()
    return {"participant": participant, "order": digest, "document": document, "cases": list(cases)}


def delivery(world: World, document: str, cases: Sequence[str] = (APPLICATION,), **changes: Any) -> Delivered:
    """Return an order as the hub passes it on, verified as every record is."""
    data = ordered("ministry", document, cases) | changes
    item = world.word("to.ministry", 1, ErasureOrdered.TYPE, data, subject="MINISTRY")
    assert item.value is not None
    placed = StreamItem("to.ministry", 0, 1, item.key.encode(), item.value, item.headers, 0)
    return verify(placed, world.registry(), VerifiedRoots(), utc_now())


def holders(folder: Path, person: dict[str, str] = PERSON) -> list[str]:
    """Return the files below a folder in which a person's name or passport stands."""
    canaries = [person["name"].encode(), person["passport"].encode()]
    files = [file for file in folder.rglob("*") if file.is_file()]
    return [file.name for file in files if any(canary in file.read_bytes() for canary in canaries)]


async def obey(folder: Path, world: World, delivered: Delivered, *erases: Any) -> LinkMetrics:
    async def fetch() -> bytes:
        return world.signed()

    metrics = LinkMetrics()
    trust = Trust(folder / "registry.jws", world.root.public, fetch)
    await trust.refresh()
    assert isinstance(delivered.event, ErasureOrdered)
    await Eraser(trust, erases, metrics).obey(delivered, delivered.event)
    return metrics


def became(metrics: LinkMetrics, what: str) -> float:
    return float(metrics.erasures.labels(what)._value.get())


async def settle(spool: Spool, upto: int) -> list[ReceiptEntry]:
    """Sign and send the first messages; return what the hub's receipts say of them."""
    rows = await spool.waiting(upto)
    await spool.store_signatures([(row.sequence, "a.b.c", None) for row in rows], None)
    await spool.mark_sent([row.sequence for row in rows])
    envelopes = [read_envelope(row.value) for row in rows]
    return [ReceiptEntry(one.id, one.digest, one.sequence * 10) for one in envelopes]


async def test_the_spool_keeps_identities_and_counts_and_nobody(tmp_path: Path) -> None:
    world = World()
    async with Spool.open(tmp_path / "spool.sqlite", MINISTRY) as spool:
        await spool.begin()
        facts = [approval("1"), approval("2", OTHER, STAYS)]
        await spool.put(facts)
        await spool.settle(await settle(spool, 2))
        before, counted = await spool.status(), await spool.count(0, 1_000)
        assert holders(tmp_path)
        for _ in range(2):
            metrics = await obey(tmp_path, world, delivery(world, write_order()), spool.erase)
            assert (became(metrics, "obeyed"), metrics.notes) == (1, {})
            assert holders(tmp_path) == []
        assert holders(tmp_path, STAYS)
        assert await spool.count(0, 1_000) == counted
        assert replace(await spool.status(), bytes_used=0) == replace(before, bytes_used=0)
        # What is told again is known, though nothing says any more what it was.
        assert [put.outcome for put in await spool.put(facts)] == ["again", "again"]


async def test_a_fact_that_waits_is_sent_first_and_goes_with_its_receipt(tmp_path: Path) -> None:
    world = World()
    async with Spool.open(tmp_path / "spool.sqlite", MINISTRY) as spool:
        await spool.begin()
        await spool.put([approval("1"), approval("2")])
        first = await settle(spool, 1)
        await obey(tmp_path, world, delivery(world, write_order()), spool.erase)
        assert [row.sequence for row in await spool.waiting(9)] == [2]
        second = await settle(spool, 1)
        await spool.settle(first)
        assert holders(tmp_path)
        # Refused for its key it would be signed anew: it still waits.
        await spool.settle([replace(second[0], code="key_revoked")])
        assert holders(tmp_path)
        await spool.settle(second)
        assert holders(tmp_path) == []
        assert (await spool.status()).accepted == 2
        assert (await spool.status()).bytes_used == 0


async def test_one_message_goes_by_its_identity_and_a_worker_by_the_cases_that_the_hub_names(tmp_path: Path) -> None:
    world = World()
    async with Spool.open(tmp_path / "spool.sqlite", MINISTRY) as spool:
        await spool.begin()
        [put, _] = await spool.put([approval("1"), approval("2", OTHER, STAYS)])
        await spool.settle(await settle(spool, 2))
        named = [{"source": MINISTRY_SOURCE, "id": put.event_id}]
        await obey(tmp_path, world, delivery(world, write_order(messages=named, cases=[]), []), spool.erase)
        assert (holders(tmp_path), bool(holders(tmp_path, STAYS))) == ([], True)
        order = write_order(workers=["worker-0099"], cases=[])
        await obey(tmp_path, world, delivery(world, order, [OTHER]), spool.erase)
        assert holders(tmp_path, STAYS) == []


FORGERIES: dict[str, tuple[str, dict[str, Any]]] = {
    "persons_too_few": (write_order(TWO[:1]), {}),
    "one person twice": (write_order((PERSONS["sari"], PERSONS["sari-2"])), {}),
    "person_unknown": (write_order((PERSONS["sari"], PERSONS["nobody"])), {}),
    "act_of_other_environment": (write_order(environment="production"), {}),
    "another case than they signed": (write_order(), {"cases": [APPLICATION, OTHER]}),
    "another digest": (write_order(), {"order": "0f" * 32}),
    "another kind of act": (write_act({}, "tkahub-suspension+jws", *TWO).decode(), {}),
}


@pytest.mark.parametrize("name", FORGERIES)
async def test_a_forged_order_erases_nothing_and_alarms(tmp_path: Path, name: str) -> None:
    world = World()
    document, changes = FORGERIES[name]
    async with Spool.open(tmp_path / "spool.sqlite", MINISTRY) as spool:
        await spool.begin()
        await spool.put([approval("1"), approval("2", OTHER, STAYS)])
        await spool.settle(await settle(spool, 2))
        metrics = await obey(tmp_path, world, delivery(world, document, **changes), spool.erase)
        assert (became(metrics, "refused"), became(metrics, "obeyed")) == (1, 0)
        assert "nothing was erased" in metrics.notes[NOTE]
        assert holders(tmp_path)
        assert holders(tmp_path, STAYS)


async def test_outcomes_that_wait_are_told_without_the_person(tmp_path: Path) -> None:
    world = World()
    item = world.word("to.ministry", 2, ISSUED, SAMPLES[ISSUED], subject=APPLICATION)
    assert item.value is not None
    outcome = outcome_of(read_envelope(item.value))
    assert outcome is not None
    async with OutcomeQueue.open(tmp_path, utc_now) as queue:
        await queue.push([outcome])
        assert holders(tmp_path)
        await obey(tmp_path, world, delivery(world, write_order()), queue.erase)
        assert holders(tmp_path) == []
        [told] = await queue.due(9)
        assert (told.event_id, told.payload["worker"]) == (outcome.event_id, ERASED_WORKER)


async def test_offices_are_told_without_the_person_and_their_folders_are_cleared(tmp_path: Path) -> None:
    world = World()
    offices = read_offices(None, "http://a.example")
    body = json.dumps(SAMPLES[ISSUED])
    folder = Folder(tmp_path / "office")
    async with Standings.open(tmp_path, offices, utc_now, 2**30) as standings:
        news = News(NUMBER, 1, "issued", APPLICATION, "JKT-SELATAN", utc_now(), "e-1", body)
        await standings.take(news)
        await folder.deliver(news.name, body, news.key)
        assert set(holders(tmp_path)) >= {"TKA-0123456789AB.1.issued.json"}

        async def erase(erasure: Any) -> None:
            await folder.erase(await standings.erase(erasure.cases))

        for _ in range(2):
            await obey(tmp_path, world, delivery(world, write_order()), erase)
            assert holders(tmp_path) == []
        found = standings.read.content(NUMBER)
        assert found is not None
        assert json.loads(found[1])["worker"] == ERASED_WORKER
        [waiting] = standings.read.turn(offices.all[0].name, 9)
        assert json.loads(waiting.body)["number"] == NUMBER
        # A delivery that was under way finds the file as it is now.
        await folder.deliver(news.name, body, news.key)
        assert holders(tmp_path) == []
    folder.close()


KILLED = """
import asyncio, sys, os, signal
from pathlib import Path
from connectors.link import failpoint
from connectors.link.spool import Spool
from contracts.erasure import Erasure
from tests.connectors.test_erasure import APPLICATION, MINISTRY, approval, settle

def strike(name):
    if name == sys.argv[2]:
        os.kill(os.getpid(), signal.SIGKILL)

async def main():
    async with Spool.open(Path(sys.argv[1]), MINISTRY) as spool:
        await spool.begin()
        await spool.put([approval("1")])
        await spool.settle(await settle(spool, 1))
        failpoint.arm(strike)
        await spool.erase(Erasure("0f" * 32, frozenset((APPLICATION,)), frozenset()))

asyncio.run(main())
"""


def erase_until_killed(file: Path, point: str) -> None:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", KILLED, str(file), point]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.parametrize("point", ["spool.before_erase_commit", "spool.after_erase_commit"])
async def test_a_kill_leaves_an_erasure_that_is_finished_by_the_next_delivery(tmp_path: Path, point: str) -> None:
    file = tmp_path / "spool.sqlite"
    erase_until_killed(file, point)
    assert holders(tmp_path)
    world = World()
    async with Spool.open(file, MINISTRY) as spool:
        await obey(tmp_path, world, delivery(world, write_order()), spool.erase)
        assert holders(tmp_path) == []
        assert (await spool.status()).accepted == 1
