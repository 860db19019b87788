"""A bank that holds the money until it is answered: refused by the bill, and repeats of what was refused."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from connectors.bank.statements import StatementFolder, count_statements
from tests.connectors.snap_bench import BILL, CODE, SnapBench, code_of, opened, partner
from tests.connectors.snap_caller import payment
from tests.connectors.statement_files import amount, detail, entry, refs, statement


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[SnapBench]:
    async with opened(tmp_path, partner(mode="authorised")) as bench:
        yield bench


async def test_a_refusal_publishes_nothing_and_is_kept_and_shown(bench: SnapBench) -> None:
    await bench.tell(replace(BILL, amount="100.00"))
    response = await bench.notify()
    assert code_of(response) == "4042513"
    data = response.json()["virtualAccountData"]
    assert (data["paymentFlagStatus"], data["paymentRequestId"]) == ("01", "A-1")
    assert data["paymentFlagReason"] == {
        "english": "Amount is not the bill's",
        "indonesia": "Jumlah tidak sesuai dengan tagihan",
    }
    assert await bench.stored() == 0
    [shown] = (await bench.http.get("/snap/refusals")).json()
    assert shown == {
        "payment": "BRI-TKA/A-1",
        "at": "2026-04-01T05:00:00Z",
        "code": "4042513",
        "billing_code": CODE,
        "amount": "2400.00",
        "currency": "USD",
    }
    asked = (await bench.http.get("/payments/A-1")).json()
    assert (asked["message"], asked["refusal"]["code"]) == (None, "4042513")
    assert [code for _, code in await bench.asides()] == ["4042513"]
    page = await bench.book.show()
    assert page.tables[0].rows == (("2026-04-01T05:00:00Z", "BRI-TKA/A-1", "4042513", CODE, "2400.00", "USD"),)


async def test_a_statement_that_books_refused_money_counts(bench: SnapBench, tmp_path: Path) -> None:
    assert code_of(await bench.notify()) == "4042512"
    folder = tmp_path / "statements"
    folder.mkdir()
    (folder / "day.xml").write_text(statement(entry(detail(refs(ref=[CODE])), money=amount("2400.00"))))
    files = count_statements(CollectorRegistry())
    async with StatementFolder.open(folder, bench.spool, "002", tmp_path, files) as statements:
        await statements.scan()
    assert await bench.stored() == 1
    assert b"payment.booked" in (await bench.spool.waiting(1))[0].value


async def test_a_payment_settles_the_bill_before_the_hub_says_so(bench: SnapBench) -> None:
    await bench.tell(BILL)
    assert code_of(await bench.notify()) == "2002500"
    assert code_of(await bench.notify(payment(paymentRequestId="A-2"), "1002")) == "4042514"
    assert code_of(await bench.inquire()) == "4042414"
    await bench.tell(replace(BILL, state="paid"))
    assert code_of(await bench.notify(payment(paymentRequestId="A-3"), "1003")) == "4042514"
    assert await bench.stored() == 1


async def test_of_many_payments_of_one_bill_at_once_one_is_taken(bench: SnapBench) -> None:
    await bench.tell(BILL)
    bodies = [payment(paymentRequestId=f"A-{number}") for number in range(12)]
    answers = await asyncio.gather(*(bench.notify(body, str(2000 + n)) for n, body in enumerate(bodies)))
    codes = sorted(code_of(answer) for answer in answers)
    assert codes == ["2002500"] + ["4042514"] * 11
    assert await bench.stored() == 1


REPEATS: list[tuple[str, dict[str, Any], str, str, str]] = [
    ("the same call", {}, "1001", "4042518", "4042518"),
    ("an advice", {"flagAdvise": "Y"}, "1001", "2002500", "4042512"),
    ("an advice under a new number", {"flagAdvise": "Y"}, "1002", "2002500", "4042512"),
    ("a retry under a new number", {}, "1002", "2002500", "4042512"),
    ("another payment under the number", {"paymentRequestId": "A-2"}, "1001", "4092500", "4092500"),
    ("another payment", {"paymentRequestId": "A-2"}, "1002", "4042514", "4042512"),
    ("another amount", {"paidAmount": {"value": "1.00", "currency": "USD"}}, "1001", "4042518", "4042518"),
]


@pytest.mark.parametrize("restarted", [False, True], ids=["same_process", "restarted"])
@pytest.mark.parametrize(("change", "external_id", "taken", "refused"), [row[1:] for row in REPEATS],
                         ids=[row[0] for row in REPEATS])  # fmt: skip
@pytest.mark.parametrize("is_taken", [True, False], ids=["taken", "refused"])
async def test_a_repeat(
    tmp_path: Path, change: dict[str, Any], external_id: str, taken: str, refused: str, is_taken: bool, restarted: bool
) -> None:
    authorised = partner(mode="authorised")
    async with opened(tmp_path, authorised) as bench:
        if is_taken:
            await bench.tell(BILL)
        first = await bench.notify()
        assert code_of(first) == ("2002500" if is_taken else "4042512")
        if not restarted:
            again = await bench.notify(payment(**change), external_id)
    if restarted:
        async with opened(tmp_path, authorised) as bench:
            again = await bench.notify(payment(**change), external_id)
    assert code_of(again) == (taken if is_taken else refused)
    if code_of(again) == "4042518":
        echoed, original = again.json()["virtualAccountData"], first.json()["virtualAccountData"]
        assert {**echoed, "virtualAccountName": "PT CONTOH"} == original


async def test_a_refused_payment_may_be_tried_again_once_the_bill_is_there(bench: SnapBench) -> None:
    assert code_of(await bench.notify()) == "4042512"
    await bench.tell(BILL)
    assert code_of(await bench.notify(external_id="1002")) == "2002500"
    assert code_of(await bench.notify(payment(flagAdvise="Y"), "1003")) == "2002500"
    assert await bench.stored() == 1


async def test_a_bill_that_opened_again_may_be_paid_again(bench: SnapBench) -> None:
    await bench.tell(BILL)
    assert code_of(await bench.notify()) == "2002500"
    await bench.spool.put(notes={f"settled/{CODE}": None})
    assert code_of(await bench.notify(payment(paymentRequestId="A-2"), "1002")) == "2002500"


async def test_without_word_from_the_hub_only_an_unknown_bill_must_wait(bench: SnapBench) -> None:
    bench.pass_time(1000)
    assert code_of(await bench.notify()) == "5002502"
    await bench.tell(BILL)
    assert code_of(await bench.notify()) == "2002500"
