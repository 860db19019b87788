"""Cases and billing codes: the rows that one message's effect is computed from, under their locks."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from jiter import from_json
from pydantic_core import to_json

from contracts.rules.case import Fact
from hub.seal import settle_index
from hub.step import BillingCode, Case
from hub.store.database import Connection

# Where `Fact.to_json` has the log index.
FACT_LOG_INDEX = 6
# An absent row cannot be locked: without its bare row, of two first facts that come at once one would be lost.
ADD_CODES = "INSERT INTO billing_codes (code) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING"
ADD_CASES = "INSERT INTO cases (id) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING"
# The lock is a statement of its own: it must see what was committed while the one before waited.
LOCK_CODES = """
    SELECT code, case_id, facts, told FROM billing_codes WHERE code = ANY($1::text[]) ORDER BY code FOR UPDATE"""
LOCK_CASES = """
    SELECT id, facts, personal, standing, told, rule_set FROM cases WHERE id = ANY($1::text[]) ORDER BY id FOR UPDATE"""
SAVE_CODES = """
    UPDATE billing_codes b SET case_id = u.case_id, facts = u.facts, told = u.told, decided_at = $5
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS u (code, case_id, facts, told)
    WHERE b.code = u.code"""
SAVE_CASES = """
    UPDATE cases c SET facts = u.facts, personal = COALESCE(u.personal, c.personal),
        standing = COALESCE(u.standing, c.standing), told = u.told, rule_set = u.rule_set, decided_at = $7
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[])
        AS u (id, facts, personal, standing, told, rule_set)
    WHERE c.id = u.id"""


class CodeRow(NamedTuple):
    """A billing code as it is to be saved; JSON as text."""

    code: str
    case_id: str | None
    facts: str
    told: str


class CaseRow(NamedTuple):
    """A case as it is to be saved; JSON as text, `personal` and `standing` None where they did not change."""

    id: str
    facts: str
    personal: str | None
    standing: str | None
    told: str
    rule_set: str | None


def write_json(value: Any) -> str:
    """Spell a column's JSON."""
    return to_json(value).decode()


def read_facts(text: str) -> list[Fact]:
    """Read the facts that a row keeps."""
    return [Fact.from_json(stored) for stored in from_json(text.encode())]


def join_facts(stored: Iterable[str], fresh: Iterable[Fact], base: int) -> str:
    """Join the stored texts of facts with fresh ones, whose provisional log indices become real."""
    parts = [text[1:-1] for text in stored if text != "[]"]
    for fact in fresh:
        written = fact.to_json()
        written[FACT_LOG_INDEX] = settle_index(fact.log_index, base)
        parts.append(write_json(written))
    return f"[{','.join(parts)}]"


async def lock_codes(connection: Connection, codes: Collection[str]) -> dict[str, BillingCode]:
    """Lock these billing codes' rows in order, made bare where absent, and return them."""
    if not codes:
        return {}
    ordered = sorted(codes)
    await connection.execute(ADD_CODES, ordered)
    return {
        code: BillingCode(code, case_id, read_facts(facts), from_json(told.encode()), facts)
        for code, case_id, facts, told in await connection.fetch(LOCK_CODES, ordered)
    }


async def lock_cases(connection: Connection, cases: Collection[str]) -> dict[str, Case]:
    """Lock these cases' rows in order, made bare where absent, and return them."""
    if not cases:
        return {}
    ordered = sorted(cases)
    await connection.execute(ADD_CASES, ordered)
    return {
        identity: Case(
            identity,
            read_facts(facts),
            {} if personal is None else from_json(personal.encode()),
            None if standing is None else from_json(standing.encode()),
            from_json(told.encode()),
            facts,
            rule_set,
        )
        for identity, facts, personal, standing, told, rule_set in await connection.fetch(LOCK_CASES, ordered)
    }


async def save_codes(connection: Connection, rows: Iterable[CodeRow], now: datetime) -> None:
    """Write billing codes whose rows are locked."""
    columns = _columns(rows, 4)
    if columns[0]:
        await connection.execute(SAVE_CODES, *columns, now)


async def save_cases(connection: Connection, rows: Iterable[CaseRow], now: datetime) -> None:
    """Write cases whose rows are locked."""
    columns = _columns(rows, 6)
    if columns[0]:
        await connection.execute(SAVE_CASES, *columns, now)


def _columns(rows: Iterable[tuple[Any, ...]], width: int) -> Sequence[list[Any]]:
    columns = [list(column) for column in zip(*rows, strict=True)]
    return columns or [[] for _ in range(width)]
