"""Asking the bank about a payment whose fate is unclear, at a real HTTP service that judges our signatures itself."""

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.hashes import SHA256
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from connectors.bank import notifications
from connectors.bank.profile import Partners, StatusAccess, StatusService
from connectors.bank.status import CODE_DENIED, CODE_UNTAKEN, StatusDesk
from tests.connectors.serving import served
from tests.connectors.snap_bench import SnapBench, code_of, opened, partner
from tests.connectors.snap_caller import SECRET, bank_key, payment

OWN = 4


class BankStatus:
    """A bank's status service: it says `flag` of every payment, once the call is seen to be ours."""

    def __init__(self, *, symmetric: bool, service: str = "26", path: str = "/v1.0/transfer-va/status") -> None:
        self.symmetric = symmetric
        self.service = service
        self.path = path
        self.flag: str | None = "00"
        self.broken = False
        self.asked: list[dict[str, Any]] = []
        self.tokens = 0

    def app(self) -> FastAPI:
        app = FastAPI()
        app.add_api_route(self.path, self.status, methods=["POST"])
        app.add_api_route("/v1.0/access-token/b2b", self.token, methods=["POST"])
        return app

    def verify(self, text: str, signature: str) -> None:
        bank_key(OWN).public_key().verify(base64.b64decode(signature), text.encode(), padding.PKCS1v15(), SHA256())

    async def token(self, request: Request) -> JSONResponse:
        headers = request.headers
        self.verify(f"{headers['x-client-key']}|{headers['x-timestamp']}", headers["x-signature"])
        self.tokens += 1
        return JSONResponse({"responseCode": "2007300", "accessToken": "the-token", "expiresIn": "900"})

    async def status(self, request: Request) -> JSONResponse:
        body, headers = await request.body(), request.headers
        hashed = hashlib.sha256(body).hexdigest()
        if self.symmetric:
            assert headers["authorization"] == "Bearer the-token"
            text = f"POST:{self.path}:the-token:{hashed}:{headers['x-timestamp']}"
            expected = hmac.digest(SECRET.encode(), text.encode(), "sha512")
            assert base64.b64decode(headers["x-signature"]) == expected
        else:
            self.verify(f"POST:{self.path}:{hashed}:{headers['x-timestamp']}", headers["x-signature"])
        assert (headers["x-partner-id"], headers["channel-id"]) == ("HUB", "95051")
        assert headers["x-external-id"].isdigit()
        self.asked.append(json.loads(body))
        if self.broken:
            return JSONResponse({"responseCode": f"500{self.service}00"}, 500)
        if self.flag is None:
            return JSONResponse({"responseCode": f"404{self.service}01"}, 404)
        return JSONResponse(
            {"responseCode": f"200{self.service}00", "virtualAccountData": {"paymentFlagStatus": self.flag}}
        )


@asynccontextmanager
async def asking(
    tmp_path: Path, bank: BankStatus, away: str | None = None
) -> AsyncIterator[tuple[SnapBench, StatusDesk]]:
    async with served(bank.app()) as address:
        service = StatusService.model_validate(
            {
                "url": away or address,
                "path": bank.path,
                "service_code": bank.service,
                "partner_id": "HUB",
                "private_key_pem_file": "unused.pem",
                "ask_after_s": 60,
            }
        )
        access = StatusAccess(service, bank_key(OWN), SECRET if bank.symmetric else None)
        plain = partner()
        known = type(plain)(plain.profile, plain.key, plain.secret, access)
        async with opened(tmp_path, known) as bench:
            yield bench, StatusDesk(bench.spool, bench.payments, Partners((known,)), bench.http, lambda: bench.now)


@pytest.fixture
async def bank() -> BankStatus:
    return BankStatus(symmetric=False)


