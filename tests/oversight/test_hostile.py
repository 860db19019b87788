"""Whoever writes a log or a pack cannot break the tool that is to judge it: it names a fault and goes on."""

import json
import random
from collections.abc import Iterator
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from contracts.audit.entries import MEMBERS, read_entry
from contracts.audit.finding import Doubt
from contracts.audit.pack import Document, Message, Recommended, write_pack
from contracts.audit.verify import verify_pack
from contracts.errors import Code
from contracts.log import entry
from tests.oversight.watch import Watch
from tests.oversight.world import World

ROUNDS = 3_000
ODD_ENTRIES = (
    b"{}", b"nothing", b"[1]", b"5", b"null", b'{"kind":5}', b'{"kind":"accepted"}', b'{"kind":"key_added"}',
    b'{"kind":"key_revoked"}', b'{"kind":"registry"}', b'{"kind":"rule_set"}', b'{"kind":"recommendation"}',
    b'{"kind":"accepted","source":5,"id":[],"type":{},"sha256":null,"kid":7,"sig":1,"received_at":true}',
    b'{"kind":"key_added","kid":[],"participant":{}}', b'{"kind":"registry","version":"1","sha256":5}',
    b'{"kind":["accepted"]}', b'{"kind":"contract","type":[]}', b'{"kind":"refused","participant":{}}',
    b'{"kind":"registry","version":99999999999999999999999,"sha256":"x"}',
    b'{"kind":"recommendation","number":[],"revision":{},"state":1}',
    b'{"kind":"recommendation","number":"n","revision":1e400,"state":"issued"}',
)  # fmt: skip
ODD_VALUES = ("", "{}", "[]", "null", '{"data":5}', '{"source":{},"sequence":"x","data":{"basis":5}}', "\u0000", "{")
ODD_MEMBERS: tuple[Any, ...] = (
    None,
    "",
    0,
    -1,
    2**62,
    2**63,
    10**30,
    1.5,
    True,
    [],
    {},
    "A",
    "\ud7ff",
    [[[]]],
    {"a": None},
)


@pytest.mark.parametrize("odd", ODD_ENTRIES)
def test_a_pack_that_rests_on_an_odd_entry_is_judged(odd: bytes) -> None:
    world = World.settled()
    at = world.append(odd)
    pack = world.pack()
    jws = world.issued[0][2]
    for value in (None, *ODD_VALUES, pack.messages[0].value):
        message = Message(index=at, append_time_ms=0, value=value, jws=jws, fact=[1, 2])
        recommended = Recommended(index=at, value=value or "", jws=jws, tlog_proof=value)
        document = Document(index=at, document=value or "")
        forged = pack.model_copy(
            update={
                "messages": (*pack.messages, message),
                "recommendations": (*pack.recommendations, recommended),
                "registries": (*pack.registries, document),
                "rule_sets": (*pack.rule_sets, document),
            }
        )
        assert verify_pack(write_pack(forged), world.trust()).failures


@pytest.mark.parametrize("odd", ODD_ENTRIES)
def test_the_monitor_goes_on_behind_an_odd_entry_and_an_odd_pack(tmp_path: Path, odd: bytes) -> None:
    world = World.settled()
    watch = Watch(tmp_path, world)
    at = world.append(odd)
    watch.publish()
    pack, jws = world.pack(), world.issued[0][2]
    for number, value in enumerate((*ODD_VALUES, None)):
        message = Message(index=at, append_time_ms=0, value=value, jws=jws)
        recommended = Recommended(index=at, value=value or "", jws=jws, tlog_proof=None)
        forged = {"messages": (message,), "recommendations": (recommended,)}
        watch.show(pack.model_copy(update=forged), f"{number}.json")
    (watch.packs / "none.json").write_bytes(b"\xff")
    (watch.packs / "folder.json").mkdir()
    assert watch.look()
    assert watch.state.followed().size == len(world.entries)
    watch.show()
    assert watch.look() == set()
    watch.state.close()


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    """Every member of a document, at any depth, as (holder, key)."""
    members = list(node.items()) if isinstance(node, dict) else list(enumerate(node)) if isinstance(node, list) else []
    for key, held in members:
        yield node, key
        yield from _places(held)


def test_a_pack_with_anything_in_any_place_is_judged() -> None:
    world = World.settled()
    raw, trust = write_pack(world.pack()), world.trust()
    chance = random.Random(2012)
    for _ in range(ROUNDS):
        document = json.loads(raw)
        for _ in range(chance.choice((1, 1, 2, 5))):
            holder, key = chance.choice(list(_places(document)))
            if isinstance(holder, list) and chance.random() < 0.3:
                holder.append(deepcopy(chance.choice((*ODD_MEMBERS, holder[key]))))
            elif chance.random() < 0.3:
                del holder[key]
            else:
                holder[key] = deepcopy(chance.choice(ODD_MEMBERS))
        findings = verify_pack(json.dumps(document).encode(), trust)
        assert all("Yamada" not in f"{one.subject}{one.detail}" for one in findings.all)


def test_a_pack_of_any_bytes_is_judged() -> None:
    world = World.settled()
    raw, trust = bytearray(write_pack(world.pack())), world.trust()
    chance = random.Random(2021)
    for _ in range(ROUNDS // 10):
        forged = bytearray(raw)
        for _ in range(chance.randrange(1, 20)):
            forged[chance.randrange(len(forged))] = chance.randrange(256)
        verify_pack(bytes(forged), trust)
    assert verify_pack(b"[" * 100_000, trust).codes == {Doubt.PACK_MALFORMED}


def test_every_entry_that_the_protocol_writes_is_read() -> None:
    now = datetime(2026, 11, 24, 3, tzinfo=UTC)
    digest = bytes(32)
    written = [
        entry.accepted(source="s", id="i", type="t", digest=digest, kid="k", sig="g", received_at=now),
        entry.refused(
            code=Code.POISON, digest=digest, topic="t", partition=0, offset=0, participant=None, received_at=now
        ),
        entry.recommendation(id="i", case="c", number="n", revision=1, state="issued", digest=digest),
        entry.registry(version=1, sha256="0"),
        entry.key_added(participant="p", kid="k", use="message"),
        entry.key_revoked(participant="p", kid="k", use="message"),
        entry.key_suspended(participant="p", kid="k", use="message", act="{}"),
        entry.suspension_lifted(participant="p", kid="k", suspension="0"),
        entry.root(version=1, sha256="0"),
        entry.rule_set(id="i", version=1, sha256="0"),
        entry.contract(type="t", sha256="0"),
        entry.succession(origin="o", checkpoint="c"),
        entry.timer(name="n", subject="s", at=now),
        entry.erasure(order="0", messages=1, at=now),
        entry.count(
            participant="p", day="2026-11-24", source="s", first_index=0, log_size=1, accepted=1, refused=0, sha256="0"
        ),
        entry.refused(
            code=Code.POISON,
            digest=digest,
            topic="t",
            partition=0,
            offset=0,
            participant="p",
            received_at=now,
            source="s",
            sequence=2**63 - 1,
        ),
        entry.operator_action(action="a", subject="s", actor="a", reason="r", at=now),
        entry.service_time(
            application="a", clock="c", state="warned", holder="ministry", unit=None, started_at=now,
            due_on="2026-11-26", passed_at=now, at=now,
        ),
        entry.finding(name="n", state="open", digest=digest, at=now),
        entry.lookups(day="2026-11-24", root=digest, at=now),
        entry.succession(origin="o", checkpoint="c"),
    ]  # fmt: skip
    assert {read_entry(one)["kind"] for one in written} == set(MEMBERS)
