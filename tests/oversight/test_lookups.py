"""The record of look-ups is closed each day under a root in the log, and neither hub nor operator changes it then."""

import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from connectors.oversight.__main__ import main
from connectors.oversight.alarm import Cause
from connectors.oversight.lookups_command import RecordBroken, check_record, open_sealed
from contracts.log import entry
from contracts.lookups import SEALED_MIN, count_cover
from contracts.rules.clock import jakarta_day
from contracts.wire.key import PrivateKey
from hub import fsck, trust
from hub.accounts import Person, Role
from hub.lookup_days import DayCloser, DayNotClosed, export_day
from hub.lookups import Register
from tests.hub.exchange import APPLICATION, Exchange
from tests.oversight.watch import Watch
from tests.oversight.watched import Watched

KEY = X25519PrivateKey.generate()
OFFICER, AUDITOR = (Person(role, role.value) for role in (Role.OFFICER, Role.OVERSIGHT))
REASON = "Complaint 17 of 2026"
DAYS_MAX = 10
Json = dict[str, Any]


@pytest.fixture
async def watched(database: str) -> AsyncIterator[Watched]:
    """Give an exchange that began today, in which an officer and twice the oversight body looked at a file."""
    exchange = await Exchange.open(database)
    await exchange.take(exchange.ministry.sign(exchange.ministry.submitted()))
    register, now = Register(exchange.database, KEY.public_key()), datetime.now(UTC)
    for person in (AUDITOR, OFFICER, AUDITOR):
        await register.note(person, "recommendation", APPLICATION, REASON, now)
    yield Watched(exchange, PrivateKey.generate("Ed25519"))
    await exchange.database.close()


async def close(watched: Watched, key: X25519PrivateKey | None = KEY, days: int = 1) -> int:
    """Close the days as so many days later."""
    closer = DayCloser(watched.exchange.desk, None if key is None else key.public_key())
    closed = await closer.catch_up(datetime.now(UTC) + timedelta(days=days), DAYS_MAX)
    if closed:
        await watched.sign()
    return closed


async def export(watched: Watched) -> Json:
    """Export today, through the file's form and back."""
    async with watched.exchange.database.snapshot() as connection:
        in_force = await trust.load(connection, watched.exchange.root.public)
        document = await export_day(connection, in_force.registry, jakarta_day(datetime.now(UTC)))
    read: Json = json.loads(json.dumps(document))
    return read


def recheck(document: Json, watched: Watched) -> Json:
    return check_record(json.dumps(document).encode(), watched.trust())


async def test_a_day_proves_itself_and_only_the_oversight_body_reads_its_own(watched: Watched) -> None:
    assert await close(watched) == 1
    document = recheck(await export(watched), watched)
    assert [one["actor"] for one in document["lookups"] if "sealed" not in one] == ["officer"]
    own = open_sealed(document, KEY)
    assert [(one["role"], one["subject"], one["reason"]) for one in own] == [("oversight", APPLICATION, REASON)] * 2
    with pytest.raises(RecordBroken, match="was sealed to this key"):
        open_sealed(document, X25519PrivateKey.generate())


async def test_neither_the_root_nor_the_rows_tell_how_often_the_oversight_body_looked(watched: Watched) -> None:
    assert await close(watched, days=2) == 2
    sealed = [one["sealed"] for one in (await export(watched))["lookups"] if "sealed" in one]
    assert (len(sealed), len({len(one) for one in sealed})) == (SEALED_MIN, 1)
    async with watched.exchange.database.connection() as connection:
        entries = [row[0] for row in await connection.fetch("SELECT entry FROM leaves ORDER BY log_index DESC LIMIT 2")]
        rows = await connection.fetch(
            "SELECT day, count(*) FROM lookups WHERE sealed IS NOT NULL GROUP BY 1 ORDER BY 1"
        )
    # A day on which nobody looked at anything cannot be told from one with look-ups.
    assert [row[1] for row in rows] == [SEALED_MIN, SEALED_MIN]
    assert all(set(json.loads(entry)) == {"kind", "day", "root", "at"} for entry in entries)


@pytest.mark.parametrize(("sealed", "cover"), [(0, 32), (31, 1), (32, 0), (33, 31), (65, 63)])
def test_cover_makes_a_power_of_two(sealed: int, cover: int) -> None:
    assert count_cover(sealed) == cover


async def test_a_day_is_closed_once_and_takes_nothing_afterwards(watched: Watched) -> None:
    assert [await close(watched), await close(watched)] == [1, 0]
    register = Register(watched.exchange.database, KEY.public_key())
    for person in (OFFICER, AUDITOR):
        with pytest.raises(asyncpg.RaiseError, match="closed"):
            await register.note(person, "recommendation", APPLICATION, REASON, datetime.now(UTC))
    for statement in ("UPDATE lookup_days SET log_index = 0", "DELETE FROM lookup_days"):
        async with watched.exchange.database.connection() as connection:
            with pytest.raises(asyncpg.RaiseError, match="only ever added to"):
                await connection.execute(statement)


async def test_without_a_key_for_the_oversight_body_there_is_a_root_all_the_same(watched: Watched) -> None:
    await close(watched, None)
    assert len(recheck(await export(watched), watched)["lookups"]) == 3


