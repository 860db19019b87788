"""What the pages show, for programs: the same facts, with ETag and cursor, and to each participant its own."""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx
import pytest

from contracts.wire import base64url
from contracts.wire.key import PrivateKey
from hub.progress import Stage
from hub.store import clients
from hub.store.clients import Client
from hub.web.access import digest_token
from tests.hub.exchange import PERSON
from tests.pages.hall import URL, Hall, number_of

pytestmark = pytest.mark.anyio
REFUSALS = "/api/v1/refusals"


def assert_as(key: PrivateKey, participant: str) -> dict[str, str]:
    """Return the header of a participant's request."""
    expires = int(datetime.now(UTC).timestamp()) + 50
    claims: dict[str, Any] = {"iss": participant, "sub": participant, "aud": URL, "exp": expires, "jti": str(uuid4())}
    header = {"alg": key.alg, "kid": key.kid, "typ": "JWT"}
    parts = [base64url.encode(json.dumps(part).encode()) for part in (header, claims)]
    return {"Authorization": f"Bearer {'.'.join([*parts, base64url.encode(key.sign('.'.join(parts).encode()))])}"}


@pytest.fixture(scope="module")
async def keys(hall: Hall) -> dict[str, PrivateKey]:
    """Register a key for the API for each bank, and refuse five messages of one and one of the other."""
    bri, mandiri = hall.exchange.bri, hall.exchange.mandiri
    await hall.exchange.take(*(bri.sign(bri.paid(f"82026990000010{n}", amount="-1.00")) for n in range(5)))
    await hall.exchange.take(mandiri.sign(mandiri.paid("820269900000200", amount="-1.00")))
    made = {name: PrivateKey.generate("Ed25519") for name in ("bri", "mandiri", "immigration")}
    participants = hall.exchange.participants()
    for party in participants:
        if party["id"] in made:
            jwk = made[party["id"]].public.jwk
            validity = {"nbf": "2020-01-01T00:00:00Z", "exp": "2099-01-01T00:00:00Z"}
            party["keys"].append({"jwk": jwk, "use": "api", **validity})
    await hall.exchange.register([party for party in participants if party["id"] in made])
    return made


async def test_the_board_is_told_as_facts_without_a_name(hall: Hall) -> None:
    async with hall.open_browser(accept="application/json") as program:
        answer = await program.get("/api/v1/board")
        found = {one["application"]: one for one in answer.json()["applications"]}
        assert found[number_of("payment_due")]["stage"] == Stage.PAYMENT_DUE
        assert found[number_of("deficient")]["holder"] == "applicant"
        assert found[number_of("assessing")]["due_on"] is not None
        assert not [canary for canary in PERSON.values() if canary in answer.text.replace("2026-", "")]
        same = await program.get("/api/v1/board", headers={"If-None-Match": f'"other", W/{answer.headers["etag"]}'})
        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", answer.headers["etag"])


async def test_service_times_name_rule_set_and_source(hall: Hall) -> None:
    async with hall.open_browser() as program:
        answer = await program.get("/api/v1/service-times")
        said = answer.json()
        assert said["rule_set"].startswith("2021/")
        assert all(one["source"] for one in said["service_times"])
        assert (await program.get("/api/v1/service-times", headers={"If-None-Match": "*"})).status_code == 304


async def test_a_bank_reads_its_own_refusals_page_by_page(hall: Hall, keys: dict[str, PrivateKey]) -> None:
    async with hall.open_browser() as program:
        found: list[dict[str, Any]] = []
        cursor, pages = None, 0
        while pages < 10:
            query = {"limit": "2"} | ({} if cursor is None else {"after": cursor})
            answer = await program.get(REFUSALS, params=query, headers=assert_as(keys["bri"], "bri"))
            page = answer.json()
            found, pages = found + page["refusals"], pages + 1
            if page["next"] is None:
                break
            cursor = page["next"]
        assert (len(found), pages) == (5, 3)
        assert {one["code"] for one in found} == {"data_invalid"}
        assert all(one["remedy_en"] and one["remedy_id"] for one in found)
        assert not any("value" in one or "detail" in one for one in found)
        other = (await program.get(REFUSALS, headers=assert_as(keys["mandiri"], "mandiri"))).json()
        assert [one["topic"] for one in other["refusals"]] == ["from.mandiri"]


