"""The folder of an office that has only files: each is taken once, whole or not at all; nothing is deleted.

    NAME.part                      still being delivered: left alone
    NAME, NAME.manifest.json       taken when both are there and agree (see `events_file`)
    done/NAME                      taken, its manifest beside it; NAME.reason.txt names rows that were refused
    refused/NAME                   nothing of it counts; NAME.reason.txt says why

A file's facts go into the spool in one transaction, then the note that it is to be moved and what is said of it; after
a crash it is moved, or taken again to no effect. The same facts in another file are the same by their keys.
"""

import asyncio
import fcntl
import hashlib
import json
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import structlog
from prometheus_client import CollectorRegistry, Counter

from connectors.link import failpoint
from connectors.link.fact import Aside, NewEvent, Put
from connectors.link.fault import SettingsFault, SourceFault
from connectors.link.retry import where
from connectors.link.spool import Spool
from connectors.ministry.events_file import (
    DOOR,
    FILE_BYTES_MAX,
    MANIFEST_BYTES_MAX,
    MANIFEST_SUFFIX,
    FileRefused,
    Manifest,
    read_manifest,
    read_rows,
)
from connectors.ministry.mapping import RowForm
from connectors.ministry.translate import translate_rows

POLL_S: Final = 0.5
#: A file that is not what its manifest says may still be growing: it is refused when it has been still for so long.
STILL_S: Final = 3.0
FAULTS_SHOWN_MAX: Final = 1_000
NAMES_TRIED_MAX: Final = 10_000

_MOVING_NOTE = "folder/moving"
_MAY_GROW = frozenset(("sha256_wrong", "manifest_invalid"))

_log = structlog.get_logger()

#: Which file, and which version of it: inode, size in bytes, time of change in nanoseconds.
_State = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Move:
    """What is still to be moved: a file, by its SHA-256, and its manifest. `text` is to stand beside it."""

    name: str
    sha256: str
    folder: str
    text: str | None


def check_folder(folder: Path) -> None:
    """Raise SettingsFault unless files can be moved out of this folder."""
    if not folder.is_dir() or not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise SettingsFault(f"EVENTS_DIR {folder} is no folder that this process may read and write.")


