"""The ministry's permit system: a register in a PostgreSQL database of its own, with a transactional outbox.

A part of the applications is handled in a regional office (`office.py`), whose system has no such table.

Settings: those of `part.Casting`, REGISTER_OWNER_URL (the register's owner), CONNECTOR_ROLE (the role that may only
read the outbox and write outcomes); EVENTS_URL and EVENTS_TOKEN_FILE (the connector's door for the office).
"""

import asyncio
import json
import os
import threading
import traceback
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg

from devstack.agencies.door import Answer
from devstack.agencies.office import Office
from devstack.agencies.part import Book, Casting, play
from devstack.agencies.scenario import Application, Row, describe_file

SCHEMA = Path(__file__).with_name("register.sql")
OVERTAKEN_BY = 8  # One row of a chapter is written by a transaction that stays open while so many later ones commit.
OUTCOME_POLL_S = 0.2
STATUS_OF = {
    "PERMOHONAN_DIAJUKAN": "diajukan",
    "KEKURANGAN": "dikembalikan",
    "DIAJUKAN_ULANG": "diajukan",
    "LENGKAP": "lengkap",
    "DISETUJUI": "disetujui",
    "DITOLAK": "ditolak",
    "DICABUT": "dicabut",
}
# What the ministry has a word to say about, and the word: money beyond the bill is paid back.
EXPLAINED_KIND, EXPLANATION_CODE = "excess", "REFUND_DUE"
DIFFERENCE_OPENED = "id.tka.hub.difference.opened.v1"

if TYPE_CHECKING:
    Connection = asyncpg.pool.PoolConnectionProxy[asyncpg.Record]
    Pool = asyncpg.Pool[asyncpg.Record]


class Register:
    """The register's database, used from one event loop."""

    def __init__(self, pool: "Pool", casting: Casting, book: Book, office: Office | None = None) -> None:
        self._pool = pool
        self._office = office
        self._day = casting.day
        self._pause_s = 1 / casting.pace_per_s
        self._book = book

    async def create(self, connector_role: str) -> None:
        """Create the schema and let the connector's role read the outbox and write outcomes, nothing else."""
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(SCHEMA.read_text())
            await connection.execute(f'GRANT USAGE ON SCHEMA register TO "{connector_role}"')
            await connection.execute(f'GRANT SELECT ON register.outbox TO "{connector_role}"')
            await connection.execute(f'GRANT SELECT, INSERT ON register.outcome TO "{connector_role}"')

    async def write_chapter(self, chapter: str) -> None:
        """Write a chapter's rows into the register; what the regional office handles, it hands in meanwhile."""
        rows = self._day.rows_of(chapter)
        if self._office is None:
            return await self._write_rows(rows)
        elsewhere = {made.number for made in self._day.applications.values() if made.by_office}
        handing_in = asyncio.to_thread(self._office.hand_in_all, [row for row in rows if row.application in elsewhere])
        await asyncio.gather(handing_in, self._write_rows([row for row in rows if row.application not in elsewhere]))

    async def _write_rows(self, rows: Sequence[Row]) -> None:
        """Write rows one by one; one of them by a slow transaction that later rows overtake."""
        slow_place = find_slow_place(rows)
        overtaken: asyncio.Future[None] | None = None
        release = asyncio.Event()
        for place, row in enumerate(rows):
            if place == slow_place:
                inserted = asyncio.Event()
                overtaken = asyncio.ensure_future(self._write(row, inserted.set, release.wait))
                await inserted.wait()
            else:
                await self._write(row)
            if slow_place is not None and place == slow_place + OVERTAKEN_BY:
                release.set()
            await asyncio.sleep(self._pause_s)
        release.set()
        if overtaken is not None:
            await overtaken

    async def _write(
        self,
        row: Row,
        inserted: Callable[[], None] | None = None,
        before_commit: Callable[[], Awaitable[Any]] | None = None,
    ) -> None:
        async with self._pool.acquire() as connection:
            async with connection.transaction():
                await self._change_register(connection, row)
                await _put_in_outbox(connection, row)
                if inserted is not None:
                    inserted()
                if before_commit is not None:
                    await before_commit()
            self._book.note("written", row.key, kind=row.kind, sound=row.sound)

    async def _change_register(self, connection: "Connection", row: Row) -> None:
        payload = row.payload
        if row.kind in STATUS_OF:
            await connection.execute(
                "INSERT INTO register.application VALUES ($1, $2, $3, $4, $5) "
                "ON CONFLICT (number) DO UPDATE SET status = excluded.status, changed_at = excluded.changed_at",
                row.application,
                STATUS_OF[row.kind],
                self._submitted_on(row.application),
                payload.get("pemberi_kerja", {}).get("nama"),
                row.at,
            )
        if row.kind == "KODE_BAYAR":
            bill = self._day.bills()[payload["kode_billing"]]
            await connection.execute(
                "INSERT INTO register.billing VALUES ($1, $2, $3, $4, $5, 'terbit')",
                *(bill.code, bill.application, bill.amount, bill.currency, bill.expires_at),
            )
        if row.kind == "KODE_BAYAR_HANGUS":
            await connection.execute(
                "UPDATE register.billing SET status = 'hangus' WHERE code = $1", payload["kode_billing"]
            )
        if "nomor_keputusan" in payload:
            await connection.execute(
                "INSERT INTO register.decision VALUES ($1, $2, $3, $4)",
                *(payload["nomor_keputusan"], row.application, row.kind, row.at),
            )

    def _submitted_on(self, number: str) -> Any:
        known = self._day.applications.get(number)
        return known.submitted_on if known is not None else None

    async def enter(self, kind: str, application: str, payload: dict[str, Any]) -> int:
        """Put a row that somebody at the door dictates in the outbox, sound or not, and return its id."""
        row = Row(f"{application}#{kind}", "door", datetime.now(UTC), kind, application, payload)
        async with self._pool.acquire() as connection:
            return await _put_in_outbox(connection, row)

    async def answer_questions(self) -> None:
        """Answer what is asked, and explain what is owed, as it appears among the outcomes, until cancelled."""
        while True:
            rows = await self._pool.fetch(
                "SELECT payload FROM register.outcome WHERE kind IN ('VISA', 'SELISIH') ORDER BY at"
            )
            for payload in (json.loads(row["payload"]) for row in rows):
                question = payload.get("query_id")
                if question is not None and self._book.note("asked", question):
                    await self._write(_answer(self._day.applications[payload["application"]], payload))
                if payload["type"] == DIFFERENCE_OPENED and payload["kind"] == EXPLAINED_KIND:
                    await self._explain(payload)
            await asyncio.sleep(OUTCOME_POLL_S)

    async def _explain(self, difference: dict[str, Any]) -> None:
        identity = difference["difference_id"]
        if self._book.note("explained", identity):
            text = "Kelebihan pembayaran dikembalikan."
            payload = {"id_selisih": identity, "kode_penjelasan": EXPLANATION_CODE, "penjelasan": text}
            row = Row(
                *(f"{identity}#PENJELASAN", "answer", datetime.now(UTC), "PENJELASAN_SELISIH"),
                *(difference["application"] or identity.partition(":")[0], payload),
            )
            await self._write(row)


