"""Access tokens and symmetric signatures over real HTTP; tokens that outlive the process that gave them."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.bank.snap_token import EXPIRES_S, Tokens
from contracts.wire.key import PrivateKey
from tests.connectors.snap_bench import NOON, TOKEN_KEY, SnapBench, code_of, opened, partner
from tests.connectors.snap_caller import SECRET, Caller, bank_key, payment

SYMMETRIC: dict[str, Any] = {"signature": "symmetric"}


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[SnapBench]:
    other = partner(2, partner_id="OTHER", client_key="OTHER-CLIENT", bank_code="008")
    async with opened(tmp_path, partner(**SYMMETRIC), other) as bench:
        yield bench


async def test_a_token_signs_calls_until_it_expires(bench: SnapBench) -> None:
    response = await bench.bank.ask_token(bench.http, bench.now)
    assert code_of(response) == "2007300"
    given = response.json()
    assert given == {
        "responseCode": "2007300",
        "responseMessage": "Successful",
        "accessToken": bench.bank.token,
        "tokenType": "Bearer",
        "expiresIn": "900",
    }
    assert code_of(await bench.notify()) == "2002500"
    bench.pass_time(EXPIRES_S - 1)
    assert code_of(await bench.notify(payment(paymentRequestId="A-2"), "1002")) == "2002500"
    bench.pass_time(1)
    assert code_of(await bench.notify(payment(paymentRequestId="A-3"), "1003")) == "4012501"


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"X_CLIENT_KEY": None}, "4007302"),
        ({"X_CLIENT_KEY": "NOBODY"}, "4017300"),
        ({"X_CLIENT_KEY": "OTHER-CLIENT"}, "4017300"),
        ({"X_TIMESTAMP": None}, "4007302"),
        ({"X_TIMESTAMP": "now"}, "4007301"),
        ({"X_TIMESTAMP": "2026-04-01T05:00:01+00:00"}, "4017300"),
        ({"X_SIGNATURE": None}, "4017300"),
        ({"X_SIGNATURE": "!"}, "4017300"),
        ({"Content_Type": "text/plain"}, "4007301"),
    ],
)
async def test_a_request_that_is_not_the_clients_gets_no_token(
    bench: SnapBench, headers: dict[str, Any], code: str
) -> None:
    response = await bench.bank.ask_token(bench.http, bench.now, **headers)
    assert code_of(response) == code
    assert "accessToken" not in response.json()


@pytest.mark.parametrize("body", [b"", b"[]", b'{"grantType":"client_credentials","grantType":"x"}'])
async def test_4007300_a_body_that_is_no_strict_json_object(bench: SnapBench, body: bytes) -> None:
    assert code_of(await bench.bank.ask_token(bench.http, bench.now, body)) == "4007300"


@pytest.mark.parametrize("seconds", [-901, 901])
async def test_4017300_an_old_request(bench: SnapBench, seconds: int) -> None:
    at = bench.now + timedelta(seconds=seconds)
    assert code_of(await bench.bank.ask_token(bench.http, at)) == "4017300"


async def test_a_token_is_good_after_a_restart_and_at_another_process(tmp_path: Path) -> None:
    symmetric = partner(**SYMMETRIC)
    async with opened(tmp_path / "one", symmetric) as bench:
        await bench.bank.ask_token(bench.http, bench.now)
        token = bench.bank.token
    for folder in ("one", "two"):
        async with opened(tmp_path / folder, symmetric) as bench:
            bench.bank.token = token
            assert code_of(await bench.notify()) == "2002500"


async def test_a_token_is_good_for_its_own_client_only(bench: SnapBench) -> None:
    other = Caller("OTHER", bank_key(2))
    foreign = Tokens(TOKEN_KEY).issue("OTHER", bench.now, "n")
    bench.bank.token = foreign
    assert code_of(await bench.notify()) == "4012501"
    # A profile says one kind of signature, and only that is tried: a bank's own key does not stand in for its secret.
    await bench.bank.ask_token(bench.http, bench.now)
    asymmetric = Caller("BRI-TKA")
    authorization = f"Bearer {bench.bank.token}"
    tried = await asymmetric.notify(bench.http, payment(), bench.now, Authorization=authorization)
    assert code_of(tried) == "4012500"
    symmetric = Caller("OTHER", bank_key(2), SECRET, foreign)
    assert code_of(await symmetric.notify(bench.http, payment(), bench.now)) == "4012500"
    assert code_of(await other.notify(bench.http, payment(), bench.now)) == "2002500"


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Basic abc", "bearer x", "Bearer a.b"])
async def test_4012501_no_token_or_none_of_ours(bench: SnapBench, authorization: str | None) -> None:
    assert code_of(await bench.notify(Authorization=authorization)) == "4012501"


@pytest.mark.parametrize("algorithm", ["Ed25519", "ES256"])
def test_every_process_with_the_connectors_key_derives_the_same_secret(algorithm: str) -> None:
    key = PrivateKey.generate(algorithm)
    token = Tokens.of(key).issue("BRI-TKA", NOON, "n")
    assert Tokens.of(key).verify(token, "BRI-TKA", NOON)
    assert not Tokens.of(PrivateKey.generate(algorithm)).verify(token, "BRI-TKA", NOON)


@given(st.data())
def test_a_changed_token_is_worth_nothing(data: st.DataObject) -> None:
    tokens = Tokens(TOKEN_KEY)
    token = tokens.issue("BRI-TKA", NOON, "n")
    place = data.draw(st.integers(0, len(token) - 1))
    letter = data.draw(st.characters(codec="utf-8").filter(lambda each: each != token[place]))
    changed: Any = token[:place] + letter + token[place + 1 :]
    assert not tokens.verify(changed, "BRI-TKA", NOON)
    assert not tokens.verify(token[:place], "BRI-TKA", NOON)
    assert not tokens.verify(token + "x" * 600, "BRI-TKA", NOON)
