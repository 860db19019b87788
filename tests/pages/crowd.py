"""Very many applications, written by the database itself: what the pages read, in the numbers of a nation.

They stand beside those of the hall and are like its own: numbers, stages, clocks and units as the overseer would keep
them, and for every so manieth file the originals by which its applicant signs in.
"""

from datetime import UTC, date, datetime

from contracts.rules.case import SUBMITTED
from hub.progress import DEFICIENT
from hub.store import files, progress
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
    "status, the case": (progress.READ_CASES, (["B.9/0000001/PK.04.00/2021"],)),
    "status, what was said": (progress.READ_SAID, (["B.9/0000001/PK.04.00/2021"], DEFICIENT)),
    "status, the secret": (progress.READ_VERIFIER, ("B.9/0000001/PK.04.00/2021", SUBMITTED)),
    "count of due": (files.COUNT_DUE, ("unit-00001", *DAYS, 1_000)),
    "count of tasks": (files.COUNT_TASK, ("unit-00001", "paid", 1_000)),
}


async def fill_files(connection: Connection, number: int) -> None:
    """Write so many files into the lists."""
    units = UNITS if number > FEW else 10
    await connection.execute(FILL_FILES, number, units, FIRST_INDEX, timeout=3_600)


# The originals of a case of the hall, said again of every other one: what the status of an application reads.
FILL_INBOX = f"""
    INSERT INTO inbox (log_index, sequence, time, append_time, received_at, "offset", partition, topic_id, source, id,
        type, participant, kid, subject, identity, digest, value, jws)
    SELECT $2::bigint + n * 7 + step, n * 2 + step, received_at, received_at, received_at, n * 2 + step, 0, 'crowd',
        'https://crowd.example/tka', n || '-' || step, type, 'ministry', 'crowd', {NUMBER},
        substring(sha256((n || '-' || step)::bytea) FOR 16), sha256(''::bytea), convert_to('{{}}', 'UTF8'), ''
    FROM generate_series(1, $1::bigint) AS n CROSS JOIN LATERAL (VALUES
        (0, 'id.tka.ministry.permit.submitted.v1'), (1, 'id.tka.ministry.permit.completed.v1')) AS said (step, type)
    CROSS JOIN LATERAL (SELECT timestamptz '2026-01-01 00:00Z' + n * interval '17 seconds' AS received_at) AS at"""
FILL_CASES = f"""
    INSERT INTO cases (id, facts, standing, rule_set)
    SELECT {NUMBER}, replace(c.facts, c.id, {NUMBER}), c.standing, c.rule_set
    FROM generate_series(1, $1::bigint) AS n CROSS JOIN (SELECT * FROM cases WHERE id = $2) AS c"""
TABLES = ("files", "inbox", "cases")


async def fill_all(connection: Connection, number: int) -> None:
    """Write so many applications into everything that the pages read of them."""
    case = await connection.fetchval("SELECT id FROM cases WHERE standing IS NOT NULL ORDER BY id LIMIT 1")
    await connection.execute("SET statement_timeout = 0")
    await fill_files(connection, number)
    await connection.execute(FILL_INBOX, number, FIRST_INDEX, timeout=3_600)
    await connection.execute(FILL_CASES, number, case, timeout=3_600)
    for table in TABLES:
        await connection.execute(f"ANALYZE {table}", timeout=3_600)
    await connection.execute("RESET statement_timeout")


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