def find_slow_place(rows: Sequence[Row]) -> int | None:
    """Return the first place whose application has no other row among the next ones, which would wait for its lock."""
    for place, row in enumerate(rows[: len(rows) - OVERTAKEN_BY]):
        if all(later.application != row.application for later in rows[place + 1 : place + 1 + OVERTAKEN_BY]):
            return place
    return None


async def _put_in_outbox(connection: "Connection", row: Row) -> int:
    number: int = await connection.fetchval(
        "INSERT INTO register.outbox (at, kind, application_number, payload) VALUES ($1, $2, $3, $4) RETURNING id",
        *(row.at, row.kind, row.application, json.dumps(row.payload)),
    )
    return number


def _answer(application: Application, question: dict[str, Any]) -> Row:
    payload = {
        **describe_file(application),
        "nomor_rekomendasi": question["number"],
        "revisi": question["revision"],
        "id_pertanyaan": question["query_id"],
        "jawaban": "Lokasi kerja sesuai dengan pengesahan.",
    }
    key = f"{application.number}#JAWABAN"
    return Row(key, "answer", datetime.now(UTC), "JAWABAN", application.number, payload)


def _end_on_failure(future: "Future[None]") -> None:
    """A simulator that silently stopped answering would look like a fault of the exchange."""
    error = future.exception()
    if error is not None:
        traceback.print_exception(error)
        os._exit(1)


def run() -> None:
    """Create the register and play the ministry."""
    casting, book = Casting.read(), Book()
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()

    async def prepare() -> Register:
        pool = await asyncpg.create_pool(os.environ["REGISTER_OWNER_URL"], min_size=1, max_size=3)
        register = Register(pool, casting, book, Office.read(book, casting.pace_per_s))
        await register.create(os.environ["CONNECTOR_ROLE"])
        return register

    register = asyncio.run_coroutine_threadsafe(prepare(), loop).result()
    asyncio.run_coroutine_threadsafe(register.answer_questions(), loop).add_done_callback(_end_on_failure)

    def perform(chapter: str) -> None:
        asyncio.run_coroutine_threadsafe(register.write_chapter(chapter), loop).result()

    def enter(query: dict[str, str], body: Any) -> Answer:
        match body:
            case {"kind": str(kind), "application": str(application), "payload": dict(payload)}:
                entering = register.enter(kind, application, payload)
                return 201, {"row": asyncio.run_coroutine_threadsafe(entering, loop).result()}
        return 400, {"error": "a row is an object of kind, application and payload"}

    play(casting, book, perform, {("POST", "/rows"): enter})


if __name__ == "__main__":
    run()
