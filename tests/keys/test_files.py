"""A file with a secret is read only if nobody but the user of the process may read or change it."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from contracts.wire.key import PrivateKey
from keys.fault import KeyFault, KeyTrouble
from keys.files import read_key, read_secret
from keys.place import open_key

ROOT = Path(__file__).parents[2]
NOBODY = 65_534


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """Give a file with a private key that only its owner may read."""
    file = tmp_path / "key.pem"
    file.touch(mode=0o600)
    file.write_bytes(PrivateKey.generate("Ed25519").to_pem())
    return file


def trouble(file: Path) -> KeyTrouble:
    """Return why a file cannot be used."""
    with pytest.raises(KeyFault) as caught:
        open_key(file)
    assert str(file) not in str(caught.value)
    return caught.value.trouble


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_file_of_its_owner_alone_is_read(key_file: Path, mode: int) -> None:
    key_file.chmod(mode)
    assert read_key(key_file).kid == open_key(key_file).kid


@pytest.mark.parametrize("right", [stat.S_IRGRP, stat.S_IWGRP, stat.S_IXGRP, stat.S_IROTH, stat.S_IWOTH, stat.S_IXOTH])
def test_a_file_with_any_right_of_others_is_refused(key_file: Path, right: int) -> None:
    key_file.chmod(0o600 | right)
    assert trouble(key_file) is KeyTrouble.FILE_OPEN_TO_OTHERS


@pytest.mark.needs("root")
def test_a_file_of_another_user_is_refused(key_file: Path) -> None:
    os.chown(key_file, NOBODY, -1)
    assert trouble(key_file) is KeyTrouble.FILE_OF_ANOTHER


def test_what_is_no_file_is_refused_and_not_waited_for(key_file: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for place in (tmp_path / "pipe", tmp_path, tmp_path / "absent"):
        assert trouble(place) is KeyTrouble.FILE_UNREADABLE
    link = tmp_path / "link.pem"
    link.symlink_to(key_file)
    assert read_secret(link) == key_file.read_bytes()
    key_file.chmod(0o644)
    assert trouble(link) is KeyTrouble.FILE_OPEN_TO_OTHERS


def test_another_kind_of_key_is_refused(key_file: Path) -> None:
    key_file.write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    assert trouble(key_file) is KeyTrouble.UNFIT


def test_each_program_refuses_a_key_that_others_may_read(key_file: Path, tmp_path: Path) -> None:
    """The hub's parts are in tests/hub/test_cli.py, the connectors in tests/connectors/test_trust.py."""
    key_file.chmod(0o640)
    command = [sys.executable, "-m", "connectors.oversight", "witness-key", "--name", "w.example/w", "--key"]
    done = subprocess.run([*command, str(key_file)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, "can be read by others" in done.stderr) == (2, True)
    assert KeyTrouble.FILE_OPEN_TO_OTHERS in done.stderr
