"""How docs/ becomes a site: Sphinx reads the Markdown as it lies in the repository, README.md first.

The pages hold nothing that only Sphinx understands, so that they read alike wherever the repository is shown. What a
site needs besides, its table of contents, is added here while a page is read. Nothing is fetched from another host:
fonts are the reader's own, and search runs in the page.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from shutil import copyfile
from typing import Any

from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace, patch_docutils

ENTRANCE = "README"
# The order of the navigation. What ends with /* is each page of the folder that is named nowhere else.
SECTIONS: Mapping[str, Sequence[str]] = {
    "Tutorial": ["docs/tutorial"],
    "How-to": ["docs/how-to/*"],
    "Reference": ["contracts/SPEC", "docs/reference/*"],
    "Explanation": ["docs/explanation/*"],
    "Runbook": ["docs/runbook/first-hour", "docs/runbook/index", "docs/operations"],
    "Decisions": ["docs/decisions/README"],
}
# These pages list the others of their folder.
CHAPTERS = ("docs/runbook/index", "docs/decisions/README")
SETTINGS: Mapping[str, Any] = {
    "project": "TKA Exchange Hub",
    "root_doc": ENTRANCE,
    "include_patterns": ["README.md", "contracts/SPEC.md", "docs/**.md"],
    "extensions": ["myst_parser"],
    "myst_heading_anchors": 6,
    "html_theme": "furo",
    "html_title": "TKA Exchange Hub",
    "html_copy_source": False,
    "html_show_sphinx": False,
    "html_show_copyright": False,
    "templates_path": [],
    "language": "en",
}
LINK = re.compile(r"\[([^\]]*)\]\(([^)\s#:]+)\)")


def build(root: Path, into: Path) -> int:
    """Build the pages of the repository at `root` into a folder, from nothing; return 1 if there was any warning."""
    excluded = [entry.name for entry in root.iterdir() if entry.name not in ("README.md", "contracts", "docs")]
    settings = {**SETTINGS, "exclude_patterns": [*excluded, "**/__pycache__"]}
    with docutils_namespace(), patch_docutils():
        app = Sphinx(
            root, None, into, into.with_name(f"{into.name}.read"), "html", settings,
            freshenv=True, warningiserror=True, status=None,
        )  # fmt: skip
        app.connect("source-read", lambda _, name, source: source.__setitem__(0, complete(root, name, source[0])))
        app.build(force_all=True)
    copyfile(into / f"{ENTRANCE}.html", into / "index.html")
    return int(app.statuscode)


def complete(root: Path, name: str, text: str) -> str:
    """Return a page's text with the table of contents that belongs to it, and folders named instead of linked."""
    text = LINK.sub(lambda found: _name_folder(root / Path(name).parent, *found.groups()), text)
    if name == ENTRANCE:
        return text + "".join(_list_pages(root, pages, caption) for caption, pages in SECTIONS.items())
    if name in CHAPTERS:
        return text + _list_pages(root, [f"{Path(name).parent}/*"], None)
    return text


def _name_folder(folder: Path, words: str, target: str) -> str:
    return f"`{words.strip('`')}`" if (folder / target).is_dir() else f"[{words}]({target})"


def _list_pages(root: Path, pages: Sequence[str], caption: str | None) -> str:
    """Return a hidden table of contents: the navigation shows it, the page does not."""
    options = [":hidden:", *([f":caption: {caption}"] if caption else [])]
    named = [page for listed in pages for page in _expand(root, listed)]
    return "\n```{toctree}\n" + "\n".join([*options, "", *(f"/{page}" for page in named)]) + "\n```\n"


def _expand(root: Path, listed: str) -> list[str]:
    if not listed.endswith("/*"):
        # A page that was moved is missed all the same: nothing lists it then, which is a warning.
        return [listed] if (root / f"{listed}.md").is_file() else []
    found = sorted(str(page.relative_to(root).with_suffix("")) for page in (root / listed[:-2]).glob("*.md"))
    named = {page for pages in SECTIONS.values() for page in pages}
    return [page for page in found if page not in named]
