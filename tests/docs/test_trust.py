"""Every test that the threat table names exists, forgery and all."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "explanation" / "trust.md").read_text("utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)(?:\[(\w+)\])?`", PAGE)))
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| threat")]


@pytest.mark.parametrize(("file", "test", "example"), NAMED)
def test_a_named_test_exists(file: str, test: str, example: str) -> None:
    written = (ROOT / file).read_text("utf-8")
    assert re.search(rf"^(async )?def {test}\(", written, re.MULTILINE), test
    if example:
        assert re.search(rf"^    {example}: ", written, re.MULTILINE), example


def test_every_threat_names_a_test() -> None:
    assert len(ROWS) > 30
    assert [row for row in ROWS if "`tests/" not in row] == []
