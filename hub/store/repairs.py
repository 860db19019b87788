"""The repair desk's memory: what operators asked, what dry runs showed, what was carried out of them."""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from contracts.wire.record import Record
from hub.store.quarantine import RECORD_COLUMNS, record_of

if TYPE_CHECKING:
    from hub.store.database import Connection

# A form that is sent twice asks once.
ASK = """
    INSERT INTO repair_actions
        (token, verb, parked_id, code, participant, messages_max, repair_id, digest, actor, reason)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (token) DO NOTHING RETURNING id"""
FIND_ASKED = "SELECT id FROM repair_actions WHERE token = $1 AND actor = $2 AND verb = $3"
ACTION = """
    id, verb, parked_id, code, participant, messages_max, repair_id, digest, actor, reason, at, settled_at, outcome,
    log_index"""
CLAIM = f"SELECT {ACTION} FROM repair_actions WHERE settled_at IS NULL ORDER BY id LIMIT 1 FOR UPDATE"  # noqa: S608
READ_ACTION = f"SELECT {ACTION} FROM repair_actions WHERE id = $1"  # noqa: S608
LIST_ACTIONS = f"""
    SELECT {ACTION} FROM repair_actions WHERE ($1::bigint IS NULL OR parked_id = $1)
        AND ($2::bigint IS NULL OR repair_id = $2 OR id = $2) ORDER BY id DESC LIMIT $3"""  # noqa: S608
SETTLE = "UPDATE repair_actions SET settled_at = $2, outcome = $3, log_index = $4 WHERE id = $1"
READ_OPERATORS = """
    SELECT name, COALESCE(person, name) AS person, created_at FROM accounts
    WHERE name = ANY($1::text[]) AND role = 'operator' AND disabled_at IS NULL"""
LOOK = "SELECT key, value, headers FROM look_at_parked($1)"

RECORD = ", ".join(f'q."{column}"' for column in RECORD_COLUMNS)
PARKED = f"q.id, q.code, q.participant, q.source, q.event_id, q.log_index, q.salt, q.resolved_at, {RECORD}"
OPEN = "q.resolved_at IS NULL AND q.erased_at IS NULL AND q.value IS NOT NULL"
SELECT_ONE = f"SELECT {PARKED} FROM quarantine q WHERE q.id = $1 AND {OPEN}"  # noqa: S608
SELECT_GROUP = f"""
    SELECT {PARKED} FROM quarantine q WHERE q.code = $1 AND q.participant IS NOT DISTINCT FROM $2 AND {OPEN}
    ORDER BY q.id LIMIT $3"""  # noqa: S608
COUNT_GROUP = f"""
    SELECT count(*) FROM quarantine q
    WHERE q.code = $1 AND q.participant IS NOT DISTINCT FROM $2 AND {OPEN}"""  # noqa: S608
SELECT_UNASKED = f"""
    SELECT {PARKED} FROM quarantine q WHERE (q.id = $1 OR (q.code = $2 AND q.participant IS NOT DISTINCT FROM $3))
        AND {OPEN} AND NOT EXISTS (SELECT FROM sent_back s WHERE s.parked_id = q.id)
    ORDER BY q.id LIMIT $4 FOR UPDATE OF q"""  # noqa: S608
SEND_BACK = """
    INSERT INTO sent_back (parked_id, action_id, at) SELECT u, $2, $3 FROM unnest($1::bigint[]) AS u
    ON CONFLICT DO NOTHING"""

ADD = """
    INSERT INTO repairs
        (id, state, rehearsed_by, rehearsed_at, registry_version, suspensions, digest, document, messages)
    VALUES ($1, 'rehearsed', $2, $3, $4, $5, $6, $7, $8)"""
ADD_ITEMS = """
    INSERT INTO repair_items (repair_id, parked_id, digest, expected)
    SELECT $1, u.* FROM unnest($2::bigint[], $3::bytea[], $4::text[]) AS u"""
REPAIR = """
    r.id, r.state, r.rehearsed_by, r.rehearsed_at, r.registry_version, r.suspensions, r.digest, r.messages,
    r.requested_by, r.requested_at, r.reason, r.approved_by, r.approved_at, r.ended_by, r.ended_at"""
