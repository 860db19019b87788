"""An operator at a terminal: someone with a folder and an environment, who runs commands of the hub."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hub.cli import main
from tests.hub.exchange import Bank

REPOSITORY = Path(__file__).parents[2]
ENVIRONMENT = {"PYTHONPATH": str(REPOSITORY), "PATH": "/usr/bin:/bin", "COLUMNS": "200"}
PATIENCE_S = 60
#: All but the last may suspend a key.
PEOPLE = ("sari", "budi", "wayan")


@dataclass
class Answer:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed as JSON."""
        return json.loads(self.out)


@dataclass
class Operator:
    """Someone with a folder and an environment, who runs commands."""

    folder: Path
    settings: dict[str, str]
    capture: pytest.CaptureFixture[str]

    def hub(self, *words: str) -> Answer:
        """Run one command to its end, in this process for the sake of speed."""
        with pytest.raises(SystemExit) as ended:
            main(words)
        shown = self.capture.readouterr()
        return Answer(int(ended.value.code or 0), shown.out, shown.err)

    def change(self, *words: str, persons: Sequence[str] = ("sari", "budi")) -> Answer:
        """Propose a change with `words`, let persons sign it, and put it in force; return the first failure, if any."""
        file = f"proposal-{len(list(self.folder.glob('proposal-*')))}.json"
        signs = [("registry", "sign", file, "--key", f"{person}.pem", "--yes", "--json") for person in persons]
        for command in ((*words, "--out", file, "--json"), *signs):
            answer = self.hub(*command)
            if answer.code:
                return answer
        return self.hub("registry", "apply", file, "--json")

    def process(self, *words: str, **settings: str) -> Answer:
        """Run one command to its end, in a process of its own."""
        done = subprocess.run(
            [sys.executable, "-m", "hub.cli", *words],
            cwd=self.folder,
            env=ENVIRONMENT | self.settings | settings,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Answer(done.returncode, done.stdout, done.stderr)

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """Start one command that goes on."""
        with (self.folder / "log").open("w") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "hub.cli", *words],
                cwd=self.folder,
                env=ENVIRONMENT | self.settings,
                stderr=log,
                text=True,
            )


def make_person(operator: Operator, name: str) -> dict[str, Any]:
    """Make a person's key, and describe it as a root document's file does."""
    jwk = operator.hub("keys", "new", "--out", f"{name}.pem").json
    return {"jwk": jwk}


def write_first(folder: Path, bank: Bank) -> None:
    """Write the file for the first registry."""
    hub_jwk = json.loads((folder / "hub.pem.pub.json").read_text())
    first = {
        "settings": {"environment": "demo", "log_origin": "hub.example/demo"},
        "participants": [
            {"id": "hub", "kind": "hub", "sources": ["https://hub.example/tka"], "keys": [{"jwk": hub_jwk}]},
            {
                "id": "bri",
                "kind": "bank",
                "bank_code": "002",
                "sources": ["https://bri.example/tka"],
                "keys": [{"jwk": bank.key.public.jwk}],
                "publishes": ["id.tka.bank.payment.received.v1"],
            },
        ],
    }
    (folder / "first.json").write_text(json.dumps(first))
