"""The witness: what it cosigns, what it refuses and keeps, over its real door and its real memory."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from connectors.oversight.__main__ import main
from connectors.oversight.witness import Witness
from connectors.oversight.witness_door import Desk, WitnessServer
from connectors.oversight.witness_state import WitnessState
from contracts import merkle
from contracts.log.checkpoint import Checkpoint, Policy, open_checkpoint, sign_checkpoint
from contracts.log.note import Kind, Note, VerifierKey, encode_base64, read_note, read_signatures, sign_text
from contracts.wire.key import PrivateKey
from devstack.ports import find_free_ports

ORIGIN = "hub.example/demo"
NAME = "kpk.example/witness"
NOW = datetime(2026, 11, 24, 3, tzinfo=UTC)
LOG, STRANGER, WITNESS = (PrivateKey.generate("Ed25519") for _ in range(3))
LOG_KEY = VerifierKey.of(ORIGIN, Kind.ED25519, LOG.public)
WITNESS_KEY = VerifierKey.of(NAME, Kind.COSIGNATURE_V1, WITNESS.public)
LEAVES = [merkle.leaf_hash(b"%d" % number) for number in range(40)]
POLICY = Policy(ORIGIN, (LOG_KEY,), (WITNESS_KEY,), 1)


def checkpoint(size: int, leaves: list[bytes] = LEAVES) -> Checkpoint:
    return Checkpoint(ORIGIN, size, merkle.root(leaves[:size]))


def signed(size: int, leaves: list[bytes] = LEAVES) -> Note:
    return sign_checkpoint(checkpoint(size, leaves), LOG)


def write(old: int, note: Note, path: list[bytes]) -> bytes:
    lines = [f"old {old}", *map(encode_base64, path), ""]
    return "".join(f"{line}\n" for line in lines).encode() + note.write()


def growth(old: int, size: int, leaves: list[bytes] = LEAVES) -> bytes:
    """A request that asks to cosign `size` after `old`, with a true proof."""
    path = merkle.consistency_path(leaves[:size], old) if 0 < old <= size else []
    return write(old, signed(size, leaves), path)


@dataclass
class Door:
    """A witness that serves in this process."""

    url: str
    state: WitnessState
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=10))

    def show(self, body: bytes) -> httpx.Response:
        return self.client.post(f"{self.url}/add-checkpoint", content=body)

    def newest(self, origin: str = ORIGIN) -> httpx.Response:
        return self.client.get(f"{self.url}/{hashlib.sha256(origin.encode()).hexdigest()}/checkpoint")


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    state = WitnessState(tmp_path / "witness.sqlite")
    witness = Witness(NAME, WITNESS, {ORIGIN: Policy(ORIGIN, (LOG_KEY,))})
    server = WitnessServer("127.0.0.1", 0, Desk(witness, state, lambda: NOW))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    opened = Door(f"http://127.0.0.1:{server.server_port}", state)
    yield opened
    opened.client.close()
    server.shutdown()
    thread.join()
    server.server_close()
    state.close()


def test_a_log_that_grows_is_cosigned_and_shown_to_anybody(door: Door) -> None:
    assert door.newest().status_code == 404
    for old, size in ((0, 3), (3, 3), (3, 20), (20, 33)):
        answer = door.show(growth(old, size))
        assert answer.status_code == 200
        note = signed(size).with_signatures(read_signatures(answer.text))
        opened = open_checkpoint(note, POLICY, now=NOW)
        assert opened.cosigned == {NAME: int(NOW.timestamp())}
    kept = door.newest()
    assert (kept.status_code, kept.headers["content-type"]) == (200, "text/plain; charset=utf-8")
    assert open_checkpoint(kept.content, POLICY).checkpoint == checkpoint(33)
    assert door.client.get(f"{door.url}/readyz").json() == {"status": "ok", "forks": 0}


def test_another_old_size_is_told_the_right_one(door: Door) -> None:
    door.show(growth(0, 10))
    for old in (0, 9, 11):
        answer = door.show(growth(old, 12))
        assert (answer.status_code, answer.text) == (409, "10\n")
        assert answer.headers["content-type"] == "text/x.tlog.size"


def test_a_fork_is_refused_and_both_checkpoints_are_kept(door: Door) -> None:
    other = [*LEAVES[:4], merkle.leaf_hash(b"another"), *LEAVES[5:]]
    door.show(growth(0, 10))
    door.show(growth(10, 12))
    # Two roots of one size: of the newest, and of one cosigned before.
    for old, size in ((12, 12), (0, 10)):
        answer = door.show(growth(old, size, other))
        assert (answer.status_code, answer.text) == (422, f"The log signed two roots of size {size}: a fork.\n")
    # A history that was rewritten cannot show that it continues the old one.
    answer = door.show(growth(12, 20, other))
    assert answer.status_code == 422
    assert "consistency_invalid" in answer.text
    assert open_checkpoint(door.newest().content, POLICY).checkpoint == checkpoint(12)
    kept = door.state.evidence()
    assert [evidence.fault for evidence in kept] == ["fork", "fork", "consistency_invalid"]
    for evidence, size, shown in zip(kept, (12, 10, 12), (12, 10, 20), strict=True):
        assert evidence.held is not None
        assert open_checkpoint(evidence.held.encode(), POLICY).checkpoint == checkpoint(size)
        assert read_note(evidence.shown.encode()) == signed(shown, other)
    assert door.client.get(f"{door.url}/readyz").json()["forks"] == 2
    # The same again adds nothing, and the true log goes on.
    door.show(growth(12, 12, other))
    assert len(door.state.evidence()) == 3
    assert door.show(growth(12, 20)).status_code == 200


def test_a_rollback_is_refused(door: Door) -> None:
    door.show(growth(0, 20))
    assert door.show(write(20, signed(10), [])).status_code == 400
    assert door.show(growth(0, 10)).status_code == 409
    assert open_checkpoint(door.newest().content, POLICY).checkpoint == checkpoint(20)


def test_a_foreign_log_and_a_foreign_signature_are_refused(door: Door) -> None:
    foreign = sign_checkpoint(Checkpoint("hub.example/other", 1, LEAVES[0]), LOG)
    assert door.show(write(0, foreign, [])).status_code == 404
    assert door.show(write(0, sign_checkpoint(checkpoint(3), STRANGER), [])).status_code == 403
    text = signed(3).text
    broken = Note(text, (sign_text(checkpoint(4).write(), ORIGIN, LOG),))
    assert door.show(write(0, broken, [])).status_code == 403
    assert door.newest().status_code == 404
    assert door.newest("hub.example/other").status_code == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"old 0\n\n", 400),
        (b"old 00\n\n" + signed(3).write(), 400),
        (b"old -1\n\n" + signed(3).write(), 400),
        (b"new 0\n\n" + signed(3).write(), 400),
        (b"old 0\nnot a hash\n\n" + signed(3).write(), 400),
        (write(0, signed(3), [LEAVES[0]]), 422),
        (write(0, signed(3), [LEAVES[0]] * 64), 400),
        (b"x" * 300_000, 413),
    ],
)
def test_what_is_not_a_request_is_refused(door: Door, body: bytes, status: int) -> None:
    assert door.show(body).status_code == status
    assert door.newest().status_code == 404


def test_other_addresses_and_a_request_of_unknown_length_are_refused(door: Door) -> None:
    assert door.client.post(f"{door.url}/elsewhere", content=b"x").status_code == 404
    assert door.client.get(f"{door.url}/elsewhere").status_code == 404
    answer = door.client.post(f"{door.url}/add-checkpoint", content=iter([growth(0, 3)]))
    assert answer.status_code == 411


def test_of_two_at_once_one_is_cosigned(door: Door) -> None:
    door.show(growth(0, 5))
    other = [*LEAVES[:5], *(merkle.leaf_hash(b"other %d" % number) for number in range(10))]
    requests = [growth(5, 10), growth(5, 11, other)] * 4
    with ThreadPoolExecutor(len(requests)) as pool:
        statuses = list(pool.map(lambda body: httpx.post(f"{door.url}/add-checkpoint", content=body), requests))
    assert sorted(answer.status_code for answer in statuses).count(200) == 1


def test_its_memory_survives_a_kill_in_the_middle_of_everything(tmp_path: Path) -> None:
    """Killed after each answer, it never cosigns another history than the one it answered for."""
    (port,) = find_free_ports(1)
    (tmp_path / "log.vkey").write_text(LOG_KEY.write() + "\n")
    program = [sys.executable, "-m", "connectors.oversight"]
    name_and_key = ["--name", NAME, "--key", str(tmp_path / "witness.pem")]
    made = subprocess.run([*program, "witness-key", *name_and_key], capture_output=True, text=True, check=True)
    key = VerifierKey.read(made.stdout.strip())
    assert (tmp_path / "witness.pem").stat().st_mode & 0o777 == 0o600
    state = ["--state", str(tmp_path / "witness.sqlite")]
    serve = [*program, "witness", *name_and_key, "--log-key", str(tmp_path / "log.vkey"), *state, "--port", str(port)]
    for old, size in ((0, 4), (4, 9)):
        with subprocess.Popen(serve, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == f"Watching {ORIGIN} on 127.0.0.1:{port}.\n"
            answer = httpx.post(f"http://127.0.0.1:{port}/add-checkpoint", content=growth(old, size))
            process.kill()
        note = signed(size).with_signatures(read_signatures(answer.text))
        assert open_checkpoint(note, Policy(ORIGIN, (LOG_KEY,), (key,), 1)).checkpoint == checkpoint(size)
    with subprocess.Popen(serve, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        other = [merkle.leaf_hash(b"another"), *LEAVES]
        answer = httpx.post(f"http://127.0.0.1:{port}/add-checkpoint", content=growth(9, 9, other))
        assert answer.status_code == 422
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(10) == 0
    shown = subprocess.run([*program, "witness-evidence", *state], capture_output=True, text=True, check=False)
    assert shown.returncode == 1
    assert json.loads(shown.stdout)["fault"] == "fork"


def test_what_cannot_be_used_is_told_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = tmp_path / "witness.pem"
    key.write_bytes(WITNESS.to_pem())
    key.chmod(0o644)
    (tmp_path / "log.vkey").write_text("no key")
    common = ["witness", "--name", NAME, "--key", str(key), "--state", str(tmp_path / "state")]
    for arguments, words in (
        ([*common, "--log-key", str(tmp_path / "log.vkey")], "can be read by others"),
        (["witness-key", "--name", "a b", "--key", str(tmp_path / "new.pem")], "no space"),
        (["witness-evidence", "--state", str(tmp_path / "none")], "does not exist"),
    ):
        assert main(arguments) == 2
        assert words in capsys.readouterr().err
    key.chmod(0o600)
    assert main([*common, "--log-key", str(tmp_path / "log.vkey")]) == 2
    assert "holds no verifier key" in capsys.readouterr().err
    (tmp_path / "log.vkey").write_text(WITNESS_KEY.write())
    assert main([*common, "--log-key", str(tmp_path / "log.vkey")]) == 2
    assert "cannot be a log's" in capsys.readouterr().err
