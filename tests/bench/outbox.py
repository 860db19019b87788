"""The outbox' figure: rows of a register in PostgreSQL read in order, translated, checked and spooled.

    python -m tests.bench.outbox [--small] [--database DSN]

Without an address it starts a PostgreSQL of its own. The rows are there before the clock starts, as after an outage;
from then on it is the connector's own reader alone, at every read one durable transaction of the spool.
"""

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import asyncpg

from connectors.link.fact import Author
from connectors.link.log import configure_log
from connectors.link.spool import Spool
from connectors.ministry.exchange import OutboxReader
from connectors.ministry.register import open_register
from devstack.postgres import start_postgres
from devstack.run import Run

SCHEMA = Path(__file__).parents[2] / "devstack" / "agencies" / "register.sql"
AUTHOR = Author("ministry", "https://kemnaker.example/tka-online", "demo")
ROWS = 50_000
ROWS_SMALL = 500
FILE = {
    "petugas": "ptg_00000001", "unit": "unit_00000001", "perantara": None, "ref_tka": "tka_00000001",
    "kbli": "62019", "provinsi": "31", "kabupaten": "3171", "tingkat_jabatan": "manajer", "jenis": "baru",
    "kewarganegaraan": "JPN",
}  # fmt: skip
DECISION = {
    "pemberi_kerja": {"nama": "PT Maju Bersama", "nib": "1234567890123", "npwp": "0013121660091000"},
    "jabatan": {"kbji": "2511", "nama": "Analis Sistem"},
    "lokasi": [{"provinsi": "31", "kabupaten": "3171"}],
    "mulai": "2026-04-01", "selesai": "2027-03-31", "kanim": "KANIM-JAKARTA-SELATAN",
    "nomor_keputusan": "KEP.17/2026", "tanggal_keputusan": "2026-03-04",
    "tka": {"nama": "Taro Yamada", "tanggal_lahir": "1980-02-29", "kewarganegaraan": "JPN", "paspor": "L898902C36"},
}  # fmt: skip
BILL = {
    "kode_billing": "820260302000017", "jumlah": "1200.00", "mata_uang": "USD", "jumlah_usd": "1200.00", "kurs": None,
    "tanggal_kurs": None, "berlaku_sampai": "2026-03-09T16:59:59Z", "pembayar": "PT Maju Bersama",
}  # fmt: skip
# What a permit makes of rows when nothing goes wrong, in the shares in which a register has them.
LIFE: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("LENGKAP", FILE),
    ("KELAYAKAN", {**FILE, "hasil": "lulus"}),
    ("TKA_TERVERIFIKASI", FILE),
    ("KODE_BAYAR", BILL),
    ("DISETUJUI", {**FILE, **DECISION}),
)
INSERT = """
INSERT INTO register.outbox (at, kind, application_number, payload)
SELECT '2026-03-02T01:00:00Z'::timestamptz, kind, 'RPTKA-2026-' || lpad(number::text, 6, '0'), payload::jsonb
FROM generate_series(1, $1) AS number, unnest($2::text[], $3::text[]) AS life (kind, payload)
"""


def run(database: str | None, small: bool) -> dict[str, Any]:
    """Measure; `small` only sees whether it works."""
    rows = ROWS_SMALL if small else ROWS
    with ExitStack() as stack:
        if database is None:
            own = stack.enter_context(Run(say=lambda text: None))
            database = start_postgres(own).create_database()
        return {"outbox": asyncio.run(measure_outbox(database, rows))}


async def measure_outbox(database: str, rows: int) -> dict[str, Any]:
    """Return how many rows a second come from the register's table to the disk of the spool."""
    owner: asyncpg.Connection[Any] = await asyncpg.connect(database)
    await owner.execute(SCHEMA.read_text())
    kinds, payloads = [kind for kind, _ in LIFE], [json.dumps(payload) for _, payload in LIFE]
    await owner.execute(INSERT, rows // len(LIFE), kinds, payloads)
    await owner.execute("ANALYZE register.outbox")
    await owner.close()
    with tempfile.TemporaryDirectory() as folder:
        async with open_register(database) as register, Spool.open(Path(folder) / "spool.sqlite", AUTHOR) as spool:
            reader = OutboxReader(register, spool)
            await reader.begin()
            began, used = time.perf_counter(), time.process_time()
            while await reader.read_once():
                pass
            lasted_s, used_s = time.perf_counter() - began, time.process_time() - used
            status = await spool.status()
    assert (status.last_sequence, status.aside) == (rows, 0)
    return {"rows": rows, "seconds": lasted_s, "per_second": rows / lasted_s, "cpu_us": used_s / rows * 1e6}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench.outbox", description="Measure the outbox' reader.")
    parser.add_argument("--small", action="store_true", help="only see whether it works")
    parser.add_argument("--database", help="an empty database in which a register may be made")
    given = parser.parse_args()
    configure_log()
    print(json.dumps(run(given.database, given.small)))
