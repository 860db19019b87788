"""What the oversight body does at the end of the day: verify a pack, refuse a changed one, and catch a log that forks.

Its tools run from their own wheel, in an environment that holds nothing of the hub.
"""

import asyncio
import base64
import hashlib
import json
import re
import shutil
import sys
import tomllib
import venv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import Any

import httpx
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from devstack.demonstration.cast import LOG_ORIGIN, Cast
from devstack.demonstration.keys import LOG_KEY, SigningKey, write_verifier_key
from devstack.demonstration.stage import COMMAND_LIMIT_S, REQUEST_LIMIT_S, Stage
from devstack.processes import StackError

WHEEL = "tka_exchange_oversight-*.whl"
TOOLS = "connectors.oversight"
# Exactly what must not be there: the operator's programs, and what only they ask for.
ABSENT = ("hub", "devstack", "asyncpg", "aiokafka")
PAYMENT_TYPE = "id.tka.bank.payment.received.v1"
CHANGED_CODE = "value_changed"
OTHER_ROOT = hashlib.sha256(b"a log that somebody would rather have had").digest()

INSTALLED = "evidence: tools installed from their own wheel, without the hub"
PROVEN = "evidence: pack proven"
CHANGED = f"evidence: one byte changed, refused as {CHANGED_CODE}"
FORK_REFUSED = "evidence: fork refused by the witness"
FORK_KEPT = "evidence: fork kept as proof, both checkpoints"
EXPECTED = {INSTALLED: 1, PROVEN: 1, CHANGED: 1, FORK_REFUSED: 1, FORK_KEPT: 1}


@dataclass(frozen=True, slots=True)
class Said:
    """What a command came to."""

    code: int
    output: str
    errors: str


async def run_to_end(command: Sequence[str | Path], folder: Path) -> Said:
    """Run a command in a folder, whatever its exit code. Raises StackError when it does not end in time."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        output, errors = await asyncio.wait_for(process.communicate(), COMMAND_LIMIT_S)
    except TimeoutError as error:
        raise StackError(f"{command[0]} did not end within {COMMAND_LIMIT_S:.0f} s.") from error
    finally:
        # Also when the demo is interrupted: nothing that was started stays.
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Said(process.returncode or 0, output.decode(), errors.decode(errors="replace"))


async def _must(command: Sequence[str | Path], folder: Path) -> None:
    said = await run_to_end(command, folder)
    if said.code != 0:
        raise StackError(f"{' '.join(map(str, command[:4]))} failed: {(said.errors or said.output).strip()}")


class Office:
    """The oversight body's own environment, with one wheel in it and what that wheel asks for."""

    def __init__(self, folder: Path, python: Path) -> None:
        self._folder = folder
        self.python = python

    @classmethod
    async def open(cls, folder: Path, repository: Path) -> "Office":
        """Build the wheel and install it. Raises StackError.

        No registry is asked: what the wheel needs is copied from the environment that runs this, pinned as it is there.
        """
        dist, home = folder / "dist", folder / "environment"
        build: list[str | Path] = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", dist]
        await _must([*build, repository / "packaging" / "oversight"], repository)
        wheel = next(dist.glob(WHEEL))
        await asyncio.to_thread(venv.create, home, symlinks=True)
        python = home / "bin" / "python"
        site = next(home.glob("lib/python*/site-packages"))
        await asyncio.to_thread(copy_distributions, _read_names(repository), site)
        # uv takes what is there for what the wheel asks for, and refuses if something is missing.
        install = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--no-cache", "--offline", "--no-index"]
        await _must([*install, "--python", python, wheel], folder)
        return cls(folder, python)

    async def run(self, *arguments: str | Path) -> Said:
        """Run one of the tools; nothing but the environment is on its path."""
        return await run_to_end([self.python, "-I", "-m", TOOLS, *arguments], self._folder)

    async def stands_alone(self) -> bool:
        """Whether the tools are there, and nothing of the hub."""
        names = "', '".join(ABSENT)
        found = f"from importlib.util import find_spec; print([n for n in ('{names}',) if find_spec(n)])"
        said = await run_to_end([self.python, "-I", "-c", f"import {TOOLS}; {found}"], self._folder)
        return (said.code, said.output.strip()) == (0, "[]")


def _read_names(repository: Path) -> list[str]:
    """Return what the wheel asks for, by name."""
    document = tomllib.loads((repository / "packaging" / "oversight" / "pyproject.toml").read_text())
    return [Requirement(line).name for line in document["project"]["dependencies"]]


def copy_distributions(names: Sequence[str], site: Path) -> None:
    """Copy installed distributions, and all that they need, into another environment's site-packages."""
    for found in _gather(names):
        for file in found.files or ():
            source = Path(str(found.locate_file(file)))
            # A script outside of site-packages belongs to the other environment; a compiled file may never have been.
            if ".." not in file.parts and source.exists():
                target = site / file
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)