LOCK = f"SELECT {REPAIR} FROM repairs r WHERE r.id = $1 FOR UPDATE"  # noqa: S608
FIND = f"SELECT {REPAIR} FROM repairs r WHERE r.id = $1"  # noqa: S608
# Whoever carries repairs out takes turns at the oldest: so none of them can go round the cap on their number.
LOCK_RUNNING = f"SELECT {REPAIR} FROM repairs r WHERE state = 'running' ORDER BY approved_at, id LIMIT 1 FOR UPDATE"  # noqa: S608
LIST = f"""
    SELECT {REPAIR}, count(i.outcome) AS done, count(*) FILTER (WHERE i.outcome IN ('changed', 'failed')) AS left_alone
    FROM repairs r LEFT JOIN repair_items i ON i.repair_id = r.id
    WHERE $1::bigint IS NULL OR r.id = $1 GROUP BY r.id ORDER BY r.id DESC LIMIT $2"""  # noqa: S608
READ_DOCUMENT = "SELECT document FROM repairs WHERE id = $1"
REQUEST = """
    UPDATE repairs SET state = 'requested', requested_by = $2, requested_at = $3, reason = $4 WHERE id = $1"""
APPROVE = "UPDATE repairs SET state = 'running', approved_by = $2, approved_at = $3 WHERE id = $1"
END = "UPDATE repairs SET state = $2, ended_by = $3, ended_at = $4 WHERE id = $1"
COUNT_DONE_SINCE = "SELECT count(*) FROM repair_items WHERE done_at > $1 AND outcome IN ('accepted', 'duplicate')"
CLAIM_ITEMS = f"""
    SELECT i.digest AS expected_digest, i.expected, {PARKED} FROM repair_items i JOIN quarantine q ON q.id = i.parked_id
    WHERE i.repair_id = $1 AND i.outcome IS NULL ORDER BY i.parked_id LIMIT $2 FOR UPDATE OF q"""  # noqa: S608
NOTE_OUTCOMES = """
    UPDATE repair_items i SET outcome = u.outcome, done_at = $4
    FROM unnest($2::bigint[], $3::text[]) AS u (parked_id, outcome)
    WHERE i.repair_id = $1 AND i.parked_id = u.parked_id AND i.outcome IS NULL"""
LIST_ITEMS = "SELECT parked_id, outcome FROM repair_items WHERE repair_id = $1 AND outcome IS NOT NULL"
HAS_WAITING = "SELECT EXISTS (SELECT FROM repair_items WHERE repair_id = $1 AND outcome IS NULL)"
RESOLVE = "UPDATE quarantine SET resolved_at = $2, resolution = $3 WHERE id = ANY($1::bigint[]) AND resolved_at IS NULL"

READ_CORRECTIONS = """
    SELECT log_index, participant, source, cause FROM corrections WHERE NOT noted ORDER BY log_index LIMIT $1
    FOR UPDATE"""
RESOLVE_CORRECTED = """
    UPDATE quarantine q SET resolved_at = $5, resolution = 'corrected'
    FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[]) AS c (log_index, participant, source, cause)
    WHERE q.source = c.source AND q.event_id = c.cause AND q.participant = c.participant AND q.log_index < c.log_index
        AND q.resolved_at IS NULL RETURNING q.id"""
NOTE_CORRECTIONS = "UPDATE corrections SET noted = true WHERE log_index = ANY($1::bigint[])"


class Asked(NamedTuple):
    """What an operator asks. `digest` is that of the dry run that was shown; `code` and `participant` name a group."""

    token: uuid.UUID
    verb: str
    actor: str
    reason: str
    parked_id: int | None = None
    code: str | None = None
    participant: str | None = None
    messages_max: int | None = None
    repair_id: int | None = None
    digest: str | None = None


class Action(NamedTuple):
    """What was asked, in the order in which it is settled, and what came of it (None until then)."""

    id: int
    verb: str
    parked_id: int | None
    code: str | None
    participant: str | None
    messages_max: int | None
    repair_id: int | None
    digest: str | None
    actor: str
    reason: str
    at: datetime
    settled_at: datetime | None
    outcome: str | None
    log_index: int | None


class Operator(NamedTuple):
    """An account that may repair, and the person behind it, who may have several."""

    name: str
    person: str
    created_at: datetime


class Parked(NamedTuple):
    """A refused message as a repair reads it; `salt` is None once it was erased."""

    id: int
    code: str
    participant: str | None
    source: str | None
    event_id: str | None
    log_index: int
    salt: bytes | None
    resolved: bool
    topic_id: str
    record: Record


