"""The register of foreign workers as it is kept: its entries, and what each grantee was told of them."""

from collections.abc import Collection, Iterable, Sequence
from datetime import date, timedelta
from typing import Any, NamedTuple

from jiter import from_json

from contracts.oversight.register import Registered
from hub.store.cases import write_json
from hub.store.database import Connection

SAVE = """
    INSERT INTO register (application, entry, unit, kanim, regencies, begins_on, last_day, differs_from)
    SELECT application, entry, unit, kanim, string_to_array(regencies, ' '), begins_on, last_day, differs_from
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::date[], $7::date[], $8::date[])
        AS u (application, entry, unit, kanim, regencies, begins_on, last_day, differs_from)
    ON CONFLICT (application) DO UPDATE SET entry = excluded.entry, unit = excluded.unit, kanim = excluded.kanim,
        regencies = excluded.regencies, begins_on = excluded.begins_on, last_day = excluded.last_day,
        differs_from = excluded.differs_from"""
LOCK_NEXT = "SELECT entry FROM register WHERE application > $1 ORDER BY application LIMIT $2 FOR UPDATE"
READ_TOLD = """
    SELECT participant, application, revision, digest FROM register_shared
    WHERE application = ANY($1::text[]) AND participant = ANY($2::text[])"""
SAVE_TOLD = """
    INSERT INTO register_shared (participant, application, revision, digest)
    SELECT * FROM unnest($1::text[], $2::text[], $3::int[], $4::bytea[])
    ON CONFLICT (participant, application) DO UPDATE SET revision = excluded.revision, digest = excluded.digest"""
FORGET_TOLD = "UPDATE register_shared SET digest = NULL WHERE participant = $1 AND digest IS NOT NULL"
READ_GRANTS = "SELECT participant, terms, told_to FROM register_grants ORDER BY participant FOR UPDATE"
SAVE_GRANT = """
    INSERT INTO register_grants (participant, terms, told_to) VALUES ($1, $2, $3)
    ON CONFLICT (participant) DO UPDATE SET terms = excluded.terms, told_to = excluded.told_to"""
DROP_GRANT = "DELETE FROM register_grants WHERE participant = $1"
# OPEN stands for what narrows to the part of the register that its reader is granted.
LIST_IN_FORCE = """
    SELECT entry FROM register WHERE OPEN AND begins_on <= $4 AND last_day > $4
    AND ($5::date IS NULL OR last_day <= $5) AND application > $6 ORDER BY application LIMIT $7"""
COUNT_IN_FORCE = """
    SELECT count(*), count(*) FILTER (WHERE last_day <= $5), count(*) FILTER (WHERE last_day <= $6),
        count(*) FILTER (WHERE last_day <= $7)
    FROM register WHERE OPEN AND begins_on <= $4 AND last_day > $4"""
LIST_DIFFERING = """
    SELECT entry FROM register WHERE OPEN AND differs_from <= $4 AND application > $5 ORDER BY application LIMIT $6"""
_OPEN = ("regencies && $1::text[]", "kanim = ANY($2::text[])", "unit = $3::text")
_ALL = ("$1::text[] IS NULL", "$2::text[] IS NULL", "$3::text IS NULL")


class Told(NamedTuple):
    """What a grantee was told last of an application; `digest` is None once it has left."""

    revision: int
    digest: bytes | None


class GrantState(NamedTuple):
    """By which terms a grantee is told; `told_to` is up to which application it was, None once that was all."""

    terms: str
    told_to: str | None


class View(NamedTuple):
    """What a reader is granted; None grants all."""

    regencies: Sequence[str] | None = None
    kanims: Sequence[str] | None = None
    unit: str | None = None


class InForce(NamedTuple):
    """How many entries are in force, and how many of them end within 30, 60 and 90 days."""

    entries: int
    within_30: int
    within_60: int
    within_90: int


def _open(query: str, view: View) -> str:
    """Narrow a query to a view, whose conditions stand alone, so that an index answers each."""
    narrowed = (_ALL[place] if member is None else _OPEN[place] for place, member in enumerate(view))
    return query.replace("OPEN", " AND ".join(narrowed))


def _read(rows: Iterable[Any]) -> list[Registered]:
    return [Registered.from_json(from_json(row[0].encode())) for row in rows]


async def save(connection: Connection, entries: Iterable[Registered]) -> None:
    """Write entries, and hold their rows until the transaction ends."""
    ordered = sorted(entries, key=lambda entry: entry.application)
    columns = [
        [entry.application for entry in ordered],
        [write_json(entry.to_json()) for entry in ordered],
        [entry.unit for entry in ordered],
        [entry.kanim for entry in ordered],
        [" ".join(entry.regencies) for entry in ordered],
        [entry.from_ for entry in ordered],
        [entry.last_day for entry in ordered],
        [entry.differs_from for entry in ordered],
    ]
    await connection.execute(SAVE, *columns)


async def lock_next(connection: Connection, after: str, limit: int) -> list[Registered]:
    """Lock and return the entries behind an application."""
    return _read(await connection.fetch(LOCK_NEXT, after, limit))


async def read_told(
    connection: Connection, applications: Collection[str], participants: Collection[str]
) -> dict[tuple[str, str], Told]:
    """Return what these grantees were told of these applications, whose rows are locked."""
    rows = await connection.fetch(READ_TOLD, list(applications), list(participants))
    return {(row[0], row[1]): Told(row[2], row[3]) for row in rows}


async def save_told(connection: Connection, told: Sequence[tuple[str, str, Told]]) -> None:
    """Write what grantees are told now, as (participant, application, told)."""
    columns = [[one[0] for one in told], [one[1] for one in told]]
    await connection.execute(
        SAVE_TOLD, *columns, [one[2].revision for one in told], [one[2].digest for one in told]
    )  # fmt: skip


async def lock_grants(connection: Connection) -> dict[str, GrantState]:
    """Lock and return by which terms each grantee is told."""
    return {row[0]: GrantState(row[1], row[2]) for row in await connection.fetch(READ_GRANTS)}


async def save_grant(connection: Connection, participant: str, terms: str, told_to: str | None) -> None:
    """Note by which terms a grantee is told, and how far it was."""
    await connection.execute(SAVE_GRANT, participant, terms, told_to)


async def drop_grant(connection: Connection, participant: str) -> None:
    """Forget a grantee: should it come back, it is told of everything anew."""
    await connection.execute(FORGET_TOLD, participant)
    await connection.execute(DROP_GRANT, participant)


async def list_in_force(
    connection: Connection, view: View, day: date, *, within: int | None, after: str, limit: int
) -> list[Registered]:
    """Return the entries in force on a day behind an application, or those of them that end within so many days."""
    until = None if within is None else day + timedelta(days=within)
    return _read(await connection.fetch(_open(LIST_IN_FORCE, view), *view, day, until, after, limit))


async def count_in_force(connection: Connection, view: View, day: date) -> InForce:
    """Count the entries in force on a day."""
    ends = (day + timedelta(days=days) for days in (30, 60, 90))
    (row,) = await connection.fetch(_open(COUNT_IN_FORCE, view), *view, day, *ends)
    return InForce(*row)


async def list_differing(connection: Connection, view: View, day: date, *, after: str, limit: int) -> list[Registered]:
    """Return the entries about which the agencies may not agree on a day, behind an application."""
    return _read(await connection.fetch(_open(LIST_DIFFERING, view), *view, day, after, limit))
