"""The statement folder on a real file system and a real spool: whole or not at all, once, and nothing deleted."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from connectors.bank import statements
from connectors.bank.statements import StatementFolder, check_folder, count_statements
from connectors.link import failpoint
from connectors.link.fault import SettingsFault, SpoolFull
from tests.connectors.statement_bench import CODE, GOOD, opened
from tests.connectors.statement_bench import StatementBench as Bench
from tests.connectors.statement_files import amount, detail, document, entry, notification, refs, statement


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with opened(tmp_path) as bench:
        yield bench


async def test_a_good_file_is_taken_and_moved(bench: Bench) -> None:
    bench.drop("day.xml", GOOD)
    assert await bench.folder.scan() == 1
    assert bench.files() == ["done/day.xml"]
    assert (bench.root / "done/day.xml").read_text() == GOOD
    [event] = await bench.events()
    data = event["data"]
    assert isinstance(data, dict)
    assert len(data.pop("content_sha256")) == 64
    assert (event["type"], event["subject"], event["time"]) == (
        "id.tka.bank.payment.booked.v1",
        CODE,
        "2026-03-31T17:00:00Z",
    )
    assert data == {
        "bank_code": "002",
        "billing_code": CODE,
        "amount": "1200.00",
        "currency": "USD",
        "booked_on": "2026-04-01",
        "account": "0012345678",
        "notification_id": "NTF-1",
        "entry": 1,
        "detail": 1,
        "ntpn": None,
        "bank_reference": "R1",
    }


async def test_a_reversal_and_a_credit_without_a_code(bench: Bench) -> None:
    returned = detail(refs(ref=[CODE]) + "<RtrInf><Rsn><Cd>AC04</Cd></Rsn></RtrInf>")
    bench.drop("day.xml", statement(entry(returned, sign="DBIT", reversal="true"), entry(bank="\u00e9")))
    await bench.folder.scan()
    [reversal, credit] = await bench.events()
    assert reversal["type"] == "id.tka.bank.payment.reversed.v1"
    assert reversal["data"]["reason_code"] == "AC04"  # type: ignore[index]
    assert str(credit["subject"]).startswith("X-")
    assert credit["data"]["billing_code"] is None  # type: ignore[index]
    assert credit["data"]["detail"] is None  # type: ignore[index]
    assert credit["data"]["bank_reference"] is None  # type: ignore[index]


async def test_a_booking_dated_ahead_is_a_fact_of_when_the_statement_was_made(bench: Bench) -> None:
    bench.drop("day.xml", statement(entry(booked="<Dt>2026-04-03</Dt>")))
    await bench.folder.scan()
    [event] = await bench.events()
    assert event["time"] == "2026-04-01T16:30:00Z"


@pytest.mark.parametrize("name", ["day.xml.part", "day.xml.filepart", ".day.xml", "day.tmp"])
async def test_what_is_still_being_delivered_is_left_alone(bench: Bench, name: str) -> None:
    (bench.root / name).write_text(GOOD)
    assert await bench.folder.scan() == 0
    assert bench.files() == [name]
    assert await bench.events() == []


async def test_folders_and_links_are_left_alone(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "outside.xml").write_text(GOOD)
    (bench.root / "link.xml").symlink_to(tmp_path / "outside.xml")
    (bench.root / "folder.xml").mkdir()
    assert await bench.folder.scan() == 0
    assert await bench.events() == []


async def test_a_bad_file_is_set_aside_beside_its_reason_and_the_next_goes_on(bench: Bench) -> None:
    bench.drop("1-dtd.xml", GOOD.replace("<Document", "<!DOCTYPE d><Document"))
    bench.drop("2-other.xml", GOOD.replace("camt.054", "camt.053"))
    bench.drop("3-good.xml", GOOD)
    assert await bench.folder.scan() == 3
    assert bench.files() == [
        "done/3-good.xml",
        "refused/1-dtd.xml",
        "refused/1-dtd.xml.reason.txt",
        "refused/2-other.xml",
        "refused/2-other.xml.reason.txt",
    ]
    assert (bench.root / "refused/1-dtd.xml.reason.txt").read_text().startswith("refused: document_type: the file has")
    assert await bench.asides() == [("statement/1-dtd.xml", "document_type"), ("statement/2-other.xml", "not_camt_054")]
    assert len(await bench.events()) == 1


async def test_entries_that_cannot_be_read_are_named_and_the_rest_counts(bench: Bench) -> None:
    pair = detail(money=amount("1")) * 2
    bench.drop("day.xml", statement(entry(), entry(money=amount("PT CONTOH")), entry(pair), entry(sign="DBIT")))
    await bench.folder.scan()
    assert bench.files() == ["done/day.xml", "done/day.xml.reason.txt"]
    reason = (bench.root / "done/day.xml.reason.txt").read_text()
    assert reason.splitlines() == [
        "entries_refused: 3 of 5 transactions",
        "entry 2: amount_malformed: an amount is not a plain decimal number",
        "entry 3 detail 1: sum_disagrees: the details do not add up to the entry's amount",
        "entry 3 detail 2: sum_disagrees: the details do not add up to the entry's amount",
    ]
    assert len(await bench.events()) == 1
    assert [code for _, code in await bench.asides()] == ["amount_malformed", "sum_disagrees", "sum_disagrees"]


async def test_a_file_that_ends_too_early_may_grow_and_is_refused_when_it_stays_still(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = bench.root / "day.xml"
    half.write_text(GOOD[:200])
    assert await bench.folder.scan() == 0
    half.write_text(GOOD[:300])
    monkeypatch.setattr(statements, "STILL_S", 0.0)
    assert await bench.folder.scan() == 0
    half.write_text(GOOD)
    assert await bench.folder.scan() == 1
    assert bench.files() == ["done/day.xml"]

    half.write_text(GOOD[:200])
    assert await bench.folder.scan() == 0
    assert await bench.folder.scan() == 1
    assert (bench.root / "refused/day.xml.reason.txt").read_text().startswith("refused: truncated")
    assert len(await bench.events()) == 1


async def test_the_complete_file_may_follow_a_truncated_one(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statements, "STILL_S", 0.0)
    bench.drop("day.xml", GOOD[:-20])
    assert [await bench.folder.scan(), await bench.folder.scan()] == [0, 1]
    assert await bench.events() == []
    bench.drop("day.xml", GOOD)
    await bench.folder.scan()
    assert len(await bench.events()) == 1


async def test_the_same_file_an_entry_again_and_another_version_count_once(bench: Bench) -> None:
    bench.drop("day.xml", GOOD)
    bench.drop("copy.xml", GOOD)
    bench.drop("more.xml", statement(entry(detail(refs(ref=[CODE], bank="R1"))), entry()))
    old = entry(detail(refs(ref=[CODE], bank="R1")), status="BOOK")
    bench.drop("old.xml", document(notification(old), version="02", message="MSG-9"))
    await bench.folder.scan()
    bench.drop("day.xml", GOOD)
    await bench.folder.scan()
    assert bench.files() == ["done/copy.xml", "done/day.2.xml", "done/day.xml", "done/more.xml", "done/old.xml"]
    assert len(await bench.events()) == 2


async def test_other_content_in_the_same_place_is_shown_as_a_conflict(bench: Bench) -> None:
    bench.drop("a.xml", GOOD)
    bench.drop("b.xml", statement(entry(detail(refs(ref=[CODE], bank="R1")), money=amount("9.00"))))
    await bench.folder.scan()
    assert len(await bench.events()) == 1
    assert "conflict" in (bench.root / "done/b.xml.reason.txt").read_text()
    assert [code for _, code in await bench.asides()] == ["conflict"]


async def test_pages_and_notifications_of_one_message_are_different_places(bench: Bench) -> None:
    other = entry(detail(refs(ref=["820260401000018"])))
    bench.drop("1.xml", document(notification(entry(), page="1")))
    bench.drop("2.xml", document(notification(other, page="2")))
    bench.drop("3.xml", document(notification(other, name="NTF-2"), notification(other, account="<IBAN>ID1</IBAN>")))
    await bench.folder.scan()
    events = await bench.events()
    assert [event["data"]["notification_id"] for event in events] == ["NTF-1", "NTF-1#2", "NTF-2", "NTF-1"]  # type: ignore[index]
    assert await bench.asides() == []


MANY = statement(*[entry(detail(refs(ref=[CODE], end=str(number)))) for number in range(7)])


@pytest.mark.parametrize("point", ["statement.before_put", "statement.before_move", "statement.after_move"])
async def test_a_kill_at_any_step_leaves_the_file_to_be_taken_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    monkeypatch.setattr(statements, "FACTS_IN_ONE_PUT_MAX", 3)
    async with opened(tmp_path) as bench:
        bench.drop("day.xml", MANY)
        await bench.kill_at(point)
    async with opened(tmp_path) as bench:
        await bench.folder.scan()
        assert bench.files() == ["done/day.xml"]
        assert len(await bench.events()) == 7
        assert await bench.asides() == []


async def test_a_file_taken_in_part_is_finished_even_if_the_bank_took_it_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statements, "FACTS_IN_ONE_PUT_MAX", 3)
    async with opened(tmp_path) as bench:
        bench.drop("day.xml", MANY)
        await bench.kill_at("statement.before_put", hit=2)
        assert len(await bench.events()) == 3
        (bench.root / "day.xml").unlink()
    async with opened(tmp_path) as bench:
        assert await bench.folder.scan() == 0
        assert len(await bench.events()) == 7
        assert await bench.asides() == []


async def test_a_lost_copy_of_a_file_taken_in_part_is_said(bench: Bench) -> None:
    await bench.spool.put(notes={"statement/taking": json.dumps({"name": "day.xml", "sha256": "0" * 64})})
    for _ in range(2):
        await bench.folder.scan()
        assert await bench.asides() == [("statement/day.xml", "copy_lost")]


async def test_a_file_put_in_its_place_meanwhile_is_taken_too(bench: Bench) -> None:
    bench.drop("day.xml", GOOD)
    other = statement(entry(), entry()).replace("NTF-1", "NTF-2")

    def replace(name: str) -> None:
        if name == "statement.before_move" and not (bench.root / "done").exists():
            failpoint.arm(lambda name: None)
            bench.drop("day.xml", other)

    failpoint.arm(replace)
    assert await bench.folder.scan() == 0
    assert await bench.folder.scan() == 1
    assert (bench.root / "done/day.xml").read_text() == other
    assert len(await bench.events()) == 3


async def test_a_full_spool_leaves_the_file_where_it_is(tmp_path: Path) -> None:
    async with opened(tmp_path, bytes_max=0) as bench:
        bench.drop("day.xml", GOOD)
        with pytest.raises(SpoolFull):
            await bench.folder.scan()
        assert bench.files() == ["day.xml"]
    async with opened(tmp_path) as bench:
        assert await bench.folder.scan() == 1


async def test_a_file_that_is_too_large_is_refused_unread(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statements, "STATEMENT_BYTES_MAX", 10)
    bench.drop("day.xml", GOOD)
    await bench.folder.scan()
    assert (bench.root / "refused/day.xml.reason.txt").read_text().startswith("refused: too_large")


async def test_a_file_that_cannot_be_moved_holds_up_nobody(bench: Bench) -> None:
    bench.drop("1.xml", GOOD.replace("<Document", "<!DOCTYPE d><Document"))
    bench.drop("2.xml", GOOD)
    (bench.root / "refused").write_text("in the way")
    assert await bench.folder.scan() == 1
    assert "1.xml" in bench.files()
    assert "done/2.xml" in bench.files()


def test_a_folder_that_is_none_is_said(tmp_path: Path) -> None:
    check_folder(tmp_path)
    with pytest.raises(SettingsFault, match="STATEMENT_DIR"):
        check_folder(tmp_path / "absent")


async def test_two_connectors_on_one_folder_are_one_too_many(bench: Bench, tmp_path: Path) -> None:
    files = count_statements(CollectorRegistry())
    with pytest.raises(SettingsFault, match="Another connector process takes statements"):
        async with StatementFolder.open(bench.root, bench.spool, "002", tmp_path, files):
            pass


async def test_an_entry_of_the_calendars_first_day_is_set_aside_and_what_follows_goes_on(bench: Bench) -> None:
    bench.drop("a.xml", re.sub(r"<BookgDt>.*?</BookgDt>", "<BookgDt><Dt>0001-01-01</Dt></BookgDt>", GOOD))
    bench.drop("b.xml", GOOD.replace("NTF-1", "NTF-2"))
    assert await bench.folder.scan() == 2
    assert len(await bench.events()) == 1
    assert len(await bench.asides()) == 1
