"""The bank connector's commands, as processes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.connectors.statement_files import amount, detail, entry, refs, statement

DATA = Path(__file__).parent / "data"
CODE = "820260401000017"


def command(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "connectors.bank", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )


def lines(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_check_signatures_prints_a_line_for_each_vector() -> None:
    done = command("check-signatures", DATA / "snap_signatures.json")
    vectors = json.loads((DATA / "snap_signatures.json").read_bytes())
    assert done.returncode == 0
    assert [(line["id"], line["verifies"]) for line in lines(done)] == [(v["id"], v["verifies"]) for v in vectors]
    assert all(list(line) == ["id", "verifies", "reason"] for line in lines(done))


def test_check_signatures_tells_a_vector_that_did_not_come_out_as_it_says(tmp_path: Path) -> None:
    vectors = json.loads((DATA / "snap_signatures.json").read_bytes())
    vectors[0]["verifies"] = False
    (tmp_path / "vectors.json").write_text(json.dumps(vectors))
    assert command("check-signatures", tmp_path / "vectors.json").returncode == 1
    for text in ("{", "{}", "[" * 100_000):
        (tmp_path / "vectors.json").write_text(text)
        done = command("check-signatures", tmp_path / "vectors.json")
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1


def test_check_signatures_judges_on_after_what_is_no_vector(tmp_path: Path) -> None:
    good = json.loads((DATA / "snap_signatures.json").read_bytes())[0]
    assert good["verifies"] is True
    wrong = [None, 5, [], {}, good | {"id": "\ud800", "body": "\ud800"}, good | {"id": 7, "secret": None}]
    (tmp_path / "vectors.json").write_text(json.dumps([*wrong, good]))
    done = command("check-signatures", tmp_path / "vectors.json", PYTHONIOENCODING="ascii")
    assert done.returncode == 1
    assert [line["verifies"] for line in lines(done)] == [False] * len(wrong) + [True]
    assert all(line["reason"] for line in lines(done))


def test_read_statement_prints_in_any_encoding(tmp_path: Path) -> None:
    (tmp_path / "day.xml").write_text(statement(entry(detail(refs(free=["Ren\u00e9 \U0001f600"])))), encoding="utf-8")
    done = command("read-statement", tmp_path / "day.xml", PYTHONIOENCODING="ascii")
    assert lines(done)[1]["references"] == ["Ren\u00e9 \U0001f600"]


def test_read_statement_prints_the_file_and_then_each_transaction(tmp_path: Path) -> None:
    file = tmp_path / "day.xml"
    two = (detail(refs(ref=[CODE], bank="R1"), money=amount("700")), detail(refs(free=["x"]), money=amount("500.00")))
    file.write_text(statement(entry(*two, bank="E1"), entry(sign="DBIT"), entry(money=amount("?"))))
    done = command("read-statement", file)
    assert done.returncode == 1
    assert lines(done) == [
        {"file": "day.xml", "verdict": "entries_refused", "reason": "1 of 4 transactions"},
        {
            "entry": 1,
            "detail": 1,
            "counts": "credit",
            "reason": None,
            "amount": "700",
            "currency": "USD",
            "booking_date": "2026-04-01",
            "references": [CODE],
            "billing_code": CODE,
            "bank_reference": "R1",
        },
        {
            "entry": 1,
            "detail": 2,
            "counts": "credit",
            "reason": None,
            "amount": "500.00",
            "currency": "USD",
            "booking_date": "2026-04-01",
            "references": ["x"],
            "billing_code": None,
            "bank_reference": "E1",
        },
        {
            "entry": 2,
            "detail": None,
            "counts": "no",
            "reason": "debit",
            "amount": "1200.00",
            "currency": "USD",
            "booking_date": "2026-04-01",
            "references": [],
            "billing_code": None,
            "bank_reference": None,
        },
        {
            "entry": 3,
            "detail": None,
            "counts": "refused",
            "reason": "amount_malformed",
            "amount": "?",
            "currency": "USD",
            "booking_date": "2026-04-01",
            "references": [],
            "billing_code": None,
            "bank_reference": None,
        },
    ]


def test_read_statement_of_a_good_a_bad_and_an_absent_file(tmp_path: Path) -> None:
    file = tmp_path / "day.xml"
    file.write_text(statement(entry()))
    done = command("read-statement", file)
    assert (done.returncode, lines(done)[0]["verdict"]) == (0, "accepted")
    file.write_text(statement(entry())[:-5])
    done = command("read-statement", file)
    assert (done.returncode, lines(done)) == (1, [{"file": "day.xml", "verdict": "refused", "reason": "truncated"}])
    done = command("read-statement", tmp_path / "absent.xml")
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1


def test_missing_settings_are_one_sentence() -> None:
    for each in ("run", "check"):
        done = command(each)
        assert done.returncode == 2
        assert "SNAP_PROFILE_FILE" in done.stderr
        assert "Traceback" not in done.stderr
