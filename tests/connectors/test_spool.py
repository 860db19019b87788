"""The spool: what is durable, what is fixed, and what a killed process leaves behind."""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from connectors.link import failpoint
from connectors.link.fact import Aside, ReceiptEntry
from connectors.link.fault import ClaimTaken, SpoolFull, SpoolLocked, SpoolUnusable
from connectors.link.message import event_id_of
from connectors.link.spool import Spool
from contracts.wire.envelope import Envelope, read_envelope
from contracts.wire.key import PrivateKey
from contracts.wire.signature import sign_single
from tests.connectors.parties import AUTHOR, BRI_SOURCE, payment

ROOT = Path(__file__).resolve().parents[2]


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


async def envelopes(spool: Spool) -> list[Envelope]:
    return [read_envelope(row.value) for row in await spool.waiting(1000)]


async def test_what_a_revoked_key_signed_is_signed_anew_unless_it_was_accepted(tmp_path: Path) -> None:
    old, following = PrivateKey.generate("Ed25519"), PrivateKey.generate("Ed25519")
    async with Spool.open(tmp_path / "spool.sqlite", AUTHOR) as spool:
        await spool.put([payment(number) for number in range(1, 7)])
        rows = await spool.waiting(10)
        keys = [old, old, old, old, following, old]
        signed = [(row.sequence, sign_single(row.value, key), None) for row, key in zip(rows, keys, strict=True)]
        await spool.store_signatures(signed[:5], None)
        await spool.mark_sent([2, 3, 4])
        accepted, revoked = (read_envelope(rows[place].value) for place in (2, 3))
        await spool.settle([ReceiptEntry(accepted.id, accepted.digest, 10)])
        await spool.settle([ReceiptEntry(revoked.id, revoked.digest, 11, "key_revoked")])
        assert await spool.take_back(frozenset({following.kid + "x"})) == 0
        assert await spool.take_back(frozenset({old.kid})) == 3
        # Not yet sent, sent without a receipt, refused for the key; and what was never signed.
        assert [row.sequence for row in await spool.waiting(10)] == [1, 2, 4, 6]
        assert [row.sequence for row in await spool.unsent(10)] == [5]
        assert await spool.take_back(frozenset({old.kid})) == 0


async def test_value_is_fixed_at_put(tmp_path: Path) -> None:
    clock = Clock()
    async with Spool.open(tmp_path / "spool.sqlite", AUTHOR, clock=clock) as spool:
        puts = await spool.put([payment(1), payment(2)])
        before = await spool.waiting(10)
    clock.now += timedelta(days=1)
    async with Spool.open(tmp_path / "spool.sqlite", AUTHOR, clock=clock) as spool:
        assert await spool.waiting(10) == before
        first, second = await envelopes(spool)
    assert [put.outcome for put in puts] == ["new", "new"]
    assert [first.sequence, second.sequence] == [1, 2]
    assert first.nonce != second.nonce
    assert first.id == puts[0].event_id == event_id_of(BRI_SOURCE, "snap/partner/PR-1")
    assert first.recordedtime == datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
    assert first.expirytime - first.recordedtime == timedelta(days=90)
    assert (first.audience, first.subject) == ("demo/from.bri", payment(1).subject)


async def test_every_commit_is_synchronous(tmp_path: Path) -> None:
    async with Spool.open(tmp_path / "spool.sqlite", AUTHOR) as spool:
        status = await spool.status()
    assert (status.journal_mode, status.synchronous) == ("wal", "FULL")
    assert (tmp_path / "spool.sqlite").stat().st_mode & 0o077 == 0


