import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from contracts.admission import Admitted, Deferred, Refused, admit
from contracts.errors import Code
from contracts.registry import Registry
from contracts.wire.key import PrivateKey, PublicKey
from contracts.wire.record import Record
from contracts.wire.signature import VerifiedRoots
from devstack.agencies.ministry import OVERTAKEN_BY, Register, find_slow_place
from devstack.agencies.part import Book, Casting
from devstack.agencies.scenario import write_day
from devstack.demonstration.cast import (
    BRANCH_SOURCE,
    ENVIRONMENT,
    UNKNOWN_CONTRACT,
    Cast,
    Services,
    call_cast,
    hub_environment,
    write_environment,
)
from devstack.demonstration.forgery import Author, RawRecord, tamper, write_time
from devstack.demonstration.ledger import final_outcomes
from devstack.demonstration.observation import SeenRecord
from devstack.demonstration.troubles import RECEIVED, describe_payment, report_by_branch, write_permit
from devstack.postgres import Postgres
from hub.registration import add_participants, read_installed
from tests.contracts.root_world import write_registry

START = datetime(2026, 5, 4, 8, 0, tzinfo=UTC)
# Long enough for the simulated ministry to look at its outcomes many times.
LOOKS_S = 3.0
SERVICES = Services("127.0.0.1:1", "tkadev_test_", "postgresql://x", "postgresql://y", "postgresql://z", "role")


@pytest.fixture(scope="module")
def cast(tmp_path_factory: pytest.TempPathFactory) -> Cast:
    return call_cast(SERVICES, tmp_path_factory.mktemp("demo"), seed=7, applications=25)


@pytest.fixture(scope="module")
def registry(cast: Cast) -> Registry:
    return _read_registry(cast, "registry.json")


def _read_registry(cast: Cast, *files: str) -> Registry:
    document: dict[str, Any] | None = None
    for name in files:
        given = json.loads((cast.folder / name).read_text())
        document = add_participants(given, datetime.now(UTC))(document)
    assert document is not None
    contracts = read_installed().contracts
    document |= {
        "version": 1,
        "issued_at": write_time(datetime.now(UTC)),
        "contracts": [{"type": kind, "sha256": digest} for kind, digest in contracts.items()],
    }
    jws = write_registry(document, PrivateKey.from_pem(cast.root.file.read_bytes()))
    return Registry.read(jws, PublicKey.from_jwk(cast.root.jwk))


def _judge(raw: RawRecord, registry: Registry) -> Admitted | Refused | Deferred:
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    return admit(Record(raw.topic, 0, 0, raw.key, raw.value, raw.headers, now_ms), registry, VerifiedRoots())


def _payment(cast: Cast, author: Author) -> dict[str, Any]:
    day = write_day(7, 25, START)
    made = next(made for made in day.applications.values() if made.variant == "late_key")
    report = replace(report_by_branch(made, day.start), bank=author.participant)
    return author.write_event(RECEIVED, report.billing_code or "", 1, describe_payment(report))


def _author(cast: Cast, bank: str = "bri") -> Author:
    return Author(bank, cast.source(bank), ENVIRONMENT, cast.message_keys[bank])


@pytest.mark.parametrize("bank", ["bri", "mandiri"])
def test_what_the_second_hand_signs_is_admitted(cast: Cast, registry: Registry, bank: str) -> None:
    author = _author(cast, bank)
    verdict = _judge(author.seal(_payment(cast, author)), registry)
    assert isinstance(verdict, Admitted), verdict
    assert verdict.participant == bank


def test_one_changed_byte_is_refused(cast: Cast, registry: Registry) -> None:
    author = _author(cast, "mandiri")
    raw = author.seal(_payment(cast, author) | {"correlationid": "aaaa"})
    verdict = _judge(tamper(raw, b'"aaaa"', b'"aaab"'), registry)
    assert isinstance(verdict, Refused)
    assert (verdict.code, verdict.participant) == (Code.SIGNATURE_INVALID, None)


