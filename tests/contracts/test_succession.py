"""Another log may follow in the registry only with the last cosigned checkpoint of the one that ended."""

from collections.abc import Callable
from typing import Any

import pytest

from contracts.errors import RegistryError
from contracts.log.checkpoint import Checkpoint, sign_checkpoint
from contracts.log.note import Kind, VerifierKey, cosign_text
from contracts.registry import Registry, check_successor
from contracts.wire.key import PrivateKey
from tests.contracts.root_world import write_registry
from tests.hub.world import World

OLD, NEW = "hub.example/demo", "hub.example/demo-2"
LOG, NEW_LOG, WITNESS = (PrivateKey.generate("Ed25519") for _ in range(3))
WITNESS_NAME = "kpk.example/witness"
ROOT = bytes(32)


def vkey(origin: str, key: PrivateKey) -> str:
    return VerifierKey.of(origin, Kind.ED25519, key.public).write()


WATCHED = VerifierKey.of(WITNESS_NAME, Kind.COSIGNATURE_V1, WITNESS.public).write()
FIRST = {"log_keys": [vkey(OLD, LOG)], "witnesses": [WATCHED]}


def checkpoint(*, origin: str = OLD, key: PrivateKey = LOG, cosigned: bool = True) -> str:
    note = sign_checkpoint(Checkpoint(origin, 40, ROOT), key)
    if cosigned:
        note = note.with_signatures([cosign_text(note.text, WITNESS_NAME, WITNESS, 1_795_000_000)])
    return note.write().decode()


def ended(note: str = "", **others: Any) -> dict[str, Any]:
    return {"checkpoint": note or checkpoint(), **FIRST, "witness_quorum": 0} | others


def successor(**others: Any) -> dict[str, Any]:
    own = {"log_origin": NEW, "log_keys": [vkey(NEW, NEW_LOG)], "predecessors": [ended()]}
    return {**FIRST, **own, **others}


def follow(first: dict[str, Any], then: dict[str, Any], version: int = 2) -> tuple[Registry, Registry]:
    world = World()
    old, new = (
        Registry.read(write_registry(world.document(number, **members), world.root), world.root.public)
        for number, members in ((version - 1, first), (version, then))
    )
    check_successor(old, new)
    return old, new


def test_a_log_that_names_what_the_old_one_had_may_follow() -> None:
    _, new = follow(FIRST, successor())
    assert (new.log_origin, new.first_origin()) == (NEW, OLD)
    assert new.predecessors[0].checkpoint.size == 40
    assert new.log_of(OLD).log_keys == new.predecessors[0].policy.log_keys
    assert new.log_of(NEW) == new.log_of("unknown.example/log") == new.log


FORGED: dict[str, tuple[str, Callable[[], dict[str, Any]]]] = {
    "another log without a word": ("does not name", lambda: successor(predecessors=[])),
    "nobody cosigned": ("quorum_missing", lambda: successor(predecessors=[ended(checkpoint(cosigned=False))])),
    "signed by another key": (
        "log_signature_missing",
        lambda: successor(predecessors=[ended(checkpoint(key=NEW_LOG))]),
    ),
    "of a log that never was": (
        "does not name",
        lambda: successor(
            predecessors=[
                ended(checkpoint(origin="x.example/log"), log_keys=[vkey("x.example/log", LOG)], witnesses=[WATCHED])
            ]
        ),
    ),
    "under a witness of its own choice": ("does not name", lambda: successor(predecessors=[ended(witnesses=[])])),
    "with the old log's key": ("a key of a log that has ended", lambda: successor(log_keys=[vkey(NEW, LOG)])),
    "two at once": ("does not name", lambda: successor(predecessors=[ended(), ended()])),
}


@pytest.mark.parametrize("name", FORGED)
def test_any_other_is_refused(name: str) -> None:
    reason, forge = FORGED[name]
    with pytest.raises(RegistryError, match=reason):
        follow(FIRST, forge())


def test_what_was_named_stays_named() -> None:
    with pytest.raises(RegistryError, match="predecessors are others"):
        follow(successor(), successor(predecessors=[]), 3)
    with pytest.raises(RegistryError, match="does not name"):
        follow(successor(), FIRST, 3)
    back = {
        **FIRST,
        "predecessors": [
            ended(),
            ended(checkpoint(origin=NEW, key=NEW_LOG), log_keys=[vkey(NEW, NEW_LOG)]),
        ],
    }
    with pytest.raises(RegistryError, match="the name of a log that has ended"):
        follow(successor(), back, 3)


def test_the_key_of_a_log_that_ended_never_comes_back() -> None:
    both = [vkey(NEW, NEW_LOG), vkey(NEW, LOG)]
    with pytest.raises(RegistryError, match="a key of a log that has ended"):
        follow(successor(), successor(log_keys=both), 3)
    follow(successor(), successor(log_keys=[vkey(NEW, NEW_LOG), vkey(NEW, PrivateKey.generate("Ed25519"))]), 3)
