"""Findings and statistics computed again from packs: nothing that a hub says of itself is needed."""

import csv
import json
from pathlib import Path

import pytest

from connectors.oversight.__main__ import main
from tests.oversight.test_commands import Office
from tests.oversight.test_pack import edited_value, recommended_without_payment
from tests.oversight.world import World


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path, World.settled())


def run(office: Office, *words: str) -> int:
    name, *options = words
    return main([name, str(office.folder / "packs"), *office.trust(), *options])


def test_an_honest_pack_shows_no_finding(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(office, "findings") == 0
    assert capsys.readouterr().out == "0 findings in 1 packs. / 0 temuan.\n"


def test_a_recommendation_written_with_the_hubs_key_past_the_hub_is_found(
    office: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    world, pack, _ = recommended_without_payment()
    office.believe(world)
    office.put(pack)
    assert run(office, "findings", "--json") == 1
    (found,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (found["finding"], found["subject"]) == ("unfounded_recommendation", pack.subject)
    assert found["log_indices"]
    assert (found["measured"], found["denominator"], found["counted"]) == (1, 1, "recommendations")
    assert run(office, "findings") == 1
    assert "1 [unfounded_recommendation]" in capsys.readouterr().out


def test_a_pack_that_proves_nothing_is_left_out_and_named(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    world, pack, _ = edited_value()
    office.believe(world)
    office.put(pack)
    (office.folder / "packs" / "torn.json").write_text("{")
    assert run(office, "findings") == 1
    said = capsys.readouterr()
    assert "0 findings in 0 packs" in said.out
    assert "pack.json is left out: " in said.err
    assert "value_changed" in said.err
    assert "torn.json is left out: " in said.err


def test_statistics_name_the_log_and_the_rule_sets(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    month = f"{office.world.now:%Y-%m}"
    assert run(office, "statistics", "--month", month) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert {row["log_size"] for row in rows} == {str(len(office.world.entries))}
    assert {row["rule_sets"] for row in rows} == {"2012/1 2012/2 2021/1 2021/2"}
    # One file is too few to be shown.
    assert {row["value"] for row in rows if row["figure"] == "received"} == {""}
    assert run(office, "statistics", "--month", month, "--json") == 0
    assert json.loads(capsys.readouterr().out)["figures"][0]["month"] == month


def test_wrong_use_is_told(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(office, "statistics", "--month", "October") == 2
    assert "such as 2026-10" in capsys.readouterr().err
    assert main(["findings", str(office.folder / "nothing"), *office.trust()]) == 2