async def test_same_fact_again_is_no_second_event(tmp_path: Path) -> None:
    async with Spool.open(tmp_path / "spool.sqlite", AUTHOR) as spool:
        [first] = await spool.put([payment(1)])
        [again] = await spool.put([payment(1)])
        [other] = await spool.put([payment(1, amount="7.00")])
        [later] = await spool.put([payment(2)])
        asides = await spool.unreported(10)
        await spool.mark_reported(asides)
        assert await spool.unreported(10) == []
        assert len(await spool.waiting(10)) == 2
    assert (again.outcome, again.event_id, again.sequence) == ("again", first.event_id, 1)
    assert (other.outcome, other.code) == ("conflict", "conflict")
    assert later.sequence == 2
    assert [(aside.native_key, aside.code) for aside in asides] == [("snap/partner/PR-1", "conflict")]


async def test_unfit_fact_uses_up_no_sequence(tmp_path: Path) -> None:
    async with Spool.open(tmp_path / "spool.sqlite", AUTHOR) as spool:
        unfit, subject, half, fit = await spool.put(
            [
                payment(1, amount="-5"),
                replace(payment(2), subject="OTHER"),
                payment(3, bank_reference="\ud800"),
                payment(4),
            ]
        )
        assert [aside.code for aside in await spool.unreported(10)] == [
            "data_invalid",
            "data_invalid",
            "json_invalid",
        ]
    assert (unfit.outcome, unfit.code, unfit.detail) == ("unfit", "data_invalid", "amount: string_pattern_mismatch")
    assert (subject.outcome, half.outcome) == ("unfit", "unfit")
    assert (fit.outcome, fit.sequence) == ("new", 1)


async def test_concurrent_puts_share_commits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commits: list[str] = []
    monkeypatch.setattr(failpoint, "_armed", commits.append)
    async with Spool.open(tmp_path / "spool.sqlite", AUTHOR) as spool:
        puts = await asyncio.gather(*(spool.put([payment(number)]) for number in range(100)))
    assert sorted(put.sequence or 0 for [put] in puts) == list(range(1, 101))
    assert commits.count("spool.before_put_commit") < 20


async def test_one_bad_request_spoils_no_other(tmp_path: Path) -> None:
    async with Spool.open(tmp_path / "spool.sqlite", AUTHOR) as spool:
        good, bad, other = await asyncio.gather(
            spool.put([payment(1)]),
            spool.put([payment(2, amount={1, 2})]),
            spool.put([payment(3)]),
            return_exceptions=True,
        )
        assert isinstance(bad, TypeError)
        assert not isinstance(good, BaseException)
        assert not isinstance(other, BaseException)
        assert [good[0].sequence, other[0].sequence] == [1, 2]


async def test_claims_and_notes_belong_to_the_put(tmp_path: Path) -> None:
    clock = Clock()
    async with Spool.open(tmp_path / "spool.sqlite", AUTHOR, clock=clock) as spool:
        await spool.put([payment(1)], claims={"external/1": "PR-1"}, notes={"cursor": "1"})
        await spool.put([payment(1)], claims={"external/1": "PR-1"})
        refused, stored = await asyncio.gather(
            spool.put([payment(2)], claims={"external/1": "PR-2"}, notes={"cursor": "2"}),
            spool.put([payment(3)], notes={"cursor": "3"}),
            return_exceptions=True,
        )
        assert isinstance(refused, ClaimTaken)
        assert (refused.name, refused.held) == ("external/1", "PR-1")
        assert not isinstance(stored, BaseException)
        assert stored[0].sequence == 2
        assert await spool.note("cursor") == "3"
        assert await spool.notes("external/") == {"external/1": "PR-1"}
        clock.now += timedelta(days=2)
        assert await spool.forget_notes("external/", clock.now - timedelta(days=1)) == 1
        await spool.put(notes={"cursor": None})
        assert await spool.notes("") == {}


