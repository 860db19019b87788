"""Build docs/ to a site: `python -m tests.docs.make_site` writes build/site and fails on any warning."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.docs.site import build

ROOT = Path(__file__).resolve().parents[2]
FOLDER_DEFAULT = ROOT / "build" / "site"


def main(arguments: Sequence[str]) -> int:
    """Build; exit 1 on a warning: a link that leads nowhere, a page that nothing lists."""
    parser = argparse.ArgumentParser(prog="python -m tests.docs.make_site", description="Build docs/ to a site.")
    parser.add_argument("--root", type=Path, default=ROOT, help="the repository whose pages are built")
    parser.add_argument("--into", type=Path, default=FOLDER_DEFAULT, help="the folder of the site")
    given = parser.parse_args(arguments)
    failed = build(given.root.resolve(), given.into.resolve())
    print("There were warnings." if failed else f"Open {given.into / 'index.html'}")
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
