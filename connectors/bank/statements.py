"""The folder into which the bank drops its statements: each file is taken once, whole or not at all.

    NAME.xml.part                 still being delivered: left alone
    NAME.xml                      judged, put into the spool, then moved
    done/NAME.xml                 taken; NAME.xml.reason.txt beside it names entries that were refused
    refused/NAME.xml              nothing of it counts; NAME.xml.reason.txt beside it says why

What is judged is a private copy, and what is taken is that copy: the bank may write on while it is read. A file that
needs several transactions is finished from the copy after a crash, before anything else. Nothing is deleted.
"""

import asyncio
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final, Literal, TypeVar

import structlog
from prometheus_client import CollectorRegistry, Counter

from connectors.bank.camt054 import FILE_REASONS, StatementRefused, read_transactions
from connectors.bank.entry import REFUSED_REASONS, Transaction
from connectors.bank.profile import Partner, Partners
from connectors.bank.settings import BankSettings
from connectors.bank.sightings import Position, Sightings, Where, position_of, where_of
from connectors.bank.translate import statement_payment
from connectors.link import failpoint
from connectors.link.fact import Aside
from connectors.link.fault import SettingsFault, SpoolFull
from connectors.link.retry import where
from connectors.link.spool import Spool

POLL_S: Final = 0.5
FULL_PAUSE_S: Final = 15.0
#: A file that ends too early may still be growing: it is refused only when it has been still for so long.
STILL_S: Final = 3.0
FACTS_IN_ONE_PUT_MAX: Final = 500
FAULTS_SHOWN_MAX: Final = 1_000
STATEMENT_BYTES_MAX: Final = 1024**3
UNFINISHED_SUFFIXES: Final = (".part", ".filepart", ".tmp")

_TAKING_NOTE = "statement/taking"
_COPY_NAME = "statement.taking"
_GROWING = frozenset(("empty", "truncated"))

Verdict = Literal["accepted", "entries_refused", "refused"]

T = TypeVar("T")

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a whole file comes to. `faults` are the first refused transactions, each as one line of text."""

    verdict: Verdict
    reason: str | None
    transactions: int = 0
    refused: int = 0
    faults: tuple[str, ...] = ()


def judge_statement(source: BinaryIO) -> Judgement:
    """Read a statement to its end and say what it comes to."""
    transactions = refused = 0
    faults: list[str] = []
    try:
        for transaction in read_transactions(source):
            transactions += 1
            if transaction.counts == "refused":
                refused += 1
                if len(faults) < FAULTS_SHOWN_MAX:
                    faults.append(describe_fault(transaction))
    except StatementRefused as refusal:
        return Judgement("refused", refusal.reason)
    if refused:
        return Judgement(
            "entries_refused", f"{refused} of {transactions} transactions", transactions, refused, tuple(faults)
        )
    return Judgement("accepted", None, transactions)


def describe_fault(transaction: Transaction) -> str:
    """Return one line that names a refused transaction and why, without what it says of anybody."""
    reason = transaction.reason or ""
    place = f"entry {transaction.entry}" + (f" detail {transaction.detail}" if transaction.detail else "")
    return f"{place}: {reason}: {REFUSED_REASONS.get(reason, reason)}"


def check_folder(folder: Path) -> None:
    """Raise SettingsFault unless files can be moved out of this folder."""
    if not folder.is_dir() or not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise SettingsFault(f"STATEMENT_DIR {folder} is no folder that this process may read and write.")


@contextmanager
def _hold(folder: Path) -> Iterator[None]:
    """Hold the folder alone: two connectors, each with a spool of its own, would count every file twice.

    The lock is on the folder itself, so it ends with the process, however it ends. Raises SettingsFault.
    """
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingsFault(
                f"Another connector process takes statements from {folder}: stop it, or give this one another folder."
            ) from None
        yield
    finally:
        os.close(held)


def count_statements(metrics: CollectorRegistry) -> Counter:
    """Return the counter of statement files, one for all folders of a connector."""
    return Counter(
        "tkahub_connector_statements", "Statement files, by what became of them", ["verdict"], registry=metrics
    )


def folders_of(statement_dir: Path, partners: Partners) -> list[tuple[Path, Partner]]:
    """Return each folder with the partner whose statements come there: the first partner's is `statement_dir`.

    Another partner has a folder only if its profile names one.
    """
    first, *others = partners.all
    own = [(each.profile.statement_dir, each) for each in others]
    named = [(folder, partner) for folder, partner in own if folder is not None]
    return [(first.profile.statement_dir or statement_dir, first), *named]


@asynccontextmanager
async def open_folders(
    settings: BankSettings, partners: Partners, spool: Spool, metrics: CollectorRegistry
) -> AsyncIterator[list["StatementFolder"]]:
    """Open every partner's folder. Raises SettingsFault."""
    files = count_statements(metrics)
    async with AsyncExitStack() as stack:
        opened = []
        for number, (folder, partner) in enumerate(folders_of(settings.statement_dir, partners)):
            # The first keeps the names that a spool of a single partner has.
            owner = f"{partner.profile.partner_id}." if number else ""
            opening = StatementFolder.open(
                folder, spool, partner.profile.bank_code, settings.spool_dir, files, _file_name(owner)
            )
            opened.append(await stack.enter_async_context(opening))
        yield opened


