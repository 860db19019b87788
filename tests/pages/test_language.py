"""No page says anything in one language only, and the visitor gets the language that they asked for."""

import re
from pathlib import Path
from string import Formatter

import pytest

from contracts.events import EVENTS
from hub.accounts import Role
from hub.progress import Holder, Stage
from hub.web.pages.frame import FOLDER, PUBLIC, ROOMS
from hub.web.pages.language import LANGUAGES, negotiate, read_catalogue

TEMPLATES = sorted((FOLDER / "templates").glob("*.html"))
# What is the same in both languages: names, and words that Indonesian has taken over.
SAME = {"language.id", "language.en", "role.bank", "role.operator", "way.visa"}
# A name is written out, or begins a name whose end is one of these.
NAME = re.compile(r't\(["\']([a-z_]+\.[a-z_]*)["\'](?: ~ ([a-z._]+))?')
TEXT_BETWEEN_TAGS = re.compile(r">([^<>{}]*[A-Za-z][^<>{}]*)<")


def names_used() -> set[str]:
    """The names that templates write out, and the beginnings of those that they put together."""
    return {match[1] for path in TEMPLATES for match in NAME.finditer(path.read_text())}


def test_both_catalogues_have_the_same_names() -> None:
    indonesian, english = (read_catalogue(language) for language in LANGUAGES)
    assert indonesian.keys() == english.keys()


def test_nothing_is_left_in_the_other_language() -> None:
    indonesian, english = (read_catalogue(language) for language in LANGUAGES)
    assert {name for name, text in english.items() if indonesian[name] == text} == SAME


def test_texts_take_the_same_values_in_both_languages() -> None:
    def values(text: str) -> set[str | None]:
        return {part[1] for part in Formatter().parse(text)} - {None}

    indonesian, english = (read_catalogue(language) for language in LANGUAGES)
    assert {name for name, text in english.items() if values(text) != values(indonesian[name])} == set()


def test_every_name_that_a_template_uses_is_there() -> None:
    known = read_catalogue("en")
    missing = {name for name in names_used() if name not in known and not any(one.startswith(name) for one in known)}
    assert missing == set()


def test_no_text_is_there_for_nobody() -> None:
    used = names_used() | {"error.", "holder.", "stage.", "stage_text.", "service.", "role.", "step."}
    used |= {
        "level.",
        "happening.",
        "happening_text.",
        "happening_by.",
        "happening_of.",
        "list.",
        "list_text.",
        "task.",
        "difference.",
        "disagreement.",
        "recommendation.",
    }
    used |= {name for rooms in (PUBLIC, *ROOMS.values()) for _, name in rooms}
    unused = {name for name in read_catalogue("en") if name not in used and name.partition(".")[0] + "." not in used}
    assert {name for name in unused if not any(name.startswith(one) for one in used if one[-1] in "._")} == set()


def test_every_code_that_is_spelt_out_has_its_words() -> None:
    known = read_catalogue("id")
    steps = {name[7:-3].replace(".", "_") for name in EVENTS if not name.startswith("id.tka.hub.")}
    groups: dict[str, set[str]] = {
        "stage": {*Stage},
        "stage_text": {*Stage},
        "holder": {*Holder},
        "role": {*Role},
        "step": steps,
    }
    expected = {f"{group}.{word}" for group, words in groups.items() for word in words}
    assert {name for name in known if name.partition(".")[0] in groups} == expected


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_templates_hold_no_text_of_their_own(path: Path) -> None:
    text = re.sub(r"\{[{%].*?[%}]\}", "", path.read_text())
    found = [match[1].strip() for match in TEXT_BETWEEN_TAGS.finditer(text)]
    # A command is spelt alike in every language.
    assert [words for words in found if words and not words.startswith(("hub ", "python -m "))] == []


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "id"),
        ("en-GB,en;q=0.9", "en"),
        ("de,en;q=0.5", "en"),
        ("id;q=0.4,en;q=0.8", "en"),
        ("in-ID", "id"),
        ("en;q=0", "id"),
        ("en;q=nonsense,fr", "id"),
        ("*", "id"),
    ],
)
def test_language_of_a_browser(header: str, language: str) -> None:
    assert negotiate(header) == language