class EventsFolder:
    """Takes the files of one folder into one spool."""

    def __init__(self, folder: Path, spool: Spool, form: RowForm | None, metrics: CollectorRegistry) -> None:
        self._folder = folder
        self._spool = spool
        self._form = form
        self._seen: dict[str, tuple[tuple[_State, ...], float]] = {}
        self._files = Counter(
            "tkahub_connector_event_files", "Files of the folder, by what became of them", ["verdict"], registry=metrics
        )

    @staticmethod
    @asynccontextmanager
    async def open(
        folder: Path, spool: Spool, form: RowForm | None, metrics: CollectorRegistry
    ) -> AsyncIterator["EventsFolder"]:
        """Open `folder` and keep other connectors out of it. Raises SettingsFault, SourceFault."""
        check_folder(folder)
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise SourceFault(
                    "Another connector process takes files from EVENTS_DIR: stop it, or give this one its own folder."
                ) from None
            yield EventsFolder(folder, spool, form, metrics)
        finally:
            os.close(opened)

    async def run(self) -> None:
        """Watch the folder until cancelled."""
        while True:
            await self.scan()
            await asyncio.sleep(POLL_S)

    async def scan(self) -> int:
        """Take every file whose manifest stands in the folder now, by name; return how many were moved away."""
        await self._finish_moving()
        manifests = await asyncio.to_thread(self._manifests)
        self._seen = {name: seen for name, seen in self._seen.items() if name in manifests}
        moved = 0
        for manifest in manifests:
            try:
                moved += await self._take(manifest)
            except OSError as error:
                # One file that cannot be read or moved must not hold up those behind it.
                self._files.labels("unreadable").inc()
                _log.error("a file cannot be read or moved", file=manifest, error=where(error))
        return moved

    def _manifests(self) -> list[str]:
        with os.scandir(self._folder) as entries:
            return sorted(
                entry.name
                for entry in entries
                if entry.is_file(follow_symlinks=False)
                and entry.name.endswith(MANIFEST_SUFFIX)
                and not entry.name.startswith(".")
            )

    async def _take(self, manifest_name: str) -> bool:
        """Put a file's facts into the spool and move it; return False when it has to wait."""
        name = manifest_name.removesuffix(MANIFEST_SUFFIX)
        try:
            content, state = await asyncio.to_thread(self._read, name)
        except FileNotFoundError:
            return False
        sha256 = hashlib.sha256(content).hexdigest()
        try:
            facts, aside = await asyncio.to_thread(self._judge, name, content, sha256)
        except FileRefused as refusal:
            if refusal.reason in _MAY_GROW and not self._is_still(manifest_name, state):
                return False
            await self._refuse(name, sha256, refusal)
            return True
        await self._put(name, sha256, facts, aside)
        return True

    def _read(self, name: str) -> tuple[bytes, tuple[_State, ...]]:
        """Return a file's bytes, at most one more than it may have, and which versions of file and manifest these are.

        Raises FileNotFoundError.
        """
        file, manifest = self._folder / name, self._folder / f"{name}{MANIFEST_SUFFIX}"
        with file.open("rb") as opened:
            content = opened.read(FILE_BYTES_MAX + 1)
            states = (_state_of(os.fstat(opened.fileno())), _state_of(manifest.stat()))
        return content, states

    def _judge(self, name: str, content: bytes, sha256: str) -> tuple[list[NewEvent], list[Aside]]:
        """Return what a file puts into the spool. Raises FileRefused."""
        manifest = self._manifest_of(name)
        if len(content) > FILE_BYTES_MAX:
            raise FileRefused("too_large")
        if manifest.sha256 != sha256:
            raise FileRefused("sha256_wrong")
        return translate_rows(read_rows(manifest, content, self._form))

    def _manifest_of(self, name: str) -> Manifest:
        with (self._folder / f"{name}{MANIFEST_SUFFIX}").open("rb") as opened:
            text = opened.read(MANIFEST_BYTES_MAX)
        manifest = read_manifest(text)
        if manifest.name != name:
            raise FileRefused("manifest_invalid")
        return manifest

    def _is_still(self, name: str, states: tuple[_State, ...]) -> bool:
        """Tell whether file and manifest have been the same for STILL_S."""
        now_s = asyncio.get_running_loop().time()
        seen, since_s = self._seen.get(name, (None, now_s))
        if seen != states:
            self._seen[name] = (states, now_s)
            return False
        return now_s - since_s >= STILL_S

    async def _refuse(self, name: str, sha256: str, refusal: FileRefused) -> None:
        move = Move(name, sha256, "refused", f"refused: {refusal}\n")
        aside = Aside(f"{DOOR}/{name}", refusal.reason, str(refusal).partition(": ")[2])
        await self._spool.put(aside=[aside], notes={_MOVING_NOTE: json.dumps(asdict(move))})
        await self._finish_moving()
        self._files.labels("refused").inc()
        _log.warning("a file was refused", file=name, reason=refusal.reason)

    async def _put(self, name: str, sha256: str, facts: list[NewEvent], aside: list[Aside]) -> None:
        """Put a file's facts into the spool in one transaction, then say that it is to be moved."""
        failpoint.reach("folder.before_put")
        puts = await self._spool.put(facts, aside=aside)
        failpoint.reach("folder.after_put")
        text = _reason_text(aside, facts, puts)
        move = Move(name, sha256, "done", text)
        await self._spool.put(notes={_MOVING_NOTE: json.dumps(asdict(move))})
        await self._finish_moving()
        self._files.labels("rows_refused" if text else "accepted").inc()
        _log.info("a file was taken", file=name, rows=len(puts) + len(aside), refused=text is not None)

    async def _finish_moving(self) -> None:
        """Move what a note says is to be moved: after a crash too, and only if it still stands there."""
        note = await self._spool.note(_MOVING_NOTE)
        if note is None:
            return
        members: dict[str, Any] = json.loads(note)
        await asyncio.to_thread(self._move, Move(**members))
        failpoint.reach("folder.after_move")
        await self._spool.put(notes={_MOVING_NOTE: None})

    def _move(self, move: Move) -> None:
        """Move file, then manifest, to names that are free there, the reason first, so that none lacks one."""
        target_folder = self._folder / move.folder
        target_folder.mkdir(exist_ok=True)
        source = self._folder / move.name
        manifest = self._folder / f"{move.name}{MANIFEST_SUFFIX}"
        if source.exists() and _digest_of(source) == move.sha256:
            target = _free_name(target_folder, move.name)
            if move.text is not None:
                target.with_name(f"{target.name}.reason.txt").write_text(move.text, encoding="utf-8")
            failpoint.reach("folder.before_move")
            source.rename(target)
        if not source.exists() and manifest.exists():
            manifest.rename(_free_name(target_folder, manifest.name))


def _state_of(found: os.stat_result) -> _State:
    return found.st_ino, found.st_size, found.st_mtime_ns


def _digest_of(file: Path) -> str:
    """Return the SHA-256 of as much of a file as `_read` takes."""
    with file.open("rb") as opened:
        return hashlib.sha256(opened.read(FILE_BYTES_MAX + 1)).hexdigest()


def _free_name(folder: Path, name: str) -> Path:
    """Return `name` in the folder, with a number before its last suffix where it is taken."""
    stem, dot, suffix = name.partition(".")
    tries = (folder / (f"{stem}.{number}{dot}{suffix}" if number > 1 else name) for number in range(1, NAMES_TRIED_MAX))
    free = next((place for place in tries if not place.exists()), None)
    if free is None:
        raise FileExistsError(f"too many files of one name in {folder.name}/")
    return free


def _reason_text(aside: Sequence[Aside], facts: Sequence[NewEvent], puts: Sequence[Put]) -> str | None:
    """Return what stands beside a file that was taken, or None when there is nothing to say."""
    lines = [f"{_key(each.native_key)}: {each.code}: {each.detail}" for each in aside]
    lines += [
        f"{_key(fact.native_key)}: {put.outcome}: {put.code}: {put.detail}"
        for fact, put in zip(facts, puts, strict=True)
        if put.outcome in ("conflict", "unfit")
    ]
    if not lines:
        return None
    shown = "\n".join(lines[:FAULTS_SHOWN_MAX])
    return f"{len(lines)} of {len(facts) + len(aside)} rows were refused; the others were taken.\n{shown}\n"


def _key(native_key: str) -> str:
    return native_key.partition("/")[2]