async def test_full_spool_takes_no_fact_and_loses_none(tmp_path: Path) -> None:
    clock = Clock()
    async with Spool.open(tmp_path / "spool.sqlite", AUTHOR, bytes_max=150_000, clock=clock) as spool:
        number = 0
        while (status := await spool.status()).bytes_used < status.bytes_max:
            number += 1
            await spool.put([payment(number)], notes={"cursor": str(number)})
        number += 1
        with pytest.raises(SpoolFull, match="SPOOL_BYTES_MAX"):
            await spool.put([payment(number)], notes={"cursor": str(number)})
        assert await spool.note("cursor") == str(number - 1)
        assert (await spool.put([payment(1)]))[0].outcome == "again"
        assert (await spool.status()).last_sequence == number - 1
        rows = await spool.waiting(10_000)
        await spool.store_signatures([(row.sequence, "jws", None) for row in rows], None)
        entries = [ReceiptEntry(read_envelope(row.value).id, read_envelope(row.value).digest, 1) for row in rows]
        assert (await spool.settle(entries)).accepted == number - 1
        clock.now += timedelta(days=8)
        assert await spool.erase_settled(clock.now - timedelta(days=7)) == number - 1
        assert (await spool.put([payment(number)]))[0].outcome == "new"


async def test_receipts_settle_only_the_bytes_they_name(tmp_path: Path) -> None:
    async with Spool.open(tmp_path / "spool.sqlite", AUTHOR) as spool:
        await spool.put([payment(1), payment(2), payment(3)])
        first, second, third = await envelopes(spool)
        await spool.store_signatures([(1, "a", None), (2, "b", "0."), (3, "c", None)], "chain")
        await spool.mark_sent([1, 2])
        settled = await spool.settle(
            [
                ReceiptEntry(first.id, first.digest, 10),
                ReceiptEntry(second.id, second.digest, 11, "data_invalid"),
                ReceiptEntry(third.id, first.digest, 12),
                ReceiptEntry("stranger", first.digest, 13),
            ]
        )
        assert (settled.accepted, settled.refused, settled.foreign, settled.unknown) == (1, 1, 1, 1)
        refused = await spool.fact(second.id)
        assert refused is not None
        assert (refused.state, refused.code, refused.log_index) == ("refused", "data_invalid", 11)
        assert (await spool.settle([ReceiptEntry(first.id, first.digest, 10, "equivocation")])).again == 1
        assert (await spool.settle([ReceiptEntry(second.id, second.digest, 14)])).accepted == 1
        status = await spool.status()
        assert (status.accepted, status.refused, status.signed, status.sent) == (2, 0, 1, 0)
        assert await spool.note("link/chain") == "chain"
        known = await spool.fact_by_key("snap/partner/PR-3")
        assert known is not None
        assert known.state == "signed"


async def test_unreceipted_is_overdue_after_a_while(tmp_path: Path) -> None:
    clock = Clock()
    async with Spool.open(tmp_path / "spool.sqlite", AUTHOR, clock=clock) as spool:
        await spool.put([payment(1)])
        await spool.store_signatures([(1, "jws", None)], None)
        sent = await spool.unsent(10)
        await spool.mark_sent([1])
        assert await spool.unsent(10) == []
        assert await spool.overdue(clock.now, 10) == []
        assert await spool.overdue(clock.now + timedelta(seconds=1), 10) == sent


async def test_things_set_aside_are_kept(tmp_path: Path) -> None:
    async with Spool.open(tmp_path / "spool.sqlite", AUTHOR) as spool:
        aside = Aside("outbox/7", "row_kind_unknown", "kind")
        await spool.put(aside=[aside, aside])
        assert await spool.unreported(10) == [aside]
        assert (await spool.status()).aside == 1


async def test_things_set_aside_say_what_they_are_about_only_if_it_is_well_formed(tmp_path: Path) -> None:
    async with Spool.open(tmp_path / "spool.sqlite", AUTHOR) as spool:
        subjects = ("B.3/17", "taro yamada", "\ud800", "", None)
        await spool.put(aside=[Aside(f"outbox/{n}", "row_kind_unknown", "kind", one) for n, one in enumerate(subjects)])
        await spool.put([payment(1, amount="-5")])
        kept = [aside.subject for aside in await spool.unreported(10)]
    assert kept == ["B.3/17", None, None, None, None, payment(1).subject]