def test_tampering_changes_exactly_one_byte_that_is_there(cast: Cast) -> None:
    author = _author(cast)
    raw = author.seal(_payment(cast, author))
    with pytest.raises(ValueError, match="exactly one"):
        tamper(raw, b"aa", b"bb")
    with pytest.raises(ValueError, match="not in the value"):
        tamper(raw, b"never", b"nevex")


def test_a_key_that_is_added_later_makes_the_same_record_acceptable(cast: Cast, registry: Registry) -> None:
    author = Author("bri", BRANCH_SOURCE, ENVIRONMENT, cast.branch_key)
    raw = author.seal(_payment(cast, author))
    early = _judge(raw, registry)
    assert isinstance(early, Deferred)
    assert early.code == Code.KEY_UNKNOWN
    assert isinstance(_judge(raw, _read_registry(cast, "registry.json", "branch.json")), Admitted)


def test_stranger_is_unknown_and_nobody_is_named(cast: Cast, registry: Registry) -> None:
    stranger = replace(_author(cast), key=cast.stranger_key)
    verdict = _judge(stranger.seal(_payment(cast, stranger)), registry)
    assert isinstance(verdict, Deferred)
    assert (verdict.code, verdict.participant) == (Code.KEY_UNKNOWN, None)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"audience": "production/from.bri"}, Code.AUDIENCE_WRONG),
        (
            {
                "time": write_time(START - timedelta(days=60)),
                "recordedtime": write_time(START - timedelta(days=60)),
                "expirytime": write_time(START - timedelta(days=1)),
            },
            Code.MESSAGE_EXPIRED,
        ),
    ],
)
def test_misplaced_and_expired_messages_are_refused(
    cast: Cast, registry: Registry, change: dict[str, str], code: Code
) -> None:
    author = _author(cast)
    verdict = _judge(author.seal(_payment(cast, author) | change), registry)
    assert isinstance(verdict, Refused)
    assert (verdict.code, verdict.participant) == (code, "bri")


def test_a_bank_may_not_revoke_a_permit_even_with_perfect_data(cast: Cast, registry: Registry) -> None:
    author = _author(cast)
    verdict = _judge(author.seal(write_permit(author, write_day(7, 25, START))), registry)
    assert isinstance(verdict, Refused)
    assert verdict.code == Code.TYPE_NOT_PERMITTED


def test_unknown_contract_waits(cast: Cast, registry: Registry) -> None:
    author = _author(cast)
    verdict = _judge(author.seal(author.write_event(UNKNOWN_CONTRACT, "899999999999999", 1, {"a": 1})), registry)
    assert isinstance(verdict, Deferred)
    assert (verdict.code, verdict.participant) == (Code.CONTRACT_UNKNOWN, "bri")


def test_private_keys_are_for_their_owner_alone_and_only_the_relay_gets_the_hubs(cast: Cast) -> None:
    private = [path for path in (cast.folder / "keys").glob("*.pem") if not path.name.endswith(".pub.pem")]
    assert len(private) >= 12
    assert {path.stat().st_mode & 0o777 for path in private} == {0o600}
    assert "HUB_KEY_FILE" in hub_environment(cast, "hub-relay")
    assert "HUB_KEY_FILE" not in hub_environment(cast, "hub-intake-1")


def test_environment_file_has_every_address(cast: Cast) -> None:
    lines = dict(line.removeprefix("export ").split("=", 1) for line in write_environment(cast).splitlines())
    names = {"KAFKA_BOOTSTRAP", "DATABASE_URL", "HUB_API_URL", "TRUST_ROOT_FILE", "BRI_CONNECTOR_URL", "MINISTRY_URL"}
    assert names <= lines.keys()
    assert Path(lines["TRUST_ROOT_FILE"].strip("'")).exists()


def test_the_last_word_on_a_report_counts() -> None:
    def told(offset: int, outcome: str) -> SeenRecord:
        data = {
            "payment": {"source": "https://bri.example/tka", "id": "p1"},
            "billing_code": "826050400010001",
            "amount": "100.00",
            "currency": "USD",
            "outcome": outcome,
        }
        return SeenRecord("to.ministry", 0, offset, b"k", json.dumps({"data": data}).encode(), (), 0)

    finals = final_outcomes([told(0, "unmatched"), told(1, "matched")])
    assert list(finals.values()) == [("bri", "826050400010001", "100.00", "USD", "matched")]


