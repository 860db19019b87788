"""The commands as the oversight body types them: exit codes, both languages, JSON, and what is said of wrong use."""

import json
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.oversight.__main__ import main
from contracts.audit.pack import write_pack
from contracts.log import entry
from contracts.wire.instant import write_instant
from tests.oversight.publication import publish
from tests.oversight.test_pack import edited_value
from tests.oversight.world import World

WAIT_S = 30


class Office:
    """The files that the oversight body keeps: its keys, the published log, packs."""

    def __init__(self, folder: Path, world: World) -> None:
        self.folder = folder
        self.believe(world)
        (folder / "packs").mkdir()
        self.put(world.pack())
        publish(folder / "log", world.entries, world.checkpoint())

    def believe(self, world: World) -> None:
        """Keep this world's keys."""
        self.world = world
        policy = world.policy()
        self._write("root.jwk.json", json.dumps(world.root.public.jwk))
        self._write("log.vkey", policy.log_keys[0].write() + "\n")
        self._write("witness.vkey", policy.witnesses[0].write() + "\n")

    def _write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def put(self, pack: Any) -> None:
        """Put the pack where both commands find it."""
        (self.folder / "packs" / "pack.json").write_bytes(write_pack(pack))

    @property
    def pack(self) -> str:
        return str(self.folder / "packs" / "pack.json")

    def fork(self) -> None:
        """Publish another past of the same size, signed by the log."""
        self.world.entries[1] = self.world.entries[1].replace(b"2012", b"2013")
        publish(self.folder / "log", self.world.entries, self.world.checkpoint())

    def trust(self) -> list[str]:
        """The options that say whom to believe."""
        names = {"--root": "root.jwk.json", "--log-key": "log.vkey", "--witness-key": "witness.vkey"}
        return [word for option, name in names.items() for word in (option, str(self.folder / name))]

    def monitor(self) -> list[str]:
        """The monitor's command line."""
        state, packs = self.folder / "monitor.sqlite", self.folder / "packs"
        return ["monitor", str(self.folder / "log"), *self.trust(), "--state", str(state), "--packs", str(packs)]


@pytest.fixture
def office(tmp_path: Path) -> Office:
    """Give an office with a sound pack."""
    return Office(tmp_path, World.settled())


def test_verify_says_in_both_languages_what_is_proven(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", office.pack, *office.trust()]) == 0
    said = capsys.readouterr().out
    assert "PROVEN / TERBUKTI [recommendation] TKA-0123456789AB revision 1 issued" in said
    assert "OPEN / TERBUKA [completeness]" in said
    assert said.endswith("Result: proven. / Hasil: terbukti.\n")


def test_verify_says_what_is_not_proven_and_why(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    world, pack, _ = edited_value()
    office.believe(world)
    office.put(pack)
    assert main(["verify", office.pack, *office.trust(), "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert said["proven"] is False
    failed = [finding for finding in said["findings"] if finding["verdict"] == "not_proven"]
    assert failed[0]["code"] == "value_changed"
    assert failed[0]["id"].startswith("Isi pesan tidak sama")
    assert main(["verify", office.pack, *office.trust()]) == 1
    assert "NOT PROVEN / TIDAK TERBUKTI [value_changed]" in capsys.readouterr().out


def test_an_old_cosignature_counts_unless_it_is_asked_for_a_young_one(office: Office) -> None:
    later = office.world.now + timedelta(days=3)
    office.put(office.world.pack(exported_at=write_instant(later)))
    assert main(["verify", office.pack, *office.trust()]) == 0
    assert main(["verify", office.pack, *office.trust(), "--cosignature-age-s", "86400"]) == 1


def test_monitor_once_tells_how_the_log_stands(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    size = len(office.world.entries)
    assert main([*office.monitor(), "--once"]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"{size} entries followed, {size} new." in captured.err
    office.fork()
    assert main([*office.monitor(), "--once", "--json"]) == 1
    alarm = json.loads(capsys.readouterr().out)
    assert (alarm["code"], alarm["id"]) == ("fork", "Log menunjukkan dua masa lalu: log bercabang.")
    assert str(size) in alarm["evidence"]["held"]
    # It is told once, but the log does not stand well again by itself.
    assert main([*office.monitor(), "--once"]) == 1
    assert capsys.readouterr().out == ""
    assert main(["alarms", "--state", str(office.folder / "monitor.sqlite")]) == 1
    kept = json.loads(capsys.readouterr().out)
    assert (kept["code"], kept["acknowledged"]) == ("fork", None)
    state = ["--state", str(office.folder / "monitor.sqlite")]
    assert main(["alarms", "acknowledge", str(kept["number"]), *state]) == 2
    words = ["--by", "Sari", "--reason", "Both checkpoints are with the court."]
    assert main(["alarms", "acknowledge", str(kept["number"]), *words, *state]) == 0
    assert main(["alarms", "acknowledge", str(kept["number"]), *words, *state]) == 1
    capsys.readouterr()
    assert main(["alarms", *state]) == 0
    assert json.loads(capsys.readouterr().out)["acknowledged"]["by"] == "Sari"


def test_a_log_that_cannot_be_read_is_no_alarm(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    (office.folder / "log" / "checkpoint").unlink()
    assert main([*office.monitor(), "--once"]) == 3
    assert "has no checkpoint" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["verify", "nowhere.json"], "cannot be read"),
        (["verify", "PACK", "--log-key", "PACK"], "holds no verifier key"),
        (["verify", "PACK", "--root", "PACK"], "holds no public key"),
        (["verify", "PACK", "--quorum", "2"], "cannot be used together"),
        (["monitor", "log", "--state", "nowhere/at/all.sqlite"], "memory"),
        (["monitor", "log", "--state", "m.sqlite", "--packs", "nowhere"], "is no folder"),
    ],
)
def test_wrong_use_is_told_in_one_sentence(
    office: Office, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    words = [office.pack if word == "PACK" else word for word in words]
    words = [str(office.folder / word) if word.endswith(".sqlite") else word for word in words]
    assert main([words[0], words[1], *office.trust(), *words[2:]]) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1


def test_the_monitor_runs_until_it_is_told_to_stop(office: Office) -> None:
    command = [sys.executable, "-m", "connectors.oversight", *office.monitor(), "--every-s", "0.05"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "entries followed" in process.stderr.readline()
        office.world.register()
        publish(office.folder / "log", office.world.entries, office.world.checkpoint())
        while not process.stderr.readline().count(f"{len(office.world.entries)} entries followed"):
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_S) == 0


def test_a_monitor_that_is_killed_anywhere_goes_on_from_one_moment_of_the_log(office: Office) -> None:
    world = office.world
    for number in range(20_000):
        world.append(entry.timer(name="unmatched", subject=str(number), at=world.now))
    publish(office.folder / "log", world.entries, world.checkpoint())
    command = [sys.executable, "-m", "connectors.oversight", *office.monitor(), "--once"]
    killed = 0
    for tenths in range(3, 12):
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            try:
                process.wait(tenths / 10)
            except subprocess.TimeoutExpired:
                process.kill()
                killed += 1
    assert killed
    done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert f"{len(world.entries)} entries followed" in done.stderr
