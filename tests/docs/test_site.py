"""`make docs` builds every page to a site that needs no other host, and leaves no link or image dangling."""

import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import pytest
from lxml import html

ROOT = Path(__file__).resolve().parents[2]
# What a browser loads by itself, and what a reader may follow.
LOADED = ("src", "srcset", "data", "poster")
BUILD_LIMIT_S = 120


class Reference(NamedTuple):
    """What an element of a page points at; `loaded` if a browser fetches it without being asked."""

    page: Path
    target: str
    loaded: bool


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as a reader would."""
    folder = tmp_path_factory.mktemp("docs") / "site"
    built = subprocess.run(
        ["make", "-o", ".venv/ready", "docs", f"SITE={folder}"],
        cwd=ROOT, capture_output=True, text=True, timeout=BUILD_LIMIT_S, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stdout + built.stderr
    assert "warning" not in (built.stdout + built.stderr).lower()
    return folder


def list_pages(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.html"))


@cache
def read(page: Path) -> html.HtmlElement:
    return html.document_fromstring(page.read_bytes())


def list_references(page: Path) -> Iterator[Reference]:
    for element in read(page).iter("a", "img", "link", "script", "source", "iframe", "object", "form"):
        for name, target in element.attrib.items():
            fetched = name in LOADED or (name == "href" and element.tag == "link")
            if fetched or name in ("href", "action"):
                yield Reference(page, target, fetched)


def test_every_page_of_the_repository_is_there(site: Path) -> None:
    sources = [ROOT / "README.md", ROOT / "contracts" / "SPEC.md", *(ROOT / "docs").rglob("*.md")]
    made = {page.relative_to(site).with_suffix(".md").as_posix() for page in list_pages(site)}
    assert {source.relative_to(ROOT).as_posix() for source in sources} <= made
    assert read(site / "index.html").findtext(".//h1").startswith("TKA Exchange Hub")


def test_every_link_and_image_leads_somewhere(site: Path) -> None:
    dangling = [
        f"{one.page.relative_to(site)}: {one.target}"
        for page in list_pages(site)
        for one in list_references(page)
        if not urlsplit(one.target).scheme and not leads_somewhere(one)
    ]
    assert dangling == []


def leads_somewhere(reference: Reference) -> bool:
    target = urlsplit(reference.target)
    led = (reference.page.parent / unquote(target.path)) if target.path else reference.page
    if not led.is_file():
        return False
    anchor = unquote(target.fragment)
    return not anchor or led.suffix != ".html" or any(one.get("id") == anchor for one in read(led).iter())


def test_nothing_is_loaded_from_another_host(site: Path) -> None:
    loaded = [one for page in list_pages(site) for one in list_references(page) if one.loaded]
    assert loaded
    assert [one.target for one in loaded if urlsplit(one.target).netloc] == []
    styles = [file.read_text("utf-8") for file in site.rglob("*.css")]
    assert [style for style in styles if "@import" in style or "url(http" in style or "url(//" in style] == []


def test_every_page_can_be_reached_from_the_entrance(site: Path) -> None:
    reached, waiting = set(), [site / "index.html"]
    while waiting:
        page = waiting.pop()
        for one in list_references(page):
            path = urlsplit(one.target).path
            led = (page.parent / unquote(path)).resolve()
            if not urlsplit(one.target).scheme and path.endswith(".html") and led not in reached:
                reached.add(led)
                waiting.append(led)
    read_by_people = {page for page in list_pages(site) if page.parent != site or page.name == "README.html"}
    assert read_by_people <= reached


BROKEN = {
    "a link to a page that is not there": "[gone](docs/how-to/gone.md)",
    "a link to a heading that is not there": "[gone](docs/how-to/page.md#gone)",
    "an image that is not there": "![gone](docs/gone.png)",
}


def build_small(folder: Path, line: str, page: str = "docs/how-to/page.md") -> subprocess.CompletedProcess[str]:
    """Build a repository of two pages, the entrance with this line in it."""
    root = folder / "repository"
    (root / page).parent.mkdir(parents=True)
    (root / page).write_text("# A page\n")
    (root / "README.md").write_text(f"# Entrance\n\n{line}\n")
    command = [sys.executable, "-m", "tests.docs.make_site", "--root", str(root), "--into", str(folder / "site")]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=BUILD_LIMIT_S, check=False)


@pytest.mark.parametrize("line", BROKEN.values(), ids=BROKEN.keys())
def test_a_page_that_leads_nowhere_is_refused(tmp_path: Path, line: str) -> None:
    built = build_small(tmp_path, line)
    assert built.returncode == 1
    assert "README.md" in built.stderr


def test_a_page_that_nothing_lists_is_refused(tmp_path: Path) -> None:
    assert build_small(tmp_path, "", "docs/forgotten/page.md").returncode == 1


def test_what_is_whole_is_built(tmp_path: Path) -> None:
    built = build_small(tmp_path, "[there](docs/how-to/page.md#a-page)")
    assert (built.returncode, built.stderr) == (0, "")