async def make_unclear(bench: SnapBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answer a payment with a timeout; it is taken all the same."""
    with monkeypatch.context() as patched:
        patched.setattr(notifications, "ANSWER_S_MAX", 0.0)
        assert code_of(await bench.notify()) == "5042500"
    await bench.spool.put()


async def shown(bench: SnapBench) -> Any:
    return (await bench.http.get("/payments/A-1")).json()["bank_says"]


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize(("flag", "fate"), [("00", "paid"), ("01", "not_paid"), (None, "not_paid")])
async def test_the_bank_is_asked_about_a_payment_that_was_answered_with_a_timeout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, symmetric: bool, flag: str | None, fate: str
) -> None:
    bank = BankStatus(symmetric=symmetric)
    bank.flag = flag
    async with asking(tmp_path, bank) as (bench, desk):
        await make_unclear(bench, monkeypatch)
        [unclear] = (await bench.http.get("/snap/unclear")).json()
        assert (unclear["payment"], unclear["why"]) == ("BRI-TKA/A-1", "it was answered with a timeout")
        assert await desk.ask_due() == 0
        assert bank.asked == []
        bench.pass_time(60)
        assert await desk.ask_due() == 1
        assert [asked["paymentRequestId"] for asked in bank.asked] == ["A-1"]
        assert bank.asked[0]["virtualAccountNo"] == payment()["virtualAccountNo"]
        assert (await shown(bench))["fate"] == fate
        assert (await bench.http.get("/snap/unclear")).json() == []
        assert ([code for _, code in await bench.asides()] == [CODE_DENIED]) is (fate == "not_paid")
        assert await bench.stored() == 1
        bench.pass_time(60)
        assert await desk.ask_due() == 0


async def test_a_path_and_a_service_code_are_the_profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bank = BankStatus(symmetric=True, service="36", path="/api/v2/va-status")
    async with asking(tmp_path, bank) as (bench, desk):
        await make_unclear(bench, monkeypatch)
        bench.pass_time(60)
        assert await desk.ask_due() == 1
        assert bank.tokens == 1


async def test_a_bank_that_does_not_know_yet_is_asked_again_more_and_more_rarely(
    tmp_path: Path, bank: BankStatus, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with asking(tmp_path, bank) as (bench, desk):
        await make_unclear(bench, monkeypatch)
        bank.flag = "02"
        bench.pass_time(60)
        assert await desk.ask_due() == 0
        bank.broken = True
        assert await desk.ask_due() == 0
        bench.pass_time(60)
        assert await desk.ask_due() == 0
        bank.flag, bank.broken = "00", False
        assert await desk.ask_due() == 0
        assert len(bank.asked) == 2
        bench.pass_time(120)
        assert await desk.ask_due() == 1
        assert len(bank.asked) == 3


async def test_a_payment_that_the_bank_took_and_we_did_not_is_taken_now(tmp_path: Path, bank: BankStatus) -> None:
    async with asking(tmp_path, bank) as (bench, desk):
        await bench.notify()
        [row] = await bench.spool.waiting(1)
        other = payment(paymentRequestId="A-1", paidAmount={"value": "1.00", "currency": "USD"})
        assert code_of(await bench.notify(other, "1002")) == "4042518"
        [unclear] = (await bench.http.get("/snap/unclear")).json()
        assert unclear["why"] == "another content came under the same paymentRequestId"
        said = await bench.spool.notes("snap/unclear/")
        [text] = said.values()
        lost = json.loads(text)
        lost["notification"] = lost["notification"].replace("A-1", "A-9").replace("1002", "1009")
        await bench.spool.put(notes={"snap/unclear/BRI-TKA/A-9": json.dumps(lost)})
        bench.pass_time(60)
        assert await desk.ask_due() == 2
        assert await bench.stored() == 2
        assert b'"payment_request_id":"A-9"' in (await bench.spool.waiting(2))[1].value
        assert (await bench.spool.waiting(1))[0] == row


async def test_a_payment_that_cannot_be_taken_even_now_is_set_aside(tmp_path: Path, bank: BankStatus) -> None:
    async with asking(tmp_path, bank) as (bench, desk):
        await bench.notify(payment(paymentRequestId="A-2"), "1002")
        await bench.notify(
            payment(paymentRequestId="A-2", flagAdvise="Y", customerNo="1", virtualAccountNo="   123451")
        )
        [text] = (await bench.spool.notes("snap/unclear/")).values()
        await bench.spool.put(notes={"snap/unclear/BRI-TKA/A-9": text.replace("A-2", "A-9")})
        bench.pass_time(60)
        assert await desk.ask_due() == 2
        assert [code for _, code in await bench.asides()] == [CODE_UNTAKEN]
        assert await bench.stored() == 1


async def test_a_service_that_is_away_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bank = BankStatus(symmetric=True)
    async with asking(tmp_path, bank, "http://127.0.0.1:9") as (bench, desk):
        await make_unclear(bench, monkeypatch)
        bench.pass_time(60)
        assert await desk.ask_due() == 0
        assert (await bench.http.get("/snap/unclear")).json()[0]["asked"] == 1
