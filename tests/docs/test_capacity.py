"""The capacity page's derived figures follow from its measured ones, and each of those names its command."""

import re
from collections.abc import Sequence

import pytest

from tests.bench.__main__ import read_arguments
from tests.docs.capacity_page import PAGE, ROW, derive, read_figures, read_section, write_number, write_table

TEXT = PAGE.read_text("utf-8")
COMMAND = re.compile(r"^`python -m tests\.bench((?: [\w-]+)*)`$")


def list_commands() -> Sequence[str]:
    return [found["rest"] for found in ROW.finditer(read_section(TEXT, "Measured"))]


def test_what_follows_is_what_the_page_says() -> None:
    assert write_table(TEXT) in read_section(TEXT, "What follows"), (
        "Put what `.venv/bin/python -m tests.docs.capacity_page` prints into the page."
    )


def test_each_measured_figure_names_a_command_that_there_is() -> None:
    assert list_commands()
    for command in list_commands():
        named = COMMAND.match(command)
        assert named, command
        read_arguments(named[1].split())


def test_ten_times_the_traffic_is_ten_times_the_bytes_and_the_cores() -> None:
    figures = read_figures(read_section(TEXT, "Measured")) | read_figures(read_section(TEXT, "Assumed"))
    once, ten = derive(figures, 1), derive(figures, 10)
    for name in ("messages a year", "cores for everything at that second", "PostgreSQL, GB more each year"):
        assert ten[name] == pytest.approx(10 * once[name])
    assert once["messages a year"] == figures["applications a year"] * figures["messages for each application"]


@pytest.mark.parametrize(("value", "text"), [(2, "2"), (0.00182, "0.0018"), (3.28, "3.3"), (2_361_681.0, "2,400,000")])
def test_a_number_has_two_digits_that_say_something(value: float, text: str) -> None:
    assert write_number(value) == text
