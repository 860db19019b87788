"""What the protections are replaced with, one at a time, to show that each of them is needed.

`armed` puts these in the place of the real functions and statements before the process starts.
"""

import asyncio
import json
import os
import time
import uuid
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from sqlite3 import Connection as SpoolConnection
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaTimeoutError

from connectors.immigration.standing_file import QUEUE
from connectors.link.lineage import Lineage
from connectors.link.spool_file import SpoolFile
from contracts.admission import Admitted
from hub.relay import TRANSIENT, TopicRelay
from hub.step import BillingCode, Case, Held
from hub.store.cases import ADD_CASES, read_facts
from hub.store.database import Connection

# How long a transaction that found a row absent leaves to the others, so that the race happens each time.
RACE_WINDOW_S = 1.0
# How long a transaction waits for another one that wants the same rows.
MEETING_S = 30.0
# How long a consumer goes on looking for everything that waits.
GATHERING_S = 30.0
# Longer than any freeze, so that the broker does not give up the frozen one's transaction by itself.
TRANSACTION_TIMEOUT_MS = 120_000
ANSWERS_LOST_EVERY = 3
ANSWERS_LOST_MAX = 5

# --- watermark: whoever comes moves it, wherever it stands -----------------------------------------------------------

MOVE_FROM_ANYWHERE = """
    WITH moved AS (
        UPDATE watermark SET next = $4 WHERE topic_id = $1 AND partition = $2 AND $3::bigint >= 0 RETURNING topic_id)
    INSERT INTO watermark_interval (topic_id, partition, from_offset, to_offset, kind, received_at)
    SELECT topic_id, $2, $3, $4, $5, $6 FROM moved
    ON CONFLICT (topic_id, partition, from_offset) DO UPDATE SET to_offset = EXCLUDED.to_offset RETURNING 1"""

MOVE_TOGETHER_FROM_ANYWHERE = """
    WITH wanted AS (
        SELECT * FROM unnest($1::text[], $2::int[], $3::bigint[], $4::bigint[])
            AS u (topic_id, partition, start, behind)),
    moved AS (
        UPDATE watermark w SET next = wanted.behind FROM wanted
        WHERE w.topic_id = wanted.topic_id AND w.partition = wanted.partition
        RETURNING w.topic_id, w.partition, wanted.start, wanted.behind)
    INSERT INTO watermark_interval (topic_id, partition, from_offset, to_offset, kind, received_at)
    SELECT topic_id, partition, start, behind, $5, $6 FROM moved
    ON CONFLICT (topic_id, partition, from_offset) DO UPDATE SET to_offset = EXCLUDED.to_offset RETURNING 1"""

# --- inbox key: nothing is ever recognised ---------------------------------------------------------------------------


async def recall_nothing(connection: Connection, admitted: Sequence[Admitted], *, thorough: bool) -> Held:
    """Say that the inbox holds none of these."""
    return Held({}, {})


# --- batches that come together: no protection is taken away, the intake only gets at once all that waits ------------


class GatheringConsumer(AIOKafkaConsumer):  # type: ignore[misc]  # aiokafka has no type hints.
    """A consumer whose first records are FAULT_GATHER at once, in however many answers the broker gives them."""

    wanted = int(os.environ.get("FAULT_GATHER", "0"))

    async def getmany(self, *places: Any, timeout_ms: int = 0, max_records: int | None = None) -> dict[Any, list[Any]]:
        """Poll until all that waits has come; from then on as usual."""
        found: dict[Any, list[Any]] = await super().getmany(*places, timeout_ms=timeout_ms, max_records=max_records)
        until_s = time.monotonic() + GATHERING_S
        while found and sum(map(len, found.values())) < GatheringConsumer.wanted and time.monotonic() < until_s:
            more = await super().getmany(*places, timeout_ms=timeout_ms, max_records=max_records)
            for place, records in more.items():
                found.setdefault(place, []).extend(records)
        if found:
            GatheringConsumer.wanted = 0
        return found


def pack_each_alone(found: Mapping[Any, Sequence[Any]], size: int) -> list[dict[Any, Sequence[Any]]]:
    """Take each partition in a transaction of its own, however little it has: what comes together then races."""
    return [{place: records} for place, records in found.items()]


# --- lock order: rows are locked one by one, in whatever order -------------------------------------------------------


class Meeting:
    """Brings the first two transactions that share rows into a circle: each has one row that the other needs."""

    def __init__(self) -> None:
        self._waiting: list[tuple[set[str], asyncio.Future[str | None]]] = []
        self._has_met = False
        self._both_have_one = asyncio.Barrier(2)

    async def find_first(self, names: set[str]) -> str | None:
        """Return the row to begin with: of those that two share, one of them gets the first and the other the last.

        None: nobody else wants these rows, or two have met already.
        """
        for others, partner in self._waiting:
            shared = sorted(names & others)
            if len(shared) > 1 and not self._has_met and not partner.done():
                self._has_met = True
                partner.set_result(shared[0])
                self._let_go()
                return shared[-1]
        return None if self._has_met else await self._wait(names)

    async def _wait(self, names: set[str]) -> str | None:
        partner: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((names, partner))
        try:
            return await asyncio.wait_for(partner, MEETING_S)
        except TimeoutError:
            return None

    def _let_go(self) -> None:
        for _, other in self._waiting:
            if not other.done():
                other.set_result(None)

    async def hold(self) -> None:
        """Wait, with the first row locked, until the other one has its own."""
        await asyncio.wait_for(self._both_have_one.wait(), MEETING_S)


meeting = Meeting()


