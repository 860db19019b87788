"""The reference pages are made from the code, and say something about everything in it."""

import re
from pathlib import Path
from typing import get_args

import pytest

from connectors.bank.profile import Profile
from connectors.link.metrics import LinkMetrics
from contracts.errors import Code
from contracts.events import EVENTS
from contracts.events.hub import DifferenceKind, Outcome
from tests.docs.events_page import short_name
from tests.docs.make_reference import FOLDER, PAGES
from tests.docs.refusals_page import GROUPS
from tests.docs.settings_page import PROFILE
from tests.docs.words import DIFFERENCES, HUB_RECEIVERS, MEMBERS, OUTCOMES

ROOT = Path(__file__).resolve().parents[2]
# What is measured is written by hand: no test can make it again.
MEASURED = {"speed.md"}
METRIC = re.compile(r'"((?:hub|tkahub_connector)_[a-z_]+)"')


@pytest.mark.parametrize("name", PAGES)
def test_page_is_what_the_code_says(name: str) -> None:
    assert (FOLDER / name).read_text() == PAGES[name](), "Make it again: .venv/bin/python -m tests.docs.make_reference"


def test_folder_holds_nothing_else() -> None:
    assert {page.name for page in FOLDER.iterdir()} == PAGES.keys() | MEASURED


def test_words_are_about_what_is_there() -> None:
    members = {(short_name(name), info.alias or field)
               for name, model in EVENTS.items() for field, info in model.model_fields.items()}  # fmt: skip
    known = {member for _, member in members} | {f"{event}.{member}" for event, member in members}
    assert MEMBERS.keys() <= known
    assert set(OUTCOMES) == set(get_args(Outcome))
    assert set(DIFFERENCES) == set(get_args(DifferenceKind))
    assert HUB_RECEIVERS.keys() <= {event for event, _ in members}
    assert PROFILE.keys() == Profile.model_fields.keys()
    assert set(GROUPS) <= set(Code)


def test_operations_name_every_metric_and_no_other() -> None:
    told = {name.removesuffix("_total") for name in re.findall(r"((?:hub|tkahub_connector)_[a-z_]+)", _operations())}
    sources = [path.read_text() for folder in ("hub", "connectors") for path in (ROOT / folder).rglob("*.py")]
    here = {metric.name for metric in LinkMetrics().collected.collect()}
    here |= {name for source in sources for name in METRIC.findall(source)}
    assert told == here


def _operations() -> str:
    return (ROOT / "docs" / "operations.md").read_text()