class Repair(NamedTuple):
    """A dry run and what became of it; who asked, approved or ended it is None until somebody did."""

    id: int
    state: str
    rehearsed_by: str
    rehearsed_at: datetime
    registry_version: int
    suspensions: int
    digest: str
    messages: int
    requested_by: str | None
    requested_at: datetime | None
    reason: str | None
    approved_by: str | None
    approved_at: datetime | None
    ended_by: str | None
    ended_at: datetime | None


class Progress(NamedTuple):
    """A repair, how many of its messages were dealt with, and how many of these were left as they were."""

    repair: Repair
    done: int
    left_alone: int


class Item(NamedTuple):
    """One message of a repair that runs, with what its dry run showed."""

    parked: Parked
    digest: bytes
    expected: str


def _parked_of(row: Any) -> Parked:
    return Parked(
        row["id"], row["code"], row["participant"], row["source"], row["event_id"], row["log_index"], row["salt"],
        row["resolved_at"] is not None, row["topic_id"], record_of(row),
    )  # fmt: skip


async def ask(connection: "Connection", asked: Asked) -> int | None:
    """Keep what an operator asks and return its id: the same for the same token, None for another's token."""
    found = await connection.fetchval(
        ASK, asked.token, asked.verb, asked.parked_id, asked.code, asked.participant, asked.messages_max,
        asked.repair_id, asked.digest, asked.actor, asked.reason,
    )  # fmt: skip
    if found is None:
        found = await connection.fetchval(FIND_ASKED, asked.token, asked.actor, asked.verb)
    return None if found is None else int(found)


async def claim_action(connection: "Connection") -> Action | None:
    """Lock the oldest action that is not settled."""
    row = await connection.fetchrow(CLAIM)
    return None if row is None else Action(*row)


async def read_action(connection: "Connection", action_id: int) -> Action | None:
    """Return one action."""
    row = await connection.fetchrow(READ_ACTION, action_id)
    return None if row is None else Action(*row)


async def list_actions(
    connection: "Connection", *, parked_id: int | None = None, repair_id: int | None = None, limit: int = 50
) -> list[Action]:
    """Return the newest actions, of one message or repair if so asked."""
    return [Action(*row) for row in await connection.fetch(LIST_ACTIONS, parked_id, repair_id, limit)]


async def settle(connection: "Connection", action_id: int, now: datetime, outcome: str, log_index: int | None) -> None:
    """Note what came of an action, and where the log has it."""
    await connection.execute(SETTLE, action_id, now, outcome, log_index)


async def read_operators(connection: "Connection", *names: str | None) -> dict[str, Operator]:
    """Return those of these accounts that may repair."""
    rows = await connection.fetch(READ_OPERATORS, [name for name in names if name is not None])
    return {row["name"]: Operator(*row) for row in rows}


async def look(connection: "Connection", action_id: int) -> tuple[bytes | None, bytes | None, str] | None:
    """Return key, value and headers of the message that an action looks at; None if it looks at nothing any more."""
    row = await connection.fetchrow(LOOK, action_id)
    return None if row is None else (row["key"], row["value"], row["headers"])


async def select(connection: "Connection", action: Action, limit: int) -> tuple[list[Parked], int]:
    """Return the open messages that a dry run is asked for, oldest first, and how many there are in all."""
    if action.parked_id is not None:
        rows = await connection.fetch(SELECT_ONE, action.parked_id)
        return [_parked_of(row) for row in rows], len(rows)
    rows = await connection.fetch(SELECT_GROUP, action.code, action.participant, limit)
    total = int(await connection.fetchval(COUNT_GROUP, action.code, action.participant))
    return [_parked_of(row) for row in rows], total


async def select_unasked(connection: "Connection", action: Action, limit: int) -> list[Parked]:
    """Lock the open messages of an action whose sender was not asked to correct them yet."""
    rows = await connection.fetch(SELECT_UNASKED, action.parked_id, action.code, action.participant, limit)
    return [_parked_of(row) for row in rows]


async def send_back(connection: "Connection", parked: Sequence[int], action_id: int, now: datetime) -> None:
    """Note that the senders of these messages were asked to correct them."""
    await connection.execute(SEND_BACK, list(parked), action_id, now)


