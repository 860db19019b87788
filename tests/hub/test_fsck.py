"""fsck finds what was changed behind the hub's back, whatever it is."""

import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from contracts.wire.base64url import encode
from contracts.wire.signature import sign_single
from hub import fsck
from hub.dossier_check import check_dossiers
from hub.overseer import Overseer
from hub.store import inspection
from tests.hub.exchange import CODE, Exchange
from tests.hub.national import watch

TAMPERED = {
    "UPDATE cases SET told = '{}' WHERE told <> '{}'": "told_differs",
    "UPDATE cases SET facts = '[]'": "facts_differ",
    "UPDATE cases SET standing = replace(standing, 'JKT-SELATAN', 'JKT-UTARA')": "standing_differs",
    "UPDATE cases SET personal = replace(personal, 'Yamada', 'Suzuki')": "personal_differs",
    "UPDATE cases SET standing = standing || 'x'": "unreadable",
    "UPDATE rule_sets SET sha256 = repeat('0', 64)": "column_wrong",
    "UPDATE cases SET rule_set = '2012/1'": "rule_set_differs",
    "INSERT INTO cases (id, rule_set) VALUES ('B.3/INVENTED', '2021/1')": "rule_set_differs",
    "DELETE FROM cases": "not_stored",
    "UPDATE billing_codes SET case_id = 'B.3/OTHER' WHERE case_id IS NOT NULL": "claim_differs",
    "UPDATE inbox SET value = value || '\\x20' WHERE log_index = (SELECT min(log_index) FROM inbox)": "value_changed",
    "DELETE FROM inbox WHERE type LIKE '%payment%'": "facts_differ",
    "UPDATE inbox SET id = 'another' WHERE log_index = (SELECT max(log_index) FROM inbox)": "identity_wrong",
    "UPDATE inbox SET kid = 'another'": "leaf_wrong",
    "UPDATE inbox SET subject = subject || '1'": "column_wrong",
    "UPDATE inbox SET sequence = sequence + 100": "column_wrong",
    "UPDATE inbox SET time = time - interval '1 day'": "column_wrong",
    "UPDATE inbox SET participant = 'mandiri' WHERE participant = 'bri'": "signature_wrong",
    "UPDATE inbox SET jws_proof = '1' || jws_proof WHERE jws_proof IS NOT NULL": "signature_wrong",
    "UPDATE inbox SET jws = 'a' || jws": "signature_wrong",
    "UPDATE cases SET facts = '[[' || facts": "unreadable",
    "UPDATE billing_codes SET told = told || ','": "unreadable",
    "UPDATE differences SET explanations = explanations || 'x'": "unreadable",
    "UPDATE rule_sets SET document = document || 'x'": "unreadable",
    "UPDATE rule_sets SET document = document || chr(10) WHERE id = '2012'": "leaf_wrong",
    "UPDATE registry SET document = 'x'": "unreadable",
    "UPDATE registry SET version = version + 1": "registry_wrong",
    "UPDATE contracts SET sha256 = repeat('0', 64)": "leaf_wrong",
    "UPDATE contracts SET log_index = log_index + 1000": "leaf_orphan",
    "UPDATE leaves SET entry = replace(convert_from(entry, 'UTF8'), 'message', 'api')::bytea "
    "WHERE position('key_added'::bytea IN entry) > 0": "leaf_orphan",
    "UPDATE outbox SET key = key || '1' WHERE value IS NOT NULL": "column_wrong",
    "UPDATE quarantine SET code = 'none_of_ours'": "unreadable",
    "UPDATE quarantine SET \"offset\" = \"offset\" + 1": "leaf_wrong",
    "UPDATE watermark SET next = next + 1": "positions_end",
    "DELETE FROM watermark_interval WHERE from_offset = 0": "positions_gap",
    "DELETE FROM outbox WHERE seq = 1 AND topic = 'to.bri'": "stream_gap",
    "UPDATE streams SET next_seq = next_seq + 1": "stream_gap",
    "DELETE FROM outbox WHERE topic = 'recommendations'": "revision_wrong",
    "UPDATE outbox SET inbox_index = 999 WHERE inbox_index IS NOT NULL": "forward_dangling",
    "UPDATE log SET next_index = next_index + 1": "leaves_gap",
    "UPDATE quarantine SET (partition, \"offset\", topic_id) = "
    "(SELECT partition, \"offset\", topic_id FROM inbox LIMIT 1)": "disposition_twice",
    "UPDATE inbox SET \"offset\" = 1000 + \"offset\"": "offset_outside",
}  # fmt: skip


