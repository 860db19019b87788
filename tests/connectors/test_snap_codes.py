"""SNAP's response codes, one row each: what the bank does, and the seven digits that it is answered.

The rows are the codes of the three services that this connector serves: 73 (token), 24 (inquiry), 25 (payment).
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from connectors.bank import notifications
from connectors.link import failpoint
from tests.connectors.snap_bench import BILL, SnapBench, code_of, opened, partner
from tests.connectors.snap_caller import INQUIRY_PATH, PATH, TOKEN_PATH, Caller, inquiry, payment

Act = Callable[[SnapBench], Awaitable[httpx.Response]]


def notify(body: Any = None, external_id: str = "1001", **headers: Any) -> Act:
    return lambda bench: bench.notify(body, external_id, **headers)


def inquire(body: Any = None, **headers: Any) -> Act:
    return lambda bench: bench.inquire(body, **headers)


def ask_token(body: bytes = b'{"grantType":"client_credentials"}', **headers: Any) -> Act:
    return lambda bench: bench.bank.ask_token(bench.http, bench.now, body, **headers)


def get(path: str) -> Act:
    return lambda bench: bench.http.get(path)


def told(act: Act, **changes: Any) -> Act:
    """First let the hub have told of the bill, changed."""

    async def do(bench: SnapBench) -> httpx.Response:
        await bench.tell(replace(BILL, **changes))
        return await act(bench)

    return do


def twice(first: Act, second: Act) -> Act:
    async def do(bench: SnapBench) -> httpx.Response:
        await first(bench)
        return await second(bench)

    return do


def later(seconds: float, act: Act) -> Act:
    async def do(bench: SnapBench) -> httpx.Response:
        bench.pass_time(seconds)
        return await act(bench)

    return do


def broken(act: Act) -> Act:
    async def do(bench: SnapBench) -> httpx.Response:
        def strike(name: str) -> None:
            if name == "notification.before_put":
                raise RuntimeError("canary")

        failpoint.arm(strike)
        try:
            return await act(bench)
        finally:
            failpoint.arm(lambda name: None)

    return do


def hurried(act: Act) -> Act:
    async def do(bench: SnapBench) -> httpx.Response:
        allowed, notifications.ANSWER_S_MAX = notifications.ANSWER_S_MAX, 0.0
        try:
            return await act(bench)
        finally:
            notifications.ANSWER_S_MAX = allowed

    return do


def dawdling(path: str) -> Act:
    async def do(bench: SnapBench) -> httpx.Response:
        allowed, notifications.BODY_S_MAX = notifications.BODY_S_MAX, 0.05
        url = bench.http.base_url
        assert url.port is not None
        try:
            reader, writer = await asyncio.open_connection(url.host, url.port)
            writer.write(f"POST {path} HTTP/1.1\r\nHost: hub.example\r\nContent-Length: 9\r\n\r\n{{".encode())
            raw = await reader.readuntil(b"}")
            writer.close()
        finally:
            notifications.BODY_S_MAX = allowed
        head, _, body = raw.partition(b"\r\n\r\n")
        status = int(head.split()[1])
        return httpx.Response(status, headers={"content-type": "application/json"}, content=body)

    return do


STRANGER = Caller("MANDIRI")
PAID_TWICE = twice(told(notify()), notify(payment(paymentRequestId="A-2"), "1002"))
ROWS: list[tuple[str, str, Act]] = [
    ("2007300", "notified", ask_token()),
    ("4007300", "notified", ask_token(b"{")),
    ("4007301", "notified", ask_token(b'{"grantType":"password"}')),
    ("4007302", "notified", ask_token(b"{}")),
    ("4017300", "notified", ask_token(X_SIGNATURE="AAAA")),
    ("4057301", "notified", get(TOKEN_PATH)),
    ("4087300", "notified", dawdling(TOKEN_PATH)),
    ("2002400", "notified", told(inquire())),
    ("4002400", "notified", inquire(b"{")),
    ("4002401", "notified", inquire(inquiry(customerNo="x"))),
    ("4002402", "notified", inquire(inquiry(inquiryRequestId=...))),
    ("4012400", "notified", inquire(X_SIGNATURE="AAAA")),
    ("4012401", "symmetric", inquire(Authorization="Bearer nonsense")),
    ("4042412", "notified", inquire()),
    ("4042414", "notified", told(inquire(), state="paid")),
    ("4042416", "notified", lambda bench: STRANGER.inquire(bench.http, inquiry(), bench.now)),
    ("4042419", "notified", told(inquire(), expires_at="2026-04-01T04:59:59Z")),
    ("4052401", "notified", get(INQUIRY_PATH)),
    ("4082400", "notified", dawdling(INQUIRY_PATH)),
    ("5002402", "notified", later(1000, inquire())),
    ("2002500", "notified", notify()),
    ("2002500", "authorised", told(notify())),
    ("4002500", "notified", notify(b"{")),
    ("4002501", "notified", notify(payment(customerNo="x"))),
    ("4002502", "notified", notify(payment(customerNo=...))),
    ("4012500", "notified", notify(X_SIGNATURE="AAAA")),
    ("4012501", "symmetric", notify(Authorization="Bearer nonsense")),
    ("4040002", "notified", get("/v1.0/transfer-va/unheard-of")),
    ("4042512", "authorised", notify()),
    ("4042513", "authorised", told(notify(), amount="2400.01")),
    ("4042514", "authorised", PAID_TWICE),
    ("4042516", "notified", lambda bench: STRANGER.notify(bench.http, payment(), bench.now)),
    ("4042518", "notified", twice(notify(), notify())),
    ("4042519", "authorised", told(notify(), expires_at="2026-04-01T04:59:59Z")),
    ("4052501", "notified", get(PATH)),
    ("4082500", "notified", dawdling(PATH)),
    ("4092500", "notified", twice(notify(), notify(payment(paymentRequestId="A-2")))),
    ("5002500", "notified", broken(notify())),
    ("5002502", "authorised", later(1000, notify())),
    ("5042500", "notified", hurried(notify())),
]
PROFILES: dict[str, dict[str, Any]] = {
    "notified": {},
    "authorised": {"mode": "authorised"},
    "symmetric": {"signature": "symmetric"},
}


@pytest.mark.parametrize(("code", "mode", "act"), ROWS, ids=[f"{code}-{mode}" for code, mode, _ in ROWS])
async def test_a_response_code(tmp_path: Path, code: str, mode: str, act: Act) -> None:
    async with opened(tmp_path, partner(**PROFILES[mode])) as bench:
        response = await act(bench)
        assert code_of(response) == code
        taken = code in ("2002500", "4042514", "4042518", "4092500", "5042500")
        assert await bench.stored() == (1 if taken else 0)


async def test_5002501_a_full_spool_leaves_the_payment_with_the_bank(tmp_path: Path) -> None:
    async with opened(tmp_path, bytes_max=0) as bench:
        assert code_of(await bench.notify()) == "5002501"
        assert await bench.stored() == 0


BILL_ROWS = [
    ("no bill", None),
    ("another amount", replace(BILL, amount="1.00")),
    ("another currency", replace(BILL, currency="IDR")),
    ("a paid bill", replace(BILL, state="paid")),
    ("an expired bill", replace(BILL, state="expired")),
    ("a cancelled bill", replace(BILL, state="cancelled")),
    ("a bill past its day", replace(BILL, expires_at="2026-03-01T00:00:00Z")),
]


@pytest.mark.parametrize("bill", [bill for _, bill in BILL_ROWS], ids=[name for name, _ in BILL_ROWS])
async def test_a_payment_that_was_taken_is_a_fact_whatever_the_bill_says(tmp_path: Path, bill: Any) -> None:
    async with opened(tmp_path) as bench:
        if bill is not None:
            await bench.tell(bill)
        assert code_of(await bench.notify()) == "2002500"
        bench.pass_time(1000)
        assert code_of(await bench.notify(payment(paymentRequestId="A-2"), "1002")) == "2002500"
        assert await bench.stored() == 2
