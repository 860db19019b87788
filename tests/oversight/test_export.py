"""The hub's database comes out as packs that prove themselves, and what was changed in it comes out as what it is."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from contracts.audit.finding import Beyond, Doubt, Proven
from contracts.audit.verify import verify_pack
from contracts.log.fault import Fault
from contracts.wire.key import PrivateKey
from hub.audit import Exporter, NotCovered
from hub.cli import main
from hub.desk import Desk
from hub.store import audit as audit_store
from tests.hub.exchange import APPLICATION, CODE, Exchange
from tests.oversight.watched import Watched


@pytest.fixture
async def watched(database: str) -> AsyncIterator[Watched]:
    """Give an exchange in which a recommendation was issued, withdrawn and issued again."""
    exchange = await Exchange.open(database)
    ministry, bri = exchange.ministry, exchange.bri
    await exchange.take(bri.sign(bri.paid()), bri.sign(bri.paid("820260302000099")))
    await exchange.take(*ministry.sign_all([ministry.submitted(), ministry.billed(), ministry.approved()]))
    await exchange.take(bri.sign(bri.booked("reversed")))
    await exchange.register(exchange.participants())
    exchange.desk = Desk(exchange.database, exchange.root.public)
    await exchange.take(bri.sign(bri.booked()), bri.sign(bri.booked()))
    await exchange.take(ministry.sign(ministry.submitted("B.3/2")))
    await exchange.take(
        ministry.sign(ministry.permit("completed")), ministry.sign(ministry.permit("completed", "B.3/3"))
    )
    yield Watched(exchange, PrivateKey.generate("Ed25519"))
    await exchange.database.close()


async def test_an_exported_case_proves_itself(watched: Watched) -> None:
    await watched.sign()
    findings = verify_pack(await watched.export(), watched.trust())
    assert findings.failures == []
    assert {one.code for one in findings.all if one.verdict == "proven"} == set(Proven)
    assert sum(one.code == Proven.RECOMMENDATION for one in findings.all) == 3


async def test_a_case_without_recommendation_and_a_code_without_case_can_be_shown_too(watched: Watched) -> None:
    await watched.sign()
    async with watched.exchange.database.snapshot() as connection:
        subjects = {"820260302000099", "B.3/2", "B.3/3", APPLICATION}
        assert set(await audit_store.list_subjects(connection)) == subjects
        exporter = await Exporter.open(connection, watched.exchange.root.public, datetime.now(UTC))
        assert await exporter.export(CODE) is None
    for subject in ("B.3/2", "B.3/3", "820260302000099"):
        findings = verify_pack(await watched.export(subject), watched.trust())
        assert findings.failures == []
        assert Beyond.NO_RECOMMENDATION in {one.code for one in findings.all}


async def test_nothing_is_exported_that_no_checkpoint_covers(watched: Watched) -> None:
    with pytest.raises(NotCovered, match="newest that may be used has 0"):
        await watched.export()
    await watched.sign()
    ministry = watched.exchange.ministry
    await watched.exchange.take(ministry.sign(ministry.permit("completed")))
    with pytest.raises(NotCovered):
        await watched.export()
    await watched.sign()
    assert verify_pack(await watched.export(), watched.trust()).failures == []


async def test_an_unsigned_recommendation_is_not_proven(watched: Watched) -> None:
    await watched.sign()
    async with watched.exchange.database.transaction() as tx:
        await tx.execute("DELETE FROM outbox_signature")
    codes = verify_pack(await watched.export(), watched.trust()).codes
    assert codes == {Doubt.RECOMMENDATION_SIGNATURE_INVALID}


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("UPDATE inbox SET value = replace(convert_from(value, 'utf8'), '1200.00', '1200.01')::bytea", "value_changed"),
        ("DELETE FROM inbox WHERE type = 'id.tka.bank.payment.booked.v1'", "not_founded"),
        (
            "UPDATE inbox SET jws = (SELECT jws FROM inbox WHERE type LIKE '%submitted%' LIMIT 1)",
            "message_signature_invalid",
        ),
        (
            "UPDATE outbox SET value = replace(convert_from(value, 'utf8'), 'SELATAN', 'PUSAT')::bytea",
            "content_differs",
        ),
        ("UPDATE registry SET log_index = log_index + 1 WHERE version = 2", "leaf_differs"),
        ("UPDATE rule_sets SET document = document || E'\\n'", "rule_set_not_in_log"),
    ],
)
async def test_what_the_operator_changes_in_the_database_shows(watched: Watched, statement: str, code: str) -> None:
    await watched.sign()
    async with watched.exchange.database.transaction() as tx:
        # Who owns the database can take the guards off.
        await tx.execute("SET LOCAL session_replication_role = replica")
        await tx.execute(statement)
    assert code in verify_pack(await watched.export(), watched.trust()).codes


async def test_an_edited_leaf_shows_even_when_the_guards_are_taken_off(watched: Watched) -> None:
    await watched.sign()
    async with watched.exchange.database.transaction() as tx:
        await tx.execute("ALTER TABLE leaves DISABLE TRIGGER leaves_are_final")
        await tx.execute(
            "UPDATE leaves SET entry = convert_to(replace(convert_from(entry, 'utf8'), 'bri', 'bni'), 'utf8')"
        )
    assert Fault.INCLUSION_INVALID in verify_pack(await watched.export(), watched.trust()).codes


async def test_the_command_writes_one_pack_or_all(
    watched: Watched, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    await watched.sign()
    root = tmp_path / "root.jwk.json"
    root.write_text(json.dumps(watched.exchange.root.public.jwk))
    monkeypatch.setenv("DATABASE_URL", database)
    monkeypatch.setenv("TRUST_ROOT_FILE", str(root))

    async def run(*words: str) -> int:
        with pytest.raises(SystemExit) as ended:
            await asyncio.to_thread(main, ["audit", "export", *words])
        return int(ended.value.code or 0)

    assert await run(APPLICATION, "-o", str(tmp_path / "pack.json")) == 0
    assert (tmp_path / "pack.json").stat().st_mode & 0o777 == 0o600
    assert verify_pack((tmp_path / "pack.json").read_bytes(), watched.trust()).failures == []
    assert await run("--all", "-o", str(tmp_path / "packs")) == 0
    assert len(list((tmp_path / "packs").glob("*.json"))) == 4
    size = await watched.exchange.row("SELECT max(log_index) AS last FROM inbox")
    assert await run("--all", "-o", str(tmp_path / "new"), "--since", str(size["last"])) == 0
    assert [path.name for path in (tmp_path / "new").glob("*.json")] == ["B.3_3.json"]
    capsys.readouterr()
    assert await run(APPLICATION) == 0
    assert verify_pack(capsys.readouterr().out.encode(), watched.trust()).failures == []
    assert await run("B.3/NOWHERE") == 1
    assert await run() == 2