async def test_what_is_not_closed_is_said_so(watched: Watched) -> None:
    with pytest.raises(DayNotClosed, match="no root yet"):
        await export(watched)
    closer = DayCloser(watched.exchange.desk, KEY.public_key())
    assert await closer.catch_up(datetime.now(UTC), DAYS_MAX) == 0
    await closer.catch_up(datetime.now(UTC) + timedelta(days=1), DAYS_MAX)
    with pytest.raises(DayNotClosed, match="No checkpoint"):
        await export(watched)


def _without(document: Json, wanted: Callable[[Json], bool]) -> Json:
    gone = next(one for one in document["lookups"] if wanted(one))
    return document | {"lookups": [one for one in document["lookups"] if one is not gone]}


FORGERIES: dict[str, tuple[Callable[[Json], Json], str]] = {
    "an open one taken out": (lambda day: _without(day, lambda one: "sealed" not in one), "taken out"),
    "a sealed one taken out": (lambda day: _without(day, lambda one: "sealed" in one), "taken out"),
    "one put in": (lambda day: day | {"lookups": [*day["lookups"], day["lookups"][0]]}, "put in"),
    "another reason": (
        lambda day: day | {"lookups": [one | {"reason": "none"} if "reason" in one else one for one in day["lookups"]]},
        "changed",
    ),
    "another day": (lambda day: day | {"day": "2026-01-05"}, "another day"),
    "another salt": (lambda day: day | {"salt": "A" * 43}, "changed"),
    "an entry that the log does not hold": (
        lambda day: day | {"entry": day["entry"].replace('"at":"2', '"at":"3')}, "does not hold"
    ),
    "no entry": (lambda day: {name: day[name] for name in day if name != "entry"}, "malformed"),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGERIES)
async def test_a_forged_record_is_refused(watched: Watched, name: str) -> None:
    forge, told = FORGERIES[name]
    await close(watched)
    with pytest.raises(RecordBroken, match=told):
        recheck(forge(await export(watched)), watched)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE lookups SET reason = 'Another reason' WHERE reason IS NOT NULL",
        "DELETE FROM lookups WHERE reason IS NOT NULL",
        "DELETE FROM lookups WHERE id = (SELECT max(id) FROM lookups)",
        "UPDATE lookup_days SET root = sha256(root)",
        "DELETE FROM lookup_days",
    ],
)
async def test_what_the_operator_changes_past_the_guards_is_found(watched: Watched, statement: str) -> None:
    await close(watched)
    assert not [one for one in await fsck.check(watched.exchange.database) if "leaf" in one.kind or "look" in one.kind]
    async with watched.exchange.database.connection() as connection:
        await connection.execute("ALTER TABLE lookups DISABLE TRIGGER ALL; ALTER TABLE lookup_days DISABLE TRIGGER ALL")
        await connection.execute(statement)
    assert {"lookups_changed", "leaf_orphan"} & {one.kind for one in await fsck.check(watched.exchange.database)}


@pytest.mark.parametrize(
    ("days", "seen"),
    [
        (("2026-11-20", "2026-11-21"), set()),
        (("2026-11-20", "2026-11-20"), {Cause.LOOKUPS_SKIPPED}),
        (("2026-11-20", "2026-11-22"), {Cause.LOOKUPS_SKIPPED}),
        (("2026-11-20", "none"), {Cause.LOOKUPS_SKIPPED}),
    ],
)
def test_the_monitor_sees_a_day_without_a_root_or_with_two(watch: Watch, days: tuple[str, ...], seen: set[str]) -> None:
    for day in days:
        watch.world.append(entry.lookups(day=day, root=bytes(32), at=watch.world.now))
    watch.publish()
    assert watch.look() == seen


async def test_the_command_says_it_in_words(
    watched: Watched, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await close(watched)
    document = await export(watched)
    (tmp_path / "day.json").write_text(json.dumps(document))
    (tmp_path / "root.json").write_text(json.dumps(watched.exchange.root.public.jwk))
    (tmp_path / "log.vkey").write_text(watched.trust().policy.log_keys[0].write())
    pem = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "seal.pem").touch(mode=0o600)
    (tmp_path / "seal.pem").write_bytes(pem)
    options = ["--root", str(tmp_path / "root.json"), "--log-key", str(tmp_path / "log.vkey")]
    command = ["lookups", str(tmp_path / "day.json"), *options]
    assert main([*command, "--seal-key", str(tmp_path / "seal.pem")]) == 0
    said = capsys.readouterr().out
    assert ("WHOLE / UTUH" in said, said.count(REASON)) == (True, 2)
    assert main([*command, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["whole"], len(told["open"]), told["sealed"], told["own"]) == (True, 1, SEALED_MIN, None)
    (tmp_path / "day.json").write_text(json.dumps(document | {"lookups": []}))
    assert main(command) == 1
    assert "NOT WHOLE" in capsys.readouterr().out
    (tmp_path / "seal.pem").chmod(0o644)
    assert main([*command, "--seal-key", str(tmp_path / "seal.pem")]) == 2
