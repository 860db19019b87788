"""How the reference pages are written: one table form, and the line that says where a page comes from."""

from collections.abc import Iterable, Sequence

GENERATED = "<!-- Made from the code by `python -m tests.docs.make_reference`. Change the code and make it again. -->"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table that ends with a line feed."""
    lines = [_line(head), _line(["---"] * len(head)), *map(_line, rows)]
    return "\n".join(lines) + "\n"


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