async def test_spool_from_before_things_set_aside_had_a_subject_is_used_on(tmp_path: Path) -> None:
    async with Spool.open(tmp_path / "spool.sqlite", AUTHOR) as spool:
        await spool.put(aside=[Aside("outbox/7", "row_kind_unknown", "kind")])
    with closing(sqlite3.connect(tmp_path / "spool.sqlite")) as db:
        db.execute("ALTER TABLE aside DROP COLUMN subject")
    later = Aside("outbox/8", "row_kind_unknown", "kind", "B.3/17")
    async with Spool.open(tmp_path / "spool.sqlite", AUTHOR) as spool:
        await spool.put(aside=[later])
        assert await spool.unreported(10) == [Aside("outbox/7", "row_kind_unknown", "kind"), later]


async def test_two_connectors_on_one_spool_are_refused(tmp_path: Path) -> None:
    async with Spool.open(tmp_path / "spool.sqlite", AUTHOR):
        with pytest.raises(SpoolLocked, match="Another connector process works on this spool"):
            async with Spool.open(tmp_path / "spool.sqlite", AUTHOR):
                pass


async def test_spool_of_another_source_is_refused(tmp_path: Path) -> None:
    async with Spool.open(tmp_path / "spool.sqlite", AUTHOR):
        pass
    with pytest.raises(SpoolUnusable, match="SPOOL_DIR of its own"):
        async with Spool.open(tmp_path / "spool.sqlite", replace(AUTHOR, source="https://mandiri.example/tka")):
            pass
    (tmp_path / "broken.sqlite").write_bytes(b"not a database, but long enough to look at" * 100)
    with pytest.raises(SpoolUnusable, match="restore it"):
        async with Spool.open(tmp_path / "broken.sqlite", AUTHOR):
            pass


CRASH = """
import asyncio, sys
from pathlib import Path
from connectors.link.spool import Spool
from tests.connectors.parties import AUTHOR, payment

async def main():
    async with Spool.open(Path(sys.argv[1]), AUTHOR) as spool:
        for number in range(1, 6):
            await spool.put([payment(number)], notes={"cursor": str(number)})
            print(number, flush=True)

asyncio.run(main())
"""


def run_until_killed(script: str, point: str, hit: int, *arguments: str) -> list[str]:
    """Run a script that is killed at a named point; return the lines that it had printed."""
    armed = f"""
import os, signal
from connectors.link import failpoint
passed = []
def strike(name):
    passed.append(name)
    if passed.count({point!r}) == {hit}:
        os.kill(os.getpid(), signal.SIGKILL)
failpoint.arm(strike)
{script}
"""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", armed, *arguments],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(("point", "survives"), [("spool.before_put_commit", 2), ("spool.after_put_commit", 3)])
async def test_killed_process_leaves_whole_transactions(tmp_path: Path, point: str, survives: int) -> None:
    path = tmp_path / "spool.sqlite"
    assert run_until_killed(CRASH, point, 3, str(path)) == ["1", "2"]
    async with Spool.open(path, AUTHOR) as spool:
        assert (await spool.status()).last_sequence == survives
        assert await spool.note("cursor") == str(survives)
        outcomes = [put.outcome for put in await spool.put([payment(number) for number in range(1, 6)])]
        assert outcomes == ["again"] * survives + ["new"] * (5 - survives)
        assert [envelope.sequence for envelope in await envelopes(spool)] == [1, 2, 3, 4, 5]
        ids = {envelope.id for envelope in await envelopes(spool)}
        assert ids == {event_id_of(BRI_SOURCE, f"snap/partner/PR-{number}") for number in range(1, 6)}


async def test_status_holds_no_personal_data(tmp_path: Path) -> None:
    async with Spool.open(tmp_path / "spool.sqlite", AUTHOR) as spool:
        await spool.put([payment(1, bank_reference="CANARY-NAME")])
        assert "CANARY" not in json.dumps(str(await spool.status()))
