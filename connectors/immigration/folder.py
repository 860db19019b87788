"""An office that has only files: a folder `out` for what it is told, a folder `in` for what it answers.

    out/TKA-0123456789AB.1.issued.json      the content of a recommendation, as a push door would get it
    out/query-answer.Q-1.json               the Ministry's answer to a question
    in/anything.json                        {"answers": [{"id": 17, "kind": "acknowledged", ...}]}

A file is written under `.part` and renamed when it is whole; the office does the same. Files of `in` go to `in/done`,
or to `in/refused` with a reason beside them; nothing is deleted here. The same file again, under whatever name, says
nothing new: an answer is known by its own id. One connector process holds the folder; another one says so and waits.
"""

import asyncio
import fcntl
import json
import os
import threading
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from connectors.immigration.client import CONFLICT, VisaSystemAway, VisaSystemRefused
from connectors.link.erasing import blank

FILE_BYTES_MAX: Final = 16 * 1024**2
FILES_IN_ONE_LOOK_MAX: Final = 100
_SUFFIX: Final = ".json"


@dataclass(frozen=True, slots=True)
class AnswersFile:
    """A file of answers, or why it is none."""

    path: Path
    answers: tuple[dict[str, Any], ...] = ()
    refusal: str | None = None


class Folder:
    """One office's folder."""

    def __init__(self, path: Path) -> None:
        self._path, self._out, self._in = path, path / "out", path / "in"
        self._held: int | None = None
        self._turn = threading.Lock()

    def close(self) -> None:
        """Let another connector have the folder."""
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def _hold(self) -> None:
        """Keep other connectors out: two, each with a spool of its own, would both tell what a file says.

        The lock is on the folder itself and ends with the process, however it ends. Raises VisaSystemAway; OSError.
        """
        with self._turn:
            if self._held is not None:
                return
            self._path.mkdir(parents=True, exist_ok=True)
            opened = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(opened)
                raise VisaSystemAway("another connector process, or another office here, has this folder") from None
            self._held = opened

    async def deliver(self, name: str, body: str, key: str) -> None:
        """Put a file into `out`; the same again changes nothing. Raises VisaSystemFault."""
        await asyncio.to_thread(self._write, name, body)

    def _write(self, name: str, body: str) -> None:
        file = self._out / (name.replace("/", ".") + _SUFFIX)
        try:
            self._hold()
            self._out.mkdir(parents=True, exist_ok=True)
            if file.exists():
                told = json.loads(file.read_bytes())
                # What was erased since is not written again by a delivery that was under way.
                if told not in (json.loads(body), blank(json.loads(body))):
                    raise VisaSystemRefused(CONFLICT, "the office's folder holds another content under this name")
                return
            part = file.with_name(file.name + ".part")
            _write_whole(part, body)
            part.replace(file)
            _sync(self._out)
        except (OSError, ValueError) as error:
            raise VisaSystemAway(f"the office's folder cannot be written ({type(error).__name__})") from None

    async def erase(self, numbers: Collection[str]) -> None:
        """Take everybody out of the files in `out` about these recommendations. Raises VisaSystemAway."""
        if numbers:
            await asyncio.to_thread(self._erase, numbers)

    def _erase(self, numbers: Collection[str]) -> None:
        try:
            self._hold()
            for file in self._out.iterdir() if self._out.is_dir() else ():
                told = json.loads(file.read_bytes()) if file.suffix == _SUFFIX else {}
                erased = blank(told)
                if told == erased or told.get("number") not in numbers:
                    continue
                part = file.with_name(file.name + ".part")
                _write_whole(part, json.dumps(erased))
                part.replace(file)
                _sync(self._out)
        except (OSError, ValueError) as error:
            raise VisaSystemAway(f"the office's folder cannot be erased from ({type(error).__name__})") from None

    async def look(self) -> list[AnswersFile]:
        """Return the files that are there to be taken, the oldest first. Raises VisaSystemAway."""
        return await asyncio.to_thread(self._look)

    def _look(self) -> list[AnswersFile]:
        try:
            self._hold()
            self._in.mkdir(parents=True, exist_ok=True)
            found = [path for path in self._in.iterdir() if path.suffix == _SUFFIX and path.is_file()]
            found.sort(key=lambda path: (path.stat().st_mtime_ns, path.name))
        except OSError as error:
            raise VisaSystemAway(f"the office's folder cannot be read ({type(error).__name__})") from None
        return [_read(path) for path in found[:FILES_IN_ONE_LOOK_MAX]]

    async def put_away(self, file: AnswersFile, refusals: list[str]) -> None:
        """Move a file that was taken to `done`, or to `refused` with what was refused of it beside it."""
        await asyncio.to_thread(self._put_away, file, refusals)

    def _put_away(self, file: AnswersFile, refusals: list[str]) -> None:
        folder = self._in / ("refused" if refusals else "done")
        try:
            folder.mkdir(exist_ok=True)
            target = _free_name(folder, file.path.name)
            if refusals:
                target.with_name(target.name + ".reason.txt").write_text("\n".join(refusals) + "\n", encoding="utf-8")
            file.path.rename(target)
        except OSError as error:
            raise VisaSystemAway(f"the office's folder cannot be tidied ({type(error).__name__})") from None


def _read(path: Path) -> AnswersFile:
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            return AnswersFile(path, refusal=f"more than {FILE_BYTES_MAX} bytes")
        answers = json.loads(path.read_bytes())["answers"]
    except OSError as error:
        raise VisaSystemAway(f"the office's folder cannot be read ({type(error).__name__})") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        return AnswersFile(path, refusal='not JSON of the form {"answers": [...]}')
    if not isinstance(answers, list) or not all(isinstance(each, dict) for each in answers):
        return AnswersFile(path, refusal="answers: not a list of objects")
    return AnswersFile(path, tuple(answers))


def _free_name(folder: Path, name: str) -> Path:
    """Return a name that no file there has: an office may use one again."""
    stem, number, target = name.removesuffix(_SUFFIX), 1, folder / name
    while target.exists():
        number += 1
        target = folder / f"{stem}.{number}{_SUFFIX}"
    return target


def _write_whole(file: Path, body: str) -> None:
    with file.open("w", encoding="utf-8") as handle:
        handle.write(body)
        handle.flush()
        os.fsync(handle.fileno())


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
