"""What the doctor says to what it sees, by values."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from contracts.registry import Registry
from contracts.wire.instant import write_instant
from contracts.wire.key import PrivateKey
from hub.diagnosis import (
    Disk,
    Finding,
    Log,
    Seen,
    is_well,
    judge_broker_clock,
    judge_certificate,
    judge_database_clock,
    judge_database_rights,
    judge_disk,
    judge_holders,
    judge_keys,
    judge_lag,
    judge_log,
    judge_suspended,
    judge_transport,
    judge_witness,
)
from hub.transport import Acl, Found, Plan
from tests.contracts.root_world import write_registry
from tests.hub.world import World

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
S, MIN, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)
GIB = 1024**3
MISSING = "The role x_intake is missing: `hub database roles` prints what makes it."
CLEAN = Found(1, {}, frozenset(), {})


@pytest.mark.parametrize(
    ("finding", "verdict", "said"),
    [
        (judge_certificate("It", NOW + 31 * DAY, NOW, 30 * DAY), "ok", "lasts until 2026-12-25"),
        (judge_certificate("It", NOW + 30 * DAY, NOW, 30 * DAY), "wrong", "ends on 2026-12-24"),
        (judge_certificate("It", NOW, NOW, 30 * DAY), "wrong", "ended on 2026-11-24"),
        (judge_database_rights([]), "ok", "no more"),
        (judge_database_rights([MISSING, MISSING]), "notice", "no roles of their own"),
        (judge_database_rights([MISSING, "x_api has INSERT on leaves, unasked."]), "wrong", "INSERT on leaves"),
        (judge_database_rights(["It is so."] * 7), "wrong", "It is so. And 2 more."),
        (judge_database_clock(NOW, NOW + S, NOW + 2 * S), "ok", "agree"),
        (judge_database_clock(NOW, NOW - 4 * S, NOW + 20 * S), "ok", "agree"),
        (judge_database_clock(NOW, NOW + 30 * S, NOW + S), "wrong", "29.0 s ahead of"),
        (judge_database_clock(NOW, NOW - 60 * S, NOW + S), "wrong", "60.0 s behind"),
        (judge_broker_clock(None), "unknown", "No message came"),
        (judge_broker_clock(timedelta(milliseconds=3)), "ok", "fits"),
        (judge_broker_clock(-2 * S), "ok", "fits"),
        (judge_broker_clock(-3 * S), "wrong", "arrive 3.0 s before"),
        (judge_broker_clock(2 * MIN), "notice", "took 120 s"),
        (judge_disk(Disk("It", 100 * GIB, 50 * GIB)), "ok", "50.0 of 100.0 GiB"),
        (judge_disk(Disk("It", 100 * GIB, 4 * GIB)), "wrong", "4.0 of 100.0 GiB"),
        (judge_disk(Disk("It", 2 * GIB, GIB - 1)), "wrong", "1.0 of 2.0 GiB"),
        (judge_disk(Disk("It", -1, -1)), "unknown", "does not tell"),
        (judge_lag("It", {"from.bri": 10_000}, "Wait."), "ok", "10000 messages"),
        (judge_lag("It", {"from.bri": 1, "from.kpk": 10_000}, "Wait."), "wrong", "10000 of them on from.kpk"),
        (judge_log(Log(7, 7, NOW - DAY), NOW), "ok", "7 of 7"),
        (judge_log(Log(8, 7, NOW - MIN), NOW), "ok", "7 of 8"),
        (judge_log(Log(8, 7, NOW - 61 * S), NOW), "wrong", "1 leaves are not signed; the newest checkpoint is 61 s"),
        (judge_log(Log(8, 0, None), NOW), "wrong", "none was ever signed"),
        (judge_witness(Seen("kpk", 7, None), NOW, 60 * MIN), "ok", "up to 7"),
        (judge_witness(Seen("kpk", 7, NOW - MIN), NOW, 60 * MIN), "ok", "up to 7"),
        (judge_witness(Seen("kpk", 7, NOW - 9 * MIN), NOW, 60 * MIN), "notice", "nothing since 9 min"),
        (judge_witness(Seen("kpk", 7, NOW - DAY), NOW, 60 * MIN), "wrong", "nothing since 24 h"),
        (judge_holders(["a", "b"], ["b", "a"]), "ok", "2 duties"),
        (judge_holders(["a", "b", "c"], ["b"]), "wrong", "a, c"),
    ],
)
def test_a_reading_becomes_a_finding(finding: Finding, verdict: str, said: str) -> None:
    assert (finding.verdict, said in finding.says) == (verdict, True), finding
    assert bool(finding.do) is (verdict in ("notice", "wrong"))


@pytest.mark.parametrize(
    ("plan", "found", "verdicts"),
    [
        (Plan(), CLEAN, ["ok"]),
        (Plan(granted=(Acl("User:bri", "topic", "from.bri", "write"),)), CLEAN, ["wrong"]),
        (Plan(conflicts=("Topic from.bri has 3 partitions.",)), CLEAN, ["wrong"]),
        (Plan(foreign=("User:mallory may read topic *",)), CLEAN, ["wrong", "ok"]),
        (Plan(), Found(1, {}, None, {}), ["notice", "ok"]),
    ],
)
def test_what_kafka_has_beside_the_registry_is_told(plan: Plan, found: Found, verdicts: list[str]) -> None:
    assert [finding.verdict for finding in judge_transport(plan, found)] == verdicts


def test_many_steps_are_named_in_part() -> None:
    surplus = tuple(Acl("User:bri", "topic", f"from.{number}", "write") for number in range(7))
    [finding] = judge_transport(Plan(revoked=surplus), CLEAN)
    assert "revoke User:bri may write topic from.4; and 2 more" in finding.says


def registry_with(*keys: dict[str, Any]) -> Registry:
    root, document = PrivateKey.generate("Ed25519"), World().document()
    document["participants"] = document["participants"][1:2]
    document["participants"][0]["keys"] = list(keys)
    return Registry.read(write_registry(document, root), root.public)


def key_until(days: int, **others: Any) -> dict[str, Any]:
    times = {"nbf": write_instant(NOW - 100 * DAY), "exp": write_instant(NOW + days * DAY)}
    return World().key(PrivateKey.generate("Ed25519"), **times | others)


@pytest.mark.parametrize(
    ("keys", "verdict"),
    [
        ([key_until(31)], "ok"),
        ([key_until(30)], "wrong"),
        ([key_until(5), key_until(300)], "ok"),
        ([key_until(5), key_until(300, nbf=write_instant(NOW + 2 * DAY))], "ok"),
        ([key_until(300, revoked_at=write_instant(NOW - DAY)), key_until(5)], "wrong"),
        ([key_until(300, revoked_at=write_instant(NOW - DAY))], "notice"),
        ([key_until(-1)], "notice"),
    ],
    ids=["lasts", "ends", "replaced", "replaced in time", "one revoked, one ends", "revoked", "ended"],
)
def test_a_key_that_ends_without_another_after_it_is_told(keys: list[dict[str, Any]], verdict: str) -> None:
    assert [finding.verdict for finding in judge_keys(registry_with(*keys), NOW, 30 * DAY)] == [verdict]


@pytest.mark.parametrize(
    ("waiting", "verdict", "said"),
    [
        ({}, "notice", "0 messages of bri wait."),
        ({"from.bri": 4_999, "from.kpk": 9_999}, "notice", "4999 messages"),
        ({"from.bri": 5_000}, "wrong", "From 10000 on they are refused."),
    ],
)
def test_a_suspended_key_is_named_with_what_waits_for_it(waiting: dict[str, int], verdict: str, said: str) -> None:
    registry = registry_with(key_until(31))
    [key] = registry.participants["bri"].keys
    [finding] = judge_suspended(replace(registry, suspended=frozenset({key.kid})), waiting, 10_000)
    assert (finding.verdict, said in finding.says, f"message key {key.kid} of bri" in finding.says) == (
        verdict,
        True,
        True,
    )
    assert finding.do
    assert [one.verdict for one in judge_suspended(registry, waiting, 10_000)] == ["ok"]


def test_only_what_is_wrong_makes_it_unwell() -> None:
    findings = [Finding("x", verdict, "certain", "It is so.") for verdict in ("ok", "notice", "unknown")]
    assert is_well(findings)
    assert not is_well([*findings, Finding("x", "wrong", "a guess", "It is so.")])
