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
COMMITS_MAX = 50


class Release(NamedTuple):
    """A commit, and the schema that its code was built for."""

    commit: str
    schema: str


@cache
def find_release_before() -> Release | None:
    """Return the last commit whose schema was another one, if its hub may work on today's schema."""
    newest, floor = schema.newest_version(), schema.floor_version()
    for commit in _git("log", "--format=%H", f"-{COMMITS_MAX}", "--", VERSIONS).split():
        listed = _git("ls-tree", "--name-only", commit, f"{VERSIONS}/")
        revisions = re.findall(r"/(\d{4})_\w+\.py$", listed, re.MULTILINE)
        # A commit halfway through a renumbering was never a release.
        if revisions and len(revisions) == len(set(revisions)) and floor <= max(revisions) < newest:
            return Release(commit, max(revisions))
    return None


def _git(*arguments: str) -> str:
    """Return what git prints; nothing where there is no git, no repository, or no such commit."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=GIT_LIMIT_S, check=False
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