async def lock_cases_in_any_order(connection: Connection, cases: Collection[str]) -> dict[str, Case]:
    """Do what `lock_cases` does, without its order."""
    await connection.execute(ADD_CASES, sorted(cases))
    found: dict[str, Case] = {}
    first = await meeting.find_first(set(cases))
    if first is not None:
        found[first] = await _lock_case(connection, first)
        await meeting.hold()
    return found | {case: await _lock_case(connection, case) for case in sorted(cases) if case != first}


async def _lock_code(connection: Connection, code: str) -> BillingCode:
    row = await connection.fetchrow("SELECT case_id, facts, told FROM billing_codes WHERE code = $1 FOR UPDATE", code)
    if row is None:
        return BillingCode(code, None, [], {})
    return BillingCode(code, row["case_id"], read_facts(row["facts"]), json.loads(row["told"]), row["facts"])


async def _lock_case(connection: Connection, case: str) -> Case:
    query = "SELECT facts, personal, standing, told, rule_set FROM cases WHERE id = $1 FOR UPDATE"
    row = await connection.fetchrow(query, case)
    if row is None:
        return Case(case, [], {}, None, {})
    personal = {} if row["personal"] is None else json.loads(row["personal"])
    standing = None if row["standing"] is None else json.loads(row["standing"])
    facts, told = row["facts"], json.loads(row["told"])
    return Case(case, read_facts(facts), personal, standing, told, facts, row["rule_set"])


# --- absent-row insert: a row that is not there is not locked, and written when all is done --------------------------


async def lock_codes_that_are_there(connection: Connection, codes: Collection[str]) -> dict[str, BillingCode]:
    """Lock the rows that exist, and take the others for empty."""
    found = {code: await _lock_code(connection, code) for code in sorted(codes)}
    await connection.execute("SELECT pg_sleep($1)", RACE_WINDOW_S)
    return found


async def lock_cases_that_are_there(connection: Connection, cases: Collection[str]) -> dict[str, Case]:
    """Lock the rows that exist, and take the others for empty."""
    return {case: await _lock_case(connection, case) for case in sorted(cases)}


UPSERT_CODES = """
    INSERT INTO billing_codes (code, case_id, facts, told, decided_at)
    SELECT code, case_id, facts, told, $5 FROM unnest($1::text[], $2::text[], $3::text[], $4::text[])
        AS u (code, case_id, facts, told)
    ON CONFLICT (code) DO UPDATE SET case_id = EXCLUDED.case_id, facts = EXCLUDED.facts, told = EXCLUDED.told,
        decided_at = EXCLUDED.decided_at"""
UPSERT_CASES = """
    INSERT INTO cases AS c (id, facts, personal, standing, told, rule_set, decided_at)
    SELECT id, facts, personal, standing, told, rule_set, $7
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[])
        AS u (id, facts, personal, standing, told, rule_set)
    ON CONFLICT (id) DO UPDATE SET facts = EXCLUDED.facts, personal = COALESCE(EXCLUDED.personal, c.personal),
        standing = COALESCE(EXCLUDED.standing, c.standing), told = EXCLUDED.told, rule_set = EXCLUDED.rule_set,
        decided_at = EXCLUDED.decided_at"""

# --- fencing and recycling -------------------------------------------------------------------------------------------


class UnfencedProducer(AIOKafkaProducer):  # type: ignore[misc]  # aiokafka has no type hints.
    """A producer that shares its transactional id with nobody, so that no newer one fences it."""

    def __init__(self, **settings: Any) -> None:
        own = {
            "transactional_id": f"{settings['transactional_id']}-{uuid.uuid4()}",
            "transaction_timeout_ms": TRANSACTION_TIMEOUT_MS,
        }
        super().__init__(**settings | own)


class ForgottenProducer(AIOKafkaProducer):  # type: ignore[misc]  # aiokafka has no type hints.
    """A producer to which the answer to every third commit gets lost: the transaction stands, nobody knows."""

    commits = 0

    async def commit_transaction(self) -> None:
        """Commit, and now and then say that it is not known."""
        await super().commit_transaction()
        ForgottenProducer.commits += 1
        lost, rest = divmod(ForgottenProducer.commits, ANSWERS_LOST_EVERY)
        if rest == 0 and lost <= ANSWERS_LOST_MAX:
            raise KafkaTimeoutError


async def lead_with_one_producer(self: TopicRelay) -> None:
    """Lead a term, and after any trouble do the same again with the same producer, without looking where it stands."""
    await self._election.confirm()
    async with self._producer() as producer:
        self._positions = await self._read_positions()
        while not self._stopping:
            shipment = await self._prepare(self._positions)
            if not shipment:
                await self._wait_for_news()
                continue
            while True:
                try:
                    await self._publish_in_time(producer, shipment)
                    break
                except TRANSIENT:
                    continue
            await self._settle(shipment)


# --- the connectors --------------------------------------------------------------------------------------------------

_open_spool = SpoolFile._open


def open_forgetful(self: SpoolFile, path: Path) -> SpoolConnection:
    """Open a spool that a crash empties, as if messages were sent before they are on disk."""
    for file in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
        file.unlink(missing_ok=True)
    return _open_spool(self, path)


async def start_blindly(self: Lineage) -> None:
    """Send from a spool without asking what the hub has of its source."""
    self.settled = True


QUEUE_AGAIN = QUEUE.replace("OR IGNORE", "OR REPLACE")


def is_never_repeat(seq: int, last: int) -> bool:
    """Take every record for a new one."""
    return False


# --- connectors whose clock a test has put on ------------------------------------------------------------------------

# How often they look for what has no receipt, so that a test sees the end of it.
OFTEN_S = 1.0