async def add(connection: "Connection", repair: Repair, document: str, items: Sequence[tuple[int, bytes, str]]) -> None:
    """Keep what a dry run showed; `items` are (message, digest, outcome) of what it would change."""
    await connection.execute(
        ADD, repair.id, repair.rehearsed_by, repair.rehearsed_at, repair.registry_version, repair.suspensions,
        repair.digest, document, repair.messages,
    )  # fmt: skip
    columns = [[item[place] for item in items] for place in range(3)]
    await connection.execute(ADD_ITEMS, repair.id, *columns)


async def lock(connection: "Connection", repair_id: int) -> Repair | None:
    """Lock a repair."""
    row = await connection.fetchrow(LOCK, repair_id)
    return None if row is None else Repair(*row)


async def lock_running(connection: "Connection") -> Repair | None:
    """Lock the repair that was approved first of those that are not through."""
    row = await connection.fetchrow(LOCK_RUNNING)
    return None if row is None else Repair(*row)


async def list_repairs(connection: "Connection", repair_id: int | None = None, limit: int = 50) -> list[Progress]:
    """Return the newest repairs with how far they are, or the one that is named."""
    width = len(Repair._fields)
    return [Progress(Repair(*row[:width]), *row[width:]) for row in await connection.fetch(LIST, repair_id, limit)]


async def read_document(connection: "Connection", repair_id: int) -> str | None:
    """Return what a dry run showed, as JSON."""
    document: str | None = await connection.fetchval(READ_DOCUMENT, repair_id)
    return document


async def request(connection: "Connection", repair_id: int, actor: str, now: datetime, reason: str) -> None:
    """Note who asks for what a dry run showed."""
    await connection.execute(REQUEST, repair_id, actor, now, reason)


async def approve(connection: "Connection", repair_id: int, actor: str, now: datetime) -> None:
    """Note who approved it: from now on it runs."""
    await connection.execute(APPROVE, repair_id, actor, now)


async def end(connection: "Connection", repair_id: int, state: str, actor: str, now: datetime) -> None:
    """Note that a repair is through, or was stopped; it never runs again."""
    await connection.execute(END, repair_id, state, actor, now)


async def count_done_since(connection: "Connection", since: datetime) -> int:
    """Return how many messages all repairs together took up since then."""
    return int(await connection.fetchval(COUNT_DONE_SINCE, since))


async def claim_items(connection: "Connection", repair_id: int, limit: int) -> list[Item]:
    """Lock the oldest messages of a repair that were not dealt with."""
    rows = await connection.fetch(CLAIM_ITEMS, repair_id, limit)
    return [Item(_parked_of(row), row["expected_digest"], row["expected"]) for row in rows]


async def note_outcomes(
    connection: "Connection", repair_id: int, outcomes: Sequence[tuple[int, str]], now: datetime
) -> None:
    """Note what became of messages of a repair."""
    ids, words = [parked_id for parked_id, _ in outcomes], [word for _, word in outcomes]
    await connection.execute(NOTE_OUTCOMES, repair_id, ids, words, now)


async def list_outcomes(connection: "Connection", repair_id: int) -> dict[int, str]:
    """Return what became of each message that was dealt with."""
    return {row["parked_id"]: row["outcome"] for row in await connection.fetch(LIST_ITEMS, repair_id)}


async def has_waiting(connection: "Connection", repair_id: int) -> bool:
    """Whether something of a repair is still to be dealt with."""
    return bool(await connection.fetchval(HAS_WAITING, repair_id))


async def resolve(connection: "Connection", parked: Sequence[int], now: datetime, resolution: str) -> None:
    """Note what became of refused messages."""
    await connection.execute(RESOLVE, list(parked), now, resolution)


async def resolve_corrected(connection: "Connection", now: datetime, limit: int) -> tuple[int, int]:
    """Resolve what accepted messages correct; return how many were looked at, and how many they corrected."""
    rows = await connection.fetch(READ_CORRECTIONS, limit)
    if not rows:
        return 0, 0
    columns = [[row[name] for row in rows] for name in ("log_index", "participant", "source", "cause")]
    resolved = await connection.fetch(RESOLVE_CORRECTED, *columns, now)
    await connection.execute(NOTE_CORRECTIONS, columns[0])
    return len(rows), len(resolved)