@pytest.fixture
async def exchange(database: str) -> AsyncIterator[Exchange]:
    """Give an exchange in which everything has happened once."""
    opened = await Exchange.open(database)
    ministry, bri, immigration = opened.ministry, opened.bri, opened.immigration
    await opened.take(bri.sign(bri.paid()))
    await opened.take(bri.sign(bri.booked(code=None)), bri.sign(bri.paid("820260302000099")))
    await opened.take(*ministry.sign_all([ministry.submitted(), ministry.billed(), ministry.approved()]))
    # A second application, whose bill runs out, and a message that is refused.
    await opened.take(ministry.sign(ministry.submitted("B.3/2")), ministry.sign(ministry.billed("B.3/2", "9" * 15)))
    await opened.take(ministry.sign(ministry.billed("B.3/3", CODE)))
    await opened.desk.fire_timers(datetime.now(UTC) + timedelta(days=10), 100)
    data = {"application": "B.3/2", "number": "TKA-0123456789AB", "revision": 1}
    acknowledged = immigration.write("id.tka.immigration.recommendation.acknowledged.v1", data, "B.3/2")
    await opened.take(immigration.sign(acknowledged))
    yield opened
    await opened.database.close()


# Evidence is only ever added to, says a trigger; whoever owns the database can put it aside.
TAMPER = "SET LOCAL session_replication_role = replica"


async def test_a_sound_database_has_no_finding(exchange: Exchange) -> None:
    assert await fsck.check(exchange.database) == []


async def test_passes_of_any_number_come_to_the_same(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fsck, "MESSAGES_PER_PASS_MAX", 15)
    assert await fsck.check(exchange.database) == []
    async with exchange.database.transaction() as tx:
        await tx.execute("UPDATE cases SET told = '{}'")
    assert {finding.kind for finding in await fsck.check(exchange.database)} == {"told_differs"}


@pytest.mark.parametrize("statement", TAMPERED)
async def test_what_was_tampered_with_is_found(exchange: Exchange, statement: str) -> None:
    async with exchange.database.transaction() as tx:
        await tx.execute(TAMPER)
        status = await tx.execute(statement)
    assert not status.endswith(" 0")
    assert TAMPERED[statement] in {finding.kind for finding in await fsck.check(exchange.database)}


async def test_no_finding_repeats_personal_data(exchange: Exchange) -> None:
    async with exchange.database.transaction() as tx:
        await tx.execute(TAMPER)
        for statement in TAMPERED:
            await tx.execute(statement)
    findings = await fsck.check(exchange.database)
    assert findings
    assert all("Yamada" not in text and "L898902C36" not in text for finding in findings for text in finding)


async def test_an_insider_who_rewrites_message_digest_and_leaf_alike_is_found(exchange: Exchange) -> None:
    async with exchange.database.transaction() as tx:
        await tx.execute(TAMPER)
        row = await tx.fetchrow("SELECT * FROM inbox WHERE type LIKE '%payment.received%' ORDER BY log_index LIMIT 1")
        assert row is not None
        value = row["value"].replace(b"1200.00", b"1300.00")
        digest = hashlib.sha256(value).digest()
        leaf = await tx.fetchval("SELECT entry FROM leaves WHERE log_index = $1", row["log_index"])
        rewritten = leaf.replace(encode(row["digest"]).encode(), encode(digest).encode())
        assert rewritten != leaf
        write = "UPDATE inbox SET value = $1, digest = $2 WHERE log_index = $3"
        await tx.execute(write, value, digest, row["log_index"])
        await tx.execute("UPDATE leaves SET entry = $1 WHERE log_index = $2", rewritten, row["log_index"])
    found = {(finding.kind, finding.subject) for finding in await fsck.check(exchange.database)}
    assert ("signature_wrong", f"inbox/{row['log_index']}") in found
    assert "leaf_wrong" not in {kind for kind, _ in found}


async def test_what_the_hub_signed_may_not_change_afterwards(exchange: Exchange) -> None:
    async with exchange.database.transaction() as tx:
        row = await tx.fetchrow("SELECT topic, partition, seq, value FROM outbox WHERE value IS NOT NULL LIMIT 1")
        assert row is not None
        jws = sign_single(row["value"], exchange.hub)
        place = row["topic"], row["partition"], row["seq"]
        write = "INSERT INTO outbox_signature (topic, partition, seq, jws) VALUES ($1, $2, $3, $4)"
        await tx.execute(write, *place, jws)
    assert await fsck.check(exchange.database) == []
    async with exchange.database.transaction() as tx:
        changed = row["value"] + b" "
        await tx.execute("UPDATE outbox SET value = $4 WHERE (topic, partition, seq) = ($1, $2, $3)", *place, changed)
    assert "signature_wrong" in {finding.kind for finding in await fsck.check(exchange.database)}