def _gather(names: Sequence[str]) -> Iterator[Distribution]:
    waiting, seen = [canonicalize_name(name) for name in names], set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        found = distribution(name)
        needs = [Requirement(line) for line in found.requires or ()]
        waiting += [
            canonicalize_name(need.name) for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})
        ]
        yield found


async def hold_to_account(stage: Stage, application: str, repository: Path) -> dict[str, int]:
    """Do what an auditor does with one case, and what a witness does with a fork. Return what was seen."""
    cast = stage.cast
    folder = cast.folder / "kpk"
    folder.mkdir()
    office = await Office.open(folder, repository)
    proven, changed = await _verify(stage, office, application, folder)
    refused = await _show_fork(stage)
    return {
        INSTALLED: int(await office.stands_alone()),
        PROVEN: int(proven),
        CHANGED: int(changed),
        FORK_REFUSED: int(refused),
        FORK_KEPT: int(await _is_kept(office, cast)),
    }


async def _verify(stage: Stage, office: Office, application: str, folder: Path) -> tuple[bool, bool]:
    """Whether a case's pack is proven, and whether the same with one byte changed is refused by name."""
    whole, changed = folder / "pack.json", folder / "changed.json"
    await stage.run_hub("audit", "export", application, "-o", str(whole))
    changed.touch(mode=0o600)
    changed.write_bytes(change_byte(whole.read_bytes()))
    cast = stage.cast
    keys = {"--root": "root.jwk.json", "--log-key": "log.vkey", "--witness-key": "witness.vkey"}
    trust = [word for option, name in keys.items() for word in (option, str(cast.folder / name))]
    told = [await office.run("verify", path, *trust, "--json") for path in (whole, changed)]
    return told[0].code == 0, told[1].code == 1 and CHANGED_CODE in _codes_of(told[1])


def _codes_of(said: Said) -> set[str]:
    findings = json.loads(said.output)["findings"]
    return {finding["code"] for finding in findings if finding["verdict"] == "not_proven"}


def change_byte(pack: bytes) -> bytes:
    """Change one digit of the money in a bank's signed original. Raises StackError if there is none."""
    for message in json.loads(pack)["messages"]:
        original = message["value"]
        if json.loads(original)["type"] != PAYMENT_TYPE:
            continue
        found = re.search(r'"amount":"\d+\.\d(\d)"', original)
        if found is None:
            continue
        at = found.start(1)
        other = f"{original[:at]}{(int(original[at]) + 1) % 10}{original[at + 1 :]}"
        before, after = (json.dumps(text, ensure_ascii=False).encode() for text in (original, other))
        if pack.count(before) == 1:
            return pack.replace(before, after)
    raise StackError("The pack holds no bank's original in which a byte could be changed.")


async def _show_fork(stage: Stage) -> bool:
    """Sign another root for a size that the witness has cosigned, as whoever holds the log's key could; show it."""
    cast, address = stage.cast, stage.cast.url("witness")
    held = await stage.client.get(f"{address}/{_name_log(LOG_ORIGIN)}/checkpoint", timeout=REQUEST_LIMIT_S)
    held.raise_for_status()
    forged = sign_checkpoint(cast.log_key, LOG_ORIGIN, _size_of(held.text), OTHER_ROOT)
    body = f"old {_size_of(held.text)}\n\n{forged}".encode()
    answer = await stage.client.post(f"{address}/add-checkpoint", content=body, timeout=REQUEST_LIMIT_S)
    return answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY and "fork" in answer.text


def _name_log(origin: str) -> str:
    return hashlib.sha256(origin.encode()).hexdigest()


def _size_of(checkpoint: str) -> int:
    return int(checkpoint.split("\n")[1])


def sign_checkpoint(key: SigningKey, origin: str, size: int, root: bytes) -> str:
    """Return a checkpoint signed by a log's key (C2SP tlog-checkpoint, signed-note)."""
    text = f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n"
    key_id = bytes.fromhex(write_verifier_key(key, origin, LOG_KEY).split("+")[1])
    return f"{text}\n— {origin} {base64.b64encode(key_id + key.sign(text.encode())).decode()}\n"


async def _is_kept(office: Office, cast: Cast) -> bool:
    """Whether the witness has both checkpoints of the fork: the same size, each signed, and two roots."""
    said = await office.run("witness-evidence", "--state", cast.folder / "witness.sqlite")
    rows: list[dict[str, Any]] = [json.loads(line) for line in said.output.splitlines()]
    forks = [row for row in rows if row["fault"] == "fork"]
    if said.code != 1 or len(forks) != 1 or len(rows) != 1:
        return False
    held, shown = forks[0]["held"].split("\n"), forks[0]["shown"].split("\n")
    return bool(held[:2] == shown[:2] and held[2] != shown[2] == base64.b64encode(OTHER_ROOT).decode())