async def test_refusals_want_an_assertion(hall: Hall, keys: dict[str, PrivateKey]) -> None:
    async with hall.open_browser() as program:
        stranger = assert_as(PrivateKey.generate("Ed25519"), "bri")
        answers: list[httpx.Response] = [
            await program.get(REFUSALS),
            await program.get(REFUSALS, headers=stranger),
            await program.get(REFUSALS, headers=assert_as(keys["mandiri"], "bri")),
        ]
    assert [answer.status_code for answer in answers] == [401, 401, 401]
    assert all(answer.headers["content-type"] == "application/problem+json" for answer in answers)


async def test_an_inquiry_is_logged_once_however_often_it_is_sent(hall: Hall, keys: dict[str, PrivateKey]) -> None:
    async def count() -> int:
        async with hall.exchange.database.connection() as connection:
            return int(await connection.fetchval("SELECT count(*) FROM lookups WHERE page = 'recommendation'"))

    async with hall.open_browser() as program:

        async def ask(
            key: str, stage: str, reason: str = "Visa application 17", by: str = "immigration"
        ) -> httpx.Response:
            body = {"application": number_of(stage), "reason": reason}
            headers = assert_as(keys[by], by) | {"Idempotency-Key": key}
            return await program.post("/api/v1/recommendation-inquiries", json=body, headers=headers)

        before = await count()
        first, again = await ask("one", "at_immigration"), await ask("one", "at_immigration")
        assert first.json() == again.json()
        assert (first.json()["state"], first.json()["revision"]) == ("issued", 1)
        assert again.headers["idempotency-replayed"] == "true"
        assert await count() == before + 1
        assert (await ask("two", "received")).json()["state"] is None
        assert await count() == before + 2
        refused = [
            await ask("one", "withdrawn"),
            await ask("three", "received", " "),
            await ask("four", "received", by="bri"),
        ]
        assert [one.status_code for one in refused] == [422, 400, 403]
        assert await count() == before + 2
        assert not [canary for canary in PERSON.values() if canary in first.text.replace("2026-", "")]


async def test_the_oversight_bodys_machine_reads_the_findings_sealed(hall: Hall) -> None:
    secret = "a secret of the test's own"
    client = Client("analysis", "oversight", None, None, ["findings:read"], digest_token(secret))
    async with hall.exchange.database.connection() as connection:
        assert await clients.add(connection, client, datetime.now(UTC))
        sealed = await connection.fetchval("SELECT count(*) FROM lookups WHERE sealed IS NOT NULL")
    async with hall.open_browser() as program:
        form = {"grant_type": "client_credentials"}
        token = (await program.post("/api/v1/token", data=form, auth=("analysis", secret))).json()["access_token"]
        bearer, after = {"Authorization": f"Bearer {token}"}, ""
        found: list[dict[str, Any]] = []
        for _ in range(20):
            query = {"limit": "1", "after": after}
            page = (await program.get("/api/v1/findings", params=query, headers=bearer)).json()
            found, after = found + page["findings"], page["next"]
            if after is None:
                break
        forged = await program.get("/api/v1/findings", params={"after": "AAAA"}, headers=bearer)
    assert "silent_file" in {one["finding"] for one in found}
    assert len({one["number"] for one in found}) == len(found)
    assert forged.status_code == 400
    async with hall.exchange.database.connection() as connection:
        noted = await connection.fetchval("SELECT count(*) FROM lookups WHERE sealed IS NOT NULL")
        assert noted - sealed >= len(found)
        assert not await connection.fetchval("SELECT count(*) FROM lookups WHERE role = 'oversight'")