FOLLOWED = {
    "UPDATE dossiers SET facts = '[]' WHERE facts <> '[]'": "dossier_differs",
    "UPDATE dossiers SET facts = replace(facts, 'unit-00001', 'unit-00002')": "dossier_differs",
    "UPDATE dossiers SET facts = replace(facts, 'PT Maju', 'PT Mundur')": "dossier_differs",
    "DELETE FROM dossiers WHERE subject = 'B.3/2'": "dossier_differs",
    "INSERT INTO dossiers (subject, facts) SELECT 'B.3/INVENTED', facts FROM dossiers "
    "WHERE subject = 'B.3/2'": "dossier_differs",
    "UPDATE dossiers SET facts = '[[' || facts": "unreadable",
    "UPDATE dossiers SET facts = '[[1]]'": "unreadable",
    "UPDATE register SET entry = replace(entry, 'worker-0001', 'worker-0002')": "register_differs",
    "UPDATE register SET entry = replace(entry, '3171', '3174'), regencies = '{3174}'": "register_differs",
    "UPDATE register SET regencies = '{3174}'": "column_wrong",
    "UPDATE register SET last_day = last_day + 365": "column_wrong",
    "UPDATE register SET entry = 'x'": "unreadable",
    "UPDATE register SET entry = '{}'": "unreadable",
    "DELETE FROM register": "not_stored",
    "INSERT INTO register SELECT 'B.3/2', replace(entry, application, 'B.3/2'), unit, kanim, regencies, begins_on, "
    "last_day, differs_from FROM register": "register_differs",
}  # fmt: skip


async def test_what_overseers_compute_from_is_folded_again(exchange: Exchange) -> None:
    """What was changed in dossiers or the register is found, each in a transaction that is rolled back."""
    await watch(exchange, datetime.now(UTC))
    assert await fsck.check(exchange.database) == []
    async with exchange.database.connection() as connection:
        claims = await inspection.read_claims(connection)
        for statement, kind in FOLLOWED.items():
            transaction = connection.transaction()
            await transaction.start()
            done = await connection.execute(statement)
            assert not done.endswith(" 0"), statement
            found = {one.kind for one in await check_dossiers(connection, claims)}
            await transaction.rollback()
            assert kind in found, statement
        assert await connection.fetchval("SELECT count(*) FROM register") == 1


async def test_what_the_overseer_has_not_come_to_is_not_missed(exchange: Exchange) -> None:
    overseer, now = Overseer(exchange.desk), datetime.now(UTC)
    await overseer.follow(now)
    # Followed and not looked at yet: the register is behind, and that is no finding.
    assert await fsck.check(exchange.database) == []
    await watch(exchange, now)
    # What comes next is not followed yet; among it is a bill for money that was.
    ministry = exchange.ministry
    await exchange.take(ministry.sign(ministry.billed("B.3/9", "820260302000099")))
    assert await fsck.check(exchange.database) == []
    await watch(exchange, now)
    assert await fsck.check(exchange.database) == []


async def test_what_was_erased_is_no_finding_in_a_dossier(exchange: Exchange) -> None:
    await watch(exchange, datetime.now(UTC))
    async with exchange.database.connection() as connection:
        await connection.execute(
            "UPDATE inbox SET value = NULL, erased_at = now() WHERE type LIKE '%permit.submitted%'"
        )
        await connection.execute("UPDATE outbox SET value = NULL, erased_at = now() WHERE topic = 'recommendations'")
        claims = await inspection.read_claims(connection)
        async with connection.transaction():
            assert await check_dossiers(connection, claims) == []


async def test_a_long_log_is_followed_in_several_passes(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    await watch(exchange, datetime.now(UTC))
    monkeypatch.setattr("hub.dossier_check.MESSAGES_PER_PASS_MAX", 5)
    assert await fsck.check(exchange.database) == []
    async with exchange.database.connection() as connection:
        await connection.execute("UPDATE dossiers SET facts = '[]' WHERE facts <> '[]'")
    kinds = [one.kind for one in await fsck.check(exchange.database)]
    assert kinds.count("dossier_differs") == 4
