"""What the demo's oversight body does: a changed pack, a forged fork, and tools that stand alone."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from connectors.oversight.witness import Witness
from connectors.oversight.witness_door import Desk
from connectors.oversight.witness_state import WitnessState
from contracts import merkle
from contracts.audit.pack import Pack, write_pack
from contracts.audit.verify import verify_pack
from contracts.log.checkpoint import Policy, open_checkpoint
from contracts.log.note import VerifierKey, read_note
from contracts.wire.key import PrivateKey
from devstack.demonstration.cast import LOG_ORIGIN
from devstack.demonstration.evidence import (
    CHANGED_CODE,
    EXPECTED,
    OTHER_ROOT,
    Office,
    change_byte,
    run_to_end,
    sign_checkpoint,
)
from devstack.demonstration.keys import LOG_KEY, make_key, write_verifier_key
from devstack.demonstration.report import WORDS
from devstack.demonstration.stage import wait_until
from devstack.processes import StackError
from tests.oversight.world import World
from tests.test_packaging import ROOT


async def test_the_tools_are_installed_alone_and_run(tmp_path: Path) -> None:
    office = await Office.open(tmp_path, ROOT)
    assert await office.stands_alone()
    origin = await run_to_end([office.python, "-I", "-c", "import contracts; print(contracts.__file__)"], tmp_path)
    assert Path(origin.output.strip()).is_relative_to(tmp_path)
    world = World.settled()
    pack = tmp_path / "pack.json"
    pack.write_bytes(write_pack(world.pack()))
    said = await office.run("verify", pack)
    assert (said.code, said.output) == (2, "")
    assert "--root" in said.errors


def test_an_environment_that_holds_more_does_not_stand_alone(tmp_path: Path) -> None:
    office = asyncio.run(Office.open(tmp_path, ROOT))
    site = next(tmp_path.glob("environment/lib/python*/site-packages"))
    (site / "hub").mkdir()
    (site / "hub" / "__init__.py").touch()
    assert not asyncio.run(office.stands_alone())


async def test_an_interrupted_command_is_ended(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    running = asyncio.create_task(run_to_end(["sh", "-c", "echo $$ > new; mv new pid; exec sleep 60"], tmp_path))

    async def has_begun() -> bool:
        return await asyncio.to_thread(file.exists)

    await wait_until("the command runs", has_begun, 10.0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not psutil.pid_exists(int(await asyncio.to_thread(file.read_text)))


def test_one_byte_is_changed_and_named() -> None:
    world = World.settled()
    raw = write_pack(world.pack())
    assert not verify_pack(raw, world.trust()).failures
    changed = change_byte(raw)
    assert len(changed) == len(raw)
    assert sum(before != after for before, after in zip(raw, changed, strict=True)) == 1
    assert CHANGED_CODE in verify_pack(changed, world.trust()).codes


def test_a_pack_without_a_payment_is_not_taken_for_changed() -> None:
    pack: Pack = World.settled().pack()
    bare = pack.model_copy(
        update={"messages": tuple(one for one in pack.messages if "payment" not in (one.value or ""))}
    )
    with pytest.raises(StackError, match="no bank's original"):
        change_byte(write_pack(bare))


def test_the_fork_is_the_log_s_own_word_and_a_witness_keeps_both(tmp_path: Path) -> None:
    key = make_key(tmp_path, "log", "Ed25519")
    policy = Policy(LOG_ORIGIN, (VerifierKey.read(write_verifier_key(key, LOG_ORIGIN, LOG_KEY)),))
    first, fork = (sign_checkpoint(key, LOG_ORIGIN, 1, root) for root in (merkle.leaf_hash(b"one"), OTHER_ROOT))
    for signed in (first, fork):
        assert open_checkpoint(read_note(signed.encode()), policy).checkpoint.size == 1
    state = WitnessState(tmp_path / "witness.sqlite")
    witness = Witness("kpk.example/witness", PrivateKey.generate("Ed25519"), {LOG_ORIGIN: policy})
    desk = Desk(witness, state, lambda: datetime.now(UTC))
    assert desk.add_checkpoint(f"old 0\n\n{first}".encode()).status == 200
    answer = desk.add_checkpoint(f"old 1\n\n{fork}".encode())
    assert (answer.status, "fork" in answer.body) == (422, True)
    (kept,) = state.evidence()
    state.close()
    assert kept.held is not None
    assert kept.held.startswith(first.rstrip("\n"))
    assert kept.shown == fork


def test_every_finding_has_its_words() -> None:
    assert EXPECTED.keys() <= WORDS.keys()
