"""Payment notifications over real HTTP, on a real spool: each response code that a bank can cause, and the repeats.

The bank's money is taken here (`notified`); `test_snap_authorised.py` has the bank that holds it.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.bank import notifications
from connectors.bank.snap_answer import BODY_BYTES_MAX
from connectors.bank.translate import notification_key
from connectors.link import failpoint
from tests.connectors.snap_bench import SnapBench, code_of, opened
from tests.connectors.snap_caller import PATH, Caller, bank_key, payment

Bench = SnapBench


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with opened(tmp_path) as bench:
        yield bench


async def test_2002500_a_payment_is_taken_and_echoed(bench: Bench) -> None:
    response = await bench.notify()
    assert code_of(response) == "2002500"
    assert response.json()["virtualAccountData"] == {
        "partnerServiceId": "   12345",
        "customerNo": "900000000017",
        "virtualAccountNo": "   12345900000000017",
        "virtualAccountName": "PT CONTOH",
        "paymentRequestId": "A-1",
        "paidAmount": {"value": "2400.00", "currency": "USD"},
        "paymentFlagStatus": "00",
        "paymentFlagReason": {"english": "Success", "indonesia": "Sukses"},
    }
    fact = await bench.spool.fact_by_key(notification_key("BRI-TKA", "A-1"))
    assert fact is not None
    assert fact.type == "id.tka.bank.payment.received.v1"
    [row] = await bench.spool.waiting(10)
    event = json.loads(row.value)
    assert event["subject"] == "820260401000017"
    assert event["time"] == "2026-04-01T02:59:30Z"
    assert event["data"] == {
        "bank_code": "002",
        "billing_code": "820260401000017",
        "amount": "2400.00",
        "currency": "USD",
        "payment_request_id": "A-1",
        "paid_at": "2026-04-01T02:59:30Z",
        "ntpn": "0123456789ABCDEF",
        "bank_reference": "BANKREF-1",
    }
    assert b"CONTOH" not in row.value


async def test_the_answer_leaves_only_after_the_spool_has_the_payment(bench: Bench) -> None:
    seen: list[str] = []
    failpoint.arm(seen.append)
    try:
        assert code_of(await bench.notify()) == "2002500"
    finally:
        failpoint.arm(lambda name: None)
    order = [
        seen.index(name) for name in ("notification.before_put", "spool.after_put_commit", "notification.before_answer")
    ]
    assert order == sorted(order)
    assert (await bench.spool.status()).synchronous == "FULL"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'"text"',
        b"[1]",
        b'{"a":1,"a":2}',
        b'{"a":{"b":1,"\\u0062":2}}',
        b'{"a":NaN}',
        b'{"a":"\xff"}',
        b'\xef\xbb\xbf{"a":1}',
        b"[" * 5000,
    ],
    ids=["empty", "cut", "text", "list", "twice", "twice_inside", "nan", "utf8", "bom", "deep"],
)
async def test_4002500_no_strict_json_object(bench: Bench, body: bytes) -> None:
    assert code_of(await bench.notify(body)) == "4002500"
    assert await bench.stored() == 0


async def test_4002500_comes_after_the_signature_was_judged(bench: Bench) -> None:
    assert code_of(await bench.notify(b"{", X_SIGNATURE="AAAA")) == "4012500"


async def test_4002500_a_body_over_the_limit(bench: Bench) -> None:
    body = payment(freeTexts=["x" * BODY_BYTES_MAX])
    assert code_of(await bench.notify(body)) == "4002500"


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"partnerServiceId": "  12345 "}, "partnerServiceId"),
        ({"partnerServiceId": "123456789"}, "partnerServiceId"),
        ({"customerNo": "12a"}, "customerNo"),
        ({"customerNo": 900000000017}, "customerNo"),
        ({"customerNo": "1" * 21}, "customerNo"),
        ({"virtualAccountNo": "12345900000000017"}, "virtualAccountNo"),
        ({"virtualAccountNo": "   12345900000000018"}, "virtualAccountNo"),
        ({"paymentRequestId": "x" * 129}, "paymentRequestId"),
        ({"paymentRequestId": "a\nb"}, "paymentRequestId"),
        ({"paidAmount": "2400.00"}, "paidAmount"),
        ({"paidAmount": {"value": 2400.00, "currency": "USD"}}, "paidAmount.value"),
        ({"paidAmount": {"value": "2400", "currency": "USD"}}, "paidAmount.value"),
        ({"paidAmount": {"value": "2400.000", "currency": "USD"}}, "paidAmount.value"),
        ({"paidAmount": {"value": "02400.00", "currency": "USD"}}, "paidAmount.value"),
        ({"paidAmount": {"value": "-1.00", "currency": "USD"}}, "paidAmount.value"),
        ({"paidAmount": {"value": "0.00", "currency": "USD"}}, "paidAmount.value"),
        ({"paidAmount": {"value": "12345678901234567.00", "currency": "USD"}}, "paidAmount.value"),
        ({"paidAmount": {"value": "2400.00", "currency": "usd"}}, "paidAmount.currency"),
        ({"paidAmount": {"value": "2400.00", "currency": "ZZZ"}}, "paidAmount.currency"),
        ({"trxDateTime": "1 April"}, "trxDateTime"),
        ({"trxDateTime": "2026-02-30T00:00:00Z"}, "trxDateTime"),
        ({"flagAdvise": "yes"}, "flagAdvise"),
        ({"channelCode": [1]}, "channelCode"),
        ({"referenceNo": "x" * 129}, "referenceNo"),
        ({"billDetails": [{}] * 25}, "billDetails"),
        ({"additionalInfo": []}, "additionalInfo"),
        ({"additionalInfo": {"billingCode": "1234"}}, "additionalInfo.billingCode"),
        ({"additionalInfo": {"billingCode": "820260401000017", "ntpn": "short"}}, "additionalInfo.ntpn"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_4002501_a_field_is_malformed(bench: Bench, change: dict[str, Any], name: str) -> None:
    response = await bench.notify(payment(**change))
    assert code_of(response) == "4002501"
    assert response.json()["responseMessage"] == f"Invalid Field Format {{{name}}}"
    assert await bench.stored() == 0


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("X_TIMESTAMP", "yesterday"),
        ("X_EXTERNAL_ID", "abc"),
        ("X_EXTERNAL_ID", "1" * 37),
        ("CHANNEL_ID", "123456"),
        ("Content_Type", "text/plain"),
    ],
)
async def test_4002501_a_header_is_malformed(bench: Bench, header: str, value: str) -> None:
    changed: dict[str, Any] = {header: value}
    response = await bench.notify(**changed)
    assert code_of(response) == "4002501"
    assert header.replace("_", "-") in response.json()["responseMessage"]


async def test_4002501_a_header_that_comes_twice(bench: Bench) -> None:
    raw = json.dumps(payment(), separators=(",", ":")).encode()
    headers = [*bench.bank.headers(raw, bench.now).items(), ("X-EXTERNAL-ID", "1002")]
    assert code_of(await bench.http.post(PATH, content=raw, headers=headers)) == "4002501"


@pytest.mark.parametrize("empty", [..., None, ""], ids=["absent", "null", "empty"])
@pytest.mark.parametrize(
    "name",
    ["partnerServiceId", "customerNo", "virtualAccountNo", "paymentRequestId", "paidAmount", "additionalInfo"],
)
async def test_4002502_a_mandatory_field_is_missing(bench: Bench, name: str, empty: Any) -> None:
    response = await bench.notify(payment(**{name: empty}))
    assert code_of(response) == "4002502"
    assert response.json()["responseMessage"] == f"Invalid Mandatory Field {{{name}}}"


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"paidAmount": {"currency": "USD"}}, "paidAmount.value"),
        ({"paidAmount": {"value": "2400.00"}}, "paidAmount.currency"),
        ({"additionalInfo": {"ntpn": "0123456789ABCDEF"}}, "additionalInfo.billingCode"),
    ],
)
async def test_4002502_a_mandatory_part_is_missing(bench: Bench, change: dict[str, Any], name: str) -> None:
    response = await bench.notify(payment(**change))
    assert response.json()["responseMessage"] == f"Invalid Mandatory Field {{{name}}}"


@pytest.mark.parametrize("header", ["X_TIMESTAMP", "X_PARTNER_ID", "X_EXTERNAL_ID", "CHANNEL_ID", "Content_Type"])
async def test_4002502_a_mandatory_header_is_missing(bench: Bench, header: str) -> None:
    changed: dict[str, Any] = {header: None}
    response = await bench.notify(**changed)
    assert code_of(response) == "4002502"
    assert header.replace("_", "-") in response.json()["responseMessage"]


async def test_optional_fields_may_be_absent_null_or_empty(bench: Bench) -> None:
    for number, empty in enumerate((..., None, "")):
        body = payment(
            paymentRequestId=f"A-{number}",
            trxDateTime=empty,
            referenceNo=empty,
            channelCode=empty,
            virtualAccountName=empty,
            additionalInfo={"billingCode": "820260401000017", "ntpn": ""},
        )
        assert code_of(await bench.notify(body, str(number))) == "2002500"
    assert code_of(await bench.notify(payment(paymentRequestId="A-9", channelCode=6011), "9")) == "2002500"


async def test_4012500_the_signature_is_not_the_banks(bench: Bench) -> None:
    assert code_of(await bench.notify(X_SIGNATURE=None)) == "4012500"
    assert code_of(await bench.notify(X_SIGNATURE="AAAA")) == "4012500"
    stranger = Caller(key=bank_key(2))
    assert code_of(await stranger.notify(bench.http, payment(), bench.now)) == "4012500"
    changed = json.dumps(payment(), separators=(",", ":")).encode()
    headers = bench.bank.headers(changed, bench.now)
    response = await bench.http.post(PATH, content=changed.replace(b"2400.00", b"2401.00"), headers=headers)
    assert code_of(response) == "4012500"
    assert await bench.stored() == 0


async def test_4012500_the_timestamp_is_beyond_the_tolerance(bench: Bench) -> None:
    for seconds in (-901, 901):
        assert code_of(await bench.notify(at=bench.now + timedelta(seconds=seconds))) == "4012500"
    for number, seconds in enumerate((-900, 900)):
        body = payment(paymentRequestId=f"A-{number}")
        assert code_of(await bench.notify(body, str(number), at=bench.now + timedelta(seconds=seconds))) == "2002500"


async def test_4040002_another_path_below_the_version(bench: Bench) -> None:
    response = await bench.http.post("/v1.0/transfer-va/unheard-of", json={})
    assert code_of(response) == "4040002"


async def test_4042516_the_partner_is_not_known(bench: Bench) -> None:
    assert code_of(await Caller("MANDIRI").notify(bench.http, payment(), bench.now)) == "4042516"


async def test_4052501_another_method(bench: Bench) -> None:
    assert code_of(await bench.http.get(PATH)) == "4052501"


async def test_4042518_the_same_call_again_echoes_the_first_result(bench: Bench) -> None:
    first = await bench.notify()
    again = await bench.notify(at=bench.now + timedelta(seconds=30))
    assert code_of(again) == "4042518"
    echoed = dict(first.json()["virtualAccountData"])
    assert again.json()["virtualAccountData"] == {
        key: value for key, value in echoed.items() if key != "virtualAccountName"
    }
    assert await bench.stored() == 1


@pytest.mark.parametrize("external_id", ["1001", "1002"])
@pytest.mark.parametrize("advise", [None, "Y"])
async def test_4042518_the_same_payment_with_other_content(bench: Bench, external_id: str, advise: str | None) -> None:
    await bench.notify()
    other = payment(paidAmount={"value": "2500.00", "currency": "USD"}, flagAdvise=advise)
    response = await bench.notify(other, external_id)
    assert code_of(response) == "4042518"
    assert response.json()["virtualAccountData"]["paidAmount"]["value"] == "2400.00"
    assert await bench.stored() == 1


async def test_4092500_an_external_id_used_for_another_payment_that_day(bench: Bench) -> None:
    await bench.notify()
    other = payment(paymentRequestId="A-2")
    assert code_of(await bench.notify(other)) == "4092500"
    assert code_of(await bench.notify({**other, "flagAdvise": "Y"})) == "4092500"
    assert await bench.stored() == 1
    assert code_of(await bench.notify(other, "1002")) == "2002500"


async def test_2002500_again_for_an_advice_and_for_a_new_external_id(bench: Bench) -> None:
    first = await bench.notify()
    for external_id, body in (
        ("1001", payment(flagAdvise="Y")),
        ("1002", payment()),
        ("1003", payment(flagAdvise="Y")),
    ):
        again = await bench.notify(body, external_id)
        assert code_of(again) == "2002500"
        assert again.json() == first.json()
    assert code_of(await bench.notify(payment(paymentRequestId="A-2"), "1002")) == "4092500"
    assert await bench.stored() == 1


async def test_an_advice_of_a_payment_never_heard_of_is_the_payment(bench: Bench) -> None:
    assert code_of(await bench.notify(payment(flagAdvise="Y"))) == "2002500"
    assert await bench.stored() == 1


async def test_an_external_id_is_unique_within_a_jakarta_day(bench: Bench) -> None:
    bench.now = datetime(2026, 4, 1, 16, 59, 30, tzinfo=UTC)
    assert code_of(await bench.notify()) == "2002500"
    other = payment(paymentRequestId="A-2")
    assert code_of(await bench.notify(other, at=datetime(2026, 4, 1, 16, 59, 59, tzinfo=UTC))) == "4092500"
    assert code_of(await bench.notify(other, at=datetime(2026, 4, 1, 17, 0, 0, tzinfo=UTC))) == "2002500"


async def test_a_call_that_was_refused_uses_up_nothing(bench: Bench) -> None:
    assert code_of(await bench.notify(payment(customerNo=...))) == "4002502"
    assert code_of(await bench.notify()) == "2002500"


async def test_repeats_are_known_after_a_restart(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        assert code_of(await bench.notify()) == "2002500"
    async with opened(tmp_path) as bench:
        assert code_of(await bench.notify()) == "4042518"
        assert code_of(await bench.notify(payment(flagAdvise="Y"))) == "2002500"
        assert code_of(await bench.notify(payment(paymentRequestId="A-2"))) == "4092500"
        assert await bench.stored() == 1


async def test_many_at_once_are_stored_once(bench: Bench) -> None:
    bodies = [payment(paymentRequestId=f"A-{number % 5}") for number in range(40)]
    answers = await asyncio.gather(*(bench.notify(body, str(1000 + n)) for n, body in enumerate(bodies)))
    assert {code_of(answer) for answer in answers} == {"2002500"}
    assert await bench.stored() == 5
    same = await asyncio.gather(*(bench.notify(payment(paymentRequestId="B"), "7") for _ in range(10)))
    assert {code_of(answer) for answer in same} <= {"2002500", "4042518"}
    assert await bench.stored() == 6


async def test_5002501_a_full_spool_leaves_the_payment_with_the_bank(tmp_path: Path) -> None:
    async with opened(tmp_path, bytes_max=0) as bench:
        assert code_of(await bench.notify()) == "5002501"
    async with opened(tmp_path) as bench:
        assert code_of(await bench.notify()) == "2002500"


async def test_5002500_whatever_else_breaks(bench: Bench) -> None:
    def strike(name: str) -> None:
        if name == "notification.before_put":
            raise RuntimeError("canary PT CONTOH")

    failpoint.arm(strike)
    try:
        response = await bench.notify()
    finally:
        failpoint.arm(lambda name: None)
    assert code_of(response) == "5002500"
    assert "canary" not in response.text


async def test_5042500_a_disk_that_takes_too_long(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifications, "ANSWER_S_MAX", 0.0)
    assert code_of(await bench.notify()) == "5042500"


async def test_4082500_a_client_that_is_too_slow(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifications, "BODY_S_MAX", 0.05)
    assert bench.http.base_url.port is not None
    reader, writer = await asyncio.open_connection(bench.http.base_url.host, bench.http.base_url.port)
    writer.write(f"POST {PATH} HTTP/1.1\r\nHost: bank.example\r\nContent-Length: 9\r\n\r\n{{".encode())
    status = await reader.readline()
    answer = await reader.readuntil(b"}")
    writer.close()
    assert status.split()[1] == b"408"
    assert b'"responseCode":"4082500"' in answer


async def test_a_query_string_is_signed_as_sent(bench: Bench) -> None:
    path = f"{PATH}?trace=a%20b&trace=c"
    assert code_of(await bench.notify(path=path)) == "2002500"
    raw = json.dumps(payment(), separators=(",", ":")).encode()
    response = await bench.http.post(path, content=raw, headers=bench.bank.headers(raw, bench.now))
    assert code_of(response) == "4012500"


async def test_white_space_in_the_body_is_not_signed(bench: Bench) -> None:
    lean = json.dumps(payment(), separators=(",", ":")).encode()
    pretty = json.dumps(payment(), indent=2).encode()
    response = await bench.http.post(PATH, content=pretty, headers=bench.bank.headers(lean, bench.now))
    assert code_of(response) == "2002500"


async def test_a_payment_dated_ahead_of_our_clock_is_a_fact_of_now(bench: Bench) -> None:
    body = payment(trxDateTime="2026-04-01T12:10:00+07:00")
    assert code_of(await bench.notify(body)) == "2002500"
    [row] = await bench.spool.waiting(1)
    event = json.loads(row.value)
    assert (event["time"], event["data"]["paid_at"]) == ("2026-04-01T05:00:00Z", "2026-04-01T05:10:00Z")


async def test_old_repeats_are_forgotten_but_never_stored_again(bench: Bench) -> None:
    await bench.notify()
    bench.now += timedelta(days=500)
    await bench.spool.forget_notes("snap/", bench.now)
    body = payment(paidAmount={"value": "1.00", "currency": "USD"})
    assert code_of(await bench.notify(body)) == "4042518"
    assert await bench.stored() == 1