async def test_ministry_writes_its_register_and_one_transaction_is_overtaken(
    postgres_server: Postgres, database: str
) -> None:
    role = postgres_server.name("connector_of_test")
    postgres_server.execute(f'CREATE ROLE "{role}" LOGIN')
    day = write_day(7, 25, START)
    async with asyncpg.create_pool(database, min_size=1, max_size=3) as pool:
        register = Register(pool, Casting(day, 0, 1000.0), Book())
        await register.create(role)
        await register.write_chapter("morning")
        rows = await pool.fetch("SELECT id, xact::text::bigint AS xact, kind, payload FROM register.outbox ORDER BY id")
        assert len(rows) == len(day.rows_of("morning"))
        bills = await pool.fetchval("SELECT count(*) FROM register.billing")
        assert bills == len(day.bills())
        async with pool.acquire() as connection:
            await connection.execute(f'SET ROLE "{role}"')
            assert await connection.fetchval("SELECT count(*) FROM register.outbox") == len(rows)
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute("DELETE FROM register.outbox")
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.fetch("SELECT * FROM register.application")
    postgres_server.drop_database(database)
    postgres_server.execute(f'DROP ROLE "{role}"')


async def test_ministry_explains_money_beyond_a_bill_once_and_nothing_else(
    postgres_server: Postgres, database: str
) -> None:
    role = postgres_server.name("connector_of_explaining")
    postgres_server.execute(f'CREATE ROLE "{role}" LOGIN')
    day = write_day(7, 25, START)
    number = next(iter(day.applications))
    async with asyncpg.create_pool(database, min_size=1, max_size=3) as pool:
        register = Register(pool, Casting(day, 0, 1000.0), Book())
        await register.create(role)
        for place, kind in enumerate(("excess", "excess", "unmatched")):
            opened = {"type": "id.tka.hub.difference.opened.v1", "kind": kind, "application": number}
            # Told twice, as after a crash: the second telling is another event about the same difference.
            payload = json.dumps(opened | {"difference_id": f"826050400010001:{kind:0>16}"})
            outcome = "INSERT INTO register.outcome (event_id, kind, payload) VALUES ($1, 'SELISIH', $2)"
            await pool.execute(outcome, str(place), payload)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(register.answer_questions(), LOOKS_S)
        rows = await pool.fetch("SELECT kind, application_number, payload FROM register.outbox")
    assert [(row["kind"], row["application_number"]) for row in rows] == [("PENJELASAN_SELISIH", number)]
    assert json.loads(rows[0]["payload"])["kode_penjelasan"] == "REFUND_DUE"
    postgres_server.drop_database(database)
    postgres_server.execute(f'DROP ROLE "{role}"')


async def test_a_slow_transaction_is_invisible_until_it_commits(postgres_server: Postgres, database: str) -> None:
    role = postgres_server.name("connector_of_slow")
    postgres_server.execute(f'CREATE ROLE "{role}" LOGIN')
    day, book = write_day(7, 25, START), Book()
    async with asyncpg.create_pool(database, min_size=1, max_size=4) as pool:
        register = Register(pool, Casting(day, 0, 200.0), book)
        await register.create(role)
        writing = asyncio.create_task(register.write_chapter("morning"))
        holes = False
        while not writing.done():
            ids = [row[0] for row in await pool.fetch("SELECT id FROM register.outbox ORDER BY id")]
            holes = holes or bool(ids and len(ids) < ids[-1])
            await asyncio.sleep(0)
        await writing
        assert holes
    postgres_server.drop_database(database)
    postgres_server.execute(f'DROP ROLE "{role}"')


@pytest.mark.parametrize("size", [25, 60])
def test_slow_transaction_never_holds_what_a_later_row_waits_for(size: int) -> None:
    for seed in range(200):
        rows = write_day(seed, size, START).rows_of("morning")
        place = find_slow_place(rows)
        assert place is not None
        overtaking = rows[place + 1 : place + 1 + OVERTAKEN_BY]
        assert len(overtaking) == OVERTAKEN_BY
        assert rows[place].application not in {row.application for row in overtaking}
