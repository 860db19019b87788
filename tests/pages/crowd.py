"""Very many applications, written by the database itself: what the pages read, in the numbers of a nation.

They stand beside those of the hall and are like its own: numbers, stages, clocks and units as the overseer would keep
them, and for every so manieth file the originals by which its applicant signs in.
"""

from datetime import UTC, date, datetime

from hub.store import files
from hub.store.database import Connection

FEW = 6_000
UNITS = 185
# Far behind whatever the hall itself has said.
FIRST_INDEX = 1_000_000
NUMBER = "'B.9/' || lpad(n::text, 7, '0') || '/PK.04.00/' || (2020 + n % 7)"
FILL_FILES = f"""
    INSERT INTO files (application, unit, stage, holder, since, last_index, clock, due_on, paused, task, closes_on,
        observed, handled)
    SELECT {NUMBER}, 'unit-' || lpad((1 + n % $2)::text, 5, '0'),
        CASE WHEN n % 20 < 2 THEN 'assessing' WHEN n % 20 = 2 THEN 'deficient' WHEN n % 20 = 3 THEN 'payment_due'
            WHEN n % 20 = 4 THEN 'at_immigration' WHEN n % 20 = 5 THEN 'expired' ELSE 'staying' END,
        CASE WHEN n % 20 < 2 THEN 'ministry' WHEN n % 20 < 4 THEN 'applicant' WHEN n % 20 = 4 THEN 'immigration'
            ELSE 'nobody' END,
        timestamptz '2026-01-01 00:00Z' + n * interval '17 seconds', $3::bigint + n * 7, n % 20 < 3,
        CASE WHEN n % 20 < 2 THEN current_date + (n / 20 % 9)::int - 6 END, n % 20 = 2,
        CASE WHEN n % 20 = 0 THEN 'paid' WHEN n % 400 = 4 THEN 'reversed' WHEN n % 200 = 5 THEN 'queried' END,
        date '2027-01-01' + (n % 400)::int, '[]', '[]'
    FROM generate_series(1, $1::bigint) AS n"""
DAYS = (date(2020, 1, 1), date(2026, 11, 1))
MOMENT = (datetime(2026, 1, 1, tzinfo=UTC), "B.9/0000001")
#: The statements of the lists, each with values as a page gives them.
STATEMENTS: dict[str, tuple[str, tuple[object, ...]]] = {
    "board": (files.READ_MOVED, (5_000_000, 15)),
    "overdue": (files.READ_DUE, ("unit-00001", *DAYS, date(2020, 1, 1), "", 51)),
    "task": (files.READ_TASK, ("unit-00001", "paid", *MOMENT, 51)),
    "search": (files.READ_NUMBERS, ("unit-00001", "B.9/00000", "B.9/00000~", "", 50)),
    "count of due": (files.COUNT_DUE, ("unit-00001", *DAYS, 1_000)),
    "count of tasks": (files.COUNT_TASK, ("unit-00001", "paid", 1_000)),
}


async def fill_files(connection: Connection, number: int) -> None:
    """Write so many files into the lists."""
    units = UNITS if number > FEW else 10
    await connection.execute(FILL_FILES, number, units, FIRST_INDEX, timeout=3_600)


async def explain(connection: Connection) -> dict[str, str]:
    """Return how the database reads each list, for statements of any values as a page prepares them."""
    plans = {}
    for name, (statement, values) in STATEMENTS.items():
        rows = await connection.fetch(f"EXPLAIN {statement}", *values)
        plans[name] = "\n".join(row[0] for row in rows)
    return plans


async def clear(connection: Connection) -> None:
    """Take them out again."""
    await connection.execute("DELETE FROM files WHERE application LIKE 'B.9/%'")
