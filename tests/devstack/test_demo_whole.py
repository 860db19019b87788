import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from contracts import merkle
from contracts.log.checkpoint import Policy, open_checkpoint
from contracts.log.note import VerifierKey
from contracts.log.tile import ENTRIES, Hashes, new_tiles, read_bundle
from devstack.agencies.scenario import APPLICATIONS_FOR_ALL, APPLICATIONS_MIN, write_day
from devstack.demo import REPOSITORY
from devstack.demonstration.evidence import EXPECTED
from devstack.demonstration.ledger import count_personal

RUN_LIMIT_S = 280


def _run(folder: Path, *arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "devstack.demo", *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "DEMO_DIR": str(folder), **settings},
        capture_output=True,
        text=True,
        timeout=RUN_LIMIT_S,
        check=False,
    )


@pytest.mark.timeout(RUN_LIMIT_S)
def test_a_demo_of_every_kind_sees_what_it_expects_and_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    done = _run(folder, APPLICATIONS=str(APPLICATIONS_FOR_ALL), SEED="77", KEEP="0")
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((folder / "summary.json").read_text())
    expected, seen = summary["expected"], summary["seen"]
    assert expected == seen
    assert expected["applications"] == APPLICATIONS_FOR_ALL
    assert expected["processes left behind"] == 0
    for key in ("duplicates", "equivocations", "recommendations withdrawn", "recommendations issued again"):
        assert expected[key] > 0, key
    for code in ("signature_invalid", "key_unknown", "type_not_permitted", "contract_unknown", "equivocation"):
        assert expected[f"refused: {code}"] > 0, code
    for outcome in ("partial", "excess", "wrong_currency", "late", "unmatched", "duplicate", "reversed"):
        assert expected[f"payment reports: {outcome}"] > 0, outcome
    assert EXPECTED.items() <= seen.items()
    _check_log(folder)
    assert not [process.pid for process in psutil.process_iter() if _mentions(process, str(folder))]
    assert {"hub-relay.log", "connector-bri.log", "agency-ministry.log", "witness.log"} <= {
        log.name for log in (folder / "logs").iterdir()
    }


def _check_log(folder: Path) -> None:
    """Verify the demo's whole evidence log as anybody could: from its files and two public keys."""
    log_key, witness_key = (
        VerifierKey.read((folder / f"{name}.vkey").read_text().strip()) for name in ("log", "witness")
    )
    policy = Policy(log_key.name, (log_key,), (witness_key,), quorum=1)
    checkpoint = open_checkpoint((folder / "log" / "checkpoint").read_bytes(), policy).checkpoint
    entries: list[bytes] = []
    found = {}
    for tile in new_tiles(0, checkpoint.size):
        data = (folder / "log" / tile.path).read_bytes()
        if tile.level == ENTRIES:
            entries += read_bundle(tile, data)
        else:
            found[tile] = data
    assert Hashes(checkpoint.size, found).root() == checkpoint.root
    assert merkle.root([merkle.leaf_hash(entry) for entry in entries]) == checkpoint.root
    kinds = {json.loads(entry)["kind"] for entry in entries}
    assert {"accepted", "refused", "recommendation", "registry", "key_added", "rule_set", "contract", "timer"} <= kinds


def _mentions(process: psutil.Process, text: str) -> bool:
    try:
        return any(text in word for word in process.cmdline())
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


@pytest.mark.parametrize(("settings", "word"), [({"APPLICATIONS": "3"}, "at least"), ({"SEED": "one"}, "whole number")])
def test_wrong_use_is_said_in_one_sentence(tmp_path: Path, settings: dict[str, str], word: str) -> None:
    done = _run(tmp_path / "demo", **settings)
    assert done.returncode == 2
    assert word in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_nothing_to_end_is_no_error(tmp_path: Path) -> None:
    done = _run(tmp_path / "demo", "down")
    assert done.returncode == 0
    assert "nothing to end" in done.stdout


def test_personal_data_is_found_where_it_stands() -> None:
    day = write_day(1, APPLICATIONS_MIN, datetime(2026, 5, 4, 8, 0, tzinfo=UTC))
    person = next(iter(day.applications.values())).person
    assert count_personal(day, ["nothing of anybody"]) == 0
    assert count_personal(day, ["nothing", f"passport={person.passport[:-1]}"]) >= 1
