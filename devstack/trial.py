"""What docker-compose.yml needs besides the exchange's own commands: keys, the agencies' common start, the day.

python -m devstack.trial prepare         makes keys and a registry in STATE_DIR once, then tables and topics
python -m devstack.trial agency NAME     becomes a simulated agency on the day that `prepare` noted in START_FILE
python -m devstack.trial play            tells the agencies at AGENCY_URLS to play their day, and waits
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from devstack.agencies.scenario import BANKS, CHAPTERS, write_instant
from devstack.demonstration.cast import Services, call_cast, write_full_profiles
from devstack.demonstration.persons import sign_proposal

REQUEST_TIMEOUT_S = 5
CHAPTER_TIMEOUT_S = 300
POLL_INTERVAL_S = 0.2
START_NAME = "start"


class _NotYetError(Exception):
    """An agency has not played a chapter to its end."""


def main(arguments: list[str]) -> int:
    """Run one of the three commands. Exit code 2 for any other use."""
    match arguments:
        case ["prepare"]:
            prepare(Path(os.environ["STATE_DIR"]))
        case ["agency", name]:
            become_agency(name, Path(os.environ["START_FILE"]))
        case ["play"]:
            for chapter in CHAPTERS:
                play(chapter, os.environ["AGENCY_URLS"].split())
        case _:
            print(__doc__)
            return 2
    return 0


def prepare(state: Path) -> None:
    """Make keys and the first registry, unless an earlier start has made them; then tables, registry, topics."""
    hub = [sys.executable, "-m", "hub.cli"]
    subprocess.run([*hub, "migrate"], check=True)
    if not (state / START_NAME).exists():
        services = Services(os.environ["KAFKA_BOOTSTRAP"], "", os.environ["DATABASE_URL"], "", "", "")
        cast = call_cast(services, state, int(os.environ["SEED"]), int(os.environ["APPLICATIONS"]))
        write_full_profiles(cast, {bank: os.environ[f"{bank.upper()}_URL"] for bank in BANKS})
        proposal, roots = state / "proposal.json", ["--roots", str(state / "roots.json")]
        proposed = [str(state / "registry.json"), *roots, "--out", str(proposal)]
        subprocess.run([*hub, "registry", "propose", *proposed], check=True)
        sign_proposal(proposal, cast.person_keys.values())
        subprocess.run([*hub, "registry", "apply", str(proposal)], check=True)
        # Written last: it says that all before it was done.
        (state / START_NAME).write_text(write_instant(cast.start))
    subprocess.run([*hub, "kafka", "apply", "--yes"], check=True)


def become_agency(name: str, start_file: Path) -> None:
    """Replace this process by the simulator of the agency."""
    environment = os.environ | {"START": start_file.read_text()}
    os.execve(sys.executable, [sys.executable, "-m", f"devstack.agencies.{name}"], environment)


def play(chapter: str, agency_urls: list[str]) -> None:
    """Tell every agency to play the chapter, and wait until each has played it to its end."""
    for url in agency_urls:
        for attempt in _retry(OSError):
            with attempt:
                _call("POST", f"{url}/chapters/{chapter}")
    for url in agency_urls:
        for attempt in _retry(OSError, _NotYetError):
            with attempt:
                if chapter not in _call("GET", f"{url}/book")["played"]:
                    raise _NotYetError(f"{url} has not played {chapter}")
    print(f"played: {chapter}", flush=True)


def _retry(*errors: type[Exception]) -> Retrying:
    return Retrying(
        retry=retry_if_exception_type(errors),
        stop=stop_after_delay(CHAPTER_TIMEOUT_S),
        wait=wait_fixed(POLL_INTERVAL_S),
        reraise=True,
    )


def _call(method: str, url: str) -> Any:
    with urlopen(Request(url, method=method), timeout=REQUEST_TIMEOUT_S) as response:
        return json.load(response)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
