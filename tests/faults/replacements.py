"""What the protections are replaced with, one at a time, to show that each of them is needed.

`armed` puts these in the place of the real functions and statements before the process starts.
"""

import itertools
import json
import time
import uuid
from collections.abc import Collection, Sequence
from pathlib import Path
from sqlite3 import Connection as SpoolConnection
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaTimeoutError

from connectors.immigration.standing_file import QUEUE
from connectors.link.hub_client import client_assertion
from connectors.link.lineage import Lineage
from connectors.link.spool_file import SpoolFile
from contracts.admission import Admitted
from contracts.wire.key import PrivateKey
from hub.relay import TRANSIENT, TopicRelay
from hub.step import BillingCode, Case, Held
from hub.store.cases import ADD_CASES, ADD_CODES, read_facts
from hub.store.database import Connection

# How long a transaction that found a row absent leaves to the others, so that the race happens each time.
RACE_WINDOW_S = 0.3
ANSWERS_LOST_EVERY = 3
ANSWERS_LOST_MAX = 5
# How long a transaction stays between one row and the next, so that others come in between.
ROW_PAUSE_S = 0.03

# --- watermark: whoever comes moves it, wherever it stands -----------------------------------------------------------

MOVE_FROM_ANYWHERE = """
    WITH moved AS (
        UPDATE watermark SET next = $4 WHERE topic_id = $1 AND partition = $2 AND $3::bigint >= 0 RETURNING topic_id)
    INSERT INTO watermark_interval (topic_id, partition, from_offset, to_offset, kind, received_at)
    SELECT topic_id, $2, $3, $4, $5, $6 FROM moved
    ON CONFLICT (topic_id, partition, from_offset) DO UPDATE SET to_offset = EXCLUDED.to_offset RETURNING 1"""

# --- inbox key: nothing is ever recognised ---------------------------------------------------------------------------


async def recall_nothing(connection: Connection, admitted: Sequence[Admitted], *, thorough: bool) -> Held:
    """Say that the inbox holds none of these."""
    return Held({}, {})


# --- lock order: rows are locked one by one, as they happen to come --------------------------------------------------


_turns = itertools.cycle((False, True))


def _any_order(names: Collection[str]) -> list[str]:
    """Return the names upwards or downwards, in turn: two transactions that share rows come from both ends."""
    return sorted(names, reverse=next(_turns))


async def lock_codes_in_any_order(connection: Connection, codes: Collection[str]) -> dict[str, BillingCode]:
    """Do what `lock_codes` does, without its order."""
    await connection.execute(ADD_CODES, sorted(codes))
    found = {}
    for code in _any_order(codes):
        found[code] = await _lock_code(connection, code)
        await connection.execute("SELECT pg_sleep($1)", ROW_PAUSE_S)
    return found


async def lock_cases_in_any_order(connection: Connection, cases: Collection[str]) -> dict[str, Case]:
    """Do what `lock_cases` does, without its order."""
    await connection.execute(ADD_CASES, sorted(cases))
    found = {}
    for case in _any_order(cases):
        found[case] = await _lock_case(connection, case)
        await connection.execute("SELECT pg_sleep($1)", ROW_PAUSE_S)
    return found


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
        super().__init__(**settings | {"transactional_id": f"{settings['transactional_id']}-{uuid.uuid4()}"})


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
_assert_identity = client_assertion


def assert_at_real_time(key: PrivateKey, participant: str, audience: str, now_s: int) -> str:
    """Show who this is to the hub's API, whose clock nobody has put on."""
    return _assert_identity(key, participant, audience, int(time.time()))
