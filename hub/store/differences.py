"""Differences as people look at them, and the daily reports. Cases and billing codes hold what both follow from."""

import json
from collections.abc import AsyncIterator, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple

from jiter import from_json

from contracts.rules.case import BILLINGS, BOOKED, EXPLANATIONS, PAYMENTS, RECEIVED, TAKEN_BACK, Fact, fold
from contracts.rules.daily_report import Account, OpenDifference, Scope, span_of, write_report
from contracts.rules.reconciliation import key_of
from contracts.wire.instant import write_instant
from hub.difference import DifferenceRow
from hub.store.cases import read_facts
from hub.store.database import Connection

KEYS_PER_FETCH = 500
PAYMENT_TYPES = [RECEIVED, BOOKED, TAKEN_BACK]

# A resolved difference that an operator had closed before keeps the place at which it was closed.
SAVE = """
    INSERT INTO differences (id, revision, key, kind, participant, state, application, payment_source, payment_id,
        amount, currency, paid_on, opened_at, closed_at, statement, explanations, opened_index, closed_index)
    SELECT u.*, $17::bigint, CASE WHEN u.closed_at IS NULL THEN NULL ELSE $17::bigint END
    FROM unnest($1::text[], $2::int[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
        $9::text[], $10::text[], $11::text[], $12::date[], $13::timestamptz[], $14::timestamptz[], $15::text[],
        $16::text[]) AS u (id, revision, key, kind, participant, state, application, payment_source, payment_id,
        amount, currency, paid_on, opened_at, closed_at, statement, explanations)
    ON CONFLICT (id, revision) DO UPDATE SET state = EXCLUDED.state, application = EXCLUDED.application,
        closed_at = EXCLUDED.closed_at, statement = EXCLUDED.statement, explanations = EXCLUDED.explanations,
        closed_index = COALESCE(differences.closed_index, EXCLUDED.closed_index)"""
IS_KNOWN = "SELECT EXISTS (SELECT FROM differences WHERE id = $1)"
LIST = """
    SELECT id, revision, key, kind, participant, state, application, payment_source, payment_id, amount, currency,
        paid_on, opened_at, closed_at, statement, explanations
    FROM differences
    WHERE ($1::text IS NULL OR participant = $1) AND paid_on <= $2 AND ($3 OR state = 'open')
    ORDER BY participant, paid_on, id, revision"""
LIST_OPEN_AT = """
    SELECT id, kind, key, amount, currency, paid_on, opened_at FROM differences
    WHERE participant = $1 AND paid_on <= $2 AND opened_index < $3 AND (closed_index IS NULL OR closed_index >= $3)
    ORDER BY id"""
# The subject of a payment is the key under which it is kept.
READ_KEYS = """
    SELECT DISTINCT subject FROM inbox
    WHERE participant = $1 AND type = ANY($2::text[]) AND time >= $3 AND time < $4 AND log_index < $5"""
READ_ACCOUNTS = """
    SELECT b.code, b.facts AS waiting, c.facts AS claimed FROM billing_codes b LEFT JOIN cases c ON c.id = b.case_id
    WHERE b.code = ANY($1::text[])"""
READ_TOUCHED_DAYS = """
    SELECT DISTINCT participant, (time AT TIME ZONE INTERVAL '+07:00')::date AS day FROM inbox
    WHERE log_index >= $1 AND type = ANY($2::text[])"""
READ_FIRST_DAY = "SELECT (min(applied_at) AT TIME ZONE INTERVAL '+07:00')::date FROM registry"
COUNT_OPEN = "SELECT participant, kind, count(*) FROM differences WHERE state = 'open' GROUP BY 1, 2"
READ_HEAD = "SELECT next_index FROM log WHERE id = 1"
READ_LAST_REPORT = """
    SELECT revision, document FROM reconciliation_reports WHERE participant = $1 AND day = $2
    ORDER BY revision DESC LIMIT 1"""
READ_REPORTED = """
    SELECT participant, max(day) AS day, max(log_size) AS log_size FROM reconciliation_reports GROUP BY participant"""
ADD_REPORT = """
    INSERT INTO reconciliation_reports (participant, day, revision, log_size, created_at, sha256, document)
    VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING RETURNING revision"""


class Reported(NamedTuple):
    """How far a bank's reports go: the last day, and the size of the log that the newest of them knew."""

    day: date
    log_size: int


async def save(connection: Connection, rows: Sequence[DifferenceRow], base: int) -> None:
    """Write differences that a transaction opened, explained or closed; `base` is its first log index."""
    if rows:
        columns = [list(column) for column in zip(*rows, strict=True)]
        columns[-1] = [json.dumps(given) for given in columns[-1]]
        await connection.execute(SAVE, *columns, base)


