"""What operations.md says of each role's pages is what the role may open."""

import re
from pathlib import Path

from hub.accounts import Role
from hub.web.pages.frame import PUBLIC, ROOMS

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "operations.md").read_text("utf-8")
PEOPLE = TEXT.split("\n## People\n", 1)[1].split("\n## ", 1)[0]
ROWS = {found[1]: found[2] for found in re.finditer(r"^\| `(\w+)` \|([^\n]*)\|$", PEOPLE, re.MULTILINE)}


def test_each_role_of_staff_has_its_row() -> None:
    assert ROWS.keys() == {str(role) for role in Role} - {str(Role.APPLICANT)}


def test_a_page_that_a_role_is_said_to_see_is_one_that_it_may_open() -> None:
    for role, row in ROWS.items():
        named = set(re.findall(r"`(/[a-z/]*)`", row))
        assert named
        assert named <= {path for path, _ in ROOMS[Role(role)]}


def test_every_public_page_is_named() -> None:
    assert {path for path, _ in PUBLIC} <= set(re.findall(r"`(/[a-z]*)`", PEOPLE.split("| role |")[0]))
