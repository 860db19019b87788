"""What the repository's history holds, where it is here: an export or a shallow clone holds nothing of it."""

import re
import subprocess
from functools import cache
from pathlib import Path
from typing import NamedTuple

from hub.store import schema

ROOT = Path(__file__).resolve().parents[1]
VERSIONS = "hub/store/migrations/versions"
GIT_LIMIT_S = 20


class Release(NamedTuple):
    """A commit, and the schema that its code was built for."""

    commit: str
    schema: str


@cache
def find_release_before() -> Release | None:
    """Return the last commit before the newest revision of the schema, if its hub may work on today's schema."""
    newest = next((ROOT / VERSIONS).glob(f"{schema.newest_version()}_*.py"))
    added = _git("log", "--diff-filter=A", "--format=%H", "-1", "--", newest.relative_to(ROOT).as_posix())
    listed = _git("ls-tree", "--name-only", f"{added}~1", f"{VERSIONS}/") if added else ""
    revisions = re.findall(r"/(\d{4})_\w+\.py$", listed, re.MULTILINE)
    if not revisions or max(revisions) < schema.floor_version():
        return None
    return Release(f"{added}~1", max(revisions))


def _git(*arguments: str) -> str:
    """Return what git prints; nothing where there is no git, no repository, or no such commit."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=GIT_LIMIT_S, check=False
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
