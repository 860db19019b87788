"""Money that statements report again: counted once, whichever way it comes again; and equal payments stay so many."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from connectors.link import failpoint
from tests.connectors.statement_bench import CODE, StatementBench, opened
from tests.connectors.statement_files import amount, detail, document, entry, notification, refs

A = entry(detail(refs(ref=[CODE], bank="R1")))
B = entry(detail(refs(ref=[CODE], bank="R2")), money=amount("7.00"))
C = entry(detail(refs(ref=[CODE], bank="R3")), money=amount("9.00"))


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[StatementBench]:
    async with opened(tmp_path) as bench:
        yield bench


async def take(bench: StatementBench, *texts: str) -> list[str]:
    """Take files one after the other; return the amounts that were counted, in order."""
    for text in texts:
        bench.drop("day.xml", text)
        assert await bench.folder.scan() == 1
    return [event["data"]["amount"] for event in await bench.events()]  # type: ignore[index]


def reasons(bench: StatementBench) -> str:
    return "".join(file.read_text() for file in sorted((bench.root / "done").glob("*.reason.txt")))


SHIFTS = {
    "the same": ([A, B], [A, B], 2, ""),
    "one more": ([A], [A, B], 2, ""),
    "one less": ([A, B], [B], 2, "conflict"),
    "one before": ([A], [B, A], 1, "conflict"),
    "one between": ([A, B], [A, C, B], 2, "conflict"),
    "another order": ([A, B], [B, A], 2, "conflict"),
    "equal ones": ([A], [A, A], 2, ""),
    "two equal ones": ([A, A], [A, A], 2, ""),
    "equal ones, one before": ([A, A], [B, A, A], 2, "conflict"),
    "equal ones and one more": ([A, A], [B, A, A, A], 3, "conflict"),
    "something else": ([A], [B], 1, "conflict"),
}


@pytest.mark.parametrize(("first", "second", "counted", "said"), SHIFTS.values(), ids=SHIFTS.keys())
async def test_an_entry_again_in_another_file_of_the_notification(
    bench: StatementBench, first: list[str], second: list[str], counted: int, said: str
) -> None:
    for entries in (first, second, second):
        await take(bench, document(notification(*entries)))
    assert len(await bench.events()) == counted
    assert said in reasons(bench)
    assert bool(reasons(bench)) is bool(said)


COPIES = {
    "no copy": ([A, B], [A], None, 3),
    "a duplicate": ([A, B], [A], "DUPL", 2),
    "a copy": ([A, B], [A, B], "COPY", 2),
    "a copy of a duplicate": ([A, B], [B, A], "CODU", 2),
    "a copy with one more": ([A], [A, B], "DUPL", 2),
    "equal ones": ([A, A], [A, A], "DUPL", 2),
    "more equal ones than before": ([A], [A, A], "DUPL", 2),
}


@pytest.mark.parametrize("copy_first", [False, True], ids=["original_first", "copy_first"])
@pytest.mark.parametrize(("original", "copied", "mark", "counted"), COPIES.values(), ids=COPIES.keys())
async def test_a_copy_under_an_identifier_of_its_own(
    bench: StatementBench, original: list[str], copied: list[str], mark: str | None, counted: int, copy_first: bool
) -> None:
    files = [
        document(notification(*original, name="N-1")),
        document(notification(*copied, name="N-2", copy=mark), message="MSG-2"),
    ]
    for text in reversed(files) if copy_first else files:
        await take(bench, text)
        await take(bench, text)
    assert len(await bench.events()) == counted


@pytest.mark.parametrize("order", list(itertools.permutations((None, "DUPL", "COPY"))))
async def test_copies_with_the_originals_identifier_in_any_order(
    bench: StatementBench, order: tuple[str | None, ...]
) -> None:
    assert await take(bench, *(document(notification(A, B, copy=mark)) for mark in order)) == ["1200.00", "7.00"]
    assert reasons(bench) == ""


async def test_a_copy_has_one_original_and_a_later_equal_payment_counts(bench: StatementBench) -> None:
    copy = document(notification(A, name="N-2", copy="DUPL"))
    original, later = (document(notification(A, name=name)) for name in ("N-1", "N-3"))
    assert len(await take(bench, copy, original, original)) == 1
    assert len(await take(bench, later, later, original, copy)) == 2


async def test_equal_payments_of_other_notifications_and_accounts_are_other_money(bench: StatementBench) -> None:
    one = document(notification(A), notification(A, name="N-2"))
    other = document(notification(A, account="<IBAN>ID1</IBAN>", copy="DUPL"))
    assert len(await take(bench, one, other)) == 3


async def test_pages_are_counted_once_in_any_order(bench: StatementBench) -> None:
    pages = [document(notification(each, page=str(number))) for number, each in enumerate((A, B, C), start=1)]
    old = document(notification(B), version="02", header="<MsgPgntn><PgNb>2</PgNb></MsgPgntn>")
    assert len(await take(bench, pages[2], pages[0], pages[1], pages[0], old)) == 3
    assert reasons(bench) == ""


async def test_repeats_are_known_after_a_restart(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        await take(bench, document(notification(A, B)))
    async with opened(tmp_path) as bench:
        await take(bench, document(notification(C, A, B)), document(notification(A, name="N-9", copy="DUPL")))
        assert len(await bench.events()) == 2


async def stop_after_first_put(bench: StatementBench) -> None:
    """Take what stands in the folder, and end as soon as the first transaction is on disk."""
    loop, taking = asyncio.get_running_loop(), asyncio.ensure_future(bench.folder.scan())

    def strike(name: str) -> None:
        if name == "spool.after_put_commit":
            loop.call_soon_threadsafe(taking.cancel)

    failpoint.arm(strike)
    try:
        with contextlib.suppress(asyncio.CancelledError):
            await taking
    finally:
        failpoint.arm(lambda name: None)
    assert taking.cancelled()


@pytest.mark.parametrize("copy_first", [False, True], ids=["original_first", "copy_first"])
async def test_a_copy_of_what_was_being_taken_at_a_crash_is_known(tmp_path: Path, copy_first: bool) -> None:
    earlier = [document(notification(A, name="N-2", copy="DUPL")), document(notification(A))]
    files = [document(notification(B, name="N-3")), document(notification(B, name="N-4", copy="DUPL"))]
    first, second = reversed(files) if copy_first else files
    async with opened(tmp_path) as bench:
        # An account of which a copy was counted is looked into from then on.
        await take(bench, *earlier)
        bench.drop("day.xml", first)
        await stop_after_first_put(bench)
        assert len(await bench.events()) == 2
    async with opened(tmp_path) as bench:
        assert await bench.folder.scan() == 1
        assert await take(bench, second) == ["1200.00", "7.00"]