def _file_name(owner: str) -> str:
    return "".join(letter if letter.isalnum() or letter in ".-_" else f"%{ord(letter):02x}" for letter in owner)


#: Which file, and which version of it: inode, size in bytes, time of change in nanoseconds.
_State = tuple[int, int, int]


def _state_of(found: os.stat_result) -> _State:
    return found.st_ino, found.st_size, found.st_mtime_ns


class StatementFolder:
    """Takes the statements of one folder into one spool.

    Files are read in a thread of its own, always the same: a parser of lxml that is moved from thread to thread mixes
    up names and memory.
    """

    def __init__(
        self,
        folder: Path,
        spool: Spool,
        bank_code: str,
        private: Path,
        files: Counter,
        thread: ThreadPoolExecutor,
        owner: str,
    ) -> None:
        self._folder = folder
        self._spool = spool
        self._bank_code = bank_code
        self._copy = private / f"{owner}{_COPY_NAME}"
        self._taking_note = _TAKING_NOTE + owner
        self._thread = thread
        self._seen: dict[str, tuple[_State, float]] = {}
        self._files = files

    @staticmethod
    @asynccontextmanager
    async def open(
        folder: Path, spool: Spool, bank_code: str, private: Path, files: Counter, owner: str = ""
    ) -> AsyncIterator["StatementFolder"]:
        """Open `folder`; `private` is where only this connector writes, under `owner`'s names. Raises SettingsFault."""
        check_folder(folder)
        thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="statements")
        with _hold(folder):
            try:
                yield StatementFolder(folder, spool, bank_code, private, files, thread, owner)
            finally:
                thread.shutdown()

    async def _work(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def run(self) -> None:
        """Watch the folder until cancelled."""
        while True:
            try:
                await self.scan()
                await asyncio.sleep(POLL_S)
            except SpoolFull as fault:
                _log.warning("the statements wait", why=str(fault))
                await asyncio.sleep(FULL_PAUSE_S)

    async def scan(self) -> int:
        """Take every file that stands in the folder now, by name; return how many were moved away."""
        await self._finish_taking()
        names = await self._work(self._standing)
        self._seen = {name: seen for name, seen in self._seen.items() if name in names}
        moved = 0
        for name in names:
            try:
                moved += await self._take(name)
            except OSError as error:
                # One file that cannot be read or moved must not hold up those behind it.
                self._files.labels("unreadable").inc()
                _log.error("a statement cannot be read or moved", file=name, error=where(error))
        return moved

    def _standing(self) -> list[str]:
        """Return the names of the files to take, in order: finished, visible, and themselves files."""
        with os.scandir(self._folder) as entries:
            return sorted(
                entry.name
                for entry in entries
                if entry.is_file(follow_symlinks=False)
                and not entry.name.startswith(".")
                and not entry.name.lower().endswith(UNFINISHED_SUFFIXES)
            )

    async def _take(self, name: str) -> bool:
        """Judge one file, put what counts into the spool, move the file; return False when it has to wait."""
        try:
            judgement, state = await self._work(lambda: self._copy_and_judge(self._folder / name))
        except FileNotFoundError:
            return False
        if judgement.reason in _GROWING and not self._is_still(name, state):
            return False
        if judgement.verdict == "refused":
            reason = judgement.reason or ""
            await self._spool.put(aside=[Aside(f"statement/{name}", reason, FILE_REASONS[reason])])
            text: str | None = f"refused: {reason}: {FILE_REASONS[reason]}\n"
        else:
            text = _reason_text(judgement, await self._put(name))
        failpoint.reach("statement.before_move")
        folder = "refused" if judgement.verdict == "refused" else "done"
        moved = await self._work(lambda: self._move(name, state, folder, text))
        failpoint.reach("statement.after_move")
        self._files.labels(judgement.verdict).inc()
        _log.info("statement", file=name, verdict=judgement.verdict, reason=judgement.reason)
        return moved

    def _copy_and_judge(self, file: Path) -> tuple[Judgement, _State]:
        """Copy the file to where only this connector writes, and judge the copy; also return which file that was."""
        with file.open("rb") as source:
            state = _state_of(os.fstat(source.fileno()))
            if state[1] > STATEMENT_BYTES_MAX:
                return Judgement("refused", "too_large"), state
            with self._copy.open("wb") as copy:
                shutil.copyfileobj(source, copy)
                copy.flush()
                os.fsync(copy.fileno())
        with self._copy.open("rb") as copied:
            return judge_statement(copied), state

    def _is_still(self, name: str, state: _State) -> bool:
        """Tell whether the file has been the same for STILL_S."""
        now_s = asyncio.get_running_loop().time()
        seen, since_s = self._seen.get(name, (None, now_s))
        if seen != state:
            self._seen[name] = (state, now_s)
            return False
        return now_s - since_s >= STILL_S

    async def _put(self, name: str) -> list[str]:
        """Put the copy's transactions into the spool; return a line for each that conflicts or was counted before.

        Other callers' facts may go between two parts. The note says, from the first part to the last, that the copy is
        being taken.
        """
        digest = await self._work(self._copy_digest)
        parts = _parts(self._copy, digest)
        sightings = Sightings(self._spool, self._read_places)
        remarks: list[str] = []
        try:
            part = await self._work(lambda: next(parts, None))
            while part is not None:
                following = await self._work(lambda: next(parts, None))
                note = None if following is None else json.dumps({"name": name, "sha256": digest})
                remarks += await self._put_part(part, sightings, {self._taking_note: note})
                part = following
        finally:
            await self._work(parts.close)
        return remarks

    async def _put_part(self, part: "_Part", sightings: Sightings, notes: dict[str, str | None]) -> list[str]:
        """Put one part into the spool in one transaction; return a line for each transaction that is not counted."""
        counted: list[Transaction] = []
        remarks: list[str] = []
        for transaction in part.counted:
            before = await sightings.find(transaction)
            if before is None:
                counted.append(transaction)
                # What is put at a place that may be taken is noted as counted only once it is known to be.
                if not await sightings.is_suspect(transaction.notification):
                    notes.update(sightings.notes_of(transaction))
            else:
                notes.update(before[1])
                remarks.append(f"{_place_of(transaction)}: again: {before[0]}")
        facts = [statement_payment(each, self._bank_code) for each in counted]
        failpoint.reach("statement.before_put")
        puts = await self._spool.put(facts, aside=part.aside, notes=notes)
        fresh: dict[str, str | None] = {}
        for transaction, put in zip(counted, puts, strict=True):
            if put.outcome in ("conflict", "unfit"):
                remarks.append(f"{_place_of(transaction)}: {put.outcome}: {put.detail}")
            elif await sightings.is_suspect(transaction.notification):
                fresh.update(await self._missing_notes(transaction, sightings))
        if fresh:
            await self._spool.put(notes=fresh)
        return remarks

    async def _missing_notes(self, transaction: Transaction, sightings: Sightings) -> dict[str, str | None]:
        """Return what is to be noted of a transaction that is counted and is not noted yet.

        After a crash between the two puts it comes "again", and without its notes the next copy of it would count too.
        """
        notes = sightings.notes_of(transaction)
        return {name: text for name, text in notes.items() if await self._spool.note(name) is None}

    async def _read_places(self, where: Where) -> dict[Position, str]:
        """Return what stands at each place of one notification in the copy: content by position."""

        def read() -> dict[Position, str]:
            with self._copy.open("rb") as copied:
                return {
                    position_of(each): each.content_sha256()
                    for each in read_transactions(copied)
                    if each.counts in ("credit", "reversal") and where_of(each.notification) == where
                }

        return await self._work(read)

    async def _finish_taking(self) -> None:
        """Finish the file of which a part was put before a crash."""
        note = await self._spool.note(self._taking_note)
        if note is None:
            return
        taking = json.loads(note)
        if self._copy.exists() and await self._work(self._copy_digest) == taking["sha256"]:
            await self._put(taking["name"])
            return
        lost = Aside(f"statement/{taking['name']}", "copy_lost", "a part was taken, and the copy of the rest is gone")
        await self._spool.put(aside=[lost], notes={self._taking_note: None})

    def _copy_digest(self) -> str:
        with self._copy.open("rb") as copy:
            return hashlib.file_digest(copy, "sha256").hexdigest()

    def _move(self, name: str, state: _State, folder: str, text: str | None) -> bool:
        """Move the file to a name that is free there, its reason first, so that none lacks one.

        Return False when another file has taken its place since it was copied: that one is still to be taken.
        """
        source = self._folder / name
        if _state_of(source.stat()) != state:
            return False
        target_folder = self._folder / folder
        target_folder.mkdir(exist_ok=True)
        target = target_folder / name
        number = 1
        while target.exists():
            number += 1
            target = target_folder / f"{Path(name).stem}.{number}{Path(name).suffix}"
        if text is not None:
            target.with_name(f"{target.name}.reason.txt").write_text(text, encoding="utf-8")
        source.rename(target)
        return True


@dataclass(frozen=True, slots=True)
class _Part:
    counted: list[Transaction]
    aside: list[Aside]


def _parts(copy: Path, digest: str) -> Generator[_Part, None, None]:
    """Yield what a judged statement puts into the spool, in parts that hold up nobody for long; at least one part."""
    with copy.open("rb") as source:
        transactions = (each for each in read_transactions(source) if each.counts != "no")
        while True:
            some = list(islice(transactions, FACTS_IN_ONE_PUT_MAX))
            counted = [each for each in some if each.counts != "refused"]
            aside = [_aside(each, digest) for each in some if each.counts == "refused"]
            yield _Part(counted, aside)
            if len(some) < FACTS_IN_ONE_PUT_MAX:
                return


def _aside(transaction: Transaction, digest: str) -> Aside:
    """Return a refused transaction as the spool keeps it, named by the file's digest and its place."""
    key = f"statement/{digest}/{transaction.entry}/{transaction.detail or 0}"
    return Aside(key, transaction.reason or "", describe_fault(transaction))


def _place_of(transaction: Transaction) -> str:
    return f"entry {transaction.place} detail {transaction.detail} of its notification"


def _reason_text(judgement: Judgement, remarks: list[str]) -> str | None:
    """Return what stands beside a file that was taken, or None when there is nothing to say."""
    if judgement.verdict == "accepted" and not remarks:
        return None
    lines = [
        f"{judgement.verdict}: {judgement.reason or 'some transactions were not counted'}",
        *judgement.faults,
        *remarks[:FAULTS_SHOWN_MAX],
    ]
    return "\n".join(lines) + "\n"
