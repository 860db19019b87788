"""Make docs/reference from the code: `python -m tests.docs.make_reference`."""

from collections.abc import Callable, Mapping
from pathlib import Path

from tests.docs import api_documents, commands_page, events_page, refusals_page, settings_page

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "reference"

PAGES: Mapping[str, Callable[[], str]] = {
    "commands.md": commands_page.write_page,
    "settings.md": settings_page.write_page,
    "events.md": events_page.write_page,
    "refusal-codes.md": refusals_page.write_page,
    "openapi.json": api_documents.write_openapi,
    "asyncapi.json": api_documents.write_asyncapi,
}


def main() -> None:
    """Write every page."""
    FOLDER.mkdir(exist_ok=True)
    for name, write_page in PAGES.items():
        (FOLDER / name).write_text(write_page(), encoding="utf-8")


if __name__ == "__main__":
    main()