async def is_known(connection: Connection, difference_id: str) -> bool:
    """Return whether a difference of this id was ever opened."""
    return bool(await connection.fetchval(IS_KNOWN, difference_id))


async def list_differences(
    connection: Connection, *, participant: str | None, until: date, closed: bool
) -> list[dict[str, Any]]:
    """Return differences of money paid until a day (Jakarta), those that are over too with `closed`."""
    rows = await connection.fetch(LIST, participant, until, closed)
    return [dict(row) | {"explanations": json.loads(row["explanations"])} for row in rows]


async def list_open_at(connection: Connection, participant: str, until: date, log_size: int) -> list[OpenDifference]:
    """Return a bank's differences of money paid until a day that were open when the log had this size."""
    return [
        OpenDifference(
            row["id"],
            row["kind"],
            row["key"] if row["key"].isdigit() else None,
            row["amount"],
            row["currency"],
            row["paid_on"],
            write_instant(row["opened_at"]),
        )
        for row in await connection.fetch(LIST_OPEN_AT, participant, until, log_size)
    ]


async def read_keys(
    connection: Connection, participant: str, span: tuple[datetime, datetime], log_size: int
) -> set[str]:
    """Return the keys under which a bank reported money within a span, as far as a log of this size knows."""
    rows = await connection.fetch(READ_KEYS, participant, sorted(PAYMENTS), *span, log_size)
    return {row["subject"] for row in rows}


async def read_accounts(connection: Connection, keys: set[str]) -> AsyncIterator[Account]:
    """Yield the accounts of these keys, each once."""
    ordered = sorted(keys)
    for start in range(0, len(ordered), KEYS_PER_FETCH):
        for code, waiting, claimed in await connection.fetch(READ_ACCOUNTS, ordered[start : start + KEYS_PER_FETCH]):
            yield _account_of(code, read_facts(waiting if claimed is None else claimed))


def _account_of(key: str, facts: Sequence[Fact]) -> Account:
    """Return what concerns one key of a case's facts."""
    bills = [fact for fact in facts if fact.type in BILLINGS and fact.data["billing_code"] == key]
    paid = [fact for fact in facts if fact.type in PAYMENTS and fact.data.get("billing_code") in (key, None)]
    explained = [fact for fact in facts if fact.type in EXPLANATIONS]
    return Account(key, fold(bills).bills.get(key), (*paid, *explained))


async def make_document(connection: Connection, scope: Scope) -> bytes:
    """Write a report from the facts and differences below the scope's place in the log, in one moment's picture."""
    listed = await list_open_at(connection, scope.participant, scope.day, scope.log_size)
    keys = await read_keys(connection, scope.participant, span_of(scope.day), scope.log_size)
    accounts = [one async for one in read_accounts(connection, keys | {key_of(one.id) for one in listed})]
    return write_report(scope, accounts, listed)


async def count_open(connection: Connection) -> dict[tuple[str, str], int]:
    """Return how many differences are open, by bank and kind."""
    return {(bank, kind): count for bank, kind, count in await connection.fetch(COUNT_OPEN)}


async def read_head(connection: Connection) -> int:
    """Return the size of the log: every entry below it is there to be read."""
    return int(await connection.fetchval(READ_HEAD))


async def read_touched_days(connection: Connection, since: int) -> list[tuple[str, date]]:
    """Return (bank, Jakarta day) of the money that was reported at this log index or later."""
    rows = await connection.fetch(READ_TOUCHED_DAYS, since, PAYMENT_TYPES)
    return [(participant, day) for participant, day in rows]


async def read_first_day(connection: Connection) -> date | None:
    """Return the Jakarta day on which the exchange began."""
    day: date | None = await connection.fetchval(READ_FIRST_DAY)
    return day


async def read_reported(connection: Connection) -> dict[str, Reported]:
    """Return how far each bank's reports go."""
    return {row["participant"]: Reported(row["day"], row["log_size"]) for row in await connection.fetch(READ_REPORTED)}


async def read_last_report(connection: Connection, participant: str, day: date) -> tuple[int, dict[str, Any]] | None:
    """Return the newest revision of a report and what it says, or None."""
    row = await connection.fetchrow(READ_LAST_REPORT, participant, day)
    return None if row is None else (row["revision"], from_json(row["document"]))


async def add_report(
    connection: Connection, participant: str, day: date, revision: int, log_size: int, now: datetime, sha256: str,
    document: bytes,
) -> bool:  # fmt: skip
    """Keep a report; return False, and change nothing, if this revision is there already."""
    kept = await connection.fetchval(ADD_REPORT, participant, day, revision, log_size, now, sha256, document)
    return kept is not None
